"""Draws runs: python -m experiments.plot --runs D1 D2 … --out curves.png."""

import dataclasses
import pathlib
from typing import Literal

import matplotlib
import numpy as np
import tyro

from experiments.command_line import explain
from experiments.evaluation.result import mean_interval
from experiments.evaluation.saved import entries
from experiments.report import scores
from experiments.report.paper_results import TABLE_1
from mummi.config import METHODS
from mummi.runs import record as run
from mummi.runs.logger import read_metrics

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

POINTS = 300
"""Of the step grid that seeds are averaged on."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Learning curves of runs or methods, or the return against missing data.

    Attributes:
        runs: folders of runs; with another kind than runs also folders that hold runs.
        out: PNG to write.
        title: heading; by default the runs' tasks.
        smooth: episodes of the moving average.
        kind: runs draws one curve a run, with its evaluations as points; methods one curve a
            method and task, over its seeds; missing the return against the share of missing
            readings, and with each sensor removed, as experiments.evaluate measured it; fusion
            each head of experiments.imitate on the latents of one method beside the same head on
            those of another, by what was missing.
    """

    runs: tuple[str, ...]
    out: str = "curves.png"
    title: str = ""
    smooth: int = 10
    kind: Literal["runs", "methods", "missing", "fusion"] = "runs"


