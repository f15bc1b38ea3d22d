"""MetaWorld: success by difficulty (MIRROR, Table 2) and by what is missing."""

from collections.abc import Iterable

from envs.metaworld.catalogue import GROUPS, TASKS
from experiments.report import paper_results
from experiments.report.cells import describe, numbers_cell
from experiments.report.scores import Pair, Trained, in_order
from experiments.report.shares import Count, interval
from experiments.report.typeset import OURS, Cell, Row, Table
from mummi.imitation.heads.head import HEADS

CONDITIONS = {
    "none": "nothing missing",
    "without corner_rgb": "corner camera missing",
    "without wrist_rgb": "wrist camera missing",
    "without proprio": "proprioception missing",
}
"""Condition of the evaluation -> its column."""
LEVELS = {
    "metaworld_easy": "easy",
    "metaworld_medium": "medium",
    "metaworld_hard": "hard",
    "metaworld_very_hard": "very hard",
    "metaworld": "all",
}
"""Group -> its column."""
EACH = "a model for each task"
HEADS_OF_ROWS = ("trained", "head")


def by_seed(pairs: Iterable[Pair]) -> dict[tuple[int, str], Count]:
    """Successes by seed and task."""
    found: dict[tuple[int, str], Count] = {}
    for trained, score in pairs:
        for index, done in score.by_task.items():
            episodes, name = round(done["episodes"]), list(TASKS)[int(index)]
            before = found.get(key := (trained.config.seed, name), Count(0, 0))
            succeeded = before.succeeded + round(done["success"] * episodes)
            found[key] = Count(succeeded, before.episodes + episodes)
    return found


def counts(pairs: Iterable[Pair]) -> dict[str, Count]:
    """Successes task by task, of all seeds."""
    found: dict[str, Count] = {}
    for (_, task), more in by_seed(pairs).items():
        before = found.get(task, Count(0, 0))
        found[task] = Count(*(a + b for a, b in zip(before, more, strict=True)))
    return found


def metaworld_tables(runs: list[Trained]) -> list[Table]:
    """Success of evaluated runs by group and by what is missing, task by task, and published."""
    found: dict[tuple[str, str, str], list[Pair]] = {}
    for trained in runs:
        for score in trained.scores:
            if score.policy == "agent" and score.condition in CONDITIONS:
                key = _model(trained), trained.name, score.condition
                found.setdefault(key, []).append((trained, score))
    models = in_order((model for model, *_ in found), (*map(_one, GROUPS), EACH))
    rows = [
        (model, head)
        for model in models
        for head in in_order((h for m, h, _ in found if m == model), HEADS)
    ]
    return [
        _by_level(found, rows),
        _by_condition(found, rows),
        published(),
        _by_task(found, rows),
    ]


def _one(group: str) -> str:
    """How the model of a whole group is called."""
    return f"one model, {LEVELS[group]}"


def _model(trained: Trained) -> str:
    task = trained.config.task
    return _one(task) if task in GROUPS else EACH


def _cell(pairs: list[Pair], tasks: Iterable[str]) -> Cell | None:
    """Mean success over those of the tasks that were played; none where none was."""
    wanted = set(tasks)
    done = {name: both for name, both in counts(pairs).items() if name in wanted}
    if not done:
        return None
    share = sum(n / total for n, total in done.values()) / len(done)
    episodes = sum(count.episodes for count in done.values())
    low, high = interval({key: c for key, c in by_seed(pairs).items() if key[1] in wanted})
    text = f"{100 * share:.0f} [{100 * low:.0f}, {100 * high:.0f}]"
    if len(done) < len(wanted):
        text += f", {len(done)} of {len(wanted)} tasks"
    numbers = {"mean": share, "low": low, "high": high}
    # What stands behind one of many tasks is that of its seeds.
    seeds = {trained.config.seed: (trained, score) for trained, score in pairs}
    cell = numbers_cell(
        list(seeds.values()), text, share, describe(list(seeds.values())), **numbers
    )
    cell.numbers["episodes"] = episodes
    return cell


def _by_level(found, rows: list[Row]) -> Table:
    cells = {}
    for row in rows:
        for group, column in LEVELS.items():
            if cell := _cell(found.get((*row, "none"), []), GROUPS[group]):
                cells[row, column] = cell
    caption = (
        "Percent of the episodes that succeed, mean over the tasks of a group [95 % interval of "
        "Wilson, for as many independent episodes as vary like these seeds]. Demonstrations are of "
        "MetaWorld's scripts, pictures are two cameras of this package; other work has its own "
        "cameras and points."
    )
    title = "MetaWorld: success by difficulty, nothing missing"
    shape = (HEADS_OF_ROWS, tuple(rows), tuple(LEVELS.values()), cells)
    return Table("success", OURS, title, caption, *shape, across="condition")


def _by_condition(found, rows: list[Row]) -> Table:
    cells = {}
    for row in rows:
        for condition, column in CONDITIONS.items():
            pairs = found.get((*row, condition), [])
            if cell := _cell(pairs, counts(pairs)):
                cells[row, column] = cell
    caption = "As above, of all tasks that were played."
    shape = (HEADS_OF_ROWS, tuple(rows), tuple(CONDITIONS.values()), cells)
    title = "MetaWorld: success with sensors missing"
    return Table("missing", OURS, title, caption, *shape, across="condition")


def published() -> Table:
    """MetaWorld's columns of MIRROR's Table 2."""
    cells = {
        (("a model for each task", method), LEVELS[group]): Cell(
            f"{percent:.1f}", percent / 100, numbers={"mean": percent / 100}
        )
        for method, numbers in paper_results.MIRROR.items()
        for group, percent in zip(LEVELS, numbers, strict=False)
    }
    rows = tuple(dict.fromkeys(row for row, _ in cells))
    caption = (
        f"Not measured here: {paper_results.SOURCE_MIRROR}, percent. Cameras, networks and hours "
        "are the authors'."
    )
    columns = tuple(list(LEVELS.values())[:4])
    shape = (HEADS_OF_ROWS, rows, columns, cells)
    title, source = "Published numbers, not ours", paper_results.SOURCE_MIRROR
    return Table("published", source, title, caption, *shape, across="condition")


def _by_task(found, rows: list[Row]) -> Table:
    cells = {}
    for model, head in rows:
        for task, (n, total) in counts(found.get((model, head, "none"), [])).items():
            numbers = {"mean": n / total, "episodes": total}
            cells[(task, model), head] = Cell(f"{n} of {total}", n / total, numbers=numbers)
    columns = tuple(dict.fromkeys(head for _, head in rows))
    shape = (("task", "trained"), tuple(sorted({row for row, _ in cells})), columns, cells)
    caption = "Episodes that succeeded, of all seeds."
    return Table("tasks", OURS, "MetaWorld: success task by task", caption, *shape)
