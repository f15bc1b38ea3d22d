"""Episodes of ALOHA: a file each, of cameras and joints, as ACT's scripts record them.

```
observations/images/CAMERA  uint8 [T, H, W, 3], or JPEG bytes padded with zeros [T, N]
observations/qpos, qvel, …  [T, N]
action                      [T, A]
```
"""

import io
import os
import pathlib

import h5py
import numpy as np
from PIL import Image, UnidentifiedImageError

from mummi.imitation.demonstrations.groups import Groups
from mummi.imitation.demonstrations.hdf5 import Hdf5Demonstrations
from mummi.imitation.demonstrations.sensors import Form
from mummi.modality import Modality

PICTURES = "observations/images/"


class AlohaDemonstration(Hdf5Demonstrations):
    """One episode of ALOHA, compressed or not; the only one of its file.

    Cameras have the names that they have under ``images``.
    """

    parent, observed, actions = "/", "observations", "action"

    def _opened(self, path: str | os.PathLike) -> Groups:
        return _Whole(path, self.parent)

    def _listed(self) -> tuple[str, ...]:
        return (pathlib.Path(self._path).stem,)

    def _sensors(self, demo: str) -> dict[str, str]:
        found = super()._sensors(demo)
        return {
            name.removeprefix("images_") if place.startswith(PICTURES) else name: place
            for name, place in found.items()
        }

    def _form(self, demo: str, place: str) -> Form:
        form = super()._form(demo, place)
        if not _is_compressed(place, form):
            return form
        first = self._groups.dataset(demo, place)[0]
        return Form(form.dtype, self._decoded(demo, place, 0, first).shape, "image")

    def _stored(self, demo: str, place: str, modality: Modality, steps: int) -> np.ndarray:
        form = super()._form(demo, place)
        if not _is_compressed(place, form):
            return super()._stored(demo, place, modality, steps)
        rows = self._groups.array(demo, place, (steps, *form.shape), image=True)
        pictures = [self._decoded(demo, place, step, row) for step, row in enumerate(rows)]
        for step, picture in enumerate(pictures):
            if picture.shape != modality.shape:
                raise self._groups.error(
                    *(demo, place, f"has a picture of {picture.shape} at step {step}"),
                    f"{modality.shape}, as the first is",
                )
        return np.stack(pictures)

    def _decoded(self, demo: str, place: str, step: int, row: np.ndarray) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(row.tobytes())) as picture:
                # ACT hands RGB to OpenCV, which takes it for BGR when it packs and unpacks.
                return np.asarray(picture.convert("RGB"))[..., ::-1]
        except (UnidentifiedImageError, OSError) as error:
            raise self._groups.error(
                *(demo, place, f"has at step {step} bytes that are no picture ({error})"),
                "JPEG or PNG: mend the file or leave the camera out with --obs",
            ) from error


class _Whole(Groups):
    """A file that is itself the group of its only demonstration."""

    def group(self, demo: str) -> h5py.Group:
        return self.file["/"]

    def within(self, demo: str) -> str:
        return ""

    def where(self, demo: str) -> str:
        return f"{self.path}: "


def _is_compressed(place: str, form: Form) -> bool:
    return place.startswith(PICTURES) and len(form.shape) == 1


def is_aloha(path: pathlib.Path) -> bool:
    """Whether a file has ``observations`` and ``action`` at its top."""
    with h5py.File(path) as file:
        found = [file.get(name) for name in ("observations", "action")]
        return isinstance(found[0], h5py.Group) and isinstance(found[1], h5py.Dataset)
