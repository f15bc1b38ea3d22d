"""Diffusion, flow matching and both backbones against closed forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.imitation.chunks import diffusion
from mummi.imitation.chunks.performer import Performer
from mummi.imitation.chunks.unet import TimeConv, UNet, stretch

pytestmark = pytest.mark.usefixtures("quick_compile")

B, T, A, S, D = 3, 4, 2, 2, 8
SCHEDULE = diffusion.squared_cosine(100)


def test_the_schedule_is_the_squared_cosine():
    wanted = [np.cos(((t + 1) / 100 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(99)]
    wanted = np.array(wanted) / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(SCHEDULE[:-1], wanted, rtol=1e-9)
    assert 0 < SCHEDULE[-1] < SCHEDULE[-2] / 100


def test_the_exact_noise_leads_ddim_back_to_the_data():
    """Of data that is one point, the noise is known, and every number of steps finds it."""
    point = np.float32(np.random.default_rng(0).uniform(-0.9, 0.9, (1, T, A)))
    signal = jnp.asarray(SCHEDULE, jnp.float32)

    def predict(x, time):
        now = signal[jnp.round(time * 100).astype(int)][:, None, None]
        return (x - jnp.sqrt(now) * point) / jnp.sqrt(1 - now)

    noise = jax.random.normal(jax.random.PRNGKey(0), (B, T, A))
    for steps in (2, 10):
        found = jax.jit(lambda x, n=steps: diffusion.ddim_sample(predict, x, SCHEDULE, n))(noise)
        np.testing.assert_allclose(found, np.broadcast_to(point, found.shape), atol=1e-3)


def test_ddim_keeps_the_moments_of_gaussian_data():
    """Data N(m, s²) has the linear noise estimate √(1-ᾱ)(x - √ᾱ m) / (ᾱ s² + 1 - ᾱ)."""
    mean, std = 0.3, 0.2
    signal = jnp.asarray(SCHEDULE, jnp.float32)

    def predict(x, time):
        now = signal[jnp.round(time * 100).astype(int)][:, None]
        return jnp.sqrt(1 - now) * (x - jnp.sqrt(now) * mean) / (now * std**2 + 1 - now)

    noise = jax.random.normal(jax.random.PRNGKey(1), (4000, 1))
    found = jax.jit(lambda x: diffusion.ddim_sample(predict, x, SCHEDULE, 50))(noise)
    assert float(found.mean()) == pytest.approx(mean, abs=0.02)
    assert float(found.std()) == pytest.approx(std, rel=0.1)


def test_euler_follows_the_exact_velocity_of_gaussian_data():
    """From N(0, 1) to N(m, s²) the velocity is linear, and the moments arrive."""
    mean, std = 0.3, 0.2

    def predict(x, time):
        t = time[:, None]
        variance = t**2 * std**2 + (1 - t) ** 2
        return mean + (t * std**2 - (1 - t)) / variance * (x - t * mean)

    noise = jax.random.normal(jax.random.PRNGKey(1), (4000, 1))
    found = jax.jit(lambda x: diffusion.euler_sample(predict, x, 200))(noise)
    assert float(found.mean()) == pytest.approx(mean, abs=0.02)
    assert float(found.std()) == pytest.approx(std, rel=0.1)


def test_the_path_of_flow_matching_is_straight():
    clean, noise = np.float32([1.0, -2.0]), np.float32([0.5, 3.0])
    np.testing.assert_allclose(diffusion.interpolated(clean, noise, 0.0), noise)
    np.testing.assert_allclose(diffusion.interpolated(clean, noise, 1.0), clean)
    np.testing.assert_allclose(
        diffusion.noised(clean, noise, 0.64), 0.8 * clean + 0.6 * noise, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("ours", "library", "prepare"),
    [
        (TimeConv(7, 5), nn.Conv(7, (5,)), lambda x: x),
        (TimeConv(7, 3, 2), nn.Conv(7, (3,), 2, padding=1), lambda x: x),
        (TimeConv(7, 4), nn.ConvTranspose(7, (4,), (2,)), stretch),
    ],
    ids=["convolution", "strided", "transposed"],
)
@pytest.mark.parametrize("length", [4, 8])
def test_a_convolution_over_time_is_the_librarys(ours, library, prepare, length):
    x = jax.random.normal(jax.random.PRNGKey(0), (3, length, 6))
    params = library.init(jax.random.PRNGKey(1), x)
    made = ours.apply(params, prepare(x))
    np.testing.assert_allclose(made, library.apply(params, x), atol=1e-5)


@pytest.mark.parametrize("backbone", [UNet((8, 16)), Performer(1, 2, 8)], ids=["unet", "performer"])
def test_every_step_of_a_chunk_depends_on_all_noise_context_and_time(backbone):
    random = np.random.default_rng(0)
    context = jnp.asarray(random.normal(size=(1, S, D)), jnp.float32)
    noise = jnp.asarray(random.normal(size=(1, T, A)), jnp.float32)
    time = jnp.array([0.3])
    params = jax.jit(backbone.init)(jax.random.PRNGKey(0), context, noise, time)
    derivative = jax.jit(jax.jacobian(backbone.apply, (1, 2, 3)))(params, context, noise, time)
    of_context, of_noise, of_time = (np.abs(x) for x in derivative)
    assert of_noise.shape == (1, T, A, 1, T, A)
    assert (of_noise.sum((0, 2, 3, 5)) > 0).all()
    assert (of_context.sum((0, 2, 3, 5)) > 0).all()
    assert (of_time.sum((0, 2, 3)) > 0).all()


def test_the_unet_ends_as_wide_and_long_as_it_began_at_the_papers_sizes():
    noise, context = jnp.zeros((2, 16, 7)), jnp.zeros((2, 8, 512))
    unet = UNet((256, 512, 1024))
    shapes, params = jax.eval_shape(unet.init_with_output, jax.random.PRNGKey(0), context, noise)
    assert shapes.shape == noise.shape
    assert 50e6 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 100e6
