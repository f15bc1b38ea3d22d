"""gymnasium, both ways: its environments as tasks ``gymnasium:ID``, and ours as its ``Env``."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from envs.base import Environment, TimeStep, checked_action
from envs.custom import import_for
from envs.episodes import Episodes
from mummi.modality import Modality

with warnings.catch_warnings():  # its import changes the filters
    import gymnasium
    from gymnasium.spaces import Box, Dict, Space

PIXELS = "rgb"
"""Name of the sensor that shows what the environment draws."""
_CHANNELS = (1, 3, 4)


class Gymnasium:
    """An environment of gymnasium: continuous actions, sensors from a Box or a Dict of Boxes.

    Sensors: each Box of the observation by its name in the Dict (``observation`` where there is
    none, and the names of nested ones joined by ``_``). uint8 [H, W, C] or [H, W] is an image and
    float [H, W, 1] within [-1, 1] is depth, both brought to ``image_size`` pixels a side; every
    other of one or two axes is a flat float32 vector. ``info["available"]`` of reset and step, a
    mapping of sensor to bool, says which did not deliver.

    The action in [-1, 1] is scaled to the bounds of the environment's own. ``terminated`` is a
    terminal step, ``truncated`` the last one. Episode n is reset with a seed that follows from
    ``seed`` and n. ``info`` has the numbers of gymnasium's.

    Args:
        task: ``gymnasium:ID``, ``gymnasium:MODULE:ID`` where MODULE registers the ID, or a
            ``gymnasium.Env``, wrapped in any way.
        seed: int or sequence of ints, of the episodes.
        image_size: height and width of images and depth, pixels.
        pixels: add the sensor ``rgb``, an image of what the environment draws.

    Raises:
        ValueError: there is no such ID, or its actions or observations are of another kind.
        ModuleNotFoundError: what the environment needs is not installed; gymnasium says what is.
    """

    def __init__(
        self,
        task: str | gymnasium.Env,
        *,
        seed: int = 0,
        image_size: int = 64,
        pixels: bool = False,
    ):
        self._env = _made(task) if isinstance(task, str) else task
        self._task, self._size = str(task), image_size
        self._episodes = Episodes(seed)
        if pixels and self._env.render_mode != "rgb_array":
            raise ValueError(f"task {task!r} draws no rgb_array, which pixels asks for")
        self._low, self._high = bounds(self._task, self._env.action_space)
        self.action_size = self._low.size
        boxes = list(_boxes(self._task, self._env.observation_space))
        self._kinds = {name: _kind(self._task, name, box) for name, box in boxes}
        self.modalities = tuple(self._modality(name, box) for name, box in boxes)
        self._pixels = pixels
        if pixels:
            self.modalities += (Modality(PIXELS, "image", (image_size, image_size, 3)),)
        names = [modality.name for modality in self.modalities]
        if len(set(names)) < len(names):
            raise ValueError(f"sensors of task {task!r} are {', '.join(names)}, not each once")
        self._over = True

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number if it is given."""
        _, seed = self._episodes.begin(number)
        observation, info = self._env.reset(seed=int(seed.generate_state(1)[0]))
        self._over = False
        return self._time_step(observation, info, is_first=True)

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action, float [action_size], clipped to [-1, 1].

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._over:
            raise RuntimeError("the episode is over; call reset before step")
        share = (checked_action(action, self.action_size) + 1) / 2
        space = self._env.action_space
        scaled = (self._low + share * (self._high - self._low)).reshape(space.shape)
        scaled = np.clip(scaled.astype(space.dtype), space.low, space.high)
        observation, reward, terminated, truncated, info = self._env.step(scaled)
        self._over = bool(terminated or truncated)
        flags = {"is_last": self._over, "is_terminal": bool(terminated)}
        return self._time_step(observation, info, reward=float(reward), **flags)

    def render(self, size: int) -> np.ndarray:
        """What the environment draws, [size, size, 3] uint8; black where it cannot draw."""
        if self._env.render_mode != "rgb_array":
            return np.zeros((size, size, 3), np.uint8)
        return _resized(self._drawn(), size)

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def _modality(self, name: str, box: Box) -> Modality:
        kind, size = self._kinds[name], self._size
        if kind == "vector":
            return Modality(name, kind, (int(np.prod(box.shape)),))
        return Modality(name, kind, (size, size, 1 if len(box.shape) < 3 else box.shape[2]))

    def _drawn(self) -> np.ndarray:
        try:
            return np.asarray(self._env.render())
        except gymnasium.error.DependencyNotInstalled as error:
            raise ModuleNotFoundError(f"drawing {self._task!r}: {error}") from error

    def _time_step(self, observation: Any, info: Mapping[str, Any], **flags: Any) -> TimeStep:
        values = {}
        for name, value in _leaves(observation, self._env.observation_space):
            value = np.asarray(value)
            if self._kinds[name] == "vector":
                values[name] = value.astype(np.float32).ravel()
            else:
                values[name] = _resized(value, self._size)
        if self._pixels:
            values[PIXELS] = _resized(self._drawn(), self._size)
        numbers = {
            name: float(value)
            for name, value in info.items()
            if isinstance(value, bool | int | float | np.number | np.bool_)
        }
        return TimeStep(values, dict(info.get("available", {})), info=numbers, **flags)


