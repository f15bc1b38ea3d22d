"""A scripted arm that does LIBERO's tasks with full knowledge of the state."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from envs.libero.simulator import LiberoSimulator

OPEN, CLOSED = -1.0, 1.0
"""Last number of an action."""
# What an action of 1 stands for in OSC_POSE, metres and radians.
_METRES, _RADIANS = 0.05, 0.5
# How far beside the vertical through a point the hand begins to sink to it, metres.
_FUNNEL = 0.02
DOWN = Rotation.from_matrix([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
"""The hand points to the table and closes along the world's y axis."""


class Grasp(NamedTuple):
    """Where the hand takes hold of an object.

    Attributes:
        offset: from the object's origin to the point between the fingertips, [3], metres.
        turn: of the hand about the vertical, radians; at 0 it closes along y.
    """

    offset: tuple[float, float, float]
    turn: float = 0.0


class Move(NamedTuple):
    """Taking an object to a place.

    Attributes:
        item: name of the object.
        place: name of the object, fixture or region that it is taken to.
        grasps: tried one after the other.
        offset: from the place's origin to where the object's is let go, [3], metres.
        lift: metres that the object is lifted before it is carried.
        above: metres that the hand keeps over the object until it is above it.
    """

    item: str
    place: str
    grasps: tuple[Grasp, ...]
    offset: tuple[float, float, float] = (0.0, 0.0, 0.06)
    lift: float = 0.22
    above: float = 0.1


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
# Between the sides of a drawer there is room for the turned hand alone.
_RIM_IN_DRAWER = (_NEAR, _FAR)


