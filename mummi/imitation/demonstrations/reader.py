"""Demonstrations in HDF5, in the layout of robomimic and LIBERO, whose tools read ours.

```
data                    attributes: total, env_args (JSON); LIBERO: problem_info (JSON), …
data/demo_0             attributes: num_samples
data/demo_0/obs/NAME    [T, *shape], what a sensor gave before each action
data/demo_0/actions     [T, A], what the demonstrator wanted
data/demo_0/executed    [T, A], what was done where that is something else, optional
data/demo_0/rewards     [T], what each action brought
data/demo_0/dones       [T]
data/demo_0/states      [T, S], the simulator's state before each action; optional
mask/KEY                names of demonstrations, optional (robomimic's filter keys)
```

Whatever else a file holds, such as robomimic's ``next_obs``, is left alone. ``rewards`` and
``dones`` that are missing count as zeros, as in robomimic. An observation that is not finite says
that its sensor did not deliver at that step.
"""

import contextlib
import json
import operator
import os
import pathlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from mummi.modality import Modality, is_finite

_JSON = ("env_args", "problem_info")


class Demonstration(NamedTuple):
    """One episode of T actions.

    Attributes:
        values: by modality, [T, *shape] of its dtype; ``values[name][t]`` was seen before
            ``actions[t]``.
        actions: float32 [T, A], what the demonstrator wanted.
        rewards: float32 [T], ``rewards[t]`` is what ``actions[t]`` brought.
        dones: bool [T], the episode ended with that action.
        states: float64 [T, S], the simulator's state before each action, or None.
        attributes: the demonstration's own, for example ``success``.
        executed: float32 [T, A], what was done, or None where that is ``actions``.
        available: by modality, bool [T], whether the sensor delivered; a modality that is not
            named, or all of them with None, delivered at every step.
    """

    values: Mapping[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    states: np.ndarray | None = None
    attributes: Mapping[str, Any] = {}
    executed: np.ndarray | None = None
    available: Mapping[str, np.ndarray] | None = None

    def availability(self, name: str) -> np.ndarray:
        """Whether the sensor of a modality delivered at each step, bool [T]."""
        if self.available is None or name not in self.available:
            return np.ones(len(self.actions), bool)
        return self.available[name]


class Demonstrations(Sequence[Demonstration]):
    """The demonstrations of a file, in the order of their numbers, each read when it is asked for.

    Args:
        path: the file.
        modalities: the observations to read, in the order of fusion: names in the file, or a
            mapping of modality names to names in the file. By default all of them.
        mask: a filter key: take only the demonstrations that ``mask/KEY`` lists.

    Attributes:
        modalities: the sensor streams; kinds follow from dtype and shape where the file does not
            say them (uint8 [H, W, C] is an image, float [H, W, 1] depth, [N] a vector).
        action_size: A.
        attributes: of the file; ``env_args`` and ``problem_info`` as mappings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or not of this layout, or lacks an observation. Reading a
            demonstration raises it, too: for a wrong length, shape or dtype, and for actions,
            rewards or states that are not finite.

    Warns:
        UserWarning: a demonstration holds observations that are not finite. They are read as zeros
            that are not available.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        modalities: Mapping[str, str] | Sequence[str] | None = None,
        mask: str | None = None,
    ):
        self._path = pathlib.Path(path)
        try:
            self._file = h5py.File(self._path, "r")
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {str(path)!r} of demonstrations") from None
        except OSError as error:
            raise ValueError(f"{path}: no HDF5 file, or a truncated one ({error})") from error
        try:
            self._open(modalities, mask)
        except BaseException:
            self.close()
            raise

    def _open(self, modalities, mask):
        data = self._file.get("data")
        if not isinstance(data, h5py.Group):
            raise ValueError(f"{self._path}: group 'data' is missing; it holds demo_0, demo_1, …")
        numbers = sorted(int(n[5:]) for n in data if re.fullmatch(r"demo_(0|[1-9]\d*)", n))
        self.names = tuple(f"demo_{number}" for number in numbers)
        if mask is not None:
            self.names = self._masked(mask)
        if not self.names:
            raise ValueError(
                f"{self._path}: no demonstrations in 'data'; it needs demo_0, demo_1, …"
            )
        self.attributes = {}
        for key, value in data.attrs.items():
            try:
                self.attributes[key] = json.loads(value) if key in _JSON else _plain(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{self._path}: attribute {key!r} of 'data' is no JSON") from error
        first = self._group(self.names[0])
        observations = first.get("obs")
        if not isinstance(observations, h5py.Group):
            raise self._error(
                *(self.names[0], "obs", "is missing"),
                "a group of observations (robomimic's dataset_states_to_obs.py extracts them)",
            )
        if modalities is None:
            modalities = tuple(observations)
        if not isinstance(modalities, Mapping):
            modalities = {name: name for name in modalities}
        for source in modalities.values():
            if source not in observations:
                raise ValueError(
                    f"{self._path}: unknown modality {source!r}; "
                    f"the observations are {', '.join(observations)}"
                )
        self._sources = dict(modalities)
        self._stored = self.modalities = tuple(
            self._modality(name, source) for name, source in self._sources.items()
        )
        self.action_size = int(np.prod(self._dataset(self.names[0], "actions").shape[1:]))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Demonstration:
        name = self.names[operator.index(index)]
        group, steps = self._group(name), self._length(name)
        actions, executed = (
            self._numbers(name, key, (steps, self.action_size)) if key in group else None
            for key in ("actions", "executed")
        )
        values, available = self._sensors(name, steps)
        rewards, dones = (
            self._numbers(name, key, (steps,)) if key in group else np.zeros(steps, np.float32)
            for key in ("rewards", "dones")
        )
        states = None
        if "states" in group:
            width = self._dataset(name, "states").shape[1:]
            states = self._numbers(name, "states", (steps, *width), np.float64)
        return Demonstration(
            values=values,
            actions=actions,
            rewards=rewards,
            dones=dones != 0,
            states=states,
            attributes={key: _plain(value) for key, value in group.attrs.items()},
            executed=executed,
            available=available,
        )

    def __enter__(self) -> "Demonstrations":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _masked(self, mask: str) -> tuple[str, ...]:
        masks = self._file.get("mask", {})
        if mask not in masks:
            raise ValueError(
                f"{self._path}: no filter key {mask!r}; it has {', '.join(masks) or 'none'}"
            )
        chosen = {name.decode() for name in masks[mask][()].astype("S")}
        if unknown := sorted(chosen - set(self.names)):
            raise ValueError(f"{self._path}: mask/{mask} lists {unknown[0]!r}, which 'data' lacks")
        return tuple(name for name in self.names if name in chosen)

    def _modality(self, name: str, source: str) -> Modality:
        demo, dataset = self.names[0], self._dataset(self.names[0], f"obs/{source}")
        kind, shape = dataset.attrs.get("kind"), dataset.shape[1:]
        if kind is None and len(shape) == 3:
            kind = "image" if dataset.dtype == np.uint8 else "depth"
        try:
            return Modality(name, kind or "vector", shape)
        except ValueError as error:
            right = "uint8 [T, H, W, C], float [T, H, W, 1] or [T, N], under a Python identifier"
            wrong = f"has shape {dataset.shape} and dtype {dataset.dtype} ({error})"
            raise self._error(demo, f"obs/{source}", wrong, right) from None

    def _group(self, demo: str) -> h5py.Group:
        with contextlib.suppress(KeyError, OSError):
            if isinstance(group := self._file["data"][demo], h5py.Group):
                return group
        raise ValueError(f"{self._path}: data/{demo} cannot be read; it must be a group")

    def _dataset(self, demo: str, name: str) -> h5py.Dataset:
        with contextlib.suppress(KeyError, OSError):
            dataset = self._group(demo)[name]
            if isinstance(dataset, h5py.Dataset) and dataset.ndim:
                return dataset
        raise self._error(demo, name, "is missing or cannot be read", "an array over time")

    def _length(self, demo: str) -> int:
        """T of a demonstration."""
        steps = len(self._dataset(demo, "actions"))
        if steps == 0:
            raise self._error(demo, "actions", "has no step", "at least one")
        counted = int(self._group(demo).attrs.get("num_samples", steps))
        if counted != steps:
            right = f"{counted}, the attribute num_samples"
            raise self._error(demo, "actions", f"has length {steps}", right)
        return steps

    def _sensors(self, demo: str, steps: int):
        """Values by modality, zeros where they are not finite, and availability if some are not."""
        values, available, failed = {}, {}, []
        for m in self._stored:
            source, image = self._sources[m.name], m.kind == "image"
            value = self._array(demo, f"obs/{source}", (steps, *m.shape), image)
            available[m.name] = finite = is_finite(m, value)
            if not finite.all():
                value[~finite] = 0
                missing = int(steps - finite.sum())
                failed.append(f"{source!r} at {missing} of {steps} steps ({missing / steps:.0%})")
            values[m.name] = value.astype(m.dtype, copy=False)
        if not failed:
            return values, None
        warnings.warn(
            f"{self._path}: data/{demo}/obs holds values that are not finite, which count as "
            f"missing: {', '.join(failed)}",
            stacklevel=3,
        )
        return values, available

    def _array(self, demo: str, name: str, shape: tuple[int, ...], image: bool = False):
        """What a dataset holds, of just this shape: numbers, or with ``image`` uint8."""
        dataset = self._dataset(demo, name)
        if dataset.shape != shape:
            raise self._error(
                demo,
                name,
                f"has shape {dataset.shape}",
                f"{shape}, by the length of its actions and the shapes of {self.names[0]}",
            )
        if dataset.dtype.kind not in "biuf" or (image and dataset.dtype != np.uint8):
            right = "uint8" if image else "numbers"
            raise self._error(demo, name, f"has dtype {dataset.dtype}", right)
        try:
            return dataset[()]
        except OSError as error:
            raise self._error(demo, name, f"is damaged ({error})", "readable") from error

    def _numbers(self, demo: str, name: str, shape: tuple[int, ...], dtype=np.float32):
        """What a dataset holds, of just this shape and finite in this dtype."""
        array = self._array(demo, name, shape)
        finite = np.abs(array) <= np.finfo(dtype).max
        if not finite.all():
            step = int(np.argwhere(~finite)[0, 0])
            right = "finite numbers: mend it or remove the demonstration from the file"
            raise self._error(demo, name, f"is NaN or infinite at step {step}", right)
        return array.astype(dtype, copy=False)

    def _error(self, demo: str, dataset: str, wrong: str, right: str) -> ValueError:
        return ValueError(f"{self._path}: data/{demo}/{dataset} {wrong}; it must be {right}")


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python one; the rest as it is."""
    return value.item() if isinstance(value, np.generic) else value
