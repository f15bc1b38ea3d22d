"""The planner brings the block to its goal, by either side."""

import numpy as np
import pytest

pytest.importorskip("gym_pusht")

from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString

import envs
from envs.pusht.expert import PushTExpert, off, sides
from envs.pusht.simulator import RADIUS, SIDE, PushTSimulator

PLANNER = PushTExpert(PushTSimulator(), np.random.SeedSequence(0))


def test_the_planner_solves_the_task():
    environment = envs.make("pusht", seed=1, sensors=("state",))
    for number in range(3):
        step, length = environment.reset(number), 0
        assert step.info["success"] == 0
        while not step.is_last:
            step, length = environment.step(environment.expert_action()), length + 1
        assert (step.info["success"], step.is_terminal) == (1, True)
        assert length < 300 and step.info["coverage"] > 0.95


@pytest.mark.slow
def test_the_planner_solves_nearly_every_start():
    environment = envs.make("pusht", seed=2, sensors=("state",))
    solved = 0
    for number in range(100):
        step = environment.reset(number)
        while not step.is_last:
            step = environment.step(environment.expert_action())
        solved += step.info["success"]
    assert solved >= 95


def test_the_first_push_gains_what_it_promises_and_more_than_the_next():
    agent, block = np.array((400.0, 120.0)), np.array((200.0, 300.0, 2.0))
    pushes, table = PLANNER.pushes(agent, block), PushTSimulator()
    gains = []
    for push in (pushes[0], pushes[100], pushes[-1]):
        table.place(push.start, block)
        before = off(table)
        for count in range(1, push.steps + 1):
            table.step(push.start + push.step * count)
        travel = 8 + np.linalg.norm(push.start - agent) / 20
        gains.append((before - off(table)) / (push.steps + travel))
    assert gains == sorted(gains, reverse=True) and gains[0] > 1


def test_behind_the_block_it_goes_left_or_right_and_both_are_taken():
    """From the top of the T to its foot, as IMLE Policy and MIRROR sweep it."""
    block = np.array((256.0, 256.0, np.pi))
    outline = PLANNER.outline(block)
    left, right = sides(np.array((256.0, 300.0)), np.array((256.0, 100.0)), outline)
    # Mirror images of each other.
    mirrored = np.array((SIDE, 0)) + np.array(right) * (-1, 1)
    np.testing.assert_allclose(np.array(left), mirrored, atol=12)
    assert min(np.array(left)[:, 0].min(), np.array(right)[:, 0].min()) < 256 - 60 - RADIUS
    ends = []
    for seed in range(12):
        environment = envs.make(
            "pusht", seed=seed, sensors=("state",), start=(256.0, 300.0, 256.0, 256.0, np.pi)
        )
        environment.reset()
        for _ in range(6):
            step = environment.step(environment.expert_action())
        ends.append(step.values["state"][0] - 256)
    assert min(ends) < -10 and max(ends) > 10


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(24, 488), st.floats(24, 488)),
    st.tuples(st.floats(24, 488), st.floats(24, 488)),
    st.tuples(st.floats(100, 400), st.floats(100, 400), st.floats(-4, 4)),
)
def test_no_way_leads_through_the_block_or_off_the_table(agent, goal, block):
    outline = PLANNER.outline(np.array(block))
    agent, goal = np.array(agent), np.array(goal)
    free = not LineString((agent, goal)).intersects(outline.buffer(RADIUS + 2))
    ways = sides(agent, goal, outline)
    assert not free or ways == [[]]
    for way in ways:
        if way:
            line = LineString(way) if len(way) > 1 else LineString((way[0], way[0]))
            assert line.distance(outline) > RADIUS
            assert (np.array(way) > 0).all() and (np.array(way) < SIDE).all()


def test_a_planner_that_can_reach_no_push_says_so(monkeypatch):
    planner = PushTExpert(PushTSimulator(), np.random.SeedSequence(0))
    monkeypatch.setattr(planner, "pushes", lambda agent, block: [])
    with pytest.raises(RuntimeError, match=r"no push of the block at .* can be reached from"):
        planner()
