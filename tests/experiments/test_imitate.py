"""Imitation from end to end: world model, head, evaluation; what is resumed and refused."""

import json
import re
import shutil
from dataclasses import replace

import h5py
import jax
import numpy as np
import pytest

import mummi
from envs.processes.parallel import Batch
from experiments import collect, imitate, release, tables, train
from experiments.command_line import parse_config
from experiments.evaluation import ablation
from experiments.evaluation.actors import AgentActor
from experiments.evaluation.measures import Measures
from mummi.agent import Agent
from mummi.imitation import metrics, record
from mummi.imitation.chunks.baselines import BASELINES
from mummi.imitation.demonstrations import Demonstrations, DemonstrationWriter, Reading
from mummi.imitation.heads.head import HEADS
from mummi.imitation.pilot import load_pilot
from mummi.modality import Modality
from mummi.runs import devices
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import read_metrics
from mummi.runs.record import load as load_run
from mummi.training import offline
from tests.support import imitated, tiny

pytestmark = pytest.mark.usefixtures("quick_compile")

CHUNKS = ("mse", "imle", "mirror", "diffusion", "flow", "beso")
"""Heads that differ in the objective of one network."""
NUMBERS = ("vector", "embedding")
ROWS = ("none", "without-image", "without-depth", "without-vector", "without-embedding")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return imitated.write(tmp_path_factory.mktemp("data") / "demonstrations.hdf5")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of head bc."""
    return imitated.run(tmp_path_factory.mktemp("runs") / "bc", data, "bc")


def written(logdir):
    """When each file that a finished stage leaves was written."""
    paths = [logdir / "head.npz", *(logdir / "eval").iterdir(), *(logdir / "checkpoints").iterdir()]
    return {path.name: path.stat().st_mtime_ns for path in paths}


def score(logdir, name="none") -> dict:
    return json.loads((logdir / "eval" / f"{name}.json").read_text())


def test_a_run_leaves_what_a_training_run_leaves(trained, data):
    assert {path.stem for path in (trained / "eval").iterdir()} == set(ROWS)
    before, imitation = load_run(trained), record.load(trained)
    assert before.config.task == "dummy" and before.config.missing == "medium"
    assert before.script["name"] == "medium" and before.action_size == 2
    assert (imitation.head, imitation.updates, imitation.settings.units) == ("bc", 8, 8)
    assert imitation.held_out == 0.2
    assert imitation.data == str(data)
    assert Checkpointer(trained / "checkpoints").latest_step() == 8
    rows = read_metrics(trained)
    assert any("loss/kl" in row for row in rows) and any("head/loss" in row for row in rows)
    assert any("evaluation/without image" in row for row in rows)
    assert list(trained.glob("events.out.tfevents.*"))
    content = score(trained)
    assert content["task"] == "dummy" and content["step"] == 8 and content["episodes"] == 1
    measures = content["measures"]
    assert measures["jerk"] > 0 and measures["episodes"] == 1
    assert 0 < measures["latency_ms"] <= 1e3 / measures["hertz"] * 1.001
    assert measures["mode_switch_rate"] is None and measures["diversity"] is None


def test_a_run_tells_losses_errors_and_what_it_saw_of_what_it_did_not(trained):
    split = record.load_split(trained)
    assert (len(split.trained), len(split.held_out)) == (5, 1)
    rows = read_metrics(trained)
    for name in ("held_out/action_error", "held_out/action_image_error", "held_out/loss/kl",
                 "head/held_out/loss", "head/held_out/error", "held_out/error/none"):  # fmt: skip
        assert any(name in row for row in rows), name
    learned = json.loads((trained / record.LEARNED).read_text())
    # One copy of each with sensors failing; sequences of six steps, four in a batch.
    steps = 2 * 5 * imitated.STEPS
    assert {n: learned["world_model"][n] for n in ("windows", "steps")} == {
        "windows": 8 * 4, "steps": steps,
    }  # fmt: skip
    assert learned["world_model"]["passes"] == 8 * 4 * 6 / steps
    assert learned["head"]["passes"] == 160 / steps and learned["head"]["windows"] == 160
    last = [row for row in rows if "head/held_out/error" in row][-1]
    assert learned["head"]["held_out/error"] == last["head/held_out/error"]
    content = json.loads((trained / record.HELD_OUT).read_text())
    assert set(content["rows"]) == {*(row.replace("without-", "without ") for row in ROWS)}
    assert content["task"] == "dummy" and content["held_out"] == list(split.held_out)
    wanted = imitated.demonstration(int(split.held_out[0][5:])).actions
    mean = np.square(wanted - split.mean).mean(0) / np.square(split.std)
    found = content["controls"]["mean action"]["normalised"]
    assert found == pytest.approx(mean.mean(), rel=1e-5)


def test_only_the_world_model_is_trained(trained):
    before = load_run(trained)
    agent = Agent(*before[:3])
    start = devices.run_once(agent.init, before.config.seed)
    end, _ = Checkpointer(trained / "checkpoints").restore(start)
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), start.model, end.model)
    assert all(any(jax.tree.leaves(moved[part])) for part in ("sensor_image", "rssm", "prediction"))
    for part in ("actor", "critic", "actor_optimiser", "critic_optimiser"):
        same = jax.tree.map(np.array_equal, getattr(start, part), getattr(end, part))
        assert all(jax.tree.leaves(same))


def test_the_same_command_repeats_nothing(trained, data):
    before = written(trained)
    imitated.run(trained, data, "bc")
    imitated.run(trained, data, "bc", "--evaluate-missing", "high", "--evaluate-episodes", "0")
    assert written(trained) == before
    imitated.run(trained, data, "bc", "--evaluate-missing", "none", "high")
    after = written(trained)
    assert before.items() < after.items() and set(after) - set(before) == {"high.json"}


def test_a_run_killed_while_its_world_model_trains_goes_on(data, tmp_path, monkeypatch):
    logdir, save, saved = tmp_path / "run", Checkpointer.save, []

    def save_and_die(self, step, state, meta):
        save(self, step, state, meta)
        saved.append(step)
        if len(saved) == 3:
            raise SystemError("killed")

    more = ("--checkpoint-every", "0", "--updates", "4", "--held-out", "0")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save", save_and_die)
        with pytest.raises(SystemError):
            imitated.run(logdir, data, "replay", *more)
    assert not (logdir / "head.npz").exists()
    updates = []

    class Counted(offline.Averages):
        def add(self, metrics):
            updates.append(metrics)
            super().add(metrics)

    monkeypatch.setattr(offline, "Averages", Counted)
    imitated.run(logdir, data, "replay", *more)
    assert saved == [1, 2, 3] and len(updates) == 4 - 3
    assert Checkpointer(logdir / "checkpoints").latest_step() == 4
    assert (logdir / "head.npz").exists() and (logdir / "eval" / "none.json").exists()


@pytest.mark.parametrize(
    ("preset", "weight", "shift"),
    [("paper", 0, 0), ("modern", 10, 1 / 16), ("laptop", 10, 1 / 16)],
)
def test_demonstrations_change_the_presets_but_not_the_papers(preset, weight, shift):
    flags = ["--task", "dummy", "--preset", preset, "--data", "demonstrations.hdf5"]
    model = imitate.parse(flags)[0].model
    assert (model.action_weight, model.shift) == (weight, shift)
    model = parse_config(flags[:4]).model
    assert (model.action_weight, model.shift) == (0, 0)
    other = imitate.parse([*flags, "--model.action-weight", "3"])[0]
    assert other.model.action_weight == 3


def test_the_preset_sizes_the_head_and_flags_change_it(trained):
    def settings(*arguments):
        return imitate.parse(["--data", "file", "--head", "mirror", *arguments])[1].settings

    assert settings() == HEADS["mirror"].default("paper")
    assert (settings().width, settings().updates) == (512, 20_000)
    laptop = settings("--preset", "laptop")
    assert (laptop.objective, laptop.backbone, laptop.width) == ("mirror", "performer", 128)
    assert laptop.samples == HEADS["imle"].default("laptop").samples
    kinds = [HEADS["diffusion"].default(preset).prediction for preset in ("paper", "laptop")]
    assert kinds == ["noise", "sample"]
    assert settings("--preset=laptop", "--head.width", "64") == replace(laptop, width=64)
    # A world model brings its preset.
    assert settings("--world_model", str(trained)) == HEADS["mirror"].default("debug")
    with pytest.raises(ValueError, match=r"preset 'labtop'.*mean 'laptop'"):
        settings("--preset", "labtop")


@pytest.mark.parametrize(
    ("head", "flags", "said"),
    [
        ("mirror", ("--head.radius", "1"), "unknown flag --head.radius"),
        ("imle", ("--head.quantile=.3",), "unknown flag --head.quantile"),
        ("mse", ("--head.candidates", "2"), "unknown flag --head.candidates"),
        ("mirror", ("--head.unet-widths", "8"), "unet_widths is read where backbone is unet, and"),
        ("beso", ("--head.features", "8"), "features is read where backbone is performer, and"),
        ("imle", ("--head.image_width=8",), "image_width is read where context is sensors"),
        ("knn", ("--head.follow-steps", "9"), "follow_steps is read where mode is follow"),
    ],
)
def test_what_a_head_does_not_read_is_refused_by_name(head, flags, said):
    with pytest.raises(ValueError, match=said):
        imitate.parse(["--data", "file", "--head", head, *flags])


def test_what_another_setting_makes_a_head_read_is_taken():
    flags = ["--data", "file", "--head", "mirror", "--head.backbone", "unet"]
    settings = imitate.parse([*flags, "--head.unet-widths", "8", "16"])[1].settings
    assert settings.unet_widths == (8, 16)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        *("replay", "retrieval", "mirror"),
        # The test of LIBERO's demonstrations learns by knn; the others are objectives of the same
        # head, which its own tests train.
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("knn", *CHUNKS[:2], *CHUNKS[3:])),
    ],
)
def test_every_head_learns_and_acts_on_the_same_world_model(name, trained, data, tmp_path):
    logdir = imitated.run(tmp_path / name, data, name, "--world-model", str(trained))
    for row in ROWS[:1] if HEADS[name].blind else ROWS:
        content = score(logdir, row)
        assert content["lengths"] == [20] and np.isfinite(content["mean"])
        assert content["step"] == 8
    pilot, step = load_pilot(logdir)
    assert step == 8
    before = load_run(trained)
    shapes = jax.eval_shape(Agent(*before[:3]).init, 0)
    one, other = (Checkpointer(d / "checkpoints").restore(shapes)[0] for d in (trained, logdir))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, one.model, other.model)))
    # What acts is the mean along training, and all heads read the latents that the first encoded.
    averaged = jax.tree.map(np.array_equal, pilot.world_model[1], one.average.model)
    assert all(jax.tree.leaves(averaged))
    assert len(list((trained / "latents").iterdir())) == 2 and not (logdir / "latents").exists()
    assert record.load_split(logdir).held_out == record.load_split(trained).held_out
    errors = json.loads((logdir / record.HELD_OUT).read_text())["rows"]
    assert len(errors) == (1 if HEADS[name].blind else len(ROWS))
    assert all(np.isfinite(row["normalised"]) for row in errors.values())
    # What is loaded acts as what was evaluated, in any environment's hands.
    values = {n: v[:1] for n, v in imitated.demonstration(0).values.items()}
    available = {n: np.ones(1, bool) for n in values}
    first, key = np.array([True]), jax.random.PRNGKey(0)
    action, _ = pilot.act(None, pilot.start(1), values, available, first, key)
    policy = mummi.load_policy(logdir)
    assert np.array_equal(policy({n: v[0] for n, v in values.items()}), action[0])
    assert action.dtype == np.float32 and (np.abs(action) <= 1).all()
    # Another robot's begins where that one began.
    other = policy.another()
    policy({n: v[0] for n, v in values.items()})
    assert np.array_equal(other({n: v[0] for n, v in values.items()}), action[0])
    assert other.step == 8


def test_every_head_has_a_test():
    # The last are tested in test_imitate_encoders.py.
    assert set(HEADS) == {"bc", "knn", "replay", "retrieval", *CHUNKS, *BASELINES}


def test_measures_are_those_of_the_executed_actions():
    def batch(first, last):
        flags = [np.array([x]) for x in (first, last, False, False)]
        return Batch({}, {}, np.zeros(1), *flags, info=[{}])

    random = np.random.default_rng(0)
    paths = random.normal(size=(2, 6, 1, 2))
    played = iter(paths.reshape(-1, 1, 2))
    measures = Measures()
    act = measures.timed(lambda batch, numbers: next(played))
    for number in range(len(paths)):
        for step in range(6):
            act(batch(step == 0, False), [number])
    found = measures.to_dict()
    assert found["jerk"] == pytest.approx(np.mean([metrics.jerk(p[:, 0]) for p in paths]))
    assert found["episodes"] == 2
    assert found["hertz"] == pytest.approx(1e3 / found["latency_ms"])
    assert found["latency_p99_ms"] >= found["latency_ms"]
    assert found["mode_switch_rate"] is None


def test_pairs_of_sensors_are_removed_and_drawn(trained, data, tmp_path):
    logdir = shutil.copytree(trained, tmp_path / "run")
    imitated.run(logdir, data, "bc", "--ablation", "modality-pairs")
    content = json.loads((logdir / f"{ablation.NAME}.json").read_text())
    mean, sensors = np.array(content["mean"]), content["sensors"]
    assert sensors == ["image", "depth", "vector", "embedding"]
    np.testing.assert_array_equal(mean, mean.T)
    np.testing.assert_array_equal(
        np.diag(mean), [score(logdir, f"without-{name}")["mean"] for name in sensors]
    )
    assert mean[0, 2] == score(logdir, "without-image-vector")["mean"]
    assert content["none"] == score(logdir)["mean"]
    assert (logdir / f"{ablation.NAME}.png").stat().st_size > 1000


def test_the_table_of_heads(trained, data, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(trained, folder / "bc")
    imitated.run(folder / "bc", data, "bc", "--evaluate-missing", "high")
    imitated.run(
        folder / "replay", data, "replay", "--world-model", str(trained), "--random", "--expert"
    )
    # What reads no sensor misses none.
    rows = {path.stem for path in (folder / "replay" / "eval").glob("*.json")}
    assert rows == {"none", "random-policy", "scripted-expert"}
    imitated.untrained(folder / "trained")
    text = tables.write(tables.Arguments((str(folder),), str(tmp_path / "out"), "heads"))
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    names = [row[1] for row in rows]
    assert names[:6] == ["head", "---", "bc", "replay", "random policy", "expert"]
    assert rows[0][2:5] == ["none", "high", "without depth"]
    assert rows[2][2] == f"{score(trained)['mean']:.1f} ± 0.0"
    assert rows[5][2].startswith("20.0") and rows[5][3] == "–"
    assert f"{score(trained)['measures']['jerk']:.3f}" in text
    learning = text.split("## Action heads: how they learned")[1].split("\n## ")[0]
    header, _, bc, replay = (
        row[2:-2].split(" | ") for row in learning.splitlines() if row[:1] == "|"
    )
    assert header[2:] == [
        "return", "windows", "passes", "held-out error", "mean action", "last action",
    ]  # fmt: skip
    error = json.loads((trained / record.HELD_OUT).read_text())["rows"]["none"]["normalised"]
    assert bc[3:6] == ["160", f"{160 / 120:.1f}", f"{error:.3f}"]
    assert replay[3:5] == ["–", "–"] and float(replay[5]) > 0 and replay[6:] == bc[6:]
    csv = (tmp_path / "out.csv").read_text()
    assert f"dummy,none,bc,{score(trained)['mean']}" in csv
    with pytest.raises(ValueError, match="1 runs is evaluated"):
        tables.write(tables.Arguments((str(folder),), str(tmp_path / "out")))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--head", "bca"), "unknown head 'bca'.*did you mean 'bc'"),
        (("--head.unit", "3"), "unknown flag --head.unit"),
        (("--steps", "3"), "unknown flag --steps"),
        (("--updates", "0"), "--updates 0"),
        (("--head.units", "9"), "holds a run with settings.units = 8.*asks for 9"),
        (("--updates", "9"), "holds a run with updates = 8"),
        (("--model.deter", "9"), "holds a run with model.deter"),
        (("--obs", "imag", "--logdir", "{new}"), "--obs names 'imag', which task 'dummy' has not"),
        (("--rename", "imag=rgb", "--logdir", "{new}"), "--rename names 'imag', which is no sens"),
        (("--rename", "image", "--logdir", "{new}"), "--rename 'image' must be FILE=TASK"),
        (("--filter-key", "train", "--logdir", "{new}"), "no filter key 'train'; it has none"),
        (("--failed", "drop", "--logdir", "{new}"), "the attribute 'success', .* and none does"),
        (("--depth", "metres", "--logdir", "{new}"), "depth 'depth' is in metres.*--depth unit"),
        (("--data", "nowhere.hdf5", "--logdir", "{new}"), "there is no file 'nowhere.hdf5'"),
        (("--action-repeat", "2", "--logdir", "{new}"), "action repeat 1.*has 2"),
        (("--image-size", "16", "--logdir", "{new}"), r"modality 'image'.*\(8, 8, 3\).*\(16, 16"),
        (("--task", "toy_x_y", "--logdir", "{new}"), "unknown modality"),
        (("--world-model", "{run}", "--model.deter", "9", "--logdir", "{new}"), "model.deter = 16"),
        (
            ("--world-model", "{run}", "--updates", "8", "--logdir", "{new}"),
            "leave one of them out",
        ),
    ],
)
def test_what_does_not_fit_is_said(trained, data, tmp_path, capsys, more, said):
    more = [word.format(new=tmp_path / "new", run=trained) for word in more]
    with pytest.raises(SystemExit):
        imitate.main(imitated.flags(trained, data, "bc", *more))
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_data_of_another_action_size_is_said(data, trained, tmp_path, capsys):
    sensors = load_run(trained).modalities
    path = tmp_path / "other.hdf5"
    actions = np.zeros((imitated.STEPS, 3), np.float32)
    with DemonstrationWriter(path, sensors, 3, {}) as writer:
        for number in range(2):
            writer.append(imitated.demonstration(number)._replace(actions=actions))
    with pytest.raises(SystemExit):
        imitate.main(imitated.flags(tmp_path / "new", path, "bc", "--held-out", "0"))
    assert "action size 3" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_actions_in_units_of_their_own_come_back_when_acting(tmp_path, capsys):
    """A sensor that the task calls otherwise, fewer sensors than it has, actions to 7.5."""
    path = tmp_path / "foreign.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(3):
            made = imitated.demonstration(number)
            file[f"data/demo_{number}/obs/state"] = made.values["vector"]
            file[f"data/demo_{number}/obs/embedding"] = made.values["embedding"]
            file[f"data/demo_{number}/obs/embedding"].attrs["kind"] = "embedding"
            file[f"data/demo_{number}/actions"] = made.actions * [7.5, 1]
            file[f"data/demo_{number}/rewards"] = made.rewards
    names = ("--rename", "state=vector", "--obs", "vector", "embedding")
    logdir = imitated.run(tmp_path / "run", path, "bc", *names, "--held-out", "0")
    assert not (logdir / record.HELD_OUT).exists()
    assert "to [-1, 1], and back when acting; task dummy" in capsys.readouterr().out
    run = load_run(logdir)
    assert [m.name for m in run.modalities] == ["vector", "embedding"]
    assert record.load(logdir).reading == Reading(("vector", "embedding"), ("state=vector",))
    assert {p.stem for p in (logdir / "eval").iterdir()} == {
        *("none", "without-vector", "without-embedding")
    }
    policy, pilot = mummi.load_policy(logdir), load_pilot(logdir)[0]
    values = {n: v[0] for n, v in imitated.demonstration(0).values.items() if n in NUMBERS}
    action = policy(values)
    batch = {n: v[None] for n, v in values.items()}
    inputs = (batch, {n: np.ones(1, bool) for n in batch}, np.array([True]), jax.random.PRNGKey(0))
    undone, carry = pilot.act(None, pilot.start(1), *inputs)
    np.testing.assert_array_equal(action, undone[0])
    # What is remembered is what the world model learned; what is done is in the data's units.
    low, high = (np.array(x) for x in (pilot.scaling.low, pilot.scaling.high))
    np.testing.assert_allclose(undone, low + (carry.held.actions + 1) / 2 * (high - low), rtol=1e-5)
    assert np.abs(carry.held.actions).max() <= 1 and np.ptp([low[0], high[0]]) > 7
    # The same command goes on, another way of reading is refused.
    names = (*names, "--held-out", "0")
    imitated.run(logdir, path, "bc", *names)
    with pytest.raises(ValueError, match=r"holds a run with reading\.failed = None"):
        imitated.run(logdir, path, "bc", *names, "--failed", "keep")


def test_a_gripper_is_found_learned_and_decided(trained, tmp_path, capsys):
    """The dummy's second action commands it here: 1 to close, 0 to open."""
    path, sensors = tmp_path / "gripper.hdf5", load_run(trained).modalities
    closed = (np.arange(imitated.STEPS) >= 6).astype(np.float32)
    with DemonstrationWriter(path, sensors, 2, {}) as writer:
        for number in range(4):
            made = imitated.demonstration(number)
            actions = np.stack([made.actions[:, 0], closed], 1)
            writer.append(made._replace(actions=actions))
    flags = ("--world-model", str(trained), "--head.likelihood", "mixture", "--head.modes", "2")
    flags += ("--head.change-share", "0.5", "--hysteresis", "0.3")
    logdir = imitated.run(tmp_path / "run", path, "bc", *flags)
    assert "action 1 is two-valued, 0 or 1: what a head gives" in capsys.readouterr().out
    assert record.load_split(logdir).two_valued == {1: (0.0, 1.0)}
    pilot, policy = load_pilot(logdir)[0], mummi.load_policy(logdir)
    assert (pilot.decisions.levels, pilot.decisions.hysteresis) == ({1: (0.0, 1.0)}, 0.3)
    values, raw = imitated.demonstration(0).values, []
    for step in range(imitated.STEPS):
        raw.append(policy({name: value[step] for name, value in values.items()}))
    assert set(np.array(raw)[:, 1]) <= {0, 1} and len(set(np.array(raw)[:, 0])) > 2
    # On what was held out, errors of the gripper are counts of wrong decisions.
    error = json.loads((logdir / record.HELD_OUT).read_text())["rows"]["none"]["by_dimension"][1]
    assert error * imitated.STEPS == pytest.approx(round(error * imitated.STEPS), abs=1e-4)
    # The same command goes on; with none two-valued it is another run.
    assert imitated.run(logdir, path, "bc", *flags) == logdir
    with pytest.raises(ValueError, match=r"two_valued = None, and this command asks for \(\)"):
        imitated.run(logdir, path, "bc", *flags, "--two-valued")


