"""Updates ahead of time are those that would have been made when they are due."""

import functools
import itertools
import threading

import jax
import numpy as np
import pytest

from mummi.agent import Agent
from mummi.runs import devices
from mummi.runs.devices import data_mesh, put, replicated
from mummi.training.learner import Learner
from tests.support.small import ACTION_SIZE, MODALITIES, make_batch, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

LAST = 4


@pytest.fixture(scope="module")
def agent():
    return Agent(small_config(), MODALITIES, ACTION_SIZE, data_mesh(1, 2))


def fresh(agent):
    """The state that an agent starts with, where its updates are compiled for it."""
    return put(devices.run_once(agent.init, 0), replicated(data_mesh(1, 2)))


@pytest.fixture
def learner(agent):
    numbers = itertools.count()
    with Learner(agent, fresh(agent), lambda: make_batch(next(numbers)), LAST) as learner:
        yield learner


def test_acting_and_metrics_are_those_of_updates_made_when_due(agent, learner):
    # The second time two are due at once; the last one is not among those made ahead.
    state = fresh(agent)
    done = 0
    for count in (1, 0, 2, 1, 1):
        rows = learner.learn(count)
        assert len(rows) == count
        for row in rows:
            state, metrics = agent.update(state, make_batch(done))
            done += 1
            jax.tree.map(np.testing.assert_array_equal, row, metrics)
        now = state.model, state.actor, state.critic
        jax.tree.map(np.testing.assert_array_equal, tuple(learner.acting), now)
        assert learner.updates == done
        newest, ahead = learner.newest()
        assert newest.updates == max(done, min(done + 1, LAST) if done else 0)
        assert len(ahead) == newest.updates - done


def test_several_updates_of_a_call_are_those_one_by_one(agent):
    batches = [make_batch(n) for n in range(4)]
    pairs = iter([jax.tree.map(lambda *x: np.stack(x), *batches[n : n + 2]) for n in (0, 2)])
    state = fresh(agent)
    with Learner(agent, fresh(agent), lambda: next(pairs), LAST, updates_per_call=2) as learner:
        for pair in (batches[:2], batches[2:]):
            (row,) = learner.learn(2)
            for position, batch in enumerate(pair):
                state, metrics = agent.update(state, batch)
                for name, value in metrics.items():
                    np.testing.assert_allclose(row[name][position], value, rtol=1e-4, atol=1e-5)
            assert learner.updates == state.updates
            now = state.model, state.actor, state.critic
            close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
            jax.tree.map(close, tuple(learner.acting), now)


def test_the_metrics_of_an_update_ahead_are_there_before_it_is_due(agent, learner):
    learner.learn(1)
    _, (ahead,) = learner.newest()
    (due,) = learner.learn(1)
    jax.tree.map(np.testing.assert_array_equal, ahead, due)


def test_an_error_of_sampling_ahead_comes_when_the_update_is_due(agent):
    def sample():
        if next(numbers) > 0:
            raise RuntimeError("no window")
        return make_batch()

    numbers = itertools.count()
    before = threading.active_count()
    with Learner(agent, fresh(agent), sample, LAST) as learner:
        assert len(learner.learn(1)) == 1
        with pytest.raises(RuntimeError, match="no window"):
            learner.learn(1)
    assert threading.active_count() == before
