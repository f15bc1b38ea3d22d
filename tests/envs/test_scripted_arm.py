"""The script of an arm, on a hand that goes where it is told unless something is in its way."""

import numpy as np
import pytest

from envs.scripted_arm import CLOSED, DOWN, METRES, Grasp, Move, ScriptedArm

ITEM, PLACE = np.array((0.1, -0.05, 0.0)), np.array((-0.1, 0.2, 0.0))


class Table:
    """A hand, and an item that it holds while it is closed within 2 cm of it."""

    def __init__(self, floor: float = -1.0):
        self.item, self.floor, self.rotation = ITEM.copy(), floor, DOWN.as_matrix()
        self.place = np.array((0.0, 0.0, 0.3))

    @property
    def hand(self):
        return self.place, self.rotation

    def position(self, name):
        return {"item": self.item, "place": PLACE}[name].copy()

    def step(self, action):
        held = action[-1] == CLOSED and np.linalg.norm(self.place - self.item) < 0.02
        moved = self.place + action[:3] * METRES
        # What is in the way is beside the item alone.
        if np.linalg.norm(moved[:2] - ITEM[:2]) < 0.05:
            moved[2] = max(moved[2], self.floor)
        self.item = self.item + (moved - self.place) * held
        self.place = moved


class Mover(ScriptedArm):
    def _act(self):
        yield from self._move(Move("item", "place", (Grasp((0, 0, 0)),)))
        while True:
            yield np.zeros(7)


def actions(table: Table, steps: int) -> np.ndarray:
    """What the script does, [T, 7]."""
    mover, done = Mover(table), []
    for _ in range(steps):
        done.append(mover())
        table.step(done[-1])
    return np.array(done)


@pytest.mark.parametrize("floor", [-1.0, 0.014])
def test_it_takes_an_item_to_its_place_though_something_keeps_the_hand_from_the_last_of_the_way(
    floor,
):
    table = Table(floor)
    done = actions(table, 120)
    np.testing.assert_allclose(table.item[:2], PLACE[:2], atol=0.02)
    assert table.item[2] < 0.1
    assert np.abs(done[-1]).max() == 0
    # It waits a few steps for the hand to come nearer, and not all that it may take.
    assert np.flatnonzero(done[:, -1] == CLOSED)[0] < (20 if floor < 0 else 27)


def test_a_hand_that_is_held_far_from_the_item_goes_on_trying():
    done = actions(Table(floor=0.05), 80)
    assert not (done[:, -1] == CLOSED).any()
