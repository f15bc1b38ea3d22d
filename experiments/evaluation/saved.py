"""The files ``eval/NAME.json`` of a run: merged episode by episode, compared, and never lost.

``eval/NAME.json`` is of the checkpoint that was evaluated last. What another checkpoint earned
moves to ``eval/step-STEP/NAME.json``, where tables and plots, which compare one checkpoint of each
run, do not look.
"""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterable, Iterator

from experiments.evaluation.conditions import CONTROL, Condition
from experiments.evaluation.result import Difference, Result, paired_difference
from experiments.evaluation.rollout import write_json


def load(path: pathlib.Path) -> dict:
    """What a file says; nothing where there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise _damaged(path, "it holds no mapping")
    return content


def entries(path: pathlib.Path, *names: str) -> list[float]:
    """Numbers that a file says, by their names.

    Raises:
        ValueError: it is damaged or lacks one.
    """
    content = load(path)
    try:
        return [float(content[name]) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error


def holds(path: pathlib.Path, content: dict, numbers: Iterable[int]) -> bool:
    """Whether a file says all of ``content`` and has the episodes ``numbers``."""
    try:
        held = load(path)
        return set(numbers) <= set(held.get("numbers", ())) and content.items() <= held.items()
    except (TypeError, ValueError):  # the evaluation tells how it is damaged
        return False


class Files:
    """What one evaluation of a run writes.

    Args:
        out: folder of ``eval``.
        common: what all files say: ``task``, ``method``, ``seed``, ``evaluation_seed``, ``step``
            and ``background``.

    Attributes:
        folder: that of ``eval``.
    """

    def __init__(self, out: pathlib.Path, common: dict):
        self.folder = out
        self._folder, self._common = out / "eval", common
        self._agreement = out / "agreement.json"

    def path(self, row: Condition) -> pathlib.Path:
        """The file of a condition."""
        return self._folder / f"{row.file}.json"

    def held(self, row: Condition) -> Result:
        """The episodes that a condition's file has of this very evaluation.

        Raises:
            ValueError: it is damaged, or has what this evaluation would replace: that checkpoint
                under another seed, background or script, or episodes without numbers; or it is of
                another checkpoint whose place is taken.
        """
        path, content = self.path(row), row.content(self._common)
        held = load(path)
        if not held:
            return Result(())
        if held.get("step") != content["step"]:
            aside = self._aside(path, held)
            if aside.exists():
                raise ValueError(
                    f"{path} is of step {held.get('step')}, not {content['step']}, and {aside} is "
                    "there already; name another folder with --out, or remove one of the two"
                )
            return Result(())
        has = [
            "another script" if name == "script" else f"{name} {held.get(name)!r}, not {value!r}"
            for name, value in content.items()
            if held.get(name) != value
        ]
        has += ["episodes without numbers"] * ("numbers" not in held)
        if has:
            raise ValueError(
                f"{path} is of this checkpoint and has {'; '.join(has)}; name another folder with "
                "--out, or remove the file"
            )
        return _result(path, held)

    def save(self, row: Condition, result: Result, **more) -> Result:
        """Adds episodes to a condition's file; returns all that it has then.

        Args:
            row: the condition.
            result: the episodes; those of the same number are replaced.
            **more: what else the file is to say.

        Raises:
            ValueError: as ``held``.
        """
        path = self.path(row)
        with self._locked():
            merged = self.held(row).merged(result)
            before = load(path)
            if before and before.get("step") != self._common["step"]:
                aside = self._aside(path, before)
                aside.parent.mkdir(exist_ok=True)
                path.rename(aside)
            write_json(path, row.content(self._common) | more | merged.to_dict())
        return merged

    def save_agreement(self, table: dict[str, dict], episodes: int) -> None:
        """Writes ``agreement.json``, unless it has this evaluation's of more episodes."""
        before = load(self._agreement)
        if self._common.items() <= before.items() and before.get("episodes", 0) > episodes:
            return
        write_json(self._agreement, self._common | {"episodes": episodes, "r2": table})

    def compare(self) -> dict[str, Difference]:
        """Writes into each file its paired difference to the control; returns these by file stem.

        Files of another seed, background or step are left alone.
        """
        shared = {name: value for name, value in self._common.items() if name != "method"}
        found: dict[str, Difference] = {}
        with self._locked():
            control = load(self._folder / f"{CONTROL}.json")
            if not _numbered(control, self._common):
                return found
            returns = _result(self._folder / f"{CONTROL}.json", control).by_number
            for path in sorted(self._folder.glob("*.json")):
                content = load(path)
                if path.stem == CONTROL or not _numbered(content, shared):
                    continue
                difference = paired_difference(returns, _result(path, content).by_number)
                if difference:
                    found[path.stem] = difference
                    if content.get("difference") != _written(difference):
                        write_json(path, content | {"difference": _written(difference)})
        return found

    def _aside(self, path: pathlib.Path, held: dict) -> pathlib.Path:
        return path.parent / f"step-{held.get('step')}" / path.name

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lets parts of one evaluation that run at the same time write one after the other."""
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _result(path: pathlib.Path, content: dict) -> Result:
    """The episodes that a file tells of."""
    try:
        return Result.from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error


def _damaged(path: pathlib.Path, error: object) -> ValueError:
    return ValueError(f"{path} is damaged ({error}); remove it and evaluate the run again")


def _numbered(content: dict, shared: dict) -> bool:
    """Whether a file says all of ``shared`` and tells its episodes apart."""
    return "numbers" in content and shared.items() <= content.items()


def _written(difference: Difference) -> dict:
    return {
        "to": CONTROL,
        "mean": difference.mean,
        "interval95": difference.interval and list(difference.interval),
        "episodes": difference.pairs,
    }
