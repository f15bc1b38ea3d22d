"""What acts while demonstrations are recorded."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from envs.processes.parallel import ParallelEnvironments
from experiments.collection.episodes import record
from experiments.evaluation.actors import Act, AgentActor, expert_actor
from mummi.agent import Agent
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.pilot import load_pilot
from mummi.imitation.record import is_imitation
from mummi.runs.parameters import load as load_parameters
from mummi.runs.record import Run
from mummi.runs.record import load as load_run
from mummi.training.stop import Stop


class Policy:
    """The expert, random actions, or the mode of a trained agent.

    Args:
        name: expert, random, or the folder of a run.
        config: settings of the environments.

    Attributes:
        label: the name, and the step of a trained agent.

    Raises:
        ValueError: a run of another task.
        FileNotFoundError: neither expert, random nor a run.
    """

    def __init__(self, name: str, config: Config):
        self.label, self._seed = name, config.seed
        self._run: Run | None = None
        if name in ("expert", "random"):
            return
        if not pathlib.Path(name).is_dir():
            raise FileNotFoundError(
                f"--policy {name!r} is neither expert nor random nor the folder of a run"
            )
        self._run = run = load_run(name)
        if run.config.task != config.task:
            raise ValueError(f"{name!r} was trained on {run.config.task}, not {config.task}")
        if is_imitation(name):
            (self._agent, step), self._parameters = load_pilot(name), None
        else:
            self._agent = Agent(run.config, run.modalities, run.action_size)
            self._parameters, step = load_parameters(name, self._agent)
        self.label = f"{name} at step {step}"

    def actor(self, environments: ParallelEnvironments, random) -> Act:
        """What acts in K environments; ``random`` is a NumPy generator for each.

        Raises:
            ValueError: the environments have not the sensors or action repeat of the trained agent.
        """
        if self.label == "expert":
            return expert_actor(environments)
        if self._run is None:
            size = environments.action_size
            return lambda *_: np.array([r.uniform(-1, 1, size) for r in random], np.float32)
        for name, given, needed in (
            ("sensors", environments.modalities, self._run.modalities),
            ("action repeat", environments.action_repeat, self._run.config.action_repeat),
        ):
            if given != needed:
                raise ValueError(
                    f"{self.label} was trained with {name} {needed}, and these environments have "
                    f"{given}: give the --preset, --image-size, --action-repeat and --env it had"
                )
        return AgentActor(self._agent, self._parameters, len(environments), self._seed)

    def record(
        self,
        environments: ParallelEnvironments,
        random: Sequence[np.random.Generator],
        arguments,
        stop: Stop,
        report: Callable[[], None],
    ) -> list[Demonstration]:
        """One episode of each environment, with the noise and the label that ``arguments`` name.

        As of ``experiments.collection.episodes.record``.
        """
        noise = (arguments.noise, arguments.noise_steps)
        label = expert_actor(environments) if arguments.label == "expert" else None
        act = self.actor(environments, random)
        return record(environments, act, random, *noise, stop, report, label)