class LiberoExpert:
    """Does the task of a simulator, and begins again where it fails.

    Args:
        simulator: settled, at the beginning of an episode.
    """

    def __init__(self, simulator: LiberoSimulator):
        self._simulator = simulator
        self._grip = OPEN
        self._script = self._act()

    def __call__(self, step=None) -> np.ndarray:
        """The next action, [7] in [-1, 1]; ``step`` makes the expert a policy like others.

        To be asked once before each step of the simulator.
        """
        return next(self._script)

    def _act(self) -> Iterator[np.ndarray]:
        name = self._simulator.task.name
        while True:
            if name == "open_the_middle_drawer_of_the_cabinet":
                yield from self._open_drawer("wooden_cabinet_1_cabinet_middle", speed=0.7)
            elif name == "open_the_top_drawer_and_put_the_bowl_inside":
                yield from self._draw_aside()
                yield from self._open_drawer("wooden_cabinet_1_cabinet_top")
                above = _beside(self._simulator.hand[0], x=-0.1, z=0.15)
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
        knob = _beside(self._simulator.position("flat_stove_1"), z=0.035)
        yield from self._reach(_beside(knob, z=0.1), DOWN, 0.015, 60, angle=0.08)
        yield from self._reach(knob, DOWN, 0.008, 30)
        yield from self._grasp(knob, DOWN)
        yield from self._reach(knob, _turned(1.2), 0.001, 40)
        yield from self._release(6, _turned(1.2))

    def _open_drawer(self, drawer, speed=1.0) -> Iterator[np.ndarray]:
        """Holds the bar of the handle from the front, the hand lying, and pulls."""
        sim = self._simulator
        turn = Rotation.from_rotvec([-np.pi / 2, 0, 0]) * DOWN
        bar = sim.handle(drawer)
        # The lying hand reaches 10 cm down: it turns above what stands on the table.
        high = np.array([bar[0], bar[1] + 0.12, 1.17])
        yield from self._reach(high, turn, 0.05, 50, angle=0.4)
        yield from self._reach(_beside(bar, y=0.12, z=0.01), turn, 0.02, 40, angle=0.1)
        yield from self._reach(bar, turn, 0.008, 30)
        yield from self._grasp(bar, turn)
        yield from self._reach(_beside(bar, y=0.19), turn, 0.01, 40, speed=speed)
        yield from self._release(6, turn)
        yield from self._reach(_beside(sim.hand[0], y=0.05), turn, 0.02, 10)

    def _close_drawer(self, inside) -> Iterator[np.ndarray]:
        """Pushes the front beside its handle, by one finger of a hand that leans back."""
        turn = Rotation.from_rotvec([0.75, 0, 0]) * _turned(np.pi / 2)
        front = _beside(self._simulator.position(inside), x=0.135, y=-0.15)
        yield from self._reach(_beside(front, z=0.15), turn, 0.03, 60, angle=0.2)
        yield from self._reach(front, turn, 0.01, 30)
        yield from self._reach(_beside(front, y=0.26), turn, 0.01, 40)

    def _draw_aside(self) -> Iterator[np.ndarray]:
        """Draws the bowl by its rim from where the open drawer will be above it."""
        rim = self._simulator.position("akita_black_bowl_1") + _NEAR.offset
        turn = _turned(_NEAR.turn)
        yield from self._reach(_beside(rim, z=0.08), turn, 0.03, 60, angle=0.3)
        yield from self._reach(rim, turn, 0.01, 30)
        yield from self._grasp(rim, turn)
        yield from self._reach(_beside(rim, x=-0.1, y=0.06, z=0.01), turn, 0.02, 30)
        yield from self._release(3, turn)
        yield from self._reach(_beside(self._simulator.hand[0], z=0.15), turn, 0.06, 10)

    def _push_plate(self) -> Iterator[np.ndarray]:
        """Holds the plate's rim and takes it just above the table, around the cream cheese."""
        sim = self._simulator
        rim = _beside(sim.position("plate_1"), y=0.06, z=0.012)
        yield from self._reach(_beside(rim, z=0.1), DOWN, 0.015, 60, angle=0.08)
        yield from self._reach(rim, DOWN, 0.008, 30)
        yield from self._grasp(rim, DOWN)
        held = sim.hand[0] - sim.position("plate_1")
        goal = sim.position("main_table_stove_front_region") + held
        goal[2] = rim[2] + 0.03
        yield from self._reach(np.array([0.09 + held[0], goal[1], goal[2]]), DOWN, 0.02, 60)
        yield from self._reach(goal, DOWN, 0.01, 60)
        yield from self._release(6, DOWN)
        yield from self._reach(_beside(sim.hand[0], z=0.1), DOWN, 0.02, 15)

    def _move(self, move: Move) -> Iterator[np.ndarray]:
        sim = self._simulator
        for grasp in move.grasps:
            start, turn = sim.position(move.item), _turned(grasp.turn)
            hold = start + grasp.offset
            yield from self._descend(hold, turn, 0.01, 90, move.above)
            yield from self._grasp(hold, turn)
            yield from self._reach(_beside(hold, z=move.lift), turn, 0.05, 30)
            if sim.position(move.item)[2] - start[2] > 0.08:
                break
            yield from self._release(4, turn)
        else:
            return
        held = sim.hand[0] - sim.position(move.item)
        goal = sim.position(move.place) + move.offset + held
        high = np.array([*goal[:2], max(goal[2], sim.hand[0][2])])
        yield from self._descend(goal, turn, 0.015, 85, above=high[2] - goal[2])
        yield from self._release(6, turn)
        yield from self._reach(high, turn, 0.02, 15)

    def _descend(self, goal, turn, distance, steps, above) -> Iterator[np.ndarray]:
        """Goes above a point and, without stopping there, down to it.

        More than 2 cm beside the vertical through the point the hand keeps ``above`` metres over
        it; within, it sinks, the faster the nearer it is. So it rests nowhere but at the point, and
        who imitates it learns no other place to stay at.
        """
        for _ in range(steps):
            way, turning = self._left(goal, turn)
            if np.linalg.norm(way) < distance:
                return
            # A hand turned by 0.1 rad is as far from ready as one 5 mm beside.
            beside = np.linalg.norm(way[:2]) + 0.05 * np.linalg.norm(turning)
            # Asked for no more than the way that is left, friction would hold the arm short of it.
            # Twice the turn as well would work against the way aside, and the hand would swing.
            moving = np.multiply(way, (2, 2, 1)) / _METRES
            if beside < _FUNNEL:
                moving[2] = max(moving[2], -2 * (1 - beside / _FUNNEL))
            else:
                moving[2] += above / _METRES
            yield self._action(moving, turning)

    def _reach(self, goal, turn, distance, steps, angle=np.inf, speed=1.0) -> Iterator[np.ndarray]:
        """Goes straight to a point until it is that near, [m] and [rad], or the steps are over."""
        for _ in range(steps):
            way, turning = self._left(goal, turn)
            if np.linalg.norm(way) < distance and np.linalg.norm(turning) < angle:
                return
            yield self._action(np.clip(way / _METRES, -speed, speed), turning)

    def _action(self, moving, turning) -> np.ndarray:
        return np.clip(np.concatenate((moving, turning / _RADIANS, [self._grip])), -1, 1)

    def _grasp(self, point, turn) -> Iterator[np.ndarray]:
        """Closes the hand and keeps it at a point, against what pushes it away."""
        self._grip = CLOSED
        for _ in range(9):
            way, turning = self._left(point, turn)
            yield self._action(3 * way / _METRES, turning)

    def _release(self, steps, turn) -> Iterator[np.ndarray]:
        """Opens the hand where it is."""
        self._grip = OPEN
        yield from self._reach(self._simulator.hand[0], turn, 0, steps)

    def _left(self, goal, turn) -> tuple[np.ndarray, np.ndarray]:
        """What is left to go, [3] metres, and to turn, [3] radians as a rotation vector."""
        position, rotation = self._simulator.hand
        return goal - position, (turn * Rotation.from_matrix(rotation).inv()).as_rotvec()


def _beside(point: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A point that far from another along the world's axes, [3], metres."""
    return point + np.array((x, y, z))


def _turned(angle: float) -> Rotation:
    return Rotation.from_rotvec([0, 0, angle]) * DOWN


def plan(simulator: LiberoSimulator) -> Move:
    """What is taken where, in a task that is done by that."""
    item, place = simulator.of_interest
    suite, name = simulator.task.suite, simulator.task.name
    if suite == "libero_spatial":
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
