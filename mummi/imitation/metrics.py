"""Measures of motion, of candidates and of speed.

MIRROR reports jerk, mode-switch rate and latency, and defines the last alone (mean and 99th
percentile in milliseconds, and a loop rate). The definitions of the others here are stated with
each function.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mummi.imitation.chunks.imle import charbonnier
from mummi.imitation.scaling import CONSTANT

SWITCH = 0.2
"""Distance beyond which two chunks are two ways."""


class Latency(NamedTuple):
    """Milliseconds of a call and of processor time in it, and the rate that the mean allows."""

    mean: float
    p99: float
    cpu: float
    hertz: float


def chunk_distance(
    first: Float[Array | np.ndarray, "*#batch T A"],
    second: Float[Array | np.ndarray, "*#batch T A"],
) -> Float[Array, "*batch"]:
    """D_ρ averaged over action dimensions, so that robots of different sizes compare."""
    return charbonnier(first, second) / first.shape[-1]


def error_over_variance(
    actions: Float[Array | np.ndarray, "N *steps A"],
    wanted: Float[Array | np.ndarray, "N *steps A"],
    variance: Float[Array | np.ndarray, " A"],
) -> Float[Array, "*steps"]:
    """Mean squared error over the variance, of the actions that vary: 1 is what their mean gets.

    Args:
        actions: that were chosen.
        wanted: that the demonstrator wanted.
        variance: of each action in what was learned from; one that is 0 is left out.
    """
    varies = variance > 0
    ratio = jnp.square(actions - wanted) / jnp.where(varies, variance, 1)
    return (ratio * varies).mean(0).sum(-1) / jnp.maximum(1, varies.sum())


def varying(actions: Float[np.ndarray, "N A"]) -> Float[np.ndarray, " A"]:
    """Variance of each action, 0 of one that never varies."""
    std = actions.std(0)
    return np.where(std < CONSTANT, 0, np.square(std))


def jerk(motion: Float[np.ndarray, "T D"]) -> float:
    """Mean length of the third difference of a motion, in its unit per step³; 0 below 4 steps.

    A motion is a path of positions, or executed actions where those are what is commanded.
    """
    if len(motion) < 4:
        return 0.0
    return float(np.linalg.norm(np.diff(motion, 3, axis=0), axis=-1).mean())


def mode_switch_rate(gaps: Float[np.ndarray, "*N"], threshold: float = SWITCH) -> float:
    """Share of new chunks whose distance to what the last still held is above ``threshold``.

    ``gaps`` that are NaN (first chunks) do not count; NaN when none count.
    """
    gaps = np.asarray(gaps)
    gaps = gaps[np.isfinite(gaps)]
    return float((gaps > threshold).mean()) if len(gaps) else float("nan")


def diversity(candidates: Float[Array | np.ndarray, "K T A"]) -> Float[Array, ""]:
    """Mean ``chunk_distance`` over the pairs of different candidates; NaN of a single one."""
    first, second = np.triu_indices(len(candidates), 1)
    return chunk_distance(candidates[first], candidates[second]).mean()


def latencies(
    calls: Sequence[Callable[[], object]], repeats: int = 100, warm_up: int = 3
) -> list[Latency]:
    """Times calls in turn until their arrays are ready, so that load falls on all alike.

    The first ``warm_up`` turns do not count.
    """
    costs = np.zeros((warm_up + repeats, len(calls), 2))
    for turn in costs:
        for cost, call in zip(turn, calls, strict=True):
            began = time.perf_counter(), time.process_time()
            jax.block_until_ready(call())
            cost[:] = time.perf_counter() - began[0], time.process_time() - began[1]
    wall, cpu = 1000 * np.moveaxis(costs[warm_up:], 2, 0)
    mean, p99 = wall.mean(0), np.percentile(wall, 99, axis=0)
    return [
        Latency(*map(float, row)) for row in zip(mean, p99, cpu.mean(0), 1000 / mean, strict=True)
    ]
