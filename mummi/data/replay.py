"""Episodes on disk and in memory, and batches of windows sampled from them."""

import bisect
import contextlib
import itertools
import os
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mummi.data.device_replay import DeviceSteps
from mummi.data.episode import (
    Episode,
    EpisodeWriter,
    Layout,
    NotFinite,
    StoredEpisode,
    check_episode,
    is_stream,
    layout,
    load_episode,
    save_episode,
    streams,
)
from mummi.modality import Modality

__all__ = ["EpisodeWriter", "Replay", "recorded_step"]

_NAME = re.compile(r"(\d{8,})-(\d{10,})-(\d+)\.npz")


class Replay:
    """The newest episodes of a run, as one file each, and the newest of those in memory.

    A file is named ``INDEX-STEP-LENGTH.npz`` after a running number, the environment step count
    at its end and its number of time steps. It is written under a temporary name, synced and
    renamed, so a killed run leaves only whole files. On construction the newest episodes that fit
    the capacity are loaded, left-over temporary files are removed, and a file that cannot be read,
    or has a number that is not finite, is skipped with a warning and left in place for a person to
    look at.

    ``add`` and ``sample`` may be called from different threads. One process owns the folder.

    Args:
        directory: folder of the files; made when it does not exist. None for no files.
        modalities: the sensor streams.
        action_size: number of action dimensions.
        capacity: time steps to keep. The oldest episodes beyond it are evicted by ``add``, their
            files deleted, also those that were too old to load.
        seed: seed of the sampling.
        memory: most bytes of episodes to hold in memory; of older ones ``sample`` reads the steps
            that it needs from their files. The samples are the same. None for no bound.
        device: where to hold all steps as well; ``sample`` then gives the same windows as arrays
            on the device, whatever is in this memory.
        wanted: episodes also have what a demonstrator wanted, as of ``layout``.

    Attributes:
        episodes: number of episodes.
        resident: bytes of the episodes in memory.
        step: largest environment step count recorded; 0 when there is none.

    Raises:
        ValueError: when the folder holds episodes of other sensors or another action size, or
            memory is bounded and there is no folder.
    """

    def __init__(
        self,
        directory: str | os.PathLike | None,
        modalities: Sequence[Modality],
        action_size: int,
        capacity: int,
        seed: int | Sequence[int],
        memory: int | None = None,
        device: DeviceSteps | None = None,
        wanted: bool = False,
    ):
        if memory is not None and memory < 0:
            raise ValueError(f"a replay's memory is {memory} bytes; it must be 0 or more")
        if memory is not None and directory is None:
            raise ValueError("a replay without a folder has no files, so its memory has no bound")
        self._directory = None if directory is None else Path(directory)
        self._layout = layout(modalities, action_size, wanted)
        self._capacity = capacity
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._stored: list[StoredEpisode] = []
        self._ends: list[int] = []  # of each, in steps of all that were ever stored
        self._memory = memory
        self._device = device
        self._offloaded = 0  # so many of the oldest are in their files alone
        self._total = 0
        self.resident = 0
        self._too_old: list[Path] = []
        self._next_index = 0
        self.step = 0
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._load()

    def __len__(self) -> int:
        """Number of time steps."""
        return self._total

    @property
    def episodes(self) -> int:
        return len(self._stored)

    def add(self, episode: Episode, step: int) -> None:
        """Writes an episode to its file, then makes it available to ``sample``.

        The arrays are kept without a copy; the caller must not change them afterwards.

        Args:
            episode: as ``EpisodeWriter.finish`` returns it.
            step: environment steps taken by the run up to the end of this episode.

        Raises:
            ValueError: when the arrays do not fit the sensors, are longer than the capacity, or
                are not finite where they must be.
            OSError: when the file cannot be written, for example on a full disk; no temporary
                file stays and the memory is as before.
        """
        length = check_episode(episode, self._layout)
        if length > self._capacity:
            raise ValueError(
                f"an episode of {length} steps does not fit the replay capacity of "
                f"{self._capacity} steps; raise the capacity"
            )
        with self._lock:
            index = self._next_index
            self._next_index += 1
        path = None
        if self._directory is not None:
            path = self._directory / f"{index:08d}-{step:010d}-{length}.npz"
            save_episode(path, episode)
        with self._lock:
            self._stored.append(StoredEpisode(path, length, episode))
            self._ends.append((self._ends[-1] if self._ends else 0) + length)
            self._total += length
            self.resident += self._stored[-1].resident
            self.step = max(self.step, step)
            evicted = self._evict()
            if self._device is not None:
                self._device.append(episode, sum(old.length for old in evicted))
            while self._full():
                self._offload(self._offloaded)
            paths = [*self._too_old, *(old.path for old in evicted)]
            self._too_old = []
        for old in filter(None, paths):
            old.unlink(missing_ok=True)

    def sample(
        self, batch: int, length: int, share: float = 0.0, newest: int = 0
    ) -> dict[str, np.ndarray | jax.Array]:
        """Draws windows that start at any recorded step, so that every step is equally likely.

        With ``share`` the newest steps come more often: each window is with this probability one
        that starts in them, and else one that starts anywhere.

        A window that reaches the end of its episode goes on with the episode recorded next, and
        after the newest with the oldest, so that episodes shorter than a window serve as well.

        The data is left as recorded: ``is_first`` is true only where an episode begins, so the
        learner decides on the state at the start of a window. The arrays are new at every call.

        Args:
            batch: B, number of windows.
            length: T, time steps of a window.
            share: probability that a window starts in the newest steps, in [0, 1].
            newest: how many these are, 1 or more; all where there are fewer.

        Returns:
            The keys of an episode, each an array [B, T, ...].

        Raises:
            ValueError: when nothing has been recorded.
        """
        pieces = []
        with contextlib.ExitStack() as files:
            with self._lock:
                if not self._stored:
                    raise ValueError("cannot sample: no episode has been recorded yet")
                span = np.full(batch, self._total)
                if share:
                    span[self._random.random(batch) < share] = min(newest, self._total)
                starts = self._total - span + self._random.integers(span)
                if self._device is not None:
                    return self._device.windows(starts, length)
                before = self._ends[-1] - self._total  # steps that were evicted
                for b, start in enumerate(starts.tolist()):
                    row = bisect.bisect_right(self._ends, before + start)
                    stored = self._stored[row]
                    first, filled = before + start - self._ends[row] + stored.length, 0
                    while filled < length:
                        stored = self._stored[row]
                        count = min(stored.length - first, length - filled)
                        window = slice(filled, filled + count)
                        pieces.append((b, window, first, stored.reader(files)))
                        row, first, filled = (row + 1) % self.episodes, 0, filled + count
            # Episodes never change, and a deleted file can be read while it is open, so that the
            # copying needs no lock and does not hold up add().
            result = {}
            for key, (shape, dtype) in self._layout.items():
                out = result[key] = np.empty((batch, length, *shape), dtype)
                for b, window, first, read in pieces:
                    read(key, first, out[b, window])
        return result

    def state(self) -> dict[str, Any]:
        """Random state of the sampling, as a JSON-able dict."""
        with self._lock:
            return self._random.bit_generator.state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues the sampling from what ``state`` returned."""
        with self._lock:
            self._random.bit_generator.state = state

    def _evict(self) -> list[StoredEpisode]:
        """Forgets the oldest episodes beyond the capacity, and returns them."""
        count = 0
        while self._total > self._capacity:
            self._total -= self._stored[count].length
            self.resident -= self._stored[count].resident
            count += 1
        evicted = self._stored[:count]
        del self._stored[:count], self._ends[:count]
        self._offloaded = max(0, self._offloaded - count)
        return evicted

    def _load(self) -> None:
        for left_over in self._directory.glob("*.npz.tmp"):
            left_over.unlink()
        found = []
        for path in self._directory.glob("*.npz"):
            if match := _NAME.fullmatch(path.name):
                index, step, length = map(int, match.groups())
                found.append((index, length, path))
                self.step = max(self.step, step)
                self._next_index = max(self._next_index, index + 1)
            else:
                warnings.warn(
                    f"skipped {path}: its name is not INDEX-STEP-LENGTH.npz", stacklevel=3
                )
        found.sort(reverse=True)
        for position, (_, length, path) in enumerate(found):
            if self._total + length > self._capacity:
                self._too_old = [path for _, _, path in found[position:]]
                warnings.warn(
                    f"{self._directory} holds more than the replay capacity of {self._capacity} "
                    f"steps; its {len(self._too_old)} oldest episodes are not loaded and will be "
                    "deleted when the next episode is added",
                    stacklevel=3,
                )
                break
            if (episode := self._read(path, length)) is not None:
                self._stored.insert(0, StoredEpisode(path, length, episode))
                self._total += length
                self.resident += self._stored[0].resident
                if self._device is not None:
                    self._device.prepend(episode)
                if self._offloaded or self._full():
                    self._offload(0)
        self._ends = list(itertools.accumulate(stored.length for stored in self._stored))

    def _full(self) -> bool:
        """Whether episodes must leave the memory."""
        return self._memory is not None and self.resident > self._memory

    def _offload(self, row: int) -> None:
        """Leaves an episode to its file: the oldest in memory, or at loading the one just read."""
        stored = self._stored[row]
        self._stored[row] = stored.offloaded()
        self._offloaded += 1
        self.resident -= stored.resident

    def _read(self, path: Path, length: int) -> Episode | None:
        """An episode of a file, or None and a warning for a damaged one."""
        try:
            episode = load_episode(path)
        except Exception as error:
            warnings.warn(f"skipped unreadable episode {path}: {error!r}", stacklevel=4)
            return None
        found = streams(episode)
        expected = {key: form for key, form in self._layout.items() if is_stream(key)}
        if found and found != expected:
            raise ValueError(
                f"{self._directory} belongs to other sensors or actions: {path.name} holds "
                f"{_describe(found)}; this run has {_describe(expected)}"
            )
        try:
            if check_episode(episode, self._layout) != length:
                raise ValueError(f"it has {len(episode['reward'])} steps, not {length}")
        except NotFinite as error:
            warnings.warn(f"skipped episode {path}: {error}", stacklevel=4)
            return None
        except ValueError as error:
            warnings.warn(f"skipped foreign file {path}: {error}", stacklevel=4)
            return None
        return episode


def recorded_step(directory: str | os.PathLike) -> int:
    """The largest environment step count that an episode in the folder ends at; 0 without any."""
    names = (_NAME.fullmatch(path.name) for path in Path(directory).glob("*.npz"))
    return max((int(name[2]) for name in names if name), default=0)


def _describe(arrays: Layout) -> str:
    return ", ".join(f"{key} {shape} {dtype}" for key, (shape, dtype) in sorted(arrays.items()))
