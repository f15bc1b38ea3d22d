"""What a history of sensors is to a backbone: missing sensors, shared and private parts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mummi.imitation.chunks.baselines import BASELINES
from mummi.imitation.chunks.context import (
    DisentangledContext,
    Sensed,
    SensorContext,
    augmented,
    sensed,
)
from mummi.imitation.chunks.encoders import SensorEncoder, spatial_softmax
from mummi.imitation.chunks.network import ChunkNetwork
from mummi.imitation.heads.head import HEADS, Percept, Sizes
from mummi.modality import Modality
from tests.support.small import MODALITIES, draw_value, random_parameters

pytestmark = pytest.mark.usefixtures("quick_compile")

B, S, D = 3, 2, 8
TOLD = Modality("instruction", "embedding", (3,), can_fail=False)
VECTORS = (Modality("touch", "vector", (2,)), Modality("proprio", "vector", (5,)), TOLD)
SENSORS = (*MODALITIES, TOLD)


def drawn(modalities, seed: int = 0, missing: float = 0.4) -> Sensed:
    """Histories [B, S], of which what can fail is missing now and then."""
    random = np.random.default_rng(seed)
    values = {m.name: draw_value(random, m, (B, S)) for m in modalities}
    masks = {m.name: random.random((B, S)) >= missing * m.can_fail for m in modalities}
    return sensed(Percept(np.zeros((B, S, 0)), {}, values, masks), modalities)


def applied(module, inputs):
    """What a module with random parameters gives, and these."""
    params = random_parameters(lambda key: module.init(key, jax.tree.map(jnp.asarray, inputs)))
    return jax.jit(module.apply)(params, inputs), params["params"]


@pytest.mark.parametrize("kind", [SensorContext, DisentangledContext])
def test_a_missing_sensor_is_nothing_whatever_it_holds(kind):
    context, clean = kind(SENSORS, D, "cnn", 8), drawn(SENSORS)
    spoiled = {}
    for m in SENSORS:
        mask = clean.available[m.name].reshape(B, S, *(1,) * len(m.shape))
        other = np.array(255 if m.dtype == np.uint8 else 7).astype(m.dtype)
        spoiled[m.name] = np.where(mask, clean.values[m.name], other)
    assert any(not mask.all() for mask in clean.available.values())
    params = random_parameters(lambda key: context.init(key, jax.tree.map(jnp.asarray, clean)))
    apply = jax.jit(context.apply)
    found, wanted = apply(params, clean._replace(values=spoiled)), apply(params, clean)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(one, other)
    everything = {name: np.ones_like(mask) for name, mask in clean.available.items()}
    assert not np.allclose(apply(params, clean._replace(available=everything)).tokens, found.tokens)
    assert found.tokens.shape == (B, S, D)


def mlp(params, x):
    hidden = np.maximum(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], 0)
    return hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]


def test_a_missing_sensor_shares_what_the_others_say_and_keeps_nothing_private():
    """The whole context once more in NumPy, with its parameters."""
    inputs = drawn(VECTORS, missing=0.5)
    missing = np.stack([~inputs.available[m.name] for m in VECTORS[:2]]).sum(0)
    assert {0, 1} <= set(missing.ravel().tolist())
    (tokens, terms), params = applied(DisentangledContext(VECTORS, D), inputs)
    params = jax.tree.map(np.asarray, params)
    for b in range(B):
        for s in range(S):
            shared, private, told, number = [], [], [], 0
            for index, m in enumerate(VECTORS):
                encoder = params[f"SensorEncoder_{index}"]["MLP_0"]
                feature = mlp(encoder, inputs.values[m.name][b, s])
                if not m.can_fail:
                    told.append(feature)
                    continue
                common, own = (mlp(params[f"MLP_{number + i}"], feature) for i in range(2))
                number += 2
                if inputs.available[m.name][b, s]:
                    shared.append(common / np.sqrt(np.square(common).mean() + 1e-6))
                private.append(own * inputs.available[m.name][b, s])
            mean = np.mean(shared, 0) if shared else np.zeros(D)
            fusion = params["Fusion_0"]
            wanted = mlp(fusion["MLP_0"], np.concatenate([mean, *private, *told]))
            np.testing.assert_allclose(tokens[b, s], wanted + fusion["positions"][s], atol=2e-5)
    assert set(terms) == {"align", "orthogonality"}


def test_without_two_sensors_that_can_fail_there_is_nothing_to_align():
    for modalities, left in ((VECTORS[1:], {"align", "orthogonality"}), (VECTORS[2:], set())):
        (_, terms), _ = applied(DisentangledContext(modalities, D), drawn(modalities))
        assert set(terms) == left and all(terms[name] == 0 for name in left & {"align"})


@pytest.mark.parametrize(
    "name",
    [
        "disdp",
        # Second cases.
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("beso_act", "diffusion_policy")),
    ],
)
def test_the_loss_of_actions_reaches_every_layer_of_every_encoder(name):
    settings = HEADS[name].default("debug")
    weights = {"align_weight": 0.0, "orthogonality_weight": 0.0}
    network = ChunkNetwork(dataclasses.replace(settings, **weights), Sizes(SENSORS, 0, {}, 2))
    inputs = jax.tree.map(jnp.asarray, drawn(SENSORS, missing=0))
    params, random = random_parameters(network.init), np.random.default_rng(0)
    chunks = jnp.asarray(random.uniform(-1, 1, (B, settings.predict, 2)), jnp.float32)
    scales, key = network.blank_scales(), jax.random.PRNGKey(0)

    @jax.jit
    @jax.grad
    def gradient(params):
        return network.loss(params, scales, inputs, chunks, key, ()).loss

    found = jax.tree_util.tree_leaves_with_path(gradient(params)["context"])
    assert len(found) > 2 * len(SENSORS)
    for path, leaf in found:
        assert np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)


def test_the_terms_of_a_context_are_weighed_into_the_loss():
    settings = HEADS["disbc"].default("debug")
    chunks = jnp.zeros((B, settings.predict, 2))
    inputs, key, found = drawn(VECTORS, missing=0), jax.random.PRNGKey(0), []
    for align, orthogonality in ((0.0, 0.0), (0.5, 2.0)):
        weights = {"align_weight": align, "orthogonality_weight": orthogonality}
        network = ChunkNetwork(dataclasses.replace(settings, **weights), Sizes(VECTORS, 0, {}, 2))
        params, scales = random_parameters(network.init), network.blank_scales()
        found.append(jax.jit(network.loss)(params, scales, inputs, chunks, key, ()))
    terms = {name: float(found[0].metrics[name]) for name in ("align", "orthogonality")}
    assert min(terms.values()) > 0
    more = float(found[1].loss - found[0].loss)
    assert more == pytest.approx(0.5 * terms["align"] + 2 * terms["orthogonality"], rel=1e-4)


def test_training_hides_sensors_from_whole_windows_but_never_what_is_told():
    count = 2000
    values = {m.name: jnp.ones((count, S, *m.shape)) for m in VECTORS}
    inputs = Sensed(values, {m.name: jnp.ones((count, S), bool) for m in VECTORS})
    inputs.available["touch"] = inputs.available["touch"].at[:, 0].set(False)
    found = augmented(inputs, VECTORS, jax.random.PRNGKey(0), 0.0, 0.3)
    kept = {name: np.asarray(mask) for name, mask in found.available.items()}
    assert kept["instruction"].all() and not kept["touch"][:, 0].any()
    assert (kept["proprio"][:, 0] == kept["proprio"][:, 1]).all()
    for mask in (kept["proprio"][:, 0], kept["touch"][:, 1]):
        assert mask.mean() == pytest.approx(0.7, abs=0.03)
    both = kept["proprio"][:, 0] & kept["touch"][:, 1]
    assert both.mean() == pytest.approx(0.49, abs=0.03)
    assert inputs.available["proprio"].all()


def test_training_shifts_the_pictures_of_a_window_alike_and_nothing_else():
    inputs = drawn(SENSORS, missing=0)
    still = np.repeat(inputs.values["rgb"][:, :1], S, 1)
    inputs = jax.tree.map(jnp.asarray, inputs._replace(values=inputs.values | {"rgb": still}))
    found = augmented(inputs, SENSORS, jax.random.PRNGKey(0), 0.3, 0.0)
    moved = np.asarray(found.values["rgb"])
    np.testing.assert_array_equal(moved[:, 0], moved[:, 1])
    assert (moved != still).any() and found.available == inputs.available
    np.testing.assert_array_equal(found.values["touch"], inputs.values["touch"])


def test_the_spatial_softmax_is_the_mean_position_of_each_map():
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    maps[0, 2, 1, 0] = 50
    found = np.asarray(spatial_softmax(jnp.asarray(maps)))
    share = scipy.special.softmax(maps.astype(float), (1, 2))
    rows, columns = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 5), indexing="ij")
    wanted = [(share * x[None, ..., None]).sum((1, 2)) for x in (rows, columns)]
    np.testing.assert_allclose(found, np.concatenate(wanted, -1), atol=1e-6)
    np.testing.assert_allclose(found[0, [0, 4]], [1, -0.5], atol=1e-6)


@pytest.mark.slow  # a ResNet compiles long
def test_every_layer_of_a_resnet_learns_from_its_keypoints():
    encoder = SensorEncoder(Modality("rgb", "image", (40, 40, 3)), D, "keypoints", 8)
    image = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8))
    params = random_parameters(lambda key: encoder.init(key, image))
    gradient = jax.jit(jax.grad(lambda params: jnp.square(encoder.apply(params, image)).sum()))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)


def test_pictures_of_which_one_place_is_left_have_no_keypoints():
    encoder = SensorEncoder(Modality("rgb", "image", (32, 32, 3)), D, "keypoints", 8)
    image, key = jax.ShapeDtypeStruct((1, 32, 32, 3), np.uint8), jax.random.PRNGKey(0)
    with pytest.raises(ValueError, match="'rgb' of 32x32 pixels leaves one place"):
        jax.eval_shape(encoder.init, key, image)


def test_what_a_baseline_is_published_as_is_so_in_every_preset():
    for name, config in BASELINES.items():
        for preset in ("paper", "laptop", "debug"):
            made = HEADS[name].default(preset)
            fixed = config.__annotations__.keys() - {"pictures"}
            assert all(getattr(made, field) == getattr(config(), field) for field in fixed)
            assert not made.reads_latents and made.objective == config.objective
    assert HEADS["diffusion_policy"].default("laptop").prediction == "noise"
    pictures = [HEADS["diffusion_policy"].default(p).pictures for p in ("paper", "laptop")]
    assert pictures == ["keypoints", "cnn"]
    assert [HEADS[f"beso_act{x}"].default("laptop").drop for x in ("", "_dropout")] == [0, 0.3]
