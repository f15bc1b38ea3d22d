"""The formats of demonstrations: a name, how each is told, what opens it and what writes it."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import h5py

from mummi.imitation.demonstrations.aloha import AlohaDemonstration, is_aloha
from mummi.imitation.demonstrations.calvin import CalvinDemonstrations, is_calvin
from mummi.imitation.demonstrations.demonstration import DataSet, Writer
from mummi.imitation.demonstrations.folder import Folder
from mummi.imitation.demonstrations.groups import open_hdf5
from mummi.imitation.demonstrations.lerobot.reader import LeRobotDemonstrations, is_lerobot
from mummi.imitation.demonstrations.lerobot.writer import LeRobotWriter
from mummi.imitation.demonstrations.libero import LiberoDemonstrations, is_libero
from mummi.imitation.demonstrations.minari import MinariDemonstrations, is_minari
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.robomimic import (
    Demonstrations,
    IsaacLabDemonstrations,
    is_isaaclab,
    is_robomimic,
)
from mummi.imitation.demonstrations.writer import DemonstrationWriter
from mummi.runs.names import closest

SUFFIXES = (".hdf5", ".h5")


class Format(NamedTuple):
    """One format of demonstrations.

    Attributes:
        name: in one word.
        told: by what it is recognised, which ends the message where nothing is.
        detect: whether a path holds it; it never raises for a path that exists.
        open: opens a path that holds it. What it raises and warns of names the path, the place in
            it, the value, and the remedy; see ``Hdf5Demonstrations``.
        write: what adds demonstrations to a path, given modalities, action size and env_args, see
            ``DemonstrationWriter``; None of a format that is only read.
    """

    name: str
    told: str
    detect: Callable[[pathlib.Path], bool]
    open: Callable[[pathlib.Path, Reading], DataSet]
    write: Callable[..., Writer] | None = None


def open_data(path: str | os.PathLike, reading: Reading | None = None) -> DataSet:
    """Opens demonstrations of whatever format.

    Args:
        path: a file or a folder.
        reading: which demonstrations and sensors, under which names.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: no format has such data, they are damaged, or they lack what ``reading`` names.
    """
    path = pathlib.Path(path)
    return find_format(path).open(path, reading or Reading())


def find_format(path: str | os.PathLike) -> Format:
    """The format of data.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: no format has such data.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r} of demonstrations")
    if found := _detected(path):
        return found
    if path.is_file():
        open_hdf5(path).close()  # tells what is truncated from what is another layout
    known = "; ".join(f"{form.name} ({form.told})" for form in FORMATS)
    raise ValueError(f"{path} is of no format of demonstrations that is read here: {known}")


def find_writer(name: str) -> Callable[..., Writer]:
    """What writes a format; see ``Format.write``.

    Raises:
        ValueError: there is no such format, or it is only read.
    """
    written = {form.name: form.write for form in FORMATS if form.write}
    if name not in written:
        known = " or ".join(written)
        raise ValueError(f"format {name!r} is not written, only {known}{closest(name, written)}")
    return written[name]


def _detected(path: pathlib.Path) -> Format | None:
    return next((form for form in FORMATS if form.detect(path)), None)


def _file(detect: Callable[[pathlib.Path], bool]) -> Callable[[pathlib.Path], bool]:
    """``detect`` for paths that are HDF5 files; false for all others."""
    return lambda path: path.is_file() and h5py.is_hdf5(path) and _readable(detect, path)


def _readable(detect: Callable[[pathlib.Path], bool], path: pathlib.Path) -> bool:
    try:
        return detect(path)
    except (OSError, KeyError, RuntimeError):  # as h5py raises for a damaged file
        return False


def _members(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a folder holds of data: HDF5 files, and folders of any format."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return [
        entry
        for entry in entries
        if entry.suffix in SUFFIXES or (entry.is_dir() and _detected(entry))
    ]


def _open_folder(folder: pathlib.Path, reading: Reading) -> Folder:
    members = {path: find_format(path) for path in _members(folder)}
    return Folder(folder, {p: functools.partial(f.open, p, reading) for p, f in members.items()})


FORMATS: tuple[Format, ...] = (
    Format(
        "libero",
        "HDF5 with problem_info in the attributes of data",
        _file(is_libero),
        LiberoDemonstrations,
    ),
    Format(
        "isaaclab",
        "HDF5 with data/demo_0 and groups in its obs, states or initial_state",
        _file(is_isaaclab),
        IsaacLabDemonstrations,
    ),
    Format(
        "robomimic",
        "HDF5 with data/demo_0/obs and data/demo_0/actions, which is also this package's own",
        _file(is_robomimic),
        Demonstrations,
        DemonstrationWriter,
    ),
    Format("minari", "HDF5 with episode_0", _file(is_minari), MinariDemonstrations),
    Format("aloha", "HDF5 with observations and action", _file(is_aloha), AlohaDemonstration),
    Format(
        "lerobot",
        "a folder with meta/info.json",
        is_lerobot,
        LeRobotDemonstrations,
        LeRobotWriter,
    ),
    Format(
        "calvin",
        "a folder with ep_start_end_ids.npy and episode_0000000.npz, a split of CALVIN",
        is_calvin,
        CalvinDemonstrations,
    ),
    Format(
        "folder",
        "a folder of .hdf5 or .h5 files or of folders of any format",
        lambda path: path.is_dir() and bool(_members(path)),
        _open_folder,
    ),
)
"""In the order in which they are tried: what is special before what is general."""
