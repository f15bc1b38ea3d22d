"""Push-T, the task of Diffusion Policy and IMLE Policy: push a T-shaped block onto its goal."""

from collections.abc import Callable, Sequence

import numpy as np

from envs.base import (
    TimeStep,
    check_action_repeat,
    check_background,
    check_sensors,
    checked_action,
)
from envs.episodes import Episodes
from envs.pusht.expert import PushTExpert
from envs.pusht.simulator import SIDE, SOLVED, PushTSimulator
from mummi.modality import Modality

HORIZON = 300
"""Control steps of an episode, as gym-pusht has it."""
IMAGE = "image"
_VECTORS: dict[str, Callable[[PushTSimulator], np.ndarray]] = {
    "state": lambda simulator: simulator.agent,
    "keypoints": lambda simulator: simulator.keypoints.ravel(),
}
SENSORS = (IMAGE, *_VECTORS)
"""Every sensor there is."""


class PushT:
    """gym-pusht's ``PushT-v0`` at 10 Hz.

    An ``envs.base.Environment`` with LeRobot's names, so that its data set ``lerobot/pusht`` fits
    as it is. The action is the place that the pusher is drawn to, -1 and 1 at the edges of the
    table, whose sides measure 512; those recorded elsewhere are in these units.

    Sensors: ``image`` [H, W, 3] uint8, the table from above with the goal in green, 96 pixels a
    side in the data; ``state`` [2] float32, where the pusher is; ``keypoints`` [16] float32, the
    block's corners, which no camera needs to see.

    Pusher and block start where gym-pusht draws them; training and evaluation draw alike, from
    other seeds. The reward is the share of the goal that the block covers, over 0.95 and at most 1;
    the step that covers more than 0.95 succeeds and ends the episode as a terminal step. ``info``
    has ``success`` and ``coverage``, the most so far, which Diffusion Policy reports over 0.95.

    Args:
        task: its name.
        seed: int or sequence of ints; starts follow from it.
        image_size: height and width of the pictures, pixels; 96 is gym-pusht's own.
        background: ``none`` or ``natural``, which are one here: a white table.
        training: taken as by the other tasks; training and evaluation draw from the same ranges.
        action_repeat: control steps for each call of ``step``.
        sensors: names of the modalities, in the order in which they are fused.
        start: where every episode starts, pusher and block as (x, y, x, y, radians); by default
            each has its own start.

    Raises:
        ValueError: for a background that is a path, an unknown or repeated sensor, an action
            repeat that is not a positive divisor of 300, or a start of other than five numbers.
    """

    action_size = 2
    action_limits = ((0.0, 0.0), (SIDE, SIDE))

    def __init__(
        self,
        task: str = "pusht",
        *,
        seed: int | Sequence[int] = 0,
        image_size: int = 96,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
        sensors: tuple[str, ...] = (IMAGE, "state"),
        start: tuple[float, ...] = (),
    ):
        check_background(background, task, "a white table")
        check_action_repeat(action_repeat, HORIZON)
        check_sensors(sensors, SENSORS)
        if len(start) not in (0, 5):
            raise ValueError(f"start is {start}; it has five numbers, or none")
        self.action_repeat = action_repeat
        self._simulator, self._episodes = PushTSimulator(), Episodes(seed)
        self._image_size, self._start = image_size, start
        self.modalities = tuple(self._modality(sensor) for sensor in sensors)
        self._control_step, self._over = 0, True

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number if it is given."""
        _, seed = self._episodes.begin(number)
        begins, decides = seed.spawn(2)
        self._simulator.reset_to(int(begins.generate_state(1)[0]))
        if self._start:
            self._simulator.place(self._start[:2], self._start[2:])
        self._expert = PushTExpert(self._simulator, decides)
        self._control_step, self._over, self._most = 0, False, self._simulator.coverage
        return self._time_step()

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action [2], clipped to [-1, 1], for ``action_repeat`` control steps.

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._over:
            raise RuntimeError("the episode is over; call reset before step")
        target = (checked_action(action, self.action_size) + 1) * SIDE / 2
        reward = 0.0
        for _ in range(self.action_repeat):
            self._simulator.step(target)
            self._control_step += 1
            coverage = self._simulator.coverage
            self._most = max(self._most, coverage)
            reward += min(coverage / SOLVED, 1)
            if coverage > SOLVED:
                break
        self._over = self._most > SOLVED or self._control_step >= HORIZON
        return self._time_step(reward)

    def render(self, size: int) -> np.ndarray:
        """The table from above, [size, size, 3] uint8."""
        return self._simulator.picture(size)

    def truth(self) -> dict[str, np.ndarray]:
        """``pusher`` [2] and ``block`` [3], (x, y, radians), float32."""
        simulator = self._simulator
        state = {"pusher": simulator.agent, "block": simulator.block}
        return {name: value.astype(np.float32) for name, value in state.items()}

    def expert_action(self) -> np.ndarray:
        """What the planner does in the present state, [2] in [-1, 1].

        To be asked once before each step; it remembers how far it has come.
        """
        return self._expert()

    def close(self) -> None:
        """Nothing is held."""

    def _modality(self, sensor: str) -> Modality:
        if sensor == IMAGE:
            return Modality(sensor, "image", (self._image_size, self._image_size, 3))
        return Modality(sensor, "vector", _VECTORS[sensor](self._simulator).shape)

    def _sensed(self, sensor: str) -> np.ndarray:
        if sensor == IMAGE:
            return self._simulator.picture(self._image_size)
        return _VECTORS[sensor](self._simulator).astype(np.float32)

    def _time_step(self, reward: float = 0.0) -> TimeStep:
        solved = self._most > SOLVED
        return TimeStep(
            values={m.name: self._sensed(m.name) for m in self.modalities},
            available={m.name: True for m in self.modalities},
            reward=reward,
            is_first=self._control_step == 0,
            is_last=self._over,
            is_terminal=solved,
            info={"success": float(solved), "coverage": self._most},
        )
