"""What all tasks on robosuite share: a quiet import, seeds, and cheap control steps."""

import contextlib
import logging
import os
import warnings
from collections import OrderedDict
from unittest import mock

import mujoco
import numpy as np

from envs.rendering.renderer import Renderer  # noqa: F401  isort: skip  (it chooses the OpenGL backend)


@contextlib.contextmanager
def quiet_import():
    """What the imports of robosuite and LIBERO do beside importing is kept from happening.

    They change the filters of warnings, and robosuite advises to write a file of private settings.
    It opens a log at a fixed place, which on a shared machine belongs to whoever came first. And it
    takes CUDA_VISIBLE_DEVICES, which is for the networks, to list the devices of EGL as well.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            mock.patch.object(logging, "FileHandler", lambda _: logging.NullHandler()),
            mock.patch.dict(os.environ),
        ):
            warnings.simplefilter("ignore")
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            yield
    finally:
        logging.disable(level)


with quiet_import():
    from robosuite.controllers import load_controller_config as load_controller_config
    from robosuite.utils.control_utils import (
        nullspace_torques,
        opspace_matrices,
        orientation_error,
    )


@contextlib.contextmanager
def global_numpy_random(seed: np.random.SeedSequence):
    """Seeds NumPy's global generator, the only one robosuite draws from, and restores it after."""
    before = np.random.get_state()
    np.random.set_state(np.random.RandomState(np.random.MT19937(seed)).get_state())
    try:
        yield
    finally:
        np.random.set_state(before)


class LeanStep:
    """A robosuite environment's control step with the same numbers for less time.

    For one robot with robosuite's OSC_POSE as it is configured by default. A control step has 25
    physics steps, in which robosuite

    - computes the forward dynamics three times in the same state: before it asks the controller,
      as the controller begins, and to take the step. Here positions and velocities are computed
      before the controller, which needs no more, and the step is finished after it. Only at the
      first of the 25 all is computed before, since the forces at the wrist are read there.
    - looks names, limits and indices up anew. Here the first is robosuite's own, which sets the
      goal, and what then stays for the others is looked up once.
    """

    def step(self, action):
        """robosuite's own."""
        model, data = self.sim.model._model, self.sim.data._data
        begun, first = False, True

        def forward():
            nonlocal begun, first
            if not begun:
                (mujoco.mj_forward if first else mujoco.mj_step1)(model, data)
            begun, first = True, False

        def step(with_udd=True):
            nonlocal begun
            mujoco.mj_step2(model, data)
            begun = False

        self.sim.forward, self.sim.step = forward, step
        try:
            return super().step(action)
        finally:
            del self.sim.forward, self.sim.step

    def _pre_action(self, action, policy_step=False):
        """Sets the controls of a physics step; ``policy_step`` is the first of a control step."""
        if policy_step:
            super()._pre_action(action, policy_step)
            self._hold = Hold(self.robots[0], action)
        else:
            self._hold()


class Hold:
    """Torques towards a goal that is set, and the fingers' next positions, as robosuite's.

    Args:
        robot: a ``SingleArm`` whose OSC_POSE has its goal.
        action: of the control step; what the arm does not take is the gripper's.
    """

    def __init__(self, robot, action):
        controller, simulation = robot.controller, robot.sim
        self._model, self._data = simulation.model._model, simulation.data._data
        self._controller, self._robot = controller, robot
        self._site = simulation.model.site_name2id(controller.eef_name)
        self._low, self._high = robot.torque_limits
        self._joints = np.array(controller.qvel_index)
        self._angles = np.array(controller.qpos_index)
        self._arm = np.array(robot._ref_joint_actuator_indexes)
        self._gripper_action = action[controller.control_dim :]
        self._fingers = [simulation.model.actuator_name2id(x) for x in robot.gripper.actuators]
        low, high = self._model.actuator_ctrlrange[self._fingers].T
        self._middle, self._range = 0.5 * (high + low), 0.5 * (high - low)
        width = self._model.nv
        self._jacobians = np.zeros((3, width)), np.zeros((3, width))
        self._mass = np.zeros((width, width))
        self._of_arm = width * self._joints[:, None] + self._joints

    def __call__(self):
        """Sets the controls of a physics step whose positions and velocities are computed."""
        data, robot = self._data, self._robot
        data.ctrl[self._arm] = np.minimum(np.maximum(self._torques(), self._low), self._high)
        if self._fingers:
            position = robot.gripper.format_action(self._gripper_action)
            data.ctrl[self._fingers] = self._middle + self._range * position

    def _torques(self) -> np.ndarray:
        """Operational space control (Khatib 1987), position and orientation uncoupled, [7]."""
        data, controller = self._data, self._controller
        (linear, angular), joints = self._jacobians, self._joints
        mujoco.mj_jacSite(self._model, data, linear, angular, self._site)
        mujoco.mj_fullM(self._model, self._mass, data.qM)
        velocity, mass = data.qvel, self._mass.take(self._of_arm).T  # ordered as robosuite's
        rotation = data.site_xmat[self._site].reshape(3, 3)
        stiffness, damping = controller.kp, controller.kd
        force = stiffness[:3] * (controller.goal_pos - data.site_xpos[self._site])
        force += damping[:3] * -np.dot(linear, velocity)
        torque = stiffness[3:] * orientation_error(controller.goal_ori, rotation)
        torque += damping[3:] * -np.dot(angular, velocity)
        linear, angular = linear[:, joints], angular[:, joints]
        both = np.concatenate((linear, angular))
        _, at_force, at_torque, null = opspace_matrices(mass, both, linear, angular)
        wrench = np.concatenate((np.dot(at_force, force), np.dot(at_torque, torque)))
        rest, position = controller.initial_joint, data.qpos[self._angles]
        torques = np.dot(both.T, wrench) + data.qfrc_bias[joints]
        return torques + nullspace_torques(mass, null, rest, position, velocity[joints])


