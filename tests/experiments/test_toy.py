"""The toy experiment: what is gathered, its numbers and pictures, and the paper's claim."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import toy
from mummi.model.world_model import WorldModel
from tests.support.small import random_parameters

RANDOM = np.random.default_rng(0)


def experts_of(means, stds=0.1):
    """Experts at 40 episodes of 10 steps of a robot anywhere; ``means`` by sensor of positions."""
    position = RANDOM.uniform(-1, 1, (400, 2))
    made = {name: mean(position) for name, mean in means.items()}
    spread = {name: np.full(mean.shape, stds) for name, mean in made.items()}
    return toy.Experts(made, spread, position, np.repeat(np.arange(40), 10))


def same(position):
    return np.c_[position, position[:, :1] * position[:, 1:]]


def test_a_recording_holds_values_beside_the_true_position():
    recording = toy.gather("toy_laser_camera", 3, (0, 0))
    assert recording.position.shape == (3, 101, 2)
    np.testing.assert_allclose(recording.batch["values"]["laser"], recording.position, atol=1e-6)
    assert recording.batch["values"]["camera"].shape == (3, 101, 32, 32, 3)
    assert recording.batch["is_first"].sum(1).tolist() == [1, 1, 1]
    # The action led to the position that it stands beside.
    moved = np.diff(recording.position, axis=1)
    free = np.abs(recording.position[:, 1:]).max(-1) < 0.79
    action = recording.batch["action"][:, 1:]
    np.testing.assert_allclose(moved[free], 0.1 * action[free], atol=1e-5)
    assert np.mean(action[:, 1:] * action[:, :-1]) > 0.7 * np.mean(action**2)


def test_recordings_follow_from_the_seed():
    first, again, other = (toy.gather("toy_x_y", 2, (0, i)).position for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def test_random_actions_cover_the_arena():
    position = toy.gather("toy_x_y", 100, (0, 0)).position.reshape(-1, 2)
    counts, _, _ = np.histogram2d(*position.T, bins=4, range=[[-0.8, 0.8]] * 2)
    assert counts.min() > 0.4 * counts.mean()


def test_the_numbers_of_experts_that_agree_and_of_experts_that_do_not():
    found = toy.numbers(experts_of({"a": same, "b": same}))
    assert all(value > 0.999 for value in found["r2"]["both"].values())
    assert found["overlap"] == 1 and found["calibration"]["z"] == 0
    found = toy.numbers(experts_of({"a": same, "b": lambda position: same(position[:, ::-1]) + 5}))
    assert found["r2"]["both"]["b->b"] > 0.999 and found["r2"]["both"]["a->b"] < 0
    assert found["overlap"] == 0 and found["calibration"]["z"] > 10
    assert found["precision_share"] == pytest.approx({"a": 0.5, "b": 0.5})


def test_the_numbers_by_axis_tell_what_each_sensor_knows():
    halves = {"x": lambda p: same(p * [1, 0]), "y": lambda p: same(p * [0, 1])}
    found = toy.numbers(experts_of(halves))
    assert found["r2"]["x"]["x->x"] > 0.999 and abs(found["r2"]["y"]["x->x"]) < 0.1


def test_the_principal_plane_keeps_the_distances_of_planar_clouds():
    plane = RANDOM.normal(size=(2, 30, 2))
    basis, _ = np.linalg.qr(RANDOM.normal(size=(6, 2)))
    found = toy.principal_plane(plane @ basis.T + 3)
    expected = np.linalg.norm(plane[0, :, None] - plane[1], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(found[0, :, None] - found[1], axis=-1), expected)
    spread = found.reshape(-1, 2).var(0)
    assert spread[0] > spread[1]


def test_colours_blend_those_of_the_corners():
    corners = toy.colours(np.array([[-1, -1], [-1, 1], [1, -1], [1, 1.0]]))
    distances = np.abs(corners[:, None] - corners).max(-1)
    assert distances[~np.eye(4, dtype=bool)].min() > 0.3
    np.testing.assert_allclose(toy.colours(np.zeros(2)), corners.mean(0))


def test_perceive_says_what_each_expert_says_alone():
    recording = toy.gather("toy_x_y", 2, (0, 0))
    model = WorldModel(toy.model_config(0.0), recording.modalities, 2, "mummi")
    params = random_parameters(model.init)
    experts = toy.perceive(model, params, recording)
    assert experts.episode.tolist() == [0] * 101 + [1] * 101
    changed = recording.batch | {
        "values": {**recording.batch["values"], "y": recording.batch["values"]["y"] + 1}
    }
    other = toy.perceive(model, params, recording._replace(batch=changed))
    np.testing.assert_allclose(experts.means["x"], other.means["x"], atol=1e-6)
    assert (experts.means["y"] != other.means["y"]).mean() > 0.9


def test_the_command_trains_draws_and_writes_numbers(tmp_path, capsys, quick_compile):
    flags = ["--scenes", "x_y", "--updates", "2", "--episodes", "4", "--drops", "0.5"]
    flags += ["--methods", "mummi"]
    toy.main([*flags, "--out", str(tmp_path / "toy")])
    shown = capsys.readouterr().out
    assert "mummi" in shown and "x->y" in shown
    picture = np.asarray(Image.open(tmp_path / "toy" / "x_y.png").convert("RGB")).astype(int)
    # The colours of the left and right corners of the arena, as points and as legend.
    for colour in (toy.colours(np.array([-0.8, -0.8])), toy.colours(np.array([0.8, 0.8]))):
        assert (np.abs(picture - 255 * colour).max(-1) < 25).sum() > 50
    record = json.loads((tmp_path / "toy" / "numbers.json").read_text())
    assert record["arguments"]["updates"] == 2
    ((label, found),) = record["scenes"]["x_y"].items()
    assert label == "mummi, drop 0.5" and found["training"]["kl"] > 0
    assert set(found["r2"]) == {"both", "x", "y"}


def test_a_training_that_diverges_is_said():
    toy.check_finite({"loss/kl": 1.0}, "here")
    with pytest.raises(FloatingPointError, match=r"loss/nce is not finite at the end of here"):
        toy.check_finite({"loss/kl": 1.0, "loss/nce": float("nan")}, "here")


@pytest.mark.parametrize("scene", ["front", "walker"])
def test_an_unknown_scene_is_said(scene, capsys):
    with pytest.raises(SystemExit) as end:
        toy.main(["--scenes", scene])
    assert end.value.code == 2
    assert "laser_camera" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("scene", "drop", "overlap"), [("laser_camera", 0.0, 0.1), ("front_rear", 0.5, 0.2)]
)
def test_mummi_shares_a_latent_space_that_reconstruction_does_not(scene, drop, overlap, tmp_path):
    arguments = toy.Arguments(scenes=(scene,), drops=(drop,), seed=1, out=str(tmp_path))
    reconstruction, mummi = toy.run(arguments)[scene].values()

    def across(found):
        pairs = found["r2"]["both"].items()
        return [r2 for pair, r2 in pairs if len(set(pair.split("->"))) == 2]

    assert min(across(mummi)) > 0.9
    assert np.mean(across(mummi)) > np.mean(across(reconstruction)) + 0.2
    assert mummi["overlap"] > reconstruction["overlap"] + overlap
