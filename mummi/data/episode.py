"""One episode: the layout of its arrays, the writer that collects it, and its file."""

import contextlib
import errno
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mummi.modality import Modality, is_finite
from mummi.runs.files import atomic

Episode = dict[str, np.ndarray]
Layout = dict[str, tuple[tuple[int, ...], np.dtype]]

_LENGTHS_AT = 26
"""Where in the header of a file in a zip archive the lengths of its name and extra field stand."""


def layout(modalities: Sequence[Modality], action_size: int, wanted: bool = False) -> Layout:
    """Shape of one time step and dtype of every array of an episode, by its key.

    An episode of L time steps, the first included, is a dict of arrays: ``values/NAME`` [L, ...]
    of the modality's dtype, ``available/NAME`` [L] bool, ``action`` [L, A] float32,
    ``reward`` [L] float32, and ``is_first``, ``is_last``, ``is_terminal`` [L] bool.
    ``action[t]`` led to the values at t; it is zeros at t = 0. With ``wanted`` there is also
    ``wanted`` [L, A] float32: what a demonstrator wanted to do after the values at t.
    """
    flag, number = np.dtype(bool), np.dtype(np.float32)
    return {
        **{f"values/{m.name}": (m.shape, m.dtype) for m in modalities},
        **{f"available/{m.name}": ((), flag) for m in modalities},
        "action": ((action_size,), number),
        **({"wanted": ((action_size,), number)} if wanted else {}),
        "reward": ((), number),
        "is_first": ((), flag),
        "is_last": ((), flag),
        "is_terminal": ((), flag),
    }


class NotFinite(ValueError):
    """A reward, an action or an available value that is not finite, from which nothing learns."""


class EpisodeWriter:
    """Collects the steps of one environment into episodes, arrays as ``layout`` describes them.

    Args:
        modalities: the sensor streams of the environment.
        action_size: A, number of action dimensions.
    """

    def __init__(self, modalities: Sequence[Modality], action_size: int):
        self._modalities = tuple(modalities)
        self._layout = layout(modalities, action_size)
        self._steps: list[list[np.ndarray]] = []

    def __len__(self) -> int:
        """Number of time steps since the last ``finish`` or ``drop``."""
        return len(self._steps)

    def append(
        self,
        values: Mapping[str, np.ndarray],
        available: Mapping[str, bool | np.bool_],
        action: np.ndarray,
        reward: float | np.floating,
        is_first: bool | np.bool_,
        is_last: bool | np.bool_,
        is_terminal: bool | np.bool_,
    ) -> None:
        """Adds one time step; every array is copied, so the caller may reuse its buffers.

        Args:
            values: one array a modality, of its declared shape and dtype.
            available: one bool a modality.
            action: [A], the action that led here; whatever is given at a first step, zeros are
                kept, since no action led there.
            reward: the reward that arrived with the values.
            is_first: true exactly at the first step of the episode.
            is_last: no step follows.
            is_terminal: the task ended by itself.

        Raises:
            ValueError: when ``is_first`` does not agree with the position in the episode, or an
                array has the wrong shape or dtype.
            NotFinite: for a reward, an action, or a value of an available sensor that is not
                finite; the step is not taken, so ``drop`` the episode.
            KeyError: when a modality has no value or no availability.
        """
        if bool(is_first) != (not self._steps):
            raise ValueError(
                f"is_first is {bool(is_first)} at step {len(self)} of an episode; it is true at "
                "step 0 and only there (call finish() or drop() at the end of an episode)"
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            action, reward = np.array(action, np.float32), np.float32(reward)
        if is_first:
            action[...] = 0
        row = [
            *(np.array(values[m.name]) for m in self._modalities),
            *(np.bool_(available[m.name]) for m in self._modalities),
            action,
            reward,
            np.bool_(is_first),
            np.bool_(is_last),
            np.bool_(is_terminal),
        ]
        for array, (key, (shape, dtype)) in zip(row, self._layout.items(), strict=True):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{key} has shape {array.shape} and dtype {array.dtype}; "
                    f"it needs {shape} and {dtype}"
                )
        self._require_finite(values, available, action, reward)
        self._steps.append(row)

    def _require_finite(self, values, available, action: np.ndarray, reward: np.float32) -> None:
        found = []
        if not np.isfinite(reward):
            found.append(f"the reward is {reward}")
        if not np.isfinite(action).all():
            found.append(f"the action is {action}")
        for m in self._modalities:
            if available[m.name] and not is_finite(m, values[m.name]):
                found.append(f"sensor {m.name!r} is available and has a value that is not finite")
        if found:
            raise NotFinite(f"step {len(self)} of an episode: {'; '.join(found)}")

    def finish(self) -> Episode:
        """Returns the episode collected so far and starts an empty one.

        Raises:
            ValueError: when no step was appended.
        """
        if not self._steps:
            raise ValueError("finish() on an episode without a step; append() one first")
        columns = zip(*self._steps, strict=True)
        episode = {key: np.stack(c) for key, c in zip(self._layout, columns, strict=True)}
        self._steps = []
        return episode

    def drop(self) -> None:
        """Forgets the episode collected so far."""
        self._steps = []


