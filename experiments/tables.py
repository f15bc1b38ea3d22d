"""Tables of the paper from evaluated runs: python -m experiments.tables --runs runs."""

import dataclasses
import itertools
import pathlib
from typing import Literal

import numpy as np
import tyro

from experiments.command_line import explain
from experiments.report import paper_results
from experiments.report.cells import by_seed, describe, mean_cell, numbers_cell, untrained_cell
from experiments.report.differences import difference_cells, difference_table
from experiments.report.heads import heads_tables
from experiments.report.libero import libero_tables
from experiments.report.metaworld import metaworld_tables
from experiments.report.scores import (
    NAMES,
    Pair,
    Trained,
    by_method,
    comparable,
    find,
    in_order,
    label,
    scripted,
)
from experiments.report.typeset import OURS, RANDOM, Cell, Table, latex, markdown, records
from experiments.report.wiping import WIPING, wiping_tables

LEVELS = ("none", "medium", "high")
ALL_TASKS = "all tasks"
REPS = 2_000
"""Bootstrap samples of each interval."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Tables of all evaluated runs: by missing data, with intervals, and by removed sensor.

    Table II is that of Table Wiping alone. It has the rows that
    --missing none medium --drop workspace_rgb --drop-missing none medium --random --expert gives
    in experiments.evaluate.

    Runs of one command share preset, missing data in training and background; anything else that
    differs is marked in the tables.

    Attributes:
        runs: folders that are runs or hold runs, at any depth.
        out: files to write, without ending: OUT.md, OUT.csv and OUT.tex; by default
            docs/results/table1, table2, heads, libero_heads or metaworld_heads.
        table: number of the paper's table, heads for the action heads of experiments.imitate,
            rl4il for their success on LIBERO with cameras missing (RL4IL's Table 1), or mirror for
            that on MetaWorld by difficulty (MIRROR's Table 2).
    """

    runs: tuple[str, ...]
    out: str = ""
    table: Literal[1, 2, "heads", "rl4il", "mirror"] = 1


def interquartile(scores: list[np.ndarray]) -> tuple[float, tuple[float, float] | None]:
    """Interquartile mean over seeds and tasks and its 95 % interval.

    Args:
        scores: for each task, the mean return of each seed.

    Returns:
        The mean, and the percentile interval of a bootstrap stratified by task; none when a task
        has a single seed, which says nothing of how another would do.
    """
    from rliable import library, metrics  # seconds to import

    def statistic(*strata: np.ndarray) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(np.concatenate(strata))])

    if min(map(len, scores)) < 2:
        return float(statistic(*scores)[0]), None
    state = np.random.get_state()
    np.random.seed(0)  # rliable draws from NumPy's global generator
    try:
        points, intervals = library.get_interval_estimates({0: scores}, statistic, reps=REPS)
    finally:
        np.random.set_state(state)
    low, high = intervals[0][:, 0]
    return float(points[0][0]), (float(low), float(high))


def interquartile_cell(groups: dict[str, list[Pair]], tasks: list[str]) -> Cell:
    """Interquartile mean over the seeds of one or more tasks."""
    scores = [np.array([np.mean(score.returns) for _, score in pairs]) for pairs in groups.values()]
    value, interval = interquartile(scores)
    notes = {task: describe(pairs) for task, pairs in groups.items()}
    note = notes[next(iter(notes))]
    if len(set(notes.values())) > 1 or list(notes) != tasks:
        note = ". ".join(f"{task}: {text}" for task, text in notes.items())
    pairs = [pair for group in groups.values() for pair in group]
    if interval is None:
        return numbers_cell(pairs, f"{value:.1f} (no interval)", value, note, iqm=value)
    low, high = interval
    text = f"{value:.1f} [{low:.1f}, {high:.1f}]"
    return numbers_cell(pairs, text, value, note, iqm=value, low=low, high=high)


