"""In which unit depth is, and what brings it into [0, 1]."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from mummi.imitation.demonstrations.reading import DepthUnit
from mummi.modality import Modality

BUFFER = 0.9
"""Least value of a depth buffer, whose values crowd below 1."""
METRES = 100.0
"""Largest depth that is taken for metres; larger numbers are millimetres."""

Limits = tuple[float, float]
"""Least and largest number of a sensor where it delivered."""


@dataclasses.dataclass(frozen=True)
class Depth:
    """What the numbers of a depth sensor mean.

    Attributes:
        unit: millimetres, metres, or buffer.
        near: the number that becomes 0.
        far: the number that becomes 1.
    """

    unit: str
    near: float
    far: float


def depth_scaling(
    name: str, limits: Mapping[str, Limits], unit: DepthUnit = "auto"
) -> Depth | None:
    """What brings a depth sensor into [0, 1], None where it is in [-1, 1] in a unit of its own.

    Args:
        name: of the sensor, for messages.
        limits: of its values, by demonstration; at least one.
        unit: of them; ``auto`` tells it by the limits.

    Raises:
        ValueError: the values are not in the unit, or demonstrations are in several.
    """
    near, far = min(low for low, _ in limits.values()), max(high for _, high in limits.values())
    told = f"depth sensor {name!r} has values from {near:.4g} to {far:.4g}"
    if unit == "auto":
        unit = _unit(near, far)
        require_one_unit(name, limits, unit)
    if unit == "unit":
        if near < -1 or far > 1:
            raise ValueError(f"{told}, which are not in [-1, 1], as --depth unit says")
        return None
    if near < 0:
        raise ValueError(
            f"{told}, and {unit} are never negative: mend the data or name another unit by --depth"
        )
    if unit == "buffer" and far > 1:
        raise ValueError(f"{told}, and a depth buffer ends at 1: name another unit by --depth")
    near = near if unit == "buffer" else 0.0
    return Depth(unit, near, far if far > near else near + 1)


def require_depth(modalities: Sequence[Modality], unit: DepthUnit) -> None:
    """Raises a ValueError where a unit is named and there is no depth."""
    if unit != "auto" and all(m.kind != "depth" for m in modalities):
        names = ", ".join(m.name for m in modalities)
        raise ValueError(f"--depth {unit} is given, and no sensor is depth (they are {names})")


def require_one_unit(name: str, limits: Mapping[str, Limits], unit: DepthUnit) -> None:
    """Raises a ValueError where a demonstration alone looks like another unit.

    Metres may all be below 1, and zeros, of a sensor that saw nothing, are of any unit.

    Args:
        name: of the sensor, for messages.
        limits: of its values, by demonstration.
        unit: of all of them.
    """
    most = {"millimetres": math.inf, "metres": METRES}.get(unit, 1.0)
    for demonstration, (near, far) in limits.items():
        small = unit == "millimetres" and 0 < far <= METRES
        crowded = unit != "buffer" and BUFFER <= near < far <= 1
        if small or crowded or far > most:
            told = "in a unit of their own in [-1, 1]" if unit == "unit" else f"in {unit}"
            raise ValueError(
                f"depth sensor {name!r} has values from {near:.4g} to {far:.4g} in "
                f"{demonstration!r}, and the others look as if they were {told}: bring them to one "
                "unit, or name it by --depth where it is one"
            )


def _unit(near: float, far: float) -> DepthUnit:
    if far > 1:
        return "metres" if far <= METRES else "millimetres"
    return "buffer" if near >= BUFFER else "unit"
