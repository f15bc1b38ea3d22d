"""What a run says of its training: how much was seen, and the losses at its end."""

import pathlib

from experiments.evaluation.rollout import write_json
from experiments.evaluation.saved import load
from mummi.imitation.record import LEARNED


def budget(windows: int, length: int, steps: int) -> dict[str, float]:
    """How much of the data training saw.

    Args:
        windows: that were seen, batch after batch.
        length: steps of each that count.
        steps: of the data, copies with sensors failing among them.

    Returns:
        ``windows``, ``steps``, and ``passes`` over all steps.
    """
    return {"windows": windows, "steps": steps, "passes": windows * length / steps}


def told(name: str, seen: dict[str, float]) -> str:
    """A budget in words."""
    return (
        f"{name}: {seen['windows']:,} windows, {seen['passes']:.1f} passes over "
        f"{seen['steps']:,} steps"
    )


def note(logdir: pathlib.Path, part: str, entry: dict[str, float]) -> None:
    """Adds what is to be said of ``world_model`` or ``head``, in place of what was said before.

    Raises:
        ValueError: the file is damaged.
    """
    path = logdir / LEARNED
    write_json(path, load(path) | {part: entry})
