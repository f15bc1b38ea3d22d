"""What the wiping scene looks like: two cameras, drawn cheaply for agents, fully for people."""

import numpy as np

from envs.rendering.renderer import Renderer  # isort: skip  (before mujoco: it chooses the backend)

import mujoco

WORKSPACE, ROBOT = "agentview", "robot0_eye_in_hand"
"""Names of the two cameras in robosuite's model."""
DEPTH_RANGE = {WORKSPACE: (0.4, 1.4), ROBOT: (0.0, 0.5)}
"""Metres along the camera's axis that depth 0 and depth 1 stand for."""

# Groups of geoms: of collisions only, in both drawings, in the full one, in the cheap one.
_HIDDEN, _BOTH, _FULL, _CHEAP = range(4)
_DIRT_COLOUR = 0.33, 0.24, 0.13
_ARM_COLOUR = 0.9, 0.9, 0.92
_MOUNT_COLOUR = 0.2, 0.2, 0.2


def parts(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """Ids of the geoms of each visible part, [N] int: table, dirt, arm, tool, floor, walls."""
    names = np.array([model.geom(i).name for i in range(model.ngeom)])

    def starting_with(*prefixes):
        return np.flatnonzero([name.startswith(prefixes) for name in names])

    return {
        "table": np.flatnonzero(names == "table_visual"),
        "dirt": starting_with("contact"),
        "arm": starting_with("robot0_link"),
        "tool": np.flatnonzero(names == "gripper0_wiping_surface_vis"),
        "floor": np.flatnonzero(names == "floor"),
        "walls": starting_with("wall_"),
    }


def prepare(model: mujoco.MjModel) -> None:
    """Sorts the geoms into drawings, colours them, and places the cameras; once a model.

    The cheap drawing shows the convex hulls of the arm's collision geometry where the full one
    shows 160,000 faces. robosuite's workspace camera cuts off both sides of the dirt, so it is
    moved back until the table fills the picture. Its camera in the hand sits inside the wiping
    tool and sees a few centimetres of bare table; here it looks from 12 cm outside and above the
    hand at the tool and the table before it.
    """
    for geom in range(model.ngeom):
        name = model.geom(geom).name
        collides = model.geom_group[geom] == 0
        if name == "table_collision" or (collides and name.startswith("gripper0")):
            model.geom_group[geom] = _HIDDEN
        elif collides:
            model.geom_group[geom] = _CHEAP
            model.geom_rgba[geom, :3] = _ARM_COLOUR if "link" in name else _MOUNT_COLOUR
        elif name.startswith("robot0") or name == "mount0_pedestal_vis":
            model.geom_group[geom] = _FULL
        else:
            model.geom_group[geom] = _BOTH
    dirt = parts(model)["dirt"]
    model.mat_texid[model.mat("dirt_mat").id] = -1
    model.geom_rgba[dirt, :3] = _DIRT_COLOUR
    _place(model, WORKSPACE, 45, (0.62, 0, 1.5), at=(0.12, 0, 0.9), up=(0, 0, 1))
    _place(model, ROBOT, 75, (0.12, 0, -0.12), at=(0.05, 0, 0.03), up=(1, 0, 0))


def _place(model, camera, fovy, position, *, at, up):
    """Puts a camera at a point of its body's frame, looking at another, ``up`` being upwards."""
    backward = np.subtract(position, at) / np.linalg.norm(np.subtract(position, at))
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    axes = np.column_stack((right, np.cross(backward, right), backward))
    chosen = model.camera(camera)
    mujoco.mju_mat2Quat(chosen.quat, axes.ravel())
    chosen.pos[:] = position
    chosen.fovy[:] = fovy


class SceneRenderer(Renderer):
    """Draws everything from either camera, cheaply or fully; the model must be prepared.

    Args:
        model: the prepared model. Its ``vis`` settings are changed, its physics is not.
        size: height and width of the pictures, pixels.
        full: draw the arm's visual meshes and not the hulls of its collision geometry.
    """

    def __init__(self, model: mujoco.MjModel, size: int, *, full: bool = False):
        super().__init__(model, WORKSPACE, size, 28 if full else 8)
        self._option.geomgroup[:] = 0
        self._option.geomgroup[[_BOTH, _FULL if full else _CHEAP]] = 1
        self._option.sitegroup[:] = 0
        self._option.flags[mujoco.mjtVisFlag.mjVIS_CONVEXHULL] = not full

    def upload(self, texture: int) -> None:
        """Takes over what was written into ``tex_data`` of one texture."""
        self._gl.make_current()
        mujoco.mjr_uploadTexture(self._model, self._context, texture)
