"""Learns from demonstrations: python -m experiments.imitate --data F --head H [--task T]."""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import tyro

import envs
from envs.failures.script import load_script
from experiments import evaluate
from experiments.command_line import explain, parse_config, peek, require
from experiments.evaluation.ablation import modality_pairs, removals
from experiments.evaluation.conditions import usual
from experiments.evaluation.rollout import evaluation_environments
from experiments.imitation import alone, held_out
from experiments.imitation.data import Learned, Sensors, load
from experiments.imitation.flags import (
    SETTINGS,
    SIMULATED,
    defaults,
    named,
    require_same,
    require_settings,
    require_world_model,
)
from experiments.imitation.stages import Stages, check_source, checkpoints
from mummi.config import NO_SIMULATOR, Config
from mummi.imitation.demonstrations import Reading
from mummi.imitation.heads.head import HEADS
from mummi.imitation.pilot import HEAD
from mummi.imitation.record import Imitation, is_imitation, load_split, save_split
from mummi.imitation.record import load as load_imitation
from mummi.imitation.record import save as save_imitation
from mummi.imitation.scaling import save as save_scaling
from mummi.imitation.settings import require_read
from mummi.presets import PRESETS
from mummi.runs.logger import Logger
from mummi.runs.names import closest
from mummi.runs.record import Run, differences, open_run
from mummi.runs.record import check_folder as check_run_folder
from mummi.runs.record import load as load_run
from mummi.training.start import lock


@dataclasses.dataclass(frozen=True)
class Options:
    """What is evaluated at the end; rows that have a file already are not evaluated again.

    Attributes:
        logdir: folder of the run; by default runs/TASK/HEAD-PRESET-SEED, without a task
            runs/DATA/HEAD-PRESET-SEED.
        evaluate_missing: sensor dropout scripts, one row each; by default none medium high, on
            LIBERO and robomimic none. Each sensor removed entirely is a row, too; on those each
            camera and both. A head that reads no sensor has none alone.
        trust: leave out sensors that lie, as of experiments.evaluate.
        video: write a video of the first episode of each row.
        random: add the row of the random policy.
        expert: add the row of the task's expert.
        ablation: modality-pairs also removes each pair of sensors, and draws the scores as a heat
            map.
    """

    logdir: str = ""
    evaluate_missing: tuple[str, ...] | None = None
    trust: Literal["on", "off"] = "off"
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
    taken = world_model_settings(arguments)
    preset = peek(arguments, "preset") or (taken or Config).preset
    require("preset", preset, PRESETS)
    own, rest = tyro.cli(
        flags(name, preset),
        prog="python -m experiments.imitate",
        description=(
            "Trains a world model on demonstrations, freezes it, trains an action head on its "
            "latents, and evaluates it on held-out demonstrations and in the simulator of --task, "
            "if one is given. A head with encoders of its own is trained without a world model. "
            f"Heads: {', '.join(HEADS)}; --head HEAD --help explains "
            "the settings of one. Of experiments.train's flags it takes "
            f"{', '.join(f'--{name}' for name in SETTINGS)}."
        ),
        args=arguments,
        return_unknown_args=True,
    )
    require_settings(rest, name)
    of_head = [flag[len("--head.") :] for flag in named(arguments) if flag.startswith("--head.")]
    require_read(own.imitation.settings, [setting.replace("-", "_") for setting in of_head])
    imitation = Imitation(**vars(own.imitation))
    require_world_model(imitation, arguments)
    default = taken and dataclasses.replace(taken, logdir="")
    task = peek(arguments, "task") or (default.task if default else NO_SIMULATOR)
    require_meaning(task, own.options, rest)
    if not taken and task == NO_SIMULATOR:
        default = defaults(imitation)(preset, NO_SIMULATOR)
    config = parse_config(rest, default, defaults(imitation))
    if taken:
        require_same(taken, config, imitation.world_model)
    place = envs.folder(config.task)
    if config.task == NO_SIMULATOR:
        place = pathlib.Path(imitation.data).resolve().stem
    logdir = own.options.logdir or f"runs/{place}/{name}-{config.preset}-{config.seed}"
    return dataclasses.replace(config, logdir=logdir), imitation, own.options


def require_meaning(task: str, options: Options, rest: list[str]) -> None:
    """Raises a ValueError for a flag that only a run with a task has."""
    if task != NO_SIMULATOR:
        return
    given = [name for name in named(rest).values() if name in SIMULATED]
    given += [name for name in ("video", "random", "expert", "ablation") if getattr(options, name)]
    given += ["trust"] * (options.trust == "on")
    if given:
        raise ValueError(f"--{given[0]} needs a simulator: give its --task, or leave the flag out")


def world_model_settings(arguments: list[str]) -> Config | None:
    """The settings of the run that ``--world-model`` names, None where one is trained here.

    Raises:
        ValueError: it is taken and is to be trained, too.
    """
    source = peek(arguments, "world-model")
    if source and peek(arguments, "updates"):
        raise ValueError(
            f"--updates is for a world model that is trained here, and --world-model {source!r} "
            "is taken as it is: leave one of them out"
        )
    return load_run(source).config if source else None


def flags(name: str, preset: str) -> type:
    """A dataclass of the flags: ``imitation`` with the settings of a head, and ``options``."""
    default = HEADS[name].default(preset)
    settings = Annotated[type(default), tyro.conf.arg(name="head")]
    unnamed = tyro.conf.arg(name="")
    own = [
        ("settings", settings, dataclasses.field(default=default)),
        ("reading", Annotated[Reading, unnamed], dataclasses.field(default=Reading())),
    ]
    kind = dataclasses.make_dataclass("Imitation", own, bases=(Imitation,), frozen=True)
    kind.__doc__ = Imitation.__doc__
    fields = [("imitation", Annotated[kind, unnamed]), ("options", Annotated[Options, unnamed])]
    return dataclasses.make_dataclass("Flags", fields, frozen=True)


