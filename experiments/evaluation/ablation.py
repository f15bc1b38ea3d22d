"""The score with every pair of sensors removed, as numbers and as a heat map."""

import itertools
import json
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np

from experiments.evaluation.conditions import CONTROL, Condition, condition_name
from experiments.evaluation.rollout import write_json

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "ablation-modality-pairs"


def removals(sensors: Sequence[str]) -> list[tuple[str, ...]]:
    """Every sensor and every pair of sensors."""
    return [(name,) for name in sensors] + list(itertools.combinations(sensors, 2))


def modality_pairs(logdir: pathlib.Path, sensors: Sequence[str]) -> pathlib.Path:
    """Writes ``ablation-modality-pairs.json`` and ``.png`` of a run with all of ``removals``
    evaluated; returns the picture.

    The JSON has ``sensors``, matrices ``mean`` and ``sd`` of the return in their order, with one
    sensor removed on the diagonal, and ``none``, the mean with nothing removed.
    """

    def read(*removed: str) -> dict:
        row = Condition(condition_name(removed, CONTROL), CONTROL)
        path = logdir / "eval" / f"{row.file}.json"
        return json.loads(path.read_text())

    size = len(sensors)
    mean, sd = np.zeros((2, size, size))
    for removed in removals(sensors):
        row, column = sensors.index(removed[0]), sensors.index(removed[-1])
        score = read(*removed)
        mean[row, column] = mean[column, row] = score["mean"]
        sd[row, column] = sd[column, row] = score["std"]
    control = read()
    content = {key: control[key] for key in ("task", "method", "seed", "step", "episodes")}
    content |= {"sensors": list(sensors), "none": control["mean"]}
    write_json(logdir / f"{NAME}.json", content | {"mean": mean.tolist(), "sd": sd.tolist()})

    figure, axes = plt.subplots(figsize=(1.5 + size, 1 + size), dpi=120, layout="constrained")
    image = axes.imshow(mean, vmin=min(0.0, mean.min()), vmax=max(control["mean"], mean.max()))
    axes.set_xticks(range(size), sensors, rotation=45, ha="right")
    axes.set_yticks(range(size), sensors)
    middle = sum(image.get_clim()) / 2
    for row, column in np.ndindex(size, size):
        color = "black" if mean[row, column] > middle else "white"
        text = f"{mean[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=color)
    unhindered = f"{control['mean']:.0f} ± {control['std']:.0f}"
    axes.set_title(f"{control['task']}: return without two sensors\nnothing removed: {unhindered}")
    figure.colorbar(image, shrink=0.8)
    path = logdir / f"{NAME}.png"
    figure.savefig(path)
    plt.close(figure)
    return path
