"""What every action head is given and offers, and the table of heads by name."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array

from mummi.imitation.chunks.baselines import BASELINES
from mummi.imitation.chunks.config import CONFIGS, ChunkConfig
from mummi.modality import Modality
from mummi.presets import CHUNKS, WINDOWS


class Percept(NamedTuple):
    """What a head sees of one step; leading axes [T] in a trajectory, [B] when acting.

    Attributes:
        feature: latent state [h, s^c, s^f] of the frozen world model, float32 [..., F]; F is 0 for
            a head with encoders of its own, which no world model serves.
        embeddings: what each sensor alone says, float32 [..., E_m]; zeros where it is missing, and
            none at all without a world model.
        values: the sensors' raw values [..., *shape]; anything where one is missing.
        available: did each sensor deliver, bool [...].
    """

    feature: Array | np.ndarray
    embeddings: Mapping[str, Array | np.ndarray]
    values: Mapping[str, Array | np.ndarray]
    available: Mapping[str, Array | np.ndarray]


class Trajectory(NamedTuple):
    """A demonstration as a head sees it: ``action[t]`` [T, A] follows ``percept[t]``.

    Attributes:
        percept: what was seen.
        action: what the demonstrator wanted.
        executed: what was done, [T, A], where that is something else.
    """

    percept: Percept
    action: np.ndarray
    executed: np.ndarray | None = None

    @property
    def recording(self) -> np.ndarray:
        """What leads along the same path when it is played in open loop, [T, A].

        What was wanted would not: it holds answers to disturbances that do not come again.
        """
        return self.action if self.executed is None else self.executed


class Sizes(NamedTuple):
    """What a head is built for: the sensors, the sizes F, E_m and A, and what actions are.

    Attributes:
        modalities: the sensors.
        feature, embeddings, action: F, E_m by sensor, and A.
        two_valued: numbers of the actions that take one of two values, which may be given as any
            number between them: ``Decisions`` decides.
    """

    modalities: tuple[Modality, ...]
    feature: int
    embeddings: Mapping[str, int]
    action: int
    two_valued: tuple[int, ...] = ()


Report = Callable[[int, dict[str, float]], None]
"""Takes the number of an update and its metrics."""


def no_report(update: int, metrics: dict[str, float]) -> None:
    """Reports to nobody."""


@runtime_checkable
class Head(Protocol):
    """Chooses actions in the environment's scale, learned from demonstrations.

    A head is built as ``Head(config, sizes)``; its ``act`` follows ``fit`` or ``restore``.
    """

    def __init__(self, config: Any, sizes: Sizes): ...

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Learns from scratch.

        Args:
            trajectories: what is learned from.
            seed: of whatever is drawn.
            report: takes metrics along the way.
            held_out: nothing is learned from these. A head that trains by gradient reports
                ``held_out/loss``, and ``held_out/error`` of the actions over their variance.

        Raises:
            ValueError: demonstrations that this head cannot learn from.
        """

    def reset(self, batch: int) -> Any:
        """What the head remembers before the first step of ``batch`` robots."""

    def act(
        self, carry: Any, percept: Percept, is_first: np.ndarray, key: Array
    ) -> tuple[np.ndarray, Any]:
        """Actions float32 [B, A] for a percept [B]; ``is_first`` bool [B] forgets a robot's past.

        ``key`` is a JAX key of this step's own. Returns the actions and the new carry.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that ``fit`` learned, as arrays by name."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` of a head with the same config and sizes gave."""


class HeadKind(NamedTuple):
    """Where a head is defined, and its defaults.

    Attributes:
        module, head, config: its module, class and config dataclass.
        presets: fields that some presets of ``mummi.presets`` change, by their names.
        blind: it reads no sensor, so that none can be missing.
    """

    module: str
    head: str
    config: str
    presets: Mapping[str, Mapping[str, Any]] = {}
    blind: bool = False

    def default(self, preset: str = "paper") -> Any:
        """The config that the head has without flags in a run of ``preset``."""
        config = getattr(importlib.import_module(self.module), self.config)
        return config(**self.presets.get(preset, {}))

    def build(self, config: Any, sizes: Sizes) -> Head:
        """The head, untrained."""
        return getattr(importlib.import_module(self.module), self.head)(config, sizes)


def _chunks(config: type[ChunkConfig], fixed: Collection[str] = ()) -> HeadKind:
    """The kind of a chunk head; ``presets`` keeps of each size what the objective has.

    What is ``fixed`` is as in ``config`` in every preset.
    """
    own = {field.name for field in dataclasses.fields(config)} - set(fixed)
    presets = {
        preset: {name: size for name, size in sizes.items() if name in own}
        for preset, sizes in CHUNKS.items()
    }
    return HeadKind("mummi.imitation.chunks.head", "ChunkHead", config.__name__, presets=presets)


_BC = {
    "laptop": {"windows": WINDOWS["laptop"], "batch": 64},
    "debug": {"windows": WINDOWS["debug"], "batch": 8},
}


HEADS: dict[str, HeadKind] = {
    "bc": HeadKind("mummi.imitation.heads.bc", "BehaviourCloning", "BCConfig", presets=_BC),
    "knn": HeadKind("mummi.imitation.heads.knn", "NearestNeighbours", "KNNConfig"),
    "replay": HeadKind("mummi.imitation.heads.replay", "RandomReplay", "ReplayConfig", blind=True),
    "retrieval": HeadKind(
        "mummi.imitation.heads.retrieval", "RetrievalHead", "RetrievalHeadConfig"
    ),
    **{name: _chunks(config) for name, config in CONFIGS.items()},
    # What a baseline says of itself is what was published of it, and fixed but for pictures: those
    # are a matter of the preset, for a CPU cannot train a ResNet.
    **{
        name: _chunks(config, inspect.get_annotations(config).keys() - {"pictures"})
        for name, config in BASELINES.items()
    },
}
"""Head by name; each is imported when it is asked for."""
