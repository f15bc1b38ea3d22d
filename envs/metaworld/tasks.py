"""MetaWorld: a Sawyer arm does one of fifty tasks, seen by two cameras (Yu et al., 2019)."""

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
from envs.instruction import embed

from envs.rendering.renderer import Renderer  # isort: skip  (before mujoco: it chooses the backend)

from envs.metaworld.catalogue import TASKS, tasks_of
from envs.metaworld.scene import CORNER, DEPTH_RANGE, WRIST, prepare
from envs.metaworld.simulator import MetaworldSimulator
from envs.rendering.portrait import Portrait
from mummi.modality import Modality, require_can_fail

_VIEWS = {"corner": CORNER, "wrist": WRIST}
SENSORS = ("corner_rgb", "wrist_rgb", "corner_depth", "wrist_depth", "proprio", "instruction")
"""Every sensor there is."""
HORIZON = 200
"""Control steps of an episode, as DP3 and TD-MPC2 have them; MetaWorld's own allow 500."""


class Metaworld:
    """A task of MetaWorld, ``metaworld/hammer``, or a group; an ``envs.base.Environment``.

    The action moves the point that the hand is drawn to along the world's axes, 1 cm for 1 and at
    80 Hz, and the last of its 4 numbers closes the gripper (above 0) or opens it.

    Sensors: ``corner_rgb`` and ``wrist_rgb`` [H, W, 3] uint8, MetaWorld's cameras ``corner4``,
    turned upright, and ``gripperPOV``; ``corner_depth`` and ``wrist_depth`` [H, W, 1] float32, 0 to
    1 over the distances of ``scene.DEPTH_RANGE``; ``proprio`` [4] float32, the hand's position in
    metres and how far the gripper is open, 0 to 1; ``instruction`` [E] float32, a unit vector of
    the task's sentence, the same at every step, which is told and cannot fail. Goals that no object
    shows are marks in the scene, which the cameras see.

    Start and goal of each episode are drawn from MetaWorld's ranges. Of a group, in training the
    task is drawn as well; in evaluation episode e plays task e modulo their number. Another task is
    another simulation, which takes a sixth of a second to make; one is kept at a time.

    Success is MetaWorld's; by default it ends the episode as a terminal step with the reward 1, and
    no other step has one. ``info`` has ``success``, 1 from the first success of the episode on, and
    ``task``, the number of the task among ``catalogue.TASKS``.

    Args:
        task: ``metaworld/TASK`` or a group of ``catalogue.GROUPS``.
        seed: int or sequence of ints; tasks, starts and goals follow from it.
        image_size: height and width of pictures and depth, pixels.
        background: ``none`` or ``natural``, which are one here: the scene's own floor and table.
        training: draw the tasks of a group and do not take them in turn.
        action_repeat: control steps for each call of ``step``; rewards are summed over them.
        sensors: names of the modalities, in the order in which they are fused; None for both
            pictures, ``proprio`` and, of a group, ``instruction``.
        horizon: control steps of an episode, at most.
        reward_shaping: MetaWorld's dense reward, 0 to 10 a control step, for learning by
            reinforcement, together with ``early_termination`` False.
        early_termination: the episode ends with the first success; otherwise it goes on to the
            horizon, and every control step of success has its reward.
        encoder: what embeds the instruction: minilm, clip, or a folder (``envs.instruction``).
        unseen: sensors that never deliver; of cameras, which are then not drawn, that saves the
            time.

    Raises:
        ValueError: for a background that is a path, an unknown or repeated sensor, an action
            repeat that is not a positive divisor of the horizon, or ``unseen`` sensors that are
            not there or cannot fail.
    """

    action_size = 4

    def __init__(
        self,
        task: str,
        *,
        seed: int | Sequence[int] = 0,
        image_size: int = 128,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
        sensors: tuple[str, ...] | None = None,
        horizon: int = HORIZON,
        reward_shaping: bool = False,
        early_termination: bool = True,
        encoder: str = "minilm",
        unseen: tuple[str, ...] = (),
    ):
        check_background(background, task, "its own floor and table")
        self._tasks = tasks_of(task)
        if sensors is None:
            told = ("instruction",) if len(self._tasks) > 1 else ()
            sensors = ("corner_rgb", "wrist_rgb", "proprio", *told)
        check_action_repeat(action_repeat, horizon)
        check_sensors(sensors, SENSORS)
        self._instructions, size = {}, 0
        if "instruction" in sensors:
            vectors = embed(tuple(TASKS[name] for name in self._tasks), encoder)
            self._instructions = dict(zip(self._tasks, vectors, strict=True))
            size = vectors.shape[1]
        self.action_repeat = action_repeat
        self.modalities = tuple(_modality(sensor, image_size, size) for sensor in sensors)
        require_can_fail(unseen, self.modalities, " in unseen")
        self._unseen = {m.name: m for m in self.modalities if m.name in unseen}
        seen = [sensor for sensor in sensors if sensor not in unseen]
        self._cameras = [view for view in _VIEWS if any(s.startswith(view) for s in seen)]
        self._image_size, self._horizon, self._training = image_size, horizon, training
        self._reward_shaping, self._early_termination = reward_shaping, early_termination
        self._episodes = Episodes(seed)
        self._control_step, self._over, self._success = 0, True, False
        self._name, self._renderer = "", None
        self._portrait = Portrait(lambda size: Renderer(self._simulator.model, CORNER, size))
        self._play(self._tasks[0])

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number if it is given."""
        number, seed = self._episodes.begin(number)
        drawn, start = seed.spawn(2)
        index = number % len(self._tasks)
        if self._training:
            index = np.random.default_rng(drawn).integers(len(self._tasks))
        self._play(self._tasks[index])
        self._simulator.reset_to(start)
        self._control_step, self._over, self._success = 0, False, False
        return self._time_step(reward=0.0)

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action [4], clipped to [-1, 1], for ``action_repeat`` control steps.

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._over:
            raise RuntimeError("the episode is over; call reset before step")
        action, total = checked_action(action, self.action_size), 0.0
        for _ in range(self.action_repeat):
            dense, success = self._simulator.step(action)
            total += dense if self._reward_shaping else float(success)
            self._success |= success
            self._control_step += 1
            if self._ended:
                break
        self._over = self._ended or self._control_step >= self._horizon
        return self._time_step(total)

    def render(self, size: int) -> np.ndarray:
        """The view of the camera in the corner, [size, size, 3] uint8."""
        return self._portrait.picture(self._simulator.data, CORNER, size)

    def truth(self) -> dict[str, np.ndarray]:
        """The physical state, float32, in world coordinates and metres.

        ``hand`` [3]; ``gripper`` [1], how far it is open, 0 to 1; ``object`` [3], the first of the
        scene; ``goal`` [3].
        """
        hand, gripper, thing = np.split(self._simulator.observation[:7], (3, 4))
        state = {"hand": hand, "gripper": gripper, "object": thing, "goal": self._simulator.goal}
        return {name: np.asarray(value, np.float32) for name, value in state.items()}

    def expert_action(self) -> np.ndarray:
        """What MetaWorld's scripted expert does in the present state, [4] in [-1, 1]."""
        return self._simulator.expert_action()

    def close(self) -> None:
        """Frees the rendering contexts."""
        self._portrait.close()
        if self._renderer is not None:
            self._renderer.close()

    @property
    def _ended(self):
        return self._success and self._early_termination

    def _play(self, name):
        """Makes the simulation of a task, unless it is there."""
        if name == self._name:
            return
        self._name, self._simulator = name, MetaworldSimulator(name, self._horizon)
        prepare(self._simulator.model)
        self._portrait.close()
        if self._renderer is not None:
            self._renderer.load(self._simulator.model)

    def _time_step(self, reward):
        sensed = self._sensed()
        return TimeStep(
            values={m.name: sensed[m.name] for m in self.modalities},
            available={m.name: m.name not in self._unseen for m in self.modalities},
            reward=reward,
            is_first=self._control_step == 0,
            is_last=self._over,
            is_terminal=self._ended,
            info={
                "success": float(self._success),
                "task": float(list(TASKS).index(self._name)),
            },
        )

    def _sensed(self):
        """What every sensor delivers; those of cameras that no modality is of are left out."""
        sensed = {"proprio": self._simulator.observation[:4].astype(np.float32)}
        if self._instructions:
            sensed["instruction"] = self._instructions[self._name].copy()
        for view in self._cameras:
            camera = _VIEWS[view]
            near, far = DEPTH_RANGE[camera]
            if self._renderer is None:
                self._renderer = Renderer(self._simulator.model, CORNER, self._image_size)
            sensed[f"{view}_rgb"], metres = self._renderer.view(self._simulator.data, camera)
            sensed[f"{view}_depth"] = np.clip((metres - near) / (far - near), 0, 1)[..., None]
        return sensed | {m.name: np.zeros(m.shape, m.dtype) for m in self._unseen.values()}


def _modality(sensor: str, image_size: int, instruction_size: int) -> Modality:
    if sensor == "instruction":
        return Modality(sensor, "embedding", (instruction_size,), can_fail=False)
    if sensor == "proprio":
        return Modality(sensor, "vector", (4,))
    if sensor.endswith("_depth"):
        return Modality(sensor, "depth", (image_size, image_size, 1))
    return Modality(sensor, "image", (image_size, image_size, 3))
