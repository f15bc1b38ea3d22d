"""What missing sensors cost: each condition less the one with nothing missing, in pairs."""

from collections.abc import Iterable, Mapping

import numpy as np

from experiments.evaluation.conditions import CONTROL
from experiments.evaluation.result import Difference, mean_interval, paired_difference
from experiments.report.cells import by_seed
from experiments.report.scores import Pair
from experiments.report.typeset import OURS, Cell, Row, Table

Key = tuple[str, str, str]
"""Task, method or head, condition; as of ``scores.by_method``."""

TITLE = "What missing sensors cost"
CAPTION = (
    f"Return less that of {CONTROL}, episode by episode: both have the same start state and "
    "background [95 % interval by Student's t: over training seeds where there are several, else "
    "over episodes]."
)


def difference_table(
    cells: Mapping[tuple[Row, str], Cell], heads: tuple[str, str], columns: Iterable[str], **more
) -> list[Table]:
    """The table of ``cells``, in their order of rows; none where there are no cells.

    Args:
        cells: by row and column.
        heads: names of the two columns that name a row.
        columns: in their order.
        **more: as of ``Table``.
    """
    rows = tuple(dict.fromkeys(row for row, _ in cells))
    shown = tuple(column for column in columns if any(column == c for _, c in cells))
    table = Table("differences", OURS, TITLE, CAPTION, heads, rows, shown, dict(cells), **more)
    return [table] * bool(cells)


def difference_cells(found: Mapping[Key, list[Pair]]) -> dict[Key, Cell]:
    """The paired difference of every condition to the control, with its 95 % interval.

    Of several training seeds it is the mean of theirs, with an interval over seeds; of one, an
    interval over its episodes. Where no seed has both of the same episodes there is no cell.
    """
    cells = {}
    for (task, name, condition), pairs in found.items():
        control = found.get((task, name, CONTROL), [])
        if condition != CONTROL and (differences := _differences(control, pairs)):
            cells[task, name, condition] = _cell(differences)
    return cells


def _differences(control: list[Pair], other: list[Pair]) -> list[Difference]:
    """One a training seed that has both, of one checkpoint on the same episodes."""

    def place(pair: Pair) -> tuple:
        trained, score = pair
        return trained.folder, score.seed, score.step, score.background

    controls = {place(pair): pair[1] for pair in control}
    found = [
        paired_difference(controls[place(pair)].by_number, pair[1].by_number)
        for pair in other
        if place(pair) in controls
    ]
    return [difference for difference in found if difference]


def _cell(found: list[Difference]) -> Cell:
    means = [difference.mean for difference in found]
    mean, several = float(np.mean(means)), len(means) > 1
    interval = mean_interval(means) if several else found[0].interval
    counts = by_seed([str(difference.pairs) for difference in found])
    note = f"over {len(means)} seeds" if several else "over the episodes of one seed"
    note += f"; {counts} pair{'s' * (counts != '1')}" + " each" * several
    numbers = {"mean": mean, "episodes": " ".join(str(d.pairs) for d in found)}
    if interval is None:
        return Cell(f"{mean:+.1f} (no interval)", mean, note, numbers=numbers)
    low, high = interval
    text = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return Cell(text, mean, note, numbers=numbers | {"low": low, "high": high})
