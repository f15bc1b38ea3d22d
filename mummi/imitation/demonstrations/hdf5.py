"""What all HDF5 files of demonstrations have in common: a group each, with arrays over time.

A sensor is missing at a step where ``available/NAME`` of the demonstration says so, where its value
is not finite, and throughout a demonstration that lacks it while others have it.
"""

import json
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from mummi.imitation.demonstrations.demonstration import Demonstration, observed_after
from mummi.imitation.demonstrations.groups import Groups, damage_told, leaves, numbered, plain
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.sensors import Form, convert, declare
from mummi.modality import Modality, is_finite


class Hdf5Demonstrations(Sequence[Demonstration]):
    """The demonstrations of a file, in the order of their numbers, each read when it is asked for.

    A format is a class that says where its files have what.

    Args:
        path: the file.
        reading: which demonstrations and sensors, under which names.

    Attributes:
        modalities, action_size, names, attributes: as of ``DataSet``; ``env_args`` and
            ``problem_info`` of the attributes are mappings. Kinds of sensors follow from dtype and
            shape where the file does not say them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or not of this layout, or lacks what ``reading`` names.
            Reading a demonstration raises it, too: for a wrong length, shape or dtype, and for
            actions, rewards or states that are not finite.

    Warns:
        UserWarning: demonstrations that failed were left out, or one has observations that are not
            finite and not said to be missing (told of the first). They are read as zeros that are
            not available.
    """

    parent = "data"
    """Group of the demonstrations and of the attributes of all."""
    prefix = "demo_"
    """Of the name of a demonstration, before its number."""
    observed = "obs"
    """Group of the sensors in that of a demonstration."""
    actions = "actions"
    """Dataset in that of a demonstration."""
    more = 0
    """How many observations there are more than actions; the last ones are left out."""
    aside: tuple[str, ...] = ()
    """Sensors that are read only where --obs names them."""
    drops_failed = False
    """Whether demonstrations that failed are left out unless they are asked for."""

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None):
        self._path, self._reading = str(path), reading or Reading()
        self._groups, self._warned = self._opened(path), False
        try:
            with damage_told(path):
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self.names = self._successful(self._masked(self._listed()))
        self.attributes = self._attributes()
        first: dict[str, tuple[str, str]] = {}
        for demo in self.names:
            for name, place in self._sensors(demo).items():
                first.setdefault(name, (demo, place))
        self._sources = self._reading.choose(tuple(first), self._path, self.aside)
        forms = {name: self._form(*first[source]) for name, source in self._sources.items()}
        self._shapes = {name: form.shape for name, form in forms.items()}
        self.modalities = tuple(
            self._modality(name, form, *first[self._sources[name]]) for name, form in forms.items()
        )
        self.action_size = int(np.prod(self._groups.dataset(self.names[0], self.actions).shape[1:]))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Demonstration:
        demo = self.names[operator.index(index)]
        with damage_told(self._path):
            recorded = self._read(demo)
        if self._reading.obs_after_action:
            return observed_after(recorded, self._groups.where(demo))
        return recorded

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._groups.file.close()

    def _read(self, demo: str) -> Demonstration:
        group, steps = self._groups.group(demo), self._length(demo)
        values, available = self._observations(demo, steps)
        return Demonstration(
            values=values,
            actions=self._action(demo, self.actions, steps),
            rewards=self._scalars(demo, "rewards", steps),
            dones=self._dones(demo, steps),
            states=self._states(demo, steps),
            attributes={key: plain(value) for key, value in group.attrs.items()},
            executed=self._action(demo, "executed", steps) if "executed" in group else None,
            available=available,
        )

    def _opened(self, path: str | os.PathLike) -> Groups:
        return Groups(path, self.parent)

    def _listed(self) -> tuple[str, ...]:
        """The names of all demonstrations of the file."""
        parent = self._groups.file.get(self.parent)
        if not isinstance(parent, h5py.Group):
            raise ValueError(
                f"{self._path}: group {self.parent!r} is missing; it holds {self.prefix}0, "
                f"{self.prefix}1, …"
            )
        names = numbered(parent, self.prefix)
        if not names:
            raise ValueError(
                f"{self._path}: no demonstrations in {self.parent!r}; it needs {self.prefix}0, "
                f"{self.prefix}1, …"
            )
        return names

    def _attributes(self) -> dict[str, Any]:
        """What the file says of all demonstrations."""
        found = {key: plain(value) for key, value in self._groups.file[self.parent].attrs.items()}
        for key in ("env_args", "problem_info"):
            if key not in found:
                continue
            text = found[key]
            try:
                found[key] = json.loads(text)
            except (TypeError, ValueError):
                found[key] = None
            if not isinstance(found[key], Mapping):
                raise ValueError(
                    f"{self._path}: attribute {key!r} of {self.parent!r} is no JSON of a mapping: "
                    f"{str(text)[:80]!r}; mend or remove it"
                )
        frequency = found.get("env_args", {}).get("env_kwargs", {}).get("control_freq")
        return found | ({"rate": float(frequency)} if frequency else {})

    def _masked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not (key := self._reading.filter_key):
            return names
        masks = self._groups.file.get("mask", {})
        if not isinstance(masks.get(key), h5py.Dataset):
            raise ValueError(
                f"{self._path}: no filter key {key!r}; it has {', '.join(masks) or 'none'}"
            )
        chosen = {name.decode() for name in masks[key][()].astype("S")}
        if unknown := sorted(chosen - set(names)):
            raise ValueError(
                f"{self._path}: mask/{key} lists {unknown[0]!r}, which {self.parent!r} lacks"
            )
        if not chosen:
            raise ValueError(f"{self._path}: mask/{key} lists no demonstration")
        return tuple(name for name in names if name in chosen)

    def _successful(self, names: tuple[str, ...]) -> tuple[str, ...]:
        drop = self.drops_failed if self._reading.failed is None else self._reading.failed == "drop"
        if not drop:
            return names
        said = {name: self._groups.group(name).attrs.get("success") for name in names}
        told = {name: None if found is None else bool(found) for name, found in said.items()}
        return self._reading.successful(told, self._path)

    def _sensors(self, demo: str) -> dict[str, str]:
        """The sensors of a demonstration: places in its group by name, in their order."""
        group = self._groups.group(demo).get(self.observed)
        if not isinstance(group, h5py.Group):
            raise self._no_observations(demo)
        return {name: f"{self.observed}/{place}" for name, place in leaves(group).items()}

    def _no_observations(self, demo: str) -> ValueError:
        return self._groups.error(demo, self.observed, "is missing", "a group of observations")

    def _form(self, demo: str, place: str) -> Form:
        """How the values of a sensor are stored."""
        dataset = self._groups.dataset(demo, place)
        return Form(dataset.dtype, dataset.shape[1:], dataset.attrs.get("kind"))

    def _modality(self, name: str, form: Form, demo: str, place: str) -> Modality:
        try:
            return declare(name, *form)
        except ValueError as error:
            raise ValueError(
                f"{self._groups.where(demo)}/{place} {error}; --obs names the sensors to read"
            ) from None

    def _length(self, demo: str) -> int:
        """T of a demonstration."""
        steps = len(self._groups.dataset(demo, self.actions))
        if steps == 0:
            raise self._groups.error(demo, self.actions, "has no step", "at least one")
        counted = self._groups.group(demo).attrs.get("num_samples", steps)
        if str(plain(counted)) != str(steps):
            right = f"{counted}, the attribute num_samples"
            raise self._groups.error(demo, self.actions, f"has length {steps}", right)
        return steps

    def _observations(self, demo: str, steps: int):
        """Values by modality, zeros where they are missing, and availability if some are."""
        values, available, broken = {}, {}, []
        places = self._sensors(demo)
        for m in self.modalities:
            if (place := places.get(self._sources[m.name])) is None:
                values[m.name] = np.zeros((steps, *m.shape), m.dtype)
                available[m.name] = np.zeros(steps, bool)
                continue
            stored = convert(m, self._stored(demo, place, m, steps)[:steps])
            delivered, finite = self._delivered(demo, place, steps), is_finite(m, stored)
            if lost := int((delivered & ~finite).sum()):
                broken.append(f"{m.name!r} at {lost} of {steps} steps ({lost / steps:.0%})")
            available[m.name] = there = delivered & finite
            if not there.all():
                stored[~there] = 0
            values[m.name] = np.ascontiguousarray(stored, m.dtype)
        if broken and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._groups.where(demo)} holds values that are not finite, which count as "
                f"missing: {', '.join(broken)}; of others in this file nothing is said",
                stacklevel=3,
            )
        complete = all(there.all() for there in available.values())
        return values, None if complete else available

    def _stored(self, demo: str, place: str, modality: Modality, steps: int) -> np.ndarray:
        """The stored values of a sensor, one an observation."""
        shape = (steps + self.more, *self._shapes[modality.name])
        return self._groups.array(demo, place, shape, modality.kind == "image")

    def _delivered(self, demo: str, place: str, steps: int) -> np.ndarray:
        """At which steps the file says that a sensor delivered, bool [T]."""
        mask = place.replace(self.observed, "available", 1)
        if mask not in self._groups.group(demo):
            return np.ones(steps, bool)
        return self._groups.mask(demo, mask, steps)

    def _action(self, demo: str, place: str, steps: int) -> np.ndarray:
        """Actions float32 [T, A]; those of one number a step may lack the axis."""
        dataset = self._groups.dataset(demo, place)
        if dataset.ndim == 1 and dataset.dtype.kind in "biu":
            raise self._groups.error(
                *(demo, place, f"has dtype {dataset.dtype}: the actions are discrete"),
                "floats [T, A], as continuous actions are",
            )
        shape = (steps,) if dataset.ndim == 1 else (steps, self.action_size)
        return self._groups.numbers(demo, place, shape).reshape(steps, self.action_size)

    def _scalars(self, demo: str, place: str, steps: int) -> np.ndarray:
        """Numbers [T], zeros where the demonstration has none."""
        if place not in self._groups.group(demo):
            return np.zeros(steps, np.float32)
        return self._groups.numbers(demo, place, (steps,))

    def _dones(self, demo: str, steps: int) -> np.ndarray:
        return self._scalars(demo, "dones", steps) != 0

    def _states(self, demo: str, steps: int) -> np.ndarray | None:
        """The simulator's states; those in a group, as of IsaacLab, are left alone."""
        if not isinstance(self._groups.group(demo).get("states"), h5py.Dataset):
            return None
        width = self._groups.dataset(demo, "states").shape[1:]
        return self._groups.numbers(demo, "states", (steps, *width), np.float64)
