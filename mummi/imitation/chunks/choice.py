"""Which of K candidate chunks is taken: the one with the least score."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mummi.imitation.chunks.config import Choice
from mummi.imitation.metrics import chunk_distance


def proxy_scores(
    candidates: Float[Array, "B K T A"], last: Float[Array, "B A"]
) -> Float[Array, "B K"]:
    """ProxyScore: distance of each candidate's first action to the action taken last.

    MIRROR offers the robot's state or the last action to compare the first motion with; how an
    action moves the state depends on the robot, so this is the second.
    """
    return chunk_distance(candidates[:, :, :1], last[:, None, None])


def overlap_scores(
    candidates: Float[Array, "B K T A"], chunk: Float[Array, "B T A"], execute: int
) -> Float[Array, "B K"]:
    """Distance of each candidate to what ``chunk``, made ``execute`` steps ago, held for its steps.

    NaN where it held nothing more.
    """
    overlap = chunk.shape[1] - execute
    rest = chunk[:, None, execute:]
    return chunk_distance(candidates[:, :, :overlap], rest)


def medoid_scores(candidates: Float[Array, "B K T A"]) -> Float[Array, "B K"]:
    """Total distance of each candidate to all others.

    The least is the medoid: near the centre where there is one way, and on a way where there are
    several, between which the mean would lie.
    """
    return chunk_distance(candidates[:, :, None], candidates[:, None]).sum(-1)


def start_scores(candidates: Float[Array, "B K T A"]) -> Float[Array, "B K"]:
    """Distance between the first two actions of each candidate; 0 of a chunk of one.

    MIRROR breaks ties by the smoothness of the first action where nothing came before, and does not
    define it: this is our reading.
    """
    if candidates.shape[2] == 1:
        return jnp.zeros(candidates.shape[:2])
    return chunk_distance(candidates[:, :, :1], candidates[:, :, 1:2])


def scores(
    choice: Choice,
    candidates: Float[Array, "B K T A"],
    chunk: Float[Array, "B T A"],
    execute: int,
    first: Bool[Array, " B"],
) -> Float[Array, "B K"]:
    """What a ``choice`` takes the least of.

    Args:
        choice: as ``SampledConfig`` names it.
        candidates: to choose from.
        chunk: the one before, of which ``execute`` actions were taken.
        execute: T_a.
        first: robots of which there is none before.
    """
    if choice == "first":
        return jnp.zeros(candidates.shape[:2])
    if choice == "medoid":
        return medoid_scores(candidates)
    if choice == "proxy":
        continued = proxy_scores(candidates, chunk[:, execute - 1])
    else:
        continued = overlap_scores(candidates, chunk, execute)
    return jnp.where(first[:, None], start_scores(candidates), continued)
