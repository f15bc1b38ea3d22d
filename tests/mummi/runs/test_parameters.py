"""What a released agent keeps of its parameters, and what is refused."""

import jax
import numpy as np
import pytest

from mummi.agent import Agent
from mummi.runs import parameters
from mummi.runs.checkpoint import Checkpointer
from tests.support.small import ACTION_SIZE, MODALITIES, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def agent(quick_compile):
    return Agent(small_config(), MODALITIES, ACTION_SIZE)


def test_a_released_agent_is_the_running_mean_to_half_precision(agent, tmp_path):
    state = agent.init(3)
    Checkpointer(tmp_path / "run/checkpoints").save(40, state, {"step": 40})
    found, step = parameters.load(tmp_path / "run", agent)
    assert step == 40
    parameters.save(tmp_path, found, step)
    released, step = parameters.load(tmp_path, agent)
    assert step == 40
    for old, new in zip(jax.tree.leaves(state.average), jax.tree.leaves(released), strict=True):
        assert new.dtype == old.dtype
        np.testing.assert_array_equal(new, np.asarray(old).astype(np.float16).astype(old.dtype))


def test_what_is_no_agent_of_these_settings_is_refused(agent, tmp_path):
    average = agent.init(0).average
    parameters.save(tmp_path, average, 1)
    with pytest.raises(ValueError, match=r"\['inputs'\].* is \(5, 8\), not \(6, 8\)"):
        parameters.load(tmp_path, Agent(small_config(), MODALITIES, 3))
    with pytest.raises(ValueError, match="is only in the file"):
        parameters.load(tmp_path, Agent(small_config(), MODALITIES[:1], ACTION_SIZE))
    path = tmp_path / parameters.FILE
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="is damaged"):
        parameters.load(tmp_path, agent)


def test_numbers_beyond_half_precision_are_refused():
    with pytest.raises(ValueError, match="scale has numbers up to 70000, beyond float16"):
        parameters.halved("scale", np.float32([1, -70_000]))
    assert parameters.halved("count", np.int32([70_000])) == 70_000
