"""Action heads side by side: returns with sensors missing, how they move and how fast they are."""

import numpy as np

from experiments.report.cells import describe, mean_cell, numbers_cell, untrained_cell
from experiments.report.differences import difference_cells, difference_table
from experiments.report.learning import learning_tables
from experiments.report.rejection import rejection_tables
from experiments.report.scores import Pair, Trained, by_method, in_order, scripted
from experiments.report.typeset import OURS, Cell, Row, Table
from mummi.imitation.heads.head import HEADS

LEVELS = ("none", "medium", "high")
UNTRAINED = {"random": "random policy", "expert": "expert"}
"""Policies without training and their rows."""
MEASURES = {
    "jerk": ("jerk", "{:.3f}"),
    "mode_switch_rate": ("mode switches", "{:.2f}"),
    "diversity": ("diversity", "{:.3f}"),
    "latency_ms": ("latency, ms", "{:.1f}"),
    "latency_p99_ms": ("p99, ms", "{:.1f}"),
    "hertz": ("rate, Hz", "{:.0f}"),
}
"""Measure -> its column and format."""


def heads_tables(runs: list[Trained]) -> list[Table]:
    """Rows are heads, the random policy and the expert; columns what is missing, or measures."""
    found = by_method(runs)
    tasks = in_order((task for task, *_ in found), ())
    heads = in_order((head for _, head, _ in found), HEADS)
    conditions = in_order((condition for *_, condition in found), LEVELS)
    rows: list[Row] = []
    returns: dict[tuple[Row, str], Cell] = {}
    measures: dict[tuple[Row, str], Cell] = {}
    for task in tasks:
        for head in heads:
            rows.append((task, head))
            for condition in conditions:
                if pairs := found.get((task, head, condition)):
                    returns[(task, head), condition] = mean_cell(pairs)
            measures |= _measured((task, head), found.get((task, head, "none"), []))
        for policy, row in UNTRAINED.items():
            if pairs := scripted(runs, policy).get(task):
                rows.append((task, row))
                returns[(task, row), "none"] = untrained_cell(pairs)
                measures |= _measured((task, row), pairs, trained=False)
    caption = (
        "Mean ± standard deviation of the return over the episodes of all seeds, pooled. The "
        "random policy and the expert, which knows the true state, read no sensor."
    )
    first = Table(
        "heads", OURS, "Action heads: returns with sensors missing", caption, ("task", "head"),
        tuple(rows), tuple(conditions), returns, across="condition",
    )  # fmt: skip
    caption = (
        "Means over seeds, nothing missing. Jerk is that of the executed actions, a step being the "
        "unit of time; mode switches are the share of new chunks that differ from what the last "
        "one held, and diversity is the mean distance between the candidates of a chunk, both of "
        "heads that make chunks. Latency is from the sensors of one robot to its action."
    )
    columns = tuple(column for column, _ in MEASURES.values())
    shown = tuple(row for row in rows if any(row == measured for measured, _ in measures))
    second = Table(
        "motion", OURS, "Action heads: motion and speed", caption, ("task", "head"), shown,
        columns, measures, across="condition",
    )  # fmt: skip
    costs = {((task, head), c): cell for (task, head, c), cell in difference_cells(found).items()}
    costs = {(row, c): costs[row, c] for row in rows for c in conditions if (row, c) in costs}
    added = difference_table(costs, ("task", "head"), conditions, across="condition")
    earned = {row: cell for (row, condition), cell in returns.items() if condition == "none"}
    learned = learning_tables(runs, rows, earned, "return")
    return [first, *added, *learned, *([second] if measures else []), *rejection_tables(runs)]


def _measured(row: Row, pairs: list[Pair], trained: bool = True) -> dict[tuple[Row, str], Cell]:
    """The cells of what was measured."""
    cells = {}
    for name, (column, form) in MEASURES.items():
        values = [score.measures.get(name) for _, score in pairs]
        values = [value for value in values if value is not None]
        # What a policy without networks takes is no latency of a head.
        if values and (trained or name == "jerk"):
            mean = float(np.mean(values))
            text, note = form.format(mean), describe(pairs, trained)
            cell = numbers_cell(pairs, text, mean, note, mean=mean)
            cells[row, column] = cell if trained else Cell(text, mean, note, numbers={"mean": mean})
    return cells
