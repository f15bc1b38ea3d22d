"""The planning expert: its rewards and rollouts are the environment's, its plans are good."""

import dataclasses

import numpy as np
import pytest

import envs
from envs.natural_mujoco.expert import SETTINGS, PlanningExpert
from envs.natural_mujoco.tasks import TASKS

import mujoco  # isort: skip  (after envs, which chooses the OpenGL backend)
from dm_control import suite  # isort: skip

SUITE_NAMES = {
    "walker_stand": ("walker", "stand"),
    "walker_walk": ("walker", "walk"),
    "walker_run": ("walker", "run"),
    "finger_spin": ("finger", "spin"),
    "cup_catch": ("ball_in_cup", "catch"),
}
# States around which the rewards of finger and cup change: a fast spinner, a ball about the cup.
VELOCITIES = {"finger_spin": 10.0}
every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture
def make():
    made = []

    def build(task, **options):
        made.append(envs.make(task, image_size=8, background="none", **options))
        return made[-1]

    yield build
    for environment in made:
        environment.close()


@every_task
def test_rewards_are_those_of_the_suite(task):
    physics = suite.load(*SUITE_NAMES[task])
    random = np.random.default_rng(0)
    model, data = physics.physics.model.ptr, physics.physics.data.ptr
    rows, expected = [], []
    for _ in range(200):
        qpos = random.normal(size=model.nq)
        qvel = random.normal(size=model.nv) * VELOCITIES.get(task, 2.0)
        if task == "cup_catch":
            # The ball around the target, 5 cm below the cup's rim at 0.6 m; its own zero is 0.2 m.
            qpos[:2] = random.uniform(-0.1, 0.1, 2)
            qpos[2:] = qpos[:2] + np.array([0, 0.35]) + random.uniform(-0.04, 0.04, 2)
        with physics.physics.reset_context():
            data.qpos[:], data.qvel[:] = qpos, qvel
        rows.append((qpos, qvel, data.sensordata.copy()))
        expected.append(physics.task.get_reward(physics.physics))
    columns = [np.stack(column).reshape(20, 10, -1) for column in zip(*rows, strict=True)]
    rewards = SETTINGS[task].reward(model, *columns)
    np.testing.assert_allclose(rewards.ravel(), expected, atol=1e-6)
    assert len(set(np.round(expected, 3))) >= 2 and 0 < np.mean(expected) < 1


def planner_of(environment, task, **options):
    steps = {"substeps": environment._substeps, "action_repeat": environment.action_repeat}
    return PlanningExpert(environment._model, SETTINGS[task], **steps, **options)


@every_task
def test_a_plan_earns_in_the_environment_what_was_foreseen(make, task):
    environment = make(task, seed=3)
    environment.reset()
    random = np.random.default_rng(1)
    for _ in range(5):
        environment.step(random.uniform(-1, 1, environment.action_size))
    plans = random.uniform(-1, 1, (3, 12, environment.action_size))
    before = environment.physics_state()
    foreseen = planner_of(environment, task).rewards(environment._data, plans)
    assert foreseen.shape == (3, 12 * environment.action_repeat)
    np.testing.assert_array_equal(environment.physics_state(), before)
    earned = [environment.step(action).reward for action in plans[1]]
    summed = foreseen[1].reshape(12, environment.action_repeat).sum(1)
    np.testing.assert_allclose(summed, earned, atol=1e-9)


def test_the_last_plan_is_moved_on_by_the_time_that_passed_and_forgotten_at_a_new_episode(make):
    environment = make("cup_catch", seed=3)
    planner = planner_of(environment, "cup_catch")
    planner._settings = dataclasses.replace(planner._settings, noise=0.0, fresh=0.0)
    plan = np.linspace(-1, 1, len(planner._plan))[:, None] * [1.0, -0.5]
    environment.reset()
    planner._plan = plan.copy()
    np.testing.assert_allclose(planner(environment._data), plan[0])
    np.testing.assert_allclose(planner(environment._data), plan[0])
    for _ in range(3):
        environment.step(np.zeros(2))
    np.testing.assert_allclose(planner(environment._data), plan[3])
    np.testing.assert_allclose(planner._plan[-4:], np.tile(plan[-1], (4, 1)))
    environment.reset()
    np.testing.assert_array_equal(planner(environment._data), np.zeros(2))


def test_plans_follow_from_the_seed_and_not_from_the_number_of_threads(make):
    actions = []
    for threads, seed in ((1, 5), (2, 5), (2, 6)):
        environment = make("walker_walk", seed=3)
        environment.reset()
        planner = planner_of(environment, "walker_walk", threads=threads, seed=seed)
        rows = []
        for _ in range(4):
            rows.append(planner(environment._data))
            environment.step(rows[-1])
        actions.append(rows)
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[1], actions[2])


def test_recorded_actions_lead_from_the_first_state_through_all_the_others(make):
    environment = make("walker_walk", seed=3)
    environment.reset()
    states, actions = [], []
    for _ in range(30):
        states.append(environment.physics_state())
        actions.append(environment.expert_action().astype(np.float32))
        environment.step(actions[-1])
    model, data = environment._model, mujoco.MjData(environment._model)
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    mujoco.mj_setState(model, data, states[0], kind)
    mujoco.mj_forward(model, data)
    state = np.empty_like(states[0])
    for expected, action in zip(states, actions, strict=True):
        mujoco.mj_getState(model, data, state, kind)
        np.testing.assert_array_equal(state, expected)
        data.ctrl[:] = action
        for _ in range(environment.action_repeat * environment._substeps):
            mujoco.mj_step(model, data)


def test_the_expert_catches_the_ball(make):
    environment = make("cup_catch", seed=4)
    environment.reset()
    # A second and a half, of which the ball is to be caught within half a second.
    rewards = [environment.step(environment.expert_action()).reward for _ in range(40)]
    assert sum(rewards[-15:]) == 15 * environment.action_repeat


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "least"),
    [("walker_stand", 950), ("walker_walk", 900), ("walker_run", 450), ("cup_catch", 970)],
)
def test_the_expert_is_good(make, task, least):
    environment = make(task, seed=5)
    step, total = environment.reset(), 0.0
    while not step.is_last:
        step = environment.step(environment.expert_action())
        total += step.reward
    assert total > least
