"""The two-dimensional world: pictures, motion, sensors, time and errors."""

import numpy as np
import pytest

import envs
from envs.toy_world import CONTROL_STEPS, RADIUS, SPEED, TASKS

every_task = pytest.mark.parametrize("task", TASKS)
EDGE = 1 - RADIUS


def place(environment, x, y):
    """Drives the robot to a position; its sensors then say the time step."""
    environment.reset()
    for _ in range(40):
        step = environment.step((np.array([x, y]) - environment.truth()["position"]) / SPEED)
    np.testing.assert_allclose(environment.truth()["position"], (x, y), atol=1e-6)
    return step


def centre_of_robot(picture):
    """Mean column and row and the area, in pixels; the robot is the greenest thing in sight."""
    green = picture[..., 1].astype(float)
    behind = np.median(green, axis=1, keepdims=True)
    cover = (green - behind) / (green.max() - behind)
    centres = np.arange(len(picture)) + 0.5
    area = cover.sum()
    return cover.sum(0) @ centres / area, cover.sum(1) @ centres / area, area


@every_task
def test_values_are_as_declared_and_all_follows_from_the_seed(task):
    def run(seed):
        environment = envs.make(task, seed=seed, image_size=24)
        random = np.random.default_rng(0)
        steps = [environment.reset()]
        steps += [environment.step(random.uniform(-1, 1, 2)) for _ in range(5)]
        return environment, steps

    environment, steps = run(3)
    _, again = run(3)
    _, other = run(4)
    assert tuple(m.name for m in environment.modalities) == TASKS[task]
    for modality in environment.modalities:
        for step, same in zip(steps, again, strict=True):
            value = step.values[modality.name]
            assert value.shape == modality.shape and value.dtype == modality.dtype
            assert step.available[modality.name]
            np.testing.assert_array_equal(value, same.values[modality.name])
        assert (steps[0].values[modality.name] != other[0].values[modality.name]).any()
    picture = environment.render(40)
    assert picture.shape == (40, 40, 3) and picture.dtype == np.uint8
    environment.close()


@every_task
@pytest.mark.parametrize("repeat", [1, 5])
def test_an_episode_ends_at_its_time_limit(task, repeat):
    environment = envs.make(task, action_repeat=repeat)
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step(np.zeros(2))
    for _ in range(2):
        step, count = environment.reset(), 0
        assert step.is_first and step.reward == 0
        while not step.is_last:
            step, count = environment.step(np.zeros(2)), count + 1
            assert not step.is_first and not step.is_terminal
        assert count * repeat == CONTROL_STEPS


def test_the_robot_moves_as_it_is_told_and_stops_at_walls():
    environment = envs.make("toy_laser_camera", seed=1)
    place(environment, 0, 0.1)
    environment.step(np.array([0.5, -1]))
    np.testing.assert_allclose(environment.truth()["position"], (0.5 * SPEED, 0), atol=1e-6)
    environment.step(np.array([7, 0]))
    np.testing.assert_allclose(environment.truth()["position"], (1.5 * SPEED, 0), atol=1e-6)
    for _ in range(30):
        step = environment.step(np.array([1, -1]))
    np.testing.assert_allclose(step.values["laser"], (EDGE, -EDGE), atol=1e-6)


def test_starts_cover_the_arena():
    environment = envs.make("toy_x_y", seed=0)
    starts = []
    for _ in range(400):
        environment.reset()
        starts.append(environment.truth()["position"])
    counts, _, _ = np.histogram2d(*np.array(starts).T, bins=2, range=[[-EDGE, EDGE]] * 2)
    assert counts.sum() == 400 and counts.min() > 60


def test_the_reward_is_a_gaussian_of_the_distance_to_the_centre_summed_over_repeats():
    environment = envs.make("toy_x_y")
    place(environment, 0.3, -0.3)
    assert environment.step(np.zeros(2)).reward == pytest.approx(np.exp(-0.18 / 0.18))
    environment = envs.make("toy_x_y", action_repeat=2)
    environment.reset()
    for _ in range(20):
        environment.step(-environment.truth()["position"] / SPEED / 2)
    assert environment.step(np.array([1, 0])).reward == pytest.approx(
        np.exp(-(SPEED**2) / 0.18) + np.exp(-((2 * SPEED) ** 2) / 0.18)
    )


def test_vector_sensors_say_the_position():
    laser = place(envs.make("toy_laser_camera"), 0.3, -0.6).values["laser"]
    np.testing.assert_allclose(laser, (0.3, -0.6), atol=1e-6)
    apart = place(envs.make("toy_x_y"), 0.3, -0.6).values
    np.testing.assert_allclose((apart["x"], apart["y"]), ([0.3], [-0.6]), atol=1e-6)


@pytest.mark.parametrize("position", [(0, 0), (0.5, 0.3), (-EDGE, EDGE), (0.37, -EDGE)])
def test_the_ceiling_camera_shows_the_robot_where_it_is_to_a_fraction_of_a_pixel(position):
    environment = envs.make("toy_laser_camera", image_size=32)
    picture = place(environment, *position).values["camera"]
    column, row, area = centre_of_robot(picture)
    x, y = position
    assert column == pytest.approx(16 * (1 + x), abs=0.1)
    assert row == pytest.approx(16 * (1 - y), abs=0.1)
    assert area == pytest.approx(np.pi * (16 * RADIUS) ** 2, rel=0.06)
    np.testing.assert_array_equal(picture, environment.render(32))


def test_side_cameras_mirror_each_other_and_near_is_large_and_low():
    environment = envs.make("toy_front_rear", image_size=64)
    seen = {}
    for x, y in [(0.4, 0.5), (-0.4, -0.5), (0.4, -0.5)]:
        values = place(environment, x, y).values
        seen[x, y] = {name: centre_of_robot(values[name]) for name in ("front", "rear")}
    # The rear camera sees what the front one would see of the world turned by half a turn.
    np.testing.assert_allclose(seen[0.4, 0.5]["rear"], seen[-0.4, -0.5]["front"], rtol=0.03)
    far, near = seen[0.4, 0.5]["front"], seen[0.4, -0.5]["front"]
    # A pinhole: offset and diameter are inversely proportional to the distance.
    ratio = (near[0] - 32) / (far[0] - 32)
    assert ratio > 1.4 and near[1] > far[1]
    assert np.sqrt(near[2] / far[2]) == pytest.approx(ratio, rel=0.03)


@pytest.mark.parametrize("name", ["front", "rear"])
def test_each_side_camera_alone_determines_the_position(name):
    environment = envs.make("toy_front_rear", image_size=32)
    grid = np.linspace(-EDGE, EDGE, 9)
    pictures = np.array(
        [place(environment, x, y).values[name].ravel() for x in grid for y in grid], float
    )
    distance = np.abs(pictures[:, None] - pictures).max(-1)
    assert distance[~np.eye(len(pictures), dtype=bool)].min() > 15


@pytest.mark.parametrize("action", [np.zeros(3), np.array([0, np.nan])])
def test_a_bad_action_is_said(action):
    environment = envs.make("toy_x_y")
    environment.reset()
    with pytest.raises(ValueError, match="2 finite numbers"):
        environment.step(action)


def test_a_repeat_that_does_not_divide_the_episode_is_said():
    with pytest.raises(ValueError, match="action_repeat is 3"):
        envs.make("toy_x_y", action_repeat=3)
