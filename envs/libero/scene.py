"""LIBERO's scenes: a task's simulation and its two cameras, drawn cheaply and made seldom."""

import gc

import mujoco
import numpy as np

from envs.arm_task import ArmRenderer
from envs.libero.simulator import LiberoSimulator, Task
from envs.rendering.simplify import meshes, textures, touching

CELLS = {"robot0": 0.02, "mount0": 0.02, "gripper0": 0.003, "basket": 0.008, "": 0.004}
"""Prefix of a body's name -> edge, metres, of the cells in which corners of its meshes merge."""


def simplify(model: mujoco.MjModel) -> None:
    """Draws the meshes that touch nothing with fewer faces, and small textures; physics stays.

    240,000 to 400,000 faces become 40,000 to 75,000 in the first tasks of the suites, and a
    software renderer's time is mostly theirs. A pixel of agentview covers 6 mm at 128 pixels. A
    bowl's texture has 4,096 pixels a side. To be done before the renderer is made.
    """
    textures(model, 512)
    meshes(model, CELLS, leave=touching(model))


class LiberoRenderer(ArmRenderer):
    """Draws a scene from either camera; the glow of a burner that is on is a site.

    Args:
        model: the model, ``simplify``-ed for speed.
        size: height and width of the pictures, pixels.
    """

    def __init__(self, model: mujoco.MjModel, size: int):
        super().__init__(model, size)
        self._option.sitegroup[0] = 1


class Scene:
    """A task's simulation and the pictures of it.

    Args:
        task: which one.
        size: height and width of the pictures, pixels.

    Attributes:
        simulator: the simulation, whose meshes are simplified.
    """

    def __init__(self, task: Task, size: int):
        self.simulator, self.size = LiberoSimulator(task), size
        simplify(self.simulator.mujoco_model)
        self._renderer: LiberoRenderer | None = None

    def picture(self, camera: str) -> np.ndarray:
        """What a camera sees, [H, W, 3] uint8; what no camera is asked for has no renderer."""
        if self._renderer is None:
            self._renderer = LiberoRenderer(self.simulator.mujoco_model, self.size)
        return self._renderer.view(self.simulator.mujoco_data, camera)[0]

    def close(self) -> None:
        """Frees the simulation and its rendering context."""
        if self._renderer:
            self._renderer.close()
        self.simulator = self._renderer = None
        # robosuite's objects refer to one another and would wait for the collector.
        gc.collect()


class Scenes:
    """Scenes that environments of this process take and give back.

    A scene takes seconds to make. The last one that was given back is kept for the next
    environment of its task, so that an environment for each demonstration costs no scene each.
    """

    def __init__(self):
        self._kept: Scene | None = None

    def take(self, task: Task, size: int) -> Scene:
        """The scene of a task, in any state."""
        kept, self._kept = self._kept, None
        if kept and (kept.simulator.task, kept.size) == (task, size):
            return kept
        if kept:
            kept.close()
        return Scene(task, size)

    def give_back(self, scene: Scene) -> None:
        """Keeps a scene and frees the one that was kept."""
        if self._kept:
            self._kept.close()
        self._kept = scene


SCENES = Scenes()
"""Those of this process."""
