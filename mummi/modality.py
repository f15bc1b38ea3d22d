"""The one declaration of a sensor stream."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

Kind = Literal["image", "depth", "vector", "embedding"]


@dataclasses.dataclass(frozen=True)
class Modality:
    """A named sensor stream; encoders, replay, dropout scripts and tables all follow it.

    Attributes:
        name: unique within a task, for example ``rgb``; a Python identifier.
        kind: ``image`` [H, W, C] uint8; ``depth`` [H, W, 1] float32 in [-1, 1];
            ``vector`` [N] float32; ``embedding`` [N] float32 of a frozen encoder.
        shape: shape of one value, without batch or time.
        can_fail: False for what is told and not sensed, as an instruction: neither scripts of
            sensor dropout nor training hide it, and no evaluation removes it.

    Raises:
        ValueError: for a name that is not an identifier, an unknown kind, or a shape that does
            not fit the kind.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    can_fail: bool = True

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not self.name.isidentifier():
            raise ValueError(f"modality name {self.name!r} must be a Python identifier")
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"modality {self.name!r} has kind {self.kind!r}; "
                f"kinds are {', '.join(get_args(Kind))}"
            )
        rank = 3 if self.kind in ("image", "depth") else 1
        if len(self.shape) != rank or min(self.shape, default=0) < 1:
            raise ValueError(
                f"modality {self.name!r} of kind {self.kind!r} has shape {self.shape}; "
                f"it needs {rank} positive sizes"
            )
        if self.kind == "depth" and self.shape[-1] != 1:
            raise ValueError(
                f"depth modality {self.name!r} has shape {self.shape}; it needs (H, W, 1)"
            )

    @property
    def dtype(self) -> np.dtype:
        """dtype of a value: uint8 for images, float32 for everything else."""
        return np.dtype(np.uint8 if self.kind == "image" else np.float32)


def is_finite(modality: Modality, value: np.ndarray) -> np.ndarray | np.bool_:
    """Whether every number of a value is finite in the modality's dtype.

    A sensor whose value is not counts as one that did not deliver: real depth cameras send NaN and
    infinities wherever they see nothing.

    Args:
        modality: the sensor.
        value: one value of it [*shape], or many [..., *shape]; integers are always finite.

    Returns:
        bool [...], one for each value.
    """
    value = np.asarray(value)
    axes = tuple(range(value.ndim - len(modality.shape), value.ndim))
    if not np.issubdtype(value.dtype, np.floating):
        return np.ones(value.shape[: axes[0]], bool)[()]
    # Comparison is false for NaN, and also finds float64 that float32 cannot hold.
    return (np.abs(value) <= np.finfo(np.float32).max).all(axis=axes)


def require_can_fail(names: Sequence[str], modalities: Sequence[Modality], where: str = "") -> None:
    """Raises a ValueError unless every name is that of a modality that can fail.

    Args:
        names: what is to fail.
        modalities: those of the task.
        where: what names them, for example `` in --drop``.
    """
    known = {modality.name: modality for modality in modalities}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {close[0]!r}" if close else ""
            raise ValueError(
                f"unknown modality {name!r}{where}{hint}; this task has {', '.join(known)}"
            )
        if not known[name].can_fail:
            able = ", ".join(modality.name for modality in modalities if modality.can_fail)
            raise ValueError(f"modality {name!r}{where} cannot fail; those that can: {able}")
