"""A scripted arm that does LIBERO's tasks with full knowledge of the state."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from envs.libero.simulator import LiberoSimulator
from envs.scripted_arm import DOWN, Grasp, Move, ScriptedArm, beside, turned

# A bowl is held by its rim: left, right, and, with the hand turned, front and back.
_LEFT, _RIGHT = Grasp((0, -0.045, 0.03)), Grasp((0, 0.045, 0.03))
_NEAR, _FAR = Grasp((-0.045, 0, 0.03), np.pi / 2), Grasp((0.045, 0, 0.03), np.pi / 2)
_RIM = (_NEAR, _LEFT, _RIGHT, _FAR)
# Tall objects would touch the palm before the fingers reach their middle; the box of cream cheese
# is longer than the hand opens and beside a can; above the tomato sauce the palm would rest on the
# orange juice beside it.
_HOLDS = {
    "salad_dressing_1": (0, 0, 0.05),
    "ketchup_1": (0, 0, 0.055),
    "milk_1": (0, 0, 0.04),
    "orange_juice_1": (0, 0, 0.04),
    "bbq_sauce_1": (0, 0, 0.025),
    "cream_cheese_1": (-0.022, 0, 0),
    "tomato_sauce_1": (-0.015, 0, 0.015),
}
# Between the sides of a drawer there is room for the turned hand alone, and between ramekin and
# plate for the other one: a finger would stand on the ramekin.
_RIM_IN_DRAWER, _RIM_BETWEEN = (_NEAR, _FAR), (_LEFT, _RIGHT)


class LiberoExpert(ScriptedArm):
    """Does the task of a simulator, a ``LiberoSimulator``, and begins again where it fails."""

    def _act(self) -> Iterator[np.ndarray]:
        name = self._simulator.task.name
        while True:
            if name == "open_the_middle_drawer_of_the_cabinet":
                yield from self._open_drawer("wooden_cabinet_1_cabinet_middle", speed=0.7)
            elif name == "open_the_top_drawer_and_put_the_bowl_inside":
                yield from self._draw_aside()
                yield from self._open_drawer("wooden_cabinet_1_cabinet_top")
                above = beside(self._simulator.hand[0], x=-0.1, z=0.15)
                yield from self._reach(above, DOWN, 0.05, 20)
                yield from self._move(plan(self._simulator))
            elif name == "turn_on_the_stove":
                yield from self._turn_knob()
            elif name == "push_the_plate_to_the_front_of_the_stove":
                yield from self._push_plate()
            elif self._simulator.task.suite == "libero_10":
                yield from self._long()
            else:
                yield from self._move(plan(self._simulator))

    def _long(self) -> Iterator[np.ndarray]:
        """What of a task of LIBERO-Long is still to be done, one after the other."""
        for predicate, *names in sorted(self._simulator.unmet, key=lambda part: part[0] == "close"):
            if predicate == "turnon":
                yield from self._turn_knob()
            elif predicate in ("in", "on"):
                yield from self._move(_carry(*names))
            elif "cabinet" in names[0]:
                yield from self._close_drawer(names[0])
        yield from self._release(1, DOWN)

    def _turn_knob(self) -> Iterator[np.ndarray]:
        """Holds the ridge of the stove's knob, which lies along x, and turns the hand."""
        knob = beside(self._simulator.position("flat_stove_1"), z=0.035)
        yield from self._reach(beside(knob, z=0.1), DOWN, 0.015, 60, angle=0.08)
        yield from self._reach(knob, DOWN, 0.008, 30)
        yield from self._grasp(knob, DOWN)
        yield from self._reach(knob, turned(1.2), 0.001, 40)
        yield from self._release(6, turned(1.2))

    def _open_drawer(self, drawer, speed=1.0) -> Iterator[np.ndarray]:
        """Holds the bar of the handle from the front, the hand lying, and pulls."""
        sim = self._simulator
        turn = Rotation.from_rotvec([-np.pi / 2, 0, 0]) * DOWN
        bar = sim.handle(drawer)
        # The lying hand reaches 10 cm down: it turns above what stands on the table.
        high = np.array([bar[0], bar[1] + 0.12, 1.17])
        yield from self._reach(high, turn, 0.05, 50, angle=0.4)
        yield from self._reach(beside(bar, y=0.12, z=0.01), turn, 0.02, 40, angle=0.1)
        yield from self._reach(bar, turn, 0.008, 30)
        yield from self._grasp(bar, turn)
        yield from self._reach(beside(bar, y=0.19), turn, 0.01, 40, speed=speed)
        yield from self._release(6, turn)
        yield from self._reach(beside(sim.hand[0], y=0.05), turn, 0.02, 10)

    def _close_drawer(self, inside) -> Iterator[np.ndarray]:
        """Pushes the front beside its handle, by one finger of a hand that leans back."""
        turn = Rotation.from_rotvec([0.75, 0, 0]) * turned(np.pi / 2)
        front = beside(self._simulator.position(inside), x=0.135, y=-0.15)
        yield from self._reach(beside(front, z=0.15), turn, 0.03, 60, angle=0.2)
        yield from self._reach(front, turn, 0.01, 30)
        yield from self._reach(beside(front, y=0.26), turn, 0.01, 40)

    def _draw_aside(self) -> Iterator[np.ndarray]:
        """Draws the bowl by its rim from where the open drawer will be above it."""
        rim = self._simulator.position("akita_black_bowl_1") + _NEAR.offset
        turn = turned(_NEAR.turn)
        yield from self._reach(beside(rim, z=0.08), turn, 0.03, 60, angle=0.3)
        yield from self._reach(rim, turn, 0.01, 30)
        yield from self._grasp(rim, turn)
        yield from self._reach(beside(rim, x=-0.1, y=0.06, z=0.01), turn, 0.02, 30)
        yield from self._release(3, turn)
        yield from self._reach(beside(self._simulator.hand[0], z=0.15), turn, 0.06, 10)

    def _push_plate(self) -> Iterator[np.ndarray]:
        """Holds the plate's rim and takes it just above the table, around the cream cheese."""
        sim = self._simulator
        rim = beside(sim.position("plate_1"), y=0.06, z=0.012)
        yield from self._reach(beside(rim, z=0.1), DOWN, 0.015, 60, angle=0.08)
        yield from self._reach(rim, DOWN, 0.008, 30)
        yield from self._grasp(rim, DOWN)
        held = sim.hand[0] - sim.position("plate_1")
        goal = sim.position("main_table_stove_front_region") + held
        goal[2] = rim[2] + 0.03
        yield from self._reach(np.array([0.09 + held[0], goal[1], goal[2]]), DOWN, 0.02, 60)
        yield from self._reach(goal, DOWN, 0.01, 60)
        yield from self._release(6, DOWN)
        yield from self._reach(beside(sim.hand[0], z=0.1), DOWN, 0.02, 15)


