"""The stages of learning from demonstrations, each of which is done once."""

import functools
import pathlib
from collections.abc import Sequence

import jax
from rich.console import Console

from envs.failures.script import load_script
from experiments.evaluation.views import make_views
from experiments.imitation.data import Sensors
from mummi.agent import Agent, AgentState
from mummi.config import Config
from mummi.data.episode import save_episode
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.heads.head import HEADS
from mummi.imitation.latents import Latents, View
from mummi.imitation.pilot import HEAD
from mummi.imitation.record import Imitation, is_imitation, save_instructions
from mummi.imitation.record import load as load_imitation
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger
from mummi.runs.record import load as load_run
from mummi.training.offline import train_world_model


class Stages:
    """World model, then head; a finished stage is not repeated.

    Args:
        config: settings of the world model and the task.
        imitation: settings of data and head.
        sensors: modalities and action size of the task.
        demonstrations: the data.
        logger: where metrics go.
    """

    def __init__(
        self,
        config: Config,
        imitation: Imitation,
        sensors: Sensors,
        demonstrations: Sequence[Demonstration],
        logger: Logger,
    ):
        self._config = config
        self._imitation = imitation
        self._demonstrations = demonstrations
        self._logger = logger
        self._logdir = pathlib.Path(config.logdir)
        self._agent = Agent(config, *sensors)
        self._console = Console()

    @functools.cached_property
    def _views(self) -> list[View]:
        script, copies = load_script(self._config.missing), self._imitation.copies
        modalities = self._agent.modalities
        return make_views(self._demonstrations, modalities, script, copies, self._config.seed)

    def run(self) -> None:
        """Trains what is not trained yet."""
        save_instructions(self._logdir, self._demonstrations)
        self._fit(self._world_model())

    def _world_model(self) -> AgentState:
        """The trained world model: of another run, of a stage that has ended, or of this stage."""
        imitation, own = self._imitation, checkpoints(self._logdir)
        shapes = jax.eval_shape(self._agent.init, 0)
        if imitation.world_model and own.latest_step() is None:
            state, meta = checkpoints(imitation.world_model).restore(shapes)
            own.save(meta["step"], state, {"step": meta["step"]})
        elif not imitation.world_model and own.latest_step() != imitation.updates:
            episodes = [view.episode() for view in self._views]
            return train_world_model(self._agent, episodes, imitation.updates, self._logger)
        return own.restore(shapes)[0]

    def _fit(self, state: AgentState) -> None:
        """Trains the head on the world model's latents and saves it."""
        kind = HEADS[self._imitation.head]
        latents = Latents(self._agent, state.model)
        head = kind.build(self._imitation.settings, latents.sizes)
        self._console.print(f"encoding {len(self._views)} demonstrations")
        trajectories = latents.encode(self._views)
        with self._console.status(f"training head {self._imitation.head}") as status:

            def report(update: int, metrics: dict[str, float]) -> None:
                self._logger.scalars(update, {f"head/{n}": x for n, x in metrics.items()})
                text = "  ".join(f"{name} {x:.3g}" for name, x in metrics.items())
                status.update(f"head {self._imitation.head}, update {update}  {text}")

            head.fit(trajectories, self._config.seed, report)
        save_episode(self._logdir / HEAD, head.arrays())


def check_source(folder: str, sensors: Sensors) -> None:
    """Makes sure that the world model of a run can be taken.

    Raises:
        ValueError: it is of other sensors, or its training has not ended.
    """
    before = load_run(folder)
    given = (before.modalities, before.action_size)
    for name, one, wanted in zip(("sensors", "action size"), given, sensors, strict=True):
        if one != wanted:
            raise ValueError(f"--world-model {folder!r} has {name} {one}, not {wanted} as here")
    if is_imitation(folder):
        source, step = load_imitation(folder), checkpoints(folder).latest_step() or 0
        if not source.world_model and step < source.updates:
            raise ValueError(
                f"the world model of {folder!r} has {step} of its {source.updates} updates; "
                "let its command end first"
            )


def checkpoints(folder: str | pathlib.Path) -> Checkpointer:
    """Those of a run."""
    return Checkpointer(pathlib.Path(folder) / "checkpoints")
