"""Demonstrations as features: what ``meta/info.json`` declares, and the columns of an episode."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mummi.imitation.demonstrations.demonstration import Demonstration
from mummi.imitation.demonstrations.lerobot import layout, statistics, tables
from mummi.imitation.demonstrations.lerobot.video import CODECS
from mummi.modality import Modality

Features = dict[str, dict[str, Any]]
"""``features`` of ``meta/info.json``."""

_DIMENSIONS = ["height", "width", "channels"]


def declare(
    modalities: Sequence[Modality], action_size: int, states: int, fps: int, images: str
) -> Features:
    """The features of a dataset, in the order of its columns.

    Args:
        modalities: the sensors.
        action_size: A.
        states: numbers of the simulator's state; 0 where there is none.
        fps: frames a second.
        images: a codec of video, or ``png``.

    Raises:
        ValueError: an image that cannot be in a video.
    """
    features = {layout.sensor_key(m): _sensor(m, fps, images) for m in modalities}
    features["action"] = features[layout.EXECUTED] = _numbers("float32", action_size)
    if states:
        features[layout.STATES] = _numbers("float64", states)
    features |= {"next.reward": _numbers("float32"), "next.done": _numbers("bool")}
    features |= {layout.AVAILABLE + m.name: _numbers("bool") for m in modalities}
    features["timestamp"] = _numbers("float32")
    indices = ("frame_index", "episode_index", "index", "task_index")
    return features | {name: _numbers("int64") for name in indices}


def columns(
    demonstration: Demonstration,
    modalities: Sequence[Modality],
    fps: int,
    indices: Mapping[str, int],
) -> dict[str, np.ndarray]:
    """What an episode of T frames has of each feature, [T, ...].

    Args:
        demonstration: the episode, with zeros where a sensor is missing.
        modalities: the sensors.
        fps: frames a second.
        indices: ``episode_index``, ``task_index``, and ``index`` of the first frame.
    """
    steps = len(demonstration.actions)
    order = np.arange(steps)
    made, available = {}, {}
    for m in modalities:
        made[layout.sensor_key(m)] = demonstration.values[m.name]
        available[layout.AVAILABLE + m.name] = demonstration.availability(m.name)
    executed = demonstration.executed
    made["action"] = demonstration.actions
    made[layout.EXECUTED] = demonstration.actions if executed is None else executed
    if demonstration.states is not None:
        made[layout.STATES] = demonstration.states
    return made | {
        "next.reward": demonstration.rewards,
        "next.done": np.asarray(demonstration.dones, bool),
        **available,
        "timestamp": order / fps,
        "frame_index": order,
        "index": order + indices["index"],
        "episode_index": np.full(steps, indices["episode_index"]),
        "task_index": np.full(steps, indices["task_index"]),
    }


def table(features: Features, made: Mapping[str, np.ndarray]) -> pa.Table:
    """The rows of an episode in a file of frames; videos are not in it."""
    stored = {k: f for k, f in features.items() if f["dtype"] != "video"}
    return pa.table({key: _column(feature, made[key]) for key, feature in stored.items()})


def measure(features: Features, made: Mapping[str, np.ndarray]) -> dict[str, statistics.Statistics]:
    """Statistics of an episode by feature, without what is missing and the availability itself."""
    found = {}
    for key, feature in features.items():
        if key.startswith(layout.AVAILABLE):
            continue
        told = layout.AVAILABLE + layout.own_name(key)
        value = made[key][made[told]] if told in made else made[key]
        picture = feature["dtype"] in ("image", "video")
        found[key] = (statistics.of_pictures if picture else statistics.of_numbers)(value)
    return found


def _sensor(modality: Modality, fps: int, images: str) -> dict[str, Any]:
    shape = list(modality.shape)
    if modality.kind == "depth":
        feature = {"dtype": "image", "shape": shape, "names": _DIMENSIONS}
        return feature | {"info": {"is_depth_map": True}}
    if modality.kind != "image":
        kind = {"info": {"kind": modality.kind}} if modality.kind != "vector" else {}
        return _numbers("float32", *shape) | kind
    height, width, channels = shape
    if images not in CODECS:
        if channels not in tables.MODES:
            raise ValueError(f"image {modality.name!r} has {channels} channels; it needs 1, 3 or 4")
        return {"dtype": "image", "shape": shape, "names": _DIMENSIONS}
    if channels != 3 or height % 2 or width % 2:
        raise ValueError(
            f"image {modality.name!r} has shape {modality.shape}; videos have 3 channels and even "
            "sizes: store images as png"
        )
    info = {
        "video.height": height,
        "video.width": width,
        "video.codec": images,
        "video.pix_fmt": "yuv420p",
        "is_depth_map": False,
        "video.fps": fps,
        "video.channels": channels,
        "has_audio": False,
    }
    return {"dtype": "video", "shape": shape, "names": _DIMENSIONS, "info": info}


def _numbers(dtype: str, size: int = 1) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": None}


def _column(feature: Mapping[str, Any], value: np.ndarray) -> pa.Array:
    if feature["dtype"] == "image":
        rows = [{"bytes": tables.encode(picture), "path": None} for picture in value]
        return pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    (size,) = feature["shape"]
    flat = pa.array(np.asarray(value, feature["dtype"]).reshape(-1))
    return flat if size == 1 else pa.FixedSizeListArray.from_arrays(flat, size)
