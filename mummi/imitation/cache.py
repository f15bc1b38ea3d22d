"""Latents of demonstrations, encoded once and kept beside the checkpoint that encoded them."""

import hashlib
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from mummi.data.episode import load_episode, save_episode
from mummi.imitation.heads.head import Trajectory
from mummi.imitation.latents import Latents, View, deliverable, trajectory
from mummi.modality import Modality

FOLDER = "latents"
EMBEDDINGS = "embeddings/"
VERSION = 1
"""Of what ``Latents.encode`` makes of the same parameters and views, and of the file."""


def encode(
    latents: Latents, views: Sequence[View], folder: pathlib.Path, step: int
) -> list[Trajectory]:
    """As ``Latents.encode``, from a file where one has these very latents; else it is written.

    A file is found by what it was made of: settings and parameters of the world model, and all that
    the views hold, which depends on the script of failures, the copies and the seed. So a file that
    is no longer right is never read. One that is damaged is written anew; where none can be
    written, the latents are made without.

    Args:
        latents: the world model.
        views: demonstrations as their sensors delivered them.
        folder: of the run whose checkpoint it is; the file is
            ``latents/STEP-FINGERPRINT.npz`` in it.
        step: of the checkpoint.

    Raises:
        ValueError: there are no views.
    """
    path = folder / FOLDER / f"{step:010d}-{fingerprint(latents, views)}.npz"
    if path.is_file() and (arrays := _read(path)):
        print(f"latents of {len(views)} views: {_told(path)}, read")
        return restored(arrays, views, latents.sizes.modalities)
    trajectories = latents.encode(views)
    try:
        save_episode(path, stored(trajectories))
        print(f"latents of {len(views)} views: {_told(path)}, written for the next head")
    except OSError as error:
        print(f"latents are not kept for the next head: {error}")
    return trajectories


def fingerprint(latents: Latents, views: Sequence[View]) -> str:
    """Hexadecimal digits that change with whatever latents are made of."""
    digest, model = _digest(), latents.model
    made_by = VERSION, type(model.perception).__name__, model.config, model.modalities
    digest.update(repr(made_by).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(latents.params):
        digest.update(jax.tree_util.keystr(path).encode())
        _add(digest, leaf)
    known: dict[int, bytes] = {}
    for view in views:
        for name, values in view.values.items():
            # Views of one demonstration share most of their values.
            if id(values) not in known:
                _add(own := _digest(), values)
                known[id(values)] = own.digest()
            digest.update(name.encode() + known[id(values)])
            _add(digest, view.available[name])
        _add(digest, view.actions)
        _add(digest, view.wanted)
    return digest.hexdigest()


def _digest():
    return hashlib.blake2b(digest_size=8)


def _add(digest, array) -> None:
    array = np.ascontiguousarray(array)
    digest.update(f"{array.dtype} {array.shape}".encode())
    digest.update(array.view(np.uint8).data if array.size else b"")


def stored(trajectories: Sequence[Trajectory]) -> dict[str, np.ndarray]:
    """What is encoded, one demonstration after another: feature [N, F], embeddings [N, E_m]."""
    percepts = [t.percept for t in trajectories]
    embeddings = {
        f"{EMBEDDINGS}{name}": np.concatenate([p.embeddings[name] for p in percepts])
        for name in percepts[0].embeddings
    }
    return {"feature": np.concatenate([p.feature for p in percepts]), **embeddings}


def restored(
    arrays: Mapping[str, np.ndarray], views: Sequence[View], modalities: Sequence[Modality]
) -> list[Trajectory]:
    """The trajectories of ``views``, of what ``stored`` gave."""
    ends = np.cumsum([len(view.actions) for view in views])[:-1]
    feature, *alone = (
        np.split(arrays[key], ends)
        for key in ("feature", *(f"{EMBEDDINGS}{m.name}" for m in modalities))
    )
    return [
        trajectory(
            feature[number],
            {m.name: rows[number] for m, rows in zip(modalities, alone, strict=True)},
            deliverable(view, modalities),
        )
        for number, view in enumerate(views)
    ]


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What a file holds; nothing where it is damaged."""
    try:
        return load_episode(path)
    except Exception as error:
        print(f"{path} is damaged ({error}), and made anew")
        return {}


def _told(path: pathlib.Path) -> str:
    return f"{path}, {path.stat().st_size / 1e6:.1f} MB"
