"""Measures of motion, candidates and speed against closed forms and loops."""

import time

import numpy as np
import pytest

from mummi.imitation.metrics import diversity, jerk, latencies, mode_switch_rate


def test_jerk_of_a_cubic_is_its_third_derivative_and_of_a_parabola_nothing():
    t = np.arange(20.0)
    assert jerk(np.stack([t**3, 0 * t], -1)) == pytest.approx(6)
    assert jerk(np.stack([2 * t**2 + t, t], -1)) == pytest.approx(0)
    assert jerk(np.zeros((3, 2))) == 0


def test_switches_are_gaps_beyond_the_threshold_among_those_that_count():
    assert mode_switch_rate(np.array([[np.nan, 0.1], [0.3, 0.5]])) == pytest.approx(2 / 3)
    assert mode_switch_rate(np.array([0.1, 0.3]), 0.05) == 1
    assert np.isnan(mode_switch_rate(np.array([np.nan])))


def test_diversity_is_the_mean_over_pairs():
    random = np.random.default_rng(0)
    candidates = random.normal(size=(4, 3, 2)).astype(np.float32)
    pairs = [np.abs(candidates[i] - candidates[j]).mean() for i in range(4) for j in range(i)]
    assert float(diversity(candidates)) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert np.isnan(diversity(candidates[:1]))


def test_latencies_count_only_the_turns_after_the_warm_up():
    waits = iter([0.2, 0.01, 0.01, 0.06])
    order = []
    slow, fast = latencies(
        [lambda: (order.append(0), time.sleep(next(waits))), lambda: order.append(1)],
        repeats=3,
        warm_up=1,
    )
    assert order == [0, 1] * 4
    assert slow.mean >= 26 and slow.p99 > 1.5 * slow.mean
    assert slow.cpu < slow.mean and fast.mean < slow.mean
    assert slow.hertz == pytest.approx(1000 / slow.mean)
