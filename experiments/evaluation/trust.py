"""Trust in an evaluation: its thresholds, measured on healthy episodes, and what it says."""

import pathlib
from collections.abc import Sequence

import numpy as np
from rich.console import Console

from envs.failures.script import load_script
from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation.actors import Act, AgentActor, Numbers, asked
from experiments.evaluation.agreement import Recording
from experiments.evaluation.rollout import environment_settings, rollout
from experiments.evaluation.trained import Trained
from mummi.config import Config
from mummi.model.calibration import calibrate
from mummi.model.trust import Judge, Thresholds
from mummi.runs import thresholds

CALIBRATION = 4
"""Second entry of the seeds of healthy episodes, which neither training nor evaluation plays."""
EPISODES = 10
"""Healthy episodes with nothing missing, and as many with what training had missing."""


def measured(
    trained: Trained, config: Config, logdir: pathlib.Path, envs: int, console: Console
) -> Thresholds:
    """The thresholds of a run's checkpoint, from its file, or else measured and written there.

    Raises:
        ValueError: nothing could hold this run's sensors to account, or the file is damaged.
    """
    modalities, step = trained.agent.modalities, trained.step
    if thresholds.path(logdir, step).is_file():
        return thresholds.load(logdir, step, modalities, Thresholds)
    with console.status("measuring healthy sensors"):
        found = measure(trained, config, envs)
    thresholds.save(logdir, step, modalities, found._asdict())
    console.print(f"thresholds of trust: {thresholds.path(logdir, step)}")
    return found


def measure(trained: Trained, config: Config, envs: int) -> Thresholds:
    """Measures thresholds on healthy episodes that neither training nor evaluation plays.

    Raises:
        ValueError: as ``Judge``.
    """
    model, parameters = trained.world_model
    judge = Judge(model)
    scripts = ["none"]
    if not load_script(config.missing).lies:
        scripts.append(config.missing)
    episodes = []
    for missing in scripts:
        with ParallelEnvironments(
            config.task,
            [(config.seed, CALIBRATION)] * min(envs, EPISODES),
            missing=missing,
            training=True,
            **environment_settings(config),
        ) as environments:
            actor = AgentActor(trained.agent, trained.parameters, len(environments), config.seed)
            recording = Recording(actor, environments, truth=False)
            rollout(recording, environments, range(EPISODES))
            episodes += recording.episodes()
    if trained.imitates:  # its world model knows actions as they were learned
        learned = trained.agent.scaling.learned
        episodes = [e | {"action": learned(e["action"])} for e in episodes]
    return calibrate(judge, parameters, episodes, config.seed)


class Traces:
    """Acts as it is told to, and keeps how far each sensor was trusted: use it as an ``Act``.

    Args:
        act: chooses the actions.
        actor: that of an agent with trust, whom ``act`` asks.
        names: of the sensors.

    Attributes:
        trust: by number of an episode and sensor, trust at each step from the first; None where
            the sensor did not deliver.
    """

    def __init__(self, act: Act, actor: AgentActor, names: Sequence[str]):
        self._act, self._actor, self._names = act, actor, names
        self.trust: dict[int, dict[str, list[float | None]]] = {}

    def __call__(self, batch: Batch, numbers: Numbers) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        actions = self._act(batch, numbers)
        for k in asked(numbers):
            if batch.is_first[k]:
                self.trust[numbers[k]] = {name: [] for name in self._names}
            for name, trust in self.now(k).items():
                there = bool(batch.available[name][k])
                self.trust[numbers[k]][name].append(round(trust, 3) if there else None)
        return actions

    def scalars(self) -> dict[str, float]:
        """``trust/SENSOR``, mean trust where it delivered, and ``distrusted/SENSOR``, the share of
        those steps at which it was left out; nothing of one that never delivered."""
        found = {}
        for name in self._names:
            rows = [t for trace in self.trust.values() for t in trace[name] if t is not None]
            if rows:
                found[f"trust/{name}"] = float(np.mean(rows))
                found[f"distrusted/{name}"] = float(np.mean(np.array(rows) < 0.5))
        return found

    def now(self, k: int) -> dict[str, float]:
        """Trust in each sensor of environment ``k`` at the last step."""
        trust = np.asarray(self._actor.carries[k].verdict.trust[:, 0])
        return dict(zip(self._names, trust.tolist(), strict=True))
