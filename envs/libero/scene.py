"""What LIBERO's scenes look like: two cameras, drawn cheaply."""

from envs.rendering.renderer import Renderer  # isort: skip  (before mujoco: it chooses the backend)

import mujoco

from envs.rendering.simplify import meshes, textures

AGENTVIEW, WRIST = "agentview", "robot0_eye_in_hand"
"""Names of the two cameras in LIBERO's models."""
CELLS = {"robot0": 0.02, "mount0": 0.02, "gripper0": 0.003, "basket": 0.008, "": 0.004}
"""Prefix of a body's name -> edge, metres, of the cells in which corners of its meshes merge."""

# robosuite's groups of geoms and sites: 0 for collisions, 1 for pictures.
_VISIBLE = 1


def simplify(model: mujoco.MjModel) -> None:
    """Draws the meshes that touch nothing with fewer faces, and small textures; physics stays.

    240,000 to 400,000 faces become 40,000 to 75,000 in the first tasks of the suites, and a
    software renderer's time is mostly theirs. A pixel of agentview covers 6 mm at 128 pixels. A
    bowl's texture has 4,096 pixels a side. To be done before the renderer is made.
    """
    textures(model, 512)
    touching = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    drawn = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    meshes(model, CELLS, leave=set(model.geom_dataid[drawn & touching].tolist()))


class LiberoRenderer(Renderer):
    """Draws a scene from either camera.

    Args:
        model: the model, ``simplify``-ed for speed.
        size: height and width of the pictures, pixels.
    """

    def __init__(self, model: mujoco.MjModel, size: int):
        super().__init__(model, AGENTVIEW, size)
        self._option.geomgroup[:] = 0
        self._option.geomgroup[_VISIBLE] = 1
        # The glow of a burner that is on is a site.
        self._option.sitegroup[:] = 0
        self._option.sitegroup[0] = 1