def tables(runs: list[Trained]) -> list[Table]:
    """Table I and what goes with it, of evaluated runs that may be compared."""
    found, chance = by_method(runs), scripted(runs, "random")
    tasks = in_order((r.config.task for r in runs), paper_results.TABLE_1)
    methods = in_order((method for _, method, _ in found), NAMES)
    conditions = in_order((condition for *_, condition in found), LEVELS)
    dropped = {s.condition for r in runs for s in r.scores if s.dropped}
    removed = {c: c for c in conditions if c in dropped}
    levels = {c: c for c in conditions if c not in removed}
    columns = (*map(label, methods), *([RANDOM] if chance else []))
    caption = (
        "Mean ± standard deviation of the return over the episodes of all seeds, pooled; the "
        "highest mean of a row is bold."
    )
    if chance:
        caption += (
            " The random policy reads no sensor, so one number stands for all rows of a task."
        )

    def means(name: str, title: str, head: str, conditions: dict[str, str]) -> Table:
        cells = {}
        for task in tasks:
            for condition, shown in conditions.items():
                for method in methods:
                    if pairs := found.get((task, method, condition)):
                        cells[(task, shown), label(method)] = mean_cell(pairs)
                if task in chance and any(row == (task, shown) for row, _ in cells):
                    cells[(task, shown), RANDOM] = untrained_cell(chance[task])
        rows = tuple(dict.fromkeys(row for row, _ in cells))
        return Table(name, OURS, title, caption, ("task", head), rows, columns, cells, True)

    result = [means("returns", "Table I: returns with sensors missing", "missing data", levels)]
    costs = difference_cells(found)
    cells = {
        ((task, condition), label(method)): costs[task, method, condition]
        for task, condition, method in itertools.product(tasks, conditions, methods)
        if (task, method, condition) in costs
    }
    result += difference_table(cells, ("task", "missing"), map(label, methods))
    if reported := [task for task in paper_results.TABLE_1 if task in tasks]:
        result.append(published(reported))
    result.append(interquartile_table(found, tasks, methods, list(levels)))
    if removed:
        shown = {c: "all" for c in levels if c == "none"} | removed
        result.append(means("removed", "Sensors removed entirely", "sensors", shown))
    return result


def published(tasks: list[str]) -> Table:
    """The paper's Table I for some tasks."""
    cells = {}
    for task in tasks:
        for level, numbers in paper_results.TABLE_1[task].items():
            for method, (mean, sd) in zip(paper_results.METHODS, numbers, strict=True):
                csv = {"mean": mean, "sd": sd, "episodes": paper_results.EPISODES}
                cell = Cell(f"{mean:.1f} ± {sd:.1f}", mean, numbers=csv)
                cells[(task, level), label(method)] = cell
    caption = (
        f"Not measured here: {paper_results.SOURCE}, the authors' own code, sizes and background "
        "videos, after 2 million environment steps (in the text: episodes) with 37.5 % of the "
        "data missing in training. Mean ± standard deviation over "
        f"{paper_results.EPISODES} episodes of three seeds."
    )
    title, heads = "Published numbers, not ours", ("task", "missing data")
    rows = tuple(itertools.product(tasks, LEVELS))
    columns = tuple(map(label, paper_results.METHODS))
    return Table("published", paper_results.SOURCE, title, caption, heads, rows, columns, cells)


def interquartile_table(found: dict, tasks: list[str], methods: list[str], levels: list[str]):
    """Interquartile means with intervals, over all tasks and for each."""
    cells = {}
    for name in [ALL_TASKS, *tasks] if len(tasks) > 1 else tasks:
        chosen = tasks if name == ALL_TASKS else [name]
        for level in levels:
            for method in methods:
                groups = {t: found[t, method, level] for t in chosen if (t, method, level) in found}
                if groups:
                    key = (name, level), label(method)
                    cells[key] = interquartile_cell(groups, chosen)
    caption = (
        "Interquartile mean of the seeds' mean returns [95 % interval of a bootstrap over seeds, "
        f"stratified by task, {REPS:,} samples, by rliable]; the highest of a row is bold. Returns "
        "are not rescaled: those of every DeepMind Control task lie between 0 and 1,000. Of fewer "
        "than four scores nothing is trimmed: it is the mean. A task with a single seed leaves no "
        "interval, and with two or three seeds it is too narrow."
    )
    title, heads = "Interquartile means with intervals over seeds", ("task", "missing data")
    rows, columns = tuple(dict.fromkeys(row for row, _ in cells)), tuple(map(label, methods))
    return Table("iqm", OURS, title, caption, heads, rows, columns, cells, True)


