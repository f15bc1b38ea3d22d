"""LIBERO: success by suite and by what is missing, of every head and of the controls."""

from collections.abc import Iterable

import numpy as np

from experiments.report import paper_results
from experiments.report.cells import describe, numbers_cell
from experiments.report.heads import UNTRAINED
from experiments.report.learning import learning_tables
from experiments.report.scores import Pair, Trained, by_method, in_order, scripted
from experiments.report.shares import Count, Counts, interval, share, total
from experiments.report.typeset import OURS, Cell, Row, Table
from mummi.imitation.heads.head import HEADS

CONDITIONS = {
    "none": "nothing missing",
    "without agentview_rgb": "agent camera missing",
    "without wrist_rgb": "wrist camera missing",
    "without agentview_rgb, wrist_rgb": "both missing",
}
"""Condition of the evaluation -> its column."""
CONTROL = "replay"
"""The head that reads the instruction alone."""
ROWS = {CONTROL: "control: random demonstration of the same instruction"}
"""Head -> its row, where that is not its name."""
BEST = "best of any suite with one camera missing"
FAILURES = ("never_closed", "not_lifted", "not_brought")
"""Numbers of ``TimeStep.info`` that say how an episode failed."""
HEADS_OF_ROWS = ("suite", "head")


def successes(pairs: Iterable[Pair]) -> Counts:
    """Episodes that succeeded and all episodes, by seed and task."""
    found: dict[tuple[int, str], Count] = {}
    for trained, score in pairs:
        whole = {"episodes": len(score.returns), "success": score.last["success"]}
        for task, done in (score.by_task or {trained.config.task: whole}).items():
            before = found.get(key := (trained.config.seed, task), Count(0, 0))
            more = round(done["success"] * done["episodes"]), round(done["episodes"])
            found[key] = Count(before.succeeded + more[0], before.episodes + more[1])
    return found


def libero_tables(runs: list[Trained]) -> list[Table]:
    """Success of evaluated runs of LIBERO, what heads add to the control, and published numbers."""
    found = by_method(runs)
    suites = in_order((task for task, *_ in found), paper_results.DISDP)
    heads = in_order((head for _, head, _ in found), [*(h for h in HEADS if h != CONTROL), CONTROL])
    return [
        _success(runs, found, suites, heads),
        _added(found, suites, [head for head in heads if head != CONTROL]),
        *_learned(runs, found, suites, heads),
        published([suite for suite in suites if suite in paper_results.DISDP]),
        _by_task(found, suites, heads),
        *_failures(found, suites, heads),
    ]


def _success(runs, found, suites, heads) -> Table:
    rows: list[Row] = []
    cells: dict[tuple[Row, str], Cell] = {}
    for suite in suites:
        for head in heads:
            rows.append(row := (suite, ROWS.get(head, head)))
            for condition, column in CONDITIONS.items():
                if pairs := found.get((suite, head, condition)):
                    cells[row, column] = _cell(pairs)
        for policy, name in UNTRAINED.items():
            if pairs := scripted(runs, policy).get(suite):
                rows.append(row := (suite, name))
                cells[row, CONDITIONS["none"]] = _cell(pairs, trained=False)
    caption = (
        "Percent of the episodes of all tasks and seeds that succeed [95 % interval of Wilson, for "
        "as many independent episodes as vary like these seeds]. "
        "The instruction is always there, so that with both cameras missing a head knows the "
        "instruction, and proprioception where it is a sensor: the control without a camera. The "
        "random policy and the expert, which knows the true state, read no sensor. Demonstrations "
        "of a script are less varied than human ones: not comparable with published numbers."
    )
    title = "LIBERO: success with cameras missing"
    return _table("success", OURS, title, caption, rows, tuple(CONDITIONS.values()), cells)


def _learned(runs, found, suites, heads) -> list[Table]:
    rows = [(suite, head) for suite in suites for head in heads]
    earned = {row: _cell(pairs) for row in rows if (pairs := found.get((*row, "none")))}
    return learning_tables(runs, rows, earned, "success, %")


def _cell(pairs: list[Pair], trained: bool = True) -> Cell:
    counts = successes(pairs)
    low, high = interval(counts)
    mean, note = share(counts), describe(pairs, trained)
    text = f"{100 * mean:.0f} [{100 * low:.0f}, {100 * high:.0f}]"
    numbers = {"mean": mean, "low": low, "high": high}
    if trained:
        return numbers_cell(pairs, text, mean, note, **numbers)
    return Cell(text, mean, note, numbers=numbers | {"episodes": total(counts)})