def plan(simulator: LiberoSimulator) -> Move:
    """What is taken where, in a task that is done by that."""
    item, place = simulator.of_interest
    suite, name = simulator.task.suite, simulator.task.name
    if suite == "libero_spatial":
        if "between" in name:
            return Move(item, place, _RIM_BETWEEN)
        return Move(item, place, _RIM_IN_DRAWER if "drawer" in name else _RIM)
    if suite == "libero_object":
        return Move(item, place, (Grasp(_HOLDS.get(item, (0, 0, 0))),), (0, 0, 0.13), 0.25)
    if item.startswith("cream_cheese"):
        return Move(item, place, (Grasp((0, 0, 0.002)),), (0, 0, 0.09))
    if item.startswith("wine_bottle"):
        # By the neck. The rack's plane is tilted; the bottle is to touch it 3 cm up the slope.
        offset = (0, -0.03, 0) if "rack" in name else (0, 0, 0)
        return Move(item, place, (Grasp((0, 0, 0.135)),), offset, 0.3)
    if "drawer" in name:
        return Move(item, place, _RIM, (0, 0, 0), 0.28)
    return Move(item, place, _RIM, lift=0.38 if "cabinet" in name else 0.22)


def _carry(item: str, place: str) -> Move:
    """How an item of LIBERO-Long is taken to its place."""
    if place.startswith("basket"):
        hold = _HOLDS.get(item, (0, 0, 0))
        grasps = (Grasp((-hold[0], *hold[1:])), Grasp(hold))
        return Move(item, place, grasps, (0, 0, 0.13), 0.25, above=0.2)
    if item.startswith("moka_pot"):
        # By the knob of its lid; two are beside one another on the stove.
        aside = {"moka_pot_1": -0.045, "moka_pot_2": 0.045}[item]
        return Move(item, place, (Grasp((0, 0.001, 0.076)),), (aside, 0, 0.1), 0.2)
    if item == "porcelain_mug_1":
        return Move(item, place, (Grasp((0, -0.056, 0.085)),))
    if item == "white_yellow_mug_1":
        return Move(item, place, (Grasp((0, 0.067, 0.085)),))
    if item.startswith("akita_black_bowl"):
        return Move(item, place, _RIM_IN_DRAWER, (0, -0.03, 0.01), 0.28)
    return Move(item, place, (Grasp((0, 0, 0)),))
