"""Domain randomisation of the wiping scene: ranges, seeds, and what each part leaves alone."""

import dataclasses

import numpy as np
import pytest

from envs.table_wiping.randomisation import CONTRAST, Randomisation, Randomiser
from envs.table_wiping.scene import ROBOT, WORKSPACE, parts
from envs.table_wiping.task import TableWiping

import mujoco  # isort: skip  (after envs, which chooses the OpenGL backend)

OFF = Randomisation(**{field.name: 0.0 for field in dataclasses.fields(Randomisation)})
# The model's arrays that each part may change; everything else must stay as it is.
CHANGES = {
    "colours": {"geom_rgba", "mat_rgba"},
    "texture": {"tex_data", "geom_matid"},
    "light_brightness": {"light_diffuse", "headlight"},
    "light_tilt": {"light_dir"},
    "camera_shift": {"cam_pos"},
    "camera_turn": {"cam_quat"},
    "camera_zoom": {"cam_fovy"},
    "friction": {"geom_friction"},
    "damping": {"dof_damping"},
    "mass": {"body_mass", "body_inertia"},
}
ARRAYS = sorted(set().union(*CHANGES.values()) - {"headlight"})


@pytest.fixture(scope="module")
def environment():
    made = TableWiping(seed=5, ranges=OFF)
    yield made
    made.close()


@pytest.fixture
def model(environment):
    """The prepared model, put back afterwards."""
    model = environment._model
    before = {name: getattr(model, name).copy() for name in ARRAYS}
    lamp = model.vis.headlight.diffuse.copy(), model.vis.headlight.ambient.copy()
    yield model
    for name, value in before.items():
        getattr(model, name)[:] = value
    model.vis.headlight.diffuse[:], model.vis.headlight.ambient[:] = lamp
    mujoco.mj_setConst(model, mujoco.MjData(model))


def drawn(model, settings, seed=0, randomiser=None):
    """Copies of all that may change, after one draw."""
    randomiser = randomiser or Randomiser(model, settings)
    randomiser(mujoco.MjData(model), np.random.SeedSequence(seed))
    arrays = {name: getattr(model, name).copy() for name in ARRAYS}
    return arrays | {"headlight": model.vis.headlight.diffuse.copy()}


def changed(one, other):
    return {name for name in one if (one[name] != other[name]).any()}


def only(name, value=None):
    return dataclasses.replace(OFF, **{name: value or getattr(Randomisation(), name)})


def test_every_part_is_tested():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Randomisation)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_part_changes_what_it_names_and_nothing_else(model, name):
    nominal = drawn(model, OFF)
    assert changed(nominal, drawn(model, only(name))) == CHANGES[name]


@pytest.mark.parametrize("name", CHANGES)
def test_a_part_switched_off_leaves_the_draws_of_the_others(model, name):
    randomiser = Randomiser(model, OFF)
    everything = drawn(model, None, randomiser=_with(randomiser, Randomisation()))
    without = dataclasses.replace(Randomisation(), **{name: 0.0})
    less = drawn(model, None, randomiser=_with(randomiser, without))
    assert changed(everything, less) <= CHANGES[name]


def _with(randomiser, settings):
    randomiser._settings = settings
    return randomiser


def test_draws_follow_from_the_seed_and_do_not_drift(model):
    randomiser = Randomiser(model, Randomisation())
    first = drawn(model, None, 1, randomiser)
    other = drawn(model, None, 2, randomiser)
    again = drawn(model, None, 1, randomiser)
    assert not changed(first, again)
    # The table's material is that of the pattern in both.
    assert changed(first, other) == set(first) - {"geom_matid"}


