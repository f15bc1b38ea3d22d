"""Sweeps that a YAML file describes: the same runs for everybody who reads it."""

import pathlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import yaml

from mummi.config import Config
from mummi.runs.names import closest

GRID = {
    "command": "train or imitate",
    "world_model": "the name of a variant",
    "tasks": "a list of names",
    "methods": "a list of names",
    "seeds": "a list of whole numbers",
    "preset": "a name",
    "episodes": "a count, or FIRST:END",
}
"""Keys of a file that are flags of the command, and what they hold."""
KEYS = ("about", *GRID, "settings", "variants")


class Sweep(NamedTuple):
    """What a file says.

    Attributes:
        grid: flags of the command, as fields of its arguments.
        flags: arguments of each run, by the name of the variant; one without a name where the file
            has no variants.
    """

    grid: dict[str, Any]
    flags: dict[str, tuple[str, ...]]


def read(path: str) -> Sweep:
    """Reads a description.

    The file is a mapping: ``about``, a text that says what is asked; ``command``, ``world_model``,
    ``tasks``, ``methods``, ``seeds``, ``preset`` and ``episodes`` as the command's flags;
    ``settings``, settings of experiments.train, or of the command that it names, for all runs; and
    ``variants``, more of them by the name of the variant. The first variant is what the others are
    compared with.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such mapping; the message names the key.
    """
    try:
        content = yaml.safe_load(pathlib.Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no mapping; its keys are {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise ValueError(f"{path}: unknown key {key!r}{closest(str(key), KEYS)}")
    for key in GRID:
        if key in content and not _fits(key, content[key]):
            raise ValueError(f"{path}: {key} is {content[key]!r}; it must be {GRID[key]}")
    variants = content.get("variants", {"": {}})
    if not isinstance(variants, dict) or not variants:
        raise ValueError(f"{path}: variants is {variants!r}; it maps names to settings")
    common = _flags(path, "settings", content.get("settings", {}))
    flags = {}
    for name, settings in variants.items():
        if str(name) != str(name).replace("/", "").strip("."):
            raise ValueError(f"{path}: a variant is named {name!r}, which names no folder")
        flags[str(name)] = (*common, *_flags(path, f"variant {name}", settings or {}))
    grid = {key: content[key] for key in GRID if key in content}
    grid |= {key: tuple(grid[key]) for key in ("tasks", "methods", "seeds") if key in grid}
    return Sweep(grid, flags)


def _fits(key: str, value: Any) -> bool:
    """Whether a value is of the kind that a key of ``GRID`` holds."""
    if key in ("tasks", "methods", "seeds"):
        kind = int if key == "seeds" else str
        return isinstance(value, list) and bool(value) and all(type(x) is kind for x in value)
    if key == "command":
        return value in ("train", "imitate")
    return type(value) is str or (key == "episodes" and type(value) is int)


def _flags(path: str, where: str, settings: Any) -> tuple[str, ...]:
    """Settings by name, also nested, as words of a command line."""
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: {where} is {settings!r}; it maps names of settings to values")
    words: list[str] = []
    for name, value in _flat(settings).items():
        words += _words(name.replace("_", "-"), value)
    return tuple(words)


def _words(name: str, value: Any) -> list[str]:
    """One setting as words. Only what a run is configured by is given a truth as a word."""
    first = name.split(".")[0].replace("-", "_")
    if isinstance(value, bool) and first not in {field.name for field in fields(Config)}:
        room, dot, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{room}{dot}no-{last}"]
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
