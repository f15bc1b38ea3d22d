"""How action heads learned: what they saw, and errors on what is held out, beside earnings."""

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.evaluation import saved
from experiments.report.scores import Trained
from experiments.report.typeset import OURS, Cell, Row, Table
from mummi.imitation import record

SEEN = {"windows": "{:,.0f}", "passes": "{:.1f}"}
"""What the training of a head notes, which is its column, and the format."""
ERROR = "held-out error"
CAPTION = (
    "Means over seeds. Windows of demonstrations that a head saw in training, and passes over the "
    "data, copies with sensors failing among them. The error is the squared one of the actions on "
    "held-out demonstrations over their variance, nothing missing: 1 is what the mean action gets. "
    "Beside it the mean action itself and the last one once more."
)


def learning_tables(
    runs: Sequence[Trained], rows: Sequence[Row], earned: dict[Row, Cell], measure: str
) -> list[Table]:
    """One table of the runs that tell how they learned; none where no run does.

    Args:
        runs: of experiments.imitate.
        rows: (task, head) in their order.
        earned: by row what it earns with nothing missing.
        measure: what that is, for its column.
    """
    found: dict[tuple[Row, str], list[float]] = {}
    formats = {}
    for run in runs:
        for column, form, value in _numbers(run):
            formats[column] = form
            found.setdefault(((run.config.task, run.name), column), []).append(value)
    cells = {}
    for key, values in found.items():
        mean = float(np.mean(values))
        cells[key] = Cell(formats[key[1]].format(mean), mean, numbers={"mean": mean})
    shown = tuple(row for row in rows if any(row == of for of, _ in cells))
    if not shown:
        return []
    cells |= {(row, measure): earned[row] for row in shown if row in earned}
    first = (measure, *SEEN, ERROR)
    controls = (column for column in formats if column not in first)
    columns = tuple(c for c in (*first, *controls) if any(c == of for _, of in cells))
    title, heads = "Action heads: how they learned", ("task", "head")
    return [Table("learning", OURS, title, CAPTION, heads, shown, columns, cells,
                  across="condition")]  # fmt: skip


def _numbers(run: Trained) -> Iterator[tuple[str, str, float]]:
    """Columns, their formats, and what the run's files say there."""
    noted = saved.load(run.folder / record.LEARNED).get("head", {})
    errors = saved.load(run.folder / record.HELD_OUT)
    try:
        yield from ((n, form, noted[n]) for n, form in SEEN.items() if n in noted)
        if errors:
            yield ERROR, "{:.3f}", errors["rows"]["none"]["normalised"]
            for name, row in errors["controls"].items():
                yield name, "{:.3f}", row["normalised"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{run.folder / record.HELD_OUT} is damaged or from another version ({error!r}); "
            "remove it, and the run's command makes it anew"
        ) from error
