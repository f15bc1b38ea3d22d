"""What heads that learn by rejection rejected in training, as their runs logged it."""

import numpy as np

from experiments.report.scores import Trained, in_order
from experiments.report.typeset import OURS, Cell, Table
from mummi.imitation.chunks.imle import SHARES
from mummi.imitation.heads.head import HEADS
from mummi.runs.logger import read_metrics

FIRST = "rejected at first"
"""Column of the first report of each run."""


def rejection(run: Trained) -> dict[str, float]:
    """Shares by their names, means over the training of a run's head; empty where none are logged.

    A head whose training was broken off is trained anew, and the earlier reports do not count.
    """
    reports: list[dict] = []
    logged = run.imitation and (run.folder / "metrics.jsonl").is_file()
    for row in read_metrics(run.folder) if logged else []:
        if "head/rejected" in row:
            if reports and row["step"] <= reports[-1]["step"]:
                reports.clear()
            reports.append(row)
    if not reports:
        return {}
    names = [name for name in SHARES if f"head/{name}" in reports[0]]
    means = {name: float(np.mean([row[f"head/{name}"] for row in reports])) for name in names}
    return {FIRST: reports[0]["head/rejected"], **means}


def rejection_tables(runs: list[Trained]) -> list[Table]:
    """A table with a row for each task and head that rejects, or none at all."""
    by_row: dict[tuple[str, str], list[tuple[int, dict[str, float]]]] = {}
    for run in runs:
        if shares := rejection(run):
            found = by_row.setdefault((run.config.task, run.name), [])
            found.append((run.config.seed, shares))
    heads = in_order((head for _, head in by_row), HEADS)
    rows = sorted(by_row, key=lambda row: (row[0], heads.index(row[1])))
    cells = {}
    for row in rows:
        seeds = ", ".join(str(seed) for seed, _ in by_row[row])
        for column in by_row[row][0][1]:
            mean = float(np.mean([shares[column] for _, shares in by_row[row]]))
            numbers = {"mean": mean, "seeds": seeds.replace(",", "")}
            cells[row, column] = Cell(f"{mean:.2f}", mean, f"seed {seeds}", numbers=numbers)
    caption = (
        "Means over seeds and over the training of the head; at first is its first report. "
        "Rejected is the share of candidates that no loss sees, capped that of updates at which "
        "the threshold is at its upper clamp; fallback and dropped are the shares of conditions of "
        "which all candidates are rejected: mirror takes them all back, imle leaves the condition "
        "out. Where nothing is rejected, the loss is that of the nearest candidate."
    )
    table = Table(
        "rejection", OURS, "Action heads: rejection in training", caption, ("task", "head"),
        tuple(rows), (FIRST, *SHARES), cells, across="condition",
    )  # fmt: skip
    return [table] if rows else []
