"""Backgrounds from the user's own videos and pictures."""

import collections
import dataclasses
import hashlib
import itertools
import math
import pathlib
import warnings

import av
import numpy as np

from envs.episodes import Episodes

VIDEOS = (
    *(".mp4", ".avi", ".webm", ".gif", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts"),
    *(".mts", ".wmv", ".flv", ".3gp", ".ogv", ".vob"),
)
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
CLIP_SECONDS = 8
LONGEST = 24 * 3600
"""Seconds that a video may last; damaged ones say that they last for years."""
LOST = 0.5
"""Seconds by which a video may end before it says; one that lacks more is truncated."""
MAX_FRAMES = 600
CACHE_BYTES = 128 * 2**20
_EVALUATION_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class Clip:
    """A part of a file, from ``start`` to before ``stop``, seconds."""

    path: pathlib.Path
    start: float = 0.0
    stop: float = math.inf


class Footage:
    """Clips from one video or picture, or from every one below a folder.

    Which files are videos or pictures is told by their names; what else is there is counted in a
    warning, but for hidden files.
    A fifth of the files, chosen by a hash of their names, is for evaluation; of a single video
    it is the last fifth of its time; a single picture serves both. Long videos are cut in clips
    of about ``CLIP_SECONDS``. A clip starts anywhere, runs forward and backward for ever, one
    frame of the file a call, scaled to cover the frame and cropped at the centre. At most
    ``CACHE_BYTES`` of decoded clips are kept.

    Args:
        source: path of a file or folder.
        size: height and width of a frame, pixels.
        episodes: give each clip its seed.
        training: give the clips for training, not those for evaluation.

    Raises:
        ValueError: when there is no such path, nothing in it has a known suffix, or a file does
            not give a frame.
    """

    def __init__(self, source: str, size: int, episodes: Episodes, training: bool):
        self._source, self._size, self._episodes = source, size, episodes
        self._clips = _split(_files(pathlib.Path(source)), training)
        self._cache: collections.OrderedDict[Clip, np.ndarray] = collections.OrderedDict()
        self._frames = np.zeros((1, size, size, 3), np.uint8)
        self._time = 0

    def new_clip(self, number: int | None = None) -> None:
        """Begins another clip; one that has become unreadable is left out with a warning.

        Args:
            number: of the episode; None counts.

        Raises:
            RuntimeError: when no clip is left.
        """
        random = np.random.default_rng(self._episodes.begin(number)[1])
        while self._clips:
            clip = self._clips[random.integers(len(self._clips))]
            try:
                self._frames = self._decoded(clip)
            except ValueError as error:
                warnings.warn(f"{error}; going on without it", stacklevel=2)
                self._clips.remove(clip)
                continue
            self._time = int(random.integers(len(self._frames)))
            return
        raise RuntimeError(f"every clip of background {self._source!r} has become unreadable")

    def frame(self) -> np.ndarray:
        there_and_back = max(1, 2 * len(self._frames) - 2)
        index = self._time % there_and_back
        self._time += 1
        return self._frames[min(index, there_and_back - index)]

    def _decoded(self, clip):
        if clip in self._cache:
            self._cache.move_to_end(clip)
            return self._cache[clip]
        frames = _decode(clip, self._size, MAX_FRAMES)
        self._cache[clip] = frames
        while len(self._cache) > 1 and sum(f.nbytes for f in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return frames


def _files(source: pathlib.Path) -> list[pathlib.Path]:
    if not source.exists():
        raise ValueError(
            f"background {str(source)!r} is neither 'none', 'natural', nor a path that exists"
        )
    known = (*VIDEOS, *PICTURES)
    candidates = sorted(source.rglob("*")) if source.is_dir() else [source]
    there = [p for p in candidates if p.is_file() and not p.name.startswith(".")]
    files = [path for path in there if path.suffix.lower() in known]
    if not files:
        raise ValueError(f"background {str(source)!r} has no file that ends in {', '.join(known)}")
    if others := [path for path in there if path.suffix.lower() not in known]:
        kinds = ", ".join(sorted({path.suffix or path.name for path in others}))
        warnings.warn(
            f"background {str(source)!r}: {len(others)} of {len(there)} files are neither videos "
            f"nor pictures by their names and are left out ({kinds})",
            stacklevel=2,
        )
    for path in files:
        _decode(Clip(path), 8, 1)
    # By the hash and not the order of names, in which neighbours are often alike.
    return sorted(files, key=lambda path: hashlib.sha256(path.name.encode()).digest())


def _split(files: list[pathlib.Path], training: bool) -> list[Clip]:
    if len(files) > 1:
        held_out = max(1, round(_EVALUATION_SHARE * len(files)))
        files = files[held_out:] if training else files[:held_out]
        return [clip for path in files for clip in _cut(path)]
    (path,) = files
    training_share = 1 - _EVALUATION_SHARE
    clips = _cut(path, 0, training_share) if training else _cut(path, training_share, 1)
    _decode(clips[0], 8, 1)  # a video of a few frames may have none in the last fifth
    return clips


def _cut(path: pathlib.Path, start: float = 0, stop: float = 1) -> list[Clip]:
    """Cuts a file, from one share of its length to another, in clips of like length."""
    seconds = 0 if path.suffix.lower() in PICTURES else _seconds(path)
    if not seconds:
        return [Clip(path)]
    count = max(1, round((stop - start) * seconds / CLIP_SECONDS))
    edges = np.linspace(start * seconds, stop * seconds, count + 1).tolist()
    return [Clip(path, *span) for span in itertools.pairwise(edges)]


def _seconds(path: pathlib.Path) -> float:
    """Length of a video, seconds; 0 where the file does not say."""
    with _opened(path) as container:
        seconds = _length(container)
    if not 0 <= seconds <= LONGEST:
        raise ValueError(
            f"background {str(path)!r} says that it lasts {seconds:.3g} s, which is not from 0 to "
            f"{LONGEST}: it is damaged, or must be cut"
        )
    return seconds


def _decode(clip: Clip, size: int, most: int) -> np.ndarray:
    """Frames of a clip, at most ``most``, [T, size, size, 3] uint8, T at least 1."""
    frames, end = [], 0.0
    try:
        with _opened(clip.path) as container:
            stream = container.streams.video[0]
            origin = (container.start_time or 0) / av.time_base
            if clip.start:
                container.seek(int((origin + clip.start) * av.time_base))
            for frame in container.decode(stream):
                # Seeking lands on the key frame before; stills have no time at all.
                time = clip.start if frame.time is None else frame.time - origin
                if time >= clip.stop or len(frames) == most:
                    break
                end = time + float((frame.duration or 0) * (frame.time_base or 0))
                if time >= clip.start:
                    frames.append(_cover(frame, size))
            else:
                _warn_of_lost(clip, end, _length(container))
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ValueError(f"cannot read background {str(clip.path)!r}: {error}") from error
    if not frames:
        raise ValueError(
            f"background {str(clip.path)!r} has no frame from {clip.start:.1f} to {clip.stop:.1f} s"
        )
    return np.stack(frames)


def _warn_of_lost(clip: Clip, end: float, length: float) -> None:
    """Warns of a video that is shown until ``end``, before the clip and the video are over."""
    if end + LOST < min(clip.stop, length):
        warnings.warn(
            f"background {str(clip.path)!r} is truncated: it ends at {end:.1f} of {length:.1f} s; "
            "what is there is played",
            stacklevel=5,
        )


def _length(container: av.container.InputContainer) -> float:
    """How long a video says that it is, seconds; 0 where it does not."""
    stream = container.streams.video[0]
    if stream.frames and stream.average_rate:  # of what is lost, too
        return float(stream.frames / stream.average_rate)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _opened(path: pathlib.Path) -> av.container.InputContainer:
    """A file of moving or still pictures; what it says of itself may be no text."""
    return av.open(str(path), metadata_errors="replace")


def _cover(frame: av.VideoFrame, size: int) -> np.ndarray:
    """Scales a frame until it covers the square and crops its centre, [size, size, 3] uint8."""
    scale = size / min(frame.width, frame.height)
    width, height = (max(size, round(scale * side)) for side in (frame.width, frame.height))
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    top, left = (height - size) // 2, (width - size) // 2
    return pixels[top : top + size, left : left + size]
