"""Which sensors can be believed, although all say that they work.

A sensor that freezes or lags is available and wrong. Each subset of the sensors is a hypothesis:
that these are honest and the others lie. Each has a filter of its own, which has never fused
another sensor, so that no liar has touched the judge that finds it. What a hypothesis expects is
compared with what the sensors say by the density ratio that InfoNCE has learned,
f(x) = exp(-|d(x) - g(z)|^2 / s) / E[exp(-|d(x') - g(z)|^2 / s)] (MuMMI, eq. 15), which is
p(x | z) / p(x):

- an honest sensor says what its filter predicts from the past, and what the other honest ones see;
- a liar says what has nothing to do with them (a ratio of 1), or what they saw some steps ago, and
  perhaps the very same value again and again, or what is unlike anything healthy.

A hidden Markov model over the subsets gathers this evidence over time: a sensor seldom begins to
lie, and seldom ends. Trust is the probability that a sensor is honest. Nothing is trained; a few
numbers are measured on healthy episodes (``mummi.model.calibration``).
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mummi.model.evidence import closeness, expectation, likeness, told_apart
from mummi.model.objectives import FusedContrast
from mummi.model.perception import ProductOfExperts
from mummi.model.rssm import State
from mummi.model.world_model import WorldModel

LARGEST = 4
"""Sensors of which all subsets are hypotheses; of more, those in which at most two lie or one is
honest."""
LIES, RECOVERS = 3e-4, 0.02
"""Probability of a step that an honest sensor begins to lie, and that a liar becomes honest."""
PAST = 8
"""Steps of the recent past that a liar may repeat."""
STALE = 0.2
"""Probability that a liar says something of the recent past."""
REPEATS = 0.1
"""Probability that a liar's value is the last one to the bit."""
CREDIT = 1.0
"""What a usual log ratio counts for. More counts no more, as a liar's own filter soon agrees with
it; less counts by as much less."""
ODD = 0.05
"""Probability that an honest sensor says something that nobody predicts: an odd value costs no
more than this."""
NOVEL, STRANGE = 0.01, 0.8
"""Probability that what a healthy sensor or a liar says is unlike all that was healthy."""
TEMPER = 0.25
"""Weight of a step's evidence, for what a sensor says at neighbouring steps is much the same."""


class Thresholds(NamedTuple):
    """What is measured on healthy episodes, of M sensors and S subsets.

    Attributes:
        bank: expert means of each sensor [M, N, E].
        past: 1 / s of the ratio under a subset's prediction from the past [M, S]; 0 where the
            prediction tells nothing of the sensor.
        present: 1 / s under what a subset sees now [M, S].
        past_level, present_level: log ratios that are usual, a low quantile [M, S].
        reach: squared distance to the nearest of the bank that healthy values seldom exceed [M].
        repeats: probability that a healthy sensor's value is its last one to the bit [M].
    """

    bank: Float[Array, "M N E"]
    past: Float[Array, "M S"]
    present: Float[Array, "M S"]
    past_level: Float[Array, "M S"]
    present_level: Float[Array, "M S"]
    reach: Float[Array, " M"]
    repeats: Float[Array, " M"]


class Verdict(NamedTuple):
    """What a judge remembers of B robots.

    Attributes:
        trust: probability that each sensor is honest [M, B]; below 1/2 it is left out.
        filters: features of each subset's filter [S, B, D + S].
        belief: probability of each subset [B, S].
        seen: g of what each subset saw at the last ``PAST`` steps [K, S, B, E], newest first.
        ratio: ``expectation`` of the same, of the sensors that a subset does not believe
            [M, K, S, B]; infinite before the first.
        last: what the expert of each sensor said of its last delivered value [M, B, E].
        delivered: whether there is one [M, B].
    """

    trust: Array
    filters: Array
    belief: Array
    seen: Array
    ratio: Array
    last: Array
    delivered: Array


class Evidence(NamedTuple):
    """One step of B robots: what the sensors and the hypotheses say.

    Attributes:
        means: of the experts [M, B, E].
        predicted: g of each subset's prediction from the past [S, B, E].
        seen: g of what each subset sees now [S, B, E].
        repeated: sensors whose value is the last one [M, B].
        delivered: [M, B].
    """

    means: Array
    predicted: Array
    seen: Array
    repeated: Array
    delivered: Array


def subsets(fallible: Sequence[bool]) -> Bool[np.ndarray, "S M"]:
    """The hypotheses, a row each: which sensors are honest. What cannot fail always is.

    The last is that all are.
    """
    count = sum(fallible)
    rows = [np.array(row) for row in itertools.product([False, True], repeat=count)]
    if count > LARGEST:
        rows = [row for row in rows if row.sum() <= 1 or row.sum() >= count - 2]
    found = np.ones((len(rows), len(fallible)), bool)
    found[:, np.asarray(fallible, bool)] = np.stack(rows).reshape(len(rows), count)
    return found


