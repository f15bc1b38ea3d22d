"""Meshes of fewer faces and textures of fewer pixels: like the original, and physics the same."""

import numpy as np
import pytest

from envs.rendering.renderer import Renderer  # isort: skip  (it chooses the OpenGL backend)

import mujoco

from envs.rendering.simplify import meshes, textures

SCENE = """
<mujoco>
  <asset>
    <mesh name="ball" builtin="sphere" params="4" scale=".2 .2 .2"/>
    <mesh name="other" builtin="sphere" params="4" scale=".2 .2 .2"/>
    <texture name="board" type="2d" builtin="checker" rgb1="1 1 1" rgb2=".2 .2 .2" width="96"
             height="48"/>
    <material name="board" texture="board" texrepeat="2 2"/>
  </asset>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="above" pos="0 0 2"/>
    <geom type="plane" size="2 2 .1" material="board"/>
    <body name="red" pos="-.3 0 .25">
      <freejoint/><geom type="mesh" mesh="ball" rgba="1 0 0 1"/>
    </body>
    <body name="blue" pos=".3 0 .25">
      <freejoint/><geom type="mesh" mesh="other" rgba="0 0 1 1"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def model():
    return mujoco.MjModel.from_xml_string(SCENE)


def after(model, steps=60):
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, steps)
    return data


def seen(model, data):
    renderer = Renderer(model, "above", 64)
    picture = renderer.view(data, "above")[0].astype(int)
    renderer.close()
    return picture


def test_few_faces_look_and_touch_like_many(model):
    faces, data = model.mesh_facenum.copy(), after(model)
    before = seen(model, data)
    meshes(model, {"red": 0.04})
    assert model.mesh_facenum[0] < faces[0] / 2 and model.mesh_facenum[1] == faces[1]
    again = after(model)
    np.testing.assert_array_equal(again.qpos, data.qpos)
    assert data.ncon == again.ncon == 2
    off = np.abs(seen(model, again) - before)
    assert 0 < off.mean() < 1


def test_meshes_that_are_to_be_left_and_cells_of_no_size_change_nothing(model):
    faces = model.mesh_face.copy()
    meshes(model, {"red": 0.0, "": 0.04}, leave={1})
    np.testing.assert_array_equal(model.mesh_face, faces)


def test_a_texture_is_averaged(model):
    start, pixels = model.tex_adr[0], model.tex_width[0] * model.tex_height[0] * 3
    whole = model.tex_data[start : start + pixels].reshape(48, 96, 3).astype(float)
    textures(model, 32)
    assert (model.tex_width[0], model.tex_height[0]) == (32, 16)
    small = model.tex_data[start : start + 32 * 16 * 3].reshape(16, 32, 3)
    for row, column in ((0, 0), (7, 15), (15, 31)):
        block = whole[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        np.testing.assert_allclose(small[row, column], block.mean((0, 1)), atol=0.51)
    before = model.tex_data.copy()
    textures(model, 20)
    np.testing.assert_array_equal(model.tex_data, before)
