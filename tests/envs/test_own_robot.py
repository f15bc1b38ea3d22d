"""README's robot runs as it stands there."""

import pathlib
import re
import sys

import numpy as np
import pytest

import envs
from envs.processes.parallel import ParallelEnvironments
from experiments.command_line import parse_config

README = pathlib.Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """The folder of README's ``my_robot.py``, which is the current one."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if "class Reacher" in block)
    folder = tmp_path_factory.mktemp("robot")
    (folder / "my_robot.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        yield len([line for line in code.splitlines() if line.strip()])
    sys.modules.pop("my_robot", None)


def test_it_is_short(robot):
    assert robot < 40


def test_its_episodes_are_as_declared_and_numbered(robot):
    made = envs.make("my_robot:Reacher", seed=2, speed=0.5, missing="medium")
    first, step = made.reset(3), None
    available, steps = [], 0
    while step is None or not step.is_last:
        step = made.step(np.ones(2))
        available.append(step.available["camera"])
        steps += 1
    assert steps == 50 and 0 < np.mean(available) < 0.9 and 0 < step.reward <= 1
    np.testing.assert_array_equal(first.values["camera"], made.reset(3).values["camera"])
    assert first.values["camera"].sum() == 2 * 255


def test_it_steps_in_workers_and_ready_made(robot, workers):
    with ParallelEnvironments("my_robot:Reacher", [0, 0]) as pool:
        started = pool.reset(numbers=[1, 1]).values["encoders"]
        np.testing.assert_array_equal(*started)
    from my_robot import Reacher  # found as the tests above made its task

    with envs.in_process(Reacher()) as pool:
        pool.reset()
        assert np.isfinite(pool.step(np.zeros((1, 2))).reward).all()


def test_the_command_line_takes_it_with_its_own_options(robot):
    arguments = ["--task", "my_robot:Reacher", "--preset", "debug", "--env.speed", "0.5"]
    config = parse_config(arguments)
    assert (config.task, config.env) == ("my_robot:Reacher", {"speed": 0.5})
    assert config.logdir == "runs/my_robot-Reacher/mummi-debug-0"
    with pytest.raises(ValueError, match=r"takes no image_size; Reacher declares seed, speed"):
        parse_config([*arguments, "--image-size", "32"])
    with pytest.raises(ValueError, match="has no 'Reachr'; did you mean 'Reacher'"):
        parse_config(["--task", "my_robot:Reachr"])
    with pytest.raises(ValueError, match=r"unknown option 'sped' .* did you mean 'speed'"):
        parse_config([*arguments[:4], "--env.sped", "1"])
