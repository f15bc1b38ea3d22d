"""Numbers of evaluated episodes against SciPy and by hand."""

import json

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from experiments.evaluation.result import (
    Played,
    Result,
    mean_interval,
    paired_difference,
)
from experiments.evaluation.rollout import episode_numbers
from experiments.evaluation.summary import table
from tests.support import tiny

RANDOM = np.random.default_rng(0)


def result(*info, returns=None) -> Result:
    """Episodes that end with ``info``."""
    returns = returns or [0.0] * len(info)
    rows = enumerate(zip(returns, info, strict=True))
    return Result(tuple(Played(n, value, 5, 0.25, x) for n, (value, x) in rows))


@pytest.mark.parametrize("count", [2, 3, 10, 30])
def test_the_interval_of_the_mean_is_that_of_student(count):
    values = RANDOM.normal(800, 60, count)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx(tuple(expected))


def test_one_episode_has_no_interval():
    assert mean_interval([3.0]) is None
    assert result({}, returns=[3.0]).to_dict()["interval95"] is None


@pytest.mark.parametrize("count", [2, 7, 30])
def test_the_difference_is_that_of_pairs(count):
    control = RANDOM.normal(800, 60, count)
    other = control - RANDOM.normal(30, 5, count)
    found = paired_difference(dict(enumerate(control)), dict(enumerate(other)))
    test = scipy.stats.ttest_rel(other, control)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.mean == pytest.approx(np.mean(other) - np.mean(control)) and found.pairs == count


def test_only_episodes_of_one_number_are_paired():
    control, other = {0: 1.0, 1: 2.0, 5: 9.0}, {5: 10.0, 1: 4.0, 7: 100.0}
    found = paired_difference(control, other)
    assert found.mean == 1.5 and found.pairs == 2
    assert found.interval == pytest.approx(
        tuple(scipy.stats.ttest_rel([4.0, 10.0], [2.0, 9.0]).confidence_interval(0.95))
    )
    assert paired_difference({0: 1.0}, {0: 3.0}) == (2.0, None, 1)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_of_an_episode_that_two_parts_have_the_newer_counts():
    old = Result(tuple(Played(n, 1.0, 5, 0.0, {}) for n in (0, 4)))
    new = Result(tuple(Played(n, 2.0, 5, 0.0, {}) for n in (4, 2)))
    merged = old.merged(new)
    assert merged.numbers == [0, 2, 4] and merged.returns == [1.0, 2.0, 2.0]


def test_a_file_gives_back_what_it_was_written_from():
    before = result({"success": 1.0}, {}, returns=[1 / 3, 2.0])
    assert Result.from_dict(json.loads(json.dumps(before.to_dict()))) == before


def test_what_episodes_end_with_is_averaged_over_those_that_say_it(capsys):
    one = result({"wiped": 0.5}, {"wiped": 1.0, "success": 1.0}, {})
    assert one.last == {"wiped": 0.75, "success": 1.0}
    Console(width=150).print(table(tiny.config("x"), 0, {"none": one, "high": result({})}, {}))
    shown = capsys.readouterr().out
    assert "wiped" in shown and "0.75" in shown and "–" in shown


def test_the_table_shows_the_difference_beside_the_mean(capsys):
    rows = {"none": result({}, {}, returns=[1.0, 3.0]), "high": result({}, {}, returns=[0.0, 1.0])}
    difference = paired_difference(rows["none"].by_number, rows["high"].by_number)
    Console(width=80).print(table(tiny.config("x"), 0, rows, {"high": difference}))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " high " in line]
    low, high = scipy.stats.ttest_rel([0, 1], [1, 3]).confidence_interval(0.95)
    assert f"-1.5 [{low:.3g}, {high:.3g}]" in line


def test_success_is_told_task_by_task_where_there_are_several():
    info = [{"success": s, "task": t} for s, t in ((1.0, 3.0), (0.0, 0.0), (0.0, 3.0), (1.0, 3.0))]
    assert result(*info, {"success": 1.0}).to_dict()["by_task"] == {
        "0": {"episodes": 1, "success": 0.0},
        "3": {"episodes": 3, "success": pytest.approx(2 / 3)},
    }
    assert result({"success": 1.0}).to_dict()["by_task"] == {}


def test_a_count_of_episodes_starts_at_0_and_a_range_leaves_out_its_end():
    assert list(episode_numbers(3)) == list(episode_numbers("3")) == [0, 1, 2]
    assert list(episode_numbers("5:8")) == [5, 6, 7]
    for text in (0, -1, "8:5", ":3", "3:", "1.5", "a:b"):
        with pytest.raises(ValueError, match=rf"--episodes {text} must be"):
            episode_numbers(text)
