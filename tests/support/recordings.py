"""The human demonstrations that robosuite's package carries, and short copies of them."""

import importlib.util
import pathlib
import shutil

import h5py

_PACKAGE = importlib.util.find_spec("robosuite")
FOLDER = pathlib.Path(_PACKAGE.origin if _PACKAGE else "").parent / "models/assets/demonstrations"


def short(name: str, folder: pathlib.Path, steps: int = 2, demos: int = 2) -> pathlib.Path:
    """The first steps of a recording, with its models beside it where they are files."""
    source = FOLDER / name
    path = folder / f"{source.name}.hdf5"
    if (source / "models").is_dir():
        shutil.copytree(source / "models", folder / "models")
    with h5py.File(source / "demo.hdf5") as whole, h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(whole["data"].attrs)
        for demo in list(whole["data"])[:demos]:
            data.create_group(demo).attrs["model_file"] = whole["data"][demo].attrs["model_file"]
            for array in ("states", "actions"):
                data[demo][array] = whole["data"][demo][array][100 : 100 + steps]
    return path
