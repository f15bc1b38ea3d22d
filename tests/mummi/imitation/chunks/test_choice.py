"""Choosing among candidates against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.imitation.chunks.choice import (
    medoid_scores,
    overlap_scores,
    proxy_scores,
    scores,
    start_scores,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

B, K, T, A, EXECUTE = 2, 5, 4, 2, 2
choose = jax.jit(scores, static_argnums=(0, 3))


def problem(seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Candidates [B, K, T, A] and the chunk before [B, T, A]."""
    random = np.random.default_rng(seed)
    draw = jnp.asarray(random.normal(size=(B, K + 1, T, A)), jnp.float32)
    return draw[:, 1:], draw[:, 0]


def test_scores_are_distances_to_the_last_action_and_to_the_rest_of_the_last_chunk():
    candidates, chunk = problem()
    wanted = np.abs(candidates[1, 2, 0] - chunk[1, 2]).mean()
    assert float(proxy_scores(candidates, chunk[:, 2])[1, 2]) == pytest.approx(wanted, 1e-4)
    wanted = np.abs(candidates[1, 2, :1] - chunk[1, 3:]).mean()
    assert float(overlap_scores(candidates, chunk, 3)[1, 2]) == pytest.approx(wanted, 1e-4)


def test_the_medoid_is_the_candidate_with_the_least_total_distance_of_a_loop():
    for seed in range(20):
        candidates, _ = problem(seed)
        found = np.asarray(medoid_scores(candidates).argmin(1))
        for robot in range(B):
            rows = candidates[robot]
            total = [sum(np.abs(one - other).mean() for other in rows) for one in rows]
            assert found[robot] == np.argmin(total)


def test_the_medoid_of_two_ways_is_on_one_of_them_and_the_mean_is_not():
    random = np.random.default_rng(0)
    sides = np.array([1, -1, 1, -1, 1])[:, None, None]
    candidates = jnp.asarray(sides + random.normal(0, 0.05, (K, T, A)), jnp.float32)[None]
    chosen = candidates[0, int(medoid_scores(candidates)[0].argmin())]
    assert np.abs(chosen - 1).max() < 0.2
    assert np.abs(np.abs(candidates[0].mean(0)) - 1).min() > 0.6


@pytest.mark.parametrize("choice", ["proxy", "smoothness", "medoid", "first"])
def test_a_robot_that_starts_follows_the_choice_as_far_as_it_can(choice):
    candidates, chunk = problem()
    first = np.array([True, False])
    started = np.abs(candidates[0, :, 0] - candidates[0, :, 1]).mean(-1)
    continued = {
        "proxy": np.abs(candidates[1, :, 0] - chunk[1, EXECUTE - 1]).mean(-1),
        "smoothness": np.abs(candidates[1, :, : T - EXECUTE] - chunk[1, EXECUTE:]).mean((1, 2)),
        "medoid": np.asarray(medoid_scores(candidates[1:])[0]),
        "first": np.zeros(K),
    }[choice]
    if choice == "medoid":
        started = np.asarray(medoid_scores(candidates[:1])[0])
    elif choice == "first":
        started = np.zeros(K)
    found = choose(choice, candidates, chunk, EXECUTE, first)
    np.testing.assert_allclose(found, [started, continued], atol=1e-5)
    assert choice == "first" or found[0].argmin() != 0


def test_chunks_of_one_action_all_start_as_smoothly():
    candidates, _ = problem()
    np.testing.assert_array_equal(start_scores(candidates[:, :, :1]), np.zeros((B, K)))
