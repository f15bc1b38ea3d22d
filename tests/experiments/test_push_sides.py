"""Which way round the T of Push-T a head goes."""

import json

import numpy as np
import pytest

pytest.importorskip("gym_pusht")

from experiments import collect, imitate, push_sides
from experiments.push_sides import BLOCK, STARTS, Path, numbers, side


def test_a_side_is_an_end_of_the_bar_wherever_the_block_is():
    """In the block's frame x is along the bar and y goes from its top, 0, past its foot, 30."""
    outside = np.array([[-10.0, -40], [-80, -10], [-80, 20], [-70, 40], [80, 60]])
    for block in (np.array(BLOCK), np.array((100.0, 300.0, 0.7))):
        cos, sin = np.cos(block[2]), np.sin(block[2])
        for mirror, end in ((1, -1), (-1, 1)):
            local = outside * (mirror, 1)
            turned = np.stack(
                [cos * local[:, 0] - sin * local[:, 1], sin * local[:, 0] + cos * local[:, 1]], -1
            )
            places, blocks = block[:2] + turned, np.tile(block, (len(local), 1))
            assert side(places, blocks) == end
            assert side(places[:3], blocks[:3]) == 0


def test_coverage_is_twice_the_smaller_share_in_the_middle():
    def rows(sides):
        return [Path(start, np.zeros((1, 2)), which) for start in STARTS for which in sides]

    assert numbers(rows((1, -1))) == {"passed": 1, "coverage": 1}
    assert numbers(rows((1, -1, -1, 0))) == {"passed": 0.75, "coverage": 0.5}
    corners = [Path(start, np.zeros((1, 2)), -int(np.sign(start))) for start in (-60.0, 60.0)]
    middle = [path for path in rows((1, 1)) if abs(path.start) < 60]
    assert numbers(corners + middle)["coverage"] == 0


def test_the_planner_goes_both_ways_and_the_picture_is_written(tmp_path, capsys):
    push_sides.main(["--rollouts", "4", "--out", str(tmp_path)])
    assert "planner" in capsys.readouterr().out
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["rows"]["planner"]["passed"] == 1 and found["rows"]["planner"]["coverage"] > 0
    assert (tmp_path / "push_sides.png").stat().st_size > 5000


@pytest.mark.usefixtures("quick_compile")
def test_a_head_has_a_row(tmp_path, capsys):
    data, run = tmp_path / "pusht.hdf5", tmp_path / "run"
    sizes = ("--task", "pusht", "--preset", "debug", "--image-size", "16")
    sensors = ("--env.sensors", "state", "keypoints")
    collect.main([*sizes, *sensors, "--episodes", "2", "--out", str(data)])
    short = ("--updates", "2", "--batch-size", "2", "--batch-length", "4", "--copies", "1")
    head = ("--head", "bc", "--head.windows", "64", "--evaluate-episodes", "0")
    imitate.main([*sizes, *sensors, *short, *head, "--data", str(data), "--logdir", str(run)])
    played = ("--rollouts", "1", "--steps", "3", "--out", str(tmp_path / "out"))
    push_sides.main([str(run), *played])
    assert "bc" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out/numbers.json").read_text())["rows"]
    assert list(rows) == ["planner", "bc"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rollouts", "0"], "--rollouts 0 and --steps 60 must be at least 1"),
        (["--seed", "-1"], "seed"),
        (["nowhere"], "nowhere"),
    ],
)
def test_what_it_does_not_take_is_named(tmp_path, capsys, flags, said):
    with pytest.raises(SystemExit) as stop:
        push_sides.main([*flags, "--out", str(tmp_path)])
    assert stop.value.code == 2 and said in capsys.readouterr().err
