"""Variants of a sweep beside each other: at equal steps, and at equal processor time."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from experiments.evaluation.result import mean_interval
from experiments.evaluation.rollout import write_json
from experiments.evaluation.saved import entries
from experiments.sweeping.jobs import Job
from mummi.runs.logger import read_metrics

SCRIPTS = ("none", "medium", "high")
"""Rows of the evaluation that are compared at equal steps."""

Scores = dict[int, float]
"""Seed -> return."""


def at_the_end(jobs: Sequence[Job], script: str) -> Scores:
    """Mean return of each run's evaluation under a script of missing data."""
    found = {}
    for job in jobs:
        path = pathlib.Path(job.logdir, "eval", f"{script}.json")
        if path.is_file():
            step, mean = entries(path, "step", "mean")
            if step >= job.steps:
                found[job.seed] = mean
    return found


def evaluations(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Processor minutes and return of each evaluation while a run trained, if it began to."""
    begun = pathlib.Path(job.logdir, "metrics.jsonl").is_file()
    rows = read_metrics(pathlib.Path(job.logdir)) if begun else []
    points = [
        (row["cpu_seconds"] / 60, row["evaluation/return"])
        for row in rows
        if "evaluation/return" in row and "cpu_seconds" in row
    ]
    minutes, returns = np.array(sorted(points), float).reshape(-1, 2).T
    return minutes, returns


def at_equal_minutes(jobs: Sequence[Job]) -> tuple[float, dict[Job, float]]:
    """Processor minutes that every run has spent, and each run's return after so many.

    Between two evaluations the return is taken to change evenly.
    """
    curves = {job: evaluations(job) for job in jobs}
    curves = {job: curve for job, curve in curves.items() if len(curve[0])}
    if not curves:
        return 0.0, {}
    common = min(minutes[-1] for minutes, _ in curves.values())
    return common, {job: float(np.interp(common, *curve)) for job, curve in curves.items()}


def less(scores: Scores, first: Scores) -> dict[str, Any] | None:
    """Mean of the differences to the first variant, seed by seed, with its interval."""
    common = sorted(scores.keys() & first.keys())
    if not common:
        return None
    differences = [scores[seed] - first[seed] for seed in common]
    interval = mean_interval(differences)
    return {"mean": float(np.mean(differences)), "interval95": interval, "seeds": common}


def compare(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """One entry a task, method and variant; the first variant of a task is the control.

    ``returns`` maps each of ``SCRIPTS`` and ``minutes`` to the return by seed, and ``less`` each of
    them to the difference to the control; ``cpu_minutes`` is what all of the task's runs have
    spent.
    """
    entries = []
    for task, method in dict.fromkeys((job.task, job.method) for job in jobs):
        own = [job for job in jobs if (job.task, job.method) == (task, method)]
        minutes, equal = at_equal_minutes(own)
        control: dict[str, Scores] = {}
        for variant in dict.fromkeys(job.variant for job in own):
            runs = [job for job in own if job.variant == variant]
            returns = {script: at_the_end(runs, script) for script in SCRIPTS}
            returns["minutes"] = {job.seed: equal[job] for job in runs if job in equal}
            control = control or returns
            entries.append(
                {
                    "task": task,
                    "method": method,
                    "variant": variant,
                    "cpu_minutes": minutes,
                    "returns": returns,
                    "less": {name: less(returns[name], control[name]) for name in returns},
                }
            )
    return entries


def compared(logdir: str, jobs: Sequence[Job]) -> Table:
    """The comparison as a table; also written to LOGDIR/comparison.json."""
    entries = compare(jobs)
    write_json(pathlib.Path(logdir, "comparison.json"), {"entries": entries})
    view = Table(
        title="means over seeds; in brackets less the first variant, seed by seed [95 %]",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in ("task", "variant", *SCRIPTS, "equal CPU", "seeds"):
        view.add_column(column, justify="left" if column in ("task", "variant") else "right")
    for entry in entries:
        cells = [_cell(entry, name) for name in (*SCRIPTS, "minutes")]
        task = entry["task"] if entry["method"] == "mummi" else f"{entry['task']} {entry['method']}"
        if cells[-1]:
            cells[-1] += f"\nafter {entry['cpu_minutes']:.0f} min"
        seeds = max(len(scores) for scores in entry["returns"].values())
        view.add_row(task, entry["variant"], *cells, str(seeds))
    return view


def _cell(entry: Mapping[str, Any], name: str) -> str:
    returns, difference = entry["returns"][name], entry["less"][name]
    if not returns:
        return ""
    mean = np.mean(list(returns.values()))
    # Where success ends an episode with a reward of 1, returns are shares.
    digits = 0 if abs(mean) >= 10 else 2
    text = f"{mean:.{digits}f}"
    if difference and difference["mean"]:
        text += f" ({difference['mean']:+.{digits}f}"
        if difference["interval95"]:
            low, high = difference["interval95"]
            text += f" \\[{low:+.{digits}f}, {high:+.{digits}f}]"
        text += ")"
    return text
