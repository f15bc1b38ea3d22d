"""Diffusion, flow matching and both backbones against closed forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mummi.imitation.chunks import diffusion
from mummi.imitation.chunks.config import BesoConfig, DiffusionConfig
from mummi.imitation.chunks.generators import GENERATORS
from mummi.imitation.chunks.performer import Performer
from mummi.imitation.chunks.unet import TimeConv, UNet, stretch

pytestmark = pytest.mark.usefixtures("quick_compile")

B, T, A, S, D = 3, 4, 2, 2, 8
SCHEDULE = diffusion.squared_cosine(100)
MEAN, STD = 0.3, 0.2
KEY = jax.random.PRNGKey(0)


def test_the_schedule_is_the_squared_cosine():
    wanted = [np.cos(((t + 1) / 100 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(99)]
    wanted = np.array(wanted) / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(SCHEDULE[:-1], wanted, rtol=1e-9)
    assert 0 < SCHEDULE[-1] < SCHEDULE[-2] / 100


@pytest.mark.parametrize("prediction", ["noise", "sample"])
def test_the_exact_prediction_leads_ddim_back_to_the_data(prediction):
    """Of data that is one point, noise and sample are known: every number of steps finds it."""
    point = np.float32(np.random.default_rng(0).uniform(-0.9, 0.9, (1, T, A)))
    signal = jnp.asarray(SCHEDULE, jnp.float32)

    def predict(x, time):
        now = signal[jnp.round(time * 100).astype(int)][:, None, None]
        if prediction == "sample":
            return jnp.broadcast_to(point, x.shape)
        return (x - jnp.sqrt(now) * point) / jnp.sqrt(1 - now)

    noise = jax.random.normal(jax.random.PRNGKey(0), (B, T, A))
    for steps in (2, 10):
        sample = jax.jit(
            lambda x, n=steps: diffusion.ddim_sample(predict, x, SCHEDULE, n, prediction)
        )
        np.testing.assert_allclose(sample(noise), np.broadcast_to(point, noise.shape), atol=1e-3)


def expected(x, signal, prediction):
    """What is best predicted of noisy x where data is N(MEAN, STD²); ``signal`` is ᾱ, broadcast."""
    centred = (x - jnp.sqrt(signal) * MEAN) / (signal * STD**2 + 1 - signal)
    if prediction == "noise":
        return jnp.sqrt(1 - signal) * centred
    return MEAN + jnp.sqrt(signal) * STD**2 * centred


@pytest.mark.parametrize("prediction", ["noise", "sample"])
def test_ddim_keeps_the_moments_of_gaussian_data(prediction):
    signal = jnp.asarray(SCHEDULE, jnp.float32)

    def predict(x, time):
        return expected(x, signal[jnp.round(time * 100).astype(int)][:, None], prediction)

    noise = jax.random.normal(jax.random.PRNGKey(1), (4000, 1))
    sample = jax.jit(lambda x: diffusion.ddim_sample(predict, x, SCHEDULE, 50, prediction))
    found = sample(noise)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(found.std()) == pytest.approx(STD, rel=0.1)


def chunks_of_gaussian_data(count: int = 4000):
    """Chunks [N, T, A] of numbers N(MEAN, STD²)."""
    return MEAN + STD * jax.random.normal(jax.random.PRNGKey(2), (count, T, A))


@pytest.mark.parametrize("prediction", ["noise", "sample"])
def test_the_loss_of_the_exact_denoiser_is_the_variance_that_noise_leaves(prediction):
    """Of x it is σ² (1-ᾱ) / (ᾱ σ² + 1-ᾱ), of the noise ᾱ σ² over the same, for data N(m, σ²)."""
    config = DiffusionConfig(prediction=prediction)
    signal = jnp.asarray(SCHEDULE, jnp.float32)

    def generate(x, time):
        now = signal[jnp.round(time * 100).astype(int)][:, None, None, None]
        return expected(x, now, prediction)

    loss = jax.jit(lambda x: GENERATORS["diffusion"].loss(config, generate, x, KEY, ()).loss)
    share = (SCHEDULE if prediction == "noise" else 1 - SCHEDULE) * STD**2
    wanted = (share / (SCHEDULE * STD**2 + 1 - SCHEDULE)).mean()
    assert float(loss(chunks_of_gaussian_data())) == pytest.approx(wanted, rel=0.03)


def exact_output(config: BesoConfig):
    """F where data is N(MEAN, STD²), for which D(x; σ) = (STD² x + σ² MEAN) / (STD² + σ²)."""

    def generate(scaled, time):
        std = config.least_std * (config.most_std / config.least_std) ** time[:, None, None, None]
        noisy = scaled * jnp.sqrt(std**2 + config.data_std**2)
        clean = (STD**2 * noisy + std**2 * MEAN) / (STD**2 + std**2)
        skip = config.data_std**2 / (std**2 + config.data_std**2)
        return (clean - skip * noisy) / (
            std * config.data_std / jnp.sqrt(std**2 + config.data_std**2)
        )

    return generate


def test_beso_with_the_exact_denoiser_keeps_the_moments_of_gaussian_data():
    config = BesoConfig(steps=200)
    sample = jax.jit(lambda x: GENERATORS["beso"].sample(config, exact_output(config), x))
    found = sample(jax.random.normal(jax.random.PRNGKey(1), (2000, 2, 1, 1)))
    assert found.shape == (2000, 2, 1, 1)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(found.std()) == pytest.approx(STD, rel=0.1)


def test_the_loss_of_besos_exact_denoiser_is_the_weighted_variance_that_noise_leaves():
    """Noise of σ leaves s² σ² / (s² + σ²) of the data's s², which 1 / c_out² weighs."""
    config = BesoConfig()
    loss = jax.jit(lambda x: GENERATORS["beso"].loss(config, exact_output(config), x, KEY, ()).loss)
    law = scipy.stats.fisk(1 / config.spread, scale=config.data_std)

    def left(std):
        weight = (std**2 + config.data_std**2) / (std * config.data_std) ** 2
        return weight * STD**2 * std**2 / (STD**2 + std**2)

    wanted = law.expect(left, lb=config.least_std, ub=config.most_std, conditional=True)
    assert float(loss(chunks_of_gaussian_data())) == pytest.approx(wanted, rel=0.03)


