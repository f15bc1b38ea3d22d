"""The renderer: colour, distance and mask of one pass, against MuJoCo's own renders."""

import subprocess
import sys

import numpy as np
import pytest

from envs.rendering.renderer import Renderer  # isort: skip  (it chooses the OpenGL backend)

import mujoco

SCENE = """
<mujoco>
  <statistic extent="1"/>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="front" pos="0 -2 .5" xyaxes="1 0 0 0 0 1"/>
    <geom name="floor" type="plane" size="5 5 .1" rgba="0 0 1 1"/>
    <body pos="0 0 .5"><freejoint/><geom type="box" size=".2 .2 .2" rgba="1 0 0 1"/></body>
    <body pos=".6 0 .9"><freejoint/><geom type="sphere" size=".1" rgba="0 1 0 1"/></body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def scene():
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def test_distance_is_in_metres_along_the_cameras_axis(scene):
    renderer = Renderer(*scene[:1], "front", 64)
    _, pixels, metres = renderer.body(scene[1])
    distance = dict(zip(pixels.tolist(), metres.tolist(), strict=True))
    assert distance[32 * 64 + 32] == pytest.approx(2 - 0.2, abs=1e-3)


def test_pictures_are_upright_and_unmirrored(scene):
    renderer = Renderer(scene[0], "front", 64)
    rgb, _, _ = renderer.body(scene[1])
    green = np.argwhere(rgb[..., 1] > rgb[..., 0])
    row, column = green.mean(0)
    assert row < 32 < column


def test_mask_is_that_of_a_segmentation_render(scene):
    model, data = scene
    renderer = Renderer(model, "front", 64)
    pixels = renderer.body(data)[1]
    option = mujoco.MjvOption()
    model.geom("floor").group[0] = 5
    with mujoco.Renderer(model, 64, 64) as reference:
        reference.enable_segmentation_rendering()
        reference.update_scene(data, "front", option)
        segmented = reference.render()[..., 0] >= 0
    mask = np.zeros(64 * 64, bool)
    mask[pixels] = True
    # The reference tessellates round shapes at the same quality, set in the shared model.
    np.testing.assert_array_equal(mask.reshape(64, 64), segmented)


def test_backdrop_has_the_floor_and_not_the_bodies(scene):
    backdrop = Renderer(scene[0], "front", 64).backdrop(scene[1])
    assert backdrop[60, 32, 2] > 50
    assert not backdrop[..., :2].max((0, 1)).any()


def test_renderers_in_one_process_do_not_disturb_each_other(scene):
    model, data = scene
    small, large = Renderer(model, "front", 32), Renderer(model, "front", 128)
    before = small.body(data)[0].copy()
    assert large.body(data)[0].shape == (128, 128, 3)
    np.testing.assert_array_equal(small.body(data)[0], before)
    large.close()
    np.testing.assert_array_equal(small.body(data)[0], before)


SECOND = """    <camera name="above" pos="0 0 3"/>
"""


def test_a_view_of_any_camera_is_everything_and_leaves_the_own_camera_alone(scene):
    model = mujoco.MjModel.from_xml_string(SCENE.replace("    <camera", SECOND + "    <camera"))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer, alone = Renderer(model, "front", 32), Renderer(scene[0], "front", 32)
    expected = [part.copy() for part in alone.body(scene[1])]
    rgb, metres = renderer.view(data, "above")
    # The top of the box in the middle, and the floor beside it.
    assert metres[16, 16] == pytest.approx(3 - 0.7, abs=1e-2) and rgb[16, 16, 0] > 100
    assert metres[30, 2] == pytest.approx(3, abs=1e-2) and rgb[30, 2, 2] > 100
    for found, wanted in zip(renderer.body(data), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_another_model_is_drawn_as_by_a_renderer_of_its_own(scene):
    other = mujoco.MjModel.from_xml_string(SCENE.replace("1 0 0 1", "1 1 1 1").replace(".1", ".2"))
    data = mujoco.MjData(other)
    mujoco.mj_forward(other, data)
    renderer = Renderer(scene[0], "front", 32)
    before = renderer.view(*scene[1:], "front")[0]
    renderer.load(other)
    found, expected = (r.view(data, "front") for r in (renderer, Renderer(other, "front", 32)))
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(found[0], before)
    renderer.load(scene[0])
    np.testing.assert_array_equal(renderer.view(scene[1], "front")[0], before)


def test_a_closed_renderer_says_so(scene):
    renderer = Renderer(scene[0], "front", 16)
    renderer.close()
    renderer.close()
    with pytest.raises(RuntimeError, match="closed"):
        renderer.body(scene[1])


def test_unknown_camera_names_the_ones_there_are(scene):
    with pytest.raises(ValueError, match="unknown camera 'back'; this model has front"):
        Renderer(scene[0], "back", 16)


@pytest.mark.parametrize("first", ["import mujoco", "import envs.rendering.renderer"])
def test_leaving_without_closing_prints_nothing(first):
    script = f"""{first}
import mujoco
from envs.rendering.renderer import Renderer
model = mujoco.MjModel.from_xml_string({SCENE!r})
kept = [Renderer(model, "front", 16) for _ in range(2)]
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")
