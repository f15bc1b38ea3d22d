"""The thresholds of trust beside a run's checkpoints, of which each has its own."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mummi.modality import Modality
from mummi.runs.files import atomic


def path(logdir, step: int) -> pathlib.Path:
    """The file of a checkpoint's thresholds, ``LOGDIR/trust/STEP.npz``."""
    return pathlib.Path(logdir, "trust", f"{step}.npz")


def save(logdir, step: int, modalities: Sequence[Modality], arrays: Mapping) -> None:
    """Writes the thresholds of the checkpoint at ``step``, arrays by name."""
    names = np.array([m.name for m in modalities])
    with atomic(path(logdir, step)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, sensors=names, **arrays)


def load(logdir, step: int, modalities: Sequence[Modality], kind: Callable[..., Any]) -> Any:
    """The thresholds of the checkpoint at ``step``.

    Args:
        logdir: folder of the run.
        step: of the checkpoint.
        modalities: the sensors of the run.
        kind: makes them of the arrays by name.

    Raises:
        FileNotFoundError: they were not measured yet.
        ValueError: the file is damaged, from another version, or of other sensors.
    """
    file = path(logdir, step)
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is not there: trust was not measured yet for this checkpoint; "
            f"python -m experiments.evaluate --logdir {logdir} --trust on does it"
        )
    try:
        with file.open("rb") as stream, np.load(stream) as content:
            arrays = dict(content)
        names = arrays.pop("sensors").tolist()
        thresholds = kind(**arrays)
    except Exception as error:
        raise ValueError(
            f"{file} is damaged or from another version ({error}); remove it to measure it anew"
        ) from error
    if names != [m.name for m in modalities]:
        raise ValueError(
            f"{file} is of the sensors {', '.join(names)}, and this run has "
            f"{', '.join(m.name for m in modalities)}"
        )
    return thresholds
