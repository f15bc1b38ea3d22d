"""Learning curves."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import plot
from mummi import run
from mummi.config import Config
from mummi.logger import Logger
from mummi.modality import Modality


def make_run(logdir, steps) -> None:
    run.save(logdir, run.Run(Config(), (Modality("touch", "vector", (2,)),), 6))
    with Logger(logdir) as logger:
        for step in steps:
            logger.scalars(step, {"episode/return": step / 10})
        logger.scalars(20, {"evaluation/return": 900.0})


def test_a_curve_is_in_the_order_of_steps():
    rows = [{"step": 30, "x": 3.0}, {"step": 10, "x": 1.0}, {"step": 20}, {"step": 25, "x": None}]
    steps, values = plot.curve(rows, "x")
    assert (steps.tolist(), values.tolist()) == ([10, 30], [1, 3])


def test_runs_are_drawn_into_a_picture_with_the_random_policy(tmp_path, capsys):
    make_run(tmp_path / "a", range(0, 10_000, 100))
    make_run(tmp_path / "b", [100, 5000])
    (tmp_path / "a" / "eval").mkdir()
    (tmp_path / "a" / "eval" / "random-policy.json").write_text(json.dumps({"mean": 42.0}))
    assert plot.random_return(tmp_path / "a") == 42.0
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
        make_run(tmp_path / "a", steps)
    with pytest.raises(SystemExit) as end:
        plot.main(["--runs", str(tmp_path / "a")])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
