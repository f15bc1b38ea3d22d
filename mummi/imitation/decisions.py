"""Two-valued actions, such as a gripper's command: which they are, and decisions that hold."""

import dataclasses
from collections.abc import Mapping, Sequence

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


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Decides two-valued actions so that a decision holds; by default there are none.

    A new value is taken where what a head gives is beyond the middle of the two by more than
    ``hysteresis`` of the way to it. At 0 it is whatever is nearer at each step, so that a head that
    is not sure lets a gripper chatter.

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

    def decide(
        self,
        actions: Float[np.ndarray, "N A"],
        before: Float[np.ndarray, "N A"],
        is_first: Bool[np.ndarray, " N"],
    ) -> Float[np.ndarray, "N A"]:
        """The actions, those that are two-valued at one of their levels.

        Args:
            actions: that a head gives.
            before: what was done in the step before; the nearer level is what was decided.
            is_first: where there was none, so that the nearer level is taken.
        """
        actions = np.array(actions)
        for number, (low, high) in self.levels.items():
            middle, bar = (low + high) / 2, self.hysteresis * (high - low) / 2
            held = np.where(before[:, number] > middle, middle - bar, middle + bar)
            limit = np.where(is_first, middle, held)
            actions[:, number] = np.where(actions[:, number] > limit, high, low)
        return actions
