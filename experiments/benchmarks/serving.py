"""A server in use for long: python -m experiments.benchmarks.serving --logdir RUN.

One robot asks for actions at a fixed rate, while another, in a process of its own, sends nonsense
and dies again and again.
"""

import contextlib
import dataclasses
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import psutil
import tyro
from rich.console import Console
from rich.table import Table
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from experiments.command_line import explain
from experiments.serving.messages import pack, unpack

WARM = 10.0
"""Seconds after which memory is first looked at."""
PAUSE = 0.1
"""Seconds between two mischiefs."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Serves a run in a process of its own, and measures its answers and its memory.

    Attributes:
        logdir: folder of the run.
        minutes: how long.
        rate: actions a second.
        out: write the results to this JSON file.
    """

    logdir: str
    minutes: float = 10.0
    rate: float = 50.0
    out: str = ""


class Soaked(NamedTuple):
    """What was measured.

    Attributes:
        waited: milliseconds from sending each observation to having its answer.
        inferred: milliseconds of these that the server says it took.
        woke: milliseconds by which the robot's own sleep before an observation was too long: what
            the machine's other work costs whoever waits.
        late: answers that came after the next observation was due.
        memory: MiB that the server was resident in, about every ``WARM`` seconds.
        mischiefs: done by the other robot.
    """

    waited: list[float]
    inferred: list[float]
    woke: list[float]
    late: int
    memory: list[float]
    mischiefs: int


@contextlib.contextmanager
def serving(logdir: str) -> Iterator[tuple[psutil.Process, str]]:
    """A server's process and its address.

    Raises:
        RuntimeError: it does not start, or does not end as it should.
    """
    with tempfile.NamedTemporaryFile("r") as log:
        command = [sys.executable, "-m", "experiments.serve", "--logdir", logdir, "--port", "0"]
        with pathlib.Path(log.name).open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while not (found := re.search(r"at (ws://\S+);", pathlib.Path(log.name).read_text())):
                if process.poll() is not None:
                    raise RuntimeError(f"the server did not start: {log.read()}")
                time.sleep(0.1)
            yield psutil.Process(process.pid), found[1]
        finally:
            process.terminate()
            status = process.wait(timeout=60)
        if status:
            raise RuntimeError(f"the server ended with status {status}: {log.read()}")


def garbage(robot: ClientConnection) -> None:
    """Bytes that are not msgpack, three times."""
    for size in (0, 1, 1000):
        robot.send(np.random.default_rng(size).bytes(size))
        robot.recv()


def wrong(robot: ClientConnection) -> None:
    """What the policy has not asked for."""
    for content in ({"tactil": np.zeros(2)}, {"reset": 1}, [1, 2], "text"):
        robot.send(pack(content) if content != "text" else content)
        robot.recv()


def too_large(robot: ClientConnection) -> None:
    """A message beyond every limit."""
    robot.send(bytes(2**24))
    robot.recv()


def half_a_frame(robot: ClientConnection) -> None:
    """Dies in the middle of a message."""
    robot.socket.sendall(b"\x82\xfe\x10\x00half")
    robot.socket.shutdown(socket.SHUT_RDWR)


def no_frame(robot: ClientConnection) -> None:
    """Bytes that are no frame."""
    robot.socket.sendall(b"\xff" * 100)
    robot.recv()


MISCHIEFS: tuple[Callable[[ClientConnection], None], ...] = (
    garbage, wrong, too_large, half_a_frame, no_frame
)  # fmt: skip


def misbehave(url: str, done: Any) -> None:
    """Does every mischief in turn, for ever; ``done.value`` counts them."""
    while True:
        mischief = MISCHIEFS[done.value % len(MISCHIEFS)]
        with (
            contextlib.suppress(WebSocketException, OSError),
            connect(url, compression=None, proxy=None, close_timeout=1) as robot,
        ):
            robot.recv()
            mischief(robot)
        done.value += 1
        time.sleep(PAUSE)


