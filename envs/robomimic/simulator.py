"""robosuite's tasks of robomimic, without robosuite's rendering and side effects."""

from typing import NamedTuple

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from envs.robosuite import (
    PANDA,
    ArmSimulator,
    LeanStep,
    WithoutSensors,
    global_numpy_random,
    load_controller_config,
    quiet_import,
)

with quiet_import():
    from robosuite.environments.manipulation.lift import Lift
    from robosuite.environments.manipulation.nut_assembly import NutAssemblySquare
    from robosuite.environments.manipulation.pick_place import PickPlaceCan


class Task(NamedTuple):
    """A task of robomimic.

    Attributes:
        environment: robosuite's class.
        sentence: what is to be done.
        item: body of the object that it is about.
        goal: where that is to be, in robosuite's world coordinates, [3], metres; of Lift, which
            only asks for a height, above the centre of the table, and of Can, which asks for a
            quarter of the bin, where the arm reaches it with the hand upright.
    """

    environment: type
    sentence: str
    item: str
    goal: tuple[float, float, float]


TASKS = {
    "lift": Task(Lift, "lift the cube", "cube_main", (0.0, 0.0, 0.84)),
    "can": Task(PickPlaceCan, "put the can into its bin", "Can_main", (0.15, 0.34, 0.8)),
    "square": Task(
        NutAssemblySquare, "put the square nut on its peg", "SquareNut_main", (0.23, 0.1, 0.85)
    ),
}
"""robomimic's name of a task to what it is."""
CUBE = 0.020, 0.022
"""Least and most half edge of Lift's cube, metres, which robosuite draws for each of three."""
DENSITY = 1000.0
"""Of that cube, kg/m³."""


class RobomimicSimulator(ArmSimulator):
    """One of ``TASKS``: Panda, OSC_POSE at 20 Hz, reset without compiling the model again.

    Physics, starts and success are robosuite's own.

    Args:
        name: of the task.

    Attributes:
        name: the same.
    """

    def __init__(self, name: str):
        self.name, self._task = name, TASKS[name]
        original = self._task.environment
        # A name of its own, for robosuite.make finds classes by their names.
        kind = type(f"Lean{original.__name__}", (LeanStep, WithoutSensors, original), {})
        controller = load_controller_config(default_controller="OSC_POSE")
        with global_numpy_random(np.random.SeedSequence(0)):
            made = kind(controller_configs=controller, use_object_obs=False, **PANDA)
        super().__init__(made)
        self._fingers_speed = np.array(made.robots[0]._ref_gripper_joint_vel_indexes)
        self._joints_speed = np.array(made.robots[0]._ref_joint_vel_indexes)

    def reset_to(self, seed: np.random.SeedSequence) -> None:
        """Starts the episode of a seed: the arm's pose and where the objects are follow from it."""
        start, size = seed.spawn(2)
        if self.name == "lift":
            self._resize(np.random.default_rng(size).uniform(*CUBE, size=3))
        self.begin(start)

    def step(self, action: np.ndarray) -> bool:
        """Takes one control step, 50 ms; whether the goal holds after it, as robosuite sees it.

        What places and pictures show is of the state after it, as in robomimic's files, and not of
        the last physics step before.
        """
        success = super().step(action)
        mujoco.mj_kinematics(self.mujoco_model, self.mujoco_data)
        mujoco.mj_camlight(self.mujoco_model, self.mujoco_data)
        return success

    def position(self, name: str) -> np.ndarray:
        """Where ``item`` or ``goal`` is in the world, [3], metres."""
        return {"item": self.item[0], "goal": self.goal}[name]

    @property
    def item(self) -> tuple[np.ndarray, np.ndarray]:
        """The object's place [3], metres, and its rotation as (x, y, z, w), [4]."""
        body = self.mujoco_data.body(self._task.item)
        return body.xpos.copy(), np.roll(body.xquat, -1)

    @property
    def goal(self) -> np.ndarray:
        """Where the object is to be, [3], metres."""
        return np.array(self._task.goal)

    @property
    def fingers_speed(self) -> np.ndarray:
        """Velocities of the two fingers, [2], m/s."""
        return self.mujoco_data.qvel[self._fingers_speed]

    @property
    def joints_speed(self) -> np.ndarray:
        """Velocities of the arm's joints, [7], rad/s."""
        return self.mujoco_data.qvel[self._joints_speed]

    @property
    def object_state(self) -> np.ndarray:
        """robosuite's ``object-state``, which robomimic calls ``object``.

        The object's place [3] and rotation [4] in the world, and, of Lift, the way from it to the
        hand [3], of the others its place [3] and rotation [4] in the frame of the hand.
        """
        place, rotation = self.item
        hand = self.hand[0]
        if self.name == "lift":
            return np.concatenate((place, rotation, hand - place))
        back = Rotation.from_quat(self.hand_quaternion).inv()
        seen = (back * Rotation.from_quat(rotation)).as_quat()
        return np.concatenate((place, rotation, back.apply(place - hand), seen))

    def _resize(self, half: np.ndarray) -> None:
        """Gives Lift's cube other half edges, [3], metres."""
        model, body = self.mujoco_model, self.mujoco_model.body(self._task.item)
        geoms = np.arange(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
        model.geom_size[geoms] = half
        model.geom_rbound[geoms] = np.linalg.norm(half)
        model.geom_aabb[geoms, 3:] = half
        body.mass[:] = DENSITY * np.prod(2 * half)
        squares = half**2
        body.inertia[:] = body.mass / 3 * (squares.sum() - squares)
        body.iquat[:] = 1, 0, 0, 0
        mujoco.mj_setConst(model, self.mujoco_data)
