"""MetaWorld's table: means over the tasks of each group, of models for one task and for many."""

import csv

import numpy as np
import pytest
import statsmodels.stats.proportion as proportion

from envs.metaworld.catalogue import GROUPS, TASKS
from experiments.report import paper_results
from experiments.report.metaworld import CONDITIONS, EACH
from experiments.tables import Arguments, write
from tests.support.evaluated import make_imitated, succeed

INDEX = {name: str(index) for index, name in enumerate(TASKS)}


@pytest.fixture
def written(tmp_path):
    """Rows of each table by its title, and the lines of the CSV file."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        make_imitated(folder / f"all-{seed}", "bc", task="metaworld_hard", seed=seed)
        done = {INDEX[name]: [1, seed, 0, 0] for name in GROUPS["metaworld_hard"][:-1]}
        succeed(folder / f"all-{seed}", done | {INDEX["push-back"]: [1, 1, 1, 1]})
        blind = {INDEX[name]: [0, 0] for name in GROUPS["metaworld_hard"]}
        succeed(folder / f"all-{seed}", blind, "corner_rgb")
    for task, outcome in (("reach", [1, 1]), ("push", [1, 0]), ("door-open", [0, 0])):
        make_imitated(folder / task, "mirror", task=f"metaworld/{task}")
        succeed(folder / task, {INDEX[task]: outcome})
    text = write(Arguments((str(folder),), str(tmp_path / "out"), "mirror"))
    tables = {}
    for part in text.split("\n## ")[1:]:
        rows = [line[2:-2].split(" | ") for line in part.splitlines() if line[:1] == "|"]
        tables[part.splitlines()[0]] = rows
    return tables, list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))


def test_a_group_counts_the_mean_over_its_tasks(written):
    rows, lines = written[0]["MetaWorld: success by difficulty, nothing missing"], written[1]
    assert rows[0] == ["trained", "head", "easy", "medium", "hard", "very hard", "all"]
    (of_group, each) = rows[2:]
    # Five tasks with 3 of 8 and one with 8 of 8; seeds have 9 and 14 of 24.
    effect = np.var([9 / 24, 14 / 24], ddof=1) / 2 / (23 / 48 * 25 / 48 / 48)
    low, high = proportion.proportion_confint(23 / effect, 48 / effect, method="wilson")
    assert of_group[:2] == ["one model, hard", "bc"]
    assert of_group[4].startswith(f"48 [{100 * low:.0f}, {100 * high:.0f}]")
    assert of_group[2] == of_group[3] == "–"
    assert of_group[6].startswith("48 [") and ", 6 of 50 tasks" in of_group[6]
    assert each[:2] == [EACH, "mirror"]
    assert each[2].startswith("50 [") and f", 2 of {len(GROUPS['metaworld_easy'])}" in each[2]
    assert each[4].startswith("50 [") and ", 1 of 6 tasks" in each[4]
    (line,) = [x for x in lines if (x["table"], x["method"], x["condition"])
               == ("success", "bc", "hard")]  # fmt: skip
    assert (line["seeds"], line["episodes"]) == ("0 1", "48")
    assert float(line["mean"]) == pytest.approx(23 / 48)


def test_what_is_missing_has_its_columns_and_tasks_their_counts(written):
    rows = written[0]["MetaWorld: success with sensors missing"]
    assert rows[0] == ["trained", "head", *CONDITIONS.values()]
    assert rows[2][3].startswith("0 [0, ") and rows[2][4] == "–"
    tasks = {tuple(row[:2]): row[2:] for row in written[0]["MetaWorld: success task by task"][2:]}
    assert tasks["push-back", "one model, hard"] == ["8 of 8", "–"]
    assert tasks["push", EACH] == ["–", "1 of 2"]


def test_published_numbers_stand_apart_in_italics(written):
    rows = written[0]["Published numbers, not ours"]
    (mirror,) = [row for row in rows if row[1] == "MIRROR"]
    assert mirror[2:6] == [f"*{x}*" for x in paper_results.MIRROR["MIRROR"]]
