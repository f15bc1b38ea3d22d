"""Five control-suite tasks seen through colour, depth and touch.

The suite's own physics, rewards and start states, with three sensors. In the natural setting
everything but the body, floor included, is replaced by a moving background in the colour
picture. Depth never shows the background in any setting.
"""

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from envs.rendering.renderer import Renderer  # isort: skip  (before dm_control: it chooses the backend)

from dm_control.suite import ball_in_cup, finger, walker

from envs.base import TimeStep, check_action_repeat, check_sensors, checked_action
from envs.episodes import Episodes
from envs.natural_mujoco.backgrounds import make_background
from envs.natural_mujoco.expert import SETTINGS, PlanningExpert, full_state
from mummi.modality import Modality

CONTROL_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Domain:
    """What the tasks of one robot share.

    Attributes:
        suite: the suite's module, with ``get_model_and_assets`` and ``Physics``.
        camera: name of the camera that looks at the body.
        camera_moves: the camera follows the body, so the plain backdrop changes with it.
        near: distance from the camera that depth 0 stands for, metres.
        far: distance that depth 1 and the background stand for, metres.
        control_timestep: seconds of one control step.
        touch_sites: site attributes by body, for domains without touch sensors of their own.
        touch: names of the touch sensors.
    """

    suite: ModuleType
    camera: str
    camera_moves: bool
    near: float
    far: float
    control_timestep: float
    touch_sites: dict[str, dict[str, str]]
    touch: tuple[str, ...]


WALKER = Domain(
    suite=walker,
    camera="side",
    camera_moves=True,
    near=1.7,
    far=3.0,
    control_timestep=0.025,
    # The foot's own shape, a centimetre thicker, so that no contact of the foot is missed.
    touch_sites={
        side: {"type": "capsule", "size": ".06 .1", "zaxis": "1 0 0"}
        for side in ("right_foot", "left_foot")
    },
    touch=("right_foot_touch", "left_foot_touch"),
)
FINGER = Domain(
    suite=finger,
    camera="cam0",
    camera_moves=False,
    near=0.85,
    far=1.3,
    control_timestep=0.02,
    touch_sites={},
    touch=("touchtop", "touchbottom"),
)
CUP = Domain(
    suite=ball_in_cup,
    camera="cam0",
    camera_moves=False,
    near=0.85,
    far=1.35,
    control_timestep=0.02,
    # The inside of the cup up to its inner walls: what presses there is the caught ball.
    touch_sites={"cup": {"type": "box", "size": ".048 .02 .047", "pos": "0 0 -.047"}},
    touch=("cup_touch",),
)

TASKS: dict[str, tuple[Domain, Callable]] = {
    "walker_stand": (WALKER, lambda random: walker.PlanarWalker(0, random=random)),
    "walker_walk": (WALKER, lambda random: walker.PlanarWalker(1, random=random)),
    "walker_run": (WALKER, lambda random: walker.PlanarWalker(8, random=random)),
    "finger_spin": (FINGER, lambda random: finger.Spin(random=random)),
    "cup_catch": (CUP, lambda random: ball_in_cup.BallInCup(random=random)),
}

SENSORS = ("rgb", "depth", "touch")
"""What there is to see and feel."""


def _add_touch(xml: str, sites: dict[str, dict[str, str]]) -> str:
    """Adds a massless site and a touch sensor to each of the named bodies."""
    root = ElementTree.fromstring(xml)
    sensors = ElementTree.SubElement(root, "sensor")
    for body, attributes in sites.items():
        name = f"{body}_touch"
        # Group 4 is not drawn.
        site = {"name": name, "group": "4", **attributes}
        ElementTree.SubElement(root.find(f".//body[@name='{body}']"), "site", site)
        ElementTree.SubElement(sensors, "touch", {"name": name, "site": name})
    return ElementTree.tostring(root, encoding="unicode")