def transitions(hypotheses: Bool[np.ndarray, "S M"]) -> Float[np.ndarray, "S S"]:
    """Probability of each subset (column) after each (row), sensors changing on their own."""
    before, after = hypotheses[:, None], hypotheses[None]
    chance = np.where(
        before, np.where(after, 1 - LIES, LIES), np.where(after, RECOVERS, 1 - RECOVERS)
    )
    fallible = ~hypotheses.all(0)
    chance = np.where(fallible, chance, 1.0).prod(-1)
    return chance / chance.sum(1, keepdims=True)


class Judge:
    """Finds the sensors that lie; pure functions of its ``Verdict``.

    Args:
        model: the world model.

    Attributes:
        hypotheses: subsets of the sensors, bool [S, M].

    Raises:
        ValueError: the model's sensors are no experts of one space that its latents predict.
    """

    def __init__(self, model: WorldModel):
        experts = isinstance(model.perception, ProductOfExperts)
        if not experts or not isinstance(model.objective, FusedContrast):
            raise ValueError(
                "trust needs a product of experts and InfoNCE, as the methods mummi and mummi_b "
                "have: this model's latents predict nothing that its sensors could be held against"
            )
        self._model = model
        self.modalities, self.perception = model.modalities, model.perception
        self.hypotheses = subsets([m.can_fail for m in model.modalities])
        self._transitions = transitions(self.hypotheses)
        rows = {tuple(row): index for index, row in enumerate(self.hypotheses)}
        # The subset without a sensor, where that is a hypothesis other than that none is honest.
        self._others = np.full(self.hypotheses.T.shape, -1)
        for index, row in enumerate(self.hypotheses):
            for sensor in np.flatnonzero(row):
                rest = row.copy()
                rest[sensor] = False
                if rest.any():
                    self._others[sensor, index] = rows.get(tuple(rest), -1)

    def start(self, batch: int) -> Verdict:
        """Before the first step of ``batch`` robots: all sensors are believed."""
        count, sensors = self.hypotheses.shape
        config = self._model.config
        return Verdict(
            trust=jnp.ones((sensors, batch)),
            filters=jnp.zeros((count, batch, config.deter + config.stoch)),
            belief=jnp.tile(jnp.eye(count)[-1] + 1e-9, (batch, 1)),
            seen=jnp.zeros((PAST, count, batch, config.fused)),
            ratio=jnp.full((sensors, PAST, count, batch), jnp.inf),
            last=jnp.zeros((sensors, batch, config.fused)),
            delivered=jnp.zeros((sensors, batch), bool),
        )

    def step(
        self,
        params: dict,
        thresholds: Thresholds,
        verdict: Verdict,
        said: Sequence[tuple[Array, Array]],
        delivered: Bool[Array, "M B"],
        action: Float[Array, "B A"],
        is_first: Bool[Array, " B"],
    ) -> tuple[Bool[Array, "M B"], State, Verdict]:
        """Which sensors are believed at this step, the latent state of those, what to remember.

        The state is that of the believed sensors' own filter, so that no liar has touched it,
        before it was found out either. Of more than ``LARGEST`` sensors it is that of the subset
        most like them.

        Args:
            params: of the world model.
            thresholds: from ``calibration.calibrate``.
            verdict: from the last step, or ``start``.
            said: mean and std [B, E] of each sensor's expert, of ``Perception.say``.
            delivered: which sensors did.
            action: that led to this step.
            is_first: forgets the past of a robot.
        """
        inputs = (said, delivered, action, is_first)
        verdict, evidence = self.watch(params, verdict, *inputs)
        verdict = self.weigh(thresholds, verdict, evidence)
        trusted = verdict.trust >= 0.5
        unlike = (self.hypotheses[..., None] != trusted).sum(1)  # [S, B]
        batch = delivered.shape[1]
        feature = verdict.filters[unlike.argmin(0), jnp.arange(batch)]
        return trusted, self._model.rssm.point(feature), verdict

    def watch(
        self, params, verdict: Verdict, said, delivered, action, is_first
    ) -> tuple[Verdict, Evidence]:
        """Moves the filters of all hypotheses on; arguments as of ``step``."""
        verdict = self._forget(verdict, is_first)
        count, batch, model = len(self.hypotheses), delivered.shape[1], self._model

        def for_all(x):
            return jnp.broadcast_to(x[None], (count, *x.shape))

        mask = delivered[:, None] & self.hypotheses.T[..., None]  # [M, S, B]
        belief = model.perception.fuse(jax.tree.map(for_all, list(said)), mask, None)
        evidence, blind = model.perception.evidence(belief)
        inputs = (for_all(action), for_all(is_first), evidence, blind)
        inputs = [x.reshape(count * batch, *x.shape[2:]) for x in inputs]
        state = model.rssm.point(verdict.filters.reshape(count * batch, -1))
        # A mean is what a filter says best; its states draw nothing.
        states = model.rssm.observe_step(params["rssm"], state, *inputs, None)
        features = jnp.stack([x.feature for x in states]).reshape(2, count, batch, -1)
        g = model.objective.predict(params, features)
        means = jnp.stack([mean for mean, _ in said])
        # An expert says the same to the bit of the same value, and it is smaller than a picture.
        repeated = (means == verdict.last).all(-1) & delivered & verdict.delivered
        last = jnp.where(delivered[..., None], means, verdict.last)
        evidence = Evidence(
            means=means, predicted=g[0], seen=g[1], repeated=repeated, delivered=delivered
        )
        verdict = verdict._replace(
            filters=features[1], last=last, delivered=verdict.delivered | delivered
        )
        return verdict, evidence

    def _forget(self, verdict: Verdict, is_first: Array) -> Verdict:
        """The verdict with that of ``start`` for robots that begin an episode."""
        fresh = self.start(len(is_first))
        return verdict._replace(
            belief=jnp.where(is_first[:, None], fresh.belief, verdict.belief),
            ratio=jnp.where(is_first, fresh.ratio, verdict.ratio),
            delivered=verdict.delivered & ~is_first,
        )

    def weigh(self, thresholds: Thresholds, verdict: Verdict, evidence: Evidence) -> Verdict:
        """What is believed after the evidence of a step."""
        support, verdict = self._support(thresholds, verdict, evidence)
        belief = jax.nn.softmax(jnp.log(verdict.belief @ self._transitions) + support.T, -1)
        trust = (belief @ self.hypotheses.astype(jnp.float32)).T
        return verdict._replace(trust=trust, belief=belief)

    def _support(
        self, thresholds: Thresholds, verdict: Verdict, evidence: Evidence
    ) -> tuple[Float[Array, "S B"], Verdict]:
        """Log likelihood of each subset, and the verdict with what they saw."""
        t, means, seen = thresholds, evidence.means, evidence.seen
        believed = jnp.asarray(self.hypotheses.T)  # [M, S]
        # A believed sensor is held against the past of its filter, another against what it sees.
        held = jnp.where(believed[..., None, None], evidence.predicted, seen)
        inverse = jnp.where(believed, t.past, t.present)
        level = jnp.where(believed, t.past_level, t.present_level)
        like = likeness(t.bank, jnp.concatenate([held, means[:, None]], 1))
        chance = expectation(like[:, :-1], inverse)
        nearest = jnp.square(means).sum(-1) - like[:, -1].max(-1)
        rows = jnp.concatenate([evidence.predicted[None], seen[None], verdict.seen])
        close = inverse[:, None, :, None] * closeness(means, rows)
        believed = believed[..., None]
        ratio = _usual(jnp.where(believed, close[:, 0], close[:, 1]) - chance, level)
        stale = jax.nn.logsumexp(close[:, 2:] - verdict.ratio, 1) - jnp.log(PAST)
        others = jnp.take_along_axis(ratio, np.maximum(self._others, 0)[..., None], 1)
        honest = jnp.where((self._others >= 0)[..., None], (ratio + others) / 2, ratio)
        honest = jnp.logaddexp(jnp.log(1 - ODD) + honest, jnp.log(ODD))
        lies = jnp.logaddexp(jnp.log(1 - STALE), jnp.log(STALE) + _usual(stale, level))
        lies += told_apart(nearest > t.reach[:, None], STRANGE, NOVEL)[:, None]
        again = told_apart(evidence.repeated, REPEATS, t.repeats[:, None])
        lies = TEMPER * lies + again[:, None]
        support = jnp.where(believed, TEMPER * honest, lies)
        support = jnp.where(evidence.delivered[:, None], support, 0.0).sum(0)
        ratio = jnp.concatenate([chance[:, None], verdict.ratio[:, :-1]], 1)
        return support, verdict._replace(seen=rows[1:-1], ratio=ratio)


def _usual(ratio: Float[Array, "M S B"], level: Float[Array, "M S"]) -> Array:
    """What log ratios count for: no more than a usual one."""
    return CREDIT + jnp.minimum(ratio - level[..., None], 0.0)
