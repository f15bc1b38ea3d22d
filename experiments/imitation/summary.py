"""What data hold: sensors and their ranges, actions, what is missing, what was to be done."""

import collections
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from mummi.imitation import scaling
from mummi.imitation.demonstrations import INSTRUCTION, DataSet, Demonstration
from mummi.imitation.demonstrations.reading import DepthUnit
from mummi.imitation.depth import depth_scaling, require_depth

SHOWN = 10
"""Instructions that the table shows."""


class Summary:
    """Counts and limits of demonstrations, which are given one after the other.

    Args:
        path: of the data.
        form: name of their format.
        data: opened.
        unit: of depth.

    Raises:
        ValueError: a unit is named and there is no depth; from ``to_dict``, the data are not in it
            or in several.
    """

    def __init__(self, path: str, form: str, data: DataSet, unit: DepthUnit = "auto"):
        require_depth(data.modalities, unit)
        self._path, self._form, self._data, self._unit = path, form, data, unit
        self._lengths: list[int] = []
        self._limits: dict[str, dict[str, tuple[float, float]]] = {}
        self._missing = dict.fromkeys((m.name for m in data.modalities), 0)
        self._low = np.full(data.action_size, np.inf)
        self._high = np.full(data.action_size, -np.inf)
        self._instructions: collections.Counter[str] = collections.Counter()
        self._successes: list[bool] = []

    def add(self, name: str, demonstration: Demonstration) -> None:
        """Counts one, under its name."""
        self._lengths.append(len(demonstration.actions))
        low, high = scaling.action_limits([demonstration])
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        for sensor in self._missing:
            self._missing[sensor] += int((~demonstration.availability(sensor)).sum())
            if limits := scaling.value_limits(demonstration, sensor):
                self._limits.setdefault(sensor, {})[name] = limits
        if text := demonstration.attributes.get(INSTRUCTION):
            self._instructions[text] += 1
        if (success := demonstration.attributes.get("success")) is not None:
            self._successes.append(bool(success))

    def to_dict(self) -> dict[str, Any]:
        """What was counted, for JSON; ranges of sensors that never delivered are None."""
        steps = sum(self._lengths)
        sensors = {}
        for m in self._data.modalities:
            limits = self._limits.get(m.name)
            ends = None
            if limits:
                lows, highs = zip(*limits.values(), strict=True)
                ends = [min(lows), max(highs)]
            sensors[m.name] = {
                "kind": m.kind,
                "shape": list(m.shape),
                "dtype": str(m.dtype),
                "range": ends,
                "missing": self._missing[m.name] / steps,
            }
            if m.kind == "depth" and limits:
                depth = depth_scaling(m.name, limits, self._unit)
                sensors[m.name]["unit"] = depth.unit if depth else "unit"
        return {
            "data": self._path,
            "format": self._form,
            "demonstrations": len(self._lengths),
            "steps": steps,
            "lengths": [min(self._lengths), max(self._lengths)],
            "rate": self._data.attributes.get("rate"),
            "environment": self._data.attributes.get("env_args", {}).get("env_name"),
            "sensors": sensors,
            "actions": {"low": self._low.tolist(), "high": self._high.tolist()},
            "instructions": dict(self._instructions.most_common()),
            "success": {"told": len(self._successes), "succeeded": sum(self._successes)},
        }


def show(found: dict[str, Any], console: Console) -> None:
    """Prints what ``Summary.to_dict`` gives."""
    least, most = found["lengths"]
    lengths = f"{least} each" if least == most else f"{least} to {most} each"
    lines = [
        f"{found['data']}: format {found['format']}",
        f"demonstrations: {found['demonstrations']}, of {found['steps']} steps, {lengths}",
    ]
    if found["rate"]:
        lines.append(f"rate: {found['rate']:g} steps a second")
    if found["environment"]:
        lines.append(f"recorded in: {found['environment']}")
    if told := found["success"]["told"]:
        lines.append(f"success: {found['success']['succeeded']} of {told}")
    instructions = found["instructions"]
    for text, count in list(instructions.items())[:SHOWN]:
        lines.append(f"instruction: {text} ({count})")
    if len(instructions) > SHOWN:
        lines.append(f"and {len(instructions) - SHOWN} other instructions")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    console.print(_sensors(found))
    console.print(_actions(found))
    low, high = found["actions"]["low"], found["actions"]["high"]
    if scaling.exceeds(low, high):
        console.print("Actions go beyond [-1, 1]: experiments.imitate scales each to [-1, 1].")


def _sensors(found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("sensor", overflow="fold")
    for column in ("kind", "shape", "dtype"):
        table.add_column(column)
    for column in ("least", "most", "missing"):
        table.add_column(column, justify="right")
    for name, sensor in found["sensors"].items():
        unit = f", {sensor['unit']}" if sensor.get("unit", "unit") != "unit" else ""
        limits = [f"{x:.4g}" for x in sensor["range"]] if sensor["range"] else ["–", "–"]
        shape = "×".join(map(str, sensor["shape"]))
        missing = f"{sensor['missing']:.1%}" if sensor["missing"] else "none"
        table.add_row(name, sensor["kind"] + unit, shape, sensor["dtype"], *limits, missing)
    return table


def _actions(found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("action", "least", "most"):
        table.add_column(column, justify="right")
    low, high = found["actions"]["low"], found["actions"]["high"]
    for dimension, (least, most) in enumerate(zip(low, high, strict=True)):
        table.add_row(str(dimension), f"{least:.4g}", f"{most:.4g}")
    return table
