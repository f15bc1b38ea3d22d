"""What environments deliver becomes episodes and scores, and nothing that is not finite does."""

import warnings

import numpy as np
import pytest

from mummi.data.replay import Replay
from mummi.training.collector import Collector
from tests.support.pretend import ACTION_SIZE, FLOATS, SENSORS, Pretended

LENGTH = 5


def collect(environments, steps, demonstrated=False):
    """The collector, its replays and the scores of so many steps."""
    replays = [Replay(None, SENSORS, ACTION_SIZE, 1000, 0) for _ in range(2)]
    collector, scores = Collector(environments, *replays), []
    batch = environments.reset()
    shown = np.full(len(environments), demonstrated)
    random = np.random.default_rng(0)
    for step in range(steps + 1):
        scores += collector.add(batch, environments.actions[-1], step, shown)
        environments.step_async(random.random((len(environments), 2)).astype(np.float32))
        batch = environments.step_wait()
    return collector, replays, scores


def rewards(replay):
    """Those of each episode."""
    drawn = [stored.arrays["reward"] for stored in replay._stored]
    assert all(len(reward) == LENGTH + 1 for reward in drawn)
    return drawn


@pytest.mark.parametrize("demonstrated", [False, True])
def test_an_episode_goes_to_its_replay_and_its_score_is_the_sum_of_its_rewards(demonstrated):
    _, replays, scores = collect(Pretended(), 3 * (LENGTH + 1) - 1, demonstrated)
    kind = "demonstration" if demonstrated else "episode"
    assert [replay.episodes for replay in replays] == ([0, 6] if demonstrated else [6, 0])
    for reward, score in zip(rewards(replays[demonstrated]), scores, strict=True):
        assert score == {
            f"{kind}/return": pytest.approx(reward.sum()),
            f"{kind}/missing": 0.0,
            f"{kind}/last/success": 1.0,  # and not task, which is a label
        }


def test_an_episode_of_a_lost_environment_is_dropped():
    def lose(batch, number):
        if number >= 4:  # after three steps it begins anew
            batch.is_first[:], batch.is_last[:] = number == 4, number == 4 + LENGTH
            batch.restarted[:] = number == 4

    collector, (replay, _), scores = collect(Pretended(1, 100, lose), 3 + LENGTH)
    assert (replay.episodes, len(scores), collector.dropped) == (1, 1, 0)
    assert len(rewards(replay)[0]) == LENGTH + 1


SPOILS = {
    "reward": lambda batch, actions: batch.reward.__setitem__(1, np.nan),
    "infinite reward": lambda batch, actions: batch.reward.__setitem__(1, -np.inf),
    "action": lambda batch, actions: actions.__setitem__((1, 0), np.nan),
    **{
        name: lambda batch, actions, name=name: batch.values[name].__setitem__((1, -1), np.nan)
        for name in FLOATS
    },
}


@pytest.mark.parametrize("at", [2, LENGTH])
@pytest.mark.parametrize("what", SPOILS)
def test_an_episode_that_is_not_finite_is_dropped_from_its_environment_alone(what, at):
    # The second episode of the second environment is spoiled at one step.
    def spoil(batch, number):
        if number == 1 + LENGTH + 1 + at:
            SPOILS[what](batch, environments.actions[-1])

    environments = Pretended(2, LENGTH, spoil)
    with pytest.warns(RuntimeWarning, match=f"environment 1 is dropped: step {at} of an episode"):
        collector, (replay, _), scores = collect(environments, 3 * (LENGTH + 1) - 1)
    assert (replay.episodes, len(scores), collector.dropped) == (5, 5, 1)
    assert all(np.isfinite(reward).all() for reward in rewards(replay))
    assert all(np.isfinite(list(score.values())).all() for score in scores)


def test_the_warning_comes_once_and_every_drop_is_counted():
    def spoil(batch, number):
        batch.reward[number % 2] = np.nan

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        collector, (replay, _), scores = collect(Pretended(2, LENGTH, spoil), 4 * (LENGTH + 1) - 1)
    assert len(said) == 1 and "episodes_dropped" in str(said[0].message)
    assert (replay.episodes, scores, collector.dropped) == (0, [], 8)


def test_what_is_missing_may_be_anything():
    def spoil(batch, number):
        for name in FLOATS:
            batch.available[name][:] = False
            batch.values[name][:] = np.nan

    collector, (replay, _), scores = collect(Pretended(1, LENGTH, spoil), LENGTH)
    assert (replay.episodes, collector.dropped) == (1, 0)
    assert scores[0]["episode/missing"] == pytest.approx(3 / 4)
