"""The runs of a sweep on the terminal: how far each is, and what failed."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from experiments.sweeping.jobs import Job
from mummi.training.progress import LINE_EVERY

TAIL = 2**16
"""Bytes at the end of a run's metrics that are read for its progress."""
LAST_LINES = 8
"""Lines of a failed run's log that the report shows."""
STYLES = {"running": "cyan", "failed": "red", "waiting": "", "done": "green", "skipped": "dim"}
"""States of a run, in the order of the view, and their styles."""


@dataclasses.dataclass
class Row:
    """One run in the view: its state, one of ``STYLES``, and what failed."""

    job: Job
    state: str
    failure: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, state, steps, last return and time left, as text."""
        step, score, speed = progress(self.job.logdir)
        left, total = "", self.job.steps
        if not total:
            return self.job.name, self.state, str(step), "", ""
        if self.state == "running" and step >= total:
            left = "evaluating" if self.job.episodes else ""
        elif self.state == "running" and speed:
            left = str(datetime.timedelta(seconds=round((total - step) / speed)))
        score = "" if score is None else f"{score:.1f}"
        return self.job.name, self.state, f"{step}/{total}", score, left


def progress(logdir: str) -> tuple[int, float | None, float | None]:
    """Environment steps, last return, and steps a second of a run, from the end of its metrics."""
    path = pathlib.Path(logdir, "metrics.jsonl")
    if not path.is_file():
        return 0, None, None
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - TAIL)
        file.seek(start)
        # The first line may be cut, the last may still be written.
        lines = file.read().split(b"\n")[1 if start else 0 : -1]
    last = {"step": 0}
    for line in lines:
        with contextlib.suppress(TypeError, ValueError):
            last |= json.loads(line)
    return last["step"], last.get("episode/return"), last.get("steps_per_second")


class View:
    """Shows the runs: a table on a terminal, lines now and then elsewhere."""

    def __init__(self, console: Console):
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._states: dict[str, str] = {}
        self._line = time.monotonic()

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Redraws the table, those at work first; elsewhere prints what is new or due."""
        if self._console.is_terminal:
            order = sorted(rows, key=lambda row: list(STYLES).index(row.state))
            self._live.update(table(order), refresh=True)
            return
        due = time.monotonic() - self._line > LINE_EVERY
        for row in rows:
            name, state, steps, score, left = row.cells()
            if self._states.get(name) != state or (due and state == "running"):
                parts = [f"{name}: {state}", f"step {steps}", score and f"return {score}", left]
                print("  ".join(filter(None, parts)), flush=True)
            self._states[name] = state
        if due:
            self._line = time.monotonic()


def table(rows: Sequence[Row]) -> Table:
    """The runs, one a line."""
    over = sum(row.state in ("done", "skipped", "failed") for row in rows)
    view = Table(title=f"{over} of {len(rows)} runs are over")
    for column in ("run", "state", "step", "return", "left"):
        view.add_column(column, justify="left" if column in ("run", "state") else "right")
    for row in rows:
        name, state, *numbers = row.cells()
        view.add_row(name, f"[{STYLES[state]}]{state}" if STYLES[state] else state, *numbers)
    return view


def report(rows: Sequence[Row], console: Console) -> None:
    """Prints all runs, and the last lines of those that failed."""
    console.print(table(rows))
    for row in rows:
        if row.failure:
            log = pathlib.Path(row.job.log)
            lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
            print(f"\n{row.job.name} failed: {row.failure}\n{log} ends with:")
            print("\n".join(f"    {line}" for line in lines[-LAST_LINES:]), flush=True)
