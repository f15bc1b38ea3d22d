"""Trains and evaluates a grid of runs: python -m experiments.sweep FILE.yaml, or --tasks …."""

import contextlib
import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import tyro
from rich.console import Console
from rich.live import Live
from rich.table import Table

import envs
from envs.failures.script import load_script
from experiments.command_line import explain, parse_config, require
from experiments.evaluation.rollout import episode_numbers
from experiments.sweeping.comparison import compared
from experiments.sweeping.file import read
from experiments.sweeping.jobs import Cluster, Job, Machine, Slurm, complete
from mummi.runs import record as run
from mummi.training.progress import LINE_EVERY
from mummi.training.stop import Stop

POLL = 0.5
"""Seconds between two looks at the runs."""
TAIL = 2**16
"""Bytes at the end of a run's metrics that are read for its progress."""
LAST_LINES = 8
"""Lines of a failed run's log that the report shows."""
STYLES = {"running": "cyan", "failed": "red", "waiting": "", "done": "green", "skipped": "dim"}
"""States of a run, in the order of the view, and their styles."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains and evaluates every combination of variants, tasks, methods and seeds.

    A YAML file as the first argument describes the grid; see experiments/sweeps. Flags change what
    it says. Flags after -- go to experiments.train of every run. Each run is evaluated with
    nothing, 37.5 % and 75 % of the data missing and with each of its sensors removed, beside the
    random policy. The same command goes on where it stopped and skips runs that are complete. On
    Linux, runs at a time share out the cores.

    Attributes:
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


@dataclasses.dataclass
class Row:
    """One run in the view: its state, one of ``STYLES``, and what failed."""

    job: Job
    state: str
    failure: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, state, steps, last return and time left, as text."""
        step, score, speed = progress(self.job.logdir)
        left = ""
        if self.state == "running" and step >= self.job.steps:
            left = "evaluating" if self.job.episodes else ""
        elif self.state == "running" and speed:
            left = str(datetime.timedelta(seconds=round((self.job.steps - step) / speed)))
        score = "" if score is None else f"{score:.1f}"
        return self.job.name, self.state, f"{step}/{self.job.steps}", score, left


def progress(logdir: str) -> tuple[int, float | None, float | None]:
    """Environment steps, last return, and steps a second of a run, from the end of its metrics."""
    path = pathlib.Path(logdir, "metrics.jsonl")
    if not path.is_file():
        return 0, None, None
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - TAIL)
        file.seek(start)
        # The first line may be cut, the last may still be written.
        lines = file.read().split(b"\n")[1 if start else 0 : -1]
    last = {"step": 0}
    for line in lines:
        with contextlib.suppress(TypeError, ValueError):
            last |= json.loads(line)
    return last["step"], last.get("episode/return"), last.get("steps_per_second")


def grid(
    arguments: Arguments,
    flags: Sequence[str] = (),
    variants: Mapping[str, Sequence[str]] = MappingProxyType({"": ()}),
) -> list[Job]:
    """The runs, each found to be possible before any is started.

    Args:
        arguments: of the sweep.
        flags: further arguments of experiments.train, for every run.
        variants: arguments of experiments.train before these, by the variant's name.

    Raises:
        ValueError: what a run would refuse, or ``flags`` that set what the grid sets.
        SystemExit: another mistake in ``flags``, which is printed.
    """
    episode_numbers(arguments.episodes)
    if arguments.parallel is not None and arguments.parallel < 1:
        raise ValueError(f"--parallel {arguments.parallel} must be at least 1")
    if arguments.cluster == "none" and arguments.slurm != Slurm():
        raise ValueError("--slurm.* is for jobs of Slurm; add --cluster slurm")
    for name in arguments.variants:
        require("variant", name, variants)
    chosen = {n: words for n, words in variants.items() if n in (arguments.variants or variants)}
    jobs = {}
    for seed, task, method, variant in itertools.product(
        arguments.seeds, arguments.tasks, arguments.methods, chosen
    ):
        name = f"{envs.folder(task)}/{method}-{arguments.preset}-{seed}"
        name = f"{variant}/{name}" if variant else name
        cell = {
            "task": task,
            "method": method,
            "preset": arguments.preset,
            "seed": seed,
            "logdir": str(pathlib.Path(arguments.logdir, name)),
        }
        words = [word for field, value in cell.items() for word in (f"--{field}", str(value))]
        words = (*words, *chosen[variant], *flags)
        config = parse_config(list(words))
        for field, value in (cell | {"task": envs.canonical(task)}).items():
            if getattr(config, field) != value:
                raise ValueError(
                    f"--{field} {getattr(config, field)!r} would replace the grid's {value!r}; "
                    "give it before --, or in a file beside its settings"
                )
        load_script(config.missing)
        run.check_folder(config.logdir, config)
        log = str(pathlib.Path(arguments.logdir, "logs", f"{name}.log"))
        episodes = str(arguments.episodes) if arguments.evaluate else ""
        asked = config.logdir, log, config.steps, episodes
        jobs[name] = Job(name, words, *asked, config.task, method, seed, variant)
    if not jobs:
        raise ValueError(
            "an empty grid: --tasks, --methods and --seeds need a name each, or give a YAML file"
        )
    return list(jobs.values())


