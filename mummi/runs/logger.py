"""Metrics and films of a run: metrics.jsonl, TensorBoard events, mp4 files."""

import contextlib
import io
import json
import math
import os
import time
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import av
import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from mummi.runs.files import atomic, named
from mummi.runs.weights_and_biases import Wandb

FRAMES_PER_SECOND = 12
"""Of the videos: near real time where an action lasts 0.05 to 0.1 s."""
_METRICS = "metrics.jsonl"
_FLUSH = 10.0
"""Seconds after which TensorBoard sees what was told."""
_RGB = 3  # Summary.Image.colorspace
_GIF_FRAMES = 60  # an animated picture in TensorBoard has no better compression


@runtime_checkable
class Reports(Protocol):
    """Where the metrics of a run go: a ``Logger``, or whatever takes its place."""

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """As ``Logger.scalars``."""

    def video(self, step: int, name: str, frames: np.ndarray) -> Any:
        """As ``Logger.video``."""


class Logger:
    """Writes what a run reports into its folder.

    A last line of ``metrics.jsonl`` that a kill cut short is removed on opening.

    Args:
        logdir: the run's folder; made when it does not exist. It gets ``metrics.jsonl``,
            TensorBoard event files and ``videos/``.
        also: ``wandb`` also sends all of it to Weights & Biases.

    Raises:
        ImportError: ``wandb`` is asked for and not installed.
    """

    def __init__(
        self, logdir: str | os.PathLike, also: Literal["tensorboard", "wandb"] = "tensorboard"
    ):
        self._logdir = Path(logdir)
        self._logdir.mkdir(parents=True, exist_ok=True)
        self._wandb = Wandb(self._logdir) if also == "wandb" else None
        path = self._logdir / _METRICS
        _truncate_partial_line(path)
        # Unbuffered, so that each line is one write and a kill can cut only the last.
        self._metrics = path.open("ab", buffering=0)
        # Not SummaryWriter, whose thread a full disk ends, after which adding to it waits for ever.
        self._events = EventsWriter(str(self._logdir / "events"))
        self._flushed = time.time()

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line to ``metrics.jsonl`` and one point a name to TensorBoard.

        Args:
            step: environment steps taken so far; written as ``step``, beside ``time``, the Unix
                time in seconds.
            values: numbers or arrays of one element. What is not finite is ``null`` in the line,
                since JSON has no NaN.

        Raises:
            ValueError: when a name is ``step`` or ``time``.
            OSError: it cannot be written, for example on a full disk.
        """
        numbers = {name: float(np.asarray(value).item()) for name, value in values.items()}
        if reserved := {"step", "time"} & set(numbers):
            raise ValueError(
                f"scalar name {reserved.pop()!r} is reserved for the logger; name it otherwise"
            )
        now = time.time()
        line = {"step": int(step), "time": round(now, 3)}
        line |= {name: x if math.isfinite(x) else None for name, x in numbers.items()}
        with named(self._metrics.name):
            self._metrics.write((json.dumps(line, allow_nan=False) + "\n").encode())
        for name, x in numbers.items():
            self._tell(step, summary.scalar(name, x), now)
        if self._wandb:
            self._wandb.log(step, numbers)

    def video(
        self, step: int, name: str, frames: np.ndarray, fps: float | int = FRAMES_PER_SECOND
    ) -> Path:
        """Writes ``videos/NAME-STEP.mp4`` and adds the film to TensorBoard as an animated GIF.

        The GIF has every n-th frame, so that it has 60 at most.

        Args:
            step: environment steps taken so far.
            name: name of the film; a slash becomes a hyphen in the file's name.
            frames: [T, H, W, 3] uint8.
            fps: frames per second.

        Returns:
            The path of the mp4.
        """
        path = self._logdir / "videos" / f"{name.replace('/', '-')}-{step:010d}.mp4"
        write_video(path, frames, fps)
        # tensorboardX.add_video would need moviepy, so the summary is built here.
        every = -(-len(frames) // _GIF_FRAMES)
        picture = Summary.Image(
            height=frames.shape[1],
            width=frames.shape[2],
            colorspace=_RGB,
            encoded_image_string=_gif(frames[::every], fps / every),
        )
        self._tell(step, Summary(value=[Summary.Value(tag=name, image=picture)]), time.time())
        if self._wandb:
            self._wandb.video(step, name, path)
        return path

    def close(self) -> None:
        """Flushes and closes every file; may be called twice.

        Raises:
            OSError: what was told last cannot be written.
        """
        if self._metrics.closed:
            return
        self._metrics.close()
        try:
            self._events.close()
        finally:
            if self._wandb:
                self._wandb.close()

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, failed, *_) -> None:
        # Where the disk is full this fails, too, and would hide what failed first.
        with contextlib.suppress(*([OSError] if failed else [])):
            self.close()

    def _tell(self, step: int, what: Summary, now: float) -> None:
        """Adds an event of TensorBoard."""
        with named(self._logdir):
            self._events.write_event(Event(step=int(step), wall_time=now, summary=what))
            if now - self._flushed > _FLUSH:
                self._events.flush()
                self._flushed = now


class Silence:
    """The logger of a process that leaves the reporting to another."""

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """As ``Logger.scalars``; writes nothing."""

    def video(self, step: int, name: str, frames: np.ndarray) -> None:
        """As ``Logger.video``; writes nothing."""


def read_metrics(logdir: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads ``metrics.jsonl`` of a run, one dict a line, without a last line still being written.

    Raises:
        FileNotFoundError: when the folder has no ``metrics.jsonl``.
        ValueError: when a whole line is not JSON, or not as ``Logger`` writes it, naming the line.
    """
    path = Path(logdir) / _METRICS
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        numbers = isinstance(row, dict) and all(
            value is None or type(value) in (int, float) for value in row.values()
        )
        if not numbers or row.get("step") is None:
            raise ValueError(f"{path}, line {number} is no mapping of names to numbers with a step")
        rows.append(row)
    return rows


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: float | int) -> None:
    """Writes an H.264 mp4 that every common player reads, whole or not at all.

    An odd height or width is padded by its last row or column, as the 4:2:0 format needs even
    sizes.

    Args:
        path: the file; its folder is made when it does not exist.
        frames: [T, H, W, 3] uint8, T at least 1.
        fps: frames per second.

    Raises:
        ValueError: when ``frames`` is not such an array or ``fps`` is not positive.
    """
    path = Path(path)
    frames = _frames(frames, path.name)
    if not fps > 0:
        raise ValueError(f"fps is {fps}; it must be positive")
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with (
        atomic(path) as temporary,
        av.open(str(temporary), "w", format="mp4") as container,
    ):
        rate = Fraction(fps).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _gif(frames: np.ndarray, fps: float | int) -> bytes:
    # The default palette search, median cut, takes 30 times as long at much the same quality.
    octree = Image.Quantize.FASTOCTREE
    first, *rest = [Image.fromarray(frame).quantize(method=octree) for frame in frames]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=1000 / fps, loop=0)
    return file.getvalue()


def _frames(frames: np.ndarray, name: str) -> np.ndarray:
    frames = np.asarray(frames)
    if (
        frames.ndim != 4
        or frames.shape[-1] != 3
        or frames.dtype != np.uint8
        or min(frames.shape) < 1
    ):
        raise ValueError(
            f"{name!r} has frames of shape {frames.shape} and dtype {frames.dtype}; "
            "they need [T, H, W, 3] and uint8"
        )
    return frames


def _truncate_partial_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