def compared(runs: list[Trained]) -> Table:
    """For each method and task: seeds, steps and settings."""
    methods = in_order((r.name for r in runs), NAMES)
    tasks = in_order((r.config.task for r in runs), paper_results.TABLE_1)
    cells = {}
    for method, task in itertools.product(methods, tasks):
        group = [r for r in runs if (r.name, r.config.task) == (method, task)]
        if not group:
            continue
        config = group[0].config
        steps = [sorted({s.step for s in r.scores if s.policy == "agent"}) for r in group]
        values = {
            "seeds": ", ".join(str(r.config.seed) for r in group),
            "evaluated at step": by_seed([" and ".join(f"{x:,}" for x in s) for s in steps]),
            "last checkpoint": by_seed([f"{r.latest:,}" if r.latest else "–" for r in group]),
            "preset": config.preset,
            "missing in training": group[0].missing,
            "background": config.background,
            "changed settings": by_seed([", ".join(r.changed) or "–" for r in group]),
        }
        if group[0].imitation:
            values["demonstrations"] = by_seed([r.imitation.data for r in group])
        for column, text in values.items():
            cells[(label(method), task), column] = Cell(text)
    rows = tuple(dict.fromkeys(row for row, _ in cells))
    columns = tuple(dict.fromkeys(column for _, column in cells))
    caption = "A slash stands between seeds that differ."
    return Table(
        "compared", OURS, "What is compared", caption, ("method", "task"), rows, columns, cells
    )


def write(arguments: Arguments) -> str:
    """Writes the three files; returns the Markdown.

    Raises:
        ValueError: no evaluated run, or runs that cannot be compared.
        FileNotFoundError: a folder does not exist.
    """
    runs = find(arguments.runs, heads=arguments.table not in (1, 2))
    if family := {2: WIPING, "rl4il": "libero", "mirror": "metaworld"}.get(arguments.table):
        runs = [r for r in runs if r.config.task.startswith(family)]
        if not runs:
            raise ValueError(f"--table {arguments.table} is of {family}, and no run in --runs is")
    evaluated = [r for r in runs if any(score.policy == "agent" for score in r.scores)]
    if not evaluated:
        raise ValueError(
            f"none of {len(runs)} runs is evaluated; python -m experiments.evaluate --logdir "
            f"{runs[0].folder}"
        )
    kind = comparable(evaluated)
    kinds = {1: tables, 2: wiping_tables, "heads": heads_tables}
    kinds |= {"rl4il": libero_tables, "mirror": metaworld_tables}
    results = kinds[arguments.table](evaluated)
    results.append(compared(evaluated))
    flag = "" if arguments.table == 1 else f" --table {arguments.table}"
    command = f"python -m experiments.tables{flag}"
    head = f"# Results\n\nWritten by `{command}`. All runs: {kind}."
    if left := [f"`{r.folder}`" for r in runs if r not in evaluated]:
        head += f"\n\nNot evaluated, and left out: {', '.join(left)}."
    text = "\n\n".join([head, *map(markdown, results)]) + "\n"
    pathlib.Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    files = {
        "md": text,
        "csv": records(results),
        "tex": "% needs \\usepackage{booktabs}\n" + "\n\n".join(map(latex, results)) + "\n",
    }
    for ending, content in files.items():
        pathlib.Path(f"{arguments.out}.{ending}").write_text(content)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, writes and prints the tables."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.tables", args=arguments)
        names = {1: "table1", 2: "table2", "heads": "heads"}
        names |= {"rl4il": "libero_heads", "mirror": "metaworld_heads"}
        out = parsed.out or f"docs/results/{names[parsed.table]}"
        parsed = dataclasses.replace(parsed, out=out)
        print(write(parsed))
        print(f"tables: {parsed.out}.md, {parsed.out}.csv, {parsed.out}.tex")


if __name__ == "__main__":
    main()
