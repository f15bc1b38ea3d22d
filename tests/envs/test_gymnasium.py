"""gymnasium both ways: its environments are tasks, and ours pass its own checks."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from gymnasium.utils.env_checker import check_env

import envs
from envs.gymnasium import Gymnasium, to_gymnasium
from envs.processes.parallel import ParallelEnvironments

PENDULUM = "gymnasium:Pendulum-v1"


class Robot(gymnasium.Env):
    """Every kind of observation; its state is the sum of what was done."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, changes=None, actions=None, terminates=True):
        camera = {"rgb": Box(0, 255, (8, 6, 3), np.uint8), "depth": Box(0, 1, (4, 4, 1))}
        arm = {"joints": Box(-np.inf, np.inf, (2, 2), np.float64), "torque": Box(-1, 1, (3,))}
        spaces = {"camera": Dict(camera), "arm": Dict(arm), "grey": Box(0, 255, (8, 8), np.uint8)}
        self.observation_space = Dict(spaces | (changes or {}))
        self.action_space = actions or Box(np.float32([0, -4]), np.float32([2, 4]))
        self.terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.done = 0, np.zeros(2)
        self.offset = self.np_random.random()
        return self.look(), {"available": {"grey": False}}

    def step(self, action):
        assert action in self.action_space and action.dtype == np.float32
        self.time, self.done = self.time + 1, self.done + action
        ends = self.time == 3
        info = {"available": {"camera_depth": self.time != 2}, "speed": np.float64(self.time)}
        return self.look(), action.sum(), ends and self.terminates, ends, info | {"note": "text"}

    def look(self):
        picture = np.zeros((8, 6, 3), np.uint8)
        picture[:4] = 200
        depth = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4, 1)
        joints = np.array([[*self.done], [self.offset, 0]])
        return {
            "camera": {"rgb": picture, "depth": depth},
            "arm": {"joints": joints, "torque": np.ones(3, np.float32)},
            "grey": picture[:, :1, 0].repeat(8, 1),
        }

    def render(self):
        return np.full((40, 60, 3), 7, np.uint8)


def test_observations_become_sensors_by_dtype_and_shape():
    robot = Gymnasium(Robot(), seed=1, image_size=4, pixels=True)
    assert {m.name: (m.kind, m.shape) for m in robot.modalities} == {
        "arm_joints": ("vector", (4,)),
        "arm_torque": ("vector", (3,)),
        "camera_depth": ("depth", (4, 4, 1)),
        "camera_rgb": ("image", (4, 4, 3)),
        "grey": ("image", (4, 4, 1)),
        "rgb": ("image", (4, 4, 3)),
    }
    values = robot.reset().values
    for modality in robot.modalities:
        value = values[modality.name]
        assert value.shape == modality.shape and value.dtype == modality.dtype
    assert (values["camera_rgb"][:2] == 200).all() and not values["camera_rgb"][2:].any()
    np.testing.assert_allclose(values["camera_depth"].ravel(), np.linspace(0, 1, 16), rtol=1e-6)
    assert (values["rgb"] == 7).all() and robot.render(10).shape == (10, 10, 3)


def test_actions_are_scaled_to_the_bounds_and_clipped():
    robot = Gymnasium(Robot())
    robot.reset()
    assert robot.action_size == 2
    for action, expected in (([-1, -1], [0, -4]), ([0, 0.5], [1, -2]), ([9, 0], [3, -2])):
        values = robot.step(np.array(action, float)).values
        np.testing.assert_allclose(values["arm_joints"][:2], expected)
    with pytest.raises(RuntimeError, match="the episode is over"):
        robot.step(np.zeros(2))


@pytest.mark.parametrize("terminates", [True, False])
def test_flags_numbers_and_availability_are_gymnasiums(terminates):
    robot = envs.custom.Custom(Gymnasium(Robot(terminates=terminates)), "robot")
    first = robot.reset()
    assert first.is_first and not first.available["grey"] and first.available["camera_depth"]
    steps = [robot.step(np.zeros(2)) for _ in range(3)]
    assert [s.available["camera_depth"] for s in steps] == [True, False, True]
    assert [(s.is_last, s.is_terminal) for s in steps] == [(False, False)] * 2 + [
        (True, terminates)
    ]
    assert steps[1].info == {"speed": 2.0} and steps[1].reward == 1


