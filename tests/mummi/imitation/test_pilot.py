"""The pilot: a trained head on the world model's filter, whatever its sensors deliver."""

import jax
import numpy as np
import pytest

from mummi.agent import Agent
from mummi.data.episode import save_episode
from mummi.imitation.decisions import Decisions
from mummi.imitation.heads.head import HEADS
from mummi.imitation.latents import Latents, View
from mummi.imitation.pilot import Pilot, head_arrays
from mummi.imitation.scaling import Scaling
from mummi.modality import Modality
from tests.support.small import ACTION_SIZE, MODALITIES, draw_value, random_like, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

SENSORS = (*MODALITIES, Modality("code", "embedding", (3,)))
"""One of each kind."""
STEPS = 3


def drawn(steps: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {m.name: draw_value(random, m, (steps,)) for m in SENSORS}


@pytest.fixture(scope="module")
def pilots():
    """A pilot for each head that follows from what is seen, all on one world model."""
    agent = Agent(small_config(), SENSORS, ACTION_SIZE)
    latents = Latents(agent, random_like(jax.eval_shape(agent.init, 0)).model)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 5, ACTION_SIZE)).astype(np.float32)
    available = {m.name: np.ones(5, bool) for m in SENSORS}
    views = [View(drawn(5, i), available, a, a[:, 0], a) for i, a in enumerate(actions)]
    trajectories, made = latents.encode(views), {}
    for name, settings in (
        ("bc", {"windows": 8, "batch": 8, "units": 8, "layers": 1}),
        ("knn", {}),
    ):
        kind = HEADS[name]
        config = type(kind.default())(**settings)
        head = kind.build(config, latents.sizes)
        head.fit(trajectories, 0)
        made[name] = Pilot(latents, head)
    return made


def flown(pilot: Pilot, values, available) -> np.ndarray:
    """Actions [T, B, A] of two robots along values [T, ...] that both see."""
    carry, actions = pilot.start(2), []
    for t in range(STEPS):
        seen, delivered = (
            {name: np.stack([x[t], x[t]]) for name, x in of.items()} for of in (values, available)
        )
        first = np.full(2, t == 0)
        action, carry = pilot.act(None, carry, seen, delivered, first, jax.random.PRNGKey(0))
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("modality", SENSORS, ids=lambda m: m.kind)
@pytest.mark.parametrize("head", ["bc", "knn"])
def test_a_value_that_is_not_finite_acts_as_a_missing_sensor(pilots, head, modality, bad):
    values, delivered = drawn(STEPS, 7), {m.name: np.ones(STEPS, bool) for m in SENSORS}
    # A camera that delivers floats is the only one that can say NaN.
    values[modality.name] = values[modality.name].astype(np.float32)
    spoiled = values[modality.name].copy()
    spoiled[1].flat[0] = bad
    found = flown(pilots[head], {**values, modality.name: spoiled}, delivered)
    missing = {**delivered, modality.name: np.arange(STEPS) != 1}
    np.testing.assert_allclose(found, flown(pilots[head], values, missing), atol=1e-6)
    assert np.isfinite(found).all()
    if head == "bc":
        assert not np.allclose(found, flown(pilots[head], values, delivered), atol=1e-6)


def test_a_two_valued_action_is_decided_and_the_decision_is_what_was_done(pilots, monkeypatch):
    """The levels are 0 and 1 in the data; beyond 0.6 and below 0.4 a decision changes."""
    scaling = Scaling((0.0, *[-2.0] * (ACTION_SIZE - 1)), (1.0, *[2.0] * (ACTION_SIZE - 1)))
    decisions = Decisions.learned({0: (0.0, 1.0)}, 0.2, scaling, ACTION_SIZE)
    given = np.array([0.55, 0.45, 0.35, 0.55, 0.65])
    pilot = Pilot(pilots["bc"]._latents, pilots["bc"].head, scaling, decisions=decisions)
    numbers = iter(2 * given - 1)

    def act(carry, percept, is_first, key):
        return np.float32([[next(numbers), *[0.3] * (ACTION_SIZE - 1)]]), carry

    monkeypatch.setattr(pilot.head, "act", act)
    carry, done = pilot.start(1), []
    values, available = (
        {m.name: of[m.name][:1] for m in SENSORS}
        for of in (drawn(1, 7), {m.name: np.ones(1, bool) for m in SENSORS})
    )
    for step in range(len(given)):
        inputs = values, available, np.array([step == 0]), jax.random.PRNGKey(0)
        action, carry = pilot.act(None, carry, *inputs)
        np.testing.assert_allclose(action[0, 1:], 0.6, rtol=1e-5)
        np.testing.assert_allclose(carry.held.actions, scaling.learned(action), atol=1e-6)
        done.append(action[0, 0])
    assert done == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("spoil", [lambda b: b[:300], lambda b: b[:150] + b"x" + b[151:], bytes])
def test_the_damaged_file_of_a_head_is_said_to_be(tmp_path, spoil):
    path = tmp_path / "head.npz"
    save_episode(path, {"network/kernel": np.ones((9, 9), np.float32)})
    assert head_arrays(path)["network/kernel"].sum() == 81
    content = path.read_bytes()
    path.write_bytes(spoil(content) if spoil is not bytes else b"")
    with pytest.raises(ValueError, match=r"head.npz is damaged .*trains the head anew"):
        head_arrays(path)
