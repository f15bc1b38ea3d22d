"""Writes demonstrations so that none is lost, whenever the process is killed."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from mummi.imitation.demonstrations.demonstration import Demonstration
from mummi.imitation.demonstrations.robomimic import Demonstrations
from mummi.modality import Modality, is_finite
from mummi.runs.files import atomic, lock

_FRAMES = 16
"""Pictures that are compressed together."""


class DemonstrationWriter:
    """Adds demonstrations to a file, so that none that was appended is ever lost.

    HDF5 does not survive a kill in the middle of a write. So each demonstration is a file of its
    own in the folder ``PATH.parts`` until ``close`` makes one file of them, which replaces the old
    one in one step. After a kill the next writer finds the parts and goes on.

    Args:
        path: the file, new or written with the same arguments before.
        modalities: the sensor streams.
        action_size: A.
        env_args: what the demonstrations were made with, JSON; robomimic wants ``env_name``,
            ``type`` and ``env_kwargs`` in it.
        attributes: what else the file says of all of them; a mapping becomes JSON.

    Raises:
        ValueError: the file is no file of demonstrations or has other modalities, action size or
            env_args, or another process writes it.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        modalities: Sequence[Modality],
        action_size: int,
        env_args: Mapping[str, Any],
        attributes: Mapping[str, Any] | None = None,
    ):
        self._path = pathlib.Path(path)
        self._env_args = json.loads(json.dumps(env_args))
        self._attributes = dict(attributes or {})
        self._modalities, self._action_size = tuple(modalities), action_size
        self._folder = self._path.with_name(self._path.name + ".parts")
        number = 0
        if self._path.exists():
            with Demonstrations(self._path) as before:
                self._require_same(before)
                number = int(before.names[-1][5:]) + 1
        self._first = number
        self._lock = lock(self._folder, str(path))
        self._parts = []
        while (part := self._part(number)).exists():
            with Demonstrations(part) as demonstrations:
                self._require_same(demonstrations)
            self._parts.append(part)
            number += 1

    def __len__(self) -> int:
        """One more than the number of the last demonstration: the number of the next."""
        return self._first + len(self._parts)

    def append(self, demonstration: Demonstration) -> None:
        """Writes one demonstration; when this returns, it survives whatever happens.

        Where a sensor is missing its values are written as zeros, and ``available`` says so.

        Raises:
            ValueError: arrays that do not fit each other or the file, or actions, rewards, states
                or available values that are not finite.
        """
        names = [modality.name for modality in self._modalities]
        if sorted(names) != sorted(demonstration.values):
            raise ValueError(
                f"the demonstration has {', '.join(demonstration.values)}; "
                f"this file needs {', '.join(names)}"
            )
        part = self._part(len(self))
        with atomic(part) as temporary, self._checked(temporary) as file:
            file["data"].attrs["total"] = len(demonstration.actions)
            self._fill(file.create_group(f"data/demo_{len(self)}"), demonstration)
        self._parts.append(part)

    def _fill(self, group: h5py.Group, demonstration: Demonstration) -> None:
        """Writes a demonstration into its group."""
        group.attrs.update(demonstration.attributes)
        group.attrs["num_samples"] = len(demonstration.actions)
        # The order of the modalities is that of fusion.
        observations = group.create_group("obs", track_order=True)
        for modality in self._modalities:
            value, packing = _stored_values(modality, demonstration), {}
            if value.ndim == 4 and len(value):
                frames = (min(_FRAMES, len(value)), *value.shape[1:])
                packing = {"chunks": frames, "compression": "gzip", "compression_opts": 1}
            dataset = observations.create_dataset(modality.name, data=value, **packing)
            dataset.attrs["kind"] = modality.kind
            available = demonstration.availability(modality.name)
            if not available.all():
                group[f"available/{modality.name}"] = np.asarray(available, bool)
        group["actions"] = demonstration.actions
        group["rewards"] = demonstration.rewards
        group["dones"] = np.asarray(demonstration.dones, np.uint8)
        for name in ("executed", "states"):
            if (array := getattr(demonstration, name)) is not None:
                group[name] = array

    def close(self) -> None:
        """Moves what was appended into the file."""
        if self._lock.closed:
            return
        if self._parts:
            with atomic(self._path) as temporary:
                if self._path.exists():
                    shutil.copyfile(self._path, temporary)
                else:
                    self._create(temporary).close()
                with h5py.File(temporary, "a") as whole:
                    data = whole["data"]
                    total = int(data.attrs.get("total", 0))
                    for part in self._parts:
                        with h5py.File(part) as file:
                            file.copy(f"data/{part.stem}", data)
                            total += int(file["data"].attrs["total"])
                    data.attrs["total"] = total
        shutil.rmtree(self._folder)
        self._lock.close()

    def __enter__(self) -> "DemonstrationWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _part(self, number: int) -> pathlib.Path:
        return self._folder / f"demo_{number}.hdf5"

    @contextlib.contextmanager
    def _checked(self, path: pathlib.Path) -> Iterator[h5py.File]:
        """A new file of one demonstration; once written, it is read as any reader would."""
        with self._create(path) as file:
            yield file
        with Demonstrations(path) as written:
            written[0]  # raises for what no reader would take
            self._require_same(written)

    def _create(self, path: pathlib.Path) -> h5py.File:
        file = h5py.File(path, "w")
        attributes = file.create_group("data").attrs
        for name, value in {**self._attributes, "env_args": self._env_args}.items():
            attributes[name] = json.dumps(value) if isinstance(value, Mapping) else value
        return file

    def _require_same(self, other: Demonstrations) -> None:
        """Raises a ValueError unless the demonstrations are of this writer's kind."""
        before, now = other.attributes.get("env_args", {}), self._env_args
        pairs = {f"env_args[{k!r}]": (before.get(k), now.get(k)) for k in before | now}
        pairs["action_size"] = (other.action_size, self._action_size)
        pairs["modalities"] = (other.modalities, self._modalities)
        for name, (old, new) in pairs.items():
            if old != new:
                raise ValueError(
                    f"{str(self._path)!r} has {name} = {old!r}, not {new!r}: "
                    "repeat its settings or give another file"
                )


def _stored_values(modality: Modality, demonstration: Demonstration) -> np.ndarray:
    """What a file holds of a sensor [T, *shape]: its values, zeros where it is missing."""
    value = np.asarray(demonstration.values[modality.name])
    available = demonstration.availability(modality.name)
    if not is_finite(modality, value[available]).all():
        step = np.flatnonzero(available)[np.argmin(is_finite(modality, value[available]))]
        raise ValueError(
            f"sensor {modality.name!r} is available at step {step} and has a value that is not "
            "finite; say that it is missing there"
        )
    if available.all():
        return value
    stored = np.zeros_like(value)
    stored[available] = value[available]
    return stored
