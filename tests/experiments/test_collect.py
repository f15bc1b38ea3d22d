"""Collecting demonstrations: aligned, resumable without a trace, from every kind of policy."""

import time

import h5py
import numpy as np
import pytest

from envs.failures.script import load_script
from experiments import collect
from experiments.collect import main
from experiments.evaluation import views
from mummi.imitation.demonstrations import Demonstrations, open_data
from tests.support import imitated, tiny

DUMMY = ("--task", "dummy", "--image-size", "8")


def load(path) -> list:
    with Demonstrations(path) as demonstrations:
        return list(demonstrations)


def require_same(one, other) -> None:
    one, other = load(one), load(other)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        require_equal(a, b)


def require_equal(one, other) -> None:
    np.testing.assert_array_equal(one.actions, other.actions)
    np.testing.assert_array_equal(one.rewards, other.rewards)
    for name in one.values:
        np.testing.assert_array_equal(one.values[name], other.values[name])


def sensors(path):
    with Demonstrations(path) as demonstrations:
        return demonstrations.modalities


def message(capsys, *flags) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_each_action_stands_beside_what_was_seen_before_it(tmp_path, capsys):
    path = tmp_path / "dummy.hdf5"
    flags = ("--policy", "random", "--episodes", "3", "--action-repeat", "2")
    main([*DUMMY, *flags, "--out", str(path)])
    made = load(path)
    for demo in made:
        steps = demo.values["vector"][:, 0]
        assert steps.tolist() == list(range(20))
        assert demo.values["image"][:, 0, 0, 0].tolist() == list(range(20))
        # The dummy task shows the sum of the action that led to what it shows.
        np.testing.assert_allclose(
            demo.values["vector"][1:, 3], demo.actions[:-1].sum(1), rtol=1e-5
        )
        np.testing.assert_allclose(demo.rewards, 2 * demo.actions.mean(1), rtol=1e-5)
        assert demo.dones.tolist() == [False] * 19 + [True]
        assert demo.attributes["success"] == 1 and not demo.attributes["is_terminal"]
        assert np.abs(demo.actions).max() <= 1 and demo.states is None
    assert not np.array_equal(made[0].actions, made[1].actions)
    returns = [demo.rewards.sum() for demo in made]
    said = f"3 demonstrations, return {np.mean(returns):.4g} ± {np.std(returns):.2g}, steps 20 ± 0"
    assert f"{said}, success 1 ± 0" in capsys.readouterr().out
    with Demonstrations(path) as demonstrations:
        assert [m.kind for m in demonstrations.modalities] == [
            *("image", "depth", "vector", "embedding")
        ]
        settings = demonstrations.attributes["env_args"]
        assert settings["env_name"] == "dummy" and settings["policy"] == "random"
        assert settings["env_kwargs"] == {
            "image_size": 8,
            "background": "natural",
            "action_repeat": 2,
        }


def test_episodes_do_not_depend_on_where_it_stopped_nor_on_how_many_run_at_once(tmp_path):
    at_once, in_parts, parallel = (tmp_path / f"{n}.hdf5" for n in ("once", "parts", "parallel"))
    flags = [*DUMMY, "--policy", "random", "--seed", "4"]
    main([*flags, "--episodes", "3", "--out", str(at_once)])
    for episodes in ("1", "3", "3"):
        main([*flags, "--episodes", episodes, "--out", str(in_parts)])
    main([*flags, "--episodes", "3", "--envs", "2", "--out", str(parallel)])
    require_same(at_once, in_parts)
    require_same(at_once, parallel)


def test_with_noise_the_experts_own_action_is_recorded(tmp_path):
    path = tmp_path / "dummy.hdf5"
    main([*DUMMY, "--noise", "0.5", "--episodes", "2", "--env.length", "60", "--out", str(path)])
    made = load(path)
    np.testing.assert_array_equal(np.stack([m.actions for m in made]), np.ones((2, 60, 2)))
    executed = np.stack([m.values["vector"][1:, 3] for m in made])
    # The expert's action is 1, so noise above it is clipped: half of the draws of each dimension.
    assert executed.max() == 2 and np.mean(executed == 2) == pytest.approx(0.25, abs=0.12)
    # Two dimensions of mean 2 - 2 * 0.5 / sqrt(2 pi).
    assert executed.mean() == pytest.approx(2 - 1 / np.sqrt(2 * np.pi), abs=0.12)
    assert not np.array_equal(executed[0], executed[1])
    # What was executed is there, too, for the world model.
    done = np.stack([m.executed for m in made])
    np.testing.assert_allclose(done[:, :-1].sum(-1), executed, rtol=1e-5)
    view = views.as_recorded(made[0], ())
    np.testing.assert_array_equal(view.actions, made[0].executed)
    np.testing.assert_array_equal(view.wanted, made[0].actions)


