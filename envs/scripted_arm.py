"""Scripts for an arm under robosuite's OSC_POSE: reach, descend, hold, carry, let go."""

import abc
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from scipy.spatial.transform import Rotation

OPEN, CLOSED = -1.0, 1.0
"""Last number of an action."""
METRES, RADIANS = 0.05, 0.5
"""What an action of 1 stands for in OSC_POSE."""
# How far beside the vertical through a point the hand begins to sink to it, metres.
_FUNNEL = 0.02
# A hand within this of a point, metres, that came nearer by less than this, metres, in so many
# steps, is kept from it by something.
_BLOCKED_WITHIN, _PROGRESS, _PATIENCE = 0.02, 0.001, 5
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


class Scene(Protocol):
    """What a script knows of a simulation."""

    @property
    def hand(self) -> tuple[np.ndarray, np.ndarray]:
        """The point between the fingertips [3], metres, and the hand's rotation [3, 3]."""
        ...

    def position(self, name: str) -> np.ndarray:
        """World coordinates of what has this name, [3], metres."""
        ...


class ScriptedArm(abc.ABC):
    """Acts by a script that is played step by step and remembers how far it has come.

    Args:
        simulator: at the beginning of an episode.
    """

    def __init__(self, simulator: Scene):
        self._simulator = simulator
        self._grip = OPEN
        self._script = self._act()

    def __call__(self, step=None) -> np.ndarray:
        """The next action, [7] in [-1, 1]; ``step`` makes the expert a policy like others.

        To be asked once before each step of the simulator.
        """
        return next(self._script)

    @abc.abstractmethod
    def _act(self) -> Iterator[np.ndarray]:
        """The actions of an episode, without end."""

    def _move(self, move: Move) -> Iterator[np.ndarray]:
        sim = self._simulator
        for grasp in move.grasps:
            start, turn = sim.position(move.item), turned(grasp.turn)
            hold = start + grasp.offset
            yield from self._descend(hold, turn, 0.01, 90, move.above)
            yield from self._grasp(hold, turn)
            yield from self._reach(beside(hold, z=move.lift), turn, 0.05, 30)
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
        it; within, it sinks, the faster the nearer it is. Where something keeps it from the last of
        the way, it is there. So it rests nowhere, and who imitates it learns no place to stay at.
        """
        nearest, waited = np.inf, 0
        for _ in range(steps):
            way, turning = self._left(goal, turn)
            left = np.linalg.norm(way)
            waited = 0 if left < nearest - _PROGRESS else waited + 1
            nearest = min(left, nearest)
            if left < distance or (left < _BLOCKED_WITHIN and waited > _PATIENCE):
                return
            # A hand turned by 0.1 rad is as far from ready as one 5 mm beside.
            aside = np.linalg.norm(way[:2]) + 0.05 * np.linalg.norm(turning)
            # Asked for no more than the way that is left, friction would hold the arm short of it.
            # Twice the turn as well would work against the way aside, and the hand would swing.
            moving = np.multiply(way, (2, 2, 1)) / METRES
            if aside < _FUNNEL:
                moving[2] = max(moving[2], -2 * (1 - aside / _FUNNEL))
            else:
                moving[2] += above / METRES
            yield self._action(moving, turning)

    def _reach(self, goal, turn, distance, steps, angle=np.inf, speed=1.0) -> Iterator[np.ndarray]:
        """Goes straight to a point until it is that near, [m] and [rad], or the steps are over."""
        for _ in range(steps):
            way, turning = self._left(goal, turn)
            if np.linalg.norm(way) < distance and np.linalg.norm(turning) < angle:
                return
            yield self._action(np.clip(way / METRES, -speed, speed), turning)

    def _action(self, moving, turning) -> np.ndarray:
        return np.clip(np.concatenate((moving, turning / RADIANS, [self._grip])), -1, 1)

    def _grasp(self, point, turn) -> Iterator[np.ndarray]:
        """Closes the hand and keeps it at a point, against what pushes it away."""
        self._grip = CLOSED
        for _ in range(9):
            way, turning = self._left(point, turn)
            yield self._action(3 * way / METRES, turning)

    def _release(self, steps, turn) -> Iterator[np.ndarray]:
        """Opens the hand where it is."""
        self._grip = OPEN
        yield from self._reach(self._simulator.hand[0], turn, 0, steps)

    def _left(self, goal, turn) -> tuple[np.ndarray, np.ndarray]:
        """What is left to go, [3] metres, and to turn, [3] radians as a rotation vector."""
        position, rotation = self._simulator.hand
        return goal - position, (turn * Rotation.from_matrix(rotation).inv()).as_rotvec()


def beside(point: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A point that far from another along the world's axes, [3], metres."""
    return point + np.array((x, y, z))


def turned(angle: float) -> Rotation:
    """The hand that points to the table, turned by an angle about the vertical, radians."""
    return Rotation.from_rotvec([0, 0, angle]) * DOWN
