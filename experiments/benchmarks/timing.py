"""Costs of calls, measured in turn."""

import dataclasses
import pathlib
import re
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np


class Cost(NamedTuple):
    """Seconds that one run took, by the clock and of processor time in this process."""

    wall: float
    cpu: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured ratio.

    Attributes:
        stage: one of the stages.
        rate: what is done, per second of the clock.
        unit: what the rate counts.
        meaning: what the ratio compares.
        target: the ratio that the stage is to reach, or "".
        ratio: by the clock.
        ratio_cpu: by processor time, which other processes disturb less; None where the work is
            done by other processes or another device.
        cpu: processor seconds of this process for one of what the rate counts, or None as above.
        memory: most MiB that this process was resident in while the stage ran, or None.
    """

    stage: str
    rate: float
    unit: str
    meaning: str
    target: str
    ratio: float
    ratio_cpu: float | None = None
    cpu: float | None = None
    memory: float | None = None


def forget_peak() -> None:
    """Lets ``peak_memory`` begin anew."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """Most MiB that this process was resident in since ``forget_peak``."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def in_turn(
    repeats: int, *calls: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> list[list[Cost]]:
    """The costs of each call, run in turn; ``prepare`` runs before each turn, untimed."""
    costs = []
    for _ in range(repeats):
        prepare()
        costs.append([_cost(call) for call in calls])
    return [list(runs) for runs in zip(*costs, strict=True)]


def fastest(
    repeats: int, *calls: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> list[Cost]:
    """The least cost of each call; see ``in_turn``."""
    return [Cost(*np.min(runs, 0)) for runs in in_turn(repeats, *calls, prepare=prepare)]


def now() -> Cost:
    """The clock and the processor time of this process."""
    return Cost(time.perf_counter(), time.process_time())


def _cost(call) -> Cost:
    began = now()
    jax.block_until_ready(call())
    return Cost(*np.subtract(now(), began))