def test_the_expert_answers_where_another_policy_leads(tmp_path, capsys):
    flags = [*DUMMY, "--policy", "random", "--noise", "0.1", "--episodes", "2", "--out"]
    main([*flags, str(tmp_path / "own.hdf5")])
    main([*flags, str(tmp_path / "told.hdf5"), "--label", "expert"])
    for own, told in zip(*(load(tmp_path / f"{n}.hdf5") for n in ("own", "told")), strict=True):
        np.testing.assert_array_equal(told.actions, np.ones_like(told.actions))
        np.testing.assert_array_equal(told.executed, own.executed)
        for name, values in own.values.items():
            np.testing.assert_array_equal(told.values[name], values)
    said = message(capsys, *flags, str(tmp_path / "told.hdf5"))
    assert "env_args['label'] = 'expert', not None" in said
    out = ("--out", str(tmp_path / "x.hdf5"), "--label", "expert")
    assert "--label expert is what --policy expert records" in message(capsys, *DUMMY, *out)


def test_what_fails_while_it_is_recorded_is_missing_in_the_file_and_the_expert_acts_as_before(
    tmp_path, capsys
):
    calm, failing = tmp_path / "calm.hdf5", tmp_path / "failing.hdf5"
    main([*DUMMY, "--episodes", "2", "--out", str(calm)])
    flags = [*DUMMY, "--episodes", "2", "--missing", "high", "--out", str(failing)]
    main(flags)
    missing = []
    for whole, part in zip(load(calm), load(failing), strict=True):
        np.testing.assert_array_equal(part.actions, whole.actions)
        np.testing.assert_array_equal(part.rewards, whole.rewards)
        for name, value in whole.values.items():
            there = part.availability(name)
            np.testing.assert_array_equal(part.values[name][there], value[there])
            assert not part.values[name][~there].any()
            missing.append(1 - there.mean())
    assert len(set(missing)) > 1 and 0.4 < np.mean(missing) < 1
    with Demonstrations(failing) as demonstrations:
        assert demonstrations.attributes["env_args"]["missing"]["name"] == "high"
        assert "missing" not in demonstrations.attributes["env_args"]["env_kwargs"]
    said = message(capsys, *[*flags[:-4], "--episodes", "3"], "--out", str(failing))
    assert "env_args['missing'] = {'name': 'high'" in said
    said = message(capsys, *DUMMY, "--missing", "hihg", "--out", str(calm))
    assert "'hihg'" in said and "high" in said


def test_a_sensor_of_a_lower_rate_is_there_at_its_own_steps(tmp_path):
    """A script that delivers one value of five, which the file keeps as that rate."""
    path, script = tmp_path / "slow.hdf5", tmp_path / "slow.yaml"
    rule = "{rule: flicker, modality: depth, period: 5, duty: 0.2}"
    script.write_text(f"name: slow\nrules:\n  - {rule}\n")
    main([*DUMMY, "--episodes", "1", "--missing", str(script), "--out", str(path)])
    (demo,) = load(path)
    assert np.flatnonzero(demo.availability("depth")).tolist() == [0, 5, 10, 15]
    (view,) = views.make_views([demo], sensors(path), load_script("none"), 1, 0)
    assert np.flatnonzero(view.episode()["available/depth"]).tolist() == [0, 5, 10, 15]
    assert demo.availability("image").all()


def test_a_draw_of_the_noise_lasts_its_steps_and_the_file_says_so(tmp_path):
    path = tmp_path / "dummy.hdf5"
    flags = [*DUMMY, "--noise", "0.5", "--noise-steps", "4", "--env.length", "30"]
    main([*flags, "--episodes", "2", "--out", str(path)])
    for demo in load(path):
        held = demo.executed[:28].reshape(7, 4, 2)
        assert (held == held[:, :1]).all() and len(np.unique(held[:, 0, 0])) > 2
    with Demonstrations(path) as demonstrations:
        assert demonstrations.attributes["env_args"]["noise_steps"] == 4
    whole = tmp_path / "calm.hdf5"
    main([*DUMMY, "--episodes", "1", "--out", str(whole)])
    assert load(whole)[0].executed is None
    with Demonstrations(whole) as demonstrations:
        assert "noise_steps" not in demonstrations.attributes["env_args"]


