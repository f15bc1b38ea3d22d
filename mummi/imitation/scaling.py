"""From the numbers of data to those that are learned from, and back: actions, depth, pictures.

They are kept in the folder of a run, ``scaling.yaml``, as whoever acts speaks the data's language:
values come and actions go in the units of the data.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import yaml
from numpy.typing import ArrayLike

from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.demonstrations.reading import DepthUnit
from mummi.imitation.depth import Depth, depth_scaling, require_depth
from mummi.imitation.pictures import Picture, resize
from mummi.modality import Modality
from mummi.runs.files import atomic
from mummi.runs.record import from_dict, to_dict

FILE = "scaling.yaml"
SLACK = 1e-3
"""How far beyond [-1, 1] actions may be that count as within."""
CONSTANT = 1e-6
"""Standard deviation below which a number never varies."""


@dataclasses.dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each number of a vector, which become 0 and 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Maps of the data into what is learned from; by default all stays as it is.

    Attributes:
        low: for each dimension the action that becomes -1; empty where actions stay.
        high: the one that becomes 1.
        depth: by sensor; one that is not named stays.
        pictures: by sensor, of images and depth that change their size.
        vectors: by sensor, of those that are standardised.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    depth: Mapping[str, Depth] = dataclasses.field(default_factory=dict)
    pictures: Mapping[str, Picture] = dataclasses.field(default_factory=dict)
    vectors: Mapping[str, Standard] = dataclasses.field(default_factory=dict)

    def learned(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] of the data as those that are learned, float32."""
        if not self.low:
            return np.asarray(actions, np.float32)
        low, high = np.array(self.low), np.array(self.high)
        return ((np.asarray(actions, np.float64) - low) / (high - low) * 2 - 1).astype(np.float32)

    def acted(self, actions: np.ndarray) -> np.ndarray:
        """Learned actions [..., A] as those of the data, float32."""
        if not self.low:
            return np.asarray(actions, np.float32)
        low, high = np.array(self.low), np.array(self.high)
        return (low + (np.asarray(actions, np.float64) + 1) / 2 * (high - low)).astype(np.float32)

    def seen(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values by sensor [*lead, *shape] as they are learned from.

        Depth is in [0, 1], pictures and vectors as ``pictures`` and ``vectors`` say, all others as
        they are. What is not finite stays so.
        """
        found = dict(values)
        for name, picture in self.pictures.items():
            if name in found:
                found[name] = resize(found[name], picture.learned)
        for name, vector in self.vectors.items():
            if name in found:
                standard = (np.asarray(found[name]) - np.array(vector.mean)) / np.array(vector.std)
                found[name] = standard.astype(np.float32)
        for name, depth in self.depth.items():
            if name in found:
                share = (np.asarray(found[name]) - depth.near) / (depth.far - depth.near)
                found[name] = np.clip(share, 0, 1).astype(np.float32)
        return found

    def given(self, modalities: Sequence[Modality]) -> tuple[Modality, ...]:
        """Sensors that are learned from, with the shapes that they have in the data."""
        return self._reshaped(modalities, {n: p.given for n, p in self.pictures.items()})

    def reduced(self, modalities: Sequence[Modality]) -> tuple[Modality, ...]:
        """The inverse of ``given``."""
        return self._reshaped(modalities, {n: p.learned for n, p in self.pictures.items()})

    def _reshaped(self, modalities, sizes):
        return tuple(
            dataclasses.replace(m, shape=(*sizes.get(m.name, m.shape[:-1]), m.shape[-1]))
            for m in modalities
        )

    def demonstration(self, recorded: Demonstration) -> Demonstration:
        """A demonstration of the data as it is learned from."""
        executed = recorded.executed
        return recorded._replace(
            values=self.seen(recorded.values),
            actions=self.learned(recorded.actions),
            executed=None if executed is None else self.learned(executed),
        )


KINDS = {"depth": Depth, "pictures": Picture, "vectors": Standard}
"""What ``Scaling`` has by sensor."""


def find(
    demonstrations: Mapping[str, Demonstration],
    modalities: Sequence[Modality],
    unit: DepthUnit = "auto",
) -> Scaling:
    """What brings actions into [-1, 1] and depth into [0, 1].

    Where all actions are in [-1, 1] they stay, else each dimension's limits become -1 and 1.

    Args:
        demonstrations: at least one, by name.
        modalities: their sensors.
        unit: of depth; ``auto`` tells it by the limits of each sensor.

    Raises:
        ValueError: depth is not in the unit or in several, or ``unit`` is named and there is no
            depth.
    """
    low, high = action_limits(tuple(demonstrations.values()))
    require_depth(modalities, unit)
    depth = {}
    for m in modalities:
        limits = all_limits(demonstrations, m.name) if m.kind == "depth" else {}
        if limits and (found := depth_scaling(m.name, limits, unit)):
            depth[m.name] = found
    if not exceeds(low, high):
        return Scaling(depth=depth)
    still = high == low
    low, high = np.where(still, low - 1, low), np.where(still, high + 1, high)
    return Scaling(tuple(low.tolist()), tuple(high.tolist()), depth)


def standards(
    demonstrations: Sequence[Demonstration], modalities: Sequence[Modality]
) -> dict[str, Standard]:
    """Mean and standard deviation of each vector where it delivered.

    A number that never varies keeps its unit, and a vector that never delivered is not named.
    """
    found = {}
    for m in modalities:
        if m.kind != "vector":
            continue
        rows = np.concatenate([d.values[m.name][d.availability(m.name)] for d in demonstrations])
        if len(rows):
            mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
            std = np.where(std < CONSTANT, 1.0, std)
            found[m.name] = Standard(tuple(mean.tolist()), tuple(std.tolist()))
    return found


def exceeds(low: ArrayLike, high: ArrayLike) -> bool:
    """Whether actions between these limits [A] go beyond [-1, 1]."""
    return bool(max(-np.min(low), np.max(high)) > 1 + SLACK)


def action_limits(demonstrations: Sequence[Demonstration]) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest action of each dimension, wanted or executed, float64 [A]."""
    arrays = [a for d in demonstrations for a in (d.actions, d.executed) if a is not None]
    low, high = np.min([a.min(0) for a in arrays], 0), np.max([a.max(0) for a in arrays], 0)
    return low.astype(np.float64), high.astype(np.float64)


def value_limits(demonstration: Demonstration, name: str) -> tuple[float, float] | None:
    """Least and largest number of a sensor where it delivered, None where it never did."""
    delivered = demonstration.values[name][demonstration.availability(name)]
    return (float(delivered.min()), float(delivered.max())) if len(delivered) else None


def all_limits(
    demonstrations: Mapping[str, Demonstration], name: str
) -> dict[str, tuple[float, float]]:
    """``value_limits`` of each demonstration in which the sensor delivered."""
    found = {key: value_limits(one, name) for key, one in demonstrations.items()}
    return {key: limits for key, limits in found.items() if limits}


def require_within(demonstrations: Sequence[Demonstration], scaling: Scaling, source: str) -> None:
    """Raises a ValueError where actions go beyond what ``source`` has learned.

    Args:
        demonstrations: of the data.
        scaling: that of the run.
        source: folder of the run whose world model is taken.
    """
    low, high = (scaling.learned(limits) for limits in action_limits(demonstrations))
    for dimension, (least, most) in enumerate(zip(low, high, strict=True)):
        if exceeds([least], [most]):
            given = action_limits(demonstrations)
            known = scaling.acted(np.array([[-1.0], [1.0]]) * np.ones(len(low)))[:, dimension]
            raise ValueError(
                f"dimension {dimension} of the actions goes from {given[0][dimension]:.4g} to "
                f"{given[1][dimension]:.4g}, and the world model of {source!r} has learned "
                f"{known[0]:.4g} to {known[1]:.4g}: leave --world-model out to train one on these "
                "data"
            )


def describe(scaling: Scaling) -> list[str]:
    """What is changed: a line for actions and one for each camera; none if nothing is."""
    lines = []
    if scaling.low:
        limits = zip(scaling.low, scaling.high, strict=True)
        told = ", ".join(f"[{low:.4g}, {high:.4g}]" for low, high in limits)
        lines.append(f"actions are scaled from {told} to [-1, 1], and back when acting")
    for name, depth in scaling.depth.items():
        what = "a depth buffer" if depth.unit == "buffer" else f"in {depth.unit}"
        lines.append(
            f"depth {name!r} is {what}, scaled from [{depth.near:.4g}, {depth.far:.4g}] to [0, 1], "
            "also when acting"
        )
    for name, p in scaling.pictures.items():
        given, learned = (f"{height}×{width}" for height, width in (p.given, p.learned))
        lines.append(f"pictures {name!r} are resized from {given} to {learned}, also when acting")
    return lines


def save(logdir, scaling: Scaling) -> None:
    """Writes ``scaling.yaml``, whole or not at all.

    Raises:
        ValueError: the run has learned from data of other limits already.
    """
    if (pathlib.Path(logdir) / FILE).is_file() and (before := load(logdir)) != scaling:
        raise ValueError(
            f"the data changed since {str(logdir)!r} was started: their limits are {scaling}, and "
            f"were {before}; give another --logdir"
        )
    content = {"low": list(scaling.low), "high": list(scaling.high)}
    for kind in KINDS:
        entries = getattr(scaling, kind).items()
        content[kind] = {name: to_dict(entry) for name, entry in entries}
    with atomic(pathlib.Path(logdir) / FILE) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))


def load(logdir) -> Scaling:
    """Reads ``scaling.yaml``; a run without it changes nothing.

    Raises:
        ValueError: the file is damaged.
    """
    path = pathlib.Path(logdir) / FILE
    if not path.is_file():
        return Scaling()
    try:
        content = yaml.safe_load(path.read_text())
        low, high = (tuple(float(x) for x in content[name]) for name in ("low", "high"))
        sensors = {
            name: {str(n): from_dict(kind, entry) for n, entry in content.get(name, {}).items()}
            for name, kind in KINDS.items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or from another version: {error}") from error
    if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=False)):
        raise ValueError(f"{path} is damaged: its limits are {low} and {high}")
    return Scaling(low, high, **sensors)
