"""How often each step of demonstrations is learned from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mummi.imitation.scaling import CONSTANT


def change_weights(
    actions: Sequence[Float[np.ndarray, "_ A"]], share: float
) -> Float[np.ndarray, " N"]:
    """Weights of all steps, of mean 1, larger where the wanted action changes.

    A part 1 - ``share`` of the weight is spread evenly. The rest is divided evenly among the
    actions that ever change, and of each goes to steps in proportion to how far it is from the step
    before: a gripper that closes once has as much of it as a joint that never rests.

    Args:
        actions: wanted in each demonstration.
        share: from 0, where all weights are 1, to 1.
    """
    steps = [np.abs(np.diff(a, axis=0, prepend=a[:1])) for a in actions]
    change = np.concatenate(steps).astype(np.float64)
    mean = change.mean(0)
    moves = (mean > 0) & (np.ptp(np.concatenate(actions), 0) > CONSTANT)
    if not moves.any():
        return np.ones(len(change))
    return 1 - share + share * (change[:, moves] / mean[moves]).mean(1)


def require_share(share: float) -> None:
    """Raises a ValueError unless ``share`` is one."""
    if not 0 <= share <= 1:
        raise ValueError(f"change_share {share} must be between 0 and 1")


def cumulative(weights: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Where each entry ends on [0, 1]: the first above a uniform draw is drawn by its weight."""
    ends = np.cumsum(weights, dtype=np.float64)
    return ends / ends[-1]
