"""The files of a dataset while episodes are written to them."""

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mummi.imitation.demonstrations.lerobot import layout
from mummi.imitation.demonstrations.lerobot.video import VideoWriter
from mummi.runs.files import atomic

_MEGABYTE = 2**20


class Shard:
    """A file of frames, a video of each camera, and the file of their episodes.

    A context: at its end the files get their names, that of the episodes last; when it ends by an
    exception nothing is left.

    Args:
        root: folder of the dataset.
        info: what ``meta/info.json`` says.
        index: of the shard, counted over all chunks.
        codecs: of each video, by feature.
    """

    def __init__(
        self, root: pathlib.Path, info: Mapping[str, Any], index: int, codecs: Mapping[str, str]
    ):
        chunk, file = divmod(index, info["chunks_size"])
        self._root, self._info, self._codecs = root, info, codecs
        self._place = {"chunk_index": chunk, "file_index": file}
        self._stack = contextlib.ExitStack()
        self._frames: pq.ParquetWriter | None = None
        self._videos: dict[str, VideoWriter] = {}
        self._paths: list[tuple[pathlib.Path, int | float]] = []
        self._rows: list[dict[str, Any]] = []

    def add(
        self, episode: Mapping[str, Any], frames: pa.Table, made: Mapping[str, np.ndarray]
    ) -> None:
        """Writes an episode.

        Args:
            episode: its row, without the places of its files.
            frames: its rows in the file of frames.
            made: by feature, what videos show.
        """
        if self._frames is None:
            self._open(frames.schema)
        self._frames.write_table(frames)
        row = dict(episode)
        for kind in ("data", "meta/episodes"):
            row |= {f"{kind}/{name}": number for name, number in self._place.items()}
        for key, writer in self._videos.items():
            start = writer.frames
            writer.write(made[key])
            times = {"from_timestamp": start, "to_timestamp": writer.frames}
            row |= {f"videos/{key}/{name}": number for name, number in self._place.items()}
            row |= {f"videos/{key}/{n}": t / self._info["fps"] for n, t in times.items()}
        self._rows.append(row)

    def full(self) -> bool:
        """Whether a file has reached the size that ``meta/info.json`` names."""
        # A video is no file before its encoder has given something.
        there = [(path, limit) for path, limit in self._paths if path.exists()]
        return any(path.stat().st_size >= limit * _MEGABYTE for path, limit in there)

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._stack.__exit__(kind, error, trace)
        if self._rows and kind is None:
            with atomic(self._root / layout.EPISODES.format(**self._place)) as path:
                pq.write_table(pa.Table.from_pylist(self._rows), path, write_page_checksum=True)

    def _open(self, schema: pa.Schema) -> None:
        info = self._info
        path = self._new(info["data_path"], info["data_files_size_in_mb"])
        self._frames = self._stack.enter_context(
            pq.ParquetWriter(path, schema, write_page_checksum=True)
        )
        for key, codec in self._codecs.items():
            path = self._new(info["video_path"], info["video_files_size_in_mb"], key)
            size = tuple(info["features"][key]["shape"][:2])
            self._videos[key] = VideoWriter(path, size, info["fps"], codec)
            self._stack.callback(self._videos[key].close)

    def _new(self, template: str, limit: int | float, key: str = "") -> pathlib.Path:
        """Where a file is written until it gets its name."""
        path = self._root / template.format(video_key=key, **self._place)
        self._paths.append((self._stack.enter_context(atomic(path)), limit))
        return self._paths[-1][0]
