"""Open-loop replay, the control of retrieval."""

import jax
import numpy as np
import scipy.stats

from mummi.imitation.heads.head import Percept, Trajectory
from mummi.imitation.heads.replay import RandomReplay, ReplayConfig
from mummi.modality import Modality
from tests.support.demonstrated import FIRST, KEY, SIZES, demonstrations, fitted, percept


def test_replay_plays_one_demonstration_from_its_start_and_then_does_nothing():
    rows = demonstrations(4, steps=3)
    rows[0] = Trajectory(rows[0].percept, rows[0].action[:2])
    head = fitted(RandomReplay, ReplayConfig(), rows)
    again = RandomReplay(ReplayConfig(), SIZES)
    again.restore(head.arrays())
    carry, seen = again.reset(40), []
    for step in range(5):
        first = np.full(40, step == 0)
        action, carry = again.act(carry, percept(np.zeros((40, 3))), first, KEY)
        seen.append(action)
    drawn = set()
    for path in np.stack(seen, 1):
        (which,) = [i for i, t in enumerate(rows) if np.array_equal(path[:2], t.action[:2])]
        drawn.add(which)
        assert np.array_equal(path[: len(rows[which].action)], rows[which].action)
        assert not path[len(rows[which].action) :].any()
    assert drawn == {0, 1, 2, 3}


def telling(seen: Percept, told: np.ndarray) -> Percept:
    """The percept with an instruction of its own at each step."""
    available = {**seen.available, "say": np.ones(len(told), bool)}
    return seen._replace(values={"say": told}, available=available)


def test_replay_draws_among_the_demonstrations_of_the_same_instruction():
    told = np.eye(3, dtype=np.float32)
    which = [0, 1, 1, 0, 1, 2]
    sizes = SIZES._replace(
        modalities=(*SIZES.modalities, Modality("say", "embedding", (3,), False))
    )
    rows = [
        t._replace(percept=telling(t.percept, told[[k] * len(t.action)]))
        for t, k in zip(demonstrations(6), which, strict=True)
    ]
    head = RandomReplay(ReplayConfig(), sizes)
    head.fit(rows, 0)
    again = RandomReplay(ReplayConfig(), sizes)
    again.restore(head.arrays())
    asked = np.arange(300) % 3
    # What is told arrives with the rounding of another program.
    seen = telling(percept(np.zeros((300, 3))), told[asked] * np.float32(1 + 1e-7))
    _, carry = again.act(again.reset(300), seen, np.full(300, True), KEY)
    for k in range(3):
        drawn = np.bincount(carry.index[asked == k], minlength=6)
        mine = np.array(which) == k
        assert not drawn[~mine].any()
        assert scipy.stats.chisquare(drawn[mine]).pvalue > 1e-3 or k == 2
    # An instruction that is missing is none, whatever stands in its place.
    gone = {**seen.available, "say": np.zeros(300, bool)}
    drawn = [
        again.act(again.reset(300), seen._replace(available=gone, values={"say": told}), FIRST, KEY)
        for told in (seen.values["say"], np.full((300, 3), np.nan))
    ]
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    _, later = again.act(carry, seen, np.arange(300) < 150, jax.random.PRNGKey(1))
    np.testing.assert_array_equal(later.index[150:], carry.index[150:])
    assert (later.index[:150] != carry.index[:150]).any()
    assert later.step.tolist() == [1] * 150 + [2] * 150
