"""Learns from demonstrations: python -m experiments.imitate --task T --data F --head H."""

import contextlib
import dataclasses
import functools
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import tyro
from rich.console import Console

import envs
from envs.failures.script import load_script
from experiments import evaluate
from experiments.command_line import explain, parse_config, peek, require
from experiments.evaluation.ablation import modality_pairs, removals
from experiments.evaluation.conditions import usual
from experiments.evaluation.rollout import evaluation_environments
from experiments.evaluation.views import make_views
from mummi.agent import Agent, AgentState
from mummi.config import Config
from mummi.data.episode import save_episode
from mummi.imitation import record
from mummi.imitation.demonstrations import (
    Demonstration,
    Demonstrations,
    LiberoDemonstrations,
    libero_files,
)
from mummi.imitation.heads.head import HEADS
from mummi.imitation.latents import Latents, View
from mummi.imitation.pilot import HEAD
from mummi.imitation.record import Imitation
from mummi.presets import PRESETS, offline
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger
from mummi.training.offline import train_world_model
from mummi.training.start import lock

SETTINGS = (
    *("task", "preset", "method", "seed", "missing", "background", "env", "envs", "image-size"),
    *("action-repeat", "batch-size", "batch-length", "evaluate-episodes", "checkpoint-every"),
    *("bfloat16", "model"),
)
"""Flags of experiments.train that matter here."""
SAME = ("preset", "method", "image_size", "action_repeat", "model")
"""Settings in which a world model that is taken and the run that takes it are alike."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is evaluated at the end; rows that are there already are not evaluated again.

    Attributes:
        logdir: folder of the run; by default runs/TASK/HEAD-PRESET-SEED.
        evaluate_missing: sensor dropout scripts, one row each; by default none medium high, on
            LIBERO none. Each sensor removed entirely is a row, too; on LIBERO each camera and both.
            A head that reads no sensor has none alone.
        video: write a video of the first episode of each row.
        random: add the row of the random policy.
        expert: add the row of the task's expert.
        ablation: modality-pairs also removes each pair of sensors, and draws the scores as a heat
            map.
    """

    logdir: str = ""
    evaluate_missing: tuple[str, ...] | None = None
    video: bool = False
    random: bool = False
    expert: bool = False
    ablation: tuple[Literal["modality-pairs"], ...] = ()


