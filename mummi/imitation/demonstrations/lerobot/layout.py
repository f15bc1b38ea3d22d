"""LeRobot's v3 layout: where its files are, what a feature is, what this package calls it.

```
meta/info.json                            version, rate, features, templates of paths, totals
meta/stats.json                           min, max, mean, std, count of each feature
meta/tasks.parquet                        sentences and their task_index
meta/episodes/chunk-000/file-000.parquet  a row an episode: length, and where its frames are
data/chunk-000/file-000.parquet           a row a frame, many episodes in a file
videos/KEY/chunk-000/file-000.mp4         many episodes in a file, found by their time
```
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mummi.imitation.demonstrations.sensors import CHANNELS, declare, identifier
from mummi.modality import Modality

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
OWN = "meta/mummi.json"
"""What only this package writes and reads: ``env_args`` and attributes of the demonstrations."""
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

ATTRIBUTES = "mummi/attributes"
"""Column of ``meta/episodes``: a demonstration's attributes as JSON."""
EXECUTED, STATES = "executed", "states"
"""Features of this package alone: as ``Demonstration`` has them."""
AVAILABLE = "available."
"""Prefix of the features that say whether a sensor delivered."""

_PICTURES = "observation.images."
_OBSERVATION = "observation."


@dataclasses.dataclass(frozen=True)
class Feature:
    """One entry of ``features`` in ``meta/info.json``.

    Attributes:
        key: its name in the dataset.
        dtype: ``video``, ``image``, or NumPy's name of a number.
        shape: of one value, as the dataset says it.
        names: of the dimensions, or empty.
        info: what else it says, for example ``is_depth_map`` and ``video.pix_fmt``.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[Any, ...] = ()
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_picture(self) -> bool:
        """Whether it is stored as a video or as encoded images."""
        return self.dtype in ("video", "image")

    @property
    def is_depth(self) -> bool:
        """Whether it is marked as a depth map."""
        return bool(self.info.get("is_depth_map") or self.info.get("video.is_depth_map"))

    def modality(self, name: str) -> Modality:
        """The sensor stream that it is.

        Raises:
            ValueError: it is none. The message is the end of a sentence on the feature.
        """
        if self.is_picture or self.is_depth:
            return Modality(name, "depth" if self.is_depth else "image", self.picture_shape())
        try:
            dtype = np.dtype(self.dtype)
        except TypeError:
            raise ValueError(f"has dtype {self.dtype!r}; it must be numbers or pictures") from None
        return declare(name, dtype, self.shape, self.info.get("kind"))

    def picture_shape(self) -> tuple[int, int, int]:
        """H, W, C, whichever way round the dataset has them.

        Sizes decide, as the names of the dimensions are often wrong; names where both ends might
        be channels.

        Raises:
            ValueError: no dimension can be the channels.
        """
        shape = self.shape if len(self.shape) == 3 else (*self.shape, 1)
        leading = str(self.names[0]).lower() if self.names else ""
        first, last = (len(shape) == 3 and shape[end] in CHANNELS for end in (0, -1))
        if first and (not last or leading.startswith("c")):
            return (*shape[1:], shape[0])
        if not last:
            raise ValueError(
                f"has shape {self.shape}; it must be [H, W, C] or [C, H, W] with 1, 3 or 4 channels"
            )
        return shape


@dataclasses.dataclass(frozen=True)
class Info:
    """What ``meta/info.json`` says.

    Attributes:
        fps: frames a second.
        features: by key, in their order.
        data_path: template of the files of frames.
        video_path: template of the videos.
        total_episodes: how many there are.
        total_tasks: how many sentences there are; 0 where it is not said.
        splits: ranges of episodes by name, ``{"train": "0:50"}``.
        robot_type: what the robot is called, or None.
        chunks_size: files in a chunk.
        data_files_size_in_mb: size after which a file of frames is full.
        video_files_size_in_mb: size after which a video is full.
    """

    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str
    total_episodes: int
    total_tasks: int
    splits: Mapping[str, str]
    robot_type: str | None
    chunks_size: int
    data_files_size_in_mb: float
    video_files_size_in_mb: float

    def path(
        self, root: pathlib.Path, video_key: str | None, chunk_index: int, file_index: int
    ) -> pathlib.Path:
        """The file of frames of this chunk and index, or a video, of the dataset at ``root``.

        Raises:
            ValueError: the template is none.
        """
        template = self.data_path if video_key is None else self.video_path
        names = {"video_key": video_key, "chunk_index": chunk_index, "file_index": file_index}
        try:
            return root / template.format(**names)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{root / INFO}: template of paths {template!r} cannot be filled in ({error}); "
                f"LeRobot's own are {DATA!r} and {VIDEO!r}"
            ) from error


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no JSON, or damaged: {error}; fetch it again") from error


def read_info(root: pathlib.Path) -> Info:
    """``meta/info.json`` of a dataset.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, of another version, or lacks something.
    """
    path = root / INFO
    try:
        raw = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{str(root)!r} is no LeRobot dataset: {INFO} is missing") from None
    _require_version(root, raw)
    try:
        info = Info(
            fps=float(raw["fps"]),
            features={key: _feature(key, entry) for key, entry in raw["features"].items()},
            data_path=raw.get("data_path", DATA),
            video_path=raw.get("video_path") or VIDEO,
            total_episodes=int(raw["total_episodes"]),
            total_tasks=int(raw.get("total_tasks") or 0),
            splits=raw.get("splits") or {},
            robot_type=raw.get("robot_type"),
            chunks_size=int(raw.get("chunks_size", 1000)),
            data_files_size_in_mb=float(raw.get("data_files_size_in_mb", 100)),
            video_files_size_in_mb=float(raw.get("video_files_size_in_mb", 200)),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(
            f"{path}: {error!r}; it needs fps, total_episodes, and features with dtype and shape"
        ) from error
    if not info.fps > 0:
        raise ValueError(f"{path}: fps is {info.fps}; it must be positive")
    return info


def sensor_names(features: Iterable[str]) -> dict[str, str]:
    """The sensors among the features: this package's name of each, and its key.

    ``observation.images.top`` is ``top`` and ``observation.state`` is ``state``. Where two would
    have one name both have their whole key instead: ``observation_images_top``.

    Raises:
        ValueError: two features have one name even so.
    """
    keys = [key for key in features if key.startswith(_OBSERVATION)]
    short = collections.Counter(own_name(key) for key in keys)
    found: dict[str, str] = {}
    for key in keys:
        name = own_name(key) if short[own_name(key)] == 1 else identifier(key)
        if name in found:
            raise ValueError(
                f"features {found[name]!r} and {key!r} would both be called {name!r}; write the "
                "dataset with names that differ by more than punctuation"
            )
        found[name] = key
    return found


def own_name(key: str) -> str:
    """This package's name of a sensor, a Python identifier, by its key."""
    return identifier(key.removeprefix(_PICTURES).removeprefix(_OBSERVATION))


