"""One damaged input: made, read, and judged; run in a process that may die of it."""

import functools
import pathlib
import shutil
import tempfile
import warnings
import zlib
from typing import Any, NamedTuple

import numpy as np

from tests.fuzz.kinds import KINDS, Kind

SEED = 25
OUTCOMES = ("refused", "warned", "unharmed", "not told", "WRONG")
BY_NAME = {kind.name: kind for kind in KINDS}


class Trial(NamedTuple):
    """What came of a damaged input.

    Attributes:
        done: the damage.
        outcome: ``refused`` by an error that names the file; ``warned`` of it and read without it;
            ``unharmed``, read as if nothing had happened; ``not told``, read as another right input
            would be; or ``WRONG``.
        said: the error or the warning.
    """

    done: str
    outcome: str
    said: str


@functools.cache
def _right(name: str) -> tuple[tempfile.TemporaryDirectory, pathlib.Path, Any]:
    """A right input: its folder, what is read in it, and the reading."""
    kind, folder = BY_NAME[name], tempfile.TemporaryDirectory()
    path = kind.make(pathlib.Path(folder.name))
    return folder, path.relative_to(folder.name), kind.read(path)


def attempt(name: str, number: int, seed: int = SEED) -> Trial:
    """Damages a right input of a kind and reads it."""
    kind = BY_NAME[name]
    random = np.random.default_rng((seed, zlib.crc32(name.encode()), number))
    whole, place, expected = _right(name)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        shutil.copytree(whole.name, folder, dirs_exist_ok=True)
        act = kind.damages[number % len(kind.damages)]
        done = act(pathlib.Path(folder, place), random)
        outcome, said = _judged(kind, pathlib.Path(folder, place), expected, told)
        silent = act in kind.silent or any(n in done for n in kind.silent if isinstance(n, str))
        if outcome == "differs":
            outcome = "not told" if silent else "WRONG"
        return Trial(done, outcome, said)


def _judged(kind: Kind, path: pathlib.Path, expected: Any, told: list) -> tuple[str, str]:
    """The outcome, ``differs`` in place of what depends on the damage, and what was said."""
    try:
        found = kind.read(path)
    except (ValueError, OSError, RuntimeError) as error:  # the commands make a line of these
        named = str(path) in str(error) or path.name in str(error)
        said = f"{type(error).__name__}: {error}"
        return ("refused" if named else "WRONG"), said
    except BaseException as error:
        return "WRONG", f"{type(error).__name__}: {error}"
    if alike(found, expected):
        return "unharmed", ""
    said = "; ".join(str(warning.message) for warning in told)
    if path.name in said:
        return "warned", said
    return "differs", "read otherwise than it was"


def alike(one: Any, other: Any) -> bool:
    """Whether two readings are equal, NaN included."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return False
        return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other or (one != one and other != other)
