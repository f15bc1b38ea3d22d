"""What heads with encoders of their own see: the sensors as they deliver, and no world model."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Array

from mummi.imitation.heads.head import Percept, Sizes, Trajectory
from mummi.imitation.latents import View, deliverable, trajectory, usable
from mummi.modality import Modality
from mummi.model.trust import Thresholds


class Nothing(NamedTuple):
    """What is remembered of robots without a world model, and that nobody judges."""

    verdict: None = None


class RawSensors:
    """Takes the place of ``Latents``; methods as there.

    Args:
        modalities: the sensors.
        action_size: A.

    Attributes:
        sizes: what a head reads; of features and embeddings nothing.
    """

    def __init__(self, modalities: Sequence[Modality], action_size: int):
        self.sizes = Sizes(tuple(modalities), 0, {}, action_size)

    @property
    def model(self) -> NoReturn:
        """Raises a ValueError: there is none."""
        raise ValueError(
            "this head has encoders of its own and no world model, against which sensors could be "
            "held: it acts without trust"
        )

    def trusting(self, thresholds: Thresholds) -> NoReturn:
        """Raises a ValueError: nothing tells which sensors lie."""
        return self.model

    def start(self, batch: int) -> Nothing:
        """Nothing is remembered."""
        return Nothing()

    def step(
        self,
        followed: Nothing,
        values: Mapping[str, Array | np.ndarray],
        available: Mapping[str, Array | np.ndarray],
        action: Array | np.ndarray,
        is_first: Array | np.ndarray,
    ) -> tuple[Percept, Nothing]:
        """The percept [B] of one step, in which a sensor is available if its value is finite."""
        available = usable(self.sizes.modalities, values, available)
        return Percept(np.zeros((len(is_first), 0), np.float32), {}, values, available), followed

    def encode(self, views: Sequence[View]) -> list[Trajectory]:
        """What ``step`` gives along each view, with the actions that were wanted."""
        return [
            trajectory(
                np.zeros((len(view.actions), 0), np.float32),
                {},
                deliverable(view, self.sizes.modalities),
            )
            for view in views
        ]
