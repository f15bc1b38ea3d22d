"""Small episodes and replays of them."""

from pathlib import Path

import numpy as np

from mummi.data.replay import EpisodeWriter, Replay
from mummi.modality import Modality

SENSORS = (Modality("rgb", "image", (4, 4, 3)), Modality("touch", "vector", (2,)))


def make_episode(length, mark=0.0, action_size=2, sensors=SENSORS):
    """An episode whose rewards, mark + t, tell which step of which episode they are."""
    rng = np.random.default_rng(int(mark))
    writer = EpisodeWriter(sensors, action_size)
    for t in range(length):
        writer.append(
            {m.name: rng.integers(0, 255, m.shape).astype(m.dtype) for m in sensors},
            {m.name: rng.random() < 0.5 for m in sensors},
            rng.standard_normal(action_size),
            mark + t,
            t == 0,
            t == length - 1,
            False,
        )
    return writer.finish()


def make_replay(directory, capacity=1000, seed=0):
    """A replay of such episodes."""
    return Replay(directory, SENSORS, 2, capacity, seed)


def files(directory):
    """Names of what a folder holds, sorted."""
    return sorted(path.name for path in Path(directory).iterdir())


def assert_same(a, b):
    """Arrays by name are of the same types and values."""
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
