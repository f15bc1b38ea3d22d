"""Tables of evaluated runs: the numbers, what is marked, and what is refused."""

import csv
import dataclasses
import io
import json
import statistics

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments import tables
from experiments.report import paper_results
from experiments.tables import Arguments, write
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from tests.support.evaluated import make_grid, make_run, score

TWO_METHODS = {
    ("walker_walk", "mummi", 0): [700.0, 720.0],
    ("walker_walk", "mummi", 1): [810.0, 790.0],
    ("walker_walk", "mummi_b", 0): [500.0, 520.0],
    ("walker_walk", "mummi_b", 1): [610.0, 450.0],
}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """Intervals of fewer bootstrap samples, where the test is not about them."""
    monkeypatch.setattr(tables, "REPS", 50)


def written(tmp_path, *folders) -> tuple[str, list[dict]]:
    """The Markdown and the lines of the CSV file."""
    text = write(Arguments(tuple(map(str, folders or [tmp_path / "runs"])), str(tmp_path / "out")))
    assert (tmp_path / "out.md").read_text() == text
    return text, list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))


def section(text: str, title: str) -> str:
    """The part of the Markdown under the heading that begins with ``title``."""
    return next(part for part in text.split("\n## ") if part.startswith(title))


def number(rows: list[dict], column: str, **where) -> float:
    (row,) = [row for row in rows if where.items() <= row.items()]
    return float(row[column])


def test_a_cell_is_mean_and_deviation_over_all_episodes_of_all_seeds(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    text, rows = written(tmp_path)
    episodes = [700.0, 720.0, 810.0, 790.0]
    where = {"table": "returns", "method": "MuMMI", "condition": "none"}
    assert number(rows, "mean", **where) == pytest.approx(statistics.fmean(episodes))
    assert number(rows, "sd", **where) == pytest.approx(statistics.pstdev(episodes))
    assert "| walker_walk | none | **755.0 ± 46.1** | 520.0 ± 57.9 |" in section(text, "Table I")


def test_a_table_of_equals_has_no_footnote(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    text, _ = written(tmp_path)
    assert "(a)" not in text
    assert "Unless marked: seeds 0, 1; 2 episodes each; step 1,000." in text


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"step": 500}, "seeds 0, 1; 2 episodes each; step 1,000 / 500"),
        ({"returns": [1.0, 2.0, 3.0]}, "seeds 0, 1; 2 / 3 episodes each; step 1,000"),
    ],
)
def test_a_seed_unlike_the_others_is_marked(tmp_path, change, note):
    make_grid(tmp_path / "runs", TWO_METHODS)
    score(tmp_path / "runs" / "walker_walk" / "mummi-1", **{"returns": [810.0, 790.0]} | change)
    text, rows = written(tmp_path)
    for title in ("Table I", "Interquartile"):
        part = section(text, title)
        assert f"- (a) {note}." in part
        assert part.count(" (a) |") == 1
    ours = [row for row in rows if row["method"] == "MuMMI" and row["table"] != "published"]
    assert {row["note"] for row in ours} == {note}


def test_a_method_with_fewer_seeds_is_marked(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS | {("walker_run", "mummi", 0): [9.0]})
    make_grid(tmp_path / "runs", {("walker_run", "mummi_b", s): [1.0, 2.0] for s in (0, 1)})
    part = section(written(tmp_path)[0], "Table I")
    assert "| walker_run | none | **9.0 ± 0.0** (a) | 1.5 ± 0.5 |" in part
    assert "- (a) seed 0; 1 episode each; step 1,000." in part


def test_an_evaluation_older_than_the_last_checkpoint_is_marked(tmp_path):
    make_grid(tmp_path / "runs", {("walker_walk", "mummi", 0): [1.0, 2.0]})
    saved = Checkpointer(tmp_path / "runs" / "walker_walk" / "mummi-0" / "checkpoints")
    saved.save(1000, {"x": jnp.zeros(1)}, {})
    assert "(a)" not in written(tmp_path)[0]
    saved.save(3000, {"x": jnp.zeros(1)}, {})
    part = section(written(tmp_path)[0], "Table I")
    assert "1.5 ± 0.5 (a)" in part
    assert "seed 0 has been trained to step 3,000 since" in part


