"""The scripted expert: it wipes the table, presses as told, and stays within its limits."""

import numpy as np
import pytest

from envs.table_wiping.expert import WipingExpert
from envs.table_wiping.task import TableWiping


@pytest.fixture(scope="module")
def environment():
    made = TableWiping(seed=11, image_size=8, sensors=("force",))
    yield made
    made.close()


def test_the_expert_wipes_the_table_well_within_the_horizon(environment):
    expert = WipingExpert(environment)
    forces = []
    for _ in range(2):
        step, rewards = environment.reset(), []
        while not step.is_last:
            action = expert(step)
            assert action.shape == (6,) and np.abs(action).max() <= 1
            step = environment.step(action)
            rewards.append(step.reward)
            forces.append(environment.state().force)
        assert step.is_terminal and step.info == {"success": 1, "wiped": 1}
        assert len(rewards) < 300
        # 1.64 for each of 100 markers, and what shaping adds.
        assert sum(rewards) > 163
        np.testing.assert_array_equal(expert(step), np.zeros(6))
    pressed = np.array(forces)[np.array(forces) > 2]
    assert 10 < np.median(pressed) < 40
    assert np.mean(pressed > 60) < 0.1


@pytest.mark.parametrize("newtons", [10.0, 40.0])
def test_the_tool_is_pressed_as_told_and_kept_flat(environment, newtons):
    expert = WipingExpert(environment, newtons=newtons)
    environment.reset()
    forces = []
    for k in range(40):
        action = expert()
        # Straight down, so that no dirt ends the test.
        action[:2] = 0
        environment.step(action)
        if k >= 25:
            forces.append(environment.state().force)
    assert np.median(forces) == pytest.approx(newtons, rel=0.5)
    assert environment.state().rotation[2, 2] < -0.995