class _Env(gymnasium.Env):
    """What ``to_gymnasium`` gives."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, environment: Environment, render_mode: str | None, size: int):
        self.render_mode, self._size, self._environment = render_mode, size, environment
        self.observation_space = Dict({m.name: _space(m) for m in environment.modalities})
        self.action_space = Box(-1.0, 1.0, (environment.action_size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return self._told(self._environment.reset(int(self.np_random.integers(2**31))))

    def step(self, action: np.ndarray):
        step = self._environment.step(np.asarray(action, np.float64))
        truncated = step.is_last and not step.is_terminal
        observation, info = self._told(step)
        return observation, float(step.reward), bool(step.is_terminal), bool(truncated), info

    def render(self) -> np.ndarray | None:
        return self._environment.render(self._size) if self.render_mode else None

    def close(self) -> None:
        self._environment.close()

    def _told(self, step: TimeStep):
        return dict(step.values), {**step.info, "available": dict(step.available)}


def to_gymnasium(
    environment: Environment, *, render_mode: str | None = None, size: int = 256
) -> gymnasium.Env:
    """One of this package's environments as a ``gymnasium.Env``.

    Observations are a Dict with a Box for each sensor, actions a Box [-1, 1];
    ``info["available"]`` says which sensors delivered. ``reset(seed=s)`` makes all that follows
    reproducible.

    Args:
        environment: what ``envs.make`` gives.
        render_mode: None or ``rgb_array``.
        size: height and width of what ``render`` gives, pixels.

    Raises:
        ValueError: for another render mode.
    """
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is {render_mode!r}; it must be None or 'rgb_array'")
    return _Env(environment, render_mode, size)


def _made(task: str) -> gymnasium.Env:
    module, _, name = task.removeprefix("gymnasium:").rpartition(":")
    if module:
        import_for(task, module)
    try:
        kind = gymnasium.spec(name).entry_point
        if isinstance(kind, str):
            kind = gymnasium.envs.registration.load_env_creator(kind)
        draws = "rgb_array" in getattr(kind, "metadata", {}).get("render_modes", ())
        mode = "rgb_array" if draws else None
        return gymnasium.make(name, render_mode=mode, disable_env_checker=True)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ModuleNotFoundError(f"task {task!r}: {error}") from error
    except gymnasium.error.Error as error:
        raise ValueError(f"task {task!r}: {error}") from error


def task_bounds(task: str) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest action of ``gymnasium:ID`` in its own units, float64 [action_size].

    Raises:
        ValueError, ModuleNotFoundError: as ``Gymnasium``.
    """
    made = _made(task)
    try:
        return bounds(task, made.action_space)
    finally:
        made.close()


def bounds(task: str, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest action of a space, float64 [action_size].

    Raises:
        ValueError: it is no Box, or has none.
    """
    if not isinstance(space, Box):
        raise ValueError(
            f"actions of task {task!r} are {space}; agents here need a Box of continuous actions"
        )
    if not space.is_bounded():
        raise ValueError(
            f"actions of task {task!r} are {space}, without bounds to scale [-1, 1] to; give the "
            "Box finite ones, as by gymnasium.wrappers.TransformAction"
        )
    return space.low.astype(np.float64).ravel(), space.high.astype(np.float64).ravel()


def _boxes(task: str, space: Space, name: str = "") -> Iterator[tuple[str, Box]]:
    """Names and spaces of the sensors."""
    if isinstance(space, Dict):
        for key, inner in space.spaces.items():
            yield from _boxes(task, inner, f"{name}_{key}" if name else str(key))
    elif isinstance(space, Box):
        yield name or "observation", space
    else:
        raise ValueError(
            f"observation {name!r} of task {task!r} is {space}; sensors are Box, or Dict of Box: "
            "turn it into one with gymnasium.wrappers.TransformObservation"
        )


def _leaves(observation: Any, space: Space, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of the sensors, in the order of ``_boxes``."""
    if not isinstance(space, Dict):
        yield name or "observation", observation
        return
    for key, inner in space.spaces.items():
        yield from _leaves(observation[key], inner, f"{name}_{key}" if name else str(key))


def _kind(task: str, name: str, box: Box) -> str:
    shape, uint8 = box.shape, box.dtype == np.uint8
    if len(shape) == 3 and shape[2] in _CHANNELS and uint8:
        return "image"
    if len(shape) == 3 and shape[2] == 1 and np.issubdtype(box.dtype, np.floating):
        if (box.low < -1).any() or (box.high > 1).any():
            raise ValueError(
                f"observation {name!r} of task {task!r} is depth from {box.low.min()} to "
                f"{box.high.max()}; bring it into [-1, 1], as by "
                "gymnasium.wrappers.RescaleObservation"
            )
        return "depth"
    if len(shape) > 2:
        channels_first = len(shape) == 3 and shape[0] in _CHANNELS
        why = "has its channels first" if channels_first else "is no picture"
        raise ValueError(
            f"observation {name!r} of task {task!r}, {box.dtype} {shape}, {why}: images are uint8 "
            "(H, W, C), depth is float (H, W, 1)"
        )
    return "image" if uint8 and len(shape) == 2 else "vector"


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture [H, W] or [H, W, C] as [size, size, C] of its dtype.

    Colours are averaged over the area of a pixel; of depth the nearest is taken, as the mean of
    near and far is neither.
    """
    picture = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    if picture.dtype != np.uint8:
        rows, columns = (np.arange(size) * n // size for n in picture.shape)
        return picture[rows[:, None], columns, None].astype(np.float32)
    if picture.shape[:2] != (size, size):
        picture = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))
    return picture[..., None] if picture.ndim == 2 else picture


def _space(modality: Modality) -> Box:
    if modality.kind == "image":
        return Box(0, 255, modality.shape, np.uint8)
    low, high = (-1.0, 1.0) if modality.kind == "depth" else (-np.inf, np.inf)
    return Box(low, high, modality.shape, np.float32)
