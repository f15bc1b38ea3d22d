"""Agents that come with the package, a folder each: settings, parameters, a card."""

import pathlib

from mummi.runs.names import closest

PREFIX = "pretrained:"
"""What stands before the name of such an agent where the folder of a run is asked for."""
_HERE = pathlib.Path(__file__).parent


def names() -> list[str]:
    """The agents that there are."""
    return sorted(path.parent.name for path in _HERE.glob("*/config.yaml"))


def folder(logdir) -> pathlib.Path:
    """The folder of a run, or of an agent that comes with the package, ``pretrained:NAME``.

    Raises:
        ValueError: no agent of that name comes with the package.
    """
    if not str(logdir).startswith(PREFIX):
        return pathlib.Path(logdir)
    name, known = str(logdir).removeprefix(PREFIX), names()
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "none comes with this version"
        raise ValueError(f"no pretrained agent {name!r}{closest(name, known)}; {there}")
    return _HERE / name