def test_a_setting_unlike_the_preset_is_marked(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    folder = tmp_path / "runs" / "walker_walk" / "mummi-0"
    record = run.load(folder)
    model = dataclasses.replace(record.config.model, drop=0.3)
    run.save(folder, record._replace(config=dataclasses.replace(record.config, model=model)))
    assert "settings: model.drop 0.3 / no change" in section(written(tmp_path)[0], "Table I")


def test_the_random_policy_is_counted_once_and_never_bold(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    for method in ("mummi", "mummi_b"):
        for seed, returns in enumerate([[1000.0, 900.0], [800.0, 700.0]]):
            folder = tmp_path / "runs" / "walker_walk" / f"{method}-{seed}"
            score(folder, returns, method="random")
    text, rows = written(tmp_path)
    where = {"table": "returns", "method": "random policy"}
    assert number(rows, "episodes", **where) == 4
    assert number(rows, "mean", **where) == pytest.approx(850)
    assert "| **755.0 ± 46.1** | 520.0 ± 57.9 | 850.0 ± 111.8 |" in text


def test_each_removed_sensor_is_a_row_below_that_with_all(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    folder = tmp_path / "runs" / "walker_walk" / "mummi-0"
    score(folder, [5.0, 7.0], dropped=("rgb",))
    score(folder, [1.0, 3.0], dropped=("rgb", "touch"))
    score(folder, [100.0, 100.0], "high")
    text, _ = written(tmp_path)
    rows = [line for line in section(text, "Sensors removed").splitlines() if line[:1] == "|"]
    assert [row.split(" | ")[1] for row in rows[2:]] == ["all", "without rgb", "without rgb, touch"]
    assert "6.0 ± 1.0 (a) | –" in rows[3]
    assert "without" not in section(text, "Table I")
    assert "|  | high | 100.0 ± 0.0 (a) | – |" in section(text, "Table I")


def test_what_missing_sensors_cost_one_seed_is_paired_over_its_episodes(tmp_path):
    random = np.random.default_rng(0)
    control, high = random.normal(800, 50, 6), random.normal(700, 90, 6)
    make_grid(tmp_path / "runs", {("walker_walk", "mummi", 0): control})
    folder = tmp_path / "runs" / "walker_walk" / "mummi-0"
    score(folder, high, "high")
    score(folder, high, "medium", step=500)
    score(folder, high, dropped=("rgb",), evaluation_seed=9)
    score(folder, high, dropped=("touch",), numbers=[0, 1, 12, 13, 14, 15])
    text, rows = written(tmp_path)
    test = scipy.stats.ttest_rel(high, control)
    low, high_end = test.confidence_interval(0.95)
    where = {"table": "differences", "method": "MuMMI", "condition": "high"}
    assert number(rows, "mean", **where) == pytest.approx(np.mean(high - control))
    assert number(rows, "low", **where) == pytest.approx(low)
    assert number(rows, "high", **where) == pytest.approx(high_end)
    part = section(text, "What missing sensors cost")
    assert f"[{low:+.1f}, {high_end:+.1f}]" in part and "one seed; 6 pairs" in part
    # Another checkpoint or other episodes are no pairs, and of numbers alone two are the same.
    told = [row["condition"] for row in rows if row["table"] == "differences"]
    assert told == ["high", "without touch"]
    pair = scipy.stats.ttest_rel(high[:2], control[:2]).confidence_interval(0.95)
    where["condition"] = "without touch"
    assert number(rows, "low", **where) == pytest.approx(pair.low)


def test_what_missing_sensors_cost_several_seeds_has_an_interval_over_seeds(tmp_path):
    random = np.random.default_rng(1)
    means = []
    for seed in range(3):
        control, high = random.normal(800, 50, 5), random.normal(700, 90, 5)
        make_grid(tmp_path / "runs", {("walker_walk", "mummi", seed): control})
        score(tmp_path / "runs" / "walker_walk" / f"mummi-{seed}", high, "high")
        means.append(np.mean(high - control))
    _, rows = written(tmp_path)
    where = {"table": "differences", "method": "MuMMI", "condition": "high"}
    interval = scipy.stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert number(rows, "mean", **where) == pytest.approx(np.mean(means))
    assert number(rows, "low", **where) == pytest.approx(interval.low)
    assert number(rows, "high", **where) == pytest.approx(interval.high)


def test_a_file_that_does_not_tell_its_episodes_apart_has_no_pairs(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    folder = tmp_path / "runs" / "walker_walk" / "mummi-0"
    score(folder, [1.0, 2.0], "high")
    path = folder / "eval" / "high.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items()
                                if k != "numbers"}))  # fmt: skip
    assert "What missing sensors cost" not in written(tmp_path)[0]


@pytest.mark.parametrize("sizes", [(3,), (5, 5), (4, 7, 2)])
def test_the_interquartile_mean_is_the_trimmed_mean_of_all_seeds_and_tasks(sizes):
    random = np.random.default_rng(sum(sizes))
    scores = [random.uniform(0, 1000, size) for size in sizes]
    state = np.random.get_state()[1].tolist()
    value, interval = tables.interquartile(scores)
    assert value == pytest.approx(scipy.stats.trim_mean(np.concatenate(scores), 0.25))
    assert interval == tables.interquartile(scores)[1]
    assert np.random.get_state()[1].tolist() == state


def test_the_interval_is_that_of_a_bootstrap_within_each_task(monkeypatch):
    monkeypatch.setattr(tables, "REPS", 2000)
    random = np.random.default_rng(0)
    # Tasks far apart: samples across tasks instead of within would give a far wider interval.
    scores = [random.normal(level, 20, size) for level, size in ((100, 6), (500, 8), (900, 6))]
    draws = [
        scipy.stats.trim_mean(
            np.concatenate([random.choice(task, len(task)) for task in scores]), 0.25
        )
        for _ in range(4000)
    ]
    _, interval = tables.interquartile(scores)
    assert interval == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])), abs=3)