def test_each_action_can_have_noise_of_its_own(tmp_path, capsys):
    path = tmp_path / "dummy.hdf5"
    flags = [*DUMMY, "--env.length", "30", "--episodes", "1", "--out", str(path), "--noise"]
    assert "--noise has 3 numbers; give one for all actions" in message(capsys, *flags, *"123")
    assert "--noise is 0.5 -0.1; none may be below 0" in message(capsys, *flags, "0.5", "-0.1")
    main([*flags, "0.5", "0"])
    (demo,) = load(path)
    noise = demo.executed - demo.actions
    assert np.unique(noise[:, 0]).size > 5 and not noise[:, 1].any()
    with Demonstrations(path) as demonstrations:
        assert demonstrations.attributes["env_args"]["noise"] == [0.5, 0.0]


def killed_when(condition, *flags: str) -> None:
    """Starts the command, and kills it as soon as the condition holds or it has ended."""
    child = tiny.start("experiments.collect", *flags)
    try:
        while not condition() and child.poll() is None:
            time.sleep(0.005)
    finally:
        child.kill()
        said, _ = child.communicate()
    assert condition(), said


FORMATS = {
    ("--format", "robomimic"): ("out.hdf5", "out.hdf5.parts", "out.hdf5.tmp"),
    ("--format", "lerobot", "--images", "png"): (
        *("out", "out.parts/from_0.hdf5.parts", "out/data/chunk-000"),
    ),
}
"""The output of each format, where its demonstrations are until the end, and what is there when
these become one."""
each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form[1])


@each_format
def test_a_killed_command_goes_on_as_if_nothing_had_happened(form, tmp_path):
    out, parts, _ = (tmp_path / name for name in FORMATS[form])
    flags = [*DUMMY, *form, "--policy", "random", "--out", str(out)]
    killed_when((parts / "demo_1.hdf5").exists, *flags, "--episodes", "60")
    done = len(list(parts.glob("demo_*.hdf5")))
    assert 2 <= done < 60 and not out.exists()
    require_gone_on(flags, done + 2, out, parts)


@pytest.mark.slow
@each_format
def test_a_command_that_is_killed_while_it_makes_one_of_the_parts_goes_on(form, tmp_path):
    out, parts, making = (tmp_path / name for name in FORMATS[form])
    flags = [*DUMMY, *form, "--policy", "random", "--out", str(out)]
    killed_when(lambda: making.exists() or out.exists(), *flags, "--episodes", "6")
    require_gone_on(flags, 8, out, parts)


def require_gone_on(flags, episodes: int, out, parts) -> None:
    """The same command goes on to what it makes where it is not killed, numbers without a gap."""
    whole = out.with_name("whole" + out.suffix)
    for path in (out, whole):
        main([*flags, "--episodes", str(episodes), "--out", str(path)])
    with open_data(out) as one, open_data(whole) as other:
        assert one.names == other.names and len(one) == episodes
        numbers = [int(name.rpartition("_")[2]) for name in one.names]
        assert numbers == list(range(episodes))
        assert len({demo.actions.tobytes() for demo in one}) == episodes
        for a, b in zip(one, other, strict=True):
            require_equal(a, b)
    assert not parts.exists()


def test_ctrl_c_keeps_whole_episodes_only(tmp_path, monkeypatch):
    class Stop:
        """Asks to stop in the middle of the second episode."""

        asked = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        @property
        def requested(self):
            self.asked += 1
            return self.asked > 33

    path = tmp_path / "dummy.hdf5"
    monkeypatch.setattr(collect, "Stop", Stop)
    with pytest.raises(SystemExit) as stop:
        main([*DUMMY, "--policy", "random", "--episodes", "3", "--out", str(path)])
    assert stop.value.code == 130 and len(load(path)) == 1


def test_the_simulators_state_is_recorded_where_there_is_one(tmp_path):
    path = tmp_path / "cup.hdf5"
    flags = ("--policy", "random", "--episodes", "1", "--image-size", "8", "--background", "none")
    main(["--task", "cup_catch", *flags, "--action-repeat", "20", "--out", str(path)])
    (demo,) = load(path)
    # Time, four positions and four velocities, before each of the 50 actions.
    assert demo.states.shape == (50, 9)
    np.testing.assert_allclose(demo.states[:, 0], 0.02 * 20 * np.arange(50), atol=1e-9)
    with h5py.File(path) as file:
        assert list(file["data/demo_0/obs"]) == ["rgb", "depth", "touch"]


