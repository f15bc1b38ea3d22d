"""Errors of actions against loops over steps; the controls; the tables."""

import json

import numpy as np
import pytest
from rich.console import Console

from experiments.imitation.errors import LAST, MEAN, controls, show, summary
from mummi.imitation.record import Split

SPLIT = Split(("a", "b"), ("c", "d"), (0.5, -2.0), (0.5, 4.0), 10.0)
LENGTHS = (5, 3)


def arrays():
    random = np.random.default_rng(0)
    made, wanted = ([random.normal(size=(n, 2)) for n in LENGTHS] for _ in range(2))
    return made, wanted, [np.arange(n) % 2 + 1 for n in LENGTHS]


def test_each_demonstration_counts_as_one():
    made, wanted, ahead = arrays()
    found = summary(made, wanted, ahead, SPLIT)
    each = []
    for actions, right in zip(made, wanted, strict=True):
        total = np.zeros(2)
        for step in range(len(actions)):
            total += [abs(actions[step][d] - right[step][d]) for d in range(2)]
        each.append(total / len(actions))
    each = np.array(each)
    np.testing.assert_allclose(found["by_dimension"], each.mean(0))
    assert found["error"] == pytest.approx(each.mean())
    squares = [np.square(a - b).mean(0) for a, b in zip(made, wanted, strict=True)]
    normalised = np.array(squares) / [0.25, 16.0]
    np.testing.assert_allclose(found["normalised_by_dimension"], normalised.mean(0))
    assert found["normalised"] == pytest.approx(normalised.mean())
    low, high = found["interval95"]
    assert (low + high) / 2 == pytest.approx(found["normalised"])


def test_the_mean_action_has_an_error_of_one_and_a_constant_none():
    random = np.random.default_rng(1)
    wanted = [random.normal(size=(40, 3)) * [0.5, 4.0, 0] + [0.5, -2.0, 7.0]]
    mean, std = wanted[0].mean(0), np.array([*wanted[0][:, :2].std(0), 0.0])
    split = Split(("a",), ("b",), tuple(mean), tuple(std))
    ahead = [np.ones(40, int)]
    found = {n: summary(c, wanted, ahead, split) for n, c in controls(wanted, ahead, split).items()}
    assert found[MEAN]["normalised"] == pytest.approx(1)
    assert found[MEAN]["normalised_by_dimension"] == [pytest.approx(1), pytest.approx(1), None]
    last = [np.concatenate([mean[None], wanted[0][:-1]])]
    expected = np.square(last[0] - wanted[0]).mean(0)[:2] / np.square(std[:2])
    assert found[LAST]["normalised"] == pytest.approx(expected.mean())


def test_a_horizon_has_the_steps_that_were_chosen_as_far_ahead():
    made, wanted, ahead = arrays()
    first, second = summary(made, wanted, ahead, SPLIT)["by_horizon"]
    assert [(h["horizon"], h["steps"]) for h in (first, second)] == [(1, 5), (2, 3)]
    right = [np.abs(a - b)[0::2].mean(0) for a, b in zip(made, wanted, strict=True)]
    np.testing.assert_allclose(first["by_dimension"], np.mean(right, 0))
    # A demonstration that ends before has none.
    short = summary([made[0], made[1][:1]], [wanted[0], wanted[1][:1]], [ahead[0], [1]], SPLIT)
    later = np.abs(made[0] - wanted[0])[1::2].mean(0)
    np.testing.assert_allclose(short["by_horizon"][1]["by_dimension"], later)


def test_controls_are_the_mean_and_what_was_done_before_the_choice():
    done = [np.arange(10.0).reshape(5, 2)]
    ahead = [np.array([1, 2, 1, 2, 3])]
    found = controls(done, ahead, SPLIT)
    np.testing.assert_array_equal(found[MEAN][0], np.tile([0.5, -2.0], (5, 1)))
    right = [[0.5, -2.0], [0.5, -2.0], [2, 3], [2, 3], [2, 3]]
    np.testing.assert_array_equal(found[LAST][0], right)


def test_the_tables_show_what_the_file_says(capsys):
    made, wanted, ahead = arrays()
    found = summary(made, wanted, ahead, SPLIT)
    content = {
        **{"head": "mse", "method": "mummi", "seed": 3, "held_out": ["c", "d"]},
        "action_std": list(SPLIT.std),
        "rows": {"none": found | {"missing": 0.25}},
        "controls": {n: summary(c, wanted, ahead, SPLIT) for n, c in
                     controls(wanted, ahead, SPLIT).items()},
    }  # fmt: skip
    show(json.loads(json.dumps(content)), Console(width=120))
    said = " ".join(capsys.readouterr().out.split())
    assert "mse, mummi, seed 3, 2 held-out demonstrations" in said
    assert f"none 25 % {found['error']:.3g} {found['normalised']:.3f} [" in said
    assert f"0 {found['by_dimension'][0]:.3g}" in said and "normalised error by steps" in said
