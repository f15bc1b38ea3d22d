"""Measures of motion, candidates and speed against closed forms and loops."""

import time

import numpy as np
import pytest

from mummi.imitation.metrics import (
    diversity,
    error_over_variance,
    jerk,
    latencies,
    mode_switch_rate,
    varying,
)


def test_the_mean_action_has_an_error_of_one_over_the_variance():
    random = np.random.default_rng(0)
    wanted = random.normal(size=(50, 3)) * [2, 0, 0.1] + [1, 5, 0]
    variance = varying(wanted)
    assert variance[1] == 0
    mean = np.broadcast_to(wanted.mean(0), wanted.shape)
    assert float(error_over_variance(mean, wanted, variance)) == pytest.approx(1, rel=1e-5)
    assert float(error_over_variance(wanted, wanted, variance)) == 0
    # Of a constant dimension no error counts.
    off = wanted + np.array([0, 9, 0.2])
    assert float(error_over_variance(off, wanted, variance)) == pytest.approx(
        0.5 * 0.2**2 / wanted[:, 2].var(), rel=1e-5
    )


def test_the_error_of_chunks_is_by_step():
    random = np.random.default_rng(1)
    made, wanted = random.normal(size=(2, 7, 4, 3))
    found = error_over_variance(made, wanted, np.array([1.0, 2.0, 0.5]))
    for step in range(4):
        each = [np.mean((made[i, step] - wanted[i, step]) ** 2 / [1, 2, 0.5]) for i in range(7)]
        assert float(found[step]) == pytest.approx(np.mean(each), rel=1e-5)


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
