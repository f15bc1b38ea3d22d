"""LIBERO's table: success by suite, condition and task, and what heads add to the control."""

import csv
import json
import statistics

import pytest
import statsmodels.stats.proportion as proportion

from experiments.report import libero as libero_table
from experiments.report import paper_results
from experiments.tables import Arguments, main, write
from mummi.imitation import record
from tests.support.evaluated import make_imitated, make_run, score, succeed

CAMERAS = ("agentview_rgb", "wrist_rgb")


@pytest.fixture
def made(tmp_path):
    """Two seeds of bc, one of the control and one of knn that was evaluated with all alone."""
    folder = tmp_path / "runs"
    for head, seed in (("bc", 0), ("bc", 1), ("replay", 0), ("knn", 0)):
        make_imitated(folder / f"{head}-{seed}", head, task="libero_spatial", seed=seed)
    succeed(folder / "bc-0", {"0": [1, 1], "7": [1, 0]})
    succeed(folder / "bc-1", {"0": [1, 1], "7": [1, 1]})
    for seed in (0, 1):
        succeed(folder / f"bc-{seed}", {"0": [1, 0], "7": [0, 0]}, CAMERAS[0])
        succeed(folder / f"bc-{seed}", {"0": [0, 0], "7": [0, 0]}, *CAMERAS)
    succeed(folder / "replay-0", {"0": [0, 1, 0, 0], "7": [0, 0, 0, 0]})
    succeed(folder / "knn-0", {"0": [1], "7": [0]})
    score(folder / "bc-0", [1.0, 1.0], method="expert", last={"success": 1.0})
    make_run(tmp_path / "runs" / "other")
    return folder


@pytest.fixture
def written(made, tmp_path):
    """Cells of each table by its name, and the lines of the CSV file."""
    text = write(Arguments((str(made),), str(tmp_path / "out"), "rl4il"))
    assert (tmp_path / "out.md").read_text() == text
    tables = {}
    for part in text.split("\n## ")[1:]:
        rows = [line[2:-2].split(" | ") for line in part.splitlines() if line[:1] == "|"]
        tables[part.splitlines()[0]] = rows
    return tables, list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))


def test_success_is_counted_over_seeds_with_its_interval(written):
    rows, lines = written[0]["LIBERO: success with cameras missing"], written[1]
    assert rows[0] == ["suite", "head", *libero_table.CONDITIONS.values()]
    assert [row[1] for row in rows[2:5]] == ["bc", "knn", libero_table.ROWS["replay"]]
    # Seeds have 3 of 4 and 4 of 4: their mean varies 8/7 as much as independent episodes do.
    low, high = proportion.proportion_confint(7 / 8 * 7, 7, method="wilson")
    assert rows[2][2] == f"88 [{100 * low:.0f}, {100 * high:.0f}]"
    assert rows[2][3].startswith("25 [") and rows[2][4] == "–" and rows[2][5].startswith("0 [0, ")
    assert rows[5][1] == "expert" and rows[5][2].startswith("100 [")
    (line,) = [x for x in lines if (x["table"], x["method"], x["condition"])
               == ("success", "bc", "nothing missing")]  # fmt: skip
    assert float(line["mean"]) == 7 / 8 and line["seeds"] == "0 1"
    assert (float(line["low"]), float(line["high"])) == pytest.approx((low, high))


def test_what_a_head_adds_is_the_difference_to_the_control(written):
    rows, lines = written[0]["LIBERO: what a head adds to its control"], written[1]
    # bc was not evaluated without the wrist camera; the control reads none.
    assert [row[1] for row in rows[2:]] == ["bc", "knn"] and rows[2][4] == "–"
    low, high = proportion.confint_proportions_2indep(2, 8, 1, 8, method="newcomb")
    assert rows[2][3] == f"+12 [{100 * low:+.0f}, {100 * high:+.0f}]"
    low, high = proportion.confint_proportions_2indep(7 / 8 * 7, 7, 1, 8, method="newcomb")
    assert rows[2][2] == f"+75 [{100 * low:+.0f}, {100 * high:+.0f}]"
    (line,) = [x for x in lines if (x["table"], x["method"], x["condition"])
               == ("added", "bc", "nothing missing")]  # fmt: skip
    assert float(line["mean"]) == pytest.approx(statistics.fmean([1] * 7 + [0]) - 1 / 8)


