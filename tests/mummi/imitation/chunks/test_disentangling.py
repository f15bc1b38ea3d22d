"""The losses of shared and private parts, against loops and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.imitation.chunks import disentangling

pytestmark = pytest.mark.usefixtures("quick_compile")

M, N, E, T = 3, 6, 4, 0.1
alignment = jax.jit(functools.partial(disentangling.alignment, temperature=T))
orthogonality = jax.jit(disentangling.orthogonality)


def drawn(seed: int, missing: float):
    """Parts [M, N, E] and availability [M, N]."""
    random = np.random.default_rng(seed)
    shared, private = random.normal(size=(2, M, N, E)).astype(np.float32)
    return shared, private, random.random((M, N)) >= missing


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def aligned(shared, available) -> float:
    """Pair by pair and row by row, by probabilities in place of logarithms of sums."""
    pairs = []
    for a in range(M):
        for b in range(M):
            rows = [i for i in range(N) if available[a, i] and available[b, i]]
            if a == b or not rows:
                continue
            shares = []
            for i in rows:
                weights = [np.exp(cosine(shared[a, i], shared[b, j]) / T) for j in rows]
                shares.append(weights[rows.index(i)] / np.sum(weights))
            pairs.append(-np.log(shares).mean())
    return float(np.mean(pairs)) if pairs else 0.0


@pytest.mark.parametrize("missing", [0.0, 0.4, 0.8, 1.0])
def test_alignment_is_the_mean_contrast_of_all_pairs(missing):
    for seed in range(3):
        shared, _, available = drawn(seed, missing)
        found = float(alignment(jnp.asarray(shared), jnp.asarray(available)))
        assert found == pytest.approx(aligned(shared.astype(float), available), rel=1e-4, abs=1e-6)


def test_alignment_is_least_where_all_sensors_say_the_same_of_each_situation():
    same = np.tile(np.eye(N, E, dtype=np.float32), (M, 1, 1))[:, :E]
    everything = jnp.ones((M, E), bool)
    # Every other situation is orthogonal: E - 1 of them with weight 1 beside exp(1 / τ).
    wanted = np.log(1 + (E - 1) * np.exp(-1 / T))
    assert float(alignment(jnp.asarray(same), everything)) == pytest.approx(wanted, abs=1e-6)
    shuffled = same.copy()
    shuffled[1] = np.roll(same[1], 1, 0)
    assert float(alignment(jnp.asarray(shuffled), everything)) > 5


@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
def test_orthogonality_is_the_mean_squared_cosine(missing):
    shared, private, available = drawn(4, missing)
    rows = zip(shared[available], private[available], strict=True)
    squares = [cosine(a, b) ** 2 for a, b in rows]
    wanted = np.mean(squares) if squares else 0.0
    found = orthogonality(*map(jnp.asarray, (shared, private, available)))
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_orthogonality_is_0_of_orthogonal_and_1_of_parallel_parts():
    first = jnp.tile(jnp.array([1.0, 2, 0, 0]), (M, N, 1))
    everything = jnp.ones((M, N), bool)
    for other, wanted in (([-2, 1, 0, 5], 0.0), ([-3, -6, 0, 0], 1.0)):
        second = jnp.tile(jnp.array(other, jnp.float32), (M, N, 1))
        found = float(orthogonality(first, second, everything))
        assert found == pytest.approx(wanted, abs=1e-6)


def test_neither_what_is_missing_nor_zeros_spoil_the_gradients():
    shared, private, available = drawn(5, 0.4)
    shared[~available], private[~available] = np.nan, np.nan
    shared[0, 0], private[1, 1] = 0, 0

    mask = jnp.asarray(available)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradients(shared, private):
        return alignment(shared, mask) + orthogonality(shared, private, mask)

    for gradient in gradients(jnp.asarray(shared), jnp.asarray(private)):
        assert np.isfinite(gradient).all() and np.abs(gradient).sum() > 0
        assert (np.asarray(gradient)[~available] == 0).all()
