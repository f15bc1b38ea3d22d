"""Batches of a run: each replay draws by itself, and goes on where it was."""

import json

import numpy as np
import pytest

from mummi.runs.devices import data_mesh
from mummi.training.batches import Batches
from tests.support import tiny
from tests.support.replays import SENSORS, make_episode

FLAGS = ("--prefill-from", "demonstrations", "--demonstration-share", "0.5")


def batches(tmp_path, restart=0):
    """Equal episodes in both replays, so that equal windows are equal draws."""
    made = Batches(tiny.config(tmp_path, *FLAGS), SENSORS, 2, data_mesh(1, 4), restart)
    if not made.episodes:
        for replay in (made.online, made.demonstrations):
            replay.add(make_episode(200), 0)
    return made


def starts(made):
    """Where windows of the demonstrations and of the online replay begin, ten draws of each."""
    first = np.stack([np.asarray(made.draw()["reward"])[:, 0] for _ in range(10)])
    return first[:, :2].ravel(), first[:, 2:].ravel()


def test_the_replays_draw_from_streams_of_their_own(tmp_path):
    demonstrations, online = starts(batches(tmp_path))
    assert (demonstrations != online).mean() > 0.9


def test_a_restart_draws_other_windows_and_a_checkpoint_goes_on_with_the_same(tmp_path):
    made = batches(tmp_path)
    before = starts(made)
    state = json.loads(json.dumps(made.state()))
    expected = starts(made)
    again = batches(tmp_path, restart=40)
    assert (np.concatenate(starts(again)) != np.concatenate(before)).mean() > 0.9
    again.restore(state)
    np.testing.assert_array_equal(starts(again), expected)
    # Also restored they do not follow one stream.
    assert (expected[0] != expected[1]).mean() > 0.9


def test_only_what_the_agent_did_comes_newest_first(tmp_path):
    batches(tmp_path)
    config = tiny.config(tmp_path, *FLAGS, "--recent-share", "1", "--recent-steps", "20")
    made = Batches(config, SENSORS, 2, data_mesh(1, 4), 0)
    demonstrations, online = starts(made)
    assert online.min() >= 200 - 20 // config.action_repeat > demonstrations.min()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("recent-share", "1.5", "recent_share is 1.5; it must be 0 to 1"),
        ("recent-steps", "0", "recent_steps is 0; it must be at least the . environment steps"),
    ],
)
def test_newest_steps_that_cannot_be_drawn_are_refused(flag, value, message, tmp_path):
    config = tiny.config(tmp_path, f"--{flag}", value)
    with pytest.raises(ValueError, match=message):
        Batches(config, SENSORS, 2, data_mesh(1, 4), 0)