def _added(found, suites, heads) -> Table:
    rows: list[Row] = []
    cells: dict[tuple[Row, str], Cell] = {}
    for suite in suites:
        for head in heads:
            row = suite, ROWS.get(head, head)
            for condition, column in CONDITIONS.items():
                # The control reads no camera, so that nothing changes when one is missing.
                keys = (suite, head, condition), (suite, CONTROL, "none")
                both = [found.get(key) for key in keys]
                if all(both):
                    counts = [successes(pairs) for pairs in both]
                    (low, high), (least, most) = map(interval, counts)
                    mine, control = map(share, counts)
                    more = mine - control
                    # Of the difference of two independent shares, each by Wilson (Newcombe).
                    below = ((mine - low) ** 2 + (most - control) ** 2) ** 0.5
                    above = ((high - mine) ** 2 + (control - least) ** 2) ** 0.5
                    text = f"{100 * more:+.0f} [{100 * (more - below):+.0f}, "
                    text += f"{100 * (more + above):+.0f}]"
                    numbers = {"mean": more, "low": more - below, "high": more + above}
                    cells[row, column] = Cell(text, more, numbers=numbers)
            if any(filled == row for filled, _ in cells):
                rows.append(row)
    caption = (
        "Percentage points of success above the random demonstration of the same instruction "
        "[95 % interval of Newcombe, of such intervals]: what a head gains from anything but the "
        "instruction. The control reads no camera and is the same whatever is missing. Where the "
        "interval holds 0, nothing is shown."
    )
    title = "LIBERO: what a head adds to its control"
    return _table("added", OURS, title, caption, rows, tuple(CONDITIONS.values()), cells)


def published(suites: list[str]) -> Table:
    """Published numbers of DisDP in some suites, and of RL4IL."""
    columns = (*list(CONDITIONS.values())[:3], BEST)
    cells = {}
    for suite in suites:
        for column, quoted in zip(columns, paper_results.DISDP[suite], strict=False):
            cells[(suite, "DisDP"), column] = _quoted(quoted)
    masked = [quoted for _, *all_masked in paper_results.DISDP.values() for quoted in all_masked]
    for name, quoted in (("DisDP", max(masked)), ("RL4IL", paper_results.RL4IL)):
        cells[("all suites", name), BEST] = _quoted(quoted)
    caption = (
        f"Not measured here: {paper_results.SOURCE_LIBERO}, on 50 human demonstrations a task and "
        "the official pictures. Percent of 25 rollouts of each of three seeds a task, at most 260 "
        "steps. Of RL4IL it is what its text says of its best."
    )
    rows = tuple(dict.fromkeys(row for row, _ in cells))
    title, source = "Published numbers, not ours", paper_results.SOURCE_LIBERO
    return _table("published", source, title, caption, rows, columns, cells)


def _quoted(mean: float) -> Cell:
    return Cell(f"{100 * mean:.1f}", mean, numbers={"mean": mean})


def _by_task(found, suites, heads) -> Table:
    tally: dict[tuple[Row, str], list[int]] = {}
    for suite in suites:
        for head in heads:
            for _, score in found.get((suite, head, "none"), []):
                for task, done in score.by_task.items():
                    row = f"{suite.partition('/')[0]}/{task}", CONDITIONS["none"]
                    counts = tally.setdefault((row, ROWS.get(head, head)), [0, 0])
                    counts[0] += round(done["success"] * done["episodes"])
                    counts[1] += round(done["episodes"])
    cells = {
        key: Cell(f"{n} of {total}", n / total, numbers={"mean": n / total, "episodes": total})
        for key, (n, total) in tally.items()
    }
    rows = tuple(sorted({row for row, _ in cells}))
    columns = tuple(ROWS.get(head, head) for head in heads)
    caption = "Episodes that succeeded, of all seeds."
    title, shape = "LIBERO: success task by task", (("task", "cameras"), rows, columns)
    return Table("tasks", OURS, title, caption, *shape, cells)


def _failures(found, suites, heads) -> list[Table]:
    """How many episodes of each head fail in which way; none where no evaluation tells it."""
    cells: dict[tuple[Row, str], Cell] = {}
    for suite in suites:
        for head in heads:
            for condition, column in CONDITIONS.items():
                pairs = found.get((suite, head, condition), [])
                kinds = np.zeros(len(FAILURES))
                if pairs and all(FAILURES[0] in score.last for _, score in pairs):
                    for _, score in pairs:
                        kinds += [score.last[kind] * len(score.returns) for kind in FAILURES]
                    counts = kinds.round().astype(int).tolist()
                    numbers = dict(zip(FAILURES, counts, strict=True))
                    text = " / ".join(map(str, counts))
                    cell = Cell(text, note=describe(pairs), numbers=numbers)
                    cells[(suite, ROWS.get(head, head)), column] = cell
    rows = list(dict.fromkeys(row for row, _ in cells))
    caption = (
        "Episodes in which the gripper was never told to close / it was, and what the instruction "
        "names first did not rise by 4 cm, as what is fixed never does / it rose and was not "
        "brought to where it should be. Of all seeds."
    )
    shape = rows, tuple(CONDITIONS.values()), cells
    return [_table("failures", OURS, "LIBERO: how episodes fail", caption, *shape)] if rows else []


def _table(name, source, title, caption, rows, columns, cells) -> Table:
    shape = (HEADS_OF_ROWS, tuple(rows), columns, cells)
    return Table(name, source, title, caption, *shape, across="condition")
