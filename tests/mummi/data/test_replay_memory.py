"""A replay with a bound on its memory: the same samples, from files what does not fit."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mummi.data.replay import Replay
from tests.support.replays import SENSORS, assert_same, files, make_episode, make_replay


@pytest.mark.parametrize("memory", [0, 600, 2500])
def test_a_bound_of_the_memory_changes_no_sample(tmp_path, memory):
    kept = make_replay(tmp_path / "kept", capacity=60, seed=3)
    offloaded = Replay(tmp_path / "offloaded", SENSORS, 2, 60, 3, memory)
    for i in range(9):
        episode = make_episode(5 + i, 100.0 * i)
        for replay in (kept, offloaded):
            replay.add(episode, i)
        assert offloaded.resident <= memory
        assert (len(offloaded), offloaded.episodes) == (len(kept), kept.episodes)
        assert_same(kept.sample(16, 7), offloaded.sample(16, 7))
    size = sum(array.nbytes for array in episode.values())
    assert kept.resident > memory and offloaded.resident > memory - size
    # The same after a restart, which holds the newest again.
    again = Replay(tmp_path / "offloaded", SENSORS, 2, 60, 0, memory)
    again.restore(kept.state())
    assert again.resident == offloaded.resident
    assert_same(kept.sample(16, 7), again.sample(16, 7))
    for replay in (kept, again):
        replay.add(make_episode(4, 900.0), 10)
    assert_same(kept.sample(16, 7), again.sample(16, 7))


def test_arrays_in_another_order_are_read_from_their_file_as_well(tmp_path):
    replay, episode = Replay(tmp_path, SENSORS, 2, 100, 0, 0), make_episode(8)
    turned = {key: np.asfortranarray(array) for key, array in episode.items()}
    replay.add(turned, 8)
    batch = replay.sample(50, 1)
    for b, first in enumerate(batch["reward"][:, 0].astype(int)):
        assert_same(
            {k: a[b, 0] for k, a in batch.items()}, {k: a[first] for k, a in episode.items()}
        )


def test_a_file_that_was_cut_since_is_an_error_of_sampling(tmp_path):
    replay = Replay(tmp_path, SENSORS, 2, 100, 0, 0)
    replay.add(make_episode(8), 8)
    os.truncate(tmp_path / files(tmp_path)[0], 400)
    with pytest.raises(OSError, match="shorter than when it was written"):
        replay.sample(50, 8)


def test_memory_without_files_or_below_zero_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without a folder has no files"):
        Replay(None, SENSORS, 2, 100, 0, 1000)
    with pytest.raises(ValueError, match="memory is -1 bytes; it must be 0 or more"):
        Replay(tmp_path, SENSORS, 2, 100, 0, -1)


GROW = """
import pathlib, re, sys
import numpy as np
from mummi.modality import Modality
from mummi.data.replay import EpisodeWriter, Replay

def resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search("VmRSS:[^0-9]*([0-9]+)", status)[1]) / 1024

sensors = (Modality("rgb", "image", (64, 64, 3)),)
memory = 8 * 2**20
def grow(replay):
    for _ in range(20):
        writer = EpisodeWriter(sensors, 1)
        for t in range(200):
            picture = {"rgb": np.zeros((64, 64, 3), np.uint8)}
            writer.append(picture, {"rgb": True}, np.zeros(1), 0.0, t == 0, t == 199, False)
        replay.add(writer.finish(), 0)
        replay.sample(8, 50)

replay = Replay(sys.argv[1], sensors, 1, 10**6, 0, memory)
grow(replay)
before = resident()
grow(replay)
grow(replay)
loaded = Replay(sys.argv[1], sensors, 1, 10**6, 0, memory)
loaded.sample(8, 50)
print(resident() - before, len(replay) * 64 * 64 * 3 / 2**20)
"""


def test_resident_memory_is_bounded_while_the_replay_grows(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", GROW, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=True,
        text=True,
    ).stdout
    grown, recorded = map(float, said.split())
    assert recorded > 140 and grown < 20
