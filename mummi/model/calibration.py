"""What trust compares with: a few numbers that are measured on healthy episodes."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mummi.model.evidence import closeness, expectation, likeness
from mummi.model.trust import NOVEL, Evidence, Judge, Thresholds

BANK = 128
"""Healthy values of each sensor that the density ratio compares with."""
USUAL = 0.01
"""Quantile of healthy log ratios above which a value is as good as any."""
SCALES = 2.0 ** np.arange(-3, 12)
"""Candidates for the scale s of squared distances."""


def calibrate(
    judge: Judge, params: dict, episodes: Sequence[Mapping[str, Any]], seed: int
) -> Thresholds:
    """Measures the thresholds on healthy episodes, which the model did not learn from.

    Args:
        judge: of the world model.
        params: of the world model.
        episodes: each with ``values`` and ``available`` by modality [T, ...] and ``action``
            [T, A], taken after seeing the values of its step.
        seed: of the draws for the bank.

    Raises:
        ValueError: there are no episodes, or a sensor never delivered in them.
    """
    if not episodes:
        raise ValueError("there are no healthy episodes to calibrate trust on")
    followed = _follow(judge, params, _side_by_side(judge, episodes))
    bank, source = _bank(judge, followed, seed)
    measured = {"reach": _reach(bank, source, followed.means, followed.delivered)}
    for name, g in (("past", followed.predicted), ("present", followed.seen)):
        inputs = (bank, followed.means, g, followed.delivered)
        measured[name] = inverse = _inverse_scales(*inputs)
        measured[f"{name}_level"] = _level(*inputs, inverse)
    repeats = (followed.repeated.sum((0, 2)) + 1.0) / (followed.delivered.sum((0, 2)) + 2.0)
    return Thresholds(bank=bank, repeats=repeats, **measured)


def _side_by_side(judge: Judge, episodes) -> tuple:
    """Values, availability, actions that led to each step and first steps, [T, B, ...].

    Beyond an end nothing is delivered.
    """
    longest = max(len(episode["action"]) for episode in episodes)

    def together(rows):
        rows = [np.asarray(row) for row in rows]
        return np.stack(
            [np.pad(x, ((0, longest - len(x)), *((0, 0),) * (x.ndim - 1))) for x in rows], 1
        )

    names = [m.name for m in judge.modalities]
    values = {name: together([e["values"][name] for e in episodes]) for name in names}
    available = {name: together([e["available"][name] for e in episodes]) for name in names}
    action = together([np.asarray(e["action"], np.float32) for e in episodes])
    led = np.concatenate([np.zeros_like(action[:1]), action[:-1]])
    first = np.arange(longest)[:, None] == np.zeros(len(episodes))
    return values, available, led, first


@functools.partial(jax.jit, static_argnums=0)
def _follow(judge: Judge, params, steps) -> Evidence:
    """Evidence [T, ...] of all episodes."""

    def step(verdict, now):
        values, available, led, first = now
        delivered = judge.perception.delivered(available)
        said = judge.perception.say(params, values, delivered, delivered)
        return judge.watch(params, verdict, said, delivered, led, first)

    return jax.lax.scan(step, judge.start(steps[2].shape[1]), steps)[1]


def _bank(judge: Judge, followed: Evidence, seed: int) -> tuple[Array, Array]:
    """Expert means [M, N, E] of healthy values, and the episode of each [M, N].

    They are drawn without replacement where there are enough.
    """
    random, rows, sources = np.random.default_rng(seed), [], []
    means, delivered = np.asarray(followed.means), np.asarray(followed.delivered)
    for index, m in enumerate(judge.modalities):
        said = means[:, index][delivered[:, index]]
        if not len(said):
            raise ValueError(
                f"{m.name!r} never delivers in the healthy episodes; record some in which it does"
            )
        drawn = random.choice(len(said), BANK, replace=len(said) < BANK)
        rows.append(said[drawn])
        sources.append(np.nonzero(delivered[:, index])[1][drawn])
    return jnp.asarray(np.stack(rows)), jnp.asarray(np.stack(sources))


@jax.jit
def _reach(bank, source, means, delivered) -> Float[Array, " M"]:
    """How far healthy values are from the bank's of other episodes, a high quantile.

    With one episode they are compared with those of the same.
    """
    episodes = jnp.arange(means.shape[2])
    other = (source[:, None] != episodes[:, None]) | (len(episodes) == 1)  # [M, B, N]

    def of_step(now):
        square = jnp.square(now[:, :, None] - bank[:, None]).sum(-1)
        return jnp.where(other, square, jnp.inf).min(-1)

    distance = jnp.where(delivered, jax.lax.map(of_step, means), jnp.nan)
    return jnp.nanquantile(distance, 1 - NOVEL, (0, 2))


@jax.jit
def _inverse_scales(bank, means, g, delivered) -> Float[Array, "M S"]:
    """Inverse scales under which healthy values are most likely; 0 where none is above chance.

    Args:
        bank: [M, N, E].
        means: of the experts [T, M, B, E].
        g: predictions for them [T, S, B, E].
        delivered: [T, M, B].
    """

    def likelihood(inverse):
        every = jnp.full((len(bank), g.shape[1]), inverse)

        def of_step(now):
            means, g, delivered = now
            ratio = _ratio(bank, means, g, every)
            return jnp.where(delivered[:, None], ratio, 0.0).sum(-1)

        return jax.lax.map(of_step, (means, g, delivered)).sum(0)

    candidates = jnp.concatenate([jnp.zeros(1), 1 / SCALES])
    return candidates[jax.lax.map(likelihood, candidates).argmax(0)]


@jax.jit
def _level(bank, means, g, delivered, inverse) -> Float[Array, "M S"]:
    """A low quantile of the log ratios of healthy values."""

    def of_step(now):
        return _ratio(bank, *now, inverse)

    ratios = jax.lax.map(of_step, (means, g))
    ratios = jnp.where(delivered[:, :, None], ratios, jnp.nan)
    return jnp.nanquantile(ratios, USUAL, (0, 3))


def _ratio(bank, means, g, inverse) -> Float[Array, "M S B"]:
    """The log density ratio of what the sensors say [M, B, E] under predictions [S, B, E]."""
    like = likeness(bank, jnp.broadcast_to(g, (len(bank), *g.shape)))
    own = inverse[..., None] * closeness(means, g[None])[:, 0]
    return own - expectation(like, inverse)
