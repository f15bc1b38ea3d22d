"""Progress of a run: a bar on a terminal, a line now and then elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


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
        self._return = float("nan")
        self._mark = (time.monotonic(), step, updates)
        self._line = time.monotonic()
        self._speed = {"steps_per_second": 0.0, "updates_per_second": 0.0}
        self._extra: dict[str, float] = {}
        self._start = (time.monotonic(), step)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=step)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def score(self, value: float) -> None:
        """Takes the return of the latest episode."""
        self._return = value

    def rates(self, step: int, updates: int) -> dict[str, float]:
        """Environment steps and updates a second since the last call."""
        now = time.monotonic()
        then, steps, done = self._mark
        elapsed = max(now - then, 1e-9)
        self._speed = {
            "steps_per_second": (step - steps) / elapsed,
            "updates_per_second": (updates - done) / elapsed,
            "updates": updates,
        }
        self._mark = (now, step, updates)
        return dict(self._speed)

    def show(self, step: int, updates: int, extra: dict[str, float] | None = None) -> None:
        """Redraws the bar; elsewhere prints a line when one is due or ``extra`` is new."""
        self._extra |= extra or {}
        parts = [f"return {self._return:.0f}"]
        parts += [f"{name} {value:.0f}" for name, value in self._extra.items()]
        parts += [
            f"{self._speed['steps_per_second']:.0f} steps/s",
            f"{self._speed['updates_per_second']:.1f} updates/s",
        ]
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, description="  ".join(parts))
        elif extra or time.monotonic() - self._line > LINE_EVERY:
            self._line = time.monotonic()
            began, first = self._start
            left = (self._total - step) * (self._line - began) / max(step - first, 1)
            parts += [f"{updates} updates", f"{left / 60:.1f} min left"]
            print(f"step {step}/{self._total}  " + "  ".join(parts), flush=True)
