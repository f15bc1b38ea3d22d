"""Collecting LIBERO's demonstrations: successful ones, in LIBERO's layout, that load again."""

import json

import h5py
import numpy as np
import pytest

from experiments import evaluate, imitate, replays
from experiments.collect import main
from experiments.collection import successes
from mummi.imitation.demonstrations import Demonstration, LiberoDemonstrations, open_data
from mummi.imitation.heads.outcomes import digest, read
from mummi.imitation.scaling import Scaling
from tests.support.demonstration_files import LIBERO_SHAPES
from tests.support.libero_here import needs_libero

pytestmark = needs_libero
libero_collect = pytest.importorskip("experiments.collection.libero")
FLAGS = ("--task", "libero_goal/9", "--preset", "debug", "--image-size", "16")


def message(capsys, *flags):
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two demonstrations, recorded by two commands."""
    made = tmp_path_factory.mktemp("rack") / "rack_demo.hdf5"
    for episodes in ("1", "2"):
        main([*FLAGS, "--episodes", episodes, "--out", str(made)])
    return made


def test_demonstrations_succeed_and_have_liberos_layout(path):
    with h5py.File(path) as file:
        data = file["data"]
        assert set(data) == {"demo_0", "demo_1"}
        assert {"env_name", "env_args", "problem_info", "bddl_file_name"} <= set(data.attrs)
        assert data.attrs["macros_image_convention"] == "opengl"
        assert "(On wine_bottle_1 wine_rack_1_top_region)" in data.attrs["bddl_file_content"]
        for number in range(2):
            demo = data[f"demo_{number}"]
            length = demo.attrs["num_samples"]
            sizes = {name: shape if len(shape) == 1 else (16, 16, 3) for name, shape in
                     LIBERO_SHAPES.items()}  # fmt: skip
            assert {name: demo[f"obs/{name}"].shape[1:] for name in demo["obs"]} == sizes
            assert demo["actions"].shape == (length, 7) and demo["states"].shape == (length, 79)
            assert demo["rewards"][()].tolist() == [0] * (length - 1) + [1]
            assert demo["dones"][()].tolist() == [0] * (length - 1) + [1]
            assert demo.attrs["success"] == 1 and demo.attrs["attempts"] >= 1
            # Not of the states that evaluation uses.
            assert demo.attrs["initial_state"] == 25 + number
            np.testing.assert_array_equal(demo.attrs["init_state"], demo["states"][0])


def test_what_is_recorded_is_what_the_environment_showed(path):
    """The recorded states, drawn again, give the recorded pictures."""
    from envs.arm_task import AGENTVIEW
    from envs.libero.scene import LiberoRenderer, simplify
    from envs.libero.simulator import LiberoSimulator, suite_tasks

    simulator = LiberoSimulator(suite_tasks("libero_goal")[9])
    simplify(simulator.mujoco_model)
    renderer = LiberoRenderer(simulator.mujoco_model, 16)
    with LiberoDemonstrations(path) as demonstrations:
        demo = demonstrations[1]
    for step in (0, 20, len(demo.actions) - 1):
        simulator.restore(demo.states[step])
        seen = renderer.view(simulator.mujoco_data, AGENTVIEW)[0].astype(int)
        # Cabinet, stove and rack stand a centimetre off, as the states do not say where.
        off = np.abs(seen - demo.values["agentview_rgb"][step])
        assert np.median(off) <= 2
        assert np.abs(seen - demo.values["agentview_rgb"][step][::-1]).mean() > 2 * off.mean()
        np.testing.assert_allclose(demo.values["proprio"][step, :7], simulator.joints, atol=1e-5)
        np.testing.assert_allclose(demo.values["proprio"][step, 9:], simulator.hand[0], atol=1e-5)
    renderer.close()


def test_the_file_loads_for_its_task(path):
    flags = [*FLAGS, "--data", str(path), "--head", "bc"]
    config, imitation, _ = imitate.parse(flags)
    from envs import make

    environment = make(config.task, image_size=16)
    sensors = (environment.modalities, environment.action_size)
    first = environment.reset()
    found = imitate.load(imitation, config, sensors)
    environment.close()
    assert len(found.demonstrations) == len(found.held_out) == 1 and found.scaling == Scaling()
    vectors = found.demonstrations[0].values["instruction"]
    np.testing.assert_allclose(vectors, np.tile(first.values["instruction"], (len(vectors), 1)))


def test_what_failed_while_it_was_recorded_is_missing_in_the_file(path):
    """A camera by its own name, the robot's state in all of its parts."""
    from envs.libero.simulator import LiberoSimulator, suite_tasks
    from experiments.collection.libero import STATES, official

    with LiberoDemonstrations(path) as demonstrations:
        made = demonstrations[0]
    steps = np.arange(len(made.actions))
    failed = made._replace(available={"wrist_rgb": steps > 2, "proprio": steps % 2 == 0})
    found = official(failed, lambda: LiberoSimulator(suite_tasks("libero_goal")[9]))
    np.testing.assert_array_equal(found.availability("eye_in_hand_rgb"), steps > 2)
    assert found.availability("agentview_rgb").all()
    for name in STATES:
        np.testing.assert_array_equal(found.availability(name), steps % 2 == 0)


