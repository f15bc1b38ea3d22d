"""CALVIN's recordings of play: a file a frame, and sentences that name parts of them.

```
ep_start_end_ids.npy            int [N, 2], first and last frame of each recording
episode_0000000.npz             rel_actions [7], robot_obs [15], rgb_static [200, 200, 3], …
lang_annotations/auto_lang_ann.npy
                                language: ann (sentences), task; info: indx (first and last frame)
```
"""

import contextlib
import operator
import os
import pathlib
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mummi.imitation.demonstrations.demonstration import INSTRUCTION, Demonstration, observed_after
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.sensors import convert, declare
from mummi.modality import Modality, is_finite
from mummi.runs.names import closest

ACTIONS = "rel_actions"
"""The actions that are read: displacements and turns within [-1, 1], and the gripper."""
ASIDE = ("rgb_tactile", "depth_tactile", "scene_obs")
"""Sensors that are read only where --obs names them; the last is the true state of the scene."""
RATE = 30.0
"""Frames a second."""

_RECORDINGS = "ep_start_end_ids.npy"
_SENTENCES = pathlib.Path("lang_annotations", "auto_lang_ann.npy")
# All that a pickle of arrays, lists, strings and numbers calls.
_ARRAYS = {("numpy", "ndarray"), ("numpy", "dtype")} | {
    (f"numpy.{core}.multiarray", name)
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
}


class Part(NamedTuple):
    """Frames that are one demonstration.

    Attributes:
        first, last: their numbers, both among them.
        told: attributes of the demonstration.
    """

    first: int
    last: int
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the demonstration."""
        return f"{self.first:07d}-{self.last:07d}"


class CalvinDemonstrations(Sequence[Demonstration]):
    """The parts of CALVIN's play that have a sentence, or whole recordings where none has one.

    The attribute ``instruction`` is the sentence, ``task`` CALVIN's name of what was done. Nothing
    is unpickled but arrays, lists, strings and numbers.

    Args:
        path: the folder of a split, ``training`` or ``validation``.
        reading: which sensors, under which names; its filter key is a task, as ``open_drawer``.

    Attributes:
        modalities, action_size, names, attributes: as of ``DataSet``.

    Raises:
        ValueError: the folder is damaged or lacks what ``reading`` names. Reading a demonstration
            raises it, too: for frames that are missing or damaged or differ from the first, and
            for actions that are not finite.

    Warns:
        UserWarning: a demonstration has observations that are not finite (told of the first). They
            are read as zeros that are not available.
    """

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None):
        self._root, self._reading = pathlib.Path(path), reading or Reading()
        self._parts = self._chosen(_parts(self._root))
        self.names = tuple(part.name for part in self._parts)
        first = self._frame(self._parts[0].first)
        known = [name for name in first if name not in (ACTIONS, "actions")]
        self._sources = self._reading.choose(known, str(path), ASIDE)
        self.modalities = tuple(
            self._modality(name, first[source]) for name, source in self._sources.items()
        )
        self.action_size = first[ACTIONS].size
        self.attributes: dict[str, Any] = {"rate": RATE}
        self._warned = False

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Demonstration:
        part = self._parts[operator.index(index)]
        frames = [self._frame(number) for number in range(part.first, part.last + 1)]
        values, available = {}, {}
        for m in self.modalities:
            stored = convert(m, self._stack(part, frames, self._sources[m.name]))
            available[m.name] = there = is_finite(m, stored)
            values[m.name] = np.ascontiguousarray(stored, m.dtype)
            values[m.name][~there] = 0
        actions = self._stack(part, frames, ACTIONS).astype(np.float32)
        if not np.isfinite(actions).all():
            raise ValueError(f"{self._where(part)}: {ACTIONS} are not finite; take it out")
        self._warn(part, available)
        complete = all(there.all() for there in available.values())
        recorded = Demonstration(
            values=values,
            actions=actions.reshape(len(frames), -1),
            rewards=np.zeros(len(frames), np.float32),
            dones=np.arange(len(frames)) == len(frames) - 1,
            attributes=dict(part.told),
            available=None if complete else available,
        )
        if self._reading.obs_after_action:
            return observed_after(recorded, self._where(part))
        return recorded

    def __enter__(self) -> "CalvinDemonstrations":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing stays open."""

    def _chosen(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        self._reading.successful(dict.fromkeys(part.name for part in parts), str(self._root))
        if not (key := self._reading.filter_key):
            return tuple(parts)
        tasks = {str(part.told.get("task", "")) for part in parts} - {""}
        if key not in tasks:
            known = ", ".join(sorted(tasks)) or "none, for no part has a sentence"
            raise ValueError(
                f"{self._root}: no task {key!r} (--filter-key); its tasks are {known}"
                f"{closest(key, tasks)}"
            )
        return tuple(part for part in parts if part.told["task"] == key)

    def _modality(self, name: str, value: np.ndarray) -> Modality:
        try:
            return declare(name, value.dtype, value.shape)
        except ValueError as error:
            raise ValueError(
                f"{self._root}: {name!r} {error}; --obs names the sensors to read"
            ) from None

    def _frame(self, number: int) -> dict[str, np.ndarray]:
        path = self._root / f"episode_{number:07d}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as frame:
                found = {name: frame[name] for name in frame.files}
        except FileNotFoundError:
            raise ValueError(f"{path} is missing; the folder must have every frame") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}); download it again") from error
        if ACTIONS not in found:
            raise ValueError(f"{path} has no {ACTIONS}; it has {', '.join(found) or 'nothing'}")
        return found

    def _stack(self, part: Part, frames: Sequence[Mapping], source: str) -> np.ndarray:
        """What one of the arrays of all frames of a part holds."""
        first = frames[0].get(source)
        for number, frame in enumerate(frames, part.first):
            value = frame.get(source)
            if first is None or value is None or value.shape != first.shape:
                shape = None if value is None else value.shape
                raise ValueError(
                    f"{self._where(part)}: frame {number} has {source!r} of shape {shape}, unlike "
                    "the others; leave the sensor out with --obs, or download the frame again"
                )
        return np.stack([frame[source] for frame in frames])

    def _warn(self, part: Part, available: Mapping[str, np.ndarray]) -> None:
        broken = [f"{n!r} at {(~a).sum()} steps" for n, a in available.items() if not a.all()]
        if broken and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._where(part)} holds values that are not finite, which count as missing: "
                f"{', '.join(broken)}; of others nothing is said",
                stacklevel=3,
            )

    def _where(self, part: Part) -> str:
        return f"{self._root}, frames {part.first} to {part.last}"


