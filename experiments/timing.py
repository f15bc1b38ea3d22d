"""Costs of calls, measured in turn."""

import dataclasses
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
    """

    stage: str
    rate: float
    unit: str
    meaning: str
    target: str
    ratio: float
    ratio_cpu: float | None = None


def fastest(
    repeats: int, *calls: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> list[Cost]:
    """The least cost of each call over runs in turn; ``prepare`` runs before each turn, untimed."""
    costs = []
    for _ in range(repeats):
        prepare()
        costs.append([_cost(call) for call in calls])
    return [Cost(*np.min(runs, 0)) for runs in zip(*costs, strict=True)]


def _cost(call) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)
