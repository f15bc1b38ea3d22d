"""Anybody's environment is a task: found by its name, completed by defaults, checked."""

import subprocess
import sys

import numpy as np
import pytest

import envs
from envs.processes.parallel import ParallelEnvironments
from tests.support import robots

ROBOTS = "tests.support.robots"


def test_four_members_make_an_environment():
    robot = envs.make(f"{ROBOTS}:Plain", seed=3, image_size=16)
    assert (robot.action_repeat, robot.numbered) == (1, False)
    first, second = robot.reset(), robot.step(np.array([0.25]))
    assert first.is_first and first.reward == 0 and first.available == {"joints": True, "eye": True}
    assert first.values["joints"].dtype == np.float32 and first.values["eye"].dtype == np.uint8
    assert not second.is_first and second.reward == 0.25
    assert second.available == {"joints": True, "eye": False} and not second.values["eye"].any()
    assert robot.render(8).shape == (8, 8, 3) and robot.truth() == {}
    assert not hasattr(robot, "expert_action")
    robot.close()


def test_arguments_are_passed_where_they_are_declared():
    robot = envs.make(f"{ROBOTS}:build", image_size=32, background="clips")
    assert robot.built == (f"{ROBOTS}:build", 32, "clips")
    numbered = envs.make(f"{ROBOTS}:Numbered", seed=1, speed=2.0)
    numbered.reset()
    assert numbered.step(np.zeros(1)).values["joints"][1] == 2
    assert envs.options(f"{ROBOTS}:Numbered").speed == 1.0
    with pytest.raises(ValueError, match=r"unknown option 'sped' .* did you mean 'speed'"):
        envs.make(f"{ROBOTS}:Numbered", sped=2.0)
    with pytest.raises(ValueError, match=r"takes no background; Plain declares nothing"):
        envs.make(f"{ROBOTS}:Plain", background="clips")
    with pytest.raises(ValueError, match="needs the option 'port'"):
        envs.make(f"{ROBOTS}:NeedsPort")
    assert envs.make(f"{ROBOTS}:NeedsPort", port="/dev/arm").port == "/dev/arm"


def test_actions_are_repeated_and_rewards_summed_up_to_the_end_of_the_episode():
    robot = envs.make(f"{ROBOTS}:Plain", action_repeat=3)
    robot.reset()
    steps = [robot.step(np.ones(1)) for _ in range(2)]
    assert robot.action_repeat == 3
    assert [(s.reward, s.values["joints"][0], s.is_last) for s in steps] == [
        (3.0, 3, False),
        (2.0, 5, True),
    ]


def test_what_repeats_itself_is_not_repeated_on_top():
    robot = robots.Plain()
    robot.action_repeat = 2
    assert envs.custom.Custom(robot, "robot", 4)._steps == 2
    with pytest.raises(ValueError, match="action_repeat is 3; a step of task 'robot' is 2 control"):
        envs.custom.Custom(robot, "robot", 3)


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("no_such.robot:Arm", ModuleNotFoundError, "no module 'no_such'"),
        (f"{ROBOTS}:Plian", ValueError, f"module '{ROBOTS}' has no 'Plian'; did you mean 'Plain'"),
        (f"{ROBOTS}:", ValueError, "is not MODULE:ATTRIBUTE"),
        (f"{ROBOTS}:ONE", ValueError, "is str; it must be a class or a function"),
        (f"{ROBOTS}:NoStep", ValueError, "NoStep, which is not an Environment: it has no 'step'"),
    ],
)
def test_what_is_no_environment_is_refused_by_name(task, error, message):
    with pytest.raises(error, match=message):
        envs.make(task)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("modalities", r"modalities of task .* are \('joints',\); they must be Modality objects"),
        ("action_size", "action_size of task .* is 0; it must be a positive integer"),
        ("action_repeat", "action_repeat of task .* is 1.5"),
        ("type", "reset of task .* returned dict, not a TimeStep"),
        ("shape", r"gave 'joints' as float64 \[1\]; it is declared as float32 \[2\]"),
        ("dtype", r"gave 'eye' as float64 \[4, 4, 3\]; it is declared as uint8"),
        ("name", "gave 'joint', but its modalities are joints, eye; did you mean 'joints'"),
        ("there", "gave 'joints' as object"),
    ],
)
def test_a_declaration_or_a_step_that_is_wrong_says_what_it_must_be(mistake, message):
    with pytest.raises(ValueError, match=message):
        envs.make(f"{ROBOTS}:Wrong", mistake=mistake).reset()


def test_workers_find_it_and_its_numbered_episodes_are_the_same_in_each(workers):
    with ParallelEnvironments(f"{ROBOTS}:Numbered", [5, 5], missing="medium") as pool:
        starts = pool.reset(numbers=[2, 2]).values["joints"]
        np.testing.assert_array_equal(starts[0], starts[1])
    alone = envs.make(f"{ROBOTS}:Numbered", seed=5, missing="medium")
    alone.reset(0)
    np.testing.assert_array_equal(alone.reset(2).values["joints"], starts[0])


def test_one_warning_says_that_episodes_without_numbers_are_not_reproducible():
    said = r"robots:Plain' takes no number: .* not reproducible"
    with ParallelEnvironments(f"{ROBOTS}:Plain", [0], processes=False, missing="high") as pool:
        pool.reset()
        with pytest.warns(RuntimeWarning, match=said):
            pool.reset(numbers=[0])
        pool.reset(numbers=[1])


def test_ready_made_environments_are_a_batch():
    with envs.in_process(robots.Plain(), robots.Plain()) as pool:
        assert len(pool) == 2 and pool.action_size == 1
        pool.reset()
        batch = pool.step(np.array([[0.5], [1.0]]))
        assert batch.reward.tolist() == [0.5, 1.0]
        assert batch.available["eye"].tolist() == [False, False]
    with pytest.raises(ValueError, match="seeds is empty"):
        envs.in_process()
    other = robots.Plain()
    other.action_size = 2
    with pytest.raises(ValueError, match="environments differ: action_size is 1 and 2"):
        envs.in_process(robots.Plain(), other)
    with envs.in_process(robots.Plain(), robots.Plain(), missing="high", seed=1) as failing:
        seen = [failing.step(np.zeros((2, 1))).available["joints"] for _ in range(5)]
    assert not np.all(seen)


def test_the_current_folder_is_searched_also_by_workers(tmp_path):
    (tmp_path / "arm.py").write_text(
        f"from {ROBOTS} import Plain\n\n\nclass Arm(Plain):\n    pass\n"
    )
    script = tmp_path / "elsewhere" / "main.py"
    script.parent.mkdir()
    script.write_text(
        "from envs.processes.parallel import ParallelEnvironments\n"
        "with ParallelEnvironments('arm:Arm', [0]) as pool:\n"
        "    print(pool.reset().values['joints'].tolist())\n"
    )
    root = str(robots.__file__).rsplit("/tests/", 1)[0]
    child = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert child.stdout == "[[0.0, 0.5]]\n", child.stderr


def test_a_name_of_an_own_task_is_a_plain_folder():
    assert envs.folder("my_package.robots:Pusher") == "my_package.robots-Pusher"
    assert envs.folder("gymnasium:ALE/Pong-v5") == "gymnasium-ALE-Pong-v5"
    assert envs.folder("dmc_walker_walk") == "walker_walk"
    assert envs.folder("libero_goal/3") == "libero_goal/3"
    assert envs.canonical("dmc_arms:Arm") == "dmc_arms:Arm"