def test_a_trained_agent_collects(tmp_path, capsys, quick_compile):
    imitated.untrained(tmp_path / "run", step=400)
    path = tmp_path / "dummy.hdf5"
    flags = ["--task", "dummy", "--preset", "debug", "--policy", str(tmp_path / "run")]
    main([*flags, "--episodes", "2", "--out", str(path)])
    made = load(path)
    assert len(made) == 2 and np.abs(made[0].actions).max() <= 1
    with Demonstrations(path) as demonstrations:
        assert demonstrations.attributes["env_args"]["policy"].endswith("run at step 400")
    said = message(capsys, *flags, "--image-size", "24", "--out", str(tmp_path / "other"))
    assert "was trained with sensors" in said and "--image-size" in said
    flags[1] = "toy_x_y"
    assert "was trained on dummy, not toy_x_y" in message(capsys, *flags, "--out", str(path))


def test_what_cannot_be_done_is_refused(tmp_path, capsys):
    path = tmp_path / "dummy.hdf5"
    flags = [*DUMMY, "--out", str(path)]
    assert "unknown flag --steps" in message(capsys, *flags, "--steps", "5")
    assert "--episodes is 0; it must be at least 1" in message(capsys, *flags, "--episodes", "0")
    assert "neither expert nor random" in message(capsys, *flags, "--policy", "no/such")
    assert "unknown task 'dumy'" in message(capsys, "--task", "dumy", "--out", str(path))
    expert = message(capsys, "--task", "toy_x_y", "--out", str(path))
    assert "task 'toy_x_y' has no scripted expert" in expert
    main([*flags, "--episodes", "1"])
    before = path.read_bytes()
    assert "env_args['seed'] = 0, not 1" in message(capsys, *flags, "--seed", "1")
    assert "env_args['noise'] = 0.0, not 0.2" in message(capsys, *flags, "--noise", "0.2")
    assert path.read_bytes() == before


def test_a_lerobot_dataset_holds_what_the_hdf5_file_holds(tmp_path, capsys):
    flags = [*DUMMY, "--policy", "random", "--missing", "high", "--seed", "3"]
    file, folder = tmp_path / "dummy.hdf5", tmp_path / "dummy"
    main([*flags, "--episodes", "3", "--out", str(file)])
    stored = ["--format", "lerobot", "--images", "png", "--fps", "10", "--out", str(folder)]
    for episodes in ("2", "3"):  # goes on
        main([*flags, "--episodes", episodes, *stored])
    assert f"{folder}: 3 demonstrations, return" in capsys.readouterr().out
    with open_data(file) as one, open_data(folder) as other:
        assert one.modalities == other.modalities and other.attributes["rate"] == 10
        assert one.attributes["env_args"] == other.attributes["env_args"]
        missing = 0
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.actions, b.actions)
            np.testing.assert_array_equal(a.rewards, b.rewards)
            np.testing.assert_array_equal(a.dones, b.dones)
            for name in a.values:
                np.testing.assert_array_equal(a.values[name], b.values[name])
                np.testing.assert_array_equal(a.availability(name), b.availability(name))
                missing += int((~a.availability(name)).sum())
            assert b.attributes["instruction"] == "dummy"
            assert b.attributes["success"] == a.attributes["success"]
    assert missing > 0
    assert (folder / "meta/info.json").exists() and not (tmp_path / "dummy.parts").exists()


def test_settings_of_another_format_are_refused(tmp_path, capsys):
    out = ["--out", str(tmp_path / "x")]
    assert "--fps needs --format lerobot" in message(capsys, *DUMMY, "--fps", "10", *out)
    assert "--images needs --format lerobot" in message(capsys, *DUMMY, "--images", "png", *out)
    said = message(capsys, *DUMMY, "--format", "lerobott", *out)
    assert "'lerobott' is not written, only robomimic or lerobot; did you mean 'lerobot'" in said
    flags = ["--format", "lerobot", "--image-size", "15", "--policy", "random"]
    said = message(capsys, "--task", "dummy", *flags, *out)
    assert "even sizes: store images as png" in said
