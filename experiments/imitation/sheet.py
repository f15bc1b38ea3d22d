"""A demonstration as one picture: what each sensor showed along it, and what was done."""

import os

import matplotlib
import numpy as np

from mummi.imitation.demonstrations import Demonstration
from mummi.modality import Modality
from mummi.runs.files import atomic

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FRAMES = 8
"""Pictures of a camera along a demonstration."""


def write(
    path: str | os.PathLike,
    name: str,
    demonstration: Demonstration,
    modalities: tuple[Modality, ...],
) -> None:
    """Draws a demonstration into a PNG: a row of pictures a camera, curves of all that is numbers.

    Where a sensor is missing there is a cross in place of its picture, and a gap in its curves.

    Args:
        path: of the PNG.
        name: of the demonstration, for the title.
        demonstration: what is drawn.
        modalities: its sensors.
    """
    steps = len(demonstration.actions)
    cameras = [m for m in modalities if m.kind in ("image", "depth")]
    curves = [(m.name, _gaps(demonstration, m)) for m in modalities if m not in cameras]
    curves.append(("actions", demonstration.actions))
    rows = len(cameras) + len(curves)
    figure = plt.figure(figsize=(1.4 * FRAMES + 1, 1.5 * rows + 0.5), layout="constrained")
    try:
        figure.suptitle(f"{name}, {steps} steps")
        grid = figure.add_gridspec(rows, FRAMES)
        for row, m in enumerate(cameras):
            for column, step in enumerate(np.linspace(0, steps - 1, FRAMES).astype(int)):
                axes = figure.add_subplot(grid[row, column])
                _picture(axes, demonstration, m, step)
                axes.set_title(f"{m.name} {step}" if column == 0 else str(step), fontsize=7)
        for row, (title, numbers) in enumerate(curves, len(cameras)):
            axes = figure.add_subplot(grid[row, :])
            axes.plot(numbers.reshape(steps, -1), linewidth=0.8, marker="." if steps < 50 else "")
            axes.set_title(title, fontsize=7)
            axes.set_xlim(0, max(steps - 1, 1))
            axes.tick_params(labelsize=6)
        with atomic(path) as temporary:
            figure.savefig(temporary, format="png", dpi=100)
    finally:
        plt.close(figure)


def _gaps(demonstration: Demonstration, modality: Modality) -> np.ndarray:
    """Values [T, N], NaN where the sensor is missing."""
    there = demonstration.availability(modality.name)[:, None]
    return np.where(there, demonstration.values[modality.name], np.nan)


def _picture(axes: plt.Axes, demonstration: Demonstration, modality: Modality, step: int) -> None:
    axes.set_axis_off()
    if not demonstration.availability(modality.name)[step]:
        axes.plot([0, 1], [0, 1], [0, 1], [1, 0], color="tab:red")
        return
    picture = demonstration.values[modality.name][step]
    shown = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., 0]
    axes.imshow(shown, cmap="gray")