def observations(sensors: Mapping[str, Mapping], rate: float) -> Iterator[dict[str, Any]]:
    """Random ones for ever; a sensor is missing in every tenth, and an episode is a minute."""
    random = np.random.default_rng(0)
    drawn = {
        name: random.uniform(0, 1, (64, *s["shape"])).astype(s["dtype"])
        for name, s in sensors.items()
    }
    for step in itertools.count():
        seen = {name: values[step % 64] for name, values in drawn.items()}
        if step % 10 == 9:
            del seen[list(seen)[step // 10 % len(seen)]]
        yield seen | {"reset": step % round(60 * rate) == 0}


def ask(url: str, process: psutil.Process, arguments: Arguments, done: Any) -> Soaked:
    """Asks at the rate for as long as is wanted.

    Raises:
        RuntimeError: an error in place of an answer.
    """
    waited, inferred, woke, memory, late = [], [], [], [], 0
    period, count = 1 / arguments.rate, round(60 * arguments.minutes * arguments.rate)
    with connect(url, compression=None, proxy=None) as robot:
        sensors = unpack(robot.recv())["sensors"]
        began = time.perf_counter()
        for step, seen in enumerate(itertools.islice(observations(sensors, arguments.rate), count)):
            message, due = pack(seen), began + step * period
            if (left := due - time.perf_counter()) > 0:
                time.sleep(left)
                woke.append(1000 * (time.perf_counter() - due))
            sent = time.perf_counter()
            robot.send(message)
            answer = robot.recv()
            received = time.perf_counter()
            if isinstance(answer, str):
                raise RuntimeError(f"the server refused an observation: {answer}")
            waited.append(1000 * (received - sent))
            inferred.append(unpack(answer)["server_timing"]["infer_ms"])
            late += received > due + period
            if received - began > WARM * (1 + len(memory)):
                memory.append(process.memory_info().rss / 2**20)
    memory.append(process.memory_info().rss / 2**20)
    return Soaked(waited, inferred, woke, late, memory, done.value)


def soak(arguments: Arguments) -> Soaked:
    """Serves, misbehaves and asks.

    Raises:
        ValueError: a time or rate that is not positive.
        RuntimeError: the server does not start or end as it should, or refuses what is right.
    """
    if min(arguments.minutes, arguments.rate) <= 0:
        raise ValueError(
            f"--minutes {arguments.minutes} and --rate {arguments.rate} must be positive"
        )
    spawn = multiprocessing.get_context("spawn")
    with serving(arguments.logdir) as (process, url):
        done = spawn.Value("i", 0)
        other = spawn.Process(target=misbehave, args=(url, done), daemon=True)
        other.start()
        try:
            return ask(url, process, arguments, done)
        finally:
            other.terminate()
            other.join()


def summary(arguments: Arguments, found: Soaked) -> dict[str, float]:
    """What is shown and written, by name."""
    ms = {
        f"{name}, ms, {label}": float(np.percentile(values, share))
        for name, values in (
            ("round trip", found.waited),
            ("of it the server", found.inferred),
            ("a sleep's excess", found.woke),
        )
        for label, share in (("p50", 50), ("p99", 99), ("most", 100))
    }
    return {
        "answers": len(found.waited),
        **ms,
        "answers later than the next observation": found.late,
        "server's memory, MiB, start": found.memory[0],
        "server's memory, MiB, end": found.memory[-1],
        "server's memory, MiB, most": max(found.memory),
        "mischiefs of another robot": found.mischiefs,
        "load average": os.getloadavg()[1],
        "cores": len(os.sched_getaffinity(0)),
    }


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, measures and shows."""
    with explain():
        asked = tyro.cli(Arguments, prog="python -m experiments.benchmarks.serving", args=arguments)
        rows = summary(asked, soak(asked))
        table = Table("what", "value", title=f"{asked.minutes:g} minutes at {asked.rate:g} Hz")
        for name, value in rows.items():
            table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
        Console().print(table)
        if asked.out:
            path = pathlib.Path(asked.out)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dataclasses.asdict(asked) | rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
