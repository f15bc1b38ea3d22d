"""The stages of learning from demonstrations, each of which is done once."""

import functools
import pathlib
from collections.abc import Sequence

import jax
from rich.console import Console

from envs.failures.script import load_script
from experiments.evaluation.views import make_views
from experiments.imitation.data import Learned, Sensors
from experiments.imitation.learned import budget, note, told
from mummi.agent import Agent, AgentState
from mummi.config import Config
from mummi.data.episode import save_episode
from mummi.imitation.cache import encode
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.heads.head import Trajectory
from mummi.imitation.latents import Latents, View
from mummi.imitation.pilot import HEAD, build_head
from mummi.imitation.record import Imitation, is_imitation, save_instructions
from mummi.imitation.record import load as load_imitation
from mummi.imitation.sensors import RawSensors
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger
from mummi.runs.record import load as load_run
from mummi.training.offline import HeldOut, train_world_model


class Stages:
    """World model, if the head reads its latents, then head; a finished stage is not repeated.

    Args:
        config: settings of the world model and the task.
        imitation: settings of data and head.
        data: the demonstrations.
        logger: where metrics go.
    """

    def __init__(self, config: Config, imitation: Imitation, data: Learned, logger: Logger):
        self._config = config
        self._imitation = imitation
        self._data = data
        self._logger = logger
        self._logdir = pathlib.Path(config.logdir)
        self._console = Console()

    @functools.cached_property
    def _agent(self) -> Agent:
        return Agent(self._config, *self._data.sensors)

    @functools.cached_property
    def _views(self) -> list[View]:
        """What is learned from."""
        return self._seen(self._data.demonstrations)

    @functools.cached_property
    def _held_out(self) -> list[View]:
        """What is not."""
        return self._seen(self._data.held_out)

    def _seen(self, demonstrations: Sequence[Demonstration]) -> list[View]:
        script, copies = load_script(self._config.missing), self._imitation.copies
        modalities, _ = self._data.sensors
        return make_views(demonstrations, modalities, script, copies, self._config.seed)

    def run(self) -> None:
        """Trains what is not trained yet."""
        save_instructions(self._logdir, self._data.demonstrations)
        if self._imitation.reads_latents:
            self._fit(Latents(self._agent, self._world_model().average.model))
        else:
            self._fit(RawSensors(*self._data.sensors))

    def _world_model(self) -> AgentState:
        """The trained world model: of another run, of a stage that has ended, or of this stage."""
        imitation, own = self._imitation, checkpoints(self._logdir)
        shapes = jax.eval_shape(self._agent.init, 0)
        if imitation.world_model and own.latest_step() is None:
            state, meta = checkpoints(imitation.world_model).restore(shapes)
            own.save(meta["step"], state, {"step": meta["step"]})
        elif not imitation.world_model and own.latest_step() != imitation.updates:
            return self._train()
        return own.restore(shapes)[0]

    def _train(self) -> AgentState:
        """Trains the world model, and notes what it saw and its losses on what it did not."""
        config, updates = self._config, self._imitation.updates
        seen = budget(updates * config.batch_size, config.batch_length, steps(self._views))
        self._console.print(told("world model", seen))
        held_out = None
        if self._held_out:
            held_out = HeldOut(self._agent, [view.episode() for view in self._held_out])
        episodes = [view.episode() for view in self._views]
        state = train_world_model(self._agent, episodes, updates, self._logger, held_out)
        losses = held_out(state.average.model) if held_out else {}
        note(self._logdir, "world_model", seen | losses)
        return state

    def _fit(self, latents: Latents | RawSensors) -> None:
        """Trains the head on what it sees, saves it and notes how it went."""
        name, settings = self._imitation.head, self._imitation.settings
        head = build_head(self._imitation, latents.sizes, self._data.split)
        trained, held_out = self._encoded(latents, self._views), []
        if self._held_out:
            held_out = self._encoded(latents, self._held_out)
        seen, last = {}, {}
        if windows := getattr(settings, "windows", 0):
            seen = budget(windows, 1, steps(self._views))
            self._console.print(told(f"head {name}", seen))
        with self._console.status(f"training head {name}") as status:

            def report(update: int, metrics: dict[str, float]) -> None:
                last.update(metrics)
                self._logger.scalars(update, {f"head/{n}": x for n, x in metrics.items()})
                shown = {n: x for n, x in metrics.items() if not n[-1].isdigit()}
                text = "  ".join(f"{n} {x:.3g}" for n, x in shown.items())
                status.update(f"head {name}, update {update}  {text}")

            head.fit(trained, self._config.seed, report, held_out)
        note(self._logdir, "head", seen | last)
        save_episode(self._logdir / HEAD, head.arrays())

    def _encoded(self, latents: Latents | RawSensors, views: Sequence[View]) -> list[Trajectory]:
        """What the head sees along views; latents lie beside the checkpoint that heads share."""
        if isinstance(latents, RawSensors):
            return latents.encode(views)
        folder = pathlib.Path(self._imitation.world_model or self._logdir)
        return encode(latents, views, folder, checkpoints(self._logdir).latest_step())


def steps(views: Sequence[View]) -> int:
    """Steps of all views."""
    return sum(len(view.actions) for view in views)


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