def parse(arguments: list[str] | None = None) -> tuple[Config, Imitation, Options]:
    """The command line.

    Raises:
        ValueError: an unknown head or flag, or settings that are not those of ``--world-model``.
        SystemExit: another mistake in the flags, which is printed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name = peek(arguments, "head") or Imitation.head
    require("head", name, HEADS)
    source = peek(arguments, "world-model")
    if source and peek(arguments, "updates"):
        raise ValueError(
            f"--updates is for a world model that is trained here, and --world-model {source!r} "
            "is taken as it is: leave one of them out"
        )
    taken = run.load(source).config if source else None
    preset = peek(arguments, "preset") or (taken or Config).preset
    require("preset", preset, PRESETS)
    default = HEADS[name].default(preset)
    settings = Annotated[type(default), tyro.conf.arg(name="head")]
    field = ("settings", settings, dataclasses.field(default=default))
    kind = dataclasses.make_dataclass("Imitation", [field], bases=(Imitation,), frozen=True)
    kind.__doc__ = Imitation.__doc__
    unnamed = tyro.conf.arg(name="")
    fields = [("imitation", Annotated[kind, unnamed]), ("options", Annotated[Options, unnamed])]
    flags = dataclasses.make_dataclass("Flags", fields, frozen=True)
    own, rest = tyro.cli(
        flags,
        prog="python -m experiments.imitate",
        description=(
            "Trains a world model on demonstrations, freezes it, trains an action head on its "
            f"latents, and evaluates it. Heads: {', '.join(HEADS)}; --head HEAD --help explains "
            "the settings of one. Of experiments.train's flags it takes "
            f"{', '.join(f'--{name}' for name in SETTINGS)}."
        ),
        args=arguments,
        return_unknown_args=True,
    )
    for flag in rest:
        if flag.startswith("--"):
            known = re.split(r"[.=]", flag[2:])[0].replace("_", "-") in SETTINGS
            if not known:
                raise ValueError(f"unknown flag {flag.split('=')[0]}; --help tells those of {name}")
    imitation = Imitation(**vars(own.imitation))
    config = parse_config(rest, taken and dataclasses.replace(taken, logdir=""), offline)
    if taken:
        for setting, old, new in run.differences(taken, config):
            if setting.split(".")[0] in SAME:
                raise ValueError(
                    f"--world-model {imitation.world_model!r} has {setting} = {old!r}, and this "
                    f"command asks for {new!r}: leave that flag out"
                )
    logdir = (
        own.options.logdir
        or f"runs/{envs.folder(config.task)}/{name}-{config.preset}-{config.seed}"
    )
    return dataclasses.replace(config, logdir=logdir), imitation, own.options


def check_folder(config: Config, imitation: Imitation) -> None:
    """Makes sure that the run's folder holds this very run, or is free.

    Raises:
        ValueError: it holds something else.
    """
    if not run.check_folder(config.logdir, config):
        return
    if not record.is_imitation(config.logdir):
        raise ValueError(
            f"{config.logdir!r} holds a run of experiments.train; give another --logdir, and this "
            "one as --world-model to use its world model"
        )
    for name, old, new in run.differences(record.load(config.logdir), imitation):
        raise ValueError(
            f"{config.logdir!r} holds a run with {name} = {old!r}, and this command asks for "
            f"{new!r}: repeat its settings, or give another --logdir"
        )


def load_demonstrations(imitation: Imitation, config: Config, sensors) -> list[Demonstration]:
    """All demonstrations of the file.

    Args:
        imitation: names the file.
        config: settings of the task.
        sensors: modalities and action size of the task.

    Raises:
        ValueError: the file does not fit the task.
    """
    modalities, action_size = sensors
    made = []
    for demonstrations in opened(imitation.data, config, [m.name for m in modalities]):
        kwargs = demonstrations.attributes.get("env_args", {}).get("env_kwargs", {})
        repeat = kwargs.get("action_repeat", config.action_repeat)
        pairs = [
            (f"modality {m.name!r}", (there.kind, there.shape), (m.kind, m.shape))
            for there, m in zip(demonstrations.modalities, modalities, strict=True)
        ]
        pairs += [
            ("action size", demonstrations.action_size, action_size),
            ("action repeat", repeat, config.action_repeat),
        ]
        for name, there, wanted in pairs:
            if there != wanted:
                raise ValueError(
                    f"--data {imitation.data!r} has {name} {there}, and task {config.task!r} with "
                    f"these settings has {wanted}"
                )
        made += demonstrations
    return made


def opened(path: str, config: Config, names: list[str]) -> Iterator[Demonstrations]:
    """The file of demonstrations, or for LIBERO each file of a folder; closed when passed."""
    if not config.task.startswith("libero"):
        with Demonstrations(path, names) as demonstrations:
            yield demonstrations
        return
    from envs.libero.instruction import embed

    encode = functools.partial(embed, encoder=config.env.get("encoder", "minilm"))
    for file in libero_files(path):
        with LiberoDemonstrations(file, names, encode) as demonstrations:
            yield demonstrations


class Stages:
    """World model, then head; a finished stage is not repeated.

    Args:
        config: settings of the world model and the task.
        imitation: settings of data and head.
        sensors: modalities and action size of the task.
        demonstrations: the data.
        logger: where metrics go.
    """

    def __init__(self, config: Config, imitation: Imitation, sensors, demonstrations, logger):
        self._config = config
        self._imitation = imitation
        self._demonstrations: list[Demonstration] = demonstrations
        self._logger: Logger = logger
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
        self._fit(self._world_model())

    def _world_model(self) -> AgentState:
        imitation, own = self._imitation, checkpoints(self._logdir)
        if imitation.world_model and own.latest_step() is None:
            state, meta = checkpoints(imitation.world_model).restore(self._agent.init(0))
            own.save(meta["step"], state, {"step": meta["step"]})
        elif not imitation.world_model and own.latest_step() != imitation.updates:
            episodes = [view.episode() for view in self._views]
            return train_world_model(self._agent, episodes, imitation.updates, self._logger)
        return own.restore(self._agent.init(0))[0]

    def _fit(self, state: AgentState) -> None:
        kind = HEADS[self._imitation.head]
        latents = Latents(self._agent, state.model)
        head = kind.build(self._imitation.settings, latents.sizes)
        self._console.print(f"encoding {len(self._views)} demonstrations")
        trajectories = latents.encode(self._views)
        with self._console.status(f"training head {self._imitation.head}") as status:

            def report(update: int, metrics: dict[str, float]) -> None:
                self._logger.scalars(update, {f"head/{n}": x for n, x in metrics.items()})
                shown = "  ".join(f"{name} {x:.3g}" for name, x in metrics.items())
                status.update(f"head {self._imitation.head}, update {update}  {shown}")

            head.fit(trajectories, self._config.seed, report)
        save_episode(self._logdir / HEAD, head.arrays())


def check_source(folder: str, sensors) -> None:
    """Makes sure that the world model of a run can be taken.

    Raises:
        ValueError: it is of other sensors, or its training has not ended.
    """
    before = run.load(folder)
    for name, there, wanted in zip(("sensors", "action size"), before[1:3], sensors, strict=True):
        if there != wanted:
            raise ValueError(f"--world-model {folder!r} has {name} {there}; the task has {wanted}")
    if record.is_imitation(folder):
        source, step = record.load(folder), checkpoints(folder).latest_step() or 0
        if not source.world_model and step < source.updates:
            raise ValueError(
                f"the world model of {folder!r} has {step} of its {source.updates} updates; "
                "let its command end first"
            )


def checkpoints(folder: str | pathlib.Path) -> Checkpointer:
    """Those of a run."""
    return Checkpointer(pathlib.Path(folder) / "checkpoints")


def imitate(config: Config, imitation: Imitation, options: Options) -> pathlib.Path:
    """Trains, or goes on, and evaluates; returns the run's folder.

    Raises:
        ValueError: the folder holds something else or is in use, or data or world model do not fit
            the task.
    """
    logdir = pathlib.Path(config.logdir)
    check_folder(config, imitation)
    with evaluation_environments(config, 1, config.seed) as environments:
        sensors = (environments.modalities, environments.action_size)
    names = [m.name for m in sensors[0] if m.can_fail]
    trained = (logdir / HEAD).is_file()
    if not trained:
        demonstrations = load_demonstrations(imitation, config, sensors)
        if imitation.world_model:
            check_source(imitation.world_model, sensors)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock(logdir))
        record.save(logdir, imitation)
        this = run.Run(config, *sensors, load_script(config.missing).to_dict())
        run.open_run(logdir, this)
        logger = stack.enter_context(Logger(logdir))
        if not trained:
            Stages(config, imitation, sensors, demonstrations, logger).run()
        pairs = "modality-pairs" in options.ablation
        scripts, dropped = usual(this)
        dropped = dropped or tuple(names)
        if HEADS[imitation.head].blind:
            scripts, dropped = ("none",), ()
        scripts = scripts if options.evaluate_missing is None else options.evaluate_missing
        if pairs:
            dropped = tuple("+".join(group) for group in removals(names))
        results = evaluate.evaluate(
            evaluate.Arguments(
                str(logdir),
                # The picture of the ablation also says what nothing removed gives.
                missing=tuple(dict.fromkeys([*["none"] * pairs, *scripts])),
                drop=dropped,
                episodes=config.evaluate_episodes,
                video=options.video,
                random=options.random,
                expert=options.expert,
                envs=config.envs,
                keep=True,
            )
        )
        if results:
            scores = {f"evaluation/{name}": result.mean for name, result in results.items()}
            logger.scalars(checkpoints(logdir).latest_step(), scores)
        if pairs:
            print(f"picture: {modality_pairs(logdir, names)}")
    return logdir


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and learns."""
    with explain():
        print(f"run: {imitate(*parse(arguments))}")


if __name__ == "__main__":
    main()
