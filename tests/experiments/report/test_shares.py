"""Intervals of shares of successes against scipy, hand calculation and simulated seeds."""

import numpy as np
import pytest
from scipy import stats

from experiments.report.shares import Count, design_effect, interval, share, total, wilson


def table(successes, episodes=5):
    """Counts of successes [S, T]."""
    return {
        (seed, str(task)): Count(int(n), episodes)
        for seed, row in enumerate(successes)
        for task, n in enumerate(row)
    }


@pytest.mark.parametrize(("count", "of"), [(0, 7), (3, 10), (147, 150), (50, 50)])
def test_wilson_is_scipys(count, of):
    expected = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert wilson(count / of, of) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_one_seed_and_seeds_that_agree_have_the_interval_of_independent_episodes():
    for successes in ([[5, 0, 3]], [[5, 0, 3]] * 3, [[5, 5], [5, 5]], [[0, 0]]):
        counts = table(successes)
        assert design_effect(counts) == 1
        assert interval(counts) == wilson(share(counts), total(counts))


def test_the_effect_is_the_larger_of_what_seeds_do_in_all_and_task_by_task():
    successes = np.array([[5, 5, 0], [5, 0, 5], [0, 4, 1]])
    p, n = successes.sum() / 45, 45
    in_all = np.var(successes.sum(1) / 15, ddof=1) / 3
    by_task = sum((15 / 45) ** 2 * np.var(successes[:, t] / 5, ddof=1) / 3 for t in range(3))
    expected = max(in_all, by_task) / (p * (1 - p) / n)
    assert design_effect(table(successes)) == pytest.approx(expected) and expected > 1
    # A seed that fails in everything is known from what seeds do in all.
    assert design_effect(table([[5, 5, 5], [5, 5, 5], [0, 0, 0]])) > 5


def test_trainings_that_fail_in_whole_tasks_are_covered_as_often_as_is_said():
    random, trials = np.random.default_rng(0), 400
    mean = stats.beta(1.5, 0.5).mean()
    hits = np.zeros(2)
    for _ in range(trials):
        counts = table(random.binomial(5, random.beta(1.5, 0.5, (3, 10))))
        for k, (low, high) in enumerate([interval(counts), wilson(share(counts), total(counts))]):
            hits[k] += low <= mean <= high
    aware, unaware = hits / trials
    assert aware > 0.93 > 0.9 > unaware
