"""Push-T as an environment: sensors, episodes, success, demonstrations and learning from them."""

import h5py
import numpy as np
import pytest

pytest.importorskip("gym_pusht")

import envs
from envs.pusht.task import SENSORS
from experiments import collect, imitate
from experiments.imitation.data import units_of_task
from mummi.imitation.demonstrations import open_data
from mummi.imitation.scaling import Scaling
from mummi.presets import preset

SOLVED = (30.0, 30.0, 256.0, 256.0, np.pi / 4)


def test_values_are_as_declared():
    environment = envs.make("pusht", seed=3, sensors=SENSORS, image_size=32)
    assert [(m.name, m.kind, m.shape) for m in environment.modalities] == [
        ("image", "image", (32, 32, 3)),
        ("state", "vector", (2,)),
        ("keypoints", "vector", (16,)),
    ]
    for step in (environment.reset(), environment.step(np.array((0.5, -0.5)))):
        for modality in environment.modalities:
            value = step.values[modality.name]
            assert (value.shape, value.dtype) == (modality.shape, modality.dtype)
    assert np.ptp(environment.render(64)) > 100


def test_the_action_is_where_the_pusher_is_drawn_to():
    environment = envs.make("pusht", sensors=("state",), start=(256.0, 60.0, 256.0, 300.0, 0.0))
    np.testing.assert_array_equal(environment.reset().values["state"], (256, 60))
    for _ in range(20):
        step = environment.step(np.array((0.5, -0.75)))
    np.testing.assert_allclose(step.values["state"], (384, 64), atol=1)
    truth = environment.truth()
    np.testing.assert_allclose(truth["block"], (256, 300, 0), atol=1e-6)
    np.testing.assert_array_equal(truth["pusher"], step.values["state"])


def test_a_covered_goal_ends_the_episode_and_else_the_horizon_does():
    solved = envs.make("pusht", sensors=("state",), start=SOLVED)
    solved.reset()
    step = solved.step(np.full(2, -0.9))
    assert (step.reward, step.info["success"]) == (1, 1) and step.is_last and step.is_terminal
    with pytest.raises(RuntimeError, match="the episode is over"):
        solved.step(np.zeros(2))
    away = (30.0, 30.0, 100.0, 400.0, 0.0)
    environment = envs.make("pusht", sensors=("state",), start=away, action_repeat=100)
    environment.reset()
    steps = [environment.step(np.full(2, -0.9)) for _ in range(3)]
    assert [s.is_last for s in steps] == [False, False, True]
    assert steps[-1].info == {"success": 0, "coverage": 0} and not steps[-1].is_terminal
    # The reward is of each of 100 control steps.
    near = envs.make(
        "pusht", sensors=("state",), start=(30.0, 30.0, 270.0, 256.0, np.pi / 4), action_repeat=100
    )
    covered = near.reset().info["coverage"]
    assert near.step(np.full(2, -0.9)).reward == pytest.approx(100 * covered / 0.95)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sensors": ("rgb",)}, "sensors are rgb; choose .* image, state, keypoints"),
        ({"start": (1.0, 2.0)}, "start is .*; it has five numbers, or none"),
        ({"action_repeat": 7}, "action_repeat is 7; it must be a positive divisor of 300"),
        ({"background": "sea.mp4"}, "pusht shows a white table"),
    ],
)
def test_what_it_does_not_take_is_named(changes, said):
    with pytest.raises(ValueError, match=said):
        envs.make("pusht", **changes)


@pytest.mark.usefixtures("quick_compile")
def test_demonstrations_are_collected_and_a_head_learns_from_them(tmp_path):
    path = tmp_path / "pusht.hdf5"
    sizes = ("--task", "pusht", "--preset", "debug", "--image-size", "24")
    collect.main([*sizes, "--episodes", "2", "--out", str(path)])
    with open_data(path) as data:
        assert [m.name for m in data.modalities] == ["image", "state"]
        assert all(demonstration.rewards[-1] == 1 for demonstration in data)
        assert units_of_task(data, preset("debug", "pusht")) == Scaling()
        wanted = data[0].actions
    # As others record them: in units of the table, by a file that knows nothing of this package.
    with h5py.File(path) as ours, h5py.File(tmp_path / "others.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"] = (wanted + 1) * 256
        demo["obs/state"] = ours["data/demo_0/obs/state"][()]
    with open_data(tmp_path / "others.hdf5") as data:
        scaling = units_of_task(data, preset("debug", "pusht"))
        np.testing.assert_allclose(scaling.learned(data[0].actions), wanted, atol=1e-5)
    run = tmp_path / "run"
    short = ("--updates", "2", "--batch-size", "2", "--batch-length", "4", "--copies", "1")
    head = ("--head", "bc", "--head.windows", "64", "--evaluate-episodes", "0")
    imitate.main([*sizes, *short, *head, "--data", str(path), "--logdir", str(run)])
    assert (run / "head.npz").is_file()
