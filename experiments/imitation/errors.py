"""How far actions are from a demonstrator's: means over actions and horizons, and tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.evaluation.result import mean_interval
from mummi.imitation.record import Split

MEAN, LAST = "mean action", "last action"
"""Controls: the mean action of what was learned from, and what was done last."""
NOTHING = "–"


def controls(
    actions: Sequence[np.ndarray], ahead: Sequence[np.ndarray], split: Split
) -> dict[str, list[np.ndarray]]:
    """The actions of the two controls, in the units of the data.

    Args:
        actions: what was done in each demonstration, [T, A].
        ahead: how many steps ahead a head chose each action, int [T]; the last action is the one
            before it chose, and before the first it is the mean.
        split: has the mean.
    """
    mean = np.array(split.mean)
    repeated = []
    for done, steps in zip(actions, ahead, strict=True):
        before = np.arange(len(done)) - steps
        repeated.append(np.where((before >= 0)[:, None], done[np.maximum(before, 0)], mean))
    return {MEAN: [np.tile(mean, (len(done), 1)) for done in actions], LAST: repeated}


def summary(
    actions: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    ahead: Sequence[np.ndarray],
    split: Split,
) -> dict[str, Any]:
    """Errors, each demonstration counting as one.

    Args:
        actions: of each demonstration [T, A], in the units of the data.
        wanted: what the demonstrator wanted, alike.
        ahead: how many steps ahead each action was chosen, int [T].
        split: has the standard deviations.

    Returns:
        For JSON: ``error``, the mean absolute one over all dimensions; ``normalised``, the mean
        squared one over the variance in what was learned from, of the dimensions that vary there;
        ``interval95`` of it over demonstrations; ``by_dimension`` and ``normalised_by_dimension``,
        None where one never varies; and a list ``by_horizon`` with all of these of the actions
        chosen 1, 2, … steps ahead.
    """
    errors = [np.abs(a - b) for a, b in zip(actions, wanted, strict=True)]
    std = np.array(split.std)
    varies = std > 0

    def means(errors: Sequence[np.ndarray]) -> dict[str, Any]:
        errors = [error for error in errors if len(error)]
        each = np.stack([error.mean(0) for error in errors])
        squares = np.stack([np.square(error).mean(0) for error in errors])
        normalised = squares[:, varies] / np.square(std[varies])
        by_dimension = np.full(len(std), None, object)
        by_dimension[varies] = normalised.mean(0)
        overall = normalised.sum(1) / max(1, varies.sum())
        return {
            "error": float(each.mean()),
            "normalised": float(overall.mean()),
            "interval95": mean_interval(overall.tolist()),
            "by_dimension": each.mean(0).tolist(),
            "normalised_by_dimension": by_dimension.tolist(),
        }

    horizons = sorted({int(step) for steps in ahead for step in steps})
    by_horizon = []
    for horizon in horizons:
        chosen = [error[steps == horizon] for error, steps in zip(errors, ahead, strict=True)]
        count = sum(len(error) for error in chosen)
        by_horizon.append({"horizon": horizon, "steps": count, **means(chosen)})
    return {**means(errors), "by_horizon": by_horizon}


def show(content: dict[str, Any], console: Console) -> None:
    """Prints what ``held_out.json`` says, as tables."""
    console.print(_conditions(content))
    console.print(_dimensions(content))
    if len(next(iter(content["rows"].values()))["by_horizon"]) > 1:
        console.print(_horizons(content))


def _table(title: str, caption: str | None, *columns: str) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _conditions(content: dict[str, Any]) -> Table:
    count = len(content["held_out"])
    table = _table(
        f"{content['head']}, {content['method']}, seed {content['seed']}, {count} held-out "
        f"demonstration{'s' * (count > 1)}",
        "error: mean absolute one of the action; normalised: squared over its variance, so that 1 "
        "is what the mean action gets [95 % interval over demonstrations]",
        *("sensors", "missing", "error", "normalised"),
    )
    for name, row in content["rows"].items():
        table.add_row(name, f"{100 * row['missing']:.0f} %", *_means(row))
    table.add_section()
    for name, row in content["controls"].items():
        table.add_row(name, NOTHING, *_means(row))
    return table


def _means(row: dict[str, Any]) -> tuple[str, str]:
    text = f"{row['normalised']:.3f}"
    if interval := row["interval95"]:
        text += escape(f" [{interval[0]:.3f}, {interval[1]:.3f}]")
    return f"{row['error']:.3g}", text


def _dimensions(content: dict[str, Any]) -> Table:
    name, row = next(iter(content["rows"].items()))
    columns = {name: row, **content["controls"]}
    table = _table("error by action, in the units of the data", None, "action", *columns, "std")
    for dimension, std in enumerate(content["action_std"]):
        errors = [f"{row['by_dimension'][dimension]:.3g}" for row in columns.values()]
        table.add_row(str(dimension), *errors, f"{std:.3g}")
    return table


def _horizons(content: dict[str, Any]) -> Table:
    rows = content["rows"] | content["controls"]
    steps = [str(entry["horizon"]) for entry in next(iter(rows.values()))["by_horizon"]]
    table = _table("normalised error by steps ahead", None, "sensors", *steps)
    for name, row in rows.items():
        table.add_row(name, *(f"{entry['normalised']:.3f}" for entry in row["by_horizon"]))
    return table
