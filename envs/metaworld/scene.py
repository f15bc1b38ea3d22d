"""What MetaWorld's scenes look like: two cameras, drawn cheaply."""

import mujoco
import numpy as np

from envs.rendering.simplify import meshes, textures

CORNER, WRIST = "corner4", "gripperPOV"
"""Names of the two cameras in MetaWorld's models."""
DEPTH_RANGE = {CORNER: (0.5, 1.5), WRIST: (0.0, 0.5)}
"""Metres along the camera's axis that depth 0 and depth 1 stand for."""
CELLS = {"right_hand": 0.01, "right_l6": 0.01, "right_": 0.02, "head": 0.02, "pedestal": 0.02}
"""Prefix of a body's name -> edge, metres, of the cells in which corners of its meshes merge."""


def prepare(model: mujoco.MjModel) -> None:
    """Makes a model cheap to draw, and turns the camera in the corner upright; once a model.

    67,000 faces become about 8,000. MetaWorld's camera stands on its head.
    """
    meshes(model, CELLS)
    textures(model, 128)
    upright = np.empty(4)
    mujoco.mju_mulQuat(upright, model.camera(CORNER).quat, np.array((0.0, 0.0, 0.0, 1.0)))
    model.camera(CORNER).quat[:] = upright
