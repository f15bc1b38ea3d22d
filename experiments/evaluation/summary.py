"""The results of one evaluation as a table for the terminal."""

from collections.abc import Mapping

import numpy as np
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
    """One row a condition; both mappings are by its name.

    The differences are paired, and intervals hold 95 %.
    """
    view = Table(title=f"{config.task}, {config.method}, seed {config.seed}, step {step}")
    last = list(dict.fromkeys(name for result in results.values() for name in result.last))
    columns = ("sensors", "missing", "return ± sd", "95 % interval", f"less {CONTROL}")
    for column in (*columns, *last, "episodes"):
        side = "left" if column == "sensors" else "right"
        view.add_column(column, justify=side, overflow="fold")
    for name, result in results.items():
        view.add_row(
            name,
            f"{100 * np.mean(result.missing):.1f} %",
            f"{result.mean:.4g} ± {result.std:.3g}",
            _interval(result.interval),
            _difference(differences.get(name)),
            *(f"{result.last[n]:.2f}" if n in result.last else NOTHING for n in last),
            str(len(result.episodes)),
        )
    return view


def _interval(interval: tuple[float, float] | None, form: str = ".4g") -> str:
    return f"{interval[0]:{form}} to {interval[1]:{form}}" if interval else NOTHING


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return NOTHING
    text = f"{difference.mean:+.3g}"
    return f"{text} ({_interval(difference.interval, '+.3g')})" if difference.interval else text
