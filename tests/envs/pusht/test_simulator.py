"""The table is gym-pusht's own, step by step."""

import numpy as np
import pytest

pytest.importorskip("gym_pusht")

from envs.pusht.simulator import SIDE, PushTEnv, PushTSimulator


@pytest.fixture(scope="module")
def table():
    return PushTSimulator()


@pytest.mark.parametrize("seed", range(4))
def test_steps_pictures_and_coverage_are_those_of_gym_pusht(table, seed):
    original = PushTEnv(obs_type="pixels_agent_pos")
    seen, _ = original.reset(seed=seed)
    table.reset_to(seed)
    random = np.random.default_rng(seed)
    target, moved = table.block[:2], table.block
    for step in range(40):
        np.testing.assert_array_equal(table.agent, seen["agent_pos"])
        if step % 10 == 0:
            np.testing.assert_array_equal(table.picture(96), seen["pixels"])
            target = np.clip(table.block[:2] + random.normal(0, 60, 2), 0, SIDE)
        seen, reward, _, _, info = original.step(target)
        table.step(target)
        np.testing.assert_allclose(table.block, info["block_pose"], rtol=1e-12)
        assert table.coverage == pytest.approx(info["coverage"], abs=1e-12)
        assert reward == pytest.approx(min(table.coverage / 0.95, 1), abs=1e-12)
    assert np.linalg.norm(table.block - moved) > 5


def test_a_placed_block_is_where_it_was_put_and_goes_on_as_it_would_have(table):
    table.reset_to(7)
    for _ in range(15):
        table.step(table.block[:2])
    other, block, agent = PushTSimulator(), table.block, table.agent
    other.place(agent, block)
    np.testing.assert_allclose(other.block, block, atol=1e-9)
    np.testing.assert_array_equal(other.agent, agent)
    np.testing.assert_allclose(other.keypoints, table.keypoints, atol=1e-9)


def test_on_its_goal_the_block_covers_it(table):
    assert table.outline.area == pytest.approx(120 * 30 + 30 * 90)
    assert table.outline.exterior.is_ccw
    goal = np.array((256, 256, np.pi / 4))
    table.place((20, 20), goal)
    np.testing.assert_allclose(table.keypoints, table.goal, atol=1e-9)
    assert table.coverage == pytest.approx(1)
    table.place((20, 20), goal + np.array((30 / np.sqrt(2), -30 / np.sqrt(2), 0)))
    # 30 along its bar: of the bar a quarter is beside the goal, of the stem all.
    assert table.coverage == pytest.approx(90 * 30 / 6300, abs=1e-6)
