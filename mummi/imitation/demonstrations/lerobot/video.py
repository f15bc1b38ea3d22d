"""Videos of many episodes: frames found by their time, and written one after another."""

import pathlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np

CODECS = {
    "h264": ("libx264", {"g": "2", "crf": "18"}),
    "av1": ("libsvtav1", {"g": "2", "crf": "24", "preset": "10", "svtav1-params": "lp=2"}),
}
"""Encoder and options of each codec. Every second frame stands alone, so that training may begin
anywhere, as LeRobot's own writer has it."""

_FORMATS = {1: "gray", 3: "rgb24"}
_DEPTH_LEVELS = 4095


def read_frames(
    path: pathlib.Path, times: np.ndarray, fps: float, shape: tuple[int, int, int]
) -> np.ndarray:
    """The frames shown at some times.

    Args:
        path: the video.
        times: [T], in seconds, ascending.
        fps: frames a second; each must be within half a frame.
        shape: H, W, C of a frame.

    Returns:
        uint8 [T, H, W, C].

    Raises:
        ValueError: the video is missing, damaged, too short or of another shape.
    """
    if shape[-1] not in _FORMATS:
        raise ValueError(f"{path} is to have {shape[-1]} channels; videos have 1 or 3")
    return _read(path, times, fps, shape, _FORMATS[shape[-1]])


def read_depth(
    path: pathlib.Path,
    times: np.ndarray,
    fps: float,
    shape: tuple[int, int, int],
    info: Mapping[str, Any],
) -> np.ndarray:
    """The depth maps shown at some times, in millimetres, as LeRobot gives them.

    It stores depth in 4,096 levels from ``depth_min`` to ``depth_max``, of its logarithm with
    ``use_log``, which the feature's info gives, in metres.

    Args:
        path: the video.
        times: [T], in seconds, ascending.
        fps: frames a second; each must be within half a frame.
        shape: H, W, 1.
        info: of the feature.

    Returns:
        float32 [T, H, W, 1].

    Raises:
        ValueError: as ``read_frames``, or the info does not say how to undo the levels.
    """
    try:
        names = ("depth_min", "depth_max", "shift")
        low, high, shift = (1000 * float(info[f"video.{name}"]) for name in names)
        logarithmic = bool(info["video.use_log"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds depth, and info.json does not say of which range ({error}); it needs "
            "video.depth_min, video.depth_max, video.shift and video.use_log, as LeRobot writes "
            "them: leave this sensor out with --obs"
        ) from error
    share = _read(path, times, fps, shape, "gray12le").astype(np.float64) / _DEPTH_LEVELS
    if not logarithmic:
        return (low + share * (high - low)).astype(np.float32)
    bottom, top = np.log(low + shift), np.log(high + shift)
    return (np.exp(bottom + share * (top - bottom)) - shift).astype(np.float32)


def _read(path, times, fps, shape, pixels):
    """Frames as PyAV gives them in a format of pixels, [T, H, W, C]."""
    half = 0.505 / fps  # times are stored as float32, so the half frame is not sharp
    shown, frames = [], []
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ValueError(f"{path} is of no known codec, or damaged; fetch it again")
            # By default a damaged frame is patched up from its neighbours, silently.
            stream.codec_context.options = {"err_detect": "explode"}
            # Lands on the key frame before.
            container.seek(max(0, int((times[0] - half) / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.is_corrupt:
                    raise ValueError(f"{path} has a damaged frame; fetch it again")
                if frame.time > times[-1] + half:
                    break
                if frame.time >= times[0] - half:
                    shown.append(frame.time)
                    frames.append(frame.to_ndarray(format=pixels))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; fetch the dataset again, all of it") from None
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ValueError(
            f"{path} is no video, truncated or damaged ({error}); fetch it again"
        ) from error
    if frames and frames[0].shape[:2] != shape[:2]:
        raise ValueError(
            f"{path} has frames of shape {frames[0].shape}, and info.json says {shape}: one of the "
            "two is of another dataset"
        )
    nearest = _nearest(np.array(shown), times, half)
    if (lost := np.flatnonzero(nearest < 0)).size:
        raise ValueError(
            f"{path} has no frame within half a frame of {times[lost[0]]:.3f} s, which an episode "
            "needs: it is truncated, or of another rate than info.json says; fetch it again"
        )
    return np.stack([frames[index] for index in nearest]).reshape(-1, *shape)


def _nearest(shown, times, half):
    """Which of the ascending times ``shown`` is nearest to each of ``times``, or -1."""
    if not len(shown):
        return np.full(len(times), -1)
    after = np.searchsorted(shown, times).clip(0, len(shown) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(times - shown[before] < np.abs(shown[after] - times), before, after)
    return np.where(np.abs(shown[nearest] - times) <= half, nearest, -1)


class VideoWriter:
    """Writes frames of one camera, one episode after another, into one mp4.

    Args:
        path: the file.
        size: H, W, both even.
        fps: frames a second.
        codec: of ``CODECS``.
    """

    def __init__(self, path: pathlib.Path, size: tuple[int, int], fps: int, codec: str):
        encoder, options = CODECS[codec]
        self.frames, self._tick = 0, Fraction(1, fps)
        options_of_file = {"movflags": "faststart"}  # players begin before they have all of it
        self._container = av.open(str(path), "w", format="mp4", options=options_of_file)
        self._stream = self._container.add_stream(encoder, rate=Fraction(fps), options=options)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"

    def write(self, frames: np.ndarray) -> None:
        """Adds an episode, uint8 [T, H, W, 3]."""
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = self.frames, self._tick
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

    def close(self) -> None:
        """Ends the file."""
        if self.frames:
            self._container.mux(self._stream.encode())
        self._container.close()