def sensor_key(modality: Modality) -> str:
    """The key of a sensor; the inverse of ``sensor_names``."""
    picture = modality.kind in ("image", "depth")
    return f"{_PICTURES if picture else _OBSERVATION}{modality.name}"


def _feature(key: str, entry: Mapping[str, Any]) -> Feature:
    names = entry.get("names")
    return Feature(
        key=key,
        dtype=entry["dtype"],
        shape=tuple(int(size) for size in entry["shape"]),
        names=tuple(names) if isinstance(names, list) else (),
        info={**(entry.get("video_info") or {}), **(entry.get("info") or {})},
    )


def _require_version(root: pathlib.Path, raw: Any) -> None:
    """Raises a ValueError unless the dataset is of version 3."""
    version = str(raw.get("codebase_version") if isinstance(raw, dict) else None)
    if version.startswith("v2"):
        raise ValueError(
            f"{str(root)!r} is a LeRobot dataset of version {version}, and this reads v3.0: "
            "convert it by LeRobot's own `python -m lerobot.scripts.convert_dataset_v21_to_v30 "
            f"--repo-id=OWNER/NAME --root={root} --push-to-hub=false`"
        )
    if not version.startswith("v3"):
        raise ValueError(
            f"{root / INFO}: codebase_version is {version!r}; this reads LeRobot datasets of v3.0"
        )
