"""What happens every so often is due when it should be, in steps and in seconds."""

import math

import pytest

from mummi.training.schedule import Every


def times(every: Every, clock) -> list[float]:
    """When it is done by somebody who looks at each time of the clock."""
    done = []
    for now in clock:
        if every.due(now):
            every.done(now)
            done.append(now)
    return done


def test_it_is_due_a_period_after_it_was_last_done():
    assert times(Every(10, 3), range(3, 50)) == [13, 23, 33, 43]
    # Steps of seven: a time that is passed by is made up for at the next step, and counts from it.
    assert times(Every(10, 0), range(0, 50, 7)) == [14, 28, 42]


def test_aligned_times_are_multiples_wherever_a_run_goes_on_from():
    expected = [10, 20, 30, 40]
    assert times(Every(10, 0, aligned=True), range(50)) == expected
    assert times(Every(10, 13, aligned=True), range(13, 50)) == expected[1:]
    assert times(Every(10, 20, aligned=True), range(20, 50)) == expected[2:]
    # The first step of seven after each multiple.
    assert times(Every(10, 0, aligned=True), range(0, 50, 7)) == [14, 21, 35, 42]


def test_seconds_of_a_clock_need_not_begin_at_zero():
    assert times(Every(0.5, 100.0), [100.0, 100.4, 100.6, 101.0, 101.2]) == [100.6, 101.2]


@pytest.mark.parametrize("aligned", [True, False])
def test_an_infinite_period_is_never_due(aligned):
    assert times(Every(math.inf, 7, aligned=aligned), range(7, 10**6, 1000)) == []


def test_no_period_is_always_due():
    assert times(Every(0.0, 1.0), [1.0, 1.0, 1.5]) == [1.0, 1.0, 1.5]
