"""What the scenes of robomimic look like: robosuite's cameras, drawn cheaply."""

import mujoco

from envs.arm_task import ArmRenderer
from envs.rendering.simplify import meshes, textures, touching

CELLS = {"robot0": 0.008, "mount0": 0.008, "gripper0": 0.002}
"""Prefix of a body's name -> edge, metres, of the cells in which corners of its meshes merge."""


def prepare(model: mujoco.MjModel) -> None:
    """Makes a model cheap to draw; to be done before the renderer is made."""
    meshes(model, CELLS, leave=touching(model))
    textures(model, 512)


class SceneRenderer(ArmRenderer):
    """Draws a prepared scene, with what its floor reflects, which makes it as bright as it is."""

    def load(self, model: mujoco.MjModel) -> None:
        """Draws another model from now on."""
        super().load(model)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = True
