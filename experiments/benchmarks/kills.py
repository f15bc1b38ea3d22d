"""Kills commands at random moments and gives them again: python -m experiments.benchmarks.kills.

Training, recording, imitation and a sweep of the dummy task are killed by SIGKILL, with their
process group, within the time that they take when they are let alone. What was finished before
must be there afterwards and be readable, and in the end each command must come to its end.
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from experiments.command_line import explain
from experiments.evaluation import saved
from mummi.data.episode import load_episode
from mummi.imitation.demonstrations import open_data
from mummi.runs import record
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import read_metrics

LIMIT = 600.0
"""Seconds in which a command that is let alone must end."""
DUMMY = ("--task", "dummy", "--preset", "debug", "--background", "none", "--image-size", "8")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Counts what is lost and what cannot be read after kills at random moments.

    Attributes:
        count: kills of all commands together.
        seed: of the moments.
    """

    count: int = 100
    seed: int = 0


class Subject(NamedTuple):
    """A command that is killed.

    Attributes:
        arguments: of ``python -m``, in a folder.
        finished: names of what is finished and whole in the folder; raises what reading raises.
    """

    arguments: Callable[[pathlib.Path], tuple[str, ...]]
    finished: Callable[[pathlib.Path], set[str]]


class Count(NamedTuple):
    """What was seen of one command."""

    kills: int = 0
    ends: int = 0
    finished: int = 0
    lost: int = 0
    unreadable: int = 0


def training(folder: pathlib.Path) -> tuple[str, ...]:
    """Training of the dummy task, with a checkpoint every second."""
    flags = ("--steps", "6000", "--checkpoint-every", "1", "--evaluate-every", "2000")
    return ("experiments.train", *DUMMY, *flags, "--logdir", str(folder / "run"))


def recording(folder: pathlib.Path) -> tuple[str, ...]:
    """Recording of random demonstrations of the dummy task."""
    flags = ("--policy", "random", "--episodes", "400", "--out", str(folder / "data.hdf5"))
    return ("experiments.collect", "--task", "dummy", "--image-size", "8", *flags)


def imitation(folder: pathlib.Path) -> tuple[str, ...]:
    """Imitation of demonstrations that are recorded first."""
    data = folder / "data.hdf5"
    if not data.exists():
        flags = ("--policy", "random", "--episodes", "8", "--out", str(data))
        run(("experiments.collect", "--task", "dummy", "--image-size", "8", *flags))
    flags = ("--data", str(data), "--head", "bc", "--updates", "200", "--checkpoint-every", "1")
    more = ("--batch-length", "6", "--evaluate-missing", "none", "medium")
    return ("experiments.imitate", *DUMMY, *flags, *more, "--logdir", str(folder / "run"))


def sweep(folder: pathlib.Path) -> tuple[str, ...]:
    """A sweep over two seeds of the dummy task."""
    grid = ("--tasks", "dummy", "--methods", "mummi", "--seeds", "0", "1", "--preset", "debug")
    flags = ("--steps", "2000", "--background", "none", "--evaluate-every", "0")
    out = ("--logdir", str(folder), "--episodes", "2", "--parallel", "2")
    return ("experiments.sweep", *grid, *out, "--", *flags)


def of_run(logdir: pathlib.Path) -> set[str]:
    """Episodes and evaluations of a run, each read, and whether a checkpoint and a head are there.

    That a checkpoint and a head are whole is told by the command that goes on from them.
    """
    if not (logdir / "config.yaml").exists():
        return set()
    record.load(logdir)
    found = set()
    for path in logdir.glob("replay/*.npz"):
        load_episode(path)
        found.add(f"{logdir.name}/{path.name}")
    if (logdir / "metrics.jsonl").exists():
        read_metrics(logdir)
    latest = Checkpointer(logdir / "checkpoints").latest_step()
    found |= {f"{logdir.name}/checkpoint"} if latest is not None else set()
    for path in logdir.glob("eval/*.json"):
        saved.entries(path, "mean", "step")
        found.add(f"{logdir.name}/{path.name}")
    return found | {f"{logdir.name}/{path.name}" for path in logdir.glob("head.npz")}


def of_data(folder: pathlib.Path) -> set[str]:
    """Demonstrations of a file, or of the parts that it is made of."""
    files = [folder / "data.hdf5", *folder.glob("data.hdf5.parts/demo_*.hdf5")]
    found = set()
    for path in filter(pathlib.Path.exists, files):
        with open_data(path) as data:
            whole = [f"demo_{number}" for number in range(len(data))]
            found |= {path.stem} if path.parent != folder else set(whole)
            list(data)  # reads each
    return found


