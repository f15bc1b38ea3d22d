"""The groups of an HDF5 file that hold a demonstration each; errors name the place."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from mummi.imitation.demonstrations.sensors import identifier


def open_hdf5(path: str | os.PathLike) -> h5py.File:
    """A file, open for reading.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, no HDF5 file, or a damaged one.
    """
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; name a file in it")
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {str(path)!r} of demonstrations") from None
    except OSError as error:
        raise ValueError(f"{path}: no HDF5 file, or a truncated one ({error})") from error


@contextlib.contextmanager
def damage_told(path: str | os.PathLike) -> Iterator[None]:
    """Turns what h5py raises for a damaged file into a ValueError that names it."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, MemoryError) as error:
        raise ValueError(f"{path}: the file is damaged ({error}); copy it again") from error


def numbered(group: h5py.Group, prefix: str) -> tuple[str, ...]:
    """Its members named ``prefix`` and a number, in the order of the numbers."""
    found = (re.fullmatch(rf"{prefix}(0|[1-9]\d*)", name) for name in group)
    return tuple(f"{prefix}{n}" for n in sorted(int(match[1]) for match in found if match))


def leaves(group: h5py.Group, path: str = "") -> dict[str, str]:
    """The datasets in a group and in those inside it: paths by names in which ``_`` joins groups.

    Raises:
        ValueError: two have one name.
    """
    found: dict[str, str] = {}
    for key, item in group.items():
        below = {identifier(f"{path}{key}"): f"{path}{key}"}
        if isinstance(item, h5py.Group):
            below = leaves(item, f"{path}{key}/")
        for name, place in below.items():
            if name in found:
                raise ValueError(f"{group.file.filename}: {found[name]} and {place} are one name")
            found[name] = place
    return found


class Groups:
    """A file of demonstrations and what it holds of each.

    Args:
        path: the file.
        parent: group in it that holds those of the demonstrations.

    Attributes:
        path: the file.
        file: it, open for reading.
        parent: the group.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no HDF5 file, or a damaged one. All methods raise it, naming file, group
            and remedy, for what is missing, damaged, or of another shape or dtype than it must be.
    """

    def __init__(self, path: str | os.PathLike, parent: str):
        self.path, self.parent = pathlib.Path(path), parent
        self.file = open_hdf5(path)

    def group(self, demo: str) -> h5py.Group:
        """That of a demonstration."""
        with contextlib.suppress(KeyError, OSError):
            if isinstance(group := self.file[self.parent][demo], h5py.Group):
                return group
        raise ValueError(f"{self.where(demo)} cannot be read; it must be a group")

    def dataset(self, demo: str, place: str) -> h5py.Dataset:
        """An array over time in the group of a demonstration."""
        with contextlib.suppress(KeyError, OSError):
            dataset = self.group(demo)[place]
            if isinstance(dataset, h5py.Dataset) and dataset.ndim:
                return dataset
        raise self.error(demo, place, "is missing or cannot be read", "an array over time")

    def array(self, demo: str, place: str, shape: tuple[int, ...], image: bool = False):
        """What a dataset holds, of just this shape: numbers, or with ``image`` uint8."""
        dataset = self.dataset(demo, place)
        if dataset.shape != shape:
            raise self.error(
                demo,
                place,
                f"has shape {dataset.shape}",
                f"{shape}, by the length of its actions and the first demonstration that has it",
            )
        if dataset.dtype.kind not in "biuf" or (image and dataset.dtype != np.uint8):
            right = "uint8" if image else "numbers"
            raise self.error(demo, place, f"has dtype {dataset.dtype}", right)
        try:
            return dataset[()]
        except OSError as error:
            raise self.error(demo, place, f"is damaged ({error})", "readable") from error

    def numbers(self, demo: str, place: str, shape: tuple[int, ...], dtype=np.float32):
        """What a dataset holds, of just this shape and finite in this dtype."""
        array = self.array(demo, place, shape)
        finite = np.abs(array) <= np.finfo(dtype).max
        if not finite.all():
            step = int(np.argwhere(~finite)[0, 0])
            right = "finite numbers: mend it or remove the demonstration from the file"
            raise self.error(demo, place, f"is NaN or infinite at step {step}", right)
        return array.astype(dtype, copy=False)

    def mask(self, demo: str, place: str, steps: int) -> np.ndarray:
        """What a dataset holds of true and false, bool [T]."""
        mask = self.array(demo, place, (steps,))
        if not np.isin(mask, (0, 1)).all():
            raise self.error(demo, place, "holds other values", "true or false at each step")
        return mask.astype(bool)

    def within(self, demo: str) -> str:
        """The path of a demonstration in the file."""
        return f"{self.parent}/{demo}".lstrip("/")

    def where(self, demo: str) -> str:
        """The file and the path of a demonstration in it, as messages begin."""
        return f"{self.path}: {self.within(demo)}"

    def error(self, demo: str, place: str, wrong: str, right: str) -> ValueError:
        """What is wrong with a dataset, and what would be right."""
        return ValueError(f"{self.where(demo)}/{place} {wrong}; it must be {right}")


def plain(value: Any) -> Any:
    """A NumPy scalar as a Python one, bytes as text; the rest as it is."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value
