"""How far a recording is: a bar on a terminal, a line an episode elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mummi.imitation.demonstrations import Demonstration


class Bar:
    """Shows episodes, the last return, and steps a second.

    Args:
        total: episodes that there are to be.
        done: episodes that there are already.
    """

    def __init__(self, total: int, done: int):
        console = Console()
        self._total, self._steps, self._start = total, 0, time.monotonic()
        self._lines = not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=self._lines,
            expand=True,
        )
        self._task = self._bar.add_task("starting", total=total, completed=done)
        self._done, self._return = done, ""

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def step(self) -> None:
        """One step was taken."""
        self._steps += 1
        self._bar.update(self._task, description=f"{self._return}{self._rate} steps/s")

    def episode(self, demonstration: Demonstration) -> None:
        """One episode is in the file."""
        self._done += 1
        self._return = f"return {demonstration.rewards.sum():.1f}  "
        self._bar.update(self._task, completed=self._done)
        if self._lines:
            line = f"demonstration {self._done}/{self._total}  {self._return}{self._rate} steps/s"
            print(line, flush=True)

    @property
    def _rate(self) -> str:
        return f"{self._steps / (time.monotonic() - self._start):.1f}"