def check_episode(episode: Mapping[str, np.ndarray], layout: Layout) -> int:
    """Returns the number of time steps of an episode.

    Raises:
        ValueError: when a key is missing or unknown, or an array has another shape or dtype.
        NotFinite: when a reward, an action, or a value of an available sensor is not finite.
    """
    if set(episode) != set(layout):
        raise ValueError(f"episode has arrays {sorted(episode)}; it needs {sorted(layout)}")
    length = len(episode["reward"]) if np.ndim(episode["reward"]) else 0
    if length == 0:
        raise ValueError("episode has no time step; it needs at least one")
    for key, (shape, dtype) in layout.items():
        array = episode[key]
        if array.shape != (length, *shape) or array.dtype != dtype:
            raise ValueError(
                f"{key} has shape {array.shape} and dtype {array.dtype}; "
                f"it needs {(length, *shape)} and {dtype}"
            )
        if dtype.kind == "f" and (broken := _broken_steps(key, episode)).any():
            raise NotFinite(f"{key} is not finite at step {np.argmax(broken)}")
    return length


def _broken_steps(key: str, episode: Mapping[str, np.ndarray]) -> np.ndarray:
    """At which steps [L] an array of floats is not finite where it must be."""
    array = episode[key]
    broken = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    group, _, name = key.partition("/")
    return broken & episode[f"available/{name}"] if group == "values" else broken


def save_episode(path: Path, episode: Episode) -> None:
    """Writes an npz file, whole or not at all.

    Raises:
        OSError: when it cannot be written. On a full disk the message says how much is needed and
            how much is free.
    """
    try:
        # Uncompressed: zlib is slow, and steps are read by their place.
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{key: np.ascontiguousarray(a) for key, a in episode.items()})
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(path.parent).free / 2**20
        need = sum(array.nbytes for array in episode.values()) / 2**20
        raise OSError(
            errno.ENOSPC,
            f"disk full while writing an episode of {need:.1f} MiB with {free:.1f} MiB free; "
            "free some space or lower the replay capacity",
            str(path),
        ) from error


def load_episode(path: Path) -> Episode:
    """Reads an npz file without checking it; a damaged one raises whatever its damage leads to."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def is_stream(key: str) -> bool:
    """Whether an array is a value or the action: what makes a folder that of one set of sensors."""
    return key == "action" or key.startswith("values/")


def streams(episode: Mapping[str, np.ndarray]) -> Layout:
    """Step shape and dtype of the values and the action that an episode holds."""
    return {key: (a.shape[1:], a.dtype) for key, a in episode.items() if is_stream(key)}


class StoredEpisode(NamedTuple):
    """An episode and its file; of one that is not in memory, where in its file arrays begin."""

    path: Path | None
    length: int
    arrays: Episode | None
    offsets: Mapping[str, int] | None = None

    @property
    def resident(self) -> int:
        """Bytes that it holds in memory."""
        return sum(array.nbytes for array in self.arrays.values()) if self.arrays else 0

    def offloaded(self) -> "StoredEpisode":
        """The same episode, out of memory.

        Raises:
            OSError: its file cannot be read.
            ValueError: the file is not as ``save_episode`` writes it.
        """
        return self._replace(arrays=None, offsets=_array_offsets(self.path))

    def reader(self, files: contextlib.ExitStack) -> Callable[[str, int, np.ndarray], None]:
        """What copies steps of an array: ``read(key, first, out)`` fills ``out`` [N, ...].

        Args:
            files: what a file is to be closed with; until then it can be read, even if deleted.
        """
        arrays, offsets = self.arrays, self.offsets
        if arrays is None:
            file = files.enter_context(self.path.open("rb", buffering=0)).fileno()
            return lambda key, first, out: _read_steps(file, offsets[key], first, out)

        def copy(key, first, out):
            out[:] = arrays[key][first : first + len(out)]

        return copy


def _array_offsets(path: Path) -> dict[str, int]:
    """Where in the file of ``save_episode`` the elements of each array begin, in bytes.

    They are in C order from there on, so that a few steps can be read without the others.

    Raises:
        ValueError: an array is compressed or in Fortran order, which ``save_episode`` never does.
    """
    offsets = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            file.seek(member.header_offset + _LENGTHS_AT)
            name, extra = struct.unpack("<HH", file.read(4))
            file.seek(name + extra, os.SEEK_CUR)
            np.lib.format.read_magic(file)
            _, fortran, _ = np.lib.format.read_array_header_1_0(file)
            if fortran or member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path}: {member.filename} is compressed or in Fortran order")
            offsets[member.filename.removesuffix(".npy")] = file.tell()
    return offsets


def _read_steps(file: int, offset: int, first: int, out: np.ndarray) -> None:
    """Fills ``out`` [N, ...] with the steps from ``first`` on of an array in an episode's file.

    Args:
        file: descriptor of the open file.
        offset: of ``_array_offsets``.
        first: first step.
        out: contiguous, of the array's dtype.

    Raises:
        OSError: the file ends before.
    """
    want = memoryview(out).cast("B")
    at, done = offset + first * out[0].nbytes, 0
    while done < len(want):
        got = os.preadv(file, [want[done:]], at + done)
        if got == 0:
            raise OSError(errno.EIO, "an episode's file is shorter than when it was written")
        done += got
