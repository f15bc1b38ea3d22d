"""The results of one evaluation as a table for the terminal."""

from collections.abc import Mapping

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from experiments.evaluation.conditions import CONTROL
from experiments.evaluation.result import Difference, Result
from mummi.config import Config

NOTHING = "–"


def table(
    config: Config,
    step: int,
    results: Mapping[str, Result],
    differences: Mapping[str, Difference],
) -> Table:
    """One row a condition, n episodes each, in 80 columns; both mappings are by its name."""
    view = Table(
        title=f"{config.task}, {config.method}, seed {config.seed}, step {step}",
        caption=f"[95 % interval over episodes]; less {CONTROL}: paired, episode by episode",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    last = list(dict.fromkeys(name for result in results.values() for name in result.last))
    for column in ("sensors", "missing", "return", f"less {CONTROL}", *last, "n"):
        view.add_column(column, justify="left" if column == "sensors" else "right")
    for name, result in results.items():
        difference = differences.get(name)
        view.add_row(
            name,
            f"{100 * np.mean(result.missing):.0f} %",
            _with_interval(result.mean, result.interval),
            _with_interval(difference.mean, difference.interval, "+") if difference else NOTHING,
            *(f"{result.last[n]:.2f}" if n in result.last else NOTHING for n in last),
            str(len(result.episodes)),
        )
    return view


def _with_interval(mean: float, interval: tuple[float, float] | None, sign: str = "") -> str:
    text = _number(mean, sign)
    if interval is not None:
        text += escape(f" [{', '.join(map(_number, interval))}]")
    return text


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"
