"""What became of demonstrations that were replayed from given starts, in a file of JSON lines."""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Outcome(NamedTuple):
    """Replays of all demonstrations of a task from one start; a line of the file.

    Attributes:
        task: its name.
        start: number of the initial state.
        seed: of what the initial state leaves open.
        own: ``digest`` of the demonstrations that began there.
        demonstrations: ``digest`` of those that were replayed.
        success: whether each succeeded.
        steps: how many steps each took until then, or in all.
    """

    task: str
    start: int
    seed: int
    own: tuple[str, ...]
    demonstrations: tuple[str, ...]
    success: tuple[bool, ...]
    steps: tuple[int, ...]


def digest(executed: Float[np.ndarray, "T A"]) -> str:
    """Names a demonstration by what was executed in it."""
    return hashlib.sha256(np.ascontiguousarray(executed, np.float32).tobytes()).hexdigest()[:16]


def write(path: str | os.PathLike, outcomes: Iterable[Outcome]) -> None:
    """Adds lines to a file, each as soon as it comes.

    A last line that a kill cut short is taken away before.
    """
    path = pathlib.Path(path)
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        for outcome in outcomes:
            file.write(json.dumps(outcome._asdict()).encode() + b"\n")
            file.flush()


def read(path: str | os.PathLike) -> list[Outcome]:
    """The lines of a file; a last one that was cut short by a kill is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {str(path)!r} of replays; experiments.replays writes one"
        )
    found = []
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            fields = dict(json.loads(line))
            found.append(
                Outcome(**{n: tuple(x) if isinstance(x, list) else x for n, x in fields.items()})
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} line {number} is no line of replays ({error})") from error
    return found


def failures(
    outcomes: Sequence[Outcome], executed: Sequence[Float[np.ndarray, "_ A"]]
) -> Float[np.ndarray, "N N"]:
    """1 where demonstration j fails when it is replayed from the start of demonstration i, else 0.

    Those of another task, which were not replayed there, count as failures.

    Args:
        outcomes: replays from the demonstrations' own starts, perhaps among others.
        executed: what was executed in each of N demonstrations.

    Raises:
        ValueError: there are demonstrations from whose start nothing was replayed.
    """
    names = [digest(actions) for actions in executed]
    result = np.full((len(names), len(names)), np.nan)
    for outcome in outcomes:
        succeeded = dict(zip(outcome.demonstrations, outcome.success, strict=True))
        row = [0.0 if succeeded.get(name) else 1.0 for name in names]
        result[[i for i, name in enumerate(names) if name in outcome.own]] = row
    lacking = int(np.isnan(result).any(1).sum())
    if lacking:
        raise ValueError(
            f"from the starts of {lacking} of {len(names)} demonstrations nothing was replayed: "
            "experiments.replays with the same --data, and --starts that hold their initial states"
        )
    return result


def shares(outcomes: Sequence[Outcome]) -> Float[np.ndarray, " S"]:
    """Of each start, the share of successes among the demonstrations that did not begin there.

    Their mean is what replaying a random demonstration earns, and how many are above 0 the most
    that playing any one of them from its start can. A start without such demonstrations has none.
    """
    rows = []
    for outcome in outcomes:
        pairs = zip(outcome.demonstrations, outcome.success, strict=True)
        others = [success for name, success in pairs if name not in outcome.own]
        if others:
            rows.append(np.mean(others))
    return np.array(rows, np.float64)
