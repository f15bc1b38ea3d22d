"""The folder of a run: what it was, so that it can be resumed, evaluated and deployed."""

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

FORMAT = 1
PLACES = {"devices", "coordinator", "processes", "process"}
"""Settings that say where a run computes."""
FREE = PLACES | {
    "steps",
    "logdir",
    "envs",
    "evaluate_every",
    "evaluate_episodes",
    "log_every",
    "checkpoint_every",
    "bfloat16",
    "replay_memory",
    "replay_device",
    "updates_per_call",
}
"""Settings that may change between a run and its resumption."""
LATER = PLACES | {
    "env",
    "prefill_from",
    "demonstration_share",
    "pretrain",
    "replay_memory",
    "replay_device",
    "updates_per_call",
    "behavior.cloning",
    "model.action_weight",
    "model.shift",
}
"""Settings that files of earlier versions lack; such a run has their defaults."""
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

    Raises:
        ValueError: an unknown, missing or ill-typed field, by its name.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"config section {where.rstrip('.') or 'config'!r} is {values!r}, not a mapping"
        )
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise ValueError(f"unknown config field {where + name!r}{closest(name, hints)}")
    for name in hints:
        if name not in values and where + name not in LATER:
            raise ValueError(f"config field {where + name!r} is missing")
    return kind(**{n: _convert(hints[n], v, where + n) for n, v in values.items()})


def _convert(hint, value, where: str):
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where + ".")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        valid = value in arguments
    elif origin in (types.UnionType, typing.Union):
        valid = value is None or _is_number(value)
    elif origin is tuple:
        valid = isinstance(value, list) and all(isinstance(x, arguments[0]) for x in value)
        value = tuple(value) if valid else value
    elif origin is dict:
        number = arguments[1] is float
        valid = isinstance(value, dict) and (not number or all(map(_is_number, value.values())))
    elif hint is float:
        valid = _is_number(value)
        value = float(value) if valid else value
    else:
        valid = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if not valid:
        right = f"no {hint if origin else hint.__name__}"
        if origin is typing.Literal:
            right = f"none of {', '.join(map(repr, arguments))}"
        raise ValueError(f"config field {where!r} is {value!r}, which is {right}")
    return value


def _is_number(value) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


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
            raise ValueError(f"has format {content['format']!r}; this version reads {FORMAT}")
        modalities = tuple(
            # Files of earlier versions do not say what cannot fail.
            Modality(m["name"], m["kind"], tuple(m["shape"]), m.get("can_fail", True))
            for m in content["modalities"]
        )
        config, action_size = from_dict(Config, content["config"]), int(content["action_size"])
        return Run(config, modalities, action_size, content.get("script"))
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
        names = [field.name for field in dataclasses.fields(before)]
        pairs = {n: (getattr(before, n), getattr(after, n)) for n in names}
    for name, (old, new) in pairs.items():
        if not where and name in FREE:
            continue
        mappings = isinstance(old, dict) and isinstance(new, dict)
        if dataclasses.is_dataclass(old) or mappings:
            yield from differences(old, new, f"{where}{name}.")
        elif old != new:
            yield where + name, old, new