def test_preconditioned_input_and_target_have_unit_variance():
    clean = 0.5 * jax.random.normal(jax.random.PRNGKey(3), (20_000,))
    noise = jax.random.normal(jax.random.PRNGKey(4), clean.shape)
    for std in (0.01, 0.5, 20.0):
        skip, out, into = diffusion.preconditioning(std, 0.5)
        noisy = clean + std * noise
        assert float((into * noisy).std()) == pytest.approx(1, rel=0.03)
        assert float(((clean - skip * noisy) / out).std()) == pytest.approx(1, rel=0.03)


def test_the_noise_of_beso_is_log_logistic_within_its_ends():
    drawn = np.asarray(diffusion.log_logistic(KEY, 4000, 0.5, 0.5, 0.05, 2.0))
    assert 0.05 <= drawn.min() < 0.06 and 1.9 < drawn.max() <= 2.0
    law = scipy.stats.fisk(2, scale=0.5)
    low, high = law.cdf([0.05, 2.0])
    assert scipy.stats.kstest((law.cdf(drawn) - low) / (high - low), "uniform").pvalue > 0.01
    stds = diffusion.geometric(0.05, 2.0, 4)
    np.testing.assert_allclose(stds[1:] / stds[:-1], np.full(3, (0.05 / 2.0) ** (1 / 3)))
    assert stds[0] == 2.0


def test_euler_follows_the_exact_velocity_of_gaussian_data():
    """From N(0, 1) to N(m, s²) the velocity is linear, and the moments arrive."""

    def predict(x, time):
        t = time[:, None]
        variance = t**2 * STD**2 + (1 - t) ** 2
        return MEAN + (t * STD**2 - (1 - t)) / variance * (x - t * MEAN)

    noise = jax.random.normal(jax.random.PRNGKey(1), (4000, 1))
    found = jax.jit(lambda x: diffusion.euler_sample(predict, x, 200))(noise)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(found.std()) == pytest.approx(STD, rel=0.1)


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


BACKBONES = {
    "unet": UNet((8, 16)),
    "performer": Performer(1, 2, 8),
    "transformer": Performer(1, 2, None),
}


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
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


@pytest.mark.parametrize(("timed", "scale"), [(False, 0.1), (True, 1.0)])
def test_a_latent_starts_at_a_tenth_of_the_queries_and_noisy_actions_at_their_scale(timed, scale):
    """The first token of each step is its query and the projected noise, before any attention."""
    performer, width = Performer(1, 4, 8), 64
    inputs = jnp.zeros((1, S, width)), jnp.zeros((1, 16, 8))
    time = jnp.zeros(1) if timed else None
    params = jax.jit(performer.init)(jax.random.PRNGKey(0), *inputs, time)["params"]
    kernel, queries = params["Dense_0"]["kernel"], params["queries"]
    noise = np.random.default_rng(0).normal(size=(400, 8))
    found = np.std(noise @ np.asarray(kernel)) / np.std(queries)
    assert found == pytest.approx(scale, rel=0.15)


def test_the_unet_ends_as_wide_and_long_as_it_began_at_the_papers_sizes():
    noise, context = jnp.zeros((2, 16, 7)), jnp.zeros((2, 8, 512))
    unet = UNet((256, 512, 1024))
    shapes, params = jax.eval_shape(unet.init_with_output, jax.random.PRNGKey(0), context, noise)
    assert shapes.shape == noise.shape
    assert 50e6 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 100e6
