"""Collecting LIBERO's demonstrations: successful ones, in LIBERO's layout, that load again."""

import json

import h5py
import numpy as np
import pytest

from experiments import evaluate, imitate
from experiments.collect import main
from mummi.imitation.demonstrations import LiberoDemonstrations
from mummi.imitation.scaling import Scaling
from tests.support.demonstration_files import LIBERO_SHAPES
from tests.support.libero_here import needs_libero

pytestmark = needs_libero
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
    from envs.libero.scene import AGENTVIEW, LiberoRenderer, simplify
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
    made, scaling = imitate.load_demonstrations(imitation, config, sensors)
    environment.close()
    assert len(made) == 2 and scaling == Scaling()
    vectors = made[0].values["instruction"]
    np.testing.assert_allclose(vectors, np.tile(first.values["instruction"], (len(vectors), 1)))


def test_what_failed_while_it_was_recorded_is_missing_in_the_file(path):
    """A camera by its own name, the robot's state in all of its parts."""
    from envs.libero.simulator import LiberoSimulator, suite_tasks
    from experiments.collection.libero import STATES, official

    with LiberoDemonstrations(path) as demonstrations:
        made = demonstrations[0]
    steps = np.arange(len(made.actions))
    failed = made._replace(available={"wrist_rgb": steps > 2, "proprio": steps % 2 == 0})
    found = official(failed, LiberoSimulator(suite_tasks("libero_goal")[9]))
    np.testing.assert_array_equal(found.availability("eye_in_hand_rgb"), steps > 2)
    assert found.availability("agentview_rgb").all()
    for name in STATES:
        np.testing.assert_array_equal(found.availability(name), steps % 2 == 0)


@pytest.mark.usefixtures("quick_compile")
def test_what_was_collected_is_imitated_and_evaluated_without_each_camera_and_both(path, tmp_path):
    flags = [*FLAGS, "--data", str(path), "--head", "knn", "--logdir", str(tmp_path / "run")]
    flags += ["--updates", "2", "--batch-size", "2", "--batch-length", "4", "--copies", "2"]
    flags += ["--missing", "high", "--evaluate-episodes", "1", "--env.horizon", "40"]
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


def test_only_successes_are_recorded(tmp_path, capsys, monkeypatch):
    from experiments.collection import successes

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


def test_a_suite_has_a_file_a_task_in_a_folder_of_any_name():
    from experiments.collection.libero import files

    found = files("libero_goal", "noise-0.2")
    names = {task.name: str(path) for task, path in found.items()}
    assert len(names) == 10 and names == {n: f"noise-0.2/{n}_demo.hdf5" for n in names}