def test_failures_are_counted_by_kind_over_seeds(made, tmp_path):
    text = write(Arguments((str(made),), str(tmp_path / "out"), "rl4il"))
    assert "how episodes fail" not in text
    shares = ((0.25, 0.5, 0.0), (0.0, 0.25, 0.25))
    for seed, kinds in enumerate(shares):
        last = dict(zip(libero_table.FAILURES, kinds, strict=True)) | {"success": 1 - sum(kinds)}
        by_task = {"3": {"episodes": 4, "success": last["success"]}}
        made_returns = [1.0, 0.0, 0.0, 0.0]
        score(made / f"bc-{seed}", made_returns, dropped=["wrist_rgb"], last=last, by_task=by_task)
    text = write(Arguments((str(made),), str(tmp_path / "out"), "rl4il"))
    part = text.split("## LIBERO: how episodes fail")[1]
    (row,) = [line for line in part.splitlines() if line.startswith("| libero_spatial")]
    assert row == "| libero_spatial | bc | – | – | 1 / 3 / 1 | – |"


def test_how_heads_learned_stands_beside_their_success(made, tmp_path):
    for seed, error in ((0, 0.5), (1, 0.7)):
        folder = made / f"bc-{seed}"
        learned = {"head": {"windows": 2000, "passes": 1.5 + seed}}
        errors = {
            "rows": {"none": {"normalised": error}},
            "controls": {"last action": {"normalised": 1.25}},
        }
        (folder / record.LEARNED).write_text(json.dumps(learned))
        (folder / record.HELD_OUT).write_text(json.dumps(errors))
    text = write(Arguments((str(made),), str(tmp_path / "out"), "rl4il"))
    part = text.split("## Action heads: how they learned")[1].split("\n## ")[0]
    rows = [line[2:-2].split(" | ") for line in part.splitlines() if line[:1] == "|"]
    columns = ["success, %", "windows", "passes", "held-out error", "last action"]
    assert rows[0] == ["task", "head", *columns] and len(rows) == 3
    assert rows[2][2].startswith("88 [")
    assert rows[2][3:] == ["2,000", "2.0", "0.600", "1.250"]
    (made / "bc-1" / record.HELD_OUT).write_text('{"rows": {}}')
    with pytest.raises(ValueError, match=r"bc-1.held_out\.json is damaged or from another version"):
        write(Arguments((str(made),), str(tmp_path / "out"), "rl4il"))


def test_success_task_by_task(written):
    rows = written[0]["LIBERO: success task by task"]
    assert rows[2] == ["libero_spatial/0", "nothing missing", "4 of 4", "1 of 1", "1 of 4"]
    assert rows[3] == ["libero_spatial/7", "nothing missing", "3 of 4", "0 of 1", "0 of 4"]


def test_published_numbers_stand_apart_in_italics(written, tmp_path):
    rows, lines = written[0]["Published numbers, not ours"], written[1]
    assert rows[2] == ["libero_spatial", "DisDP", "*70.1*", "*14.4*", "*11.2*", "–"]
    best = {row[1]: row[5] for row in rows[3:]}
    # "Success rates of up to 0.733 where the strongest prior method, DisDP, reaches only 0.295".
    assert best == {"DisDP": "*29.5*", "RL4IL": "*73.3*"}
    sources = {(x["table"] == "published", x["source"]) for x in lines}
    assert sources == {(True, paper_results.SOURCE_LIBERO), (False, "this package")}
    latex = (tmp_path / "out.tex").read_text()
    assert "\\textit{70.1}" in latex and "\\textit{88" not in latex


def test_runs_of_other_tasks_are_left_out_and_none_is_said(made, tmp_path, capsys):
    make_imitated(tmp_path / "walker", "bc")
    with pytest.raises(SystemExit):
        main(["--runs", str(tmp_path / "walker"), "--table", "rl4il"])
    assert "--table rl4il is of libero, and no run in --runs is" in capsys.readouterr().err
