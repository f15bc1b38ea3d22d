"""The diagnosis of runs by the command: numbers, table, picture, and what it refuses."""

import json

import pytest
import yaml
from PIL import Image

from experiments import diagnose
from mummi.imitation import record
from mummi.runs.logger import read_metrics
from tests.support import evaluated, tiny

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, quick_compile):
    """Two runs, the first evaluated while it trained.

    The vector holds numbers so large that an untrained actor always does the same where it sees
    it: without a sensor that comes and goes all rewards would be one, and none could be explained.
    """
    folder = tmp_path_factory.mktemp("diagnosed")
    script = {"rule": "flicker", "modality": "vector", "probability": 0.5}
    (folder / "script.yaml").write_text(yaml.safe_dump({"name": "flicker", "rules": [script]}))
    more = ("--evaluate-episodes", "1", "--missing", str(folder / "script.yaml"))
    for seed, every in (("0", "200"), ("1", "0")):
        tiny.run(folder / f"run-{seed}", "--seed", seed, "--evaluate-every", every, *more)
    return folder


def test_runs_are_diagnosed_side_by_side(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    folders = [str(runs / f"run-{seed}") for seed in (0, 1)]
    out = tmp_path / "new" / "two.png"
    missing = ("--missing", str(runs / "script.yaml"))
    diagnose.main(["--logdir", *folders, "--episodes", "2", *missing, "--out", str(out)])
    said = capsys.readouterr().out
    for words in ("run-0", "run-1", "step 400", "reward R², 7 ahead", "CPU, behavior, %"):
        assert words in said
    with Image.open(out) as picture:
        assert picture.size[0] > 1000
    first, second = (json.loads((runs / f"run-{s}/diagnosis.json").read_text()) for s in (0, 1))
    assert (first["step"], first["numbers"], second["seed"]) == (400, [0, 1], 1)
    assert set(first["calibration"]) == {"image", "depth", "vector", "embedding"}
    cost = first["cpu"]
    assert set(cost) == {"environment", "acting", "world model", "behavior"}
    assert min(cost["environment"], cost["acting"], cost["world model"]) > 0
    assert first["reward_ahead"] != second["reward_ahead"]


def test_the_same_is_logged_while_a_run_trains(runs):
    rows = [row for row in read_metrics(runs / "run-0") if "evaluation/return" in row]
    assert [row["step"] for row in rows] == [200, 400]
    names = {"diagnosis/reward_ahead_7", "diagnosis/state", "diagnosis/calibration_image"}
    assert all(names <= set(row) for row in rows)
    assert 0 < rows[0]["cpu_seconds"] < rows[1]["cpu_seconds"]


def test_an_imitation_run_is_refused(tmp_path, capsys):
    evaluated.make_imitated(tmp_path / "bc", "bc")
    assert record.is_imitation(tmp_path / "bc")
    with pytest.raises(SystemExit) as end:
        diagnose.main(["--logdir", str(tmp_path / "bc")])
    assert end.value.code == 2
    assert "is a run of experiments.imitate" in capsys.readouterr().err


def test_no_run_is_said(capsys):
    with pytest.raises(SystemExit):
        diagnose.main(["--logdir"])
    assert capsys.readouterr().err
