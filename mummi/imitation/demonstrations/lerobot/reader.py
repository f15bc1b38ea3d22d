"""Reads LeRobot's v3 datasets as demonstrations."""

import json
import operator
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mummi.imitation.demonstrations.demonstration import INSTRUCTION, Demonstration, observed_after
from mummi.imitation.demonstrations.lerobot import layout, tables, video
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.sensors import convert
from mummi.modality import Modality, is_finite

_FRAME = ("action", "timestamp", "frame_index", "episode_index", "task_index")
"""Features that every dataset has."""
_OPTIONAL = ("next.reward", "next.done", "next.success")


class LeRobotDemonstrations(Sequence[Demonstration]):
    """The episodes of a LeRobot v3 dataset, each read when it is asked for.

    ``next.reward`` is the reward, zero without it; ``next.done`` says where an episode ends, which
    without it is its last frame; a ``next.success`` anywhere is the attribute ``success``; the
    sentence of the episode's task is the attribute ``instruction``.

    Args:
        path: the folder that holds ``meta``, ``data`` and ``videos``.
        reading: which episodes and sensors, under which names; its filter key is one of the splits
            of ``meta/info.json``. ``observation.images.top`` is ``top`` and ``observation.state``
            is ``state``.

    Attributes:
        modalities, action_size, names, attributes: as of ``DataSet``. The attributes have
            ``robot_type``, too, and what this package's writer was told.

    Raises:
        FileNotFoundError: there is no such dataset.
        ValueError: it is damaged, of another version, or lacks a sensor. Reading a demonstration
            raises it, too: for files that are missing, truncated or damaged, lengths that disagree,
            and actions or rewards that are not finite.

    Warns:
        UserWarning: episodes that failed were left out, or one has observations that are not
            finite and not said to be missing (told of the first). They are read as zeros that are
            not available.
    """

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None):
        self._root, self._reading = pathlib.Path(path), reading or Reading()
        self._info = info = layout.read_info(self._root)
        known = layout.sensor_names(info.features)
        self._names = self._reading.choose(tuple(known), str(path))
        self._sources = {name: known[own] for name, own in self._names.items()}
        self.modalities = tuple(self._modality(n, key) for n, key in self._sources.items())
        shapes = [self._feature(key).shape for key in _FRAME]
        self.action_size = int(np.prod(shapes[0]))
        self._sentences = tables.read_tasks(self._root, info.total_tasks)
        own = self._root / layout.OWN
        self._own = layout.read_json(own) if own.exists() else None
        self.attributes: dict[str, Any] = {
            "rate": info.fps,
            "robot_type": info.robot_type,
            **(self._own or {}),
        }
        self._warned = False
        self._last: tuple[pathlib.Path, pa.Table] | None = None
        self._episodes = self._successful(self._within_split(self._listed()))
        self.names = tuple(map(_name, self._episodes))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Demonstration:
        row = self._episodes[operator.index(index)]
        frames, where = self._frames(row)
        steps = len(frames)
        values, available = self._sensors(row, frames, where)
        features = self._info.features
        rewards, dones = np.zeros(steps, np.float32), np.arange(steps) == steps - 1
        if "next.reward" in features:
            rewards = self._scalars(self._finite, frames, "next.reward", where)
        if "next.done" in features:
            dones = self._scalars(self._finite, frames, "next.done", where) != 0
        attributes = self._told(row, frames, where)
        if sentences := self._instructions(frames, where):
            attributes[INSTRUCTION] = "; ".join(sentences)
        actions = self._finite(frames, "action", where).reshape(steps, -1)
        executed = states = None
        if self._own is not None and layout.EXECUTED in features:
            executed = self._finite(frames, layout.EXECUTED, where).reshape(steps, -1)
            executed = None if np.array_equal(executed, actions) else executed
        if self._own is not None and layout.STATES in features:
            states = self._finite(frames, layout.STATES, where, np.float64).reshape(steps, -1)
        recorded = Demonstration(
            values, actions, rewards, dones, states, attributes, executed, available
        )
        return observed_after(recorded, where) if self._reading.obs_after_action else recorded

    def __enter__(self) -> "LeRobotDemonstrations":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forgets the file read last; no file stays open."""
        self._last = None

    def _feature(self, key: str) -> layout.Feature:
        if key not in self._info.features:
            raise ValueError(
                f"{self._root / layout.INFO}: feature {key!r} is missing; there are "
                f"{', '.join(self._info.features)}"
            )
        return self._info.features[key]

    def _modality(self, name: str, key: str) -> Modality:
        try:
            return self._feature(key).modality(name)
        except ValueError as error:
            raise ValueError(
                f"{self._root / layout.INFO}: feature {key!r} {error}; --obs names the sensors to "
                "read"
            ) from None

    def _listed(self) -> list[dict[str, Any]]:
        """Rows of ``meta/episodes``, in the order of their numbers."""
        columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
        for key in (key for key in self._sources.values() if self._feature(key).dtype == "video"):
            columns += [
                f"videos/{key}/{n}" for n in ("chunk_index", "file_index", "from_timestamp")
            ]
        rows: list[dict[str, Any]] = []
        for path in sorted((self._root / "meta/episodes").glob("*/*.parquet")):
            table = tables.read_table(path, columns, (layout.ATTRIBUTES,))
            for name in columns:
                if not np.isfinite(tables.numbers(table, name, (), str(path))).all():
                    raise ValueError(f"{path}: column {name!r} has gaps; fetch it again")
            rows += table.to_pylist()
        rows.sort(key=lambda row: row["episode_index"])
        total = self._info.total_episodes
        # What a writer that was stopped left behind is not counted in info.json yet.
        rows = [row for row in rows if row["episode_index"] < total]
        numbered = len(rows) == total and all(r["episode_index"] == n for n, r in enumerate(rows))
        if not numbered or not total:
            raise ValueError(
                f"{self._root}: meta/episodes lists {len(rows)} of the {total} episodes that "
                f"{layout.INFO} counts; it needs at least one, and each once: fetch the dataset "
                "again, all of it (a recorder must have called finalize)"
            )
        return rows

    def _within_split(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the split that is the filter key."""
        if not (key := self._reading.filter_key):
            return rows
        splits = self._info.splits
        if key not in splits:
            raise ValueError(
                f"{self._root}: no filter key {key!r}; its splits are {', '.join(splits) or 'none'}"
            )
        found = re.fullmatch(r"(\d+):(\d+)", str(splits[key]))
        if not found or not int(found[1]) < int(found[2]) <= len(rows):
            raise ValueError(
                f"{self._root / layout.INFO}: split {key!r} is {splits[key]!r}; it must be a range "
                f"of the {len(rows)} episodes, for example '0:1'"
            )
        return rows[int(found[1]) : int(found[2])]

    def _successful(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that did not fail, where failed ones are to be dropped."""
        if self._reading.failed != "drop":
            return rows
        by_name = {_name(row): row for row in rows}
        said = {name: self._told(row, *self._frames(row)) for name, row in by_name.items()}
        told = {name: found.get("success") for name, found in said.items()}
        return [by_name[name] for name in self._reading.successful(told, str(self._root))]

    def _told(self, row, frames, where) -> dict[str, Any]:
        """What is said of an episode, without its instruction."""
        attributes = json.loads(row.get(layout.ATTRIBUTES, "{}"))
        if "next.success" in self._info.features and "success" not in attributes:
            attributes["success"] = bool(self._finite(frames, "next.success", where).any())
        return attributes

    def _frames(self, row: Mapping[str, Any]) -> tuple[pa.Table, str]:
        """The frames of an episode, and what errors about them say."""
        path = self._info.path(self._root, None, row["data/chunk_index"], row["data/file_index"])
        if self._last is None or self._last[0] != path:
            self._last = path, tables.read_table(path, self._columns())
        number, whole = row["episode_index"], self._last[1]
        frames = whole.filter(pc.equal(whole["episode_index"], number))
        where = f"{path}, episode {number}"
        order = frames["frame_index"].to_pylist()
        if len(order) != row["length"] or order != list(range(len(order))) or not order:
            raise ValueError(
                f"{where} has {len(order)} frames, and meta/episodes says {row['length']}; they "
                "must be as many, at least one, and in order: fetch or write the dataset again"
            )
        return frames, where

    def _columns(self) -> list[str]:
        """What is read of the files of frames."""
        own = () if self._own is None else (layout.EXECUTED, layout.STATES)
        told = (layout.AVAILABLE + name for name in self._names.values())
        optional = [k for k in (*_OPTIONAL, *own, *told) if k in self._info.features]
        sensors = [k for k in self._sources.values() if self._feature(k).dtype != "video"]
        return list(dict.fromkeys((*_FRAME, *optional, *sensors)))

    def _sensors(self, row, frames, where):
        """Values by modality, zeros where they are missing, and availability if some are."""
        values, available, broken = {}, {}, []
        for m in self.modalities:
            feature = self._feature(self._sources[m.name])
            value, there = self._stored(feature, m, row, frames, where)
            told = layout.AVAILABLE + self._names[m.name]
            if told in self._info.features:
                there &= self._scalars(self._finite, frames, told, where) != 0
            finite = is_finite(m, value)
            if (silent := there & ~finite).any():
                broken.append(f"{m.name!r} at {silent.sum()} of {len(there)} steps")
            available[m.name] = there = there & finite
            value[~there] = 0
            values[m.name] = np.ascontiguousarray(value, m.dtype)
        if broken and not self._warned:
            self._warned = True
            warnings.warn(
                f"{where} holds values that are not finite, which count as missing: "
                f"{', '.join(broken)}; of others in this dataset nothing is said",
                stacklevel=3,
            )
        complete = all(there.all() for there in available.values())
        return values, None if complete else available

    def _stored(self, feature, modality, row, frames, where):
        """A sensor's values [T, *shape], and whether there is one, bool [T]."""
        everywhere, shape = np.ones(len(frames), bool), modality.shape
        if feature.dtype == "video":
            chunk, index, start = (
                row[f"videos/{feature.key}/{n}"]
                for n in ("chunk_index", "file_index", "from_timestamp")
            )
            path = self._info.path(self._root, feature.key, chunk, index)
            times = start + self._scalars(self._finite, frames, "timestamp", where)
            if modality.kind == "image":
                return video.read_frames(path, times, self._info.fps, shape), everywhere
            depth = video.read_depth(path, times, self._info.fps, shape, feature.info)
            return depth, everywhere
        if feature.dtype == "image":
            value, there = tables.pictures(
                frames, feature.key, shape, modality.kind == "depth", where
            )
        else:
            value, there = self._numbers(frames, feature.key, where), everywhere
        return np.array(convert(modality, value)), there

    def _instructions(self, frames: pa.Table, where: str) -> list[str]:
        """The sentences of an episode, each once, in the order of its frames."""
        if not self._sentences:
            return []
        indices = dict.fromkeys(frames["task_index"].to_pylist())
        if unknown := [index for index in indices if index not in self._sentences]:
            raise ValueError(
                f"{where}: task_index {unknown[0]} is not in {layout.TASKS}, which has "
                f"{', '.join(map(str, self._sentences))}"
            )
        return [self._sentences[index] for index in indices]

    def _numbers(self, frames: pa.Table, key: str, where: str) -> np.ndarray:
        return tables.numbers(frames, key, self._feature(key).shape, where)

    def _scalars(self, read: Callable[..., np.ndarray], frames, key, where) -> np.ndarray:
        """What a column with a number a frame holds, [T]."""
        if int(np.prod(shape := self._feature(key).shape)) != 1:
            raise ValueError(f"{where}: {key!r} has shape {shape} a frame; it must be a number")
        return read(frames, key, where).reshape(-1)

    def _finite(self, frames, key, where, dtype=np.float32) -> np.ndarray:
        """What a column holds, finite in this dtype."""
        value = self._numbers(frames, key, where)
        finite = np.abs(value) <= np.finfo(dtype).max
        if not finite.all():
            step = int(np.argwhere(~finite)[0, 0])
            raise ValueError(
                f"{where}: {key!r} is NaN or infinite at frame {step}; mend it or leave the "
                "episode out of the dataset"
            )
        return value.astype(dtype)


def _name(row: Mapping[str, Any]) -> str:
    """That of an episode, by its row of ``meta/episodes``."""
    return f"episode_{row['episode_index']}"


def is_lerobot(path: pathlib.Path) -> bool:
    """Whether a path is the folder of a LeRobot dataset, of whatever version."""
    return (path / layout.INFO).is_file()