def test_episodes_follow_from_seed_and_number():
    one, other = (envs.make(PENDULUM, seed=4) for _ in range(2))
    other.reset()
    first, again = one.reset(6), other.reset(6)
    np.testing.assert_array_equal(first.values["observation"], again.values["observation"])
    assert (first.values["observation"] != one.reset(7).values["observation"]).any()
    steps = [[e.step(np.array([0.3])).reward for _ in range(4)] for e in (one, one, other)]
    assert steps[0] != steps[2]


def test_a_task_of_gymnasium_steps_in_workers(workers):
    with ParallelEnvironments(PENDULUM, [0, 0], action_repeat=2, missing="medium") as pool:
        batch = pool.reset(numbers=[1, 1])
        assert pool.action_repeat == 2 and pool.modalities[0].name == "observation"
        np.testing.assert_array_equal(*batch.values["observation"])
        assert (pool.step(np.ones((2, 1))).reward < 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": Discrete(3)}, r"actions of task .* are Discrete\(3\); .* continuous actions"),
        ({"actions": Box(-np.inf, np.inf, (2,))}, "without bounds to scale"),
        ({"changes": {"on": MultiBinary(2)}}, r"observation 'on' .* is MultiBinary\(2\)"),
        ({"changes": {"eye": Box(0, 255, (3, 8, 8), np.uint8)}}, "'eye' .* has its channels first"),
        ({"changes": {"eye": Box(0, 1, (8, 8, 3))}}, "'eye' .* is no picture: images are uint8"),
        ({"changes": {"far": Box(0, 9, (8, 8, 1))}}, "'far' .* is depth from 0.0 to 9.0"),
        ({"changes": {"a-b": Box(0, 1, (2,))}}, "modality name 'a-b' must be a Python identifier"),
        ({"changes": {"arm_torque": Box(0, 1, (2,))}}, "not each once"),
    ],
)
def test_what_is_no_sensor_or_no_action_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        Gymnasium(Robot(**changes))


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("gymnasium:Pendulm-v1", ValueError, "Pendulm.* doesn't exist. Did you mean: `Pendulum`"),
        ("gymnasium:CartPole-v1", ValueError, r"are Discrete\(2\)"),
        ("gymnasium:no_such_robots:Arm-v0", ModuleNotFoundError, "no module 'no_such_robots'"),
    ],
)
def test_what_gymnasium_does_not_have_is_refused_by_name(task, error, message):
    with pytest.raises(error, match=message):
        envs.make(task)


def test_what_draws_needs_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    task = envs.make(PENDULUM, pixels=True)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .*gymnasium\[classic"):
        task.reset()


# The first two are so for every vector; the last as ours are not in gymnasium's registry.
@pytest.mark.filterwarnings("ignore:.*A Box observation space m(in|ax)imum value is")
@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes")
@pytest.mark.parametrize(
    ("task", "changes"),
    [("dummy", {"missing": "high"}), ("toy_front_rear", {}), ("cup_catch", {"background": "none"})],
)
def test_our_environments_pass_gymnasiums_own_checks(task, changes):
    ours = to_gymnasium(envs.make(task, image_size=16, **changes), render_mode="rgb_array", size=8)
    check_env(ours)
    first, info = ours.reset(seed=5)
    assert info["available"].keys() == first.keys() and ours.render().shape == (8, 8, 3)
    ours.close()


def test_a_seed_makes_the_episodes_after_it_the_same():
    def episodes(ours):
        return [ours.reset(seed=3)[0]["x"], *(ours.reset()[0]["x"] for _ in range(3))]

    one, other = (to_gymnasium(envs.make("toy_x_y", seed=seed)) for seed in (1, 1))
    other.reset()
    np.testing.assert_array_equal(episodes(one), episodes(other))
    assert len(np.unique(episodes(one))) == 4
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        to_gymnasium(envs.make("toy_x_y"), render_mode="human")


def test_the_end_of_an_episode_is_terminated_or_truncated():
    ours = to_gymnasium(envs.make("dummy", length=2, image_size=8))
    ends = []
    for seed in range(6):
        ours.reset(seed=seed)
        ours.step(np.zeros(2, np.float32))
        ends.append(ours.step(np.zeros(2, np.float32))[2:4])
    assert set(ends) == {(True, False), (False, True)}
