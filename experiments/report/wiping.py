"""Table II of the paper: Table Wiping with and without the workspace camera."""

from collections.abc import Callable

import numpy as np

from experiments.report import paper_results
from experiments.report.cells import mean_cell, untrained_cell
from experiments.report.differences import difference_cells, difference_table
from experiments.report.scores import NAMES, Pair, Trained, by_method, in_order, label, scripted
from experiments.report.typeset import OURS, Cell, Table

WIPING = "table_wiping"
CONDITIONS = dict(
    zip(
        paper_results.TABLE_2,
        ("medium", "none", "without workspace_rgb; medium", "without workspace_rgb"),
        strict=True,
    )
)
"""Row of Table II -> condition of the evaluation."""
UNTRAINED = {"random": "random policy", "expert": "scripted expert"}
"""Policies without training and their rows."""
NO_TRAINING = "no training"
"""Their column."""
HEADS = ("task", "sensors")


def wiping_tables(runs: list[Trained]) -> list[Table]:
    """Returns and dirt wiped of evaluated runs of Table Wiping, and the paper's returns."""
    caption = (
        "Mean ± standard deviation of the return over the episodes of all seeds, pooled; the "
        "highest mean of a row is bold. The random policy and the expert, which knows the true "
        "state, read no sensor."
    )
    returns = _table(runs, "returns", "Table II: Table Wiping", caption, mean_cell, untrained_cell)
    caption = (
        "Mean over seeds of the proportion of the dirt that is wiped when an episode ends; in "
        "brackets the share of the episodes in which all of it is. The highest of a row is bold."
    )
    wiped = _table(runs, "wiped", "Dirt wiped", caption, wiped_cell, wiped_cell)
    return [returns, *_differences(runs), published(), wiped]


def _differences(runs: list[Trained]) -> list[Table]:
    found = difference_cells(by_method(runs))
    methods = in_order((method for _, method, _ in found), NAMES)
    cells = {
        ((WIPING, sensors), label(method)): found[WIPING, method, condition]
        for sensors, condition in CONDITIONS.items()
        for method in methods
        if (WIPING, method, condition) in found
    }
    return difference_table(cells, HEADS, map(label, methods))


def _table(
    runs: list[Trained],
    name: str,
    title: str,
    caption: str,
    trained: Callable[[list[Pair]], Cell],
    untrained: Callable[[list[Pair]], Cell],
) -> Table:
    found, cells = by_method(runs), {}
    methods = in_order((method for _, method, _ in found), NAMES)
    for sensors, condition in CONDITIONS.items():
        for method in methods:
            if pairs := found.get((WIPING, method, condition)):
                cells[(WIPING, sensors), label(method)] = trained(pairs)
    for policy, row in UNTRAINED.items():
        if pairs := scripted(runs, policy).get(WIPING):
            cells[(WIPING, row), NO_TRAINING] = untrained(pairs)
    rows = tuple((WIPING, row) for row in (*CONDITIONS, *UNTRAINED.values()))
    columns = (*map(label, methods), NO_TRAINING)
    return Table(name, OURS, title, caption, HEADS, rows, columns, cells, True)


def wiped_cell(pairs: list[Pair]) -> Cell:
    """Means over seeds of the proportion wiped and of success, at the end of an episode."""
    wiped, success = (
        float(np.mean([score.last[name] for _, score in pairs])) for name in ("wiped", "success")
    )
    text = f"{100 * wiped:.0f} % ({100 * success:.0f} %)"
    return Cell(text, wiped, numbers={"mean": wiped})


def published() -> Table:
    """The paper's Table II."""
    cells = {}
    for sensors, numbers in paper_results.TABLE_2.items():
        for method, (mean, sd) in zip(paper_results.METHODS_2, numbers, strict=True):
            csv = {"mean": mean, "sd": sd, "episodes": paper_results.EPISODES}
            cell = Cell(f"{mean:.1f} ± {sd:.1f}", mean, numbers=csv)
            cells[(WIPING, sensors), label(method)] = cell
    caption = (
        f"Not measured here: {paper_results.SOURCE_2}, the authors' own code, sizes and domain "
        "randomisation, after what the text calls 1 million episodes with 37.5 % of the data "
        "missing in training. Mean ± standard deviation over "
        f"{paper_results.EPISODES} episodes. Neither episode length nor reward scale is told, so "
        "the numbers are not on the scale of ours."
    )
    rows = tuple((WIPING, sensors) for sensors in paper_results.TABLE_2)
    columns = tuple(map(label, paper_results.METHODS_2))
    title, source = "Published numbers, not ours", paper_results.SOURCE_2
    return Table("published", source, title, caption, HEADS, rows, columns, cells)
