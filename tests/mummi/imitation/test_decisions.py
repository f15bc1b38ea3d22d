"""Two-valued actions: which are found, and decisions that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mummi.imitation.decisions import Decisions, describe, two_valued
from mummi.imitation.scaling import Scaling


def actions(steps: int = 40) -> np.ndarray:
    """A joint, a gripper of 0 and 1, a constant, and a wrist that also rests between its ends."""
    random = np.random.default_rng(0)
    gripper = random.choice([0.0, 1.0], steps)
    wrist = random.choice([-3.0, 0.5, 3.0], steps)
    columns = random.normal(size=steps), gripper, np.full(steps, 7.0), wrist
    return np.stack(columns, 1).astype(np.float32)


def test_the_two_valued_actions_are_those_at_two_levels():
    rows = actions()
    assert two_valued(rows) == {1: (0.0, 1.0)}
    rows[:, 1] = 1.1 * rows[:, 1] - 0.1
    levels = two_valued(rows)
    np.testing.assert_allclose(levels[1], (-0.1, 1.0), rtol=1e-6)
    (line,) = describe(levels)
    assert line.startswith("action 1 is two-valued, -0.1 or 1:")
    rows[3, 1] = 0.3
    assert two_valued(rows) == {}


def test_the_two_valued_actions_can_be_chosen():
    rows = actions()
    assert two_valued(rows, ()) == {}
    assert two_valued(rows, (3, 1)) == {1: (0.0, 1.0), 3: (-3.0, 3.0)}
    for chosen, said in (
        ((4,), "action 4, and the data have 4, from 0 to 3"),
        ((-1,), "action -1, and the data have 4"),
        ((2,), "action 2, and it never varies"),
        ((1, 1), "action 1, and it is there twice"),
    ):
        with pytest.raises(ValueError, match=f"--two-valued names {said}"):
            two_valued(rows, chosen)


def along(decisions: Decisions, given: list[float], first=()) -> list[float]:
    """What one robot does, to which a head gives these numbers as its action 1."""
    done, held = [], decisions.start(1, 2)
    for step, number in enumerate(given):
        wanted = np.float32([[0.4, number]])
        held = decisions.decide(wanted, held, np.array([step == 0 or step in first]))
        assert held.actions[0, 0] == np.float32(0.4)
        done.append(float(held.actions[0, 1]))
    return done


def test_a_decision_holds_until_the_head_is_sure_of_the_other():
    decisions = Decisions({1: (-1.0, 1.0)}, 0.2)
    given = [-0.1, 0.1, 0.19, 0.21, 0.0, -0.19, -0.21, 0.19, 1.0, -1.0]
    assert along(decisions, given) == [-1, -1, -1, 1, 1, 1, -1, -1, 1, -1]
    # Where a robot starts, there is nothing to hold.
    assert along(decisions, [0.1, -0.1, -0.1], first={2}) == [1, 1, -1]
    without = Decisions({1: (-1.0, 1.0)}, 0.0)
    assert along(without, given) == [-1, 1, 1, 1, 1, -1, -1, 1, 1, -1]


def test_a_robot_that_waits_where_the_other_is_a_little_less_likely_does_not_wait_for_ever():
    decisions = Decisions({1: (-1.0, 1.0)}, 0.6)
    # Probabilities of 0.1, and then 0.35 for ever: at the third they add up to more than 1.
    given = [-0.8] + [-0.3] * 8
    assert along(decisions, given) == [-1, -1, -1] + [1] * 6
    # What is decided is not taken back by the same numbers, but by a head that is sure.
    assert along(decisions, [*given, -0.59, -0.61]) == [-1, -1, -1] + [1] * 7 + [-1]
    # Agreement in between forgets it.
    assert along(decisions, [-0.8, -0.3, -0.3, -0.7] * 5) == [-1] * 20
    # A head that never agreed with what is held has said nothing by it.
    assert along(decisions, [-0.3] * 20) == [-1] * 20
    assert along(decisions, given[:3] + [-0.3] * 5, first={3}) == [-1] * 8


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30),
    st.floats(0, 0.99),
    st.sets(st.integers(0, 29)),
)
def test_decisions_are_those_of_the_rule_step_by_step(given, hysteresis, first):
    level, agreed, total, expected = 0, False, 0.0, []
    sure = (1 + hysteresis) / 2
    for step, number in enumerate(given):
        upper = (np.float32(number) + 1) / 2
        if step == 0 or step in first:
            level, agreed, total = int(upper > 0.5), False, 0.0
        other = 1 - upper if level else upper
        if other <= 1 - sure:
            agreed, total = True, 0.0
        else:
            total += other
        if other > sure or (agreed and total >= 1):
            level, agreed = 1 - level, False
        expected.append(2.0 * level - 1)
    assert along(Decisions({1: (-1.0, 1.0)}, hysteresis), given, first) == expected


def test_hysteresis_ends_the_chatter_of_a_head_that_is_not_sure():
    given = (0.1 * np.random.default_rng(0).normal(size=200)).tolist()
    changes = [
        int(np.abs(np.diff(along(Decisions({1: (-1.0, 1.0)}, bar), given))).sum() / 2)
        for bar in (0.0, 0.6)
    ]
    assert changes[0] > 80 and changes[1] == 0


def test_levels_are_those_of_the_data_as_they_are_learned():
    scaling = Scaling((-2.0, 0.0), (2.0, 4.0))
    decisions = Decisions.learned({1: (0.0, 3.0)}, 0.2, scaling, 2)
    np.testing.assert_allclose(decisions.levels[1], (-1.0, 0.5))
    # The middle is -0.25, and 0.2 of the way to either level is 0.15.
    assert along(decisions, [-0.2, -0.39, -0.41, -0.11, -0.09]) == [0.5, 0.5, -1, -1, 0.5]


def test_without_two_valued_actions_nothing_is_decided():
    wanted = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    done = Decisions().decide(wanted, Decisions().start(3, 2), np.ones(3, bool))
    np.testing.assert_array_equal(done.actions, wanted)
