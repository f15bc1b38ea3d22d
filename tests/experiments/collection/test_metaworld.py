"""Collecting MetaWorld's demonstrations: successful ones that tell what they do, and learning."""

import json

import h5py
import numpy as np
import pytest

import envs
from envs.metaworld.catalogue import TASKS
from experiments import imitate
from experiments.collect import main
from experiments.collect import parse as parse_collect
from experiments.collection import successes
from mummi.imitation.demonstrations import Demonstration, open_data
from tests.support.libero_here import needs_encoder
from tests.support.metaworld_here import needs_metaworld

pytestmark = needs_metaworld
SIZES = ("--preset", "debug", "--image-size", "16")


def message(capsys, *flags):
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as that of a group, of two tasks; the second demonstration by another command."""
    made = tmp_path_factory.mktemp("data")
    for task, episodes in (("coffee-button", 1), ("coffee-button", 2), ("handle-press", 1)):
        flags = ("--task", f"metaworld/{task}", "--episodes", str(episodes), "--noise", "0.1")
        main([*SIZES, *flags, "--out", str(made / f"{task}.hdf5")])
    return made


def test_demonstrations_succeed_and_tell_what_they_do(folder):
    with h5py.File(folder / "coffee-button.hdf5") as file:
        data = file["data"]
        assert set(data) == {"demo_0", "demo_1"}
        assert json.loads(data.attrs["env_args"])["env_name"] == "metaworld/coffee-button"
        for number in range(2):
            demo = data[f"demo_{number}"]
            length = demo.attrs["num_samples"]
            sizes = {name: demo[f"obs/{name}"].shape for name in demo["obs"]}
            picture = (length, 16, 16, 3)
            assert sizes == {"corner_rgb": picture, "wrist_rgb": picture, "proprio": (length, 4)}
            assert demo["actions"].shape == demo["executed"].shape == (length, 4)
            assert np.abs(demo["actions"]).max() <= 1 >= np.abs(demo["executed"]).max()
            assert demo["rewards"][()].tolist() == [0] * (length - 1) + [1]
            assert demo.attrs["success"] == 1 <= demo.attrs["attempts"]
            assert demo.attrs["instruction"] == TASKS["coffee-button"]
        first, second = (data[f"demo_{number}/obs/proprio"][0] for number in range(2))
        assert not np.array_equal(
            data["demo_0/obs/corner_rgb"][0], data["demo_1/obs/corner_rgb"][0]
        )
        np.testing.assert_allclose(first, second, atol=0.02)


@needs_encoder
@pytest.mark.usefixtures("quick_compile")
def test_a_group_is_learned_and_evaluated_without_each_sensor(folder, tmp_path):
    flags = [*SIZES, "--task", "metaworld_easy", "--data", str(folder), "--head", "bc"]
    flags += ["--updates", "2", "--batch-size", "2", "--batch-length", "4", "--copies", "2"]
    flags += ["--evaluate-episodes", "2", "--evaluate-missing", "none", "--env.horizon", "6"]
    imitate.main([*flags, "--head.windows", "16", "--logdir", str(tmp_path / "run")])
    files = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "run/eval").iterdir()}
    assert set(files) == {"none", *(f"without-{n}" for n in ("corner_rgb", "wrist_rgb", "proprio"))}
    numbers = [str(list(TASKS).index(task)) for task in ("button-press", "button-press-topdown")]
    for content in files.values():
        assert list(content["by_task"]) == numbers
        assert content["missing"] == pytest.approx(len(content["dropped"]) / 4)


@needs_encoder
def test_what_is_read_of_a_group_is_what_its_environment_shows(folder):
    config, imitation, _ = imitate.parse(
        [
            *SIZES,
            "--task",
            "metaworld_easy",
            "--data",
            str(folder),
            "--head",
            "bc",
            "--held-out",
            "0",
        ]
    )
    environment = envs.make(config.task, image_size=16, training=False)
    sensors = environment.modalities, environment.action_size
    made = imitate.load(imitation, config, sensors).demonstrations
    tasks = ["coffee-button", "coffee-button", "handle-press"]
    assert len(made) == 3
    for task, demonstration in zip(tasks, made, strict=True):
        vectors = demonstration.values["instruction"]
        expected = environment._instructions[task]
        np.testing.assert_allclose(vectors, np.tile(expected, (len(vectors), 1)), atol=1e-6)
    environment.close()


def test_a_sentence_stands_for_the_sensor_of_the_instruction():
    values = {"proprio": np.zeros((3, 4), np.float32), "instruction": np.ones((3, 8), np.float32)}
    available = {name: np.array([True, False, True]) for name in values}
    made = Demonstration(
        values, np.zeros((3, 4)), np.zeros(3), np.zeros(3), attributes={}, available=available
    )
    found = successes.with_sentence(made, "press the button")
    assert list(found.values) == list(found.available) == ["proprio"]
    assert found.attributes == {"instruction": "press the button"}
    assert successes.with_sentence(made._replace(available=None), "x").available is None


def test_only_successes_are_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(successes, "ATTEMPTS", 2)
    path = tmp_path / "random.hdf5"
    flags = [*SIZES, "--task", "metaworld/sweep", "--policy", "random", "--env.horizon", "3"]
    said = message(capsys, *flags, "--env.sensors", "proprio", "--out", str(path))
    assert "2 attempts at demonstration 0 of metaworld/sweep failed" in said
    assert not path.exists()


def test_what_an_expert_answers_is_recorded_of_failures_too(tmp_path):
    path = tmp_path / "answers.hdf5"
    flags = [*SIZES, "--task", "metaworld/sweep", "--policy", "random", "--env.horizon", "3"]
    flags += ["--env.sensors", "proprio", "--episodes", "2", "--label", "expert"]
    main([*flags, "--out", str(path)])
    with open_data(path) as data:
        assert [demo.attributes["success"] for demo in data] == [0, 0]
        assert [demo.attributes["attempts"] for demo in data] == [1, 1]
        one = data[0]
    assert not np.allclose(one.actions, one.executed)
    environment = envs.make("metaworld/sweep", image_size=16, sensors=("proprio",))
    assert one.actions.shape == (3, environment.action_size)
    environment.close()


def test_what_cannot_be_done_is_refused(tmp_path, capsys):
    flags = [*SIZES, "--out", str(tmp_path / "group.hdf5")]
    assert "one file a task" in message(capsys, *flags, "--task", "metaworld_hard")
    more = ("--task", "metaworld/reach", "--envs", "2")
    assert "start a command for each task" in message(capsys, *flags, *more)


def test_a_group_has_a_file_a_task_in_a_folder(tmp_path):
    from experiments.collection.metaworld import targets

    flags = ("--task", "metaworld_very_hard", "--out", str(tmp_path / "noise-0.2"))
    own, config = parse_collect([*SIZES, *flags])
    found = list(targets(config, own))
    names = [target.path.relative_to(tmp_path / "noise-0.2").as_posix() for target in found]
    assert names == [f"{target.task.removeprefix('metaworld/')}.hdf5" for target in found]
    assert len(names) == 5


def test_a_lerobot_dataset_tells_the_rate_and_the_sentence(tmp_path, monkeypatch):
    values = {"proprio": np.zeros((3, 4), np.float32), "instruction": np.ones((3, 8), np.float32)}
    told = {"success": 1.0, "attempts": 1}
    ends = np.arange(3) == 2
    made = Demonstration(values, np.zeros((3, 4)), ends * 1.0, ends, attributes=told)
    monkeypatch.setattr(successes, "succeed", lambda *_: [made])
    flags = ("--task", "metaworld/reach", "--episodes", "1", "--env.sensors", "proprio")
    flags += ("--action-repeat", "2")
    main([*SIZES, *flags, "--format", "lerobot", "--out", str(tmp_path / "reach")])
    with open_data(tmp_path / "reach") as data:
        assert data.attributes["rate"] == 80 / 2
        assert data[0].attributes["instruction"] == TASKS["reach"]


def test_a_file_opens_without_the_package(folder):
    with open_data(folder) as demonstrations:
        assert demonstrations.action_size == 4 and len(demonstrations) == 3
        assert demonstrations[2].attributes["instruction"] == TASKS["handle-press"]
