"""Nearest neighbours against loops, and following."""

import numpy as np
import pytest

from mummi.imitation.heads.head import Trajectory
from mummi.imitation.heads.knn import FLOOR, KNNConfig, NearestNeighbours
from tests.support.demonstrated import (
    KEY,
    SENSORS,
    SIZES,
    act_along,
    at,
    demonstrations,
    fitted,
    percept,
)


def blocks(seen):
    """Latent states and what each sensor says, one array a block, and which are there."""
    parts = [seen.feature, *(seen.embeddings[name] for name in SENSORS)]
    masks = [np.ones(len(seen.feature), bool), *(seen.available[name] for name in SENSORS)]
    return [np.asarray(x, float) for x in parts], masks


def with_copies(rows, seed=0):
    """Every demonstration, and every second of them with sensors failing beside it."""
    random, result = np.random.default_rng(seed), []
    for i, t in enumerate(rows):
        result.append(t)
        if i % 2:
            there = {name: random.random(len(t.action)) < 0.5 for name in SENSORS}
            said = {n: np.where(there[n][:, None], x, 0) for n, x in t.percept.embeddings.items()}
            seen = t.percept._replace(
                feature=t.percept.feature + 0.01, embeddings=said, available=there
            )
            result.append(t._replace(percept=seen))
    return result


def slow_scale(part, mask):
    """Mean and standard deviation of what is there, none below a share of the block's."""
    x = part[mask]
    std = x.std(0, ddof=1)
    return x.mean(0), np.maximum(std, FLOOR * np.sqrt(np.mean(std**2)))


def row(arrays, n):
    return [x[n] for x in arrays]


def slow_distance(a, seen_a, b, seen_b, scales):
    """Eq. 13 between two steps, a block at a time."""
    terms = [
        np.mean(((x - y) / std) ** 2)
        for x, y, one, other, (_, std) in zip(a, b, seen_a, seen_b, scales, strict=True)
        if one and other
    ]
    return np.sqrt(np.mean(terms))


@pytest.mark.parametrize("k", [1, 3, 100])
def test_weighted_neighbours_are_those_of_a_slow_loop(k):
    rows = with_copies(demonstrations())
    head = fitted(NearestNeighbours, KNNConfig(neighbours=k, temperature=0.7), rows)
    parts, masks = (
        [np.concatenate(x) for x in zip(*both, strict=True)]
        for both in zip(*(blocks(t.percept) for t in rows), strict=True)
    )
    scales = [slow_scale(part, mask) for part, mask in zip(parts, masks, strict=True)]
    names = [(t.action.tobytes(), i) for t in rows for i in range(len(t.action))]
    action = np.concatenate([t.action for t in rows])
    moved = [
        slow_distance(*(row(x, n + m) for m in (0, 1) for x in (parts, masks)), scales)
        for n in range(len(action) - 1)
        if n % 5 < 4
    ]
    asked = demonstrations(4, 1, seed=1)
    queries = [t.percept for t in asked]
    queries[1].available["far"][:] = False
    for query in queries:
        given, _ = head.act(head.reset(1), query, np.ones(1, bool), KEY)
        own, there = blocks(query)
        distances = [
            slow_distance(row(parts, n), row(masks, n), row(own, 0), row(there, 0), scales)
            for n in range(len(action))
        ]
        near, taken = [], set()
        for n in np.argsort(distances, kind="stable"):
            if names[n] not in taken and len(near) < k:
                near.append(n)
                taken.add(names[n])
        assert len(near) == min(k, 30)
        weights = [np.exp(-distances[n] / (0.7 * np.median(moved))) for n in near]
        expected = sum(w * action[n] for w, n in zip(weights, near, strict=True)) / sum(weights)
        np.testing.assert_allclose(given[0], expected, atol=1e-5)


def test_a_dimension_that_hardly_varies_is_not_blown_up():
    rows = demonstrations(20)
    for t in rows:
        t.percept.feature[:, 2] *= 1e-3
    std = fitted(NearestNeighbours, KNNConfig(), rows).arrays()["std"][:3]
    alone = np.concatenate([t.percept.feature for t in rows]).std(0, ddof=1)
    np.testing.assert_allclose(std[:2], alone[:2], rtol=1e-5)
    assert std[2] == pytest.approx(FLOOR * np.sqrt(np.mean(alone**2)), rel=1e-5)
    assert std[2] > 50 * alone[2]


def test_a_saved_library_gives_the_same_actions():
    rows = with_copies(demonstrations())
    for config in (KNNConfig(), KNNConfig(mode="follow")):
        head = fitted(NearestNeighbours, config, rows)
        again = NearestNeighbours(config, SIZES)
        again.restore(head.arrays())
        path = [at(rows[2], t) for t in range(5)]
        np.testing.assert_array_equal(act_along(again, path), act_along(head, path))


def line(start: float, steps: int, action: float) -> Trajectory:
    """A demonstration that moves one unit a step along a line and does one action."""
    feature = np.zeros((steps, 3), np.float32)
    feature[:, 0] = start + np.arange(steps)
    feature[:, 1] = action
    number = np.full((steps, 2), action, np.float32)
    number[:, 1] = np.arange(steps)
    return Trajectory(percept(feature), number)


LOW, HIGH = line(0, 10, 0.0), line(0, 10, 1.0)


def follow(path, **changes):
    """Actions of one robot that follows LOW or HIGH, at these points of the plane."""
    config = KNNConfig(mode="follow", divergence=1.5, **changes)
    head = fitted(NearestNeighbours, config, [LOW, HIGH])
    return act_along(head, [percept([[x, y, 0.0]]) for x, y in path])


def test_following_takes_the_actions_of_one_demonstration_in_their_order():
    seen = follow([(3.0 + t, 0.1) for t in range(5)])
    np.testing.assert_array_equal(seen, LOW.action[3:8])


def test_following_does_not_search_while_the_robot_is_near_enough():
    # The nearest step stays the same, but the one that is followed is only one step away.
    seen = follow([(3.0, 0.0), (3.0, 0.0)])
    np.testing.assert_array_equal(seen[:, 1], [3, 4])


def test_following_searches_again_when_it_has_diverged():
    seen = follow([(3.0, 0.0), (4.0, 0.0), (5.0, 1.0), (6.0, 1.0)])
    np.testing.assert_array_equal(seen, [*LOW.action[3:5], *HIGH.action[5:7]])


def test_following_searches_again_after_some_steps_and_past_an_end():
    stand = follow([(2.0, 0.0)] * 3, follow_steps=1)
    np.testing.assert_array_equal(stand, LOW.action[[2, 2, 2]])
    over = follow([(9.0, 0.0), (5.0, 1.0)])
    np.testing.assert_array_equal(over, [LOW.action[9], HIGH.action[5]])


def test_a_new_episode_forgets_what_was_followed():
    head = fitted(NearestNeighbours, KNNConfig(mode="follow", divergence=99.0), [LOW, HIGH])
    carry = head.reset(2)
    now = percept([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    _, carry = head.act(carry, now, np.array([True, True]), KEY)
    action, _ = head.act(carry, now, np.array([True, False]), KEY)
    np.testing.assert_array_equal(action[:, 1], [2, 3])
