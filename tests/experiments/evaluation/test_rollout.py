"""Numbered episodes: the same whoever plays beside them, in whatever order, and after a restart."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest

from envs.processes.parallel import ParallelEnvironments
from experiments.evaluation.actors import AgentActor, expert_actor, random_actor
from experiments.evaluation.rollout import (
    evaluation_environments,
    evaluation_seeds,
    rollout,
)
from mummi.agent import Agent
from mummi.config import Config
from mummi.runs.logger import read_metrics
from tests.support import tiny
from tests.support.small import random_like, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

SEED = 5
WALKER = Config(task="walker_stand", image_size=8, action_repeat=250, background="natural")
TOY = Config(task="toy_x_y", image_size=8, action_repeat=10, background="none")


@pytest.fixture(scope="module", params=[WALKER, TOY], ids=lambda config: config.task)
def task(request):
    """One and two environments of a task, and an agent for it with random parameters."""
    config = request.param
    with contextlib.ExitStack() as stack:
        pools = {
            count: stack.enter_context(evaluation_environments(config, count, SEED, "medium"))
            for count in (1, 2)
        }
        agent = Agent(small_config(), pools[1].modalities, pools[1].action_size)
        yield pools, agent, random_like(jax.eval_shape(agent.init, 0))


@pytest.mark.parametrize("policy", ["agent", "random"])
def test_an_episode_is_the_same_alone_beside_others_and_in_a_part(task, policy):
    pools, agent, state = task

    def play(count, numbers):
        act = AgentActor(agent, state, count, SEED)
        if policy == "random":
            act = random_actor(agent.action_size, count, SEED)
        return rollout(act, pools[count], numbers)

    whole = play(1, range(3))
    assert whole.numbers == [0, 1, 2] and len(set(whole.returns)) == 3
    assert play(2, [1, 2]).merged(play(2, [0])) == whole


class Uneven:
    """Environments whose episode n lasts n + 1 steps, each with a reward of n."""

    modalities, action_size = (), 1

    def __init__(self, count):
        self.count, self.numbers, self.steps = count, [None] * count, np.zeros(count, int)
        self.begun, self.worked = [], 0
        self.lose = set()

    def __len__(self):
        return self.count

    def reset(self, numbers):
        self.over = np.ones(self.count, bool)
        return self.step(None, numbers)

    def step(self, actions, numbers):
        self.worked += 1
        restarted = np.zeros(self.count, bool)
        for k in range(self.count):
            restarted[k] = self.numbers[k] in self.lose and self.steps[k] == 1 and not self.over[k]
            if restarted[k]:
                self.lose.discard(self.numbers[k])
                self.steps[k] = 0
            elif self.over[k]:
                self.numbers[k], self.steps[k] = numbers[k], 0
                self.begun.append(numbers[k])
            else:
                self.steps[k] += 1
        length = np.array([1 if n is None else n + 1 for n in self.numbers])
        self.over = self.steps >= length
        reward = np.where(self.steps > 0, length - 1.0, 0.0)
        return Step(self.steps == 0, self.over, reward, restarted, [{}] * self.count)


@dataclasses.dataclass(frozen=True)
class Step:
    is_first: np.ndarray
    is_last: np.ndarray
    reward: np.ndarray
    restarted: np.ndarray
    info: list
    available: dict = dataclasses.field(default_factory=lambda: {"sensor": np.ones(8, bool)})


def idle(batch, numbers):
    assert any(number is not None for number in numbers)
    return np.zeros((len(numbers), 1))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_episode_is_played_once_and_whoever_is_free_takes_the_next(count):
    pool = Uneven(count)
    result = rollout(idle, pool, [7, 0, 1, 2, 5])
    assert result.numbers == [0, 1, 2, 5, 7]
    assert result.lengths == [1, 2, 3, 6, 8] and result.returns == [0, 2, 6, 30, 56]
    assert sorted(n for n in pool.begun if n is not None) == [0, 1, 2, 5, 7]
    if count == 2:  # one plays the long episode, the other the four that are left
        assert pool.worked == sum(length + 1 for length in (1, 2, 3, 6))


def test_what_a_lost_worker_began_is_not_counted():
    pool = Uneven(2)
    pool.lose = {1, 2}
    result = rollout(idle, pool, range(4))
    assert not pool.lose
    assert result.lengths == [1, 2, 3, 4] and result.returns == [0, 2, 6, 12]


def test_a_worker_that_is_killed_plays_its_episode_anew(workers):
    with evaluation_environments(dataclasses.replace(TOY, task="dummy"), 2, SEED) as pool:
        expected = rollout(random_actor(2, 2, SEED), pool, range(3))
        steps = 0

        def watch(batch, numbers):
            nonlocal steps
            steps += 1
            if steps == 8:
                pool._workers[1]._child.kill()

        with pytest.warns(RuntimeWarning, match="worker 1 of task 'dummy' is started anew"):
            assert rollout(random_actor(2, 2, SEED), pool, range(3), watch=watch) == expected


def test_one_environment_runs_in_a_process_too_and_an_error_in_it_is_no_error_here(workers):
    with evaluation_environments(dataclasses.replace(TOY, task="dummy"), 1, SEED) as pool:
        broken = iter([False] * 4 + [True] + [False] * 100)

        def act(batch, numbers):
            return np.full((1, 2), np.nan if next(broken) else 0.5)  # the dummy refuses NaN

        with pytest.warns(RuntimeWarning, match="episode dropped, after ValueError: action is"):
            result = rollout(act, pool, range(2))
        assert result.lengths == [20, 20] and pool.restarts == 1


def test_a_simulator_that_dies_in_an_evaluation_does_not_end_the_training(
    tmp_path, monkeypatch, workers
):
    step, steps = ParallelEnvironments.step, []

    def dying(self, *arguments):
        if evaluation_seeds(0, 1)[0] in self._seeds:
            steps.append(self)
            if len(steps) == 5:
                self._workers[0]._child.kill()
        return step(self, *arguments)

    monkeypatch.setattr(ParallelEnvironments, "step", dying)
    more = ("--envs", "1", "--evaluate-every", "100", "--evaluate-episodes", "2")
    make, agents = Agent.__init__, []
    monkeypatch.setattr(Agent, "__init__", lambda *given: (agents.append(given), make(*given))[1])
    with pytest.warns(RuntimeWarning, match="worker 0 of task 'dummy' is started anew"):
        tiny.run(tmp_path, *more, "--steps", "200")
    returns = [
        row["evaluation/return"] for row in read_metrics(tmp_path) if "evaluation/return" in row
    ]
    assert len(returns) == 2 and np.isfinite(returns).all()
    # Nor does each evaluation compile anew what it asks of the agent, which is the trainer's.
    assert len(agents) == 1


def test_environments_of_an_evaluation_are_alike_and_unlike_those_of_training():
    seeds = evaluation_seeds(SEED, 3)
    assert len(seeds) == 3 and len(set(seeds)) == 1
    assert seeds[0][1] != 0  # training has 0 there


def test_the_expert_is_not_asked_after_the_last_step():
    asked = []

    class Pool(Uneven):
        def expert_action(self):
            asked.append(1)
            return np.zeros((self.count, 1))

    pool = Pool(1)
    rollout(expert_actor(pool), pool, range(2))
    assert len(asked) == 1 + 2


def test_random_actions_follow_from_seed_and_number():
    with ParallelEnvironments("dummy", [SEED] * 2, processes=False, image_size=8) as pool:
        batch = pool.reset([0, 1])
    first = random_actor(2, 2, SEED)(batch, [4, 9])
    np.testing.assert_array_equal(random_actor(2, 2, SEED)(batch, [9, 4]), first[::-1])
    expected = np.random.default_rng((SEED, 4)).uniform(-1, 1, 2)
    np.testing.assert_allclose(first[0], expected, rtol=1e-6)
    assert (random_actor(2, 2, SEED + 1)(batch, [4, 9]) != first).all()
