"""The replay: windows, eviction, reloading, and what is left after a crash."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mummi.data.episode import NotFinite
from mummi.data.prefetch import Prefetch
from mummi.data.replay import EpisodeWriter, Replay
from mummi.modality import Modality
from tests.support.replays import SENSORS, assert_same, files, make_episode, make_replay


def test_what_was_wanted_is_sampled_beside_what_was_done(tmp_path):
    episode = make_episode(6)
    wanted = np.arange(12, dtype=np.float32).reshape(6, 2)
    replay = Replay(None, SENSORS, 2, 10, 0, wanted=True)
    replay.add({**episode, "wanted": wanted}, 0)
    batch = replay.sample(3, 4)
    for sequence in range(3):
        for t in range(4):
            step = int(np.argmax((episode["action"] == batch["action"][sequence, t]).all(1)))
            np.testing.assert_array_equal(batch["wanted"][sequence, t], wanted[step])
    with pytest.raises(ValueError, match="it needs"):
        replay.add(episode, 0)
    with pytest.raises(ValueError, match="it needs"):
        make_replay(tmp_path).add({**episode, "wanted": wanted}, 0)


def test_an_episode_has_the_declared_shapes_and_no_action_before_its_first_step():
    episode = make_episode(5, action_size=3)
    assert {key: (a.shape, a.dtype.name) for key, a in episode.items()} == {
        "values/rgb": ((5, 4, 4, 3), "uint8"),
        "values/touch": ((5, 2), "float32"),
        "available/rgb": ((5,), "bool"),
        "available/touch": ((5,), "bool"),
        "action": ((5, 3), "float32"),
        "reward": ((5,), "float32"),
        "is_first": ((5,), "bool"),
        "is_last": ((5,), "bool"),
        "is_terminal": ((5,), "bool"),
    }
    assert not episode["action"][0].any()
    assert episode["action"][1:].all()
    assert episode["is_first"].tolist() == [True, False, False, False, False]


def test_the_writer_copies_so_an_environment_may_reuse_its_buffers():
    sensor = Modality("touch", "vector", (1,))
    writer = EpisodeWriter([sensor], 1)
    buffer, action = np.zeros(1, np.float32), np.zeros(1, np.float32)
    for t in range(3):
        buffer[:] = action[:] = t
        writer.append({"touch": buffer}, {"touch": True}, action, 0.0, t == 0, False, False)
    episode = writer.finish()
    assert episode["values/touch"].ravel().tolist() == [0, 1, 2]
    assert episode["action"].ravel().tolist() == [0, 1, 2]


def test_the_writer_refuses_what_is_no_episode():
    writer = EpisodeWriter([Modality("touch", "vector", (1,))], 1)
    value, available, action = {"touch": np.zeros(1, np.float32)}, {"touch": True}, np.zeros(1)
    with pytest.raises(ValueError, match="without a step"):
        writer.finish()
    with pytest.raises(ValueError, match="is_first is False at step 0"):
        writer.append(value, available, action, 0.0, False, False, False)
    wrong = {"touch": np.zeros(1)}
    with pytest.raises(ValueError, match=r"values/touch .* float64; it needs \(1,\) and float32"):
        writer.append(wrong, available, action, 0.0, True, False, False)
    with pytest.raises(ValueError, match=r"action has shape \(3,\)"):
        writer.append(value, available, np.zeros(3), 0.0, True, False, False)
    writer.append(value, available, action, 0.0, True, False, False)
    with pytest.raises(ValueError, match="is_first is True at step 1"):
        writer.append(value, available, action, 0.0, True, False, False)
    writer.drop()
    assert len(writer) == 0


FINITE = (
    Modality("image", "image", (2, 2, 3)),
    Modality("depth", "depth", (2, 2, 1)),
    Modality("joints", "vector", (2,)),
    Modality("words", "embedding", (3,)),
)
FLOATS = [m.name for m in FINITE if m.dtype == np.float32]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["reward", "action", *FLOATS])
def test_the_writer_refuses_what_is_not_finite_by_step_and_name(what, number):
    writer = EpisodeWriter(FINITE, 2)
    available = dict.fromkeys((m.name for m in FINITE), True)

    def append(t, what=None):
        values = {m.name: np.zeros(m.shape, m.dtype) for m in FINITE}
        action, reward = np.zeros(2), 0.0
        if what == "reward":
            reward = number
        elif what == "action":
            action[1] = number
        elif what:
            values[what].flat[-1] = number
        writer.append(values, available, action, reward, t == 0, False, False)

    append(0)
    append(1)
    name = f"sensor {what!r} is available" if what in FLOATS else f"the {what} is"
    with pytest.raises(NotFinite, match=f"step 2 of an episode: {name}"):
        append(2, what)
    assert len(writer) == 2
    if what in FLOATS:  # it may be anything where it is missing
        available[what] = False
        append(2, what)
        assert not np.isfinite(writer.finish()[f"values/{what}"]).all()


@pytest.mark.parametrize("reward", [1e300, -1e60])
def test_what_the_file_cannot_hold_is_not_finite(reward):
    writer = EpisodeWriter(FINITE[2:3], 2)
    with pytest.raises(NotFinite, match=r"step 0 of an episode: the reward is -?inf"):
        writer.append(
            {"joints": np.zeros(2, np.float32)},
            {"joints": True},
            np.zeros(2),
            reward,
            True,
            False,
            False,
        )


@pytest.mark.parametrize("what", ["reward", "action", *(f"values/{name}" for name in FLOATS)])
def test_a_file_that_is_not_finite_is_skipped_and_never_written(tmp_path, what):
    def replay():
        return Replay(tmp_path, FINITE, 2, 1000, 0)

    first, second = (make_episode(6, mark, sensors=FINITE) for mark in (0.0, 100.0))
    for key, array in second.items():
        if key.startswith("available/"):
            array[:] = np.arange(6) < 3
    for name in FLOATS:
        second[f"values/{name}"][3:] = np.nan  # missing
    replay().add(first, 6)
    replay().add(second, 12)
    assert replay().episodes == 2
    second[what][2] = np.nan
    with pytest.raises(NotFinite, match=f"{what} is not finite at step 2"):
        replay().add(second, 18)
    assert replay().episodes == 2
    np.savez(tmp_path / files(tmp_path)[1], **second)
    with pytest.warns(UserWarning, match=f"skipped episode .*{what} is not finite at step 2"):
        poisoned = replay()
    assert (poisoned.episodes, len(files(tmp_path))) == (1, 2)
    assert np.isfinite(poisoned.sample(50, 6)["reward"]).all()


@pytest.mark.parametrize("length", [1, 5, 50])
def test_a_window_is_a_part_of_the_recorded_steps_in_their_order(tmp_path, length):
    replay = make_replay(tmp_path)
    episodes = [make_episode(size, 100.0 * i) for i, size in enumerate((3, 7, 20, 5))]
    for episode in episodes:
        replay.add(episode, 0)
    # One window of 50 steps needs all 35 and starts again with the oldest.
    tape = {key: np.concatenate([e[key] for e in 3 * episodes]) for key in episodes[0]}
    batch = replay.sample(200, length)
    assert batch["values/rgb"].shape == (200, length, 4, 4, 3)
    for b in range(200):
        start = int(np.flatnonzero(tape["reward"] == batch["reward"][b, 0])[0])
        window = {key: array[start : start + length] for key, array in tape.items()}
        assert_same({key: array[b] for key, array in batch.items()}, window)


@pytest.mark.parametrize("length", [1, 3, 24])
def test_every_step_is_equally_likely(tmp_path, length):
    replay = make_replay(tmp_path)
    for i, size in enumerate((2, 4, 9, 3)):
        replay.add(make_episode(size, 100.0 * i), i)
    drawn = np.concatenate([replay.sample(80, length)["reward"] for _ in range(60 // length + 1)])
    first = drawn[:, 0].astype(int)
    names, counts = np.unique(first, return_counts=True)
    assert len(names) == 18 and scipy.stats.chisquare(counts).pvalue > 1e-3
    _, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_allclose(counts, counts.mean(), rtol=0.2)


@pytest.mark.parametrize(("share", "newest"), [(0.5, 4), (1.0, 4), (0.3, 100)])
def test_the_newest_steps_come_as_often_as_asked(tmp_path, share, newest):
    replay = make_replay(tmp_path)
    for i, size in enumerate((2, 4, 9, 3)):
        replay.add(make_episode(size, 100.0 * i), i)
    first = replay.sample(2000, 2, share, newest)["reward"][:, 0]
    steps = np.concatenate([100.0 * i + np.arange(size) for i, size in enumerate((2, 4, 9, 3))])
    expected = np.full(18, (1 - share) / 18)
    expected[-newest:] += share / min(newest, 18)
    counts = (first[:, None] == steps).sum(0)
    likely = expected > 0
    assert counts[~likely].sum() == 0
    assert scipy.stats.chisquare(counts[likely], 2000 * expected[likely]).pvalue > 1e-3


def test_an_empty_replay_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no episode has been recorded"):
        make_replay(tmp_path).sample(1, 3)


def test_a_batch_is_never_overwritten_by_a_later_one(tmp_path):
    replay = make_replay(tmp_path)
    replay.add(make_episode(50), 50)
    first = replay.sample(4, 5)
    kept = {key: array.copy() for key, array in first.items()}
    replay.sample(4, 5)
    assert_same(first, kept)


def test_the_oldest_episodes_are_evicted_from_memory_and_disk(tmp_path):
    replay = make_replay(tmp_path, capacity=25)
    for i in range(4):
        replay.add(make_episode(10, 100.0 * i), 10 * (i + 1))
    assert (len(replay), replay.episodes, replay.step) == (20, 2, 40)
    assert files(tmp_path) == ["00000002-0000000030-10.npz", "00000003-0000000040-10.npz"]
    assert replay.sample(100, 10)["reward"].min() == 200
    with pytest.raises(ValueError, match=r"episode of 26 steps does not fit .* capacity of 25"):
        replay.add(make_episode(26), 66)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=15), st.integers(9, 40), st.integers(1, 25))
def test_windows_are_those_of_the_tape_of_all_episodes_that_are_left(lengths, capacity, length):
    """Against the slow way: every episode that was not evicted in a row, again at each draw."""
    replay, random = make_replay(None, capacity, seed=5), np.random.default_rng(5)
    kept = []
    for i, size in enumerate(lengths):
        episode = make_episode(size, 100.0 * i)
        replay.add(episode, i)
        kept.append(episode)
        while sum(len(e["reward"]) for e in kept) > capacity:
            kept.pop(0)
        assert (replay.episodes, len(replay)) == (len(kept), sum(len(e["reward"]) for e in kept))
        steps = random.integers(len(replay), size=8)[:, None] + np.arange(length)
        tape = {key: np.concatenate([e[key] for e in kept]) for key in episode}
        expected = {key: array[steps % len(replay)] for key, array in tape.items()}
        assert_same(replay.sample(8, length), expected)


def test_a_reopened_replay_continues_exactly(tmp_path):
    first = make_replay(tmp_path, seed=3)
    for i in range(3):
        first.add(make_episode(10 + i, 100.0 * i), 10 * (i + 1))
    first.sample(2, 4)
    state = json.loads(json.dumps(first.state()))
    second = make_replay(tmp_path, seed=99)
    second.restore(state)
    assert (len(second), second.episodes, second.step) == (33, 3, 30)
    for _ in range(3):
        assert_same(first.sample(5, 4), second.sample(5, 4))
    second.add(make_episode(4), 34)
    assert files(tmp_path)[-1] == "00000003-0000000034-4.npz"


def test_a_smaller_capacity_loads_the_newest_and_deletes_only_on_add(tmp_path):
    replay = make_replay(tmp_path)
    for i in range(4):
        replay.add(make_episode(10, 100.0 * i), 10 * (i + 1))
    with pytest.warns(UserWarning, match="its 2 oldest episodes are not loaded"):
        small = make_replay(tmp_path, capacity=20)
    assert (len(small), len(files(tmp_path))) == (20, 4)
    small.add(make_episode(10, 400.0), 50)
    assert [name[:8] for name in files(tmp_path)] == ["00000003", "00000004"]


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    make_replay(directory).add(make_episode(6), 6)
    (path,) = directory.iterdir()
    return path.name, path.read_bytes()


@settings(max_examples=60)
@given(data=st.data())
def test_a_file_cut_at_any_byte_is_skipped_with_a_warning(whole_file, data):
    name, content = whole_file
    cut = data.draw(st.integers(0, len(content) - 1))
    with tempfile.TemporaryDirectory() as directory:
        make_replay(directory).add(make_episode(9, 100.0), 9)
        damaged = Path(directory) / name.replace("00000000-", "00000001-")
        damaged.write_bytes(content[:cut])
        with pytest.warns(UserWarning, match=f"unreadable episode .*{damaged.name}"):
            replay = make_replay(directory)
        assert (len(replay), replay.episodes) == (9, 1)
        assert damaged.exists()
        replay.add(make_episode(3), 20)
        assert files(directory)[-1].startswith("00000002-")


@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_never_changes_what_is_sampled(whole_file, data):
    name, content = whole_file
    place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(content)
    flipped[place] ^= 1 << bit
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        (Path(directory) / name).write_bytes(flipped)
        patch.setattr("mummi.data.replay.warnings.warn", lambda *_, **__: None)
        replay = make_replay(directory)
        if replay.episodes:
            drawn = {key: array[0] for key, array in replay.sample(1, 6).items()}
            (start,) = np.flatnonzero(drawn["is_first"])
            whole = {key: np.roll(array, -start, axis=0) for key, array in drawn.items()}
            assert_same(whole, make_episode(6))


def test_foreign_files_and_left_over_temporary_files_do_not_stop_a_run(tmp_path):
    (tmp_path / "00000000-0000000003-3.npz.tmp").write_bytes(b"half")
    np.savez(tmp_path / "00000000-0000000003-3.npz", other=np.zeros(3))
    np.savez(tmp_path / "notes.npz", other=np.zeros(3))
    with (
        pytest.warns(UserWarning, match="skipped foreign file .*00000000-0000000003-3.npz"),
        pytest.warns(UserWarning, match="notes.npz: its name is not INDEX-STEP-LENGTH.npz"),
    ):
        replay = make_replay(tmp_path)
    assert replay.episodes == 0
    assert files(tmp_path) == ["00000000-0000000003-3.npz", "notes.npz"]


@pytest.mark.parametrize(
    ("sensors", "action_size"),
    [
        (SENSORS[:1], 2),
        ((SENSORS[0], Modality("touch", "vector", (3,))), 2),
        ((SENSORS[0], Modality("force", "vector", (2,))), 2),
        (SENSORS, 5),
    ],
)
def test_a_folder_of_other_sensors_is_refused(tmp_path, sensors, action_size):
    make_replay(tmp_path).add(make_episode(4), 4)
    with pytest.raises(ValueError, match="belongs to other sensors or actions"):
        Replay(tmp_path, sensors, action_size, 100, 0)


def test_an_episode_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path):
    replay = make_replay(tmp_path)
    episode = make_episode(4)
    with pytest.raises(ValueError, match=r"it needs \['action'"):
        replay.add({k: a for k, a in episode.items() if k != "reward"}, 4)
    with pytest.raises(ValueError, match="is_last has shape"):
        replay.add({**episode, "is_last": episode["is_last"][:3]}, 4)
    assert (len(replay), files(tmp_path)) == (0, [])


def test_a_full_disk_is_a_clear_error_and_changes_nothing(tmp_path, monkeypatch):
    replay = make_replay(tmp_path)
    replay.add(make_episode(4), 4)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"disk full .* MiB free.*00000001-") as caught:
            replay.add(make_episode(4), 8)
    assert caught.value.errno == errno.ENOSPC
    assert (len(replay), replay.step, len(files(tmp_path))) == (4, 4, 1)
    replay.add(make_episode(4), 8)
    assert make_replay(tmp_path).episodes == 2


def test_adding_and_sampling_from_two_threads_gives_whole_windows(tmp_path):
    replay = make_replay(tmp_path, capacity=60)
    replay.add(make_episode(10), 0)
    stop = threading.Event()

    def grow():
        i = 0
        while not stop.is_set():
            i += 1
            replay.add(make_episode(5 + i % 7, 100.0 * i), i)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(300):
            reward = replay.sample(8, 5)["reward"]
            # A reward is the step of its episode, 100 times whose number is added.
            inside = reward[:, 1:] % 100 > 0
            assert (np.diff(reward, axis=1)[inside] == 1).all()
    finally:
        stop.set()
        thread.join()
    assert len(replay) <= 60 and len(files(tmp_path)) == replay.episodes


WRITE_FOREVER = """
import sys
from tests.support.replays import make_episode, make_replay
replay = make_replay(sys.argv[1], capacity=200)
for i in range(10**9):
    replay.add(make_episode(20, 100.0 * i), 20 * (i + 1))
    if i == 0:
        print("written", flush=True)
"""


def test_a_run_killed_while_writing_leaves_only_whole_episodes(tmp_path):
    for delay in (0.05, 0.11, 0.17):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert process.stdout.readline() == b"written\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        replay = make_replay(tmp_path)
        assert replay.episodes > 0
        assert len(files(tmp_path)) == replay.episodes


def test_prefetching_keeps_the_order_and_passes_errors_on():
    numbers = iter(range(5))
    with Prefetch(lambda: next(numbers), depth=2) as batches:
        assert [next(batches) for _ in range(5)] == [0, 1, 2, 3, 4]

    def fail():
        raise RuntimeError("no window")

    with Prefetch(fail) as batches, pytest.raises(RuntimeError, match="no window"):
        next(batches)


def test_closing_a_prefetch_ends_its_thread_even_when_nothing_is_taken():
    before = threading.active_count()
    batches = Prefetch(lambda: 0, depth=1)
    batches.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(batches)