def test_draws_fill_their_ranges_and_stay_within(model):
    nominal = drawn(model, OFF)
    randomiser = Randomiser(model, dataclasses.replace(Randomisation(), texture=0, colours=0))
    draws = [drawn(model, None, seed, randomiser) for seed in range(60)]
    cameras = [model.camera(name).id for name in (WORKSPACE, ROBOT)]

    def spread(values, least, most):
        values = np.ravel(values)
        width = most - least
        assert least <= values.min() < least + 0.2 * width
        assert most - 0.2 * width < values.max() <= most

    # Only the two cameras in use, every body of arm and tool, table and tool alike.
    shift = np.stack([draw["cam_pos"] - nominal["cam_pos"] for draw in draws])
    spread(shift[:, cameras], -0.02, 0.02)
    assert not np.delete(shift, cameras, axis=1).any()
    spread([draw["cam_fovy"][cameras] / nominal["cam_fovy"][cameras] for draw in draws], 0.95, 1.05)
    turned = np.abs([(d["cam_quat"] * nominal["cam_quat"]).sum(1)[cameras] for d in draws])
    angle = 2 * np.arccos(np.clip(turned, 0, 1))
    assert 0.03 < angle.max() <= 0.04 * np.sqrt(3) + 1e-6
    heavy = nominal["body_mass"] > 0.02
    mass = np.stack([draw["body_mass"][heavy] / nominal["body_mass"][heavy] for draw in draws])
    moving = model.body_weldid[heavy] > 0
    spread(mass[:, moving], 0.9, 1.1)
    sliding = [draw["geom_friction"][:, 0] / nominal["geom_friction"][:, 0] for draw in draws]
    np.testing.assert_allclose(np.ptp(sliding, axis=1), 0, atol=1e-12)
    spread(sliding, 0.7, 1.3)
    spread([draw["dof_damping"] / nominal["dof_damping"] for draw in draws], 0.7, 1.3)
    spread([draw["headlight"] / nominal["headlight"] for draw in draws], 0.7, 1.3)
    tilt = [draw["light_dir"][:, :2] / -draw["light_dir"][:, 2:] for draw in draws]
    spread(np.array(tilt) + 0.2, -0.5, 0.5)


def test_inertia_goes_with_mass_and_the_compiled_constants_follow(model):
    nominal = drawn(model, OFF)
    heavier = drawn(model, only("mass", 0.5))
    massive = nominal["body_mass"] > 0
    ratio = heavier["body_mass"][massive] / nominal["body_mass"][massive]
    np.testing.assert_allclose(
        heavier["body_inertia"][massive], nominal["body_inertia"][massive] * ratio[:, None]
    )
    assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum())


def test_dirt_always_stands_out_from_the_table(model):
    randomiser = Randomiser(model, only("colours", 1.0))
    where = parts(model)
    for seed in range(40):
        colours = drawn(model, None, seed, randomiser)["geom_rgba"][:, :3]
        dirt = colours[where["dirt"]]
        np.testing.assert_array_equal(dirt, np.broadcast_to(dirt[0], dirt.shape))
        assert np.linalg.norm(dirt[0] - colours[where["table"][0]]) >= CONTRAST - 1e-6


def test_the_pattern_is_grey_and_as_deep_as_it_may_be(model):
    randomiser = Randomiser(model, only("texture", 0.5))
    texture = randomiser.texture
    start, size = model.tex_adr[texture], model.tex_width[texture]
    for seed in range(12):
        data = drawn(model, None, seed, randomiser)["tex_data"]
        faces = data[start : start + 6 * size * size * 3].reshape(6, size, size, 3)
        assert (faces == faces[:1]).all() and (np.ptp(faces, axis=-1) == 0).all()
        assert 127 <= faces.min() < faces.max() <= 255


def test_pictures_change_and_the_dirt_does_not(environment):
    plain = [environment.reset() for _ in range(2)]
    dirt = environment.state().dirt
    varied = TableWiping(seed=5)
    episodes = [varied.reset() for _ in range(2)]
    np.testing.assert_allclose(varied.state().dirt, dirt)
    for name in ("workspace_rgb", "robot_rgb"):
        means = [step.values[name].mean((0, 1)) for step in (*plain, *episodes)]
        assert np.abs(means[0] - means[1]).max() < 30
        assert np.abs(means[2] - means[3]).max() > 10
        assert np.abs(episodes[1].values[name] - plain[1].values[name].astype(float)).mean() > 10
    full = varied.render(64).astype(float)
    assert np.abs(full - episodes[1].values["workspace_rgb"]).mean() < 25
    varied.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mass": -0.1}, "randomisation mass is -0.1; it must be at least 0 and at most 1"),
        ({"friction": 1.5}, "randomisation friction is 1.5"),
        ({"camera_turn": -1.0}, "randomisation camera_turn is -1.0; it must be at least 0$"),
    ],
)
def test_impossible_ranges_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Randomisation(**options)
