"""LIBERO: a Panda arm does what an instruction says, seen by two cameras (Liu et al., 2023)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from envs.arm_task import AGENTVIEW, WRIST, ArmTask
from envs.base import TimeStep, check_action_repeat, check_background, check_sensors
from envs.episodes import Episodes
from envs.instruction import embed
from envs.libero.expert import LiberoExpert
from envs.libero.scene import SCENES, LiberoRenderer, Scene
from envs.libero.simulator import REST, suite_tasks
from envs.rendering.portrait import Portrait
from mummi.modality import Modality, require_can_fail

EVALUATION_STATES = range(25)
"""Official initial states that evaluation starts from."""
TRAINING_STATES = range(25, 50)
"""Official initial states that training and demonstrations start from."""

_VIEWS = {"agentview_rgb": AGENTVIEW, "wrist_rgb": WRIST}
SENSORS = (*_VIEWS, "instruction", "proprio")
"""Every sensor there is."""


class Timing(NamedTuple):
    """Control steps of an episode, 50 ms each.

    Attributes:
        settle: those before it begins, in which objects that start in the air come to rest.
        horizon: those that it takes at most.
    """

    settle: int
    horizon: int


def timing(suite: str) -> Timing:
    """The control steps of a suite's episodes.

    Its horizon is that of RL4IL's comparison, 13 seconds; LIBERO-Long, whose tasks are two after
    one another and whose objects fall from higher, is granted twice that, as others grant it.
    """
    return Timing(20, 520) if suite == "libero_10" else Timing(10, 260)


class Libero(ArmTask):
    """A task of LIBERO, ``libero_spatial/3``, or all ten of a suite; an ``envs.base.Environment``.

    The action is OSC_POSE's at 20 Hz: 5 cm along and 0.5 rad about each world axis stand for 1,
    and the last of the 7 numbers opens (-1) or closes (1) the gripper.

    Sensors: ``agentview_rgb`` and ``wrist_rgb`` [H, W, 3] uint8, from a camera before the robot
    and one on its hand, upright and not mirrored (robosuite and the official demonstrations have
    the bottom row first); ``instruction`` [E] float32, a unit vector, the same at every step, which
    is told and cannot fail;
    ``proprio`` [12] float32: joint angles in radians [7], positions of the fingers [2] and of the
    point between them [3] in metres.

    An episode starts from an official initial state, of which evaluation uses the first 25 and
    training the last 25, after control steps in which objects come to rest. Cabinet, stove and
    rack, which those states lack, are drawn by LIBERO from the seed. In training, task and state
    are drawn; in evaluation episode e plays task e modulo 10 of a suite, and the states of each
    task come in an order drawn from the seed, none twice before all were used. Another task is
    another simulation, which takes a second to make and is kept: a suite's ten take 2 GB. The
    last of a closed environment serves the next one of its task.

    The reward is 1 at the step that reaches the goal of the task's BDDL file, which ends the
    episode as a terminal step. ``info`` has ``success`` (1 then), of an episode without it
    ``never_closed``, ``not_lifted`` or ``not_brought``, and ``task`` and ``initial_state``.

    Args:
        task: ``SUITE/INDEX`` or ``SUITE``.
        seed: int or sequence of ints; tasks, initial states and fixtures follow from it.
        image_size: height and width of the pictures, pixels; 128 is LIBERO's own.
        background: ``none`` or ``natural``, which are one here: the scene's own walls and floor.
        training: start from the states of training, not from those of evaluation.
        action_repeat: control steps for each call of ``step``.
        sensors: names of the modalities, in the order in which they are fused.
        horizon: control steps of an episode, at most; None for the ``timing`` of its suite.
        encoder: what embeds the instruction: minilm, clip, or a folder (``envs.instruction``).
        initial_state: index of the official initial state that every episode starts from, 0 to 49;
            None draws it.
        unseen: sensors that never deliver; of cameras, whose pictures are then not drawn, that
            saves the time.

    Raises:
        ValueError: for a background that is a path, an unknown or repeated sensor, an action
            repeat that is not a positive divisor of the horizon, no such initial state, or
            ``unseen`` sensors that are not there or cannot fail.
        FileNotFoundError: LIBERO's assets are incomplete.
    """

    def __init__(
        self,
        task: str,
        *,
        seed: int | Sequence[int] = 0,
        image_size: int = 128,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
        sensors: tuple[str, ...] = ("agentview_rgb", "wrist_rgb", "instruction"),
        horizon: int | None = None,
        encoder: str = "minilm",
        initial_state: int | None = None,
        unseen: tuple[str, ...] = (),
    ):
        check_background(background, task, "its own walls and floor")
        suite, _, index = task.partition("/")
        self._settle, usual = timing(suite)
        horizon = usual if horizon is None else horizon
        check_action_repeat(action_repeat, horizon)
        check_sensors(sensors, SENSORS)
        if initial_state is not None and initial_state not in range(50):
            raise ValueError(f"initial_state is {initial_state!r}; it must be from 0 to 49")
        self._tasks = suite_tasks(suite)[int(index) :][:1] if index else suite_tasks(suite)
        self._instructions = None
        size = 0
        if "instruction" in sensors:
            # All sentences of a suite, which its ten tasks then share.
            sentences = tuple(t.instruction for t in suite_tasks(suite))
            self._instructions = embed(sentences, encoder)
            size = self._instructions.shape[1]
        portrait = Portrait(lambda size: LiberoRenderer(self._simulator.mujoco_model, size))
        super().__init__(action_repeat, horizon, portrait)
        self.modalities = tuple(_modality(sensor, image_size, size) for sensor in sensors)
        require_can_fail(unseen, self.modalities, " in unseen")
        self._unseen = {m.name: m for m in self.modalities if m.name in unseen}
        self._image_size = image_size
        self._training, self._initial_state = training, initial_state
        self._episodes = Episodes(seed)
        self._order = np.random.default_rng(seed).permutation(EVALUATION_STATES)
        self._scenes: dict[int, Scene] = {}
        self._scene = self._simulator = self._expert = None
        self._play(self._tasks[0])

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number if it is given."""
        number, seed = self._episodes.begin(number)
        start, scene = seed.spawn(2)
        task, self._state = self._start(number, start)
        self._play(task)
        self._simulator.reset_to(self._state, scene)
        for _ in range(self._settle):
            self._simulator.step(REST)
        return self._begin(LiberoExpert(self._simulator))

    def truth(self) -> dict[str, np.ndarray]:
        """The physical state, float32, in world coordinates and metres.

        ``hand`` [3], the point between the fingertips; ``joints`` [7] rad; ``fingers`` [2];
        ``target`` [3], what the instruction names first.
        """
        simulator = self._simulator
        state = {
            "hand": simulator.hand[0],
            "joints": simulator.joints,
            "fingers": simulator.fingers,
            "target": self._item(),
        }
        return {name: np.asarray(value, np.float32) for name, value in state.items()}

    def close(self) -> None:
        """Frees the simulations and their rendering contexts, but for one (``Scenes``)."""
        self._portrait.close()
        for scene in self._scenes.values():
            SCENES.give_back(scene)
        self._scenes.clear()
        self._scene = self._simulator = self._expert = None

    def _start(self, number, seed):
        """The task and the initial state of an episode."""
        random = np.random.default_rng(seed)
        if self._training:
            task, state = random.choice(len(self._tasks)), int(random.choice(TRAINING_STATES))
        else:
            turn, task = divmod(number, len(self._tasks))
            state = int(self._order[turn % len(self._order)])
        if self._initial_state is not None:
            state = self._initial_state
        return self._tasks[task], state

    def _play(self, task):
        """Makes the simulation of a task, unless it was played before."""
        if task.index not in self._scenes:
            self._scenes[task.index] = SCENES.take(task, self._image_size)
        scene = self._scenes[task.index]
        if scene is not self._scene:
            self._portrait.close()
        self._scene, self._simulator = scene, scene.simulator

    def _time_step(self):
        simulator = self._simulator
        return TimeStep(
            values={m.name: self._sensed(m.name) for m in self.modalities},
            available={m.name: m.name not in self._unseen for m in self.modalities},
            reward=float(self._success),
            is_first=self._control_step == 0,
            is_last=self._over,
            is_terminal=self._success,
            info=self._outcome()
            | {"task": float(simulator.task.index), "initial_state": float(self._state)},
        )

    def _item(self):
        return self._simulator.position(self._simulator.of_interest[0])

    def _sensed(self, sensor):
        simulator = self._simulator
        if sensor in self._unseen:
            return np.zeros(self._unseen[sensor].shape, self._unseen[sensor].dtype)
        if sensor in _VIEWS:
            return self._scene.picture(_VIEWS[sensor])
        if sensor == "instruction":
            return self._instructions[simulator.task.index].copy()
        state = simulator.joints, simulator.fingers, simulator.hand[0]
        return np.concatenate(state).astype(np.float32)


def _modality(sensor: str, image_size: int, instruction_size: int) -> Modality:
    if sensor == "instruction":
        return Modality(sensor, "embedding", (instruction_size,), can_fail=False)
    if sensor == "proprio":
        return Modality(sensor, "vector", (12,))
    return Modality(sensor, "image", (image_size, image_size, 3))
