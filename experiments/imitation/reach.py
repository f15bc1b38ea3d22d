"""A hand that takes objects to a basket, seen by sensors that tell where they are.

An instruction says which of several objects, whose place varies from episode to episode;
demonstrations are disturbed and correct it, as those of LIBERO here. How far from the object the
fingers close is known, and so is what a replayed demonstration comes to.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from mummi.imitation.heads.head import Head, Percept, Sizes, Trajectory
from mummi.imitation.heads.outcomes import Outcome, digest
from mummi.modality import Modality

STEP = 0.012
"""Metres that an action of 1 moves the hand in a step."""
OFFSET = 0.05
"""Metres by which an object is at most beside its usual place, along either axis."""
HIGH = 0.12
"""Metres above the table of the start and on the way to the basket."""
BASKET = np.array([0.1, -0.25])
REACH = 0.02
"""Metres from the object at which closing fingers still hold it."""
INSIDE = 0.04
"""Metres from the middle of the basket at which the object still falls into it."""
NOISE = 0.2
"""Standard deviation of the noise on what is executed."""
LIMIT = 220
"""Steps of a rollout."""
WIDTH, CODE = 64, 8
"""Sizes of an embedding and of an instruction's sentence."""
SENSORS = ("agent", "wrist", "instruction")
SIZES = Sizes(
    (
        *(Modality(name, "vector", (1,)) for name in SENSORS[:2]),
        Modality("instruction", "embedding", (CODE,), can_fail=False),
    ),
    WIDTH,
    dict.fromkeys(SENSORS, WIDTH),
    7,
)


class Hands(NamedTuple):
    """What N robots are at: arrays of N rows.

    Attributes:
        object: place of the object in the plane, metres.
        hand: place of the hand in space, metres.
        turned: rotation of the hand, radians, [N, 3].
        closed: the fingers are.
    """

    object: np.ndarray
    hand: np.ndarray
    turned: np.ndarray
    closed: np.ndarray

    def moved(self, action: np.ndarray) -> "Hands":
        """After an action [N, 7] in [-1, 1]."""
        return self._replace(
            hand=self.hand + STEP * action[:, :3],
            turned=self.turned + 0.05 * action[:, 3:6],
            closed=action[:, 6] > 0,
        )


class World:
    """Objects, sentences and sensors, all of them drawn from a seed.

    Args:
        instructions: how many objects.
        seed: of everything.
    """

    def __init__(self, instructions: int, seed: int):
        self.random = np.random.default_rng(seed)
        self.places = self.random.uniform([0.1, -0.1], [0.35, 0.3], (instructions, 2))
        self.codes = self.random.normal(size=(instructions, CODE))
        inputs = {"agent": CODE + 6, "wrist": CODE + 6, "instruction": CODE, "feature": CODE + 6}
        self._weights = {
            name: self.random.normal(size=(size, WIDTH)) / np.sqrt(size)
            for name, size in inputs.items()
        }

    def start(self, which: np.ndarray) -> Hands:
        """New starts of episodes with these instructions, int [N]."""
        count = len(which)
        beside = self.random.uniform(-OFFSET, OFFSET, (count, 2))
        hand = np.tile([0.0, 0.0, HIGH], (count, 1))
        turned, closed = np.zeros((count, 3)), np.zeros(count, bool)
        return Hands(self.places[which] + beside, hand, turned, closed)

    def percept(self, which: np.ndarray, now: Hands) -> Percept:
        """What N robots with these instructions see."""
        code = self.codes[which]
        beside = (now.object - self.places[which]) / OFFSET
        between = (now.hand - np.pad(now.object, ((0, 0), (0, 1)))) / 0.1
        everything = np.concatenate([code, beside, between, now.closed[:, None]], 1)
        said = {
            name: np.float32((code if name == "instruction" else everything) @ weight)
            for name, weight in self._weights.items()
        }
        for name in ("agent", "wrist", "feature"):
            said[name] += self.random.normal(0, 0.05, said[name].shape).astype(np.float32)
        feature = said.pop("feature")
        available = {name: np.ones(len(which), bool) for name in SENSORS}
        return Percept(feature, said, {"instruction": code}, available)

    def demonstrate(self, which: int) -> tuple[Trajectory, Hands]:
        """A disturbed demonstration of an instruction, and where it began."""
        begin = now = self.start(np.array([which]))
        (place,) = now.object
        stages = [([*place, 0.0], -1), ([*place, 0.0], 1), ([*place, HIGH], 1),
                  ([*BASKET, HIGH], 1), ([*BASKET, HIGH], -1)]  # fmt: skip
        percepts, wanted, executed = [], [], []
        for stage, (target, gripper) in enumerate(stages):
            for waited in range(LIMIT):
                away = np.array(target) - now.hand[0]
                fingers = stage in (1, 4)
                if waited >= 4 if fingers else np.abs(away).max() < 0.006:
                    break
                move = np.clip([*away / STEP / 2, *-now.turned[0] / 0.1, gripper], -1, 1)
                percepts.append(self.percept(np.array([which]), now))
                wanted.append(move)
                executed.append(np.clip(move + NOISE * self.random.normal(size=7), -1, 1))
                now = now.moved(executed[-1][None])
        percept = jax.tree.map(lambda *rows: np.concatenate(rows), *percepts)
        return Trajectory(percept, np.float32(wanted), np.float32(executed)), begin


