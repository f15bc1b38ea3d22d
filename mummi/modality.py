"""The one declaration of a sensor stream."""

import dataclasses
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

    Raises:
        ValueError: for a name that is not an identifier, an unknown kind, or a shape that does
            not fit the kind.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]

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
