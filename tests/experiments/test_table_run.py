"""Table Wiping from training to Table II, on the real simulator; and without the simulator."""

import json
import sys

import av
import pytest

import envs
from experiments import evaluate, tables
from experiments.evaluation.video import PANEL
from mummi.runs import record as run
from mummi.runs.logger import read_metrics
from tests.support import tiny

SENSORS = ("workspace_rgb", "robot_rgb", "force")


@pytest.fixture(scope="module")
def logdir(tmp_path_factory, quick_compile):
    """A run of seconds that starts from a demonstration, evaluated with every row of Table II."""
    logdir = tmp_path_factory.mktemp("runs") / "wiping"
    tiny.run(
        logdir,
        *("--action-repeat", "10", "--env.horizon", "60", "--env.early-termination", "False"),
        *("--env.sensors", *SENSORS),
        *("--prefill", "60", "--prefill-from", "demonstrations", "--steps", "120"),
        *("--missing", "medium"),
        task="table_wiping",
    )
    arguments = evaluate.Arguments(
        str(logdir),
        missing=("none", "medium"),
        drop=("workspace_rgb",),
        drop_missing=("none", "medium"),
        episodes=1,
        random=True,
        expert=True,
        agreement=False,
        envs=1,
    )
    evaluate.evaluate(arguments)
    return logdir


def test_success_and_the_proportion_wiped_are_logged(logdir):
    metrics = read_metrics(logdir)
    for kind, step in (("demonstration", 60), ("episode", 120)):
        (row,) = [row for row in metrics if f"{kind}/last/wiped" in row]
        assert row["step"] == step
        assert row[f"{kind}/last/success"] == (row[f"{kind}/last/wiped"] == 1)
        # The demonstration wipes; what the untrained agent does may not.
        assert row[f"{kind}/last/wiped"] >= 0.1 * (kind == "demonstration")


def test_options_are_recorded_and_evaluation_uses_them(logdir):
    record = run.load(logdir)
    expected = {"sensors": list(SENSORS), "horizon": 60, "early_termination": False}
    assert record.config.env == expected
    assert tuple(m.name for m in record.modalities) == SENSORS
    for path in (logdir / "eval").glob("*.json"):
        content = json.loads(path.read_text())
        assert content["lengths"] == [6] and set(content["last"]) == {"wiped", "success"}


def test_table_2_has_every_row(logdir, tmp_path):
    out = tmp_path / "table2"
    text = tables.write(tables.Arguments((str(logdir),), str(out), table=2))
    rows = [line for line in text.split("\n## ")[1].splitlines() if line.startswith("|")]
    assert len(rows) == 8
    cells = [row.strip("|").split("|") for row in rows[2:]]
    assert all("±" in row[2] for row in cells[:4])
    wiped = json.loads((logdir / "eval" / "scripted-expert.json").read_text())
    assert f"{wiped['mean']:.1f} ± 0.0" in cells[5][3] and "±" in cells[4][3]


def test_the_video_shows_both_cameras_and_marks_the_missing_one(logdir):
    arguments = evaluate.Arguments(
        str(logdir), missing=(), drop=("workspace_rgb",), episodes=1, video=True, envs=1
    )
    evaluate.evaluate(arguments)
    with av.open(str(logdir / "videos" / "evaluation-without-workspace_rgb.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 6
    scene, workspace, robot = (
        frames[-1][:, k * PANEL : (k + 1) * PANEL].astype(int) for k in range(3)
    )
    caption = slice(1, 3)
    assert abs(workspace[caption] - (200, 30, 30)).mean() < 40
    assert robot[caption].mean() < 60 and scene[caption].mean() < 60
    assert scene[16:].std() > 10 and robot[16:].std() > 10


def test_a_missing_simulator_costs_only_its_task(monkeypatch):
    monkeypatch.setitem(sys.modules, "robosuite", None)
    for name in (
        "envs.table_wiping.task",
        "envs.table_wiping.simulator",
        "envs.table_wiping.randomisation",
        "envs.robosuite",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [name for name in sys.modules if name.startswith("robosuite.")]:
        monkeypatch.delitem(sys.modules, name)
    said = "task 'table_wiping' needs robosuite, which is not installed: pip install"
    with pytest.raises(ModuleNotFoundError, match=said):
        envs.make("table_wiping")
    envs.make("dummy").close()