@pytest.mark.usefixtures("quick_compile")
def test_what_was_collected_is_imitated_and_evaluated_without_each_camera_and_both(path, tmp_path):
    flags = [*FLAGS, "--data", str(path), "--head", "knn", "--logdir", str(tmp_path / "run")]
    flags += ["--updates", "2", "--batch-size", "2", "--batch-length", "4", "--copies", "2"]
    flags += ["--missing", "high", "--evaluate-episodes", "1", "--env.horizon", "8"]
    imitate.main(flags)
    files = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "run/eval").iterdir()}
    rows = ("agentview_rgb", "wrist_rgb", "agentview_rgb-wrist_rgb")
    assert set(files) == {"none", *(f"without-{row}" for row in rows)}
    for content in files.values():
        assert content["by_task"] == {"9": {"episodes": 1, "success": content["successes"][0]}}
        # Two of three modalities are cameras, and the instruction is always there.
        assert content["missing"] == pytest.approx(len(content["dropped"]) / 3)
    with pytest.raises(SystemExit):
        evaluate.main(["--logdir", str(tmp_path / "run"), "--drop", "instruction"])


@pytest.fixture
def two(monkeypatch):
    """A suite of two tasks that the expert does quickly."""
    tasks = tuple(libero_collect.suite_tasks("libero_goal")[number] for number in (9, 7))
    monkeypatch.setattr(libero_collect, "suite_tasks", lambda _: tasks)
    return tasks


SUITE = ("--task", "libero_goal", *FLAGS[2:])
LEROBOT = ("--format", "lerobot", "--images", "png")


def test_a_lerobot_dataset_holds_the_tasks_of_a_suite_in_turn(two, tmp_path, capsys, monkeypatch):
    asked = []

    def succeed(target, number, *_):
        asked.append((target.task, number))
        pictures = np.full((3, 16, 16, 3), 10 * len(asked), np.uint8)
        values = dict.fromkeys(("agentview_rgb", "wrist_rgb"), pictures)
        values["instruction"] = np.zeros((3, 384), np.float32)
        ends = np.arange(3) == 2
        told = {"success": 1.0, "attempts": 2}
        return [Demonstration(values, np.zeros((3, 7)), ends * 1.0, ends, attributes=told)]

    monkeypatch.setattr(successes, "succeed", succeed)
    for episodes in ("1", "2"):
        main([*SUITE, *LEROBOT, "--out", str(tmp_path / "goal"), "--episodes", episodes])
    assert "goal: 4 demonstrations from 8 attempts, steps 3" in capsys.readouterr().out
    assert asked == [(f"libero_goal/{task}", number) for number in (0, 1) for task in (9, 7)]
    with open_data(tmp_path / "goal") as data:
        assert data.attributes["rate"] == 20 and data.attributes["env_args"]["type"] == 1
        assert [m.name for m in data.modalities] == ["agentview_rgb", "wrist_rgb"]
        told = [demo.attributes["instruction"] for demo in data]
        assert [demo.values["wrist_rgb"][0, 0, 0, 0] for demo in data] == [10, 20, 30, 40]
    assert told == 2 * [task.instruction for task in two]


