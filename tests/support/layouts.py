"""HDF5 files as IsaacLab, ALOHA and Minari write them, small, and raw recordings of robosuite."""

import json

import cv2
import h5py
import numpy as np


def _random():
    return np.random.default_rng(0)


def pictures(random, steps, *shape):
    return random.integers(0, 256, (steps, *shape), np.uint8)


def isaaclab(path, successes=(False, True, True)):
    """Nested observations, states as groups, and demonstrations that failed, ten steps each."""
    random, steps, packed = _random(), 10, {"compression": "gzip"}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "", "type": 2})
        data.attrs["total"] = steps * len(successes)
        for number, success in enumerate(successes):
            demo = data.create_group(f"demo_{number}")
            demo.attrs.update(num_samples=steps, success=success, seed=7)
            arrays = {
                "actions": random.uniform(-1, 1, (steps, 7)).astype(np.float32),
                "processed_actions": random.normal(size=(steps, 9)).astype(np.float32),
                "obs/eef_pos": random.normal(size=(steps, 3)).astype(np.float32),
                "obs/table_cam": pictures(random, steps, 6, 8, 3),
                "obs/datagen_info/eef_pose/franka": random.normal(size=(steps, 4, 4)),
                "states/articulation/robot/joint_position": random.normal(size=(steps, 9)),
                "initial_state/articulation/robot/joint_position": random.normal(size=(1, 9)),
            }
            for place, array in arrays.items():
                demo.create_dataset(place, data=array, **packed)
    return path


def aloha(path, steps=5, cameras=("cam_high", "cam_left_wrist"), compressed=False, seed=0):
    """One episode; compressed ones hold JPEG bytes of RGB by OpenCV, padded with zeros."""
    random = np.random.default_rng(seed)
    shown = {}
    with h5py.File(path, "w") as file:
        file.attrs["sim"], file.attrs["compress"] = not compressed, compressed
        for camera in cameras:
            shown[camera] = np.stack([_smooth(random) for _ in range(steps)])
            stored = shown[camera]
            if compressed:
                packed = [cv2.imencode(".jpg", picture)[1].ravel() for picture in stored]
                size = max(len(row) for row in packed) + 10
                stored = np.stack([np.pad(row, (0, size - len(row))) for row in packed])
                shown[camera] = np.stack([cv2.imdecode(row, cv2.IMREAD_COLOR) for row in packed])
            file[f"observations/images/{camera}"] = stored
        file["observations/qpos"] = random.normal(size=(steps, 14))
        file["observations/qvel"] = random.normal(size=(steps, 14))
        file["action"] = random.uniform(-2, 2, (steps, 14))
        if compressed:
            file["compress_len"] = np.zeros((len(cameras), steps))
    return shown


def _smooth(random):
    """A picture that JPEG keeps: colours that change slowly, of which red is the brightest."""
    rows, columns = np.mgrid[0:16, 0:24] / 24
    picture = np.stack([200 + 50 * rows, 100 * columns, 40 * random.random() + 0 * rows], -1)
    return picture.astype(np.uint8)


def minari(path, lengths=(4, 6), nested=True):
    """Episodes with an observation more than actions, of an environment with a goal or without."""
    random = _random()
    with h5py.File(path, "w") as file:
        file.attrs["total_episodes"] = len(lengths)
        for number, steps in enumerate(lengths):
            episode = file.create_group(f"episode_{number}")
            episode.attrs.update(id=number, total_steps=steps, seed=number)
            if nested:
                episode["observations/observation"] = random.normal(size=(steps + 1, 5))
                episode["observations/goal/place"] = random.normal(size=(steps + 1, 2))
            else:
                episode["observations"] = random.normal(size=(steps + 1, 3))
            episode["actions"] = random.uniform(-1, 1, (steps, 2)).astype(np.float32)
            episode["rewards"] = random.normal(size=steps)
            ends = np.arange(steps) == steps - 1
            episode["terminations"] = ends & (number == 0)
            episode["truncations"] = ends & (number > 0)
    return path


def robosuite_raw(path):
    """States and actions without observations, the first demonstration demo_1."""
    random = _random()
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(env="Wipe", repository_version="1.4.1", env_info="{}")
        for number in (1, 2):
            demo = data.create_group(f"demo_{number}")
            demo["states"] = random.normal(size=(10, 13))
            demo["actions"] = random.normal(size=(10, 6)) * 7.5
            demo.attrs["model_file"] = "<mujoco/>"
    return path