def curve(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric, in the order of steps."""
    points = sorted((row["step"], row[name]) for row in rows if row.get(name) is not None)
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, values


def smoothed(logdir: pathlib.Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and moving mean of the return in training.

    Raises:
        ValueError: no episode is finished yet.
    """
    steps, returns = curve(read_metrics(logdir), "episode/return")
    if not len(steps):
        raise ValueError(f"{str(logdir)!r} has no finished episode yet")
    width = min(width, len(returns))
    return steps[width - 1 :], np.convolve(returns, np.ones(width) / width, "valid")


def over_seeds(curves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Curves on one grid of steps, from where all have begun to where the last ends.

    Args:
        curves: steps and values of each seed.

    Returns:
        steps [N], values [S, N], NaN beyond the end of a seed.
    """
    start = max(steps[0] for steps, _ in curves)
    grid = np.linspace(start, max(steps[-1] for steps, _ in curves), POINTS)
    return grid, np.stack([np.interp(grid, *c, right=np.nan) for c in curves])


UNTRAINED = {"random": ("random policy", ":"), "expert": ("scripted expert", "-.")}
"""Policies without training: their names in evaluations and the styles of their lines."""


def untrained_return(logdir: pathlib.Path, policy: str) -> float | None:
    """Mean return of the ``random`` or ``expert`` policy, where ``evaluate`` measured it."""
    path = logdir / "eval" / f"{UNTRAINED[policy][0].replace(' ', '-')}.json"
    return entries(path, "mean")[0] if path.is_file() else None


def color(method: str) -> str:
    """The method's color, the same in every picture."""
    return f"C{list(METHODS).index(method)}"


def seeds(count: int) -> str:
    """The number of seeds in words."""
    return f"{count} seed{'s' * (count > 1)}"


def untrained(axes: Axes, values: dict[str, float | None]) -> None:
    """Lines of policies without training, whose mean returns are given by ``UNTRAINED``'s names."""
    for policy, (label, style) in UNTRAINED.items():
        if (value := values.get(policy)) is not None:
            axes.axhline(value, color="black", linestyle=style, label=label)


def untrained_of(task: str, runs: list[scores.Trained]) -> dict[str, float]:
    """Mean return of each policy without training that was evaluated on a task."""
    found = {policy: scores.scripted(runs, policy).get(task) for policy in UNTRAINED}
    return {policy: scores.pooled(pairs).mean() for policy, pairs in found.items() if pairs}


def finish(axes: Axes, title: str, x: str) -> None:
    """Labels and grid of one panel."""
    axes.set(xlabel=x, ylabel="return", ylim=(min(0.0, axes.dataLim.ymin), None), title=title)
    axes.grid(alpha=0.3)


def finish_curves(axes: Axes, title: str) -> None:
    """The same for curves over steps, 200k for 200,000."""
    finish(axes, title, "environment steps")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def legend_below(axes: Axes, columns: int) -> None:
    """A legend that hides nothing."""
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns)


def draw_runs(arguments: Arguments) -> Figure:
    """One curve a run, and its evaluations as points."""
    figure, axes = plt.subplots(figsize=(7, 4), dpi=120, layout="constrained")
    tasks, baselines = [], {policy: [] for policy in UNTRAINED}
    for index, name in enumerate(arguments.runs):
        logdir, shade = pathlib.Path(name), f"C{index}"
        config = run.load(logdir).config
        steps, mean = smoothed(logdir, arguments.smooth)
        rows = read_metrics(logdir)
        label = f"{config.task} {config.method} seed {config.seed}"
        axes.plot(*curve(rows, "episode/return"), color=shade, alpha=0.15, linewidth=0.7)
        axes.plot(steps, mean, color=shade, label=label)
        axes.plot(*curve(rows, "evaluation/return"), "o", color=shade, markersize=4)
        tasks.append(config.task)
        for policy, values in baselines.items():
            if (value := untrained_return(logdir, policy)) is not None:
                values.append(value)
    untrained(axes, {policy: np.mean(values) for policy, values in baselines.items() if values})
    finish_curves(axes, arguments.title or ", ".join(sorted(set(tasks))))
    axes.legend(fontsize=8)
    return figure


def panels(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    """A figure with ``rows`` × ``columns`` panels."""
    size = {"figsize": (max(7.0, 4.2 * columns), 4.0 * rows), "dpi": 120, "squeeze": False}
    figure, axes = plt.subplots(rows, columns, layout="constrained", **size)
    figure.suptitle(title, fontsize=9)
    return figure, axes


def draw_methods(arguments: Arguments) -> Figure:
    """One panel a task, one line a method: the mean over seeds and their range."""
    runs = scores.find(arguments.runs)
    kind = scores.comparable(runs)
    tasks = scores.in_order((r.config.task for r in runs), TABLE_1)
    figure, axes = panels(-(-len(tasks) // 3), min(3, len(tasks)), arguments.title or kind)
    for unused in axes.flat[len(tasks) :]:
        unused.set_axis_off()
    for panel, task in zip(axes.flat, tasks, strict=False):
        mine = [r for r in runs if r.config.task == task]
        for method in scores.in_order((r.config.method for r in mine), scores.NAMES):
            folders = [r.folder for r in mine if r.config.method == method]
            steps, values = over_seeds([smoothed(f, arguments.smooth) for f in folders])
            mean, complete = np.nanmean(values, 0), int(np.isfinite(values).all(0).sum())
            label = f"{scores.label(method)}, {seeds(len(folders))}"
            if complete < len(steps):
                label += " (dashed: fewer)"
                late = slice(max(complete - 1, 0), None)
                panel.plot(steps[late], mean[late], "--", color=color(method), linewidth=1)
            panel.plot(steps[:complete], mean[:complete], color=color(method), label=label)
            low, high = values[:, :complete].min(0), values[:, :complete].max(0)
            panel.fill_between(steps[:complete], low, high, color=color(method), alpha=0.2, lw=0)
        untrained(panel, untrained_of(task, runs))
        finish_curves(panel, task)
        legend_below(panel, 2)
    figure.supxlabel(
        f"Return in training, mean over {arguments.smooth} episodes. Line: mean over seeds; band: "
        "from the lowest seed to the highest",
        fontsize=8,
    )
    return figure


def errorbar(axes: Axes, x: list[float], cells: list[list[scores.Pair]], **style) -> None:
    """Means with their 95 % intervals over episodes, and each seed's mean as a small cross."""
    returns = [scores.pooled(pairs) for pairs in cells]
    intervals = [mean_interval(r) or (r.mean(), r.mean()) for r in returns]
    half = [(high - low) / 2 for low, high in intervals]
    axes.errorbar(x, [r.mean() for r in returns], half, capsize=3, **style)
    for place, pairs in zip(x, cells, strict=True):
        means = [np.mean(score.returns) for _, score in pairs]
        axes.plot([place] * len(means), means, "kx", markersize=3, alpha=0.6, zorder=3)


def draw_missing(arguments: Arguments) -> Figure:
    """One column a task: the return against missing readings, and with each sensor removed."""
    runs = [r for r in scores.find(arguments.runs) if any(s.policy == "agent" for s in r.scores)]
    if not runs:
        raise ValueError(f"no run in {', '.join(arguments.runs)} is evaluated yet")
    kind = scores.comparable(runs)
    found = scores.by_method(runs)
    tasks = scores.in_order((task for task, *_ in found), TABLE_1)
    methods = scores.in_order((method for _, method, _ in found), scores.NAMES)
    removed = scores.in_order((s.condition for r in runs for s in r.scores if s.dropped), ())
    ticks = ["none", *removed]
    figure, axes = panels(1 + bool(removed), len(tasks), arguments.title or kind)
    for task, column in zip(tasks, axes.T, strict=True):
        for index, method in enumerate(methods):
            cells = {c: pairs for (t, m, c), pairs in found.items() if (t, m) == (task, method)}
            if not cells:
                continue
            aside = (index - (len(methods) - 1) / 2) / len(methods)
            style = {"color": color(method), "label": evaluated(method, cells), "markersize": 5}
            line = sorted(filter(_is_plain_loss, cells.values()), key=_share)
            places = [100 * _share(pairs) + 4 * aside for pairs in line]
            errorbar(column[0], places, line, fmt="o-", **style)
            if removed:
                shown = [name for name in ticks if name in cells]
                places = [ticks.index(name) + 0.7 * aside for name in shown]
                errorbar(column[1], places, [cells[name] for name in shown], fmt="o", **style)
        for panel in column:
            untrained(panel, untrained_of(task, runs))
        finish(column[0], task, "missing readings in the evaluation (%)")
        if removed:
            finish(column[1], "", "sensors removed entirely")
            column[1].set_xticks(range(len(ticks)), [t.removeprefix("without ") for t in ticks])
        legend_below(column[-1], 1)
    figure.supxlabel(
        "Bars: 95 % interval of the mean over the episodes of all seeds; crosses: each seed's "
        "mean.\nMethods are moved aside a little, so that all can be seen.",
        fontsize=8,
    )
    return figure


def draw_fusion(arguments: Arguments) -> Figure:
    """One panel a task and head, one color a method of the world model: return by condition."""
    runs = scores.find(arguments.runs, heads=True)
    by_method = {m: [r for r in runs if r.config.method == m] for m in scores.NAMES}
    by_method = {method: mine for method, mine in by_method.items() if mine}
    if len(by_method) < 2:
        raise ValueError(
            f"{', '.join(arguments.runs)} hold world models of one method alone; fusions are "
            "compared between runs of several, such as --method mummi and --method cvrl"
        )
    kinds = {
        scores.comparable(mine).removesuffix(f", world model {method}")
        for method, mine in by_method.items()
    }
    if len(kinds) > 1:
        raise ValueError(f"runs of {len(kinds)} kinds cannot be compared: {'; '.join(kinds)}")
    found = {method: scores.by_method(mine) for method, mine in by_method.items()}
    groups = sorted({(r.config.task, r.name) for r in runs})
    figure, axes = panels(1, len(groups), arguments.title or kinds.pop())
    for (task, head), panel in zip(groups, axes[0], strict=True):
        named = {c for cells in found.values() for t, h, c in cells if (t, h) == (task, head)}
        removed = sorted(named, key=lambda condition: (condition.count(","), condition))
        ticks = scores.in_order(named, dict.fromkeys(("none", "medium", "high", *removed)))
        for index, (method, cells) in enumerate(found.items()):
            aside = 0.4 * (index - (len(found) - 1) / 2) / len(found)
            shown = [c for c in ticks if (task, head, c) in cells]
            places = [ticks.index(c) + aside for c in shown]
            fusion = {"poe": "product of experts", "concat": "concatenation"}[METHODS[method][0]]
            style = {"color": color(method), "label": f"{fusion} ({scores.label(method)})"}
            errorbar(panel, places, [cells[task, head, c] for c in shown], fmt="o", **style)
        untrained(panel, untrained_of(task, runs))
        finish(panel, f"{task}, {head}", "")
        labels = [c.replace("without ", "without\n").replace(", ", ",\n") for c in ticks]
        panel.set_xticks(range(len(ticks)), labels, fontsize=7)
        legend_below(panel, 2)
    figure.supxlabel(
        "Bars: 95 % interval of the mean over the episodes of all seeds; crosses: each seed's mean",
        fontsize=8,
    )
    return figure


def evaluated(method: str, cells: dict[str, list[scores.Pair]]) -> str:
    """Name of a method with the seeds and steps behind its evaluations."""
    counts = sorted({len(pairs) for pairs in cells.values()})
    steps = sorted({score.step for pairs in cells.values() for _, score in pairs})
    span = " to ".join(f"{step:,}" for step in dict.fromkeys((steps[0], steps[-1])))
    return f"{scores.label(method)}, {' or '.join(map(seeds, counts))}, step {span}"


def _share(pairs: list[scores.Pair]) -> float:
    """Share of readings that were missing."""
    return float(np.mean([score.missing for _, score in pairs]))


def _is_plain_loss(pairs: list[scores.Pair]) -> bool:
    """Whether readings were lost at random and nothing else happened to them."""
    return not any(
        score.dropped or any(rule["rule"] != "segments" for rule in score.script["rules"])
        for _, score in pairs
    )


KINDS = {
    "runs": draw_runs,
    "methods": draw_methods,
    "missing": draw_missing,
    "fusion": draw_fusion,
}


def draw(arguments: Arguments) -> None:
    """Writes the picture.

    Raises:
        ValueError: no runs, one without a finished episode, or runs that cannot be compared.
    """
    if not arguments.runs:
        raise ValueError("--runs names no folder")
    figure = KINDS[arguments.kind](arguments)
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