def is_calvin(path: pathlib.Path) -> bool:
    """Whether a folder is a split of CALVIN."""
    return path.is_dir() and (path / _RECORDINGS).is_file()


def _parts(root: pathlib.Path) -> list[Part]:
    """Those with a sentence; where there are no sentences, every recording."""
    path = root / _SENTENCES
    if not path.is_file():
        with _damage_told(root / _RECORDINGS):
            ends = np.load(root / _RECORDINGS, allow_pickle=False).reshape(-1, 2)
        parts = [Part(int(first), int(last), {}) for first, last in ends]
    else:
        with _damage_told(path):
            told = _unpickled(path)
            ends, language = told["info"]["indx"], told["language"]
            rows = zip(ends, language["ann"], language["task"], strict=True)
            parts = [
                Part(int(first), int(last), {INSTRUCTION: str(sentence), "task": str(task)})
                for (first, last), sentence, task in rows
            ]
    if not parts or any(part.last < part.first for part in parts):
        raise ValueError(f"{root}: no frames are named, or some that end before they begin")
    return parts


@contextlib.contextmanager
def _damage_told(path: pathlib.Path) -> Iterator[None]:
    """Makes a ValueError that names the file of whatever a damaged one raises."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}); download it again") from error


def _unpickled(path: pathlib.Path) -> Mapping[str, Any]:
    """The mapping that NumPy pickled into a file, if that makes nothing but arrays."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0}
        header.get(version, np.lib.format.read_array_header_2_0)(file)
        return _ArraysOnly(file).load().item()


class _ArraysOnly(pickle.Unpickler):
    """Refuses to import what arrays do not need."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which no array needs")
        return super().find_class(module, name)
