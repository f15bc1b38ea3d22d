"""Two-valued actions, such as a gripper's command: which they are, and decisions that hold."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mummi.imitation.scaling import CONSTANT, Scaling

SLACK = 1e-3
"""How far from a level a value may be that counts as at it, as a share of their distance."""

Levels = Mapping[int, tuple[float, ...]]
"""The lower and the upper value by the number of each two-valued action."""


def two_valued(
    actions: Float[np.ndarray, "N A"], chosen: Sequence[int] | None = None
) -> dict[int, tuple[float, ...]]:
    """Levels of the actions whose every value is at one of two, or of the ``chosen`` ones.

    The levels of an action are its least and largest value, and differ. A chosen one may have
    values between them.

    Args:
        actions: of demonstrations.
        chosen: numbers of actions.

    Raises:
        ValueError: one of them is named twice, is not there, or never varies.
    """
    low, high = (limits.astype(np.float64) for limits in (actions.min(0), actions.max(0)))
    span = high - low
    if chosen is None:
        away = np.minimum(actions - low, high - actions).max(0)
        found = np.flatnonzero((span > CONSTANT) & (away <= SLACK * span)).tolist()
    else:
        found = sorted(chosen)
        _require(found, span)
    return {number: (float(low[number]), float(high[number])) for number in found}


def _require(chosen: Sequence[int], span: Float[np.ndarray, " A"]) -> None:
    for number in chosen:
        if not 0 <= number < len(span):
            wrong = f"the data have {len(span)}, from 0 to {len(span) - 1}"
        elif chosen.count(number) > 1:
            wrong = "it is there twice"
        elif span[number] <= CONSTANT:
            wrong = "it never varies"
        else:
            continue
        raise ValueError(f"--two-valued names action {number}, and {wrong}")


def describe(levels: Levels) -> list[str]:
    """A line for each two-valued action."""
    return [
        f"action {number} is two-valued, {low:.4g} or {high:.4g}: what a head gives is decided for "
        "one of them, by --hysteresis; --two-valued names others"
        for number, (low, high) in levels.items()
    ]


class Held(NamedTuple):
    """What decisions remember from step to step, for a batch of N robots.

    Attributes:
        actions: the last ones as they are learned, float32 [N, A], two-valued ones at a level.
        doubt: how much speaks for the other value of a two-valued action, float32 [N, A]: the sum
            of its probabilities since the head last agreed with what is held; -inf until it does.
    """

    actions: Float[np.ndarray, "N A"]
    doubt: Float[np.ndarray, "N A"]


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Decides two-valued actions so that a decision holds; by default there are none.

    What a head gives lies a share p of the way from the value that is held to the other one; of a
    Bernoulli head, p is the other's probability. The head is sure of the other where p is beyond
    the middle by ``hysteresis`` of the way that is left, and agrees with what is held where it is
    as sure of that. A new value is taken where the head is sure of it, or where its p since the
    head last agreed add up to 1: a robot that has come to where "close" is a little less likely
    than "open", and waits there, would otherwise wait for ever; drawn at each step, "close" would
    be expected by then. A head that never agrees is not sure of anything, and changes nothing.

    At 0 it is whatever is nearer at each step, so that such a head lets a gripper chatter.

    Attributes:
        levels: of actions as they are learned.
        hysteresis: at least 0 and below 1.
    """

    levels: Levels = dataclasses.field(default_factory=dict)
    hysteresis: float = 0.0

    @classmethod
    def learned(cls, levels: Levels, hysteresis: float, scaling: Scaling, size: int) -> "Decisions":
        """Decisions on ``size`` actions as they are learned, of levels in the units of the data."""
        ends = np.zeros((2, size))
        for number, pair in levels.items():
            ends[:, number] = pair
        ends = scaling.learned(ends).T.tolist()
        return cls({number: tuple(ends[number]) for number in levels}, hysteresis)

    def start(self, batch: int, size: int) -> Held:
        """What is remembered before the first step of ``batch`` robots with ``size`` actions."""
        zeros = np.zeros((batch, size), np.float32)
        return Held(zeros, np.full_like(zeros, -np.inf))

    def decide(
        self,
        actions: Float[np.ndarray, "N A"],
        held: Held,
        is_first: Bool[np.ndarray, " N"],
    ) -> Held:
        """The actions to do, those that are two-valued at one of their levels.

        Args:
            actions: that a head gives.
            held: from ``start`` or the last call.
            is_first: where an episode begins, so that the nearer level is taken.
        """
        actions, doubt = np.array(actions), np.array(held.doubt)
        sure = (1 + self.hysteresis) / 2
        for number, (low, high) in self.levels.items():
            upper = (actions[:, number] - low) / (high - low)
            was = held.actions[:, number] > (low + high) / 2
            was = np.where(is_first, upper > 0.5, was)
            other = np.where(was, 1 - upper, upper)
            added = np.where(is_first, -np.inf, doubt[:, number]) + other
            added = np.where(other > 1 - sure, added, 0)
            change = (other > sure) | (added >= 1)
            actions[:, number] = np.where(was ^ change, high, low)
            doubt[:, number] = np.where(change, -np.inf, added)
        return Held(actions, doubt)
