"""The test bed with two ways and the latency table."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from experiments import two_ways
from experiments.benchmarks import heads as heads_benchmark
from mummi.imitation.chunks.config import CONFIGS
from mummi.imitation.heads.head import HEADS
from mummi.presets import preset
from mummi.runs.record import differences

pytestmark = pytest.mark.usefixtures("quick_compile")


def paths(*points) -> np.ndarray:
    return np.array(points, float)


def test_collisions_and_ways_of_paths_with_a_known_answer():
    right = [[0, -1], [0.6, 0], [0, 1]]
    left = [[0.1, -1], [-0.6, 0.0], [0, 1]]
    straight = [[0, -1], [0, -0.45], [0, 0.45]]
    short = [[0, -1], [0, -0.9], [0, -0.8]]
    positions = paths(right, left, straight, short)
    np.testing.assert_array_equal(two_ways.ways(positions), [1, -1, 0, 0])
    assert list(two_ways.collided(positions)[2:]) == [True, False]


def test_demonstrations_reach_the_goal_both_ways_without_a_collision():
    demonstrations = two_ways.demonstrate(300, 0)
    found = two_ways.numbers(two_ways.recorded(demonstrations))
    assert found["success"] == 1 and found["collisions"] == 0
    assert found["coverage"] > 0.5
    sides = two_ways.ways(two_ways.recorded(demonstrations).positions)
    starts = np.array([t.percept.feature[0, 0] for t in demonstrations])
    assert (sides[starts > 0.5] == 1).mean() > 0.9
    assert (sides[starts < -0.5] == -1).mean() > 0.9


def test_coverage_is_twice_the_smaller_share_at_the_starts_that_are_ambiguous():
    steps = two_ways.LIMIT + 1
    rows = []
    for start in two_ways.STARTS:
        for side in (1, 1, 1, -1):
            x = np.interp(np.arange(steps), [0, 10, 20], [start, 0.7 * side, 0])
            y = np.interp(np.arange(steps), [0, 10, 20], [-1, 0, 1])
            rows.append(np.stack([x, y], -1))
    nothing = np.full((len(rows), 1), np.nan)
    found = two_ways.numbers(
        two_ways.Rollouts(np.stack(rows), np.full(len(rows), 20), nothing, nothing)
    )
    assert found["coverage"] == pytest.approx(0.5)
    assert found["success"] == 1 and np.isnan(found["side_switches"])


def test_all_objectives_have_the_laptops_sizes_and_are_compared_alike():
    arguments = two_ways.Arguments(candidates=5, choice="medoid", updates=7)
    for objective in arguments.objectives:
        made, laptop = two_ways.config(objective, arguments), HEADS[objective].default("laptop")
        changed = {name for name, *_ in differences(laptop, made)}
        assert changed <= {"backbone", "execute", "width", "windows", "candidates", "choice"}
        assert (made.backbone, made.updates) == ("performer", 7)
        if objective != "mse":
            assert (made.candidates, made.choice) == (5, "medoid")


def test_the_command_leaves_a_picture_and_numbers(tmp_path, monkeypatch, capsys):
    made = two_ways.config
    monkeypatch.setattr(
        two_ways, "config", lambda *arguments: dataclasses.replace(made(*arguments), blocks=1)
    )
    flags = ("--updates", "2", "--rollouts", "1", "--demonstrations", "8", "--candidates", "2")
    two_ways.main([*flags, "--objectives", "mse", "imle", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert set(found["methods"]) == {"expert", "mse", "imle"}
    assert "rejected" not in found["methods"]["mse"]
    assert found["methods"]["imle"]["dropped"] == 0
    assert (tmp_path / "two_ways.png").stat().st_size > 10_000
    assert "mse" in capsys.readouterr().out


def test_the_latency_table_has_a_row_for_each_case(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(heads_benchmark, "HORIZONS", ((2, 8),))
    kinds = [("mirror", 2, "sensors"), ("diffusion", 1)]
    cases = [heads_benchmark.Case(*kind) for kind in kinds]
    monkeypatch.setattr(heads_benchmark, "CASES", cases)
    # The papers' sizes compile for long, and how long a call takes is not asked here.
    monkeypatch.setattr(heads_benchmark, "preset", lambda _, task: preset("debug", task))
    small = {name: functools.partial(config, blocks=1) for name, config in CONFIGS.items()}
    monkeypatch.setattr(heads_benchmark, "CONFIGS", small)
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "latency.json"
    heads_benchmark.main(["--repeats", "2", "--width", "16", "--feature", "3", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [(row["objective"], row["candidates"], row["source"]) for row in rows] == cases
    assert all(row["p99"] >= 0 and row["mean"] > 0 for row in rows)
    assert rows[1]["speed_up"] == 1
    assert "diffusion" in capsys.readouterr().out
