"""What LIBERO's and robomimic's tasks share: two cameras, and an episode that success ends."""

import abc

import mujoco
import numpy as np

from envs.base import TimeStep, checked_action
from envs.rendering.portrait import Portrait
from envs.rendering.renderer import Renderer
from envs.robosuite import ArmSimulator
from envs.scripted_arm import ScriptedArm

AGENTVIEW, WRIST = "agentview", "robot0_eye_in_hand"
"""Names of the two cameras in robosuite's models: before the robot and on its hand."""

# robosuite's groups of geoms: 0 for collisions, 1 for pictures.
_VISIBLE = 1


class ArmRenderer(Renderer):
    """Draws what robosuite's cameras show, without sites.

    Args:
        model: the model, simplified for speed.
        size: height and width of the pictures, pixels.
    """

    def __init__(self, model: mujoco.MjModel, size: int):
        super().__init__(model, AGENTVIEW, size)
        self._option.geomgroup[:] = 0
        self._option.geomgroup[_VISIBLE] = 1
        self._option.sitegroup[:] = 0


LIFTED = 0.04
"""By how much what a task is about has to rise to count as lifted, metres."""


class ArmTask(abc.ABC):
    """The steps of an episode, which is over with its success or at the horizon.

    Args:
        action_repeat: control steps for each call of ``step``.
        horizon: control steps of an episode, at most.
        portrait: draws the present scene for people.

    Attributes:
        action_repeat: the same.
    """

    action_size = 7
    _simulator: ArmSimulator
    _expert: ScriptedArm

    def __init__(self, action_repeat: int, horizon: int, portrait: Portrait):
        self.action_repeat = action_repeat
        self._horizon, self._portrait = horizon, portrait
        self._control_step, self._over, self._success = 0, True, False

    def _begin(self, expert: ScriptedArm) -> TimeStep:
        """The first step of an episode, whose scene is set."""
        self._expert = expert
        self._closed, self._lifted, self._height = False, False, self._item()[2]
        self._control_step, self._over, self._success = 0, False, False
        return self._time_step()

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action [7], clipped to [-1, 1], for ``action_repeat`` control steps.

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._over:
            raise RuntimeError("the episode is over; call reset before step")
        action = checked_action(action, self.action_size)
        self._closed = self._closed or bool(action[-1] > 0)
        for _ in range(self.action_repeat):
            self._success = self._simulator.step(action)
            self._control_step += 1
            self._lifted = self._lifted or self._item()[2] > self._height + LIFTED
            if self._success:
                break
        self._over = self._success or self._control_step >= self._horizon
        return self._time_step()

    @abc.abstractmethod
    def _time_step(self) -> TimeStep:
        """What is sensed now."""

    @abc.abstractmethod
    def _item(self) -> np.ndarray:
        """Where that is what the task is about first, [3], metres."""

    def _outcome(self) -> dict[str, float]:
        """``success``, and what of an episode without it did not happen so far, one of three.

        ``never_closed``, the gripper was not told to; ``not_lifted``, it was, and the item did not
        rise, as what is fixed never does; ``not_brought``, it rose, and is not where it should be.
        """
        missed = None
        if not self._success:
            missed = 0 if not self._closed else 1 if not self._lifted else 2
        kinds = ("never_closed", "not_lifted", "not_brought")
        failed = {name: float(missed == number) for number, name in enumerate(kinds)}
        return {"success": float(self._success)} | failed

    def render(self, size: int) -> np.ndarray:
        """The view of the camera before the robot, [size, size, 3] uint8."""
        return self._portrait.picture(self._simulator.mujoco_data, AGENTVIEW, size)

    def physics_state(self) -> np.ndarray:
        """The simulator's time, positions and velocities, flat as robosuite has them."""
        return self._simulator.state

    def expert_action(self) -> np.ndarray:
        """What the scripted expert does in the present state, [7] in [-1, 1].

        To be asked once before each step; it remembers how far it has come.
        """
        return self._expert()
