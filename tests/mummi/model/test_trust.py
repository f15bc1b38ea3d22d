"""Trust follows from evidence as derived by hand; where nothing is wrong it changes nothing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from mummi.agent import Agent
from mummi.model.calibration import _reach, calibrate
from mummi.model.evidence import closeness, expectation, likeness, told_apart
from mummi.model.trust import (
    CREDIT,
    LIES,
    NOVEL,
    ODD,
    PAST,
    RECOVERS,
    REPEATS,
    STALE,
    STRANGE,
    TEMPER,
    Evidence,
    Judge,
    Thresholds,
    subsets,
    transitions,
)
from mummi.model.world_model import WorldModel
from tests.support.small import (
    ACTION_SIZE,
    MODALITIES,
    draw_value,
    random_like,
    small_config,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(3)
STEPS = 30


def episode(seed: int) -> dict:
    random = np.random.default_rng(seed)
    return {
        "values": {m.name: draw_value(random, m, (STEPS,)) for m in MODALITIES},
        "available": {m.name: random.random(STEPS) > 0.2 for m in MODALITIES},
        "action": random.uniform(-1, 1, (STEPS, ACTION_SIZE)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def agent(quick_compile):
    return Agent(small_config("laptop"), MODALITIES, ACTION_SIZE)


@pytest.fixture(scope="module")
def state(agent):
    return random_like(jax.eval_shape(agent.init, 0))


@pytest.fixture(scope="module")
def thresholds(agent, state):
    return calibrate(Judge(agent.model), state.model, [episode(n) for n in range(3)], seed=0)


def test_every_subset_of_a_few_sensors_is_a_hypothesis_and_the_last_is_that_all_are_honest():
    assert {tuple(row) for row in subsets([True] * 3)} == set(
        itertools.product([False, True], repeat=3)
    )
    told = subsets([True, False, True])
    assert told.shape == (4, 3) and told[:, 1].all() and told[-1].all()
    many = subsets([True] * 6)
    assert {int(row.sum()) for row in many} == {0, 1, 4, 5, 6} and many[-1].all()


def test_sensors_begin_and_cease_to_lie_independently():
    rows = subsets([True] * 2)
    chance = transitions(rows)
    np.testing.assert_allclose(chance.sum(1), 1)
    both, none = 3, 0
    assert rows[both].all() and not rows[none].any()
    np.testing.assert_allclose(chance[both, none], LIES**2)
    np.testing.assert_allclose(chance[none, both], RECOVERS**2)
    np.testing.assert_allclose(chance[both, both], (1 - LIES) ** 2)


def test_the_density_ratio_is_that_of_a_loop():
    random = np.random.default_rng(0)
    bank, means, g = (random.normal(size=s) for s in ((2, 5, 3), (2, 4, 3), (3, 4, 3)))
    inverse = random.random((2, 3))
    like = likeness(jnp.asarray(bank), jnp.asarray(np.broadcast_to(g, (2, *g.shape))))
    close = closeness(jnp.asarray(means), jnp.asarray(g)[None])[:, 0]
    ratio = inverse[..., None] * close - expectation(like, jnp.asarray(inverse))
    for m, s, b in itertools.product(range(2), range(3), range(4)):
        own = -inverse[m, s] * np.square(means[m, b] - g[s, b]).sum()
        others = -inverse[m, s] * np.square(bank[m] - g[s, b]).sum(-1)
        expected = own - (logsumexp(others) - np.log(5))
        np.testing.assert_allclose(ratio[m, s, b], expected, rtol=1e-4, atol=1e-5)


def evidence_of(random, judge, batch: int, size: int, delivered) -> Evidence:
    """A random step of ``batch`` robots."""
    subsets, sensors = judge.hypotheses.shape
    return Evidence(
        means=random.normal(size=(sensors, batch, size)),
        predicted=random.normal(size=(subsets, batch, size)),
        seen=random.normal(size=(subsets, batch, size)),
        repeated=(random.random((sensors, batch)) < 0.2) & delivered,
        delivered=delivered,
    )


def plainly_weighed(judge, t, log_belief, past, e):
    """Trust [M, B] and log belief [S, B] of one step by the definition, in loops and float64.

    Args:
        past: what each subset saw [S, B, E] at the last steps, newest first.
    """
    count, sensors = judge.hypotheses.shape
    rows, move = list(judge.hypotheses), np.log(transitions(judge.hypotheses))
    support = np.zeros((count, e.means.shape[1]))

    def ratio(m, b, g, inverse):
        far = np.square(t.bank[m] - g).sum(-1)
        chance = logsumexp(-inverse * far) - np.log(len(far))
        return -inverse * np.square(e.means[m, b] - g).sum() - chance

    def usual(ratio, level):
        return CREDIT + min(ratio - level, 0.0)

    def odds(event, of_liars, of_healthy):
        chances = (of_liars, of_healthy) if event else (1 - of_liars, 1 - of_healthy)
        return np.log(chances[0] / chances[1])

    for s, m, b in itertools.product(range(count), range(sensors), range(e.means.shape[1])):
        if not e.delivered[m, b]:
            continue
        if rows[s][m]:
            found = usual(ratio(m, b, e.predicted[s, b], t.past[m, s]), t.past_level[m, s])
            rest = rows[s].copy()
            rest[m] = False
            if rest.any():
                r = next(i for i, row in enumerate(rows) if (row == rest).all())
                now = ratio(m, b, e.seen[r, b], t.present[m, r])
                found = (found + usual(now, t.present_level[m, r])) / 2
            support[s, b] += TEMPER * np.log((1 - ODD) * np.exp(found) + ODD)
        else:
            ratios = [ratio(m, b, g[s, b], t.present[m, s]) for g in past]
            stale = logsumexp(ratios) - np.log(PAST) if ratios else -np.inf
            lies = np.log(1 - STALE + STALE * np.exp(usual(stale, t.present_level[m, s])))
            near = np.square(t.bank[m] - e.means[m, b]).sum(-1).min()
            lies += odds(near > t.reach[m], STRANGE, NOVEL)
            support[s, b] += TEMPER * lies + odds(e.repeated[m, b], REPEATS, t.repeats[m])
    moved = logsumexp(log_belief[:, None] + move[..., None], 0) + support
    belief = moved - logsumexp(moved, 0)
    return np.exp(belief).T @ judge.hypotheses, belief


def test_what_is_believed_is_what_the_definition_says_along_an_episode(agent, thresholds):
    random, judge, batch = np.random.default_rng(4), Judge(agent.model), 2
    count, sensors = judge.hypotheses.shape
    size = thresholds.bank.shape[-1]
    told = {name: random.uniform(0.1, 0.6, (sensors, count)) for name in ("past", "present")}
    levels = {f"{name}_level": random.normal(size=(sensors, count)) for name in told}
    drawn = Thresholds(
        bank=random.normal(size=(sensors, 9, size)),
        reach=np.full(sensors, 3.0),
        repeats=np.full(sensors, 0.05),
        **told,
        **levels,
    )
    verdict, past = judge.start(batch), []
    belief = np.repeat(np.log(np.eye(count)[-1] + 1e-9)[:, None], batch, 1)
    weigh = jax.jit(judge.weigh)
    for _ in range(PAST + 3):
        e = evidence_of(random, judge, batch, size, random.random((sensors, batch)) < 0.8)
        verdict = weigh(*jax.tree.map(jnp.asarray, (drawn, verdict, e)))
        trust, belief = plainly_weighed(judge, drawn, belief, past, e)
        past = [e.seen, *past][:PAST]
        np.testing.assert_allclose(verdict.belief, np.exp(belief).T, rtol=2e-3, atol=1e-6)
        np.testing.assert_allclose(verdict.trust, trust.T, rtol=1e-3, atol=1e-6)


def test_thresholds_are_those_of_healthy_data(thresholds):
    count = 2 ** len(MODALITIES)
    assert thresholds.past.shape == thresholds.present.shape == (len(MODALITIES), count)
    assert all(np.isfinite(x).all() for x in thresholds)
    assert (thresholds.past >= 0).all() and (thresholds.reach > 0).all()
    # No value of these repeats, and a rate of nothing is not certain.
    assert (thresholds.repeats > 0).all() and (thresholds.repeats < 0.1).all()


def test_evidence_of_an_event_is_the_log_of_its_odds():
    event = jnp.array([True, False])
    np.testing.assert_allclose(told_apart(event, 0.8, 0.1), np.log([8.0, 0.2 / 0.9]), rtol=1e-5)


def test_healthy_values_are_held_against_those_of_other_episodes():
    random = np.random.default_rng(2)
    bank, means = random.normal(size=(2, 6, 3)), random.normal(size=(7, 2, 2, 3))
    source = np.array([[0, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]])
    delivered = random.random((7, 2, 2)) < 0.8
    found = _reach(*map(jnp.asarray, (bank, source, means, delivered)))
    for m in range(2):
        distances = [
            min(
                np.square(means[t, m, b] - x).sum()
                for x, episode in zip(bank[m], source[m], strict=True)
                if episode != b
            )
            for t, b in itertools.product(range(7), range(2))
            if delivered[t, m, b]
        ]
        np.testing.assert_allclose(found[m], np.quantile(distances, 1 - NOVEL), rtol=1e-4)


def test_what_never_delivers_cannot_be_calibrated(agent, state):
    silent = episode(0)
    silent["available"]["depth"] = np.zeros(STEPS, bool)
    with pytest.raises(ValueError, match="'depth' never delivers"):
        calibrate(Judge(agent.model), state.model, [silent], seed=0)
    with pytest.raises(ValueError, match="no healthy episodes"):
        calibrate(Judge(agent.model), state.model, [], seed=0)


@pytest.mark.parametrize("method", ["dreamer", "cvrl", "mssm_e"])
def test_trust_needs_experts_and_their_density_ratio(method):
    model = WorldModel(small_config("laptop", method).model, MODALITIES, ACTION_SIZE, method)
    with pytest.raises(ValueError, match="product of experts and InfoNCE"):
        Judge(model)


def play(agent, state, recorded, freeze=None):
    """Actions along a recorded episode of one robot, and trust [T, M]."""
    carry, actions, trust, held = agent.start(1), [], [], None
    for t in range(STEPS):
        values = {name: rows[t : t + 1] for name, rows in recorded["values"].items()}
        available = {name: np.ones(1, bool) for name in values}
        if freeze is not None and t >= 5:
            held = values[freeze] if held is None else held
            values[freeze] = held
        first = np.array([t == 0])
        action, carry = agent.act(state, carry, values, available, first, KEY, explore=False)
        actions.append(np.asarray(action[0]))
        trust.append(None if carry.verdict is None else np.asarray(carry.verdict.trust[:, 0]))
    return np.stack(actions), trust


def test_an_agent_that_distrusts_nobody_acts_as_one_without_trust(agent, state, thresholds):
    recorded = episode(7)
    plain, none = play(agent, state, recorded)
    # Predictions that tell nothing, in reach of anything: no evidence is left against anybody.
    told = ("past", "present", "past_level", "present_level")
    lenient = thresholds._replace(
        reach=jnp.full(len(MODALITIES), jnp.inf),
        **{name: jnp.zeros_like(getattr(thresholds, name)) for name in told},
    )
    careful, trust = play(agent.trusting(lenient), state, recorded)
    assert none == [None] * STEPS
    np.testing.assert_allclose(careful, plain, rtol=1e-5, atol=1e-6)
    assert all(((x >= 0.5) & (x <= 1 + 1e-6)).all() for x in trust)


def test_a_frozen_sensor_is_found_by_its_repeats_and_the_others_stay(agent, state, thresholds):
    _, trust = play(agent.trusting(thresholds), state, episode(8), freeze="depth")
    assert trust[4][1] > 0.5 and trust[-1][1] < 0.05
    assert trust[-1][0] > 0.5 and trust[-1][2] > 0.5
