"""Variants beside each other: seed by seed, at equal steps and at equal processor time."""

import json

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from experiments.sweeping.comparison import compare, compared
from experiments.sweeping.jobs import Job
from mummi.runs.logger import Logger

RETURNS = {"old": {0: 100.0, 1: 200.0, 2: 330.0}, "new": {0: 150.0, 1: 260.0, 2: 360.0}}
MINUTES = {"old": 10.0, "new": 5.0}
"""Of a run's 1,000 steps; its return rises evenly until its last."""


@pytest.fixture
def jobs(tmp_path):
    made = []
    for variant, by_seed in RETURNS.items():
        for seed, value in by_seed.items():
            name = f"{variant}/walker_walk/mummi-laptop-{seed}"
            logdir = tmp_path / name
            (logdir / "eval").mkdir(parents=True)
            place = ("walker_walk", "mummi", seed, variant)
            made.append(Job(name, (), str(logdir), "", 1000, "2", *place))
            for script in ("none", "medium"):
                content = {"step": 1000, "mean": value - 10 * (script == "medium")}
                (logdir / "eval" / f"{script}.json").write_text(json.dumps(content))
            with Logger(logdir) as logger:
                for step in (0, 500, 1000):
                    share = step / 1000
                    row = {"evaluation/return": share * value}
                    row["cpu_seconds"] = 60 * share * MINUTES[variant]
                    logger.scalars(step, row)
    return made


def test_differences_are_taken_seed_by_seed(jobs):
    old, new = compare(jobs)
    assert (old["variant"], new["variant"]) == ("old", "new")
    assert new["returns"]["none"] == RETURNS["new"]
    differences = [RETURNS["new"][seed] - RETURNS["old"][seed] for seed in range(3)]
    found = new["less"]["none"]
    assert found["mean"] == pytest.approx(np.mean(differences))
    interval = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    np.testing.assert_allclose(found["interval95"], interval)
    assert old["less"]["none"]["mean"] == 0
    assert new["less"]["high"] is None and not new["returns"]["high"]


def test_at_equal_minutes_the_slower_run_is_not_yet_as_far(jobs):
    old, new = compare(jobs)
    assert old["cpu_minutes"] == new["cpu_minutes"] == 5
    for seed in range(3):
        assert old["returns"]["minutes"][seed] == pytest.approx(RETURNS["old"][seed] / 2)
        assert new["returns"]["minutes"][seed] == pytest.approx(RETURNS["new"][seed])


def test_what_another_checkpoint_earned_does_not_count(jobs, tmp_path):
    path = tmp_path / jobs[0].logdir / "eval" / "none.json"
    path.write_text(json.dumps({"step": 900, "mean": 1.0}))
    old, new = compare(jobs)
    assert sorted(old["returns"]["none"]) == [1, 2]
    assert new["less"]["none"]["seeds"] == [1, 2]


def test_shares_are_shown_in_hundredths(jobs, tmp_path):
    for job in jobs:
        path = tmp_path / job.logdir / "eval" / "none.json"
        path.write_text(json.dumps({"step": 1000, "mean": RETURNS[job.variant][job.seed] / 1000}))
    console = Console(record=True, width=120)
    console.print(compared(str(tmp_path), jobs))
    assert "0.26 (+0.05 [" in console.export_text()


def test_the_table_is_written(jobs, tmp_path):
    console = Console(record=True, width=120)
    console.print(compared(str(tmp_path), jobs))
    text = console.export_text()
    assert "257 (+47" in text and "after 5 min" in text
    entries = json.loads((tmp_path / "comparison.json").read_text())["entries"]
    assert [entry["variant"] for entry in entries] == ["old", "new"]
