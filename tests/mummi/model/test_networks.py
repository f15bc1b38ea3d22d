"""Networks: the fast convolution is the convolution, and shapes and dtypes are as documented."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.config import ModelConfig
from mummi.modality import Modality
from mummi.model.networks import (
    GRU,
    MLP,
    Conv,
    ConvTranspose,
    ImageDecoder,
    ImageEncoder,
    Layers,
    VectorEncoder,
    convolution,
    convolution_as_product,
    elu,
    preprocess,
    silhouette,
    transposed_convolution,
    transposed_convolution_as_product,
)
from mummi.model.perception import SensorNetwork
from tests.support.small import random_parameters

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(0)


def image(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((8, 8), 4, 2), ((9, 11), 4, 2), ((7, 10), 3, 1), ((8, 13), 4, 4), ((11, 10), 6, 2)],
)
@pytest.mark.parametrize("features", [4, 100])  # of 100, the kernel is larger than the patches
def test_the_product_equals_the_convolution_in_value_and_gradient(size, kernel, stride, features):
    x, weights = image(2, *size, 3), image(kernel, kernel, 3, features, seed=1)

    def value(function):
        return lambda x, weights: jnp.sin(function(x, weights, stride)).sum()

    def value_and_gradient(function):
        return jax.jit(jax.value_and_grad(value(function), (0, 1)))(x, weights)

    assert convolution_as_product(x, weights, stride).shape == convolution(x, weights, stride).shape
    one, other = (value_and_gradient(f) for f in (convolution, convolution_as_product))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-3)


def test_the_convolution_equals_a_loop_over_windows():
    x, weights = image(1, 5, 6, 2), image(3, 3, 2, 3, seed=1)
    expected = np.zeros((1, 2, 2, 3))
    for row in range(2):
        for column in range(2):
            window = x[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[0, row, column] = np.einsum("ijc,ijcf->f", window, weights)
    np.testing.assert_allclose(convolution(x, weights, 2), expected, rtol=1e-4, atol=1e-5)


def test_a_stride_that_does_not_divide_the_kernel_is_refused():
    with pytest.raises(ValueError, match="stride 2 must divide the kernel size 3"):
        convolution_as_product(image(1, 6, 6, 1), image(3, 3, 1, 1), 2)


def test_the_layer_takes_any_stride():
    x = image(2, 7, 7, 3)
    layer = Conv(features=4, kernel_size=3, stride=2)
    params = layer.init(KEY, x)
    expected = convolution(x, params["params"]["kernel"], 2) + params["params"]["bias"]
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [((3, 2), 5, 2), ((2, 4), 6, 2), ((2, 3), 4, 4), ((3, 3), 3, 1)]
)
def test_the_transposed_product_equals_the_library_in_value_and_gradient(size, kernel, stride):
    x, weights = image(2, *size, 3), image(kernel, kernel, 3, 4, seed=1)

    def value_and_gradient(function):
        def value(x, weights):
            return jnp.sin(function(x, weights, stride)).sum()

        return jax.jit(jax.value_and_grad(value, (0, 1)))(x, weights)

    forms = (transposed_convolution, transposed_convolution_as_product)
    shapes = [function(x, weights, stride).shape for function in forms]
    assert shapes[0] == shapes[1] == (2, *((n - 1) * stride + kernel for n in size), 4)
    one, other = map(value_and_gradient, forms)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_the_transposed_convolution_is_the_adjoint_of_the_convolution():
    x, weights = image(1, 2, 3, 4), image(5, 5, 2, 4, seed=1)
    y = image(1, 7, 9, 2, seed=2)
    forward = jnp.vdot(convolution(y, weights, 2), x)
    adjoint = jnp.vdot(y, transposed_convolution(x, weights.swapaxes(2, 3), 2))
    np.testing.assert_allclose(forward, adjoint, rtol=1e-4)


def test_the_transposed_layer_adds_its_bias():
    x = image(2, 3, 3, 4)
    layer = ConvTranspose(features=2, kernel_size=3, stride=2)
    params = {"params": {"kernel": image(3, 3, 4, 2, seed=1), "bias": jnp.array([1.0, -2.0])}}
    expected = transposed_convolution(x, params["params"]["kernel"], 2) + jnp.array([1.0, -2.0])
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-4, atol=1e-5)


PAPER_DECODER = ((1024, 128, 64, 32), (5, 5, 6, 6), (2,) * 4, "relu")
PATCH_DECODER = ((64, 32, 16), (2, 2, 4), (2, 2, 4), "elu")


@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 64, 1), (84, 84, 3), (20, 33, 1), (3, 3, 1)])
@pytest.mark.parametrize("sizes", [PAPER_DECODER, PATCH_DECODER])
def test_decoders_give_an_image_of_any_shape(shape, sizes):
    assert output(ImageDecoder(shape, *sizes), 5, 7).shape == (5, *shape)


def test_the_papers_decoder_starts_from_one_pixel():
    decoder = ImageDecoder((64, 64, 3), *PAPER_DECODER)
    params = jax.eval_shape(decoder.init, KEY, image(1, 230))["params"]
    assert params["Dense_0"]["kernel"].shape == (230, 1024)
    kernels = [params[f"ConvTranspose_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(5, 5, 1024, 128), (5, 5, 128, 64), (6, 6, 64, 32), (6, 6, 32, 3)]


def output(module, *shape):
    return jax.eval_shape(lambda key, x: module.init_with_output(key, x)[0], KEY, image(*shape))


def test_encoders_flatten_each_value_to_one_feature_vector():
    paper = ImageEncoder((32, 64, 128, 256), (4,) * 4, (2,) * 4, "relu")
    assert output(paper, 5, 64, 64, 3).shape == (5, 2 * 2 * 256)
    patches = ImageEncoder((16, 32, 64), (4, 2, 2), (4, 2, 2), "elu")
    assert output(patches, 5, 32, 32, 1).shape == (5, 2 * 2 * 64)
    assert output(VectorEncoder((9, 7), "silu"), 5, 2).shape == (5, 7)


def test_an_image_smaller_than_a_kernel_names_the_layer_and_the_way_out():
    encoder = ImageEncoder((4, 4), (4, 4), (2, 2), "relu")
    with pytest.raises(ValueError, match=r"3x3 at layer 1 .* kernel 4: use a larger --image-size"):
        output(encoder, 1, 8, 8, 3)


@pytest.mark.parametrize("layers", [0, 2])
def test_the_hidden_layers_of_an_mlp_compute_in_bfloat16_and_its_output_in_float32(layers):
    def run(dtype):
        mlp = MLP(layers, 8, 3, norm=True, dtype=dtype)
        return mlp.init_with_output(KEY, image(4, 5))[0]

    exact, rounded = run(jnp.float32), run(jnp.bfloat16)
    assert exact.dtype == rounded.dtype == jnp.float32
    assert (exact != rounded).any() == (layers > 0)
    np.testing.assert_allclose(exact, rounded, rtol=0.1, atol=0.1)


def test_an_output_near_150_tells_512_inputs_apart_in_bfloat16():
    mlp, x = MLP(2, 32, 1, dtype=jnp.bfloat16), image(512, 8)
    layers = random_parameters(lambda key: mlp.init(key, x))["params"]
    layers["Dense_2"] = {"kernel": 10 * layers["Dense_2"]["kernel"], "bias": jnp.array([150.0])}
    outputs = np.asarray(mlp.apply({"params": layers}, x))
    assert len(np.unique(outputs)) == 512
    assert len(np.unique(outputs.astype(jnp.bfloat16))) < 200


def test_a_decoders_pixels_near_150_are_not_rounded_in_bfloat16():
    decoder = ImageDecoder((3, 3, 1), *PATCH_DECODER, jnp.bfloat16)
    layers = random_parameters(lambda key: decoder.init(key, image(64, 5)))["params"]
    layers["ConvTranspose_2"]["bias"] = jnp.array([150.0])
    pixels = np.asarray(decoder.apply({"params": layers}, image(64, 5)))
    assert pixels.dtype == np.float32
    # A bfloat16 between 128 and 256 is a whole number.
    assert (pixels != np.round(pixels)).mean() > 0.99


@pytest.mark.parametrize("activation", ["relu", "elu", "silu"])
def test_a_layer_normalises_and_activates_what_its_linear_map_gives(activation):
    x = image(4, 5)
    layers = Layers((6, 3), activation, norm=True)
    params = random_parameters(lambda key: layers.init(key, x))["params"]
    expected = np.asarray(x, np.float64)
    for i in range(2):
        linear = expected @ np.asarray(params[f"Dense_{i}"]["kernel"], np.float64)
        linear = linear + np.asarray(params[f"Dense_{i}"]["bias"], np.float64)
        size = np.sqrt(np.square(linear).mean(-1, keepdims=True) + 1e-6)
        normal = linear / size * np.asarray(params[f"RMSNorm_{i}"]["scale"], np.float64)
        expected = np.asarray(getattr(jax.nn, activation)(normal), np.float64)
    found = layers.apply({"params": params}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_mlp_without_hidden_layers_is_linear():
    mlp = MLP(0, 8, 3)
    x, y = image(4, 5), image(4, 5, seed=1)
    params = mlp.init(KEY, x)

    def linear(x):
        return mlp.apply(params, x)

    np.testing.assert_allclose(linear(x + 2 * y), linear(x) + 2 * linear(y), rtol=1e-4, atol=1e-5)


def test_a_gru_is_the_librarys_cell_with_its_gates_side_by_side():
    state, x = image(4, 6), image(4, 5, seed=1)
    cell = nn.GRUCell(6)

    def side_by_side(layers):
        def gates(group, part):
            return jnp.concatenate([layers[group + gate][part] for gate in "rzn"], -1)

        inputs = {"kernel": gates("i", "kernel"), "bias": gates("i", "bias")}
        return {
            "state": {"kernel": gates("h", "kernel")},
            "input": inputs,
            "bias": layers["hn"]["bias"],
        }

    def theirs(layers, state, x):
        return jnp.sin(cell.apply({"params": layers}, state, x)[0]).sum()

    def ours(layers, state, x):
        gru = GRU(6, jnp.float32)
        return jnp.sin(gru.apply({"params": side_by_side(layers)}, state, x)).sum()

    layers = random_parameters(lambda key: cell.init(key, state, x))["params"]
    one, other = (jax.value_and_grad(f, (0, 1, 2))(layers, state, x) for f in (theirs, ours))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_gru_begins_with_orthogonal_gates_and_keeps_its_state_in_float32():
    gru, inputs = GRU(6, jnp.bfloat16), (image(4, 6), image(4, 5))
    state, params = gru.init_with_output(KEY, *inputs)
    for gate in jnp.split(params["params"]["state"]["kernel"], 3, 1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(6), atol=1e-5)
    assert state.dtype == jnp.float32
    exact = GRU(6, jnp.float32).apply(params, *inputs)
    assert (state != exact).any()
    np.testing.assert_allclose(state, exact, atol=0.05)

    def value(params, *inputs):
        return gru.apply(params, *inputs).sum()

    gradient = jax.grad(value, (0, 1, 2))(params, *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float32")}


def test_images_are_centred_and_the_rest_is_left_as_it_is():
    pixels = jnp.array([0, 51, 255], jnp.uint8).reshape(1, 1, 1, 3)
    centred = preprocess(Modality("rgb", "image", (1, 1, 3)), pixels)
    np.testing.assert_allclose(centred.ravel(), [-0.5, -0.3, 0.5], atol=1e-6)
    vector = jnp.array([[-3.0, 7.0]])
    np.testing.assert_array_equal(preprocess(Modality("touch", "vector", (2,)), vector), vector)


def test_elu_and_its_gradient_are_the_librarys():
    x = jnp.array([-100.0, -20.0, -1.0, -1e-3, -1e-7, 0.0, 1e-7, 0.5, 30.0])
    np.testing.assert_allclose(elu(x), jax.nn.elu(x), rtol=1e-6, atol=1e-7)
    expected = jax.vmap(jax.grad(jax.nn.elu))(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(elu))(x), expected, rtol=1e-6, atol=1e-7)


def test_a_silhouette_tells_what_is_there_from_how_far_it_is():
    depth = jnp.array([0.0, 0.25, 0.5, 0.9, 1.0, 1.0]).reshape(1, 2, 3, 1)
    found = np.asarray(silhouette(depth))
    there, distance = found[..., 0].ravel(), found[..., 1].ravel()
    np.testing.assert_array_equal(there, [1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(distance, [-2.5, -1.25, 0, 2, 0, 0], atol=1e-6)


@pytest.mark.parametrize("depth_input", ["distance", "silhouette"])
def test_the_encoder_of_a_depth_map_sees_what_the_setting_says(depth_input):
    config = ModelConfig(
        image_widths=(3,), image_kernels=(4,), image_strides=(4,), expert_units=0,
        depth_input=depth_input,
    )  # fmt: skip
    shape = (8, 8, 1)
    network = SensorNetwork(Modality("depth", "depth", shape), config, 0, 5, jnp.float32)
    params = network.init(jax.random.PRNGKey(0), jnp.ones((1, *shape)))
    (kernel,) = (x for x in jax.tree.leaves(params) if x.ndim == 4)
    channels = {"distance": 1, "silhouette": 2}[depth_input]
    assert kernel.shape == (4, 4, channels, 3)
    assert network.apply(params, jnp.ones((7, *shape))).shape == (7, 5)