def of_sweep(folder: pathlib.Path) -> set[str]:
    """What all runs of a sweep have finished."""
    found = set()
    for logdir in folder.glob("dummy/*"):
        found |= of_run(logdir)
    return found


SUBJECTS = {
    "train": Subject(training, lambda folder: of_run(folder / "run")),
    "collect": Subject(recording, of_data),
    "imitate": Subject(imitation, lambda folder: of_run(folder / "run")),
    "sweep": Subject(sweep, of_sweep),
}


def start(arguments: tuple[str, ...]) -> subprocess.Popen:
    """A command that leads a process group of its own."""
    out = subprocess.DEVNULL
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)


def run(arguments: tuple[str, ...]) -> float:
    """Runs a command to its end; returns the seconds that it takes.

    Raises:
        RuntimeError: it fails, or takes too long.
    """
    process, began = start(arguments), time.monotonic()
    try:
        status = process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        kill(process)
        raise RuntimeError(f"{' '.join(arguments)} takes more than {LIMIT:g} s") from None
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {status}")
    return time.monotonic() - began


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to a command and all that it has started, and waits for it."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rounds(subject: Subject, shares: Iterator[float], folder: pathlib.Path, count: int) -> Count:
    """Kills a command ``count`` times; where it has ended by itself it begins anew.

    Args:
        subject: the command.
        shares: when to kill it, in the time that it takes.
        folder: where it works.
        count: how often.

    Raises:
        RuntimeError: let alone, at first or in the end, it does not come to its end.
    """
    first = folder / "alone"
    first.mkdir()
    span, seen, number = run(subject.arguments(first)), Count(), 0
    place = folder / "0"
    place.mkdir()
    while seen.kills < count:
        process, before = start(subject.arguments(place)), set()
        until = time.monotonic() + span * next(shares)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is not None:
            if process.returncode:
                raise RuntimeError(f"a command ended with status {process.returncode}")
            number += 1
            place = folder / str(number)
            place.mkdir()
            seen = seen._replace(ends=seen.ends + 1)
            continue
        with contextlib.suppress(Exception):  # it is still at work, and files come and go
            before = subject.finished(place)
        kill(process)
        try:
            after = subject.finished(place)
        except Exception as error:  # whatever its damage leads to
            print(f"{place}: {error}", file=sys.stderr)
            seen = seen._replace(kills=seen.kills + 1, unreadable=seen.unreadable + 1)
            continue
        finished, lost = seen.finished + len(after), seen.lost + len(before - after)
        seen = seen._replace(kills=seen.kills + 1, finished=finished, lost=lost)
    run(subject.arguments(place))
    return seen._replace(ends=seen.ends + 1)


def kills(arguments: Arguments, folder: pathlib.Path, console: Console) -> dict[str, Count]:
    """Kills each command a share of the times; a line each is printed.

    Raises:
        ValueError: fewer kills than commands.
        RuntimeError: a command fails by itself.
    """
    if arguments.count < len(SUBJECTS):
        raise ValueError(f"--count is {arguments.count}; it must be at least {len(SUBJECTS)}")
    chance, found = random.Random(arguments.seed), {}
    for index, (name, subject) in enumerate(SUBJECTS.items()):
        share = len(range(index, arguments.count, len(SUBJECTS)))
        place = folder / name
        place.mkdir()
        found[name] = rounds(subject, iter(chance.random, None), place, share)
        console.print(f"{name}: {found[name]}")
    return found


def table(found: dict[str, Count]) -> Table:
    """A row a command, and all of them."""
    result = Table("command", "kills", "came to its end", "finished", "lost", "unreadable")
    total = Count(*(sum(column) for column in zip(*found.values(), strict=True)))
    for name, seen in [*found.items(), ("all", total)]:
        result.add_row(name, *map(str, seen))
    return result


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, kills and shows; exit status 1 if anything was lost."""
    with explain():
        asked = tyro.cli(Arguments, prog="python -m experiments.benchmarks.kills", args=arguments)
        console = Console()
        with tempfile.TemporaryDirectory() as folder:
            found = kills(asked, pathlib.Path(folder), console)
        console.print(table(found))
        if any(seen.lost or seen.unreadable for seen in found.values()):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