@pytest.mark.slow
def test_a_lerobot_dataset_is_what_the_files_are_and_is_imitated(two, tmp_path):
    sensors = ("--env.sensors", "agentview_rgb", "wrist_rgb", "instruction", "proprio")
    flags = [*SUITE, *sensors, "--episodes", "1"]
    main([*flags, *LEROBOT, "--out", str(tmp_path / "goal")])
    main([*flags, "--out", str(tmp_path / "files")])
    with open_data(tmp_path / "goal") as dataset, open_data(tmp_path / "files") as files:
        for one, other in zip(dataset, files, strict=True):
            for name in ("instruction", "initial_state"):
                assert one.attributes[name] == other.attributes[name]
            np.testing.assert_array_equal(one.actions, other.actions)
            for camera in ("agentview_rgb", "wrist_rgb"):
                np.testing.assert_array_equal(one.values[camera], other.values[camera])
            # Of the files it is that of the recorded state, a substep later.
            np.testing.assert_allclose(one.values["proprio"], other.values["proprio"], atol=1e-3)
    flags = [*SUITE, *sensors, "--data", str(tmp_path / "goal"), "--head", "bc"]
    config, imitation, _ = imitate.parse(flags)
    from envs import make

    environment = make(config.task, image_size=16, **config.env)
    known = (environment.modalities, environment.action_size)
    environment.close()
    made = imitate.load(imitation, config, known)
    known = {d.values["instruction"][0].tobytes() for d in made.demonstrations + made.held_out}
    assert len(known) == 2


def test_only_successes_are_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(successes, "ATTEMPTS", 2)
    path = tmp_path / "random_demo.hdf5"
    flags = [*FLAGS, "--policy", "random", "--env.horizon", "4", "--out", str(path)]
    said = message(capsys, *flags)
    assert "2 attempts at demonstration 0 of libero_goal/9 failed" in said
    assert not path.exists()


def test_what_cannot_be_done_is_refused(tmp_path, capsys):
    out = ("--out", str(tmp_path / "suite.hdf5"))
    assert "one file a task" in message(capsys, *FLAGS[2:], "--task", "libero_goal", *out)
    assert "start a command for each task" in message(capsys, *FLAGS, "--envs", "2", *out)
    flags = ("--env.sensors", "agentview_rgb", "--out", str(tmp_path / "rack.hdf5"))
    assert "lacks wrist_rgb, which LIBERO's own layout holds" in message(capsys, *FLAGS, *flags)


def test_a_suite_has_a_file_a_task_in_a_folder_of_any_name():
    from experiments.collection.libero import files

    found = files("libero_goal", "noise-0.2")
    names = {task.name: str(path) for task, path in found.items()}
    assert len(names) == 10 and names == {n: f"noise-0.2/{n}_demo.hdf5" for n in names}


def test_demonstrations_are_replayed_from_every_start(path, tmp_path, capsys):
    out = tmp_path / "replays.jsonl"
    flags = ["--task", "libero_goal/9", "--data", str(path), "--out", str(out)]
    replays.main([*flags, "--starts", "25:26"])
    first = out.read_bytes()
    replays.main([*flags, "--starts", "25:27"])
    assert out.read_bytes().startswith(first)
    rows = read(out)
    assert [row.start for row in rows] == [25, 26]
    with h5py.File(path) as file:
        executed = [
            file[f"data/demo_{n}"].get("executed", file[f"data/demo_{n}/actions"])[()]
            for n in range(2)
        ]
    names = tuple(map(digest, executed))
    for number, row in enumerate(rows):
        assert row.demonstrations == names and row.own == (names[number],)
        assert all(0 < steps <= 260 for steps in row.steps)
        assert all(
            success == (steps < 260) for success, steps in zip(row.success, row.steps, strict=True)
        )
    assert "best demonstration" in capsys.readouterr().out
