"""A robot in a two-dimensional world, seen by two sensors (MuMMI, Fig. 1, 19 and 20)."""

from collections.abc import Callable

import numpy as np

from envs.base import TimeStep, check_action_repeat, checked_action
from envs.episodes import Episodes
from mummi.modality import Modality

CONTROL_STEPS = 100
RADIUS = 0.2
"""Radius of the robot; the arena is [-1, 1] x [-1, 1], x to the right and y to the back."""
SPEED = 0.1
"""Largest distance that the robot moves along each axis in one control step."""

_ROBOT = np.array([70, 200, 90], np.float32)
_FLOOR = np.array([150, 150, 145], np.float32)
_WALLS = {
    "front": np.array([200, 120, 70], np.float32),
    "rear": np.array([70, 110, 190], np.float32),
}
# The cameras in front and behind: distance of the lens from the centre of the arena and height
# above the floor in units of the arena, focal length and height of the horizon in picture sizes.
_DISTANCE, _HEIGHT, _FOCAL, _HORIZON = 2.2, 1.5, 0.7, 0.1


def _with_disc(backdrop: np.ndarray, column: float, row: float, radius: float) -> np.ndarray:
    """``backdrop`` [size, size, 3] float32 with an anti-aliased disc; all in pixels; uint8."""
    centres = np.arange(len(backdrop), dtype=np.float32) + 0.5
    distance = np.hypot(centres - np.float32(column), centres[:, None] - np.float32(row))
    cover = np.clip(np.float32(radius + 0.5) - distance, 0, 1)[..., None]
    return (backdrop + cover * (_ROBOT - backdrop) + 0.5).astype(np.uint8)


class _Ceiling:
    """A camera above the arena: a picture without perspective, the back of the arena on top."""

    def __init__(self, size: int):
        self._backdrop = np.tile(_FLOOR, (size, size, 1))

    def __call__(self, position: np.ndarray) -> np.ndarray:
        scale = len(self._backdrop) / 2
        x, y = position
        return _with_disc(self._backdrop, (1 + x) * scale, (1 - y) * scale, RADIUS * scale)


class _Side:
    """A pinhole camera in front of the arena or behind it that looks over the floor at a wall.

    The robot is a ball on the floor, so the nearer it is, the larger and the lower it appears.
    """

    def __init__(self, name: str, size: int):
        self._sign = 1 if name == "front" else -1
        self._backdrop = np.tile(_WALLS[name], (size, size, 1))
        floor = _HORIZON + _FOCAL * _HEIGHT / (_DISTANCE + 1)
        self._backdrop[round(floor * size) :] = _FLOOR

    def __call__(self, position: np.ndarray) -> np.ndarray:
        size = len(self._backdrop)
        x, y = self._sign * position
        scale = _FOCAL / (_DISTANCE + y)
        column, row = 0.5 + scale * x, _HORIZON + scale * (_HEIGHT - RADIUS)
        return _with_disc(self._backdrop, column * size, row * size, scale * RADIUS * size)


def _vector(*axes: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda position: position[list(axes)].astype(np.float32)


TASKS: dict[str, tuple[str, str]] = {
    "toy_laser_camera": ("laser", "camera"),
    "toy_front_rear": ("front", "rear"),
    "toy_x_y": ("x", "y"),
}
"""Task name to its two sensors."""

_VECTORS = {"laser": (0, 1), "x": (0,), "y": (1,)}


class ToyWorld:
    """A ball that is driven over a square floor; an ``envs.base.Environment``.

    Modalities: ``toy_laser_camera`` has ``laser`` [2], the position (x, y) as laser rangers give
    it, and ``camera``, an image from the ceiling; ``toy_front_rear`` has the images ``front`` and
    ``rear`` of cameras that look at the robot from both sides, each of which alone determines the
    position; ``toy_x_y`` has the vectors ``x`` [1] and ``y`` [1], each of which knows nothing of
    the other. All values of vectors lie in [-1, 1].

    The action is the velocity; walls stop the robot. The reward of a control step is
    exp(-(distance to the centre)^2 / 0.18), so at most 1. An episode starts anywhere, takes 100
    control steps and ends at this time limit only.

    Args:
        task: one of ``TASKS``.
        seed: int, of the start positions.
        image_size: height and width of images, pixels.
        background: taken as by the other tasks; there is none.
        training: taken as by the other tasks.
        action_repeat: control steps for each call of ``step``; rewards are summed over them.

    Raises:
        ValueError: for an action repeat that is not a positive divisor of 100.
    """

    action_size = 2

    def __init__(
        self,
        task: str,
        *,
        seed: int = 0,
        image_size: int = 64,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
    ):
        check_action_repeat(action_repeat, CONTROL_STEPS)
        self.action_repeat = action_repeat
        self._episodes = Episodes(seed)
        self._position = np.zeros(2)
        self._control_step = CONTROL_STEPS
        self._sensors = {}
        modalities = []
        for name in TASKS[task]:
            if name in _VECTORS:
                modality = Modality(name, "vector", (len(_VECTORS[name]),))
                self._sensors[name] = _vector(*_VECTORS[name])
            else:
                modality = Modality(name, "image", (image_size, image_size, 3))
                camera = _Ceiling(image_size) if name == "camera" else _Side(name, image_size)
                self._sensors[name] = camera
            modalities.append(modality)
        self.modalities = tuple(modalities)

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode anywhere in the arena, the one of that number if it is given."""
        _, start = self._episodes.begin(number)
        self._position = np.random.default_rng(start).uniform(RADIUS - 1, 1 - RADIUS, 2)
        self._control_step = 0
        return self._time_step(0.0)

    def step(self, action: np.ndarray) -> TimeStep:
        """Moves with a velocity [2], clipped to [-1, 1], for ``action_repeat`` control steps.

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._control_step >= CONTROL_STEPS:
            raise RuntimeError("the episode is over; call reset before step")
        move = SPEED * checked_action(action, self.action_size)
        reward = 0.0
        for _ in range(self.action_repeat):
            self._position = np.clip(self._position + move, RADIUS - 1, 1 - RADIUS)
            reward += np.exp(-(self._position @ self._position) / 0.18)
        self._control_step += self.action_repeat
        return self._time_step(float(reward))

    def truth(self) -> dict[str, np.ndarray]:
        """``position`` [2] float32, (x, y): for probes of what was learned, never for an agent."""
        return {"position": self._position.astype(np.float32)}

    def render(self, size: int) -> np.ndarray:
        """The arena from above, [size, size, 3] uint8."""
        return _Ceiling(size)(self._position)

    def close(self) -> None:
        """Nothing to free."""

    def _time_step(self, reward: float) -> TimeStep:
        return TimeStep(
            values={name: sensor(self._position) for name, sensor in self._sensors.items()},
            available=dict.fromkeys(self._sensors, True),
            reward=reward,
            is_first=self._control_step == 0,
            is_last=self._control_step >= CONTROL_STEPS,
            is_terminal=False,
        )
