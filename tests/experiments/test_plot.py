"""Pictures of runs: learning curves, over seeds too, and the return against missing data."""

import json

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure
from PIL import Image

from experiments import plot
from mummi.config import Config
from mummi.modality import Modality
from mummi.runs import record as run
from mummi.runs.logger import Logger
from tests.support.evaluated import make_imitated, make_run, score


def make_curve(logdir, steps) -> None:
    run.save(logdir, run.Run(Config(), (Modality("touch", "vector", (2,)),), 6))
    with Logger(logdir) as logger:
        for step in steps:
            logger.scalars(step, {"episode/return": step / 10})
        logger.scalars(20, {"evaluation/return": 900.0})


def drawn(kind, *folders, smooth: int = 1) -> Figure:
    arguments = plot.Arguments(tuple(map(str, folders)), smooth=smooth, kind=kind)
    return plot.KINDS[kind](arguments)


def labels(axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plot.plt.close("all")


def test_a_curve_is_in_the_order_of_steps():
    rows = [{"step": 30, "x": 3.0}, {"step": 10, "x": 1.0}, {"step": 20}, {"step": 25, "x": None}]
    steps, values = plot.curve(rows, "x")
    assert (steps.tolist(), values.tolist()) == ([10, 30], [1, 3])


def test_runs_are_drawn_into_a_picture_with_the_random_policy(tmp_path, capsys):
    make_curve(tmp_path / "a", range(0, 10_000, 100))
    make_curve(tmp_path / "b", [100, 5000])
    (tmp_path / "a" / "eval").mkdir()
    (tmp_path / "a" / "eval" / "random-policy.json").write_text(json.dumps({"mean": 42.0}))
    assert plot.untrained_return(tmp_path / "a", "random") == 42.0
    out = tmp_path / "pictures" / "curves.png"
    plot.main(["--runs", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    picture = np.asarray(Image.open(out).convert("RGB"))
    blue = (abs(picture.astype(int) - [31, 119, 180]).max(-1) < 30).sum()
    orange = (abs(picture.astype(int) - [255, 127, 14]).max(-1) < 30).sum()
    assert blue > 200 and orange > 10


@pytest.mark.parametrize(("steps", "said"), [((), "no finished episode"), (None, "is no run")])
def test_what_cannot_be_drawn_is_said(tmp_path, capsys, steps, said):
    if steps is not None:
        make_curve(tmp_path / "a", steps)
    with pytest.raises(SystemExit) as end:
        plot.main(["--runs", str(tmp_path / "a")])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_the_moving_mean_is_over_episodes(tmp_path):
    make_curve(tmp_path / "a", [100, 300, 400, 1000])
    steps, values = plot.smoothed(tmp_path / "a", 3)
    assert steps.tolist() == [400, 1000]
    assert values == pytest.approx([(10 + 30 + 40) / 3, (30 + 40 + 100) / 3])


def test_seeds_meet_on_one_grid_and_end_where_their_data_ends():
    first = np.array([0.0, 40.0, 100.0]), np.array([0.0, 4.0, 1.0])
    second = np.array([10.0, 50.0]), np.array([2.0, 2.0])
    grid, values = plot.over_seeds([first, second])
    assert (grid[0], grid[-1]) == (10, 100)
    for index, step in enumerate(grid):
        slope = step / 10 if step <= 40 else 4 - 3 * (step - 40) / 60
        assert values[0, index] == pytest.approx(slope)
        assert values[1, index] == 2 if step <= 50 else np.isnan(values[1, index])


def seeds_of(folder, method, *levels, steps=(100, 200, 300), **changes) -> None:
    """A run for each level, which its return keeps throughout."""
    for seed, level in enumerate(levels):
        make_run(folder / f"{method}-{seed}", method=method, seed=seed, **changes)
        with Logger(folder / f"{method}-{seed}") as logger:
            for step in steps:
                logger.scalars(step, {"episode/return": level})


def test_a_method_is_the_mean_of_its_seeds_and_a_band_of_their_range(tmp_path):
    seeds_of(tmp_path, "mummi", 10.0, 20.0, 60.0)
    seeds_of(tmp_path, "mummi_b", 5.0)
    score(tmp_path / "mummi-0", [3.0, 5.0], method="random")
    score(tmp_path / "mummi-0", [70.0, 80.0], method="expert")
    (axes,) = drawn("methods", tmp_path).axes
    names = ["MuMMI, 3 seeds", "MuMMI-b, 1 seed", "random policy", "scripted expert"]
    assert labels(axes) == names
    mummi, other, chance, expert = axes.lines
    assert set(expert.get_ydata()) == {75.0}
    assert mummi.get_ydata() == pytest.approx(30.0) and other.get_ydata() == pytest.approx(5.0)
    assert set(chance.get_ydata()) == {4.0}
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (10, 60)


def test_where_a_seed_has_ended_the_line_is_dashed_and_said_so(tmp_path):
    seeds_of(tmp_path, "mummi", 10.0, 30.0)
    with Logger(tmp_path / "mummi-1") as logger:
        logger.scalars(600, {"episode/return": 30.0})
    (axes,) = drawn("methods", tmp_path).axes
    assert labels(axes) == ["MuMMI, 2 seeds (dashed: fewer)"]
    (whole,) = [line for line in axes.lines if line.get_linestyle() == "-"]
    (fewer,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert whole.get_xdata().max() == pytest.approx(300, abs=5) == fewer.get_xdata().min()
    assert fewer.get_xdata().max() == 600 and set(fewer.get_ydata()[1:]) == {30.0}


def test_each_task_has_a_panel(tmp_path):
    for task in ("walker_walk", "cup_catch"):
        seeds_of(tmp_path / task, "mummi", 1.0, task=task)
    titles = [axes.get_title() for axes in drawn("methods", tmp_path).axes]
    assert titles == ["walker_walk", "cup_catch"]


def test_the_return_stands_at_the_measured_share_with_its_interval(tmp_path):
    returns = {0: [100.0, 140.0], 1: [200.0, 260.0]}
    for seed, values in returns.items():
        make_run(tmp_path / str(seed), seed=seed)
        score(tmp_path / str(seed), values, "high", missing=0.7 + seed / 10)
        score(tmp_path / str(seed), values, "none", step=1000 + 500 * seed)
        score(tmp_path / str(seed), values, dropped=("rgb",), missing=0.5)
    above, below = drawn("missing", tmp_path).axes
    assert labels(above) == ["MuMMI, 2 seeds, step 1,000 to 1,500"]
    (bars,) = above.containers
    line, _, (stems,) = bars
    assert line.get_xdata() == pytest.approx([0.0, 75.0])
    episodes = np.concatenate(list(returns.values()))
    interval = scipy.stats.ttest_1samp(episodes, 0).confidence_interval(0.95)
    assert line.get_ydata() == pytest.approx([175.0, 175.0])
    low, high = stems.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx(tuple(interval))
    crosses = above.lines[-1].get_ydata()
    assert crosses.tolist() == [120.0, 230.0]
    ticks = [text.get_text() for text in below.get_xticklabels()]
    assert ticks == ["none", "rgb"] and below.containers[0][0].get_xdata().tolist() == [0, 1]


def test_frozen_or_noisy_sensors_are_no_point_of_the_missing_rate(tmp_path):
    make_run(tmp_path / "a")
    score(tmp_path / "a", [1.0, 2.0])
    noise = {"name": "noise", "rules": [{"rule": "noise", "modality": "rgb", "std": 9}]}
    score(tmp_path / "a", [5.0, 6.0], "medium", script=noise)
    (axes,) = drawn("missing", tmp_path).axes
    assert axes.containers[0][0].get_ydata() == pytest.approx([1.5])


@pytest.mark.parametrize("kind", ["methods", "missing"])
def test_pictures_are_written_and_runs_of_two_kinds_refused(tmp_path, capsys, kind):
    seeds_of(tmp_path / "runs", "mummi", 1.0, 2.0)
    score(tmp_path / "runs" / "mummi-0", [1.0])
    out = tmp_path / "new" / "picture.png"
    flags = ["--runs", str(tmp_path / "runs"), "--kind", kind, "--out", str(out)]
    plot.main(flags)
    assert np.asarray(Image.open(out)).shape[1] > 600
    seeds_of(tmp_path / "runs", "mummi_b", 1.0, background="none")
    score(tmp_path / "runs" / "mummi_b-0", [1.0])
    with pytest.raises(SystemExit):
        plot.main(flags)
    assert "runs of 2 kinds" in capsys.readouterr().err


def test_without_an_evaluation_there_is_nothing_to_draw(tmp_path, capsys):
    make_run(tmp_path / "a")
    with pytest.raises(SystemExit):
        plot.main(["--runs", str(tmp_path), "--kind", "missing"])
    assert "is evaluated yet" in capsys.readouterr().err


def test_fusions_stand_side_by_side_for_each_head(tmp_path):
    for method, values in (("mummi", [4.0, 6.0]), ("cvrl", [1.0, 3.0])):
        for head in ("bc", "knn"):
            folder = tmp_path / f"{head}-{method}"
            make_imitated(folder, head, method=method)
            score(folder, [9.0, 9.0])
            score(folder, values, dropped=("rgb",))
    score(tmp_path / "bc-cvrl", [0.0], dropped=("depth", "rgb"))
    left, right = drawn("fusion", tmp_path).axes
    assert left.get_title().endswith("bc") and right.get_title().endswith("knn")
    assert labels(left) == ["product of experts (MuMMI)", "concatenation (CVRL)"]
    ticks = [text.get_text() for text in left.get_xticklabels()]
    assert ticks == ["none", "without\nrgb", "without\ndepth,\nrgb"]
    heights = [bars[0].get_ydata().tolist() for bars in left.containers]
    assert heights == [[9.0, 5.0], [9.0, 2.0, 0.0]]
    # Beside each other, and neither at another condition's place.
    apart = left.containers[1][0].get_xdata()[:2] - left.containers[0][0].get_xdata()
    assert (apart > 0).all() and (apart < 0.5).all()


def test_one_fusion_alone_or_of_another_kind_is_refused(tmp_path, capsys):
    make_imitated(tmp_path / "a", "bc")
    score(tmp_path / "a", [1.0])
    flags = ["--runs", str(tmp_path), "--kind", "fusion"]
    with pytest.raises(SystemExit):
        plot.main(flags)
    assert "world models of one method alone" in capsys.readouterr().err
    make_imitated(tmp_path / "b", "bc", method="cvrl", background="none")
    with pytest.raises(SystemExit):
        plot.main(flags)
    assert "runs of 2 kinds" in capsys.readouterr().err
