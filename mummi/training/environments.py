"""What training sees of environments, whoever makes them."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from mummi.modality import Modality


@runtime_checkable
class Batch(Protocol):
    """One time step of each of K environments; the arrays belong to the reader.

    Attributes:
        values: one array a modality, [K, *shape] of its dtype; what stands where the sensor is not
            available carries no meaning.
        available: one bool array [K] a modality.
        reward: float32 [K], of the step that led here.
        is_first: bool [K], an episode begins.
        is_last: bool [K], no step follows in this episode.
        is_terminal: bool [K], the task ended by itself.
        restarted: bool [K], the episode before was lost and has no end, as its environment had to
            be replaced; this is the first step of another.
        info: K mappings of numbers worth logging at the end of an episode.
    """

    values: Mapping[str, np.ndarray]
    available: Mapping[str, np.ndarray]
    reward: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray
    restarted: np.ndarray
    info: Sequence[Mapping[str, float]]


@runtime_checkable
class Environments(Protocol):
    """K environments that step together.

    One whose episode has ended is reset by the next step, which ignores its action.

    Attributes:
        modalities: the sensors, in the order in which they are fused.
        action_size: A, number of action dimensions, each in [-1, 1].
        action_repeat: environment steps that an action lasts.
        restarts: how many environments had to be replaced so far.
        labels: names in ``Batch.info`` that say which episode it is, so that their mean says
            nothing and is not logged.
    """

    modalities: tuple[Modality, ...]
    action_size: int
    action_repeat: int
    restarts: int
    labels: Sequence[str]

    def __len__(self) -> int:
        """K."""

    def reset(self) -> Batch:
        """Starts a new episode everywhere."""

    def step_async(self, actions: np.ndarray) -> None:
        """Sends an action to each environment, float32 [K, A], and returns at once."""

    def step_wait(self) -> Batch:
        """Waits for the step that was sent."""

    def expert_action(self) -> np.ndarray:
        """What a scripted expert does in each environment, float32 [K, A].

        Raises:
            ValueError: there is none.
        """