def test_one_seed_has_no_interval(tmp_path):
    make_grid(tmp_path / "runs", {("walker_walk", "mummi", 0): [1.0, 2.0]})
    text, rows = written(tmp_path)
    assert "| 1.5 (no interval) |" in section(text, "Interquartile")
    assert [(r["iqm"], r["low"]) for r in rows if r["table"] == "iqm"] == [("1.5", "")]


def test_all_tasks_together_say_which_are_there(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    make_grid(tmp_path / "runs", {("cup_catch", "mummi", s): [100.0, 100.0] for s in (0, 1)})
    text, rows = written(tmp_path)
    where = {"table": "iqm", "task": "all tasks"}
    seeds = [710.0, 800.0, 100.0, 100.0]
    expected = scipy.stats.trim_mean(seeds, 0.25)
    assert number(rows, "iqm", method="MuMMI", **where) == pytest.approx(expected)
    assert "(a) walker_walk: seeds 0, 1;" in section(text, "Interquartile")


def test_published_numbers_stand_apart(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    text, rows = written(tmp_path)
    part = section(text, "Published numbers, not ours")
    assert "2 million environment steps" in part and "**" not in part
    assert "| walker_walk | none | *954.5 ± 21.5* | *870.4 ± 44.1* | *732.7 ± 61.7* |" in part
    assert "954.5" not in text.replace(part, "")
    sources = {(row["table"], row["source"]) for row in rows}
    assert ("published", paper_results.SOURCE) in sources
    assert all((source == "this package") == (name != "published") for name, source in sources)


def test_published_numbers_agree_with_what_the_paper_says_of_them():
    # "On all of the tasks, MuMMI outperforms all other competing approaches".
    levels = [level for task in paper_results.TABLE_1.values() for level in task.values()]
    assert len(levels) == 15
    for numbers in levels:
        means = [mean for mean, _ in numbers]
        assert len(means) == len(paper_results.METHODS) and max(means) == means[0]


def make_wiping(folder) -> None:
    """Two seeds of mummi with every row of Table II, one of mssm_e with one row."""
    last = {"wiped": 0.5, "success": 0.25}
    for seed in (0, 1):
        run_folder = folder / f"mummi-{seed}"
        make_run(run_folder, task="table_wiping", seed=seed)
        for row, name in enumerate(("none", "medium")):
            score(run_folder, [10.0 * row + seed, 30.0], name, last=last)
            dropped = ("workspace_rgb",)
            score(run_folder, [50.0 + 10 * row + seed, 60.0], name, dropped=dropped, last=last)
        score(run_folder, [1.0, 3.0], method="random", last={"wiped": seed / 10, "success": 0.0})
        score(run_folder, [160.0, 170.0], method="expert", last={"wiped": 1.0, "success": 1.0})
    make_run(folder / "mssm_e-0", task="table_wiping", method="mssm_e")
    score(folder / "mssm_e-0", [7.0, 9.0], "medium", last=last)


def test_table_2_has_the_rows_of_the_paper_and_policies_without_training(tmp_path):
    make_wiping(tmp_path / "runs" / "wiping")
    make_grid(tmp_path / "runs", TWO_METHODS)
    text = write(Arguments((str(tmp_path / "runs"),), str(tmp_path / "out"), table=2))
    rows = [line.split(" | ")[1:] for line in section(text, "Table II").splitlines() if "±" in line]
    rows = [[cell.strip(" |") for cell in row] for row in rows if len(row) == 4]
    sensors = list(paper_results.TABLE_2)
    assert [row[0] for row in rows] == [*sensors, "random policy", "scripted expert"]
    # Medium first, as in the paper: episodes 10, 30, 11, 30 against 7, 9.
    medium = [10.0, 30.0, 11.0, 30.0]
    mean, sd = statistics.fmean(medium), statistics.pstdev(medium)
    assert rows[0][1] == f"**{mean:.1f} ± {sd:.1f}**"
    assert rows[0][2].startswith("8.0 ± 1.0") and rows[0][3] == "–"
    assert rows[3][1].startswith(f"{statistics.fmean([50.0, 60.0, 51.0, 60.0]):.1f} ±")
    assert rows[4][1:3] == ["–", "–"] and rows[4][3].startswith("2.0 ± 1.0")
    assert rows[5][3].startswith("165.0 ± 5.0")
    wiped = section(text, "Dirt wiped")
    assert "50 % (25 %)" in wiped and "| 5 % (0 %) |" in wiped and "| 100 % (100 %) |" in wiped
    assert "walker_walk" not in text and "65.9 ± 76.9" in section(text, "Published")


def test_the_expert_is_no_agent_and_no_random_policy(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    before = written(tmp_path)[0]
    score(tmp_path / "runs" / "walker_walk" / "mummi-0", [999.0, 999.0], method="expert")
    assert written(tmp_path)[0] == before


def test_table_2_needs_runs_of_its_task(tmp_path, capsys):
    make_grid(tmp_path / "runs", TWO_METHODS)
    with pytest.raises(SystemExit):
        tables.main(["--runs", str(tmp_path / "runs"), "--table", "2"])
    assert "--table 2 is of table_wiping" in capsys.readouterr().err


def test_latex_has_whole_rows_and_no_bare_signs(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    written(tmp_path)
    text = (tmp_path / "out.tex").read_text()
    assert "\\textbf{755.0 $\\pm$ 46.1}" in text and "walker\\_walk" in text
    assert not set("±–×") & set(text) and "95 \\%" in text
    for block in text.split("\\begin{tabular}")[1:]:
        body = block.split("\\end{tabular}")[0]
        counts = {line.count("&") for line in body.splitlines() if line.endswith("\\\\")}
        assert counts == {len(body.split("}")[0].strip("{")) - 1}


def test_a_run_without_evaluation_is_named(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    make_run(tmp_path / "runs" / "late", seed=7)
    assert "late`." in written(tmp_path)[0].split("Not evaluated, and left out: ")[1]


def test_overlapping_folders_give_a_run_once(tmp_path):
    make_grid(tmp_path / "runs", TWO_METHODS)
    folder = tmp_path / "runs" / "walker_walk"
    assert written(tmp_path, tmp_path, folder, folder / "mummi-0")[0] == written(tmp_path)[0]


def broken(folder, how: str) -> None:
    """Two runs that cannot stand in one table, or a damaged one."""
    kind = {"preset": "laptop", "missing": "high", "background": "none"}
    make_run(folder / "one")
    make_run(folder / "two", seed=1, **({how: kind[how]} if how in kind else {}))
    score(folder / "one", [1.0])
    score(folder / "two", [1.0])
    if how == "evaluation":
        score(folder / "two", [1.0], background="none")
    if how == "script":
        score(folder / "two", [1.0], script={"name": "none", "rules": [{"rule": "lost"}]})
    if how == "twice":
        make_run(folder / "three")
        score(folder / "three", [1.0])
    if how == "damaged":
        (folder / "two" / "eval" / "none.json").write_text('{"returns": [1.0]}')
    if how == "unevaluated":
        (folder / "one" / "eval" / "none.json").unlink()
        (folder / "two" / "eval" / "none.json").unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("preset", ("runs of 2 kinds", "preset debug", "preset laptop", "one'", "two'")),
        ("missing", ("runs of 2 kinds", "medium (segments all 0.375)", "high (segments all 0.75)")),
        ("background", ("runs of 2 kinds", "background natural", "background none")),
        ("evaluation", ("runs of 2 kinds", "evaluated on none", "two'")),
        ("script", ("'none' is not the same", "one'", "two'")),
        ("twice", ("walker_walk, mummi, seed 0 is there twice", "one'", "three'")),
        ("damaged", ("two/eval/none.json is damaged",)),
        ("unevaluated", ("none of 2 runs is evaluated", "experiments.evaluate --logdir")),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, capsys, how, said):
    broken(tmp_path / "runs", how)
    with pytest.raises(SystemExit) as end:
        tables.main(["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert all(part in error for part in said), error


@pytest.mark.parametrize(("folder", "said"), [("", "no run"), ("absent", "is no folder")])
def test_folders_without_runs_are_said(tmp_path, capsys, folder, said):
    with pytest.raises(SystemExit):
        tables.main(["--runs", str(tmp_path / folder), "--out", str(tmp_path / "out")])
    assert said in capsys.readouterr().err


def test_the_tables_are_printed(tmp_path, capsys):
    make_grid(tmp_path / "runs", TWO_METHODS)
    tables.main(["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert (tmp_path / "out.md").read_text() in printed and "out.tex" in printed
