"""Draws learning curves: python -m experiments.plot --runs D1 D2 … --out curves.png."""

import dataclasses
import json
import pathlib

import matplotlib
import numpy as np
import tyro

from experiments.command_line import explain
from mummi import run
from mummi.logger import read_metrics

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Learning curves of one or more runs: returns in training, and evaluations as points.

    Attributes:
        runs: folders of runs.
        out: PNG to write.
        title: heading; by default the runs' tasks.
        smooth: episodes of the moving average.
    """

    runs: tuple[str, ...]
    out: str = "curves.png"
    title: str = ""
    smooth: int = 10


def curve(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric, in the order of steps."""
    points = sorted((row["step"], row[name]) for row in rows if row.get(name) is not None)
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, values


def random_return(logdir: pathlib.Path) -> float | None:
    """Mean return of the random policy, where ``evaluate --random`` measured it."""
    path = logdir / "eval" / "random-policy.json"
    return json.loads(path.read_text())["mean"] if path.is_file() else None


def draw(arguments: Arguments) -> None:
    """Writes the picture.

    Raises:
        ValueError: no runs, or one without a finished episode.
    """
    if not arguments.runs:
        raise ValueError("--runs names no folder")
    figure, axes = plt.subplots(figsize=(7, 4), dpi=120)
    tasks, baselines = [], []
    for index, name in enumerate(arguments.runs):
        logdir, color = pathlib.Path(name), f"C{index}"
        config = run.load(logdir).config
        rows = read_metrics(logdir)
        steps, returns = curve(rows, "episode/return")
        if not len(steps):
            raise ValueError(f"{name!r} has no finished episode yet")
        width = min(arguments.smooth, len(returns))
        mean = np.convolve(returns, np.ones(width) / width, "valid")
        label = f"{config.task} {config.method} seed {config.seed}"
        axes.plot(steps, returns, color=color, alpha=0.15, linewidth=0.7)
        axes.plot(steps[width - 1 :], mean, color=color, label=label)
        axes.plot(*curve(rows, "evaluation/return"), "o", color=color, markersize=4)
        tasks.append(config.task)
        if (baseline := random_return(logdir)) is not None:
            baselines.append(baseline)
    if baselines:
        axes.axhline(np.mean(baselines), color="black", linestyle=":", label="random policy")
    axes.set(xlabel="environment steps", ylabel="return", ylim=(0, None))
    axes.set_title(arguments.title or ", ".join(sorted(set(tasks))))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    pathlib.Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and draws."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.plot", args=arguments)
        draw(parsed)
        print(f"curves: {parsed.out}")


if __name__ == "__main__":
    main()
