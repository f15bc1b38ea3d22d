"""robomimic's tasks Lift, Can and Square: a Panda arm, seen by two cameras (Mandlekar 2021)."""

from collections.abc import Callable, Sequence

import numpy as np

from envs.arm_task import AGENTVIEW, WRIST, ArmTask
from envs.base import TimeStep, check_action_repeat, check_background, check_sensors
from envs.episodes import Episodes
from envs.rendering.portrait import Portrait
from envs.robomimic.expert import RobomimicExpert
from envs.robomimic.scene import SceneRenderer, prepare
from envs.robomimic.simulator import RobomimicSimulator
from mummi.modality import Modality, require_can_fail

HORIZON = 400
"""Control steps of an episode, as robomimic evaluates."""

_VIEWS = {f"{camera}_image": camera for camera in (AGENTVIEW, WRIST)}
# Sensor -> what it tells of a simulator.
_VECTORS: dict[str, Callable[[RobomimicSimulator], np.ndarray]] = {
    "robot0_eef_pos": lambda simulator: simulator.hand[0],
    "robot0_eef_quat": lambda simulator: simulator.hand_quaternion,
    "robot0_gripper_qpos": lambda simulator: simulator.fingers,
    "robot0_gripper_qvel": lambda simulator: simulator.fingers_speed,
    "robot0_joint_pos": lambda simulator: simulator.joints,
    "robot0_joint_pos_cos": lambda simulator: np.cos(simulator.joints),
    "robot0_joint_pos_sin": lambda simulator: np.sin(simulator.joints),
    "robot0_joint_vel": lambda simulator: simulator.joints_speed,
    "object": lambda simulator: simulator.object_state,
}
SENSORS = (*_VIEWS, *_VECTORS)
"""Every sensor there is."""


class Robomimic(ArmTask):
    """robosuite 1.4.0's task ``robomimic/lift``, ``/can`` or ``/square`` at 20 Hz.

    An ``envs.base.Environment`` with robomimic's names, so that its files of demonstrations fit as
    they are. The action is OSC_POSE's: 5 cm along and 0.5 rad about each world axis stand for 1,
    and the last of the 7 numbers opens (-1) or closes (1) the gripper.

    Sensors: ``agentview_image`` and ``robot0_eye_in_hand_image`` [H, W, 3] uint8, upright as
    robomimic has them, drawn at twice the size and averaged; ``robot0_eef_pos`` [3] m, the point
    between the fingertips, ``robot0_eef_quat`` [4], the hand's rotation (x, y, z, w),
    ``robot0_gripper_qpos`` [2] m, ``robot0_gripper_qvel`` [2] m/s, ``robot0_joint_pos`` [7] rad,
    ``robot0_joint_pos_cos`` and ``_sin`` [7], ``robot0_joint_vel`` [7] rad/s; ``object``,
    robosuite's true state of the object, [10] of Lift and [14] of the others. All vectors are
    float32.

    Arm and objects start where robosuite draws them; training and evaluation draw alike, from
    other seeds. The reward is robosuite's sparse one, 1 at the step that succeeds, which ends the
    episode as a terminal step, as in robomimic's evaluation. ``info`` has ``success``, and of an
    episode without it ``never_closed``, ``not_lifted`` or ``not_brought``.

    Args:
        task: its name.
        seed: int or sequence of ints; starts follow from it.
        image_size: height and width of the pictures, pixels; 84 is robomimic's own.
        background: ``none`` or ``natural``, which are one here: the scene's own walls and floor.
        training: taken as by the other tasks; training and evaluation draw from the same ranges.
        action_repeat: control steps for each call of ``step``.
        sensors: names of the modalities, in the order in which they are fused.
        horizon: control steps of an episode, at most.
        unseen: sensors that never deliver; of cameras, whose pictures are then not drawn, that
            saves the time.

    Raises:
        ValueError: for a background that is a path, an unknown or repeated sensor, an action
            repeat that is not a positive divisor of the horizon, or ``unseen`` sensors that are
            not there.
    """

    def __init__(
        self,
        task: str,
        *,
        seed: int | Sequence[int] = 0,
        image_size: int = 84,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
        sensors: tuple[str, ...] = (*_VIEWS, *tuple(_VECTORS)[:3]),
        horizon: int = HORIZON,
        unseen: tuple[str, ...] = (),
    ):
        check_background(background, task, "its own walls and floor")
        check_action_repeat(action_repeat, horizon)
        check_sensors(sensors, SENSORS)
        self._simulator = simulator = RobomimicSimulator(task.partition("/")[2])
        prepare(simulator.mujoco_model)
        self._cameras, portrait = (
            Portrait(lambda size: SceneRenderer(simulator.mujoco_model, size)) for _ in range(2)
        )
        super().__init__(action_repeat, horizon, portrait)
        self._image_size, self._episodes = image_size, Episodes(seed)
        self.modalities = tuple(self._modality(sensor) for sensor in sensors)
        require_can_fail(unseen, self.modalities, " in unseen")
        self._unseen = {m.name: m for m in self.modalities if m.name in unseen}

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number if it is given."""
        _, seed = self._episodes.begin(number)
        self._simulator.reset_to(seed)
        return self._begin(RobomimicExpert(self._simulator))

    def truth(self) -> dict[str, np.ndarray]:
        """The physical state, float32, in world coordinates and metres.

        ``hand`` [3], the point between the fingertips; ``joints`` [7] rad; ``fingers`` [2];
        ``object`` [3]; ``goal`` [3], where the object is to be.
        """
        simulator = self._simulator
        state = {
            "hand": simulator.hand[0],
            "joints": simulator.joints,
            "fingers": simulator.fingers,
            "object": self._item(),
            "goal": simulator.goal,
        }
        return {name: np.asarray(value, np.float32) for name, value in state.items()}

    def close(self) -> None:
        """Frees the rendering contexts."""
        self._portrait.close()
        self._cameras.close()

    def _modality(self, sensor: str) -> Modality:
        if sensor in _VIEWS:
            return Modality(sensor, "image", (self._image_size, self._image_size, 3))
        return Modality(sensor, "vector", self._sensed(sensor).shape)

    def _time_step(self):
        sensed = {
            m.name: self._sensed(m.name) for m in self.modalities if m.name not in self._unseen
        }
        return TimeStep(
            values=sensed | {m.name: np.zeros(m.shape, m.dtype) for m in self._unseen.values()},
            available={m.name: m.name in sensed for m in self.modalities},
            reward=float(self._success),
            is_first=self._control_step == 0,
            is_last=self._over,
            is_terminal=self._success,
            info=self._outcome(),
        )

    def _item(self):
        return self._simulator.item[0]

    def _sensed(self, sensor: str) -> np.ndarray:
        simulator = self._simulator
        if sensor in _VIEWS:
            data = simulator.mujoco_data
            return self._cameras.picture(data, _VIEWS[sensor], self._image_size)
        return _VECTORS[sensor](simulator).astype(np.float32)
