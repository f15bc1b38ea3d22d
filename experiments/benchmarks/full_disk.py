"""Fills the disk of commands and gives them again: python -m experiments.benchmarks.full_disk.

Training, recording, imitation and a sweep of the dummy task each write into a file system in
memory that is full after a random share of what they need. Each must end and say why, what was
finished must be there and be readable, and with space the same command must come to its end.
"""

import dataclasses
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.kills import LIMIT, SUBJECTS, Subject, run
from experiments.command_line import explain

ROOM = 1 << 29
"""Bytes of the file system when it has space."""
SAID = ("No space left on device", "disk full")
NAMESPACE = ("unshare", "--user", "--mount", "--map-root-user")
"""Where a user may mount what nobody else sees (util-linux)."""
INSIDE = "MUMMI_FULL_DISK"
"""Variable of the environment that the command sets there."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Counts what is lost and what cannot be read after the disk was full at random moments.

    Attributes:
        count: times that each command finds it full.
        commands: which of train, collect, imitate and sweep.
        seed: of the moments.
    """

    count: int = 10
    commands: tuple[str, ...] = tuple(SUBJECTS)
    seed: int = 0


class Seen(NamedTuple):
    """What was seen of one command.

    Attributes:
        full: times that it found the disk full.
        said: of these, times that it ended with an error that says so.
        finished: finished things that were there when it ended.
        lost: of these, those that were gone when the same command had come to its end.
        unreadable: times that something could not be read when it ended.
    """

    full: int = 0
    said: int = 0
    finished: int = 0
    lost: int = 0
    unreadable: int = 0


def mount(folder: pathlib.Path, size: int, *options: str) -> None:
    """A file system in memory at a folder, or with ``remount`` another size of it."""
    chosen = ",".join((*options, f"size={size}"))
    subprocess.run(("mount", "-t", "tmpfs", "-o", chosen, "tmpfs", str(folder)), check=True)


def used(folder: pathlib.Path) -> int:
    """Bytes that its file system holds."""
    return shutil.disk_usage(folder).used


def fill(subject: Subject, folder: pathlib.Path, need: int) -> Seen:
    """Runs a command where only ``need`` bytes are free, then again with space.

    Raises:
        RuntimeError: with space it does not come to its end.
    """
    arguments = subject.arguments(folder)
    mount(folder, used(folder) + need, "remount")
    command = [sys.executable, "-m", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    if not process.returncode:
        return Seen()
    told = process.stdout + process.stderr
    seen = Seen(full=1, said=int("Traceback" not in told and any(text in told for text in SAID)))
    if not seen.said:
        print(told[-2000:], file=sys.stderr)
    try:
        before = subject.finished(folder)
    except Exception as error:  # whatever its damage leads to
        print(f"{folder}: {error}", file=sys.stderr)
        return seen._replace(unreadable=1)
    mount(folder, ROOM, "remount")
    run(arguments)
    lost = before - subject.finished(folder)
    return seen._replace(finished=len(before), lost=len(lost))


def rounds(subject: Subject, chance: random.Random, folder: pathlib.Path, count: int) -> Seen:
    """Lets a command find the disk full ``count`` times, each in a file system of its own.

    Raises:
        RuntimeError: with space it does not come to its end.
    """

    def fresh(name: str) -> pathlib.Path:
        place = folder / name
        place.mkdir()
        mount(place, ROOM)
        return place

    alone = fresh("alone")
    arguments, empty = subject.arguments(alone), used(alone)
    run(arguments)
    need, total, number = used(alone) - empty, Seen(), 0
    while total.full < count:
        place = fresh(str(number))
        seen = fill(subject, place, int(need * chance.random()))
        total = Seen(*map(sum, zip(total, seen, strict=True)))
        subprocess.run(("umount", str(place)), check=True)
        number += 1
    return total


def table(found: dict[str, Seen]) -> Table:
    """A row a command."""
    result = Table("command", "full", "said", "finished", "lost", "unreadable")
    for name, seen in found.items():
        result.add_row(name, *map(str, seen))
    return result


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, fills and shows; exit status 1 if anything was lost or not said."""
    given = sys.argv[1:] if arguments is None else arguments
    with explain():
        asked = tyro.cli(Arguments, prog="python -m experiments.benchmarks.full_disk", args=given)
        unknown = set(asked.commands) - set(SUBJECTS)
        if unknown or asked.count < 1:
            raise ValueError(f"--commands are of {', '.join(SUBJECTS)}, --count at least 1")
        if INSIDE not in os.environ:
            command = (*NAMESPACE, sys.executable, "-m", __spec__.name, *given)
            os.execvpe(command[0], command, os.environ | {INSIDE: "1"})
        console, found = Console(), {}
        with tempfile.TemporaryDirectory() as folder:
            mount(pathlib.Path(folder), ROOM)
            for name in asked.commands:
                place = pathlib.Path(folder) / name
                place.mkdir()
                found[name] = rounds(SUBJECTS[name], random.Random(asked.seed), place, asked.count)
                console.print(f"{name}: {found[name]}")
            subprocess.run(("umount", "--lazy", folder), check=True)
        console.print(table(found))
    sys.exit(any(seen.lost or seen.unreadable or seen.said < seen.full for seen in found.values()))


if __name__ == "__main__":
    main()
