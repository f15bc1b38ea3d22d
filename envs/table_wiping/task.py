"""Table Wiping: a Panda arm wipes dirt off a table, seen by two cameras (MuMMI, section VI)."""

from collections.abc import Sequence

import numpy as np

from envs.base import (
    TimeStep,
    check_action_repeat,
    check_background,
    check_sensors,
    checked_action,
)
from envs.episodes import Episodes
from envs.table_wiping.expert import WipingExpert, WipingState
from envs.table_wiping.randomisation import DEFAULT, Randomisation, Randomiser
from envs.table_wiping.scene import DEPTH_RANGE, ROBOT, WORKSPACE, SceneRenderer, prepare
from envs.table_wiping.simulator import TableSimulator
from mummi.modality import Modality

HORIZON = 1000
"""Control steps of an episode by robosuite's default: 50 seconds."""

# Name of a camera's modalities to the camera, and kind and shape of the other sensors.
_VIEWS = {"workspace": WORKSPACE, "robot": ROBOT}
_VECTORS = {"proprio": 28, "force": 6}
SENSORS = (*(f"{view}_{kind}" for kind in ("rgb", "depth") for view in _VIEWS), *_VECTORS)
"""Every sensor there is."""


class TableWiping:
    """robosuite 1.4.0's Wipe with the Panda at 20 Hz; an ``envs.base.Environment``.

    The action is OSC_POSE's: 5 cm along and 0.5 rad about each world axis stand for 1, relative
    to where the tool is. The dirt is a line of 100 markers.

    Sensors: ``workspace_rgb`` and ``robot_rgb`` [H, W, 3] uint8, from a camera above the table
    and one on the hand; ``workspace_depth`` and ``robot_depth`` [H, W, 1] float32, metres along
    the camera's axis, 0.4 to 1.4 and 0 to 0.5 mapped to [0, 1]; ``proprio`` [28] float32,
    robosuite's own without its contact flag, which ``force`` knows: cosines, sines and velocities
    of the joints, position of the tool and quaternion of the hand; ``force`` [6] float32, force
    and torque at the wrist in the tool's frame as sign(x) log(1 + |x|), over 5 for newtons
    (1 at 147 N) and over 3 for newton metres (1 at 19).

    The reward is robosuite's, scaled so that the dirt is worth 164 at the default horizon: 1.64 a
    marker, and, shaped, up to 0.16 a step near the dirt, a little for pressing, a penalty for
    more than 60 N, and -0.33 where the arm touches the table or a joint reaches its limit. So who
    lingers beside the last dirt earns more than who wipes it: judge by ``wiped`` as well. Without
    shaping only a clean table earns anything. ``info`` has ``success`` (1 once all is wiped) and
    ``wiped``, the proportion wiped.

    Args:
        task: its name; there is only one.
        seed: int or sequence of ints; dirt, start poses and randomisation follow from it.
        image_size: height and width of images and depth, pixels.
        background: ``none`` or ``natural``, which are one here: the scene's own walls and floor,
            varied by ``randomisation``.
        training: taken as by the other tasks; training and evaluation draw from the same ranges.
        action_repeat: control steps for each call of ``step``; rewards are summed over them.
        sensors: names of the modalities, in the order in which they are fused.
        horizon: control steps of an episode, at most; robosuite's reward scale depends on it.
        reward_shaping: robosuite's dense reward.
        early_termination: the episode ends, as a terminal step, when the table is clean, the arm
            touches something other than with its tool, or a joint reaches its limit, as in
            robosuite. Otherwise the arm goes on to the horizon.
        randomisation: domain randomisation, drawn anew each episode, in training and in
            evaluation alike; without it colours, lights and physics are robosuite's own.
        ranges: of the domain randomisation.

    Raises:
        ValueError: for a background that is a path, an unknown or repeated sensor, or an action
            repeat that is not a positive divisor of the horizon.
    """

    action_size = 6

    def __init__(
        self,
        task: str = "table_wiping",
        *,
        seed: int | Sequence[int] = 0,
        image_size: int = 64,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
        sensors: tuple[str, ...] = ("workspace_rgb", "robot_rgb"),
        horizon: int = HORIZON,
        reward_shaping: bool = True,
        early_termination: bool = True,
        randomisation: bool = True,
        ranges: Randomisation = DEFAULT,
    ):
        check_background(
            background, task, "its own walls and floor, varied by domain randomisation"
        )
        check_action_repeat(action_repeat, horizon)
        check_sensors(sensors, SENSORS)
        self.action_repeat = action_repeat
        self.modalities = tuple(_modality(sensor, image_size) for sensor in sensors)
        self._horizon, self._early_termination = horizon, early_termination
        self._episodes = Episodes(seed)
        self._control_step, self._over = 0, True

        self._simulator = TableSimulator(horizon, reward_shaping, np.random.SeedSequence(seed))
        self._model, self._data = self._simulator.mujoco_model, self._simulator.mujoco_data
        prepare(self._model)
        self._randomiser = Randomiser(self._model, ranges) if randomisation else None
        self._views = {
            view: camera
            for view, camera in _VIEWS.items()
            if any(sensor.startswith(view) for sensor in sensors)
        }
        self._renderer = SceneRenderer(self._model, image_size)
        self._portrait = None
        self._expert = WipingExpert(self)

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode: new dirt, start pose and randomisation, those of that number."""
        _, episode = self._episodes.begin(number)
        start, scene = episode.spawn(2)
        if self._randomiser:
            self._randomiser(self._data, scene)
            for renderer in filter(None, (self._renderer, self._portrait)):
                renderer.upload(self._randomiser.texture)
        observation = self._simulator.reset_to(start)
        self._control_step, self._over = 0, False
        return self._time_step(observation, reward=0.0, terminal=False)

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action [6], clipped to [-1, 1], for ``action_repeat`` control steps.

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._over:
            raise RuntimeError("the episode is over; call reset before step")
        action = checked_action(action, self.action_size)
        total, terminal = 0.0, False
        for _ in range(self.action_repeat):
            observation, reward, _, _ = self._simulator.step(action)
            total += reward
            self._control_step += 1
            terminal = self._early_termination and self._simulator.over
            if terminal:
                break
        self._over = terminal or self._control_step >= self._horizon
        return self._time_step(observation, float(total), terminal)

    def render(self, size: int, view: str = "workspace") -> np.ndarray:
        """A camera's view with the arm's own surfaces, [size, size, 3] uint8.

        ``view`` is ``workspace`` or ``robot``.
        """
        # Twice the size, then averaged, for smooth edges.
        if self._portrait is None or self._portrait.size != 2 * size:
            if self._portrait is not None:
                self._portrait.close()
            self._portrait = SceneRenderer(self._model, 2 * size, full=True)
        picture = self._portrait.view(self._data, _VIEWS[view])[0]
        picture = picture.reshape(size, 2, size, 2, 3)
        return picture.mean((1, 3)).round().astype(np.uint8)

    def truth(self) -> dict[str, np.ndarray]:
        """The physical state, float32; positions are relative to the centre of the table's top.

        ``tool`` [3] m, ``tool_velocity`` [3] m/s, ``joints`` [7] rad, ``force`` [1] N,
        ``dirt`` [2], the centre of the dirt that is left (0 when there is none), m, and
        ``wiped`` [1], the proportion wiped.
        """
        simulator = self._simulator
        tool, _, velocity = simulator.tool
        dirt = simulator.dirt
        centre = dirt.mean(0) if len(dirt) else simulator.table_top
        state = {
            "tool": tool - simulator.table_top,
            "tool_velocity": velocity,
            "joints": simulator.joints,
            "force": [np.linalg.norm(simulator.force_torque[:3])],
            "dirt": (centre - simulator.table_top)[:2],
            "wiped": [simulator.wiped],
        }
        return {name: np.asarray(value, np.float32) for name, value in state.items()}

    def state(self) -> WipingState:
        """What the scripted expert acts on; no agent is shown it."""
        tool, rotation, _ = self._simulator.tool
        force = float(np.linalg.norm(self._simulator.force_torque[:3]))
        return WipingState(tool, rotation, force, self._simulator.dirt)

    def physics_state(self) -> np.ndarray:
        """The simulator's time, positions and velocities, flat as robosuite has them."""
        return self._simulator.sim.get_state().flatten()

    def expert_action(self) -> np.ndarray:
        """What the scripted expert does in the present state, [6] in [-1, 1]."""
        return self._expert()

    def close(self) -> None:
        """Frees the rendering contexts."""
        self._renderer.close()
        if self._portrait is not None:
            self._portrait.close()

    def _time_step(self, observation, reward, terminal):
        sensed = {}
        for view, camera in self._views.items():
            rgb, metres = self._renderer.view(self._data, camera)
            near, far = DEPTH_RANGE[camera]
            sensed[f"{view}_rgb"] = rgb
            sensed[f"{view}_depth"] = np.clip((metres - near) / (far - near), 0, 1)[..., None]
        sensed["proprio"] = observation["robot0_proprio-state"].astype(np.float32)
        wrench = self._simulator.force_torque
        scale = np.repeat((5, 3), 3)
        sensed["force"] = (np.sign(wrench) * np.log1p(np.abs(wrench)) / scale).astype(np.float32)
        wiped = self._simulator.wiped
        return TimeStep(
            values={modality.name: sensed[modality.name] for modality in self.modalities},
            available={modality.name: True for modality in self.modalities},
            reward=reward,
            is_first=self._control_step == 0,
            is_last=self._over,
            is_terminal=terminal,
            info={"success": float(wiped == 1), "wiped": wiped},
        )


def _modality(sensor: str, image_size: int) -> Modality:
    if sensor in _VECTORS:
        return Modality(sensor, "vector", (_VECTORS[sensor],))
    if sensor.endswith("_depth"):
        return Modality(sensor, "depth", (image_size, image_size, 1))
    return Modality(sensor, "image", (image_size, image_size, 3))
