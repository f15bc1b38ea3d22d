"""A scripted arm that does robomimic's tasks with full knowledge of the state."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from envs.scripted_arm import METRES, Grasp, Move, ScriptedArm, beside, turned

# From the middle of the nut's hole to that of its handle, metres.
_HANDLE = 0.054
# How far above its goal the nut is turned and moved, metres: the peg ends 10 cm above that.
_HIGH = 0.16


class RobomimicExpert(ScriptedArm):
    """Does the task of a simulator, a ``RobomimicSimulator``, and begins again where it fails."""

    def _act(self) -> Iterator[np.ndarray]:
        script = {"lift": self._lift, "can": self._can, "square": self._square}
        while True:
            yield from script[self._simulator.name]()
            yield from self._release(2, turned(0))

    def _lift(self) -> Iterator[np.ndarray]:
        """Holds the cube by two of its sides and lifts it."""
        place, rotation = self._simulator.item
        turn = turned(_least(_yaw(rotation), np.pi / 2))
        yield from self._descend(place, turn, 0.008, 60, above=0.08)
        yield from self._grasp(place, turn)
        yield from self._reach(beside(place, z=0.1), turn, 0.02, 20)

    def _can(self) -> Iterator[np.ndarray]:
        """Holds the can at its upper half and lets it go just above its quarter of the bin."""
        hold = Grasp((0, 0, 0.02))
        yield from self._move(Move("item", "goal", (hold,), (0, 0, 0.1), lift=0.2, above=0.12))

    def _square(self) -> Iterator[np.ndarray]:
        """Holds the nut by its handle, turns the hole as the peg is, and lets it slide down."""
        sim = self._simulator
        yield from self._release(4, turned(0))  # the nut falls from where robosuite puts it
        place, rotation = sim.item
        yaw = _yaw(rotation)
        hold, hand = _handle(place, yaw), _least(yaw, np.pi)
        yield from self._descend(hold, turned(hand), 0.008, 90, above=0.1)
        yield from self._grasp(hold, turned(hand))
        yield from self._reach(beside(hold, z=_HIGH), turned(hand), 0.03, 30)
        if sim.item[0][2] - place[2] < 0.08:
            return
        aligned = turned(hand - _least(_yaw(sim.item[1]), np.pi / 2))
        for height, steps in ((_HIGH, 60), (0.06, 40)):
            yield from self._over_peg(aligned, height, steps)
        yield from self._release(4, aligned)
        yield from self._reach(beside(sim.hand[0], z=0.1), aligned, 0.02, 15)

    def _over_peg(self, turn: Rotation, height: float, steps: int) -> Iterator[np.ndarray]:
        """Takes the nut that is held to a height above its goal, measured at the nut itself."""
        sim = self._simulator
        for _ in range(steps):
            place, rotation = sim.item
            way = beside(sim.goal, z=height) - place
            off = _least(_yaw(rotation), np.pi / 2)
            if np.linalg.norm(way) < 0.006 and abs(off) < 0.06:
                return
            _, turning = self._left(sim.hand[0], turn)
            yield self._action(2 * way / METRES, turning)


def _handle(place: np.ndarray, yaw: float) -> np.ndarray:
    """The middle of the handle of a nut that lies so, [3], metres."""
    return place + _HANDLE * np.array((np.cos(yaw), np.sin(yaw), 0))


def _yaw(rotation: np.ndarray) -> float:
    """Turn about the vertical of a rotation (x, y, z, w), radians."""
    x, y, _ = Rotation.from_quat(rotation).apply((1, 0, 0))
    return float(np.arctan2(y, x))


def _least(angle: float, period: float) -> float:
    """The angle of least size among those that differ by a period."""
    return angle - period * np.round(angle / period)