class View:
    """Shows the runs: a table on a terminal, lines now and then elsewhere."""

    def __init__(self, console: Console):
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._states: dict[str, str] = {}
        self._line = time.monotonic()

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Redraws the table, those at work first; elsewhere prints what is new or due."""
        if self._console.is_terminal:
            order = sorted(rows, key=lambda row: list(STYLES).index(row.state))
            self._live.update(table(order), refresh=True)
            return
        due = time.monotonic() - self._line > LINE_EVERY
        for row in rows:
            name, state, steps, score, left = row.cells()
            if self._states.get(name) != state or (due and state == "running"):
                parts = [f"{name}: {state}", f"step {steps}", score and f"return {score}", left]
                print("  ".join(filter(None, parts)), flush=True)
            self._states[name] = state
        if due:
            self._line = time.monotonic()


def table(rows: Sequence[Row]) -> Table:
    """The runs, one a line."""
    over = sum(row.state in ("done", "skipped", "failed") for row in rows)
    view = Table(title=f"{over} of {len(rows)} runs are over")
    for column in ("run", "state", "step", "return", "left"):
        view.add_column(column, justify="left" if column in ("run", "state") else "right")
    for row in rows:
        name, state, *numbers = row.cells()
        view.add_row(name, f"[{STYLES[state]}]{state}" if STYLES[state] else state, *numbers)
    return view


def report(rows: Sequence[Row], console: Console) -> None:
    """Prints all runs, and the last lines of those that failed."""
    console.print(table(rows))
    for row in rows:
        if row.failure:
            log = pathlib.Path(row.job.log)
            lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
            print(f"\n{row.job.name} failed: {row.failure}\n{log} ends with:")
            print("\n".join(f"    {line}" for line in lines[-LAST_LINES:]), flush=True)


def sweep(arguments: Arguments, flags: Sequence[str] = (), **variants) -> list[Row]:
    """Does what the runs of the grid lack; returns them all. Arguments as of ``grid``.

    Raises:
        ValueError, RuntimeError, SystemExit: a mistake in the flags, before anything starts.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the runs have saved checkpoints.
    """
    jobs = grid(arguments, flags, **variants)
    rows = [Row(job, "skipped" if complete(job) else "waiting") for job in jobs]
    todo = [row for row in rows if row.state == "waiting"]
    if arguments.cluster == "none":
        backend = Machine(arguments.parallel or 1)
    else:
        folder = str(pathlib.Path(arguments.logdir, "logs", "submitit"))
        backend = Cluster(arguments.cluster, folder, arguments.slurm, arguments.parallel)
    console = Console()
    with Stop() as stop:
        try:
            handles = backend.submit([row.job for row in todo])
            with View(console) as view:
                while not stop.requested:
                    for row, handle in zip(todo, handles, strict=True):
                        if row.state in ("waiting", "running"):
                            follow(row, handle, backend)
                    view.show(rows)
                    if all(row.state not in ("waiting", "running") for row in rows):
                        break
                    time.sleep(POLL)
        finally:
            backend.stop()
        if stop.requested:
            raise KeyboardInterrupt("stopped; the same command goes on from here")
    report(rows, console)
    return rows


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
