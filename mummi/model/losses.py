"""Training objectives of the world model; pure functions."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float


def negative_distances(
    prediction: Float[Array, "N E"], target: Float[Array, "N E"]
) -> Float[Array, "N N"]:
    """Logits [i, j] of -|target_j - prediction_i|^2, short of the row constant |prediction_i|^2.

    The constant cancels in a softmax over j, which leaves one matrix product.
    """
    # An accelerator's default would round the product to fewer bits than |target|^2 has.
    product = jnp.dot(prediction, target.T, precision=jax.lax.Precision.HIGHEST)
    return 2.0 * product - jnp.square(target).sum(-1)


def contrast(
    logits: Float[Array, "N N"], available: Bool[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """InfoNCE and its accuracy over the available rows and columns of ``logits``.

    Returns:
        The mean over available i of -log softmax_j(logits[i, j]) at j = i, and how often that
        logit is the largest of its row; both 0 when nothing is available.
    """
    # With nothing available every candidate is kept, so that the unused logsumexp stays finite.
    candidate = available | ~available.any()
    positive = jnp.diagonal(logits)
    loss = jax.nn.logsumexp(jnp.where(candidate, logits, -jnp.inf), axis=-1) - positive
    other = available & ~jnp.eye(len(logits), dtype=bool)
    hit = positive > jnp.where(other, logits, -jnp.inf).max(-1)
    count = jnp.maximum(available.sum(), 1)
    return (
        jnp.where(available, loss, 0.0).sum() / count,
        jnp.where(available, hit, False).sum() / count,
    )


def info_nce(
    prediction: Float[Array, "N E"], target: Float[Array, "N E"], available: Bool[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """InfoNCE with a squared-exponential density ratio (MuMMI, eq. 15 and 16), and its accuracy.

    Args:
        prediction: g(z), [N, E].
        target: expert means d^m(x), [N, E]; anything, NaN too, where not available.
        available: bool [N].
    """
    mask = available[:, None]
    prediction, target = (jnp.where(mask, x, 0.0) for x in (prediction, target))
    return contrast(negative_distances(prediction, target), available)


def published_info_nce(
    prediction: Float[Array, "N E"], target: Float[Array, "N E"], available: Bool[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """InfoNCE as in the paper's public code: a missing candidate keeps the logit -100.

    The mean runs over all N, with 0 for a missing i, so a missing candidate still takes
    probability once real distances pass 100. The accuracy is that of ``info_nce``.
    """
    mask = available[:, None]
    prediction, target = (jnp.where(mask, x, 0.0) for x in (prediction, target))
    logits = negative_distances(prediction, target) - jnp.square(prediction).sum(-1)[:, None]
    accuracy = contrast(logits, available)[1]
    logits = jnp.where(available[None, :], logits, -100.0)
    loss = jax.nn.logsumexp(logits, axis=-1) - jnp.diagonal(logits)
    return jnp.where(available, loss, 0.0).mean(), accuracy


def reconstruction(
    prediction: Float[Array, "*batch D"], target: Float[Array, "*batch D"], available: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Negative log-likelihood of what was available, with unit variance, short of its constant.

    Args:
        prediction: means [..., D].
        target: values [..., D]; anything, NaN too, where not available.
        available: bool [...].

    Returns:
        The mean over all steps of the sum over D, a missing value counting 0 (MuMMI, eq. 10),
        and the mean squared error of what was available.
    """
    error = jnp.square(jnp.where(available[..., None], target - prediction, 0.0)).sum(-1)
    count = jnp.maximum(available.sum(), 1) * target.shape[-1]
    return 0.5 * error.mean(), error.sum() / count


def expert_agreement(
    mean: Float[Array, "M N E"], available: Bool[Array, "M N"]
) -> Float[Array, "M M"]:
    """1 - (distance of two experts at one step) / (their distance at different steps).

    1 when two sensors map to the same point, 0 when a step's pair is no closer than any pair.
    Only steps at which both are available count; 0 where there are fewer than two.
    """
    both = (available[:, None] & available[None]).astype(jnp.float32)
    count = both.sum(-1)
    mean = jnp.where(available[..., None], mean, 0.0)
    weight = both / jnp.maximum(count, 1)[..., None]
    square = jnp.square(mean).sum(-1)
    first = jnp.einsum("abn,ane->abe", weight, mean)
    second = jnp.einsum("abn,bne->abe", weight, mean)
    squares = jnp.einsum("abn,an->ab", weight, square) + jnp.einsum("abn,bn->ab", weight, square)
    product = (mean[:, None] * mean[None]).sum(-1)
    matched = squares - 2 * (weight * product).sum(-1)
    shuffled = squares - 2 * jnp.einsum("abe,abe->ab", first, second)
    return jnp.where(count > 1, 1.0 - matched / jnp.maximum(shuffled, 1e-8), 0.0)


def gaussian_kl(posterior_mean, posterior_std, prior_mean, prior_std) -> Array:
    """KL(posterior || prior) of diagonal Gaussians, summed over the last axis; [...]."""
    ratio = jnp.log(posterior_std) - jnp.log(prior_std)
    distance = (posterior_mean - prior_mean) / prior_std
    return (0.5 * (jnp.square(distance) + jnp.expm1(2.0 * ratio)) - ratio).sum(-1)


def sampled_kl(sample, posterior_mean, posterior_std, prior_mean, prior_std) -> Array:
    """log posterior(sample) - log prior(sample) of diagonal Gaussians, summed over the last axis.

    Its mean over samples of the posterior is their KL, also where the prior depends on what was
    drawn after the sample and given it: the closed form would take the two as independent.
    """
    posterior = norm.logpdf(sample, posterior_mean, posterior_std)
    return (posterior - norm.logpdf(sample, prior_mean, prior_std)).sum(-1)


def balanced_kl(
    posterior: tuple[Array, Array],
    prior: tuple[Array, Array],
    balance: float | None,
    free_nats: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """KL of posterior and prior, averaged over batch and time, with free nats on the average.

    Args:
        posterior: mean and std, each [..., S].
        prior: mean and std, each [..., S].
        balance: share of the gradient that trains the prior towards a fixed posterior
            (DreamerV2); None gives the plain KL.
        free_nats: no gradient while the average is below this many nats.

    Returns:
        The loss, and the plain average KL.
    """
    average = gaussian_kl(*posterior, *prior).mean()
    if balance is None:
        return jnp.maximum(average, free_nats), average
    fixed = jax.lax.stop_gradient
    to_prior = gaussian_kl(*fixed(posterior), *prior).mean()
    to_posterior = gaussian_kl(*posterior, *fixed(prior)).mean()
    loss = balance * jnp.maximum(to_prior, free_nats)
    return loss + (1 - balance) * jnp.maximum(to_posterior, free_nats), average
