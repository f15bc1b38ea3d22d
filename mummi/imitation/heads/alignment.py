"""Alignment of a demonstration to another start (retrieve, align, replay).

What two starts differ by is learned from pairs of demonstrations: a ridge regression from the
embeddings of both to the difference of where the hand was at the events of the gripper. A replayed
demonstration is then led aside by that much on its way to each event. The actions must be
displacements, such as those of LIBERO's controller.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from mummi.imitation.retrieval.labels import at_events, event_steps, moved

FOLDS = 5
"""Parts of the demonstrations of which each is held out in turn."""
STRENGTHS = np.logspace(-4, 3, 15)
"""Of the ridge, in mean squared singular values."""


class Alignment:
    """Differences between starts, learned from pairs of demonstrations.

    As each pair stands in both orders, the ridge regression from [z_query, z_donor] has opposite
    weights for the two, and is one from z_query - z_donor. Its strength is that of least held-out
    error; where none is below the error of no alignment, nothing is aligned.

    Attributes:
        weights: [D, O].
        errors: root mean squared held-out differences, ``unaligned`` and ``aligned``.
    """

    def __init__(
        self, weights: Float[np.ndarray, "D O"], errors: Mapping[str, float] | None = None
    ):
        self.weights, self.errors = weights, errors or {}

    @classmethod
    def fit(
        cls,
        embedding: Float[np.ndarray, "N D"],
        target: Float[np.ndarray, "N O"],
        group: Int[np.ndarray, " N"],
        seed: int,
    ) -> "Alignment":
        """Learns from all pairs within a group.

        Args:
            embedding: normalised embeddings of the starts.
            target: what is to be told apart, as where the hand was at the events.
            group: of each demonstration, as those of one instruction.
            seed: of the parts that are held out.
        """
        fold = np.random.default_rng(seed).permutation(len(group)) % FOLDS
        squares, count = np.zeros(len(STRENGTHS) + 1), 0
        for part in range(FOLDS):
            rest = np.flatnonzero(fold != part)
            out = np.flatnonzero((fold == part) & np.isin(group, group[rest]))
            z, y = (_centred(x[out], group[out], x[rest], group[rest]) for x in (embedding, target))
            solve = _ridge(embedding[rest], target[rest], group[rest])
            guesses = [z @ solve(strength) for strength in STRENGTHS]
            squares += [np.square(y - guess).sum() for guess in (*guesses, 0.0)]
            count += y.size
        best = int(squares[:-1].argmin())
        errors = np.sqrt(squares / max(count, 1))
        weights = _ridge(embedding, target, group)(STRENGTHS[best])
        if not squares[best] < squares[-1]:
            weights, best = 0 * weights, -1
        return cls(weights, {"unaligned": errors[-1], "aligned": errors[best]})

    def offset(
        self, query: Float[np.ndarray, "Q D"], donor: Float[np.ndarray, "Q D"]
    ) -> Float[np.ndarray, "Q O"]:
        """By how much a query's targets are beside those of its donor."""
        return (np.asarray(query, np.float64) - donor) @ self.weights


def _centred(x, group, others, of_others) -> np.ndarray:
    """Rows less the mean of the other rows of their group."""
    means = np.stack([others[of_others == g].mean(0) for g in group]) if len(group) else x
    return x.astype(np.float64) - means


def _ridge(embedding, target, group):
    """The weights of all pairs within groups, as a function of the strength.

    The sum over pairs of products of differences is 2 n times that of products of deviations from
    the mean of the group of n.
    """
    _, place, count = np.unique(group, return_inverse=True, return_counts=True)
    root = np.sqrt(count[place])[:, None]
    z, y = (root * _centred(x, group, x, group) for x in (embedding, target))
    u, s, v = np.linalg.svd(z, full_matrices=False)
    scale = max(np.square(s).mean(), 1e-12)
    return lambda strength: v.T @ ((s / (np.square(s) + strength * scale))[:, None] * (u.T @ y))


def events(
    actions: Float[np.ndarray, "T A"], executed: Float[np.ndarray, "T A"], hand: int
) -> tuple[Int[np.ndarray, " 2"], Float[np.ndarray, "2 hand"]]:
    """Steps of grasp and release, and where the hand was then, in sums of executed actions.

    Args:
        actions: what was wanted; the last number commands the gripper.
        executed: what was done.
        hand: how many of the first numbers displace the hand.
    """
    steps = event_steps(actions[:, -1])
    return steps, at_events(moved(executed[:, :hand]), steps)


def aligned(
    actions: Float[np.ndarray, "T A"],
    steps: Int[np.ndarray, " 2"],
    offset: Float[np.ndarray, "2 hand"],
) -> Float[np.ndarray, "T A"]:
    """Actions that lead the hand ``offset`` beside where they led it at two steps.

    What is added to each of the two legs is shared out by the room that each action has up to its
    limits of 1, so that none is cut; where a leg has too little, it goes as far as it can.
    """
    result = np.array(actions, np.float64)
    legs = np.diff(np.concatenate([np.zeros_like(offset[:1]), offset]), axis=0)
    for start, end, leg in zip((0, steps[0]), steps, legs, strict=True):
        part = result[start:end, : len(leg)]
        room = np.maximum(1 - np.sign(leg) * part, 0.0)
        share = np.abs(leg) / np.maximum(room.sum(0), 1e-9)
        part += np.sign(leg) * room * np.minimum(share, 1.0)
    return result.astype(np.float32)
