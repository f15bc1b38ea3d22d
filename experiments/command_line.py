"""What every command shares: flags from the config, and errors a person can read."""

import contextlib
import dataclasses
import errno
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator

import tyro

import envs
from mummi.config import METHODS, NO_SIMULATOR, Config
from mummi.presets import PRESETS, preset
from mummi.runs.names import closest

_NO_FOLDER = "a file is where a folder is needed; name another folder, or move the file away"
_REMEDIES = {
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EISDIR: "a folder is where a file is needed; name a file",
    errno.ENOSPC: "free some space and give the same command again",
    errno.EDQUOT: "free some space and give the same command again",
    errno.EACCES: "name a place that you may read and write",
    errno.EROFS: "name a place that you may write",
}
"""What to do about an error of the operating system."""


def parse_config(
    arguments: list[str] | None = None,
    default: Config | None = None,
    preset: Callable[[str, str], Config] = preset,
) -> Config:
    """The run's settings, changed by the flags: ``default``, or what ``preset`` has for the task.

    Raises:
        ValueError: an unknown task, method, preset or option of the task, with the nearest name.
        SystemExit: another mistake in the flags, which is printed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    before = default or Config()
    name = peek(arguments, "preset") or before.preset
    given = peek(arguments, "task")
    task = envs.canonical(given or before.task)
    require("preset", name, PRESETS)
    if ":" in task:  # somebody's own
        common = ("image-size", "background")
        envs.check(task, [f.replace("-", "_") for f in common if peek(arguments, f) is not None])
    elif given or task != NO_SIMULATOR:
        require("task", task, envs.tasks())
    require("method", peek(arguments, "method") or Config.method, METHODS)
    default = default or preset(name, task)
    named = [word for word in arguments if word.startswith("--env.")]
    if named or {"--help", "-h"} & set(arguments):
        options = _options(task, default.env, named)
        kind = type(options)
    else:  # without the seconds that the import of the simulator takes
        options, kind = default.env, tyro.conf.Suppress[tyro.conf.Fixed[dict[str, object]]]
    field = ("env", kind, dataclasses.field(default_factory=lambda: options))
    flags = dataclasses.make_dataclass("Config", [field], bases=(Config,), frozen=True)
    flags.__doc__ = Config.__doc__
    parsed = tyro.cli(
        flags,
        prog="python -m experiments.train",
        description=f"Trains an agent. Tasks: {', '.join(envs.tasks())}; MODULE:ATTRIBUTE for "
        "your own; gymnasium:ID.",
        default=flags(**vars(default) | {"env": options}),
        args=arguments,
        config=(tyro.conf.FlagConversionOff,),
    )
    logdir = (
        parsed.logdir or f"runs/{envs.folder(task)}/{parsed.method}-{parsed.preset}-{parsed.seed}"
    )
    env = _changed(parsed.env) if dataclasses.is_dataclass(parsed.env) else parsed.env
    return Config(**vars(parsed) | {"task": task, "logdir": logdir, "env": env})


def _options(task: str, preset_changes: dict, named: list[str]):
    """The task's options as the preset has them.

    A flag in ``named`` for an option that the task lacks is a ValueError, which tells those it has.
    """
    names = [re.split(r"[.=]", flag)[1].replace("-", "_") for flag in named]
    envs.options(task, **dict.fromkeys(names))
    return envs.options(task, **preset_changes)


def _changed(options) -> dict[str, object]:
    """What differs from the defaults, as it stands in config.yaml."""
    result = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default:
            plain = list(value) if isinstance(value, tuple) else value
            result[field.name] = _changed(value) if dataclasses.is_dataclass(value) else plain
    return result


def require(kind: str, name: str, known: Iterable[str]) -> None:
    """Raises a ValueError, with the nearest name, unless ``name`` is ``known``."""
    if name not in known:
        raise ValueError(
            f"unknown {kind} {name!r} ({kind}s are {', '.join(known)}){closest(name, known)}"
        )


def peek(arguments: list[str], flag: str) -> str | None:
    """The value of one flag, ahead of the parser whose defaults depend on it."""
    value = None
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        name, equals, given = argument.partition("=")
        if name.replace("_", "-") == f"--{flag}":
            value = given if equals else following
    return value


@contextlib.contextmanager
def explain() -> Iterator[None]:
    """Turns an error that the user can mend into one line and exit status 2; Ctrl-C into 130.

    Warnings are one line each, too. With the environment variable MUMMI_TRACEBACK set, errors keep
    their traceback.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'stopped'}", file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, FloatingPointError, OSError, RuntimeError, ImportError) as error:
        if os.environ.get("MUMMI_TRACEBACK"):
            raise
        print(f"error: {_told(error)} (MUMMI_TRACEBACK=1 shows where)", file=sys.stderr)
        raise SystemExit(2) from error


def _told(error: Exception) -> str:
    """The error in words, and where the system gave none of its own, the remedy."""
    remedy = _REMEDIES.get(error.errno) if isinstance(error, OSError) else None
    if remedy is None:
        return str(error)
    place = f"{error.filename!r}: " if error.filename else ""
    return f"{place}{error.strerror}; {remedy}"


def _show_warning(message, *_, **__) -> None:
    print(f"warning: {message}", file=sys.stderr)
