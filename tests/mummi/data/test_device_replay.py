"""A replay in the memory of a device draws what one in main memory draws."""

import types

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mummi.data import device_replay
from mummi.data.device_replay import DeviceSteps, fits, size
from mummi.data.episode import layout
from mummi.data.replay import Replay
from mummi.modality import Modality
from mummi.runs.devices import data_mesh
from mummi.runs.logger import read_metrics
from mummi.training.batches import UPDATES_PER_CALL, Batches
from tests.support import tiny
from tests.support.replays import SENSORS, assert_same, make_episode

pytestmark = pytest.mark.usefixtures("quick_compile")

FORM = layout(SENSORS, 2)
DEMONSTRATED = np.arange(4) < 1


def held(directory=None, capacity=60, seed=3, memory=None):
    """A replay whose steps are on the device as well."""
    return Replay(directory, SENSORS, 2, capacity, seed, memory, ring(capacity))


def ring(capacity):
    return DeviceSteps(FORM, capacity, data_mesh(1, 1))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=12),
    st.sampled_from([20, 47, 70]),
    st.sampled_from([1, 8, 30]),
)
def test_windows_are_those_of_main_memory_whatever_was_evicted(lengths, capacity, length):
    plain, device = Replay(None, SENSORS, 2, capacity, 3), held(None, capacity)
    for i, steps in enumerate(lengths):
        episode = make_episode(steps, 100.0 * i)
        for replay in (plain, device):
            replay.add(episode, i)
        drawn = device.sample(16, length)
        assert all(isinstance(array, jax.Array) for array in drawn.values())
        assert_same(plain.sample(16, length), drawn)


def test_an_episode_longer_than_a_chunk_and_one_that_wraps_around(monkeypatch):
    monkeypatch.setattr(device_replay, "CHUNK", 4)
    plain, device = Replay(None, SENSORS, 2, 25, 3), held(None, 25)
    for i, steps in enumerate((10, 11, 9, 25, 1)):
        for replay in (plain, device):
            replay.add(make_episode(steps, 100.0 * i), i)
        assert_same(plain.sample(16, 7), device.sample(16, 7))


def test_the_steps_are_there_again_after_a_restart_and_not_twice(tmp_path):
    plain, before = Replay(None, SENSORS, 2, 40, 3), held(tmp_path, 40, memory=0)
    for i in range(6):
        for replay in (plain, before):
            replay.add(make_episode(5 + i, 100.0 * i), i)
    again = held(tmp_path, 40, seed=0, memory=0)
    again.restore(plain.state())
    assert again.resident == 0
    assert_same(plain.sample(16, 7), again.sample(16, 7))
    for replay in (plain, again):
        replay.add(make_episode(12, 900.0), 10)
    assert_same(plain.sample(16, 7), again.sample(16, 7))


def test_a_ring_is_made_where_half_of_an_accelerator_is_left(monkeypatch):
    step = 4 * 4 * 3 + 2 * 4 + 2 + 2 * 4 + 4 + 3
    assert size(FORM, 10) == 10 * step
    assert size(layout([Modality("rgb", "image", (64, 64, 3))], 1), 10**6) > 2**33
    device = types.SimpleNamespace(memory_stats=lambda: {"bytes_limit": 40 * step})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert fits(FORM, 10, 2) and fits(FORM, 20, 1)
    assert not fits(FORM, 21, 1) and not fits(FORM, 20, 2)
    device.memory_stats = lambda: None  # as of a CPU
    assert not fits(FORM, 1, 1)


@pytest.mark.parametrize("per_call", [1, 3])
def test_a_run_draws_the_same_batches_from_the_device(tmp_path, per_call):
    def batches(*flags):
        config = tiny.config(tmp_path, *flags, "--updates-per-call", str(per_call), *mixed)
        made = Batches(config, SENSORS, 2, data_mesh(1, 4), restart=0)
        if not made.episodes:
            for i, replay in enumerate((made.online, made.demonstrations)):
                replay.add(make_episode(30, 100.0 * i), i)
        return made

    mixed = ("--prefill-from", "demonstrations", "--demonstration-share", "0.25")
    plain, device = batches(), batches("--replay-device", "on")
    assert plain.updates_per_call == device.updates_per_call == per_call
    for _ in range(3):
        expected, found = plain.draw(), device.draw()
        jax.tree.map(np.testing.assert_array_equal, expected, found)
        lead = (per_call, 4) if per_call > 1 else (4,)
        assert found["reward"].shape == (*lead, 6)
        assert found["values"]["rgb"].shape == (*lead, 6, 4, 4, 3)
        np.testing.assert_array_equal(found["demonstrated"], np.broadcast_to(DEMONSTRATED, lead))
        np.testing.assert_array_equal(found["reward"].min(-1) >= 100, found["demonstrated"])


def test_a_cpu_makes_one_update_a_call_and_an_accelerator_several(tmp_path, monkeypatch):
    def per_call(*flags):
        config = tiny.config(tmp_path, *flags)
        return Batches(config, SENSORS, 2, data_mesh(1, 4), 0).updates_per_call

    assert per_call() == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert per_call() == UPDATES_PER_CALL > 1
    assert per_call("--updates-per-call", "2") == 2


@pytest.mark.slow  # several updates a call are tested with the learner, the windows above
def test_a_run_on_the_device_with_several_updates_a_call_goes_on_without_either(tmp_path):
    flags = ("--replay-device", "on", "--updates-per-call", "3")
    first = tiny.run(tmp_path, *flags, "--steps", "250")
    made = [(r["step"], r["updates"]) for r in read_metrics(tmp_path) if "updates" in r]
    assert made[-1] == (250, tiny.target_updates(first) // 3 * 3)
    longer = tiny.run(tmp_path, "--steps", "300")
    made = [(r["step"], r["updates"]) for r in read_metrics(tmp_path) if "updates" in r]
    assert made[-1] == (300, tiny.target_updates(longer))
