"""Writes LeRobot's v3 datasets so that no demonstration is lost, whenever the process is killed."""

import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from mummi.imitation.demonstrations.demonstration import INSTRUCTION, Demonstration
from mummi.imitation.demonstrations.lerobot import features, layout, statistics, tables
from mummi.imitation.demonstrations.lerobot.reader import LeRobotDemonstrations
from mummi.imitation.demonstrations.lerobot.shard import Shard
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.robomimic import Demonstrations
from mummi.imitation.demonstrations.writer import DemonstrationWriter
from mummi.modality import Modality
from mummi.runs.files import atomic, lock

Images = Literal["h264", "av1", "png"]
"""How images are stored: in videos of a codec, or losslessly in the files of frames."""

_FOLDERS = {"meta", "data", "videos"}


class LeRobotWriter:
    """Adds demonstrations to a LeRobot v3 dataset, so that none that was appended is ever lost.

    Until ``close`` they are in an HDF5 file of ``PATH.parts``, which survives a kill; the next
    writer finds it and goes on. ``close`` adds new files to the dataset and replaces
    ``meta/info.json`` last, which counts the episodes; what was there before is not touched.

    The task of an episode is its attribute ``instruction``, or ``env_name`` of ``env_args``.

    Args:
        path: the dataset's folder, new or written with the same arguments before.
        modalities: the sensor streams.
        action_size: A.
        env_args: what the demonstrations were made with, JSON.
        attributes: what else to say of all of them, JSON.
        fps: steps a second, a whole number.
        images: how images are stored, one of ``Images``.

    Raises:
        ValueError: the folder is no such dataset or has other features, env_args or fps; another
            process writes it; or an image cannot be stored so.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        modalities: Sequence[Modality],
        action_size: int,
        env_args: Mapping[str, Any],
        attributes: Mapping[str, Any] | None = None,
        fps: int | float = 20,
        images: str = "h264",
    ):
        if fps != int(fps) or fps < 1:
            raise ValueError(f"fps is {fps}; LeRobot wants whole frames a second, at least 1")
        if images not in (known := get_args(Images)):
            raise ValueError(f"images is {images!r}; it must be one of {', '.join(known)}")
        self._root, self._fps, self._images = pathlib.Path(path), int(fps), images
        self._modalities, self._action_size = tuple(modalities), action_size
        self._declared(states=0)
        self._own = json.loads(json.dumps({**(attributes or {}), "env_args": env_args}))
        self._folder = self._root.with_name(self._root.name + ".parts")
        self._begun()  # refuses before anything is made
        self._lock = lock(self._folder, str(path))
        try:
            self._first, self._states = self._begun()
            pending = self._folder / f"from_{self._first}.hdf5"
            # Another file there has become part of the dataset before its writer was killed.
            for other in self._folder.glob("from_*"):
                if not other.name.startswith(pending.name):
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
            self._new = DemonstrationWriter(pending, modalities, action_size, self._own["env_args"])
            self._pending = pending
            if self._states is None and len(self._new):
                first = pending if pending.exists() else pending.with_name(f"{pending.name}.parts")
                first = first / "demo_0.hdf5" if first.is_dir() else first
                with Demonstrations(first, Reading(obs=())) as begun:
                    self._states = _width(begun[0])
        except BaseException:
            self._lock.close()
            raise

    def __len__(self) -> int:
        """The number of the next demonstration."""
        return self._first + len(self._new)

    def append(self, demonstration: Demonstration) -> None:
        """Writes one demonstration; when this returns, it survives whatever happens.

        Raises:
            ValueError: arrays that do not fit each other or the dataset, or actions, rewards or
                states that are not finite.
        """
        width = _width(demonstration)
        if self._states not in (None, width):
            raise ValueError(
                f"the demonstration has {width} numbers of the simulator's state a step, and those "
                f"of {str(self._root)!r} have {self._states}"
            )
        self._new.append(demonstration)
        self._states = width

    def close(self) -> None:
        """Adds what was appended to the dataset."""
        if self._lock.closed:
            return
        try:
            self._new.close()
            if self._pending.exists():
                self._add()
            shutil.rmtree(self._folder)
        finally:
            self._lock.close()

    def __enter__(self) -> "LeRobotWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _declared(self, states: int) -> features.Features:
        return features.declare(
            self._modalities, self._action_size, states, self._fps, self._images
        )

    def _begun(self) -> tuple[int, int | None]:
        """Episodes of the dataset, and numbers of a state in it, None where it does not exist.

        Raises:
            ValueError: it is of another kind.
        """
        root = self._root
        if not (root / layout.INFO).exists():
            if root.exists() and (not root.is_dir() or {p.name for p in root.iterdir()} - _FOLDERS):
                raise ValueError(
                    f"{str(root)!r} exists and is no LeRobot dataset; give a new folder"
                )
            return 0, None
        with LeRobotDemonstrations(root) as before:
            old = before.attributes | {"modalities": before.modalities}
            count = len(before)
        raw = layout.read_json(root / layout.INFO)["features"]
        states = raw.get(layout.STATES, {"shape": [0]})["shape"][0]
        new = {"modalities": self._modalities, "rate": float(self._fps), **self._own}
        pairs = {name: (old.get(name), value) for name, value in new.items()}
        wanted = json.loads(json.dumps(self._declared(states)))
        pairs |= {f"features[{k!r}]": (raw.get(k), wanted.get(k)) for k in raw | wanted}
        for name, (was, value) in pairs.items():
            if was != value:
                raise ValueError(
                    f"{str(root)!r} has {name} = {was!r}, not {value!r}: repeat its settings or "
                    "give another folder"
                )
        return count, states

    def _add(self) -> None:
        """Writes the pending demonstrations into new files of the dataset."""
        root, info, rows = self._root, self._info(), []
        tasks = {sentence: index for index, sentence in tables.read_tasks(root).items()}
        for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
            rows += tables.read_table(path).to_pylist()
        rows = [row for row in rows if row["episode_index"] < self._first]
        shards = [
            row[f"{kind}/chunk_index"] * info["chunks_size"] + row[f"{kind}/file_index"]
            for row in rows
            for kind in ("data", "meta/episodes")
        ]
        parts = [_statistics(row) for row in rows]
        frames, index = info["total_frames"], max(shards, default=-1) + 1
        codecs = {k: self._images for k, f in info["features"].items() if f["dtype"] == "video"}
        made = enumerate(self._appended(), self._first)
        episode = next(made, None)
        while episode is not None:
            with Shard(root, info, index, codecs) as shard:
                while episode is not None and not shard.full():
                    frames += self._write(shard, info, tasks, parts, frames, *episode)
                    episode = next(made, None)
            index += 1
        self._conclude(info, tasks, parts, frames)

    def _write(self, shard, info, tasks, parts, start, number, demonstration) -> int:
        """Writes an episode, notes its task and statistics, and returns its length."""
        named = self._own["env_args"].get("env_name", "")
        task = str(demonstration.attributes.get(INSTRUCTION, named))
        indices = {
            "episode_index": number,
            "task_index": tasks.setdefault(task, len(tasks)),
            "index": start,
        }
        made = features.columns(demonstration, self._modalities, self._fps, indices)
        found = features.measure(info["features"], made)
        parts.append(found)
        steps = len(demonstration.actions)
        # The HDF5 file counts the steps.
        attributes = {k: v for k, v in demonstration.attributes.items() if k != "num_samples"}
        row = {
            "episode_index": number,
            "tasks": [task],
            "length": steps,
            "dataset_from_index": start,
            "dataset_to_index": start + steps,
            layout.ATTRIBUTES: json.dumps(attributes, default=_plain),
        }
        for key, of_feature in found.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in of_feature.items()}
        shard.add(row, features.table(info["features"], made), made)
        return steps

    def _info(self) -> dict[str, Any]:
        """``meta/info.json`` as it is, or of a dataset without episodes."""
        path = self._root / layout.INFO
        if path.exists():
            return layout.read_json(path)
        declared = self._declared(self._states)
        videos = any(feature["dtype"] == "video" for feature in declared.values())
        return {
            "codebase_version": "v3.0",
            "robot_type": None,
            "total_episodes": 0,
            "total_frames": 0,
            "total_tasks": 0,
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {},
            "data_path": layout.DATA,
            "video_path": layout.VIDEO if videos else None,
            "features": declared,
        }

    def _appended(self) -> Iterator[Demonstration]:
        with Demonstrations(self._pending) as new:
            yield from new

    def _conclude(self, info, tasks, parts, frames) -> None:
        """Writes what is said of the whole dataset; with ``info.json`` the episodes count."""
        import pandas as pd  # half a second, which nobody else here needs

        total = self._first + len(self._new)
        with atomic(self._root / layout.TASKS) as path:
            # LeRobot finds the sentence of a task in the index of the frame.
            index = pd.Index(list(tasks), name="task")
            pd.DataFrame({"task_index": list(tasks.values())}, index=index).to_parquet(path)
        together = {key: statistics.together([part[key] for part in parts]) for key in parts[0]}
        said = {key: {n: v.tolist() for n, v in found.items()} for key, found in together.items()}
        info = info | {
            "total_episodes": total,
            "total_frames": frames,
            "total_tasks": len(tasks),
            "splits": {"train": f"0:{total}"},
        }
        for name, value in ((layout.STATS, said), (layout.OWN, self._own), (layout.INFO, info)):
            with atomic(self._root / name) as path:
                path.write_text(json.dumps(value, indent=4))


def _width(demonstration: Demonstration) -> int:
    """Numbers of the simulator's state a step; 0 without one."""
    states = demonstration.states
    return 0 if states is None else int(np.prod(np.shape(states)[1:]))


def _statistics(row: Mapping[str, Any]) -> dict[str, statistics.Statistics]:
    """Statistics of an episode by feature, from its row."""
    found: dict[str, statistics.Statistics] = {}
    for name, value in row.items():
        if name.startswith("stats/"):
            key, what = name.removeprefix("stats/").rsplit("/", 1)
            found.setdefault(key, {})[what] = np.array(value)
    return found


def _plain(value: Any) -> Any:
    """What JSON takes in place of a NumPy value."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"attribute of type {type(value).__name__} is no JSON")
