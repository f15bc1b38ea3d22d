"""LeRobot v3 datasets written by hand, by pyarrow and PyAV alone, as its published layout has them.

Five episodes of unlike lengths: two in the first file of chunk 0, one in its second, two in the
first of chunk 1. The videos are split elsewhere, and the two cameras unlike each other.
"""

import io
import json

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
LENGTHS = (7, 5, 8, 6, 4)
DATA_FILES = ((0, 0), (0, 0), (0, 1), (1, 0), (1, 0))
VIDEO_FILES = {
    "observation.images.top": ((0, 0), (0, 0), (0, 0), (1, 0), (1, 0)),
    "observation.images.wrist.left": ((0, 0), (0, 1), (0, 1), (0, 1), (0, 1)),
}
SIZES = {"observation.images.top": (48, 64), "observation.images.wrist.left": (32, 32)}
TASKS = ("pick the cube", "open the drawer")
EPISODE_TASKS = (0, 1, 1, 0, 1)


def grey(camera: int, episode: int, frame: int) -> int:
    """What a frame of a video shows everywhere: each frame of each episode something else."""
    return 20 + 118 * camera + 24 * episode + 3 * frame


def low(episode: int) -> dict[str, np.ndarray]:
    """State, action and reward of an episode."""
    random = np.random.default_rng(episode)
    steps = LENGTHS[episode]
    return {
        "observation.state": random.normal(size=(steps, 3)).astype(np.float32),
        "action": random.normal(size=(steps, 2)).astype(np.float32),
        "next.reward": random.normal(size=steps).astype(np.float32),
    }


def png(picture: np.ndarray, kind: str = "PNG") -> dict:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


def video(path, frames, rate=FPS, codec="libx264", pixels="yuv420p", given="rgb24", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "4", **options})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=given)))
        container.mux(stream.encode())


def parquet(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def rows(values):
    """An array over time as a column: lists, or numbers where a value is one."""
    return pa.array(list(values) if values.ndim == 1 else [row.tolist() for row in values])


def features(**more):
    found = {
        key: {
            "dtype": "video",
            "shape": [*size, 3],
            "names": ["height", "width", "channels"],
            "info": {"video.fps": FPS, "video.codec": "h264", "video.is_depth_map": False},
        }
        for key, size in SIZES.items()
    }
    for key, size in (("observation.state", 3), ("action", 2)):
        names = {"motors": [f"joint_{n}" for n in range(size)]}
        found[key] = {"dtype": "float32", "shape": [size], "names": names}
    numbers = {"next.reward": "float32", "timestamp": "float32", "next.done": "bool"}
    numbers |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
    return found | {k: {"dtype": v, "shape": [1], "names": None} for k, v in numbers.items()} | more


def dataset(root, more=None, columns=None, info=None):
    """Writes it.

    Args:
        root: its folder.
        more: further features by key, as ``meta/info.json`` has them.
        columns: gives the further columns of an episode by its number.
        info: what else is in ``meta/info.json``.
    """
    said = {
        "codebase_version": "v3.0",
        "robot_type": "so100",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": len(TASKS),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": "0:4", "val": "4:5"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features(**(more or {})),
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(said | (info or {})))
    index = pd.Index(TASKS, name="task")
    pd.DataFrame({"task_index": [0, 1]}, index=index).to_parquet(root / "meta/tasks.parquet")

    start, frames, episodes = 0, {}, []
    for number, steps in enumerate(LENGTHS):
        made = low(number) | (columns(number) if columns else {})
        order = np.arange(steps)
        made |= {
            "next.done": order == steps - 1,
            "timestamp": (order / FPS).astype(np.float32),
            "frame_index": order,
            "episode_index": np.full(steps, number),
            "index": start + order,
            "task_index": np.full(steps, EPISODE_TASKS[number]),
        }
        columned = {k: v if isinstance(v, pa.Array) else rows(v) for k, v in made.items()}
        frames.setdefault(DATA_FILES[number], []).append(pa.table(columned))
        chunk, file = DATA_FILES[number]
        episodes.append(
            {
                "episode_index": number,
                "tasks": [TASKS[EPISODE_TASKS[number]]],
                "length": steps,
                "dataset_from_index": start,
                "dataset_to_index": start + steps,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": number // 3,
                "stats/action/mean": made["action"].mean(0).tolist(),
            }
        )
        start += steps
    for (chunk, file), tables in frames.items():
        path = root / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables(tables), path)

    for camera, (key, places) in enumerate(VIDEO_FILES.items()):
        shown = {}
        for number, place in enumerate(places):
            seen = shown.setdefault(place, [])
            times = {"from_timestamp": len(seen) / FPS}
            seen += [
                np.full((*SIZES[key], 3), grey(camera, number, t), np.uint8)
                for t in range(LENGTHS[number])
            ]
            times["to_timestamp"] = len(seen) / FPS
            times |= {"chunk_index": place[0], "file_index": place[1]}
            episodes[number] |= {f"videos/{key}/{name}": value for name, value in times.items()}
        for (chunk, file), seen in shown.items():
            video(root / f"videos/{key}/chunk-{chunk:03d}/file-{file:03d}.mp4", seen)
    for file in range(2):
        path = root / f"meta/episodes/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(episodes[3 * file : 3 * file + 3]), path)
    return root
