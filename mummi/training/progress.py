"""Progress of a run: a bar on a terminal, a line now and then elsewhere, and mean metrics."""

import contextlib
import time
from collections import defaultdict, deque

import jax
import numpy as np
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""
WINDOW = 15.0
"""Seconds that the rates shown are taken over."""


class Progress:
    """Shows steps, return, rates and the time left.

    Args:
        total: environment steps of the whole run.
        step: environment steps it starts from.
        updates: updates it starts from.
    """

    def __init__(self, total: int, step: int, updates: int):
        self._console = Console()
        self._total = total
        self._scores: dict[str, float] = {}
        now = time.monotonic()
        self._logged = (now, step, updates)
        self._recent = deque([self._logged])
        self._line = now
        self._printed = None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._task = self._bar.add_task("starting", total=total, completed=step)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def score(self, value: float) -> None:
        """Takes the return of the latest episode."""
        self._scores["return"] = value

    def note(self, text: str) -> None:
        """Says what takes long before the next step."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=text)
        else:
            print(text, flush=True)

    def rates(self, step: int, updates: int) -> dict[str, float]:
        """Environment steps and updates a second since the last call."""
        since, self._logged = self._logged, (time.monotonic(), step, updates)
        steps, done = _rates(since, self._logged)
        return {"steps_per_second": steps, "updates_per_second": done, "updates": updates}

    def show(self, step: int, updates: int, *, line: bool = False, **scores: float) -> None:
        """Redraws the bar; elsewhere prints a line when one is due, asked for, or has new scores.

        Args:
            step: environment steps so far.
            updates: updates so far.
            line: print a line in any case.
            **scores: shown from now on beside the return.
        """
        self._scores |= scores
        now = (time.monotonic(), step, updates)
        if now[0] - self._recent[-1][0] > 0.5:
            self._recent.append(now)
        while len(self._recent) > 2 and now[0] - self._recent[1][0] > WINDOW:
            self._recent.popleft()
        speed = _rates(self._recent[0], now)
        parts = [f"{name} {value:.0f}" for name, value in self._scores.items()]
        parts += [f"{speed[0]:.0f} steps/s", f"{speed[1]:.1f} updates/s"]
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, description="  ".join(parts))
        elif scores or now[0] - self._line > LINE_EVERY or (line and now[1:] != self._printed):
            self._line, self._printed = now[0], now[1:]
            left = (self._total - step) / max(speed[0], 1e-9)
            parts += [f"{updates} updates", f"{left / 60:.1f} min left"]
            print(f"step {step}/{self._total}  " + "  ".join(parts), flush=True)


def _rates(since: tuple[float, int, int], now: tuple[float, int, int]) -> tuple[float, float]:
    elapsed = max(now[0] - since[0], 1e-9)
    return (now[1] - since[1]) / elapsed, (now[2] - since[2]) / elapsed


def processor_seconds() -> float:
    """Processor time of this process and of all that it has started."""
    process = psutil.Process()
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # over by now
            total += sum(child.cpu_times()[:4])
    return total


class Averages:
    """Means of the metrics since the last log entry; they stay on the device until then."""

    def __init__(self):
        self._rows = []

    def add(self, metrics: dict) -> None:
        """Adds the metrics of one update."""
        self._rows.append(metrics)

    def take(self, step: int) -> dict[str, float]:
        """The means, and starts anew; raises as ``finite_means``."""
        rows, self._rows = self._rows, []
        return finite_means(rows, step)


def finite_means(rows: list[dict], step: int) -> dict[str, float]:
    """Means of metrics over updates.

    Raises:
        FloatingPointError: a loss or gradient is not finite, so the run must not go on.
    """
    values = defaultdict(list)
    for row in jax.device_get(rows):
        for name, value in row.items():
            values[name].append(value)
    means = {name: float(np.mean(column)) for name, column in values.items()}
    broken = [name for name, value in means.items() if not np.isfinite(value)]
    if broken:
        raise FloatingPointError(
            f"{broken[0]} is not finite at step {step}: training diverged. The last checkpoint "
            "is from before; a smaller --model.learning-rate or --model.clip may help a new run"
        )
    return means