def imitate(config: Config, imitation: Imitation, options: Options) -> pathlib.Path:
    """Trains, or goes on, and evaluates; returns the run's folder.

    What is held out is evaluated on first, then the task's simulator, if there is one.

    Raises:
        ValueError: the folder holds something else or is in use, or data or world model do not fit
            the task.
        FileNotFoundError: there are no data.
    """
    logdir, simulated = pathlib.Path(config.logdir), config.task != NO_SIMULATOR
    if options.trust == "on" and options.ablation:
        raise ValueError("--ablation modality-pairs is drawn of rows without trust: leave one out")
    check_folder(config, imitation)
    data, sensors = prepare(config, imitation)
    run = Run(config, *sensors, load_script(config.missing).to_dict())
    with opened(run, imitation) as logger:
        if data:
            save_scaling(logdir, data.scaling)
            save_split(logdir, data.split)
            Stages(config, imitation, data, logger).run()
        # Without a world model the updates are the head's.
        step = checkpoints(logdir).latest_step() or imitation.settings.updates
        if load_split(logdir).held_out:
            rows = held_out.evaluate(logdir, options.evaluate_missing, keep=True)
            errors = {f"held_out/error/{name}": row["normalised"] for name, row in rows.items()}
            logger.scalars(step, errors)
        if simulated and config.evaluate_episodes:
            results = evaluate.evaluate(conditions(run, imitation, options))
            scores = {f"evaluation/{name}": result.mean for name, result in results.items()}
            logger.scalars(step, scores)
        if "modality-pairs" in options.ablation:
            print(f"picture: {modality_pairs(logdir, can_fail(run))}")
    return logdir


def prepare(config: Config, imitation: Imitation) -> tuple[Learned | None, Sensors]:
    """The demonstrations, None where the head is trained already, and the sensors.

    Raises:
        ValueError, FileNotFoundError: as ``imitate``.
    """
    trained = (pathlib.Path(config.logdir) / HEAD).is_file()
    if config.task == NO_SIMULATOR:
        data = None if trained else alone.load(imitation, config)
        sensors = data.sensors if data else load_run(config.logdir)[1:3]
        if imitation.world_model and data:
            check_source(imitation.world_model, sensors)
    else:
        sensors = task_sensors(config, imitation.reading.obs)
        if imitation.world_model and not trained:
            check_source(imitation.world_model, sensors)
        data = None if trained else load(imitation, config, sensors)
    return data, sensors


def check_folder(config: Config, imitation: Imitation) -> None:
    """Makes sure that the run's folder holds this very run, or is free.

    Raises:
        ValueError: it holds something else.
    """
    if not check_run_folder(config.logdir, config):
        return
    if not is_imitation(config.logdir):
        raise ValueError(
            f"{config.logdir!r} holds a run of experiments.train; give another --logdir, and this "
            "one as --world-model to use its world model"
        )
    for name, old, new in differences(load_imitation(config.logdir), imitation):
        raise ValueError(
            f"{config.logdir!r} holds a run with {name} = {old!r}, and this command asks for "
            f"{new!r}: repeat its settings, or give another --logdir"
        )


def task_sensors(config: Config, obs: tuple[str, ...] | None = None) -> Sensors:
    """Modalities and action size of the task; with ``obs`` of its modalities these alone.

    Raises:
        ValueError: ``obs`` names what the task has not.
    """
    with evaluation_environments(config, 1, config.seed) as environments:
        modalities, action_size = environments.modalities, environments.action_size
    if obs is None:
        return modalities, action_size
    known = {m.name: m for m in modalities}
    for name in obs:
        if name not in known:
            raise ValueError(
                f"--obs names {name!r}, which task {config.task!r} has not (it has "
                f"{', '.join(known)}){closest(name, known)}"
            )
    return tuple(known[name] for name in obs), action_size


@contextlib.contextmanager
def opened(run: Run, imitation: Imitation) -> Iterator[Logger]:
    """Holds the run's folder and gives its logger.

    Raises:
        ValueError: the folder is in use, or holds a run of other sensors or another script.
    """
    logdir = pathlib.Path(run.config.logdir)
    with lock(logdir):
        save_imitation(logdir, imitation)
        open_run(logdir, run)
        with Logger(logdir, run.config.logger) as logger:
            yield logger


def can_fail(run: Run) -> list[str]:
    """Names of the sensors that can fail."""
    return [m.name for m in run.modalities if m.can_fail]


def conditions(run: Run, imitation: Imitation, options: Options) -> evaluate.Arguments:
    """What is evaluated: scripts of sensor dropout, and sensors or pairs of them removed."""
    config, sensors = run.config, can_fail(run)
    pairs = "modality-pairs" in options.ablation
    scripts, dropped = usual(run)
    dropped = dropped or tuple(sensors)
    if HEADS[imitation.head].blind:
        scripts, dropped = ("none",), ()
    scripts = scripts if options.evaluate_missing is None else options.evaluate_missing
    if pairs:
        dropped = tuple("+".join(group) for group in removals(sensors))
    return evaluate.Arguments(
        config.logdir,
        # The picture of the ablation also says what nothing removed gives.
        missing=tuple(dict.fromkeys([*["none"] * pairs, *scripts])),
        drop=dropped,
        episodes=config.evaluate_episodes,
        trust=options.trust,
        video=options.video,
        random=options.random,
        expert=options.expert,
        envs=config.envs,
        keep=True,
    )


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and learns."""
    with explain():
        print(f"run: {imitate(*parse(arguments))}")


if __name__ == "__main__":
    main()
