"""Weights of steps against a loop, and draws by them."""

import numpy as np
import pytest

from mummi.imitation.weights import change_weights, cumulative, require_share


def demonstrations() -> list[np.ndarray]:
    """A joint that never rests, a gripper that closes once in the second, and a constant."""
    random = np.random.default_rng(0)
    made = []
    for number, steps in enumerate((7, 12)):
        gripper = np.where((np.arange(steps) >= 5) & (number == 1), 1.0, -1.0)
        columns = random.normal(size=steps), gripper, np.full(steps, 3.0)
        made.append(np.stack(columns, 1).astype(np.float32))
    return made


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_weights_are_those_of_a_loop_and_have_mean_one(share):
    made, change = demonstrations(), []
    for rows in made:
        for t in range(len(rows)):
            before = rows[t - 1] if t else rows[t]
            change.append([abs(float(rows[t][d]) - float(before[d])) for d in range(2)])
    mean = np.mean(change, 0)
    wanted = [(1 - share) + share * np.mean([c[d] / mean[d] for d in range(2)]) for c in change]
    found = change_weights(made, share)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.mean() == pytest.approx(1)
    # The gripper's only change has its half of what is shared out, on one of 19 steps.
    assert found[7 + 5] >= 1 - share + share * 19 / 2


def test_actions_that_never_change_are_all_alike():
    np.testing.assert_array_equal(change_weights([np.ones((5, 2), np.float32)], 0.7), np.ones(5))


def test_steps_are_drawn_by_their_weights():
    weights = np.array([1.0, 0.0, 5.0, 2.0])
    uniform = np.random.default_rng(0).random(20_000)
    rows = np.searchsorted(cumulative(weights), uniform, side="right")
    np.testing.assert_allclose(np.bincount(rows, minlength=4) / 20_000, weights / 8, atol=0.01)


def test_a_share_is_between_zero_and_one():
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"change_share {share} must be between 0 and 1"):
            require_share(share)