def _compose(rgb: np.ndarray, pixels: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """A new picture: ``rgb`` at the flat indices ``pixels``, ``behind`` elsewhere."""
    picture = behind.copy()
    picture.reshape(-1, 3)[pixels] = rgb.reshape(-1, 3)[pixels]
    return picture


class NaturalMujoco:
    """A control-suite task with colour, depth and touch; an ``envs.base.Environment``.

    Modalities, in order: ``rgb`` [H, W, 3] uint8; ``depth`` [H, W, 1] float32, 0 at the domain's
    near distance and 1 at its far distance and wherever there is no body; ``touch`` [N] float32,
    log(1 + newtons) / 7, which maps the 1,100 N of a hard landing to 1 (walker: right and left
    foot; finger: top and bottom of the tip; cup: its inside).

    An episode is 1,000 control steps and ends at the time limit only.

    Args:
        task: one of ``TASKS``.
        seed: int or sequence of ints; start states and backgrounds follow from it.
        image_size: height and width of rgb and depth, pixels.
        background: ``none`` (the suite's floor and sky, without shadows and reflections),
            ``natural``, or a path that ``envs.natural_mujoco.backgrounds.make_background`` takes.
        training: take the training clips of the background, not the evaluation clips.
        action_repeat: control steps for each call of ``step``; rewards are summed over them.
        sensors: names of the modalities, in the order in which they are fused.

    Raises:
        ValueError: for an action repeat that is not a positive divisor of 1,000, a bad background,
            or sensors that are not there.
    """

    def __init__(
        self,
        task: str,
        *,
        seed: int | Sequence[int] = 0,
        image_size: int = 64,
        background: str = "natural",
        training: bool = True,
        action_repeat: int = 2,
        sensors: tuple[str, ...] = SENSORS,
    ):
        check_action_repeat(action_repeat, CONTROL_STEPS)
        check_sensors(sensors, SENSORS)
        self._domain, make_task = TASKS[task]
        episode_seed, background_seed = np.random.SeedSequence(seed).spawn(2)
        self._episodes = Episodes(episode_seed)
        self._random = np.random.RandomState()  # seeded by each episode
        self._task = make_task(self._random)
        xml, assets = self._domain.suite.get_model_and_assets()
        xml = _add_touch(xml, self._domain.touch_sites)
        self._physics = self._domain.suite.Physics.from_xml_string(xml, assets)
        self._model, self._data = self._physics.model.ptr, self._physics.data.ptr
        self._touch = [int(self._model.sensor(name).adr[0]) for name in self._domain.touch]
        self._substeps = round(self._domain.control_timestep / self._model.opt.timestep)
        self._background = (
            None
            if background == "none"
            else make_background(background, image_size, background_seed, training)
        )
        self._renderer = Renderer(self._model, self._domain.camera, image_size)
        self._portrait = None
        self._behind = None
        self._expert, self._expert_seed, self._settings = None, 0, SETTINGS[task]
        self._control_step = CONTROL_STEPS

        self.action_repeat = action_repeat
        self.action_size = self._model.nu
        shapes = {
            "rgb": ("image", (image_size, image_size, 3)),
            "depth": ("depth", (image_size, image_size, 1)),
            "touch": ("vector", (len(self._touch),)),
        }
        self.modalities = tuple(Modality(name, *shapes[name]) for name in sensors)
        self._available = {modality.name: True for modality in self.modalities}

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, on a new clip of the background, those of that number."""
        number, episode = self._episodes.begin(number)
        start, self._expert_seed = episode.spawn(2)
        self._random.set_state(np.random.RandomState(np.random.MT19937(start)).get_state())
        with self._physics.reset_context():
            self._task.initialize_episode(self._physics)
        self._control_step = 0
        if self._background is not None:
            self._background.new_clip(number)
        if self._expert is not None:
            self._expert.begin(self._expert_seed)
        return self._time_step(reward=0.0)

    def step(self, action: np.ndarray) -> TimeStep:
        """Holds one action, float [action_size], clipped to [-1, 1], for ``action_repeat`` steps.

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over, or none has begun.
        """
        if self._control_step >= CONTROL_STEPS:
            raise RuntimeError("the episode is over; call reset before step")
        action = checked_action(action, self.action_size)
        reward = 0.0
        for _ in range(self.action_repeat):
            self._task.before_step(action, self._physics)
            self._physics.step(self._substeps)
            self._task.after_step(self._physics)
            reward += self._task.get_reward(self._physics)
        self._control_step += self.action_repeat
        return self._time_step(reward)

    def render(self, size: int) -> np.ndarray:
        """A picture for people of what the robot is and what lies behind it, [size, size, 3]."""
        # Twice the size, then averaged: smooth edges without mixing body and background wrongly.
        if self._portrait is None or self._portrait.size != 2 * size:
            if self._portrait is not None:
                self._portrait.close()
            self._portrait = Renderer(self._model, self._domain.camera, 2 * size, 48)
        if self._background is None:
            behind = self._portrait.backdrop(self._data)
        else:
            nearest = np.arange(2 * size) * len(self._behind) // (2 * size)
            behind = self._behind[nearest[:, None], nearest]
        rgb, pixels, _ = self._portrait.body(self._data)
        picture = _compose(rgb, pixels, behind).reshape(size, 2, size, 2, 3)
        return picture.mean((1, 3)).round().astype(np.uint8)

    def truth(self) -> dict[str, np.ndarray]:
        """The suite's own observation of the state, by its names: positions and velocities."""
        observation = self._task.get_observation(self._physics)
        return {name: np.ravel(value).astype(np.float32) for name, value in observation.items()}

    def physics_state(self) -> np.ndarray:
        """The simulator's full state: time, positions and velocities, float64 [S]."""
        return full_state(self._model, self._data)

    def expert_action(self) -> np.ndarray:
        """What the planning expert does in the present state, [action_size] in [-1, 1]."""
        if self._expert is None:
            self._expert = PlanningExpert(
                self._model,
                self._settings,
                substeps=self._substeps,
                action_repeat=self.action_repeat,
                seed=self._expert_seed,
            )
        return self._expert(self._data)

    def close(self) -> None:
        """Frees the rendering contexts."""
        self._renderer.close()
        if self._portrait is not None:
            self._portrait.close()

    def _time_step(self, reward):
        if self._background is not None:
            self._behind = self._background.frame()
        elif self._domain.camera_moves or self._behind is None:
            self._behind = self._renderer.backdrop(self._data)
        newtons = self._data.sensordata[self._touch]
        values = {"touch": (np.log1p(newtons) / 7).astype(np.float32)}
        if {"rgb", "depth"} & self._available.keys():
            rgb, pixels, metres = self._renderer.body(self._data)
            near, far = self._domain.near, self._domain.far
            depth = np.ones((*rgb.shape[:2], 1), np.float32)
            depth.ravel()[pixels] = np.clip((metres - near) / (far - near), 0, 1)
            values |= {"rgb": _compose(rgb, pixels, self._behind), "depth": depth}
        return TimeStep(
            values={name: values[name] for name in self._available},
            available=dict(self._available),
            reward=float(reward),
            is_first=self._control_step == 0,
            is_last=self._control_step >= CONTROL_STEPS,
            is_terminal=False,
        )