class WithoutSensors:
    """robosuite asks every sensor at each of 25 substeps; here the state is read once a step."""

    def _setup_observables(self):
        return OrderedDict()


PANDA = {
    "robots": ["Panda"],
    "use_camera_obs": False,
    "has_renderer": False,
    "has_offscreen_renderer": False,
    "control_freq": 20,
    "ignore_done": True,
    "hard_reset": False,
}
"""Arguments of robosuite's environments: one Panda at 20 Hz, nothing drawn, and the model compiled
once."""


class ArmSimulator:
    """A simulation of robosuite with one Panda that has fingers.

    Args:
        environment: robosuite's, made with ``PANDA``.

    Attributes:
        mujoco_model, mujoco_data: the simulation.
    """

    def __init__(self, environment):
        self._robosuite = environment
        simulation, robot = environment.sim, environment.robots[0]
        self.mujoco_model, self.mujoco_data = simulation.model._model, simulation.data._data
        # robosuite's own prints a line at every step on which a limit is near.
        robot.check_q_limits = lambda: False
        self._joints = np.array(robot._ref_joint_pos_indexes)
        self._fingers = np.array(robot._ref_gripper_joint_pos_indexes)
        self._site = robot.eef_site_id

    def begin(self, seed: np.random.SeedSequence) -> None:
        """Starts as robosuite does, with what it draws drawn from the seed."""
        with global_numpy_random(seed):
            self._robosuite.reset()
        # The gripper closes by steps, which robosuite counts across episodes.
        gripper = self._robosuite.robots[0].gripper
        gripper.current_action = np.zeros(gripper.dof)

    def restore(self, state: np.ndarray) -> None:
        """Puts time, positions and velocities back, as ``state`` gives them."""
        self._robosuite.sim.set_state_from_flattened(state)
        self._robosuite.sim.forward()

    def step(self, action: np.ndarray) -> bool:
        """Takes one control step, 50 ms; whether the goal holds after it."""
        self._robosuite.step(action)
        return self.success

    @property
    def success(self) -> bool:
        """The goal holds."""
        return bool(self._robosuite._check_success())

    @property
    def state(self) -> np.ndarray:
        """Time, positions and velocities, [1 + nq + nv] float64, as robosuite flattens them."""
        return self._robosuite.sim.get_state().flatten()

    @property
    def joints(self) -> np.ndarray:
        """Joint angles of the arm, [7], radians."""
        return self.mujoco_data.qpos[self._joints]

    @property
    def fingers(self) -> np.ndarray:
        """Positions of the two fingers, [2], metres; 0.04 and -0.04 are open."""
        return self.mujoco_data.qpos[self._fingers]

    @property
    def hand(self) -> tuple[np.ndarray, np.ndarray]:
        """The point between the fingertips [3], metres, and the hand's rotation [3, 3]."""
        rotation = self.mujoco_data.site_xmat[self._site].reshape(3, 3)
        return self.mujoco_data.site_xpos[self._site].copy(), rotation.copy()

    @property
    def hand_quaternion(self) -> np.ndarray:
        """The rotation of the hand's body as robosuite tells it, (x, y, z, w), [4]."""
        return np.roll(self.mujoco_data.body("robot0_right_hand").xquat, -1)