def test_training_keeps_out_of_an_imitation_run(trained, tmp_path):
    with pytest.raises(ValueError, match=r"holds a run of experiments\.imitate"):
        train.train(tiny.config(trained))
    config = imitated.untrained(tmp_path / "trained")
    with pytest.raises(ValueError, match=r"holds a run of experiments\.train"):
        imitate.check_folder(config, None)
    other = (Modality("rgb", "image", (8, 8, 3)),)
    with pytest.raises(ValueError, match="has sensors"):
        imitate.check_source(str(tmp_path / "trained"), (other, 2))


def test_a_pilot_acts_for_several_robots(trained):
    pilot, _ = load_pilot(trained)
    recorded = imitated.demonstration(0)
    act = AgentActor(pilot, None, 2, 0)
    for t in range(2):
        values = {n: np.stack([v[t], v[t]]) for n, v in recorded.values.items()}
        available = {n: np.ones(2, bool) for n in values}
        flags = (np.array([t == 0, True]), *np.zeros((3, 2), bool))
        actions = act(Batch(values, available, np.zeros(2), *flags, info=[{}, {}]), [0, 0])
        # The second robot forgets its past at every step.
        assert np.array_equal(*actions) == (t == 0)


def test_a_released_head_acts_as_the_run(trained, tmp_path):
    told = {"command": "imitate it", "commit": "abc", "limits": "Toy."}
    out = release.release(release.Arguments(str(trained), str(tmp_path / "given"), **told))
    values = {n: v[0] for n, v in imitated.demonstration(0).values.items()}
    given, original = mummi.load_policy(out), mummi.load_policy(trained)
    np.testing.assert_allclose(given(values), original(values), atol=5e-3)
    assert given.step == original.step
    assert str(tmp_path.parent) not in (out / record.FILE).read_text()
    assert not (out / "eval").exists() and not (out / "checkpoints").exists()


def test_a_trained_head_collects(trained, tmp_path):
    path = tmp_path / "collected.hdf5"
    flags = ["--task", "dummy", "--preset", "debug", "--image-size", str(imitated.SIZE)]
    flags += ["--action-repeat", "1", "--policy", str(trained), "--episodes", "1"]
    collect.main([*flags, "--out", str(path)])
    with Demonstrations(path) as demonstrations:
        collected = demonstrations[0]
    policy = mummi.load_policy(trained)
    policy.reset()
    for t, action in enumerate(collected.actions):
        given = policy({name: value[t] for name, value in collected.values.items()})
        np.testing.assert_allclose(given, action, atol=1e-5)
