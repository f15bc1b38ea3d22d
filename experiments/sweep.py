"""Trains and evaluates a grid of runs: python -m experiments.sweep FILE.yaml, or --tasks …."""

import dataclasses
import itertools
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import tyro
from rich.console import Console

import envs
from envs.failures.script import load_script
from experiments import imitate
from experiments.command_line import explain, parse_config, require
from experiments.evaluation.rollout import episode_numbers
from experiments.sweeping.comparison import compared
from experiments.sweeping.file import read
from experiments.sweeping.jobs import Cluster, Job, Machine, Slurm, complete
from experiments.sweeping.view import Row, View, report
from mummi.config import Config
from mummi.imitation.record import is_imitation
from mummi.runs import record as run
from mummi.training.stop import Stop

POLL = 0.5
"""Seconds between two looks at the runs."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains and evaluates every combination of variants, tasks, methods and seeds.

    A YAML file as the first argument describes the grid; see experiments/sweeps. Flags change what
    it says. Flags after -- go to experiments.train, or to --command, of every run. Each run is
    evaluated with nothing, 37.5 % and 75 % of the data missing and with each of its sensors
    removed, beside the random policy. The same command goes on where it stopped and skips runs that
    are complete. On Linux, runs at a time share out the cores.

    Attributes:
        command: train, or imitate, which learns from demonstrations.
        world_model: of imitate the variant whose world model the others take, of the same task,
            method and seed, when it is done; by default each trains its own.
        tasks: tasks of the grid.
        methods: methods of the grid.
        seeds: seeds of the grid.
        preset: named set of defaults, one for all runs.
        logdir: folder of the sweep, by default runs/sweep or, of a file, runs/FILE; a run lies in
            LOGDIR/VARIANT/TASK/METHOD-PRESET-SEED, what it prints in LOGDIR/logs.
        variants: of the file's variants these; by default all.
        parallel: runs at a time; by default one on this machine, as many as it gives on a cluster.
        evaluate: evaluate each run after its training.
        episodes: episodes of each row of the evaluation, as of experiments.evaluate.
        cluster: none for processes on this machine, slurm for jobs of Slurm through submitit, or
            local to try out submitit without a cluster.
        slurm: what each job asks of Slurm.
    """

    command: Literal["train", "imitate"] = "train"
    world_model: str = ""
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("mummi",)
    seeds: tuple[int, ...] = (0, 1, 2)
    preset: str = "paper"
    logdir: str = "runs/sweep"
    variants: tuple[str, ...] = ()
    parallel: int | None = None
    evaluate: bool = True
    episodes: int | str = 30
    cluster: Literal["none", "slurm", "local"] = "none"
    slurm: Slurm = dataclasses.field(default_factory=Slurm)


def grid(
    arguments: Arguments,
    flags: Sequence[str] = (),
    variants: Mapping[str, Sequence[str]] = MappingProxyType({"": ()}),
) -> list[Job]:
    """The runs, each found to be possible before any is started.

    Args:
        arguments: of the sweep.
        flags: further arguments of experiments.train, or imitate, for every run.
        variants: arguments before these, by the variant's name.

    Raises:
        ValueError: what a run would refuse, or ``flags`` that set what the grid sets.
        SystemExit: another mistake in ``flags``, which is printed.
    """
    episode_numbers(arguments.episodes)
    if arguments.parallel is not None and arguments.parallel < 1:
        raise ValueError(f"--parallel {arguments.parallel} must be at least 1")
    if arguments.cluster == "none" and arguments.slurm != Slurm():
        raise ValueError("--slurm.* is for jobs of Slurm; add --cluster slurm")
    for name in (*arguments.variants, *filter(None, [arguments.world_model])):
        require("variant", name, variants)
    imitates = arguments.command == "imitate"
    if imitates and not (arguments.evaluate and str(arguments.episodes).isdigit()):
        raise ValueError("experiments.imitate evaluates a count of episodes: give --episodes N")
    if arguments.world_model and not imitates:
        raise ValueError("--world-model is for --command imitate")
    chosen = {n: words for n, words in variants.items() if n in (arguments.variants or variants)}
    jobs = {}
    for seed, task, method, variant in itertools.product(
        arguments.seeds, arguments.tasks, arguments.methods, chosen
    ):
        place = f"{envs.folder(task)}/{method}-{arguments.preset}-{seed}"
        name = f"{variant}/{place}" if variant else place
        cell = {
            "task": task,
            "method": method,
            "preset": arguments.preset,
            "seed": seed,
            "logdir": str(pathlib.Path(arguments.logdir, name)),
        }
        words = [word for field, value in cell.items() for word in (f"--{field}", str(value))]
        words, source = (*words, *chosen[variant], *flags), ""
        if imitates:
            words = (*words, "--random", "--evaluate-episodes", str(arguments.episodes))
        if arguments.world_model not in ("", variant):
            source = str(pathlib.Path(arguments.logdir, arguments.world_model, place))
        config = checked(words, source) if imitates else parse_config(list(words))
        for field, value in (cell | {"task": envs.canonical(task)}).items():
            if getattr(config, field) != value:
                raise ValueError(
                    f"--{field} {getattr(config, field)!r} would replace the grid's {value!r}; "
                    "give it before --, or in a file beside its settings"
                )
        load_script(config.missing)
        if not imitates:
            run.check_folder(config.logdir, config)
        log = str(pathlib.Path(arguments.logdir, "logs", f"{name}.log"))
        episodes = str(arguments.episodes) if arguments.evaluate else ""
        if source:
            words = (*words, "--world-model", source)
        asked = config.logdir, log, 0 if imitates else config.steps, episodes
        cell = config.task, method, seed, variant
        jobs[name] = Job(name, words, *asked, *cell, arguments.command, source)
    if not jobs:
        raise ValueError(
            "an empty grid: --tasks, --methods and --seeds need a name each, or give a YAML file"
        )
    return list(jobs.values())


