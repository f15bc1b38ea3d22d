"""What the label of a demonstration says: its actions, or what they do.

Two demonstrations of an instruction differ in length and in the noise that the demonstrator
corrects, which says nothing about where they lead. The path of the hand does.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

KNOTS = 32
"""Points of a path."""


def padded(actions: Sequence[Float[np.ndarray, "_ A"]]) -> Float[np.ndarray, "N L A"]:
    """Action sequences of N demonstrations, zeros past the end of each."""
    labels = np.zeros((len(actions), max(map(len, actions)), actions[0].shape[1]), np.float32)
    for row, action in zip(labels, actions, strict=True):
        row[: len(action)] = action
    return labels


def moved(displacements: Float[np.ndarray, "T D"]) -> Float[np.ndarray, "T+1 D"]:
    """Where steps lead from 0: before each of them, and after the last."""
    start = np.zeros_like(displacements[:1], dtype=np.float64)
    return np.concatenate([start, np.cumsum(displacements, 0, dtype=np.float64)])


def knots(path: Float[np.ndarray, "T D"], number: int = KNOTS) -> Float[np.ndarray, "K D"]:
    """A path from its start on at evenly spaced parts of its own length; linear between steps."""
    at = np.linspace(0, len(path) - 1, number + 1)[1:]
    return np.stack([np.interp(at, np.arange(len(path)), x - x[0]) for x in path.T], 1)


def event_steps(gripper: Float[np.ndarray, " T"]) -> Int[np.ndarray, " 2"]:
    """Steps of the first and the last change of sign of a command: of grasp and release.

    The number of steps stands for an event that there is not.
    """
    changes = np.flatnonzero(np.diff(np.sign(gripper))) + 1
    end = len(gripper)
    return np.array([changes[0] if len(changes) else end, changes[-1] if len(changes) > 1 else end])


def at_events(
    path: Float[np.ndarray, "T D"], steps: Int[np.ndarray, " 2"]
) -> Float[np.ndarray, "2 D"]:
    """Displacement from the start of a path at steps of it; the last of the path beyond its end."""
    return path[np.minimum(steps, len(path) - 1)] - path[0]