class Played(NamedTuple):
    """How N rollouts went: metres from the object at the first closing, and success; both [N]."""

    miss: np.ndarray
    success: np.ndarray


def play(world: World, which: np.ndarray, start: Hands, act: Callable) -> Played:
    """Rolls out ``act(step, percept) -> actions`` [N, 7]."""
    now, count = start, len(which)
    miss, held, success = np.full(count, np.nan), np.zeros(count, bool), np.zeros(count, bool)
    for step in range(LIMIT):
        action = np.clip(act(step, world.percept(which, now)), -1, 1)
        away = np.linalg.norm(now.hand[:, :2] - now.object, axis=1)
        closing, opening = ~now.closed & (action[:, 6] > 0), now.closed & (action[:, 6] <= 0)
        miss = np.where(np.isnan(miss) & closing, away, miss)
        inside = np.linalg.norm(now.hand[:, :2] - BASKET, axis=1) < INSIDE
        success |= held & opening & inside
        held = (held | (closing & (away < REACH) & (now.hand[:, 2] < REACH))) & ~opening
        now = now.moved(action)
    return Played(np.where(np.isnan(miss), away, miss), success)


def play_head(world: World, which: np.ndarray, start: Hands, head: Head, seed: int) -> Played:
    """Rolls out a head."""
    carry, key = head.reset(len(which)), jax.random.PRNGKey(seed)

    def act(step, percept):
        nonlocal carry
        first = np.full(len(which), step == 0)
        action, carry = head.act(carry, percept, first, jax.random.fold_in(key, step))
        return action

    return play(world, which, start, act)


def replays(world: World, made: list[tuple[Trajectory, Hands]], which: np.ndarray) -> list[Outcome]:
    """Every demonstration from the start of each of its instruction."""
    found = []
    for i, (one, start) in enumerate(made):
        rows = np.flatnonzero(which == which[i])
        actions = [made[j][0].recording for j in rows]
        held = np.zeros((len(rows), LIMIT, 7), np.float32)
        held[..., 6] = -1
        for row, action in zip(held, actions, strict=True):
            row[: len(action)] = action[:LIMIT]
        there = Hands(*(np.repeat(x, len(rows), axis=0) for x in start))
        played = play(world, which[rows], there, lambda step, _, held=held: held[:, step])
        names = tuple(digest(a) for a in actions)
        steps = tuple(len(a) for a in actions)
        success = tuple(bool(x) for x in played.success)
        task = f"reaching/{which[i]}"
        found.append(Outcome(task, i, 0, (digest(one.recording),), names, success, steps))
    return found
