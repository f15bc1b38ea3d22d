"""Latents that heads see: the model's own filter with means, and views with sensors failing."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.failures.distortions import Noise
from envs.failures.script import Script, load_script
from experiments.evaluation.views import make_views
from mummi.agent import Agent, Parameters
from mummi.imitation.demonstrations import Reading, open_data
from mummi.imitation.latents import Latents, View
from mummi.modality import Modality
from tests.support.imitated import demonstration
from tests.support.small import ACTION_SIZE, draw_value, random_like, small_config
from tests.support.small import MODALITIES as SENSORS

pytestmark = pytest.mark.usefixtures("quick_compile")

STEPS = 6
MODALITIES = (*SENSORS, Modality("code", "embedding", (3,)))
"""One of each kind."""


@pytest.fixture(scope="module")
def agent():
    config = small_config(sample_fused=True, posterior_sees_std=True)
    return Agent(config, MODALITIES, ACTION_SIZE)


@pytest.fixture(scope="module")
def state(agent):
    return random_like(jax.eval_shape(agent.init, 0))


@pytest.fixture(scope="module")
def latents(agent, state):
    return Latents(agent, state.model)


def view(steps: int = STEPS, seed: int = 0) -> View:
    random = np.random.default_rng(seed)
    return View(
        {m.name: draw_value(random, m, (steps,)) for m in MODALITIES},
        {m.name: random.random(steps) < 0.6 for m in MODALITIES},
        random.uniform(-1, 1, (steps, ACTION_SIZE)).astype(np.float32),
        random.random(steps).astype(np.float32),
        random.uniform(-1, 1, (steps, ACTION_SIZE)).astype(np.float32),
    )


def step_by_step(latents: Latents, seen: View):
    """Percepts of acting along a view, one step at a time."""
    state, percepts = latents.start(1), []
    before = np.zeros((1, ACTION_SIZE), np.float32)
    for t in range(len(seen.actions)):
        now = jax.tree.map(lambda x, t=t: x[t : t + 1], (seen.values, seen.available))
        percept, state = latents.step(state, *now, before, np.array([t == 0]))
        percepts.append(percept)
        before = seen.actions[t : t + 1]
    return percepts


def test_encoding_a_demonstration_gives_what_acting_along_it_would(latents):
    seen = view()
    (trajectory, short) = latents.encode([seen, view(3, 1)])
    percepts = step_by_step(latents, seen)
    feature = np.concatenate([p.feature for p in percepts])
    np.testing.assert_allclose(trajectory.percept.feature, feature, atol=1e-5)
    for m in MODALITIES:
        alone = np.concatenate([p.embeddings[m.name] for p in percepts])
        np.testing.assert_allclose(trajectory.percept.embeddings[m.name], alone, atol=1e-5)
        assert not alone[~seen.available[m.name]].any() and alone[seen.available[m.name]].any()
    np.testing.assert_array_equal(trajectory.action, seen.wanted)
    np.testing.assert_array_equal(trajectory.recording, seen.actions)
    assert short.percept.feature.shape == (3, latents.sizes.feature)
    again = np.concatenate([p.feature for p in step_by_step(latents, view(3, 1))])
    np.testing.assert_allclose(short.percept.feature, again, atol=1e-5)


def test_it_is_the_filter_of_the_agent_with_means_for_samples(latents, agent, state, monkeypatch):
    seen = view()
    expected = np.concatenate([p.feature for p in step_by_step(latents, seen)])
    monkeypatch.setattr(jax.random, "normal", lambda key, shape=(): jnp.zeros(shape))
    found, carry, act = [], agent.start(1), jax.jit(agent._act, static_argnames="explore")
    params = Parameters(state.model, state.actor, state.critic)
    for t in range(STEPS):
        now = (seen.values, seen.available, np.arange(STEPS) == 0)
        now = jax.tree.map(lambda x, t=t: jnp.asarray(x[t : t + 1]), now)
        _, carry = act(params, carry, *now, jax.random.PRNGKey(0), explore=False)
        carry = carry._replace(action=jnp.asarray(seen.actions[t : t + 1]))
        found.append(carry.state.feature)
    np.testing.assert_allclose(np.concatenate(found), expected[:, : found[0].shape[1]], atol=1e-5)


@pytest.fixture(scope="module", params=["mummi", "cvrl"])
def of_method(request):
    """Method, agent, parameters of its world model, and latents."""
    agent = Agent(small_config(method=request.param, drop=0.0), MODALITIES, ACTION_SIZE)
    params = random_like(jax.eval_shape(agent.init, 0)).model
    return request.param, agent, params, Latents(agent, params)


def test_a_feature_ends_with_the_fusion_of_what_the_sensors_show_now(of_method):
    method, agent, params, latents = of_method
    seen = view()
    percept = latents.encode([seen])[0].percept
    c = agent.config.model
    fused = percept.feature[:, c.deter + c.stoch :]
    seen_now = jax.tree.map(jnp.asarray, (seen.values, seen.available))
    belief = jax.jit(agent.model.perceive)(params, *seen_now, jax.random.PRNGKey(0))
    if method == "cvrl":
        for m, part in zip(MODALITIES, np.split(fused, len(MODALITIES), 1), strict=True):
            mask = seen.available[m.name]
            np.testing.assert_allclose(part[mask], percept.embeddings[m.name][mask], atol=1e-5)
        np.testing.assert_allclose(fused, belief.mean, atol=1e-5)
        return
    for t in range(STEPS):
        total, weighted = 1.0, 0.0
        for m, mean, std in zip(MODALITIES, belief.means, belief.stds, strict=True):
            if seen.available[m.name][t]:
                precision = 1 / np.square(np.asarray(std[t]))
                total, weighted = total + precision, weighted + precision * np.asarray(mean[t])
        np.testing.assert_allclose(fused[t], weighted / total, rtol=1e-4, atol=1e-5)


def test_a_missing_value_changes_nothing(latents):
    seen = view()
    spoiled = {}
    for m in MODALITIES:
        spoiled[m.name] = value = seen.values[m.name].copy()
        value[~seen.available[m.name]] = 255 if value.dtype == np.uint8 else np.nan
    one, other = latents.encode([seen, seen._replace(values=spoiled)])
    np.testing.assert_array_equal(one.percept.feature, other.percept.feature)
    for name, embedding in one.percept.embeddings.items():
        np.testing.assert_array_equal(embedding, other.percept.embeddings[name])


def with_pixel(values: dict, name: str, step: int, bad: float) -> dict:
    """The values with one number of a sensor at one step replaced; images become floats."""
    value = np.array(values[name], np.float32)
    value[step].flat[-1] = bad
    return {**values, name: value}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [m.name for m in MODALITIES])
def test_a_value_that_is_not_finite_counts_as_missing(latents, name, bad):
    complete = view()._replace(available={m.name: np.ones(STEPS, bool) for m in MODALITIES})
    less = complete._replace(available={**complete.available, name: np.arange(STEPS) != 2})
    spoiled = complete._replace(values=with_pixel(complete.values, name, 2, bad))
    expected, found = latents.encode([less, spoiled])
    assert np.isfinite(found.percept.feature).all()
    np.testing.assert_array_equal(found.percept.available[name], less.available[name])
    np.testing.assert_allclose(found.percept.feature, expected.percept.feature, atol=1e-5)
    np.testing.assert_allclose(
        found.percept.embeddings[name], expected.percept.embeddings[name], atol=1e-5
    )
    for one, other in zip(step_by_step(latents, less), step_by_step(latents, spoiled), strict=True):
        assert one.available[name] == other.available[name]
        np.testing.assert_allclose(one.feature, other.feature, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["image", "depth", "vector", "embedding"])
def test_what_is_not_finite_is_missing_in_views_and_in_the_replay(name, bad):
    sensors, recorded = envs.make("dummy", image_size=8).modalities, demonstration(0)
    spoiled = recorded._replace(values=with_pixel(recorded.values, name, 4, bad))
    gone = recorded._replace(available={name: np.arange(len(recorded.actions)) != 4})
    for made in (spoiled, gone):
        plain, failing = make_views([made], sensors, load_script("medium"), 2, 0)
        _, unspoiled = make_views([recorded], sensors, load_script("medium"), 2, 0)
        for m in sensors:
            kept = np.arange(len(recorded.actions)) != (4 if m.name == name else -1)
            np.testing.assert_array_equal(plain.available[m.name], kept)
            np.testing.assert_array_equal(plain.episode()[f"available/{m.name}"], kept)
            expected = kept & unspoiled.available[m.name]
            np.testing.assert_array_equal(failing.available[m.name], expected)


def test_views_that_share_values_are_encoded_as_if_they_did_not(of_method):
    latents = of_method[-1]
    seen, other = view(), view(seed=2)
    less = {name: mask & (np.arange(STEPS) % 3 > 0) for name, mask in seen.available.items()}
    mixed = {**other.values, "rgb": seen.values["rgb"]}
    views = [seen, seen._replace(available=less), seen._replace(values=mixed), seen]
    for shared, one in zip(latents.encode(views), views, strict=True):
        (alone,) = latents.encode([one])
        np.testing.assert_allclose(shared.percept.feature, alone.percept.feature, atol=1e-6)
        for name, embedding in alone.percept.embeddings.items():
            np.testing.assert_allclose(shared.percept.embeddings[name], embedding, atol=1e-6)


def test_in_the_replay_an_action_stands_at_the_step_it_led_to():
    seen = view()
    episode = seen.episode()
    for t in range(1, STEPS):
        np.testing.assert_array_equal(episode["action"][t], seen.actions[t - 1])
        assert episode["reward"][t] == seen.rewards[t - 1]
    # What was wanted stands at the step at which it was, the last one too.
    np.testing.assert_array_equal(episode["wanted"], seen.wanted)
    assert not episode["action"][0].any() and episode["reward"][0] == 0
    np.testing.assert_array_equal(np.flatnonzero(episode["is_first"]), [0])
    np.testing.assert_array_equal(np.flatnonzero(episode["is_last"]), [STEPS - 1])
    np.testing.assert_array_equal(episode["values/rgb"], seen.values["rgb"])


def test_views_fail_as_the_script_says_and_share_what_they_do_not_change():
    sensors = envs.make("dummy", image_size=8).modalities
    recorded = [demonstration(e) for e in range(20)]
    views = make_views(recorded, sensors, load_script("medium"), 4, 0)
    assert len(views) == 80
    complete, failing = views[::4], [v for i, v in enumerate(views) if i % 4]
    assert all(mask.all() for v in complete for mask in v.available.values())
    rate = 1 - np.mean([mask for v in failing for mask in v.available.values()])
    assert rate == pytest.approx(0.375, abs=0.05)
    masks = {np.stack(list(v.available.values())).tobytes() for v in failing}
    assert len(masks) > 50
    for v in failing:
        assert any(v.values["image"] is d.values["image"] for d in recorded)
    again = make_views(recorded, sensors, load_script("medium"), 4, 0)
    assert all(np.array_equal(a.available["image"], b.available["image"])
               for a, b in zip(views, again, strict=True))  # fmt: skip
    assert len(make_views(recorded, sensors, load_script("none"), 4, 0)) == 20


def test_a_script_that_changes_values_changes_only_its_copies():
    sensors = envs.make("dummy", image_size=8).modalities
    script = Script("noise", (Noise(modality="vector", std=1.0),))
    recorded = demonstration(0)
    complete, failing = make_views([recorded], sensors, script, 2, 0)
    assert complete.values["vector"] is recorded.values["vector"]
    assert 0.3 < np.std(failing.values["vector"] - recorded.values["vector"]) < 3
    assert failing.values["image"] is recorded.values["image"]


def test_what_a_file_says_is_missing_is_missing_for_replay_and_heads(latents, tmp_path):
    """Whatever stands in the file where a sensor did not deliver, nothing that learns sees it."""
    there = {m.name: np.arange(STEPS) % 3 != i for i, m in enumerate(MODALITIES[:3])}
    random, made = np.random.default_rng(0), {}
    values = {m.name: draw_value(random, m, (STEPS,)) for m in MODALITIES}
    actions = random.uniform(-1, 1, (STEPS, ACTION_SIZE)).astype(np.float32)
    for name, garbage in (("zeros", 0), ("garbage", 77)):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            demo = file.create_group("data/demo_0")
            demo["actions"] = actions
            for m in MODALITIES:
                stored = values[m.name].copy()
                stored[~there.get(m.name, np.ones(STEPS, bool))] = garbage
                demo[f"obs/{m.name}"] = stored
                demo[f"obs/{m.name}"].attrs["kind"] = m.kind
                if m.name in there:
                    demo[f"available/{m.name}"] = there[m.name]
        with open_data(tmp_path / f"{name}.hdf5", Reading(tuple(values))) as data:
            script = load_script("medium")
            made[name] = make_views(list(data), MODALITIES, script, copies=3, seed=0)
    for view in made["garbage"]:
        for name, mask in there.items():
            assert not view.available[name][~mask].any()
            np.testing.assert_array_equal(view.episode()[f"available/{name}"], view.available[name])
    assert made["garbage"][0].available["code"].all() == ("code" not in there)
    for one, other in zip(*(latents.encode(views) for views in made.values()), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.percept, other.percept)
    for one, other in zip(*made.values(), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.episode(), other.episode())
