"""A planner that pushes the T into place and goes round it by either side."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from shapely.geometry import LineString, Point, Polygon

from envs.pusht.simulator import RADIUS, SIDE, PushTSimulator

# Distances are in units of the table.
_APART = 12.0
"""Between places along the outline at which a push is tried."""
_ANGLES = (-0.5, 0.0, 0.5)
"""Of a push to the outline's normal, radians."""
_GAP = 6.0
"""Between pusher and block before a push."""
_LONGEST = 14
"""Steps of a push."""
_SPEEDS = ((40.0, 12.0), (12.0, 6.0), (0.0, 3.0))
"""How far the corners are off, and how far a push then moves its target in a step."""
_EDGE = 24.0
"""How near to the table's edge the pusher goes."""
_REACH = 40.0
"""How far ahead of the pusher its target is on the way."""
_DETOUR = 100.0
"""How much longer a way is that is taken 1/e times as often."""


class Push(NamedTuple):
    """A straight push.

    Attributes:
        start: where the pusher stands before it, [2].
        step: by how much its target moves in each step, [2].
        steps: how many.
    """

    start: np.ndarray
    step: np.ndarray
    steps: int


class PushTExpert:
    """Tries every push on a copy of the table, does the best one, and looks again.

    The best push brings the corners nearest to where they are to be for each step that it takes
    with the way to it. Where that way leads round the block, both sides are open, and one is drawn,
    the shorter one more often.

    Args:
        simulator: at the beginning of an episode.
        seed: of the sides.
    """

    def __init__(self, simulator: PushTSimulator, seed: np.random.SeedSequence):
        self._simulator, self._model = simulator, PushTSimulator()
        self._random = np.random.default_rng(seed)
        self._script = self._act()

    def __call__(self) -> np.ndarray:
        """The next action, the target [2] in [-1, 1]; to be asked once before each step."""
        return np.clip(2 * next(self._script) / SIDE - 1, -1, 1)

    def _act(self) -> Iterator[np.ndarray]:
        sim = self._simulator
        while True:
            push, way = self._choose()
            if way:
                yield from self._follow(way, 12.0)
            yield from self._follow([push.start], 3.0)
            start = sim.agent
            for count in range(push.steps):
                yield start + push.step * (count + 1)
            # Held where it is, the target would be ahead of the pusher, and push on.
            yield sim.agent - 20 * push.step / np.linalg.norm(push.step)

    def _follow(self, places: list[np.ndarray], near: float) -> Iterator[np.ndarray]:
        """Goes by some places until it is near the last, its target ahead of it on the way."""
        way = LineString((self._simulator.agent, *places))
        for _ in range(80):
            here = Point(self._simulator.agent)
            if here.distance(Point(places[-1])) < near:
                return
            yield np.array(way.interpolate(way.project(here) + _REACH).coords[0])

    def _choose(self) -> tuple[Push, list[np.ndarray]]:
        """The best push, and the places that the way to it leads by."""
        agent, block = self._simulator.agent, self._simulator.block
        outline = self.outline(block)
        for push in self.pushes(agent, block):
            if ways := sides(agent, push.start, outline):
                lengths = np.array([_length((agent, *way, push.start)) for way in ways])
                odds = np.exp((lengths.min() - lengths) / _DETOUR)
                return push, ways[self._random.choice(len(ways), p=odds / odds.sum())]
        raise RuntimeError(f"no push of the block at {block} can be reached from {agent}")

    def pushes(self, agent: np.ndarray, block: np.ndarray) -> list[Push]:
        """All pushes of a block, the one that gains most by step first."""
        model = self._model
        model.place(agent, block)
        before = off(model)
        speed = next(speed for least, speed in _SPEEDS if before >= least)
        taken, outline = [], self.outline(block).buffer(RADIUS + 1)
        for place, normal in self._places(block):
            start = place + (RADIUS + _GAP) * normal
            inside = (start > _EDGE).all() and (start < SIDE - _EDGE).all()
            if not inside or outline.contains(Point(start)):
                continue
            travel = 8 + np.linalg.norm(start - agent) / 20
            for angle in _ANGLES:
                step = -speed * rotation(angle) @ normal
                model.place(start, block)
                for count in range(1, _LONGEST + 1):
                    model.step(start + step * count)
                    gain = (before - off(model)) / (count + travel)
                    taken.append((gain, Push(start, step, count)))
        return [push for _, push in sorted(taken, key=lambda pair: -pair[0])]

    def outline(self, block: np.ndarray) -> Polygon:
        """The T on the table."""
        corners = np.array(self._model.outline.exterior.coords)
        return Polygon(block[:2] + corners @ rotation(block[2]).T)

    def _places(self, block: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places along the outline and the normals out of it there, each [2]."""
        corners = np.array(self.outline(block).exterior.coords)
        for begin, end in itertools.pairwise(corners):
            edge = end - begin
            length = np.linalg.norm(edge)
            count = max(int(length / _APART), 1)
            for number in range(count):
                yield begin + edge * (number + 0.5) / count, np.array((edge[1], -edge[0])) / length


def off(simulator: PushTSimulator) -> float:
    """How far the corners are from where they are to be, root of the mean square."""
    return float(np.sqrt(np.square(simulator.keypoints - simulator.goal).sum(-1).mean()))


def _length(places: Sequence[np.ndarray]) -> float:
    return float(np.linalg.norm(np.diff(places, axis=0), axis=-1).sum())


def rotation(angle: float) -> np.ndarray:
    """Turns a vector by an angle, [2, 2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array(((cos, -sin), (sin, cos)))


def sides(agent: np.ndarray, goal: np.ndarray, outline: Polygon) -> list[list[np.ndarray]]:
    """The ways round a block, each as the places [2] that it leads by before the goal.

    A straight way, where it is free, is the only one. Others follow the block's convex hull, a
    pusher's radius away, to the left and to the right, as far as the table goes.
    """
    if not LineString((agent, goal)).intersects(outline.buffer(RADIUS + 2)):
        return [[]]
    ring = outline.buffer(RADIUS + 8).convex_hull.exterior
    begin, end = (ring.project(Point(place)) for place in (agent, goal))
    forward = (end - begin) % ring.length
    ways = []
    for distance in (forward, forward - ring.length):
        count = max(int(abs(distance) / 15), 1)
        shares = np.arange(count + 1) / count
        places = [ring.interpolate((begin + distance * s) % ring.length) for s in shares]
        way = np.array([place.coords[0] for place in places])
        if (way > _EDGE - 4).all() and (way < SIDE - _EDGE + 4).all():
            ways.append(list(way))
    return ways
