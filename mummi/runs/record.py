"""The folder of a run: what it was, so that it can be resumed, evaluated and deployed."""

import contextlib
import dataclasses
import pathlib
import types
import typing
from typing import NamedTuple

import yaml

from mummi.config import Config
from mummi.modality import Modality
from mummi.runs.files import atomic
from mummi.runs.names import closest

FORMAT = 2
"""Version of ``config.yaml``, of the settings and of the networks that they describe."""
UNSET = "the default"
"""Stands for an entry of a mapping that is not there."""


class Run(NamedTuple):
    """What a run was started with; ``script`` is the sensor dropout that ``missing`` names."""

    config: Config
    modalities: tuple[Modality, ...]
    action_size: int
    script: dict | None = None


def to_dict(config) -> dict:
    """A config as plain dictionaries and lists, ready for YAML."""
    return {
        field.name: to_dict(value)
        if dataclasses.is_dataclass(value := getattr(config, field.name))
        else (list(value) if isinstance(value, tuple) else value)
        for field in dataclasses.fields(config)
    }


def from_dict(kind: type, values: typing.Any, where: str = "") -> typing.Any:
    """The config dataclass ``kind`` from what ``to_dict`` gave.

    A setting that a resumed run may change is the default where an older version lacked it.

    Raises:
        ValueError: an unknown, missing or ill-typed field, by its name.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"config section {where.rstrip('.') or 'config'!r} is {values!r}, not a mapping"
        )
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)
    hints = {field.name: hints[field.name] for field in fields}
    optional = {field.name for field in fields if field.metadata.get("free")}
    for name in values:
        if name not in hints:
            raise ValueError(f"unknown config field {where + name!r}{closest(name, hints)}")
    for name in hints:
        if name not in values and name not in optional:
            raise ValueError(f"config field {where + name!r} is missing")
    return kind(**{n: _convert(hints[n], v, where + n) for n, v in values.items()})


def _convert(hint, value, where: str):
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where + ".")
    try:
        return _fit(hint, value)
    except TypeError:
        right = f"no {hint if typing.get_origin(hint) else hint.__name__}"
        if typing.get_origin(hint) is typing.Literal:
            right = f"none of {', '.join(map(repr, typing.get_args(hint)))}"
        raise ValueError(f"config field {where!r} is {value!r}, which is {right}") from None


def _fit(hint, value):
    """``value`` as YAML holds it, as the type ``hint``; a TypeError where it is none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object or (origin is typing.Literal and value in arguments):
        return value
    if origin in (types.UnionType, typing.Union):
        # The type that it has already is preferred: an integer is also a float.
        for member in sorted(arguments, key=lambda member: type(value) is not member):
            with contextlib.suppress(TypeError):
                return _fit(member, value)
    elif origin is tuple and isinstance(value, list):
        return tuple(_fit(arguments[0], x) for x in value)
    elif origin is dict and isinstance(value, dict):
        return {_fit(arguments[0], k): _fit(arguments[1], v) for k, v in value.items()}
    elif hint is float and type(value) is int:
        return float(value)
    elif origin is None and type(value) is hint:
        return value
    raise TypeError


def save(logdir, run: Run) -> None:
    """Writes ``config.yaml``, whole or not at all."""
    path = pathlib.Path(logdir) / "config.yaml"
    content = {
        "format": FORMAT,
        "config": to_dict(run.config),
        "modalities": [dataclasses.asdict(m) | {"shape": list(m.shape)} for m in run.modalities],
        "action_size": run.action_size,
        "script": run.script,
    }
    with atomic(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))


def load(logdir) -> Run:
    """Reads ``config.yaml``.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: the file is damaged or of another version.
    """
    path = pathlib.Path(logdir) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(logdir)!r} is no run: it has no config.yaml; give the --logdir of "
            "experiments.train"
        )
    try:
        content = yaml.safe_load(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(
                f"it is of format {content['format']!r} and this version of mummi reads {FORMAT}, "
                "whose settings and networks differ: train anew, or use the version that wrote it"
            )
        modalities = tuple(
            Modality(m["name"], m["kind"], tuple(m["shape"]), m["can_fail"])
            for m in content["modalities"]
        )
        config, action_size = from_dict(Config, content["config"]), int(content["action_size"])
        return Run(config, modalities, action_size, content["script"])
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or from another version: {error}") from error


def check_folder(logdir, config: Config) -> bool:
    """Whether ``logdir`` holds this very run, to be resumed, or is free for it.

    Raises:
        ValueError: the folder holds something else, or a run with other settings.
    """
    logdir = pathlib.Path(logdir)
    if logdir.exists() and not logdir.is_dir():
        raise ValueError(f"--logdir {str(logdir)!r} is a file; give a folder")
    if (logdir / "config.yaml").is_file():
        for name, old, new in differences(load(logdir).config, config):
            raise ValueError(
                f"{str(logdir)!r} holds a run with {name} = {old!r}, and this command asks for "
                f"{new!r}: repeat its settings, or give another --logdir"
            )
        return True
    entries = {path.name for path in logdir.iterdir()} if logdir.is_dir() else set()
    foreign = sorted(entries - {"config.yaml.tmp", "imitation.yaml.tmp", "imitation.yaml", ".lock"})
    if foreign:
        raise ValueError(
            f"--logdir {str(logdir)!r} is not empty ({foreign[0]!r}) and holds no run; "
            "give a new folder"
        )
    return False


def open_run(logdir, run: Run) -> bool:
    """Starts the run in ``logdir``, or resumes it there; returns whether it resumes.

    Raises:
        ValueError: as ``check_folder``, or the task's sensors or the script of sensor dropout are
            no longer the run's.
    """
    resumes = check_folder(logdir, run.config)
    if resumes:
        before = load(logdir)
        if (before.modalities, before.action_size) != (run.modalities, run.action_size):
            raise ValueError(f"the sensors of {run.config.task!r} changed since {str(logdir)!r}")
        if before.script != run.script:
            raise ValueError(
                f"the script --missing {run.config.missing!r} changed since {str(logdir)!r} was "
                "started with it"
            )
    save(logdir, run)
    return resumes


def differences(before, after, where: str = ""):
    """Yields (field, before, after) of settings that a resumed run must not change."""
    if isinstance(before, dict):
        pairs = {n: (before.get(n, UNSET), after.get(n, UNSET)) for n in before | after}
    else:
        fixed = [f.name for f in dataclasses.fields(before) if not f.metadata.get("free")]
        pairs = {n: (getattr(before, n), getattr(after, n)) for n in fixed}
    for name, (old, new) in pairs.items():
        mappings = isinstance(old, dict) and isinstance(new, dict)
        if dataclasses.is_dataclass(old) or mappings:
            yield from differences(old, new, f"{where}{name}.")
        elif old != new:
            yield where + name, old, new
