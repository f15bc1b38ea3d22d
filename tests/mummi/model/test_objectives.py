"""What each method demands of the latent state, against second derivations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mummi.modality import Modality
from mummi.model.losses import info_nce
from mummi.model.networks import preprocess
from mummi.model.objectives import ExpertContrast
from mummi.model.world_model import WorldModel
from tests.support.small import ACTION_SIZE, MODALITIES, make_batch, random_parameters, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(5)
NAMES = [m.name for m in MODALITIES]


@functools.cache
def build(method, name="paper", **options):
    """A model, its parameters, and its compiled loss."""
    options = {
        key: dict(value) if key == "nce_weights" else value for key, value in options.items()
    }
    model = WorldModel(small_config(name, method, **options).model, MODALITIES, ACTION_SIZE, method)
    return model, random_parameters(model.init), jax.jit(model.loss)


def compute(method, batch, name="paper", **options):
    """The model, its parameters, belief and posterior features, and the metrics of its loss."""
    model, params, loss = build(method, name, **options)
    _, (posterior, metrics) = loss(params, batch, KEY)
    belief = jax.jit(model.perceive)(params, batch["values"], batch["available"], KEY)
    return model, params, belief, posterior.feature, metrics


def seen(batch):
    return np.any([batch["available"][name] for name in NAMES], 0).ravel()


def rows(x):
    return x.reshape(-1, x.shape[-1])


def dense(params, name, x):
    layer = params["params"][name]
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def test_mummi_contrasts_each_sensor_by_its_own_expert_with_its_own_weight():
    weights = (("touch", 0.25),)
    batch = make_batch()
    model, params, belief, feature, metrics = compute(
        "mummi", batch, nce_weights=weights, nce_weight=2.0
    )
    prediction = rows(model.objective.predict(params, feature))
    for index, modality in enumerate(MODALITIES):
        name = modality.name
        mean, _ = model.perception.sense(params, modality, batch["values"][name])
        there = np.asarray(batch["available"][name]).ravel()
        expected, _ = info_nce(prediction, rows(mean), jnp.asarray(there))
        np.testing.assert_allclose(metrics[f"nce/{name}"], expected, rtol=1e-4)
        weighted = dict(weights).get(name, 2.0) * expected
        np.testing.assert_allclose(metrics[f"loss/nce_{name}"], weighted, rtol=1e-4)
        np.testing.assert_allclose(
            rows(belief.means[index])[there], rows(mean)[there], rtol=1e-4, atol=1e-5
        )


def test_mummi_b_contrasts_the_fused_mean_where_any_sensor_delivered():
    batch = make_batch(missing=0.8)
    model, params, belief, feature, metrics = compute("mummi_b", batch)
    there = seen(batch)
    assert there.any() and not there.all()
    prediction = rows(model.objective.predict(params, feature))
    expected, accuracy = info_nce(prediction, rows(belief.mean), jnp.asarray(there))
    np.testing.assert_allclose(metrics["loss/nce_fused"], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["nce_accuracy/fused"], accuracy, rtol=1e-4)


def test_cvrl_contrasts_all_features_at_once_by_two_towers():
    batch = make_batch(missing=0.8)
    _, params, belief, feature, metrics = compute("cvrl", batch)
    there = seen(batch)
    assert there.any() and not there.all()

    def tower(name, x):
        hidden = elu(dense(params[name], "Dense_0", np.asarray(rows(x), np.float64)))
        return elu(dense(params[name], "Dense_1", hidden))[there]

    logits = tower("state_tower", feature) @ tower("sensor_tower", belief.mean).T
    expected = (scipy.special.logsumexp(logits, axis=1) - np.diagonal(logits)).mean()
    np.testing.assert_allclose(metrics["loss/nce_joint"], expected, rtol=1e-3)
    hits = np.mean(logits.argmax(1) == np.arange(len(logits)))
    np.testing.assert_allclose(metrics["nce_accuracy/joint"], hits, rtol=1e-5)


@pytest.mark.parametrize("method", ["mssm_e", "dreamer"])
def test_reconstruction_is_the_elbo_of_the_sensors_that_delivered(method):
    batch = make_batch()
    model, params, _, feature, metrics = compute(method, batch)
    means = jax.jit(model.objective.decode)(params, feature)
    constant = scipy.stats.norm.logpdf(0.0)
    for modality in MODALITIES:
        name = modality.name
        assert means[name].shape == batch["values"][name].shape
        target = np.asarray(preprocess(modality, batch["values"][name]), np.float64)
        likelihood = scipy.stats.norm.logpdf(target, np.asarray(means[name])) - constant
        likelihood = likelihood.sum(tuple(range(2, likelihood.ndim)))
        expected = -np.where(batch["available"][name], likelihood, 0.0).mean()
        np.testing.assert_allclose(metrics[f"loss/reconstruction_{name}"], expected, rtol=1e-4)


@pytest.mark.parametrize("method", ["dreamer", "cvrl"])
def test_concatenation_sees_zeros_in_place_of_a_missing_value(method):
    batch = make_batch()
    model, params, belief, _, _ = compute(method, batch)
    expected = []
    for modality in MODALITIES:
        there = np.asarray(batch["available"][modality.name])
        value = np.array(batch["values"][modality.name])
        value[~there] = 0
        expected.append(model.perception.sense(params, modality, jnp.asarray(value)))
    evidence, blind = model.perception.evidence(belief)
    np.testing.assert_allclose(evidence, np.concatenate(expected, -1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(blind.ravel(), ~seen(batch))


@pytest.mark.parametrize("method", ["mummi", "mssm_e", "dreamer"])
def test_a_hidden_sensor_leaves_the_belief_but_stays_a_target_if_asked(method):
    batch = make_batch()
    keep = jnp.zeros((3, 2, 4), bool).at[1:].set(True)
    terms = {}
    for hidden_targets in (True, False):
        model, params, _ = build(method, "laptop", hidden_targets=hidden_targets)
        belief = model.perceive(params, batch["values"], batch["available"], KEY, keep)
        without = {**batch["available"], "rgb": jnp.zeros((2, 4), bool)}
        expected = model.perceive(params, batch["values"], without, KEY)
        np.testing.assert_array_equal(belief.mean, expected.mean)
        feature = 0.3 * jnp.ones((2, 4, model.config.deter + model.config.stoch))
        losses = model.objective.terms(params, batch, belief, feature)[0]
        terms[hidden_targets] = {name.rsplit("_")[-1]: value for name, value in losses.items()}
    assert terms[True]["rgb"] > 0 and terms[False]["rgb"] == 0
    assert terms[True]["touch"] == terms[False]["touch"] > 0


def test_the_std_of_an_expert_is_counted_where_its_sensor_delivered():
    batch = make_batch()
    _, _, belief, _, metrics = compute("mummi", batch)
    for index, name in enumerate(NAMES):
        total, count = 0.0, 0
        for row, step in np.ndindex(batch["available"][name].shape):
            if batch["available"][name][row, step]:
                total, count = total + np.asarray(belief.stds[index, row, step]).mean(), count + 1
        assert 0 < count < batch["available"][name].size
        np.testing.assert_allclose(metrics[f"expert_std/{name}"], total / count, rtol=1e-4)


def test_the_norm_reaches_both_towers_of_cvrl():
    config = small_config("paper", "cvrl", norm=True).model
    model = WorldModel(config, MODALITIES, ACTION_SIZE, "cvrl")
    params = jax.eval_shape(model.init, KEY)
    for name in ("state_tower", "sensor_tower"):
        layers = params[name]["params"]
        for index in range(2):
            size = layers[f"Dense_{index}"]["bias"].shape
            assert layers[f"RMSNorm_{index}"]["scale"].shape == size
    without = jax.eval_shape(build("cvrl")[0].init, KEY)
    assert set(without["state_tower"]["params"]) == {"Dense_0", "Dense_1"}


def test_an_embedding_is_decoded_like_a_vector():
    modalities = (Modality("instruction", "embedding", (9,)),)
    config = small_config("paper", "mssm_e").model
    model = WorldModel(config, modalities, ACTION_SIZE, "mssm_e")
    params = random_parameters(model.init)
    feature = jnp.ones((2, 3, config.deter + config.stoch))
    assert model.objective.decode(params, feature)["instruction"].shape == (2, 3, 9)


def test_a_weight_by_kind_counts_for_the_sensors_without_one_of_their_own():
    weights = {"vector": 0.001, "image": 3.0, "rgb": 5.0}
    config = small_config("paper", nce_weight=2.0, nce_weights=weights).model
    batch = make_batch()
    _, params, belief, feature, metrics = compute("mummi", batch)
    terms = jax.jit(ExpertContrast(config, MODALITIES).terms)
    losses, _ = terms(params, batch, belief, feature)
    for name, weight in (("rgb", 5.0), ("depth", 2.0), ("touch", 0.001)):
        np.testing.assert_allclose(losses[f"nce_{name}"], weight * metrics[f"nce/{name}"], 1e-4)


def test_a_weight_for_an_unknown_sensor_names_it_and_those_there_are():
    with pytest.raises(
        ValueError,
        match="unknown modality 'tactil' in nce_weights; there are rgb, depth, touch, and the kinds"
        " image, depth, vector, embedding",
    ):
        build("mummi", nce_weights=(("tactil", 1.0),))