def checked(words: Sequence[str], source: str) -> Config:
    """The settings of a run of experiments.imitate, found to be possible.

    Args:
        words: its arguments, but for the world model that it takes.
        source: folder of the run whose world model that is, which may still be to come.

    Raises:
        ValueError: what the run would refuse.
    """
    words = [*words, *(("--world-model", source) if source and is_imitation(source) else ())]
    config, imitation, _ = imitate.parse(words)
    imitate.check_folder(config, imitation)
    return config


def sweep(arguments: Arguments, flags: Sequence[str] = (), **variants) -> list[Row]:
    """Does what the runs of the grid lack; returns them all. Arguments as of ``grid``.

    Raises:
        ValueError, RuntimeError, SystemExit: a mistake in the flags, before anything starts.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the runs have saved checkpoints.
    """
    jobs = grid(arguments, flags, **variants)
    rows = [Row(job, "skipped" if complete(job) else "waiting") for job in jobs]
    todo = [row for row in rows if row.state == "waiting"]
    # Runs that take the world model of another come after all that train one.
    waves = [r for r in todo if not r.job.source], [r for r in todo if r.job.source]
    if arguments.cluster == "none":
        backend = Machine(arguments.parallel or 1)
    else:
        folder = str(pathlib.Path(arguments.logdir, "logs", "submitit"))
        backend = Cluster(arguments.cluster, folder, arguments.slurm, arguments.parallel)
    console = Console()
    with Stop() as stop:
        try:
            with View(console) as view:
                for wave in waves:
                    if not stop.requested:
                        attend(wave, backend, stop, lambda: view.show(rows))
        finally:
            backend.stop()
        if stop.requested:
            raise KeyboardInterrupt("stopped; the same command goes on from here")
    report(rows, console)
    return rows


def attend(
    rows: Sequence[Row], backend: Machine | Cluster, stop: Stop, show: Callable[[], None]
) -> None:
    """Starts runs and shows them until they are over or are to stop."""
    handles = backend.submit([row.job for row in rows])
    while not stop.requested:
        for row, handle in zip(rows, handles, strict=True):
            if row.state in ("waiting", "running"):
                follow(row, handle, backend)
        show()
        if all(row.state not in ("waiting", "running") for row in rows):
            break
        time.sleep(POLL)


def follow(row: Row, handle, backend: Machine | Cluster) -> None:
    """Takes over the state of the run's job."""
    if handle.done():
        error = handle.exception()
        row.failure = (str(error) or repr(error)) if error else handle.result()
        row.state = "failed" if row.failure else "done"
    elif backend.running(handle):
        row.state = "running"


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and sweeps; exit status 1 if a run failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    with explain():
        default, variants = Arguments(), {"": ()}
        own, flags = arguments[:cut], arguments[cut + 1 :]
        if own and not own[0].startswith("-"):
            described = read(own[0])
            folder = f"runs/{pathlib.Path(own.pop(0)).stem}"
            default = dataclasses.replace(default, logdir=folder, **described.grid)
            variants = described.flags
        parsed = tyro.cli(
            Arguments, prog="python -m experiments.sweep [FILE.yaml]", args=own, default=default
        )
        rows = sweep(parsed, flags, variants=variants)
        if len(variants) > 1:
            Console().print(compared(parsed.logdir, [row.job for row in rows]))
    if any(row.state == "failed" for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
