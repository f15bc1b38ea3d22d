"""Replays demonstrations from given starts: python -m experiments.replays --task T --data D."""

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.stats
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import envs
from experiments.command_line import explain, require
from mummi.config import check_seed

STATES = 50
"""Official initial states of each task."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Success of every demonstration of LIBERO from every start, in open loop and without pictures.

    From the starts of evaluation, 0:25, that is the exact score of the head replay, and the ceiling
    of all that plays one demonstration from its start. From those of training, 25:50, it is a
    reward of the head retrieval (--head.success FILE). The same command goes on after a kill, and
    more --starts add to the file.

    Attributes:
        task: a task of LIBERO or a suite, as libero_object/3 or libero_object.
        data: the demonstrations as of experiments.imitate; of a suite a folder with a file for each
            task.
        out: file of JSON lines, one for each task and start.
        starts: numbers of the official initial states, FIRST:END.
        seed: of the fixtures, as cabinets, which initial states leave open.
        envs: starts that are replayed at a time, each in a process.
    """

    task: str
    data: str
    out: str
    starts: str = "0:25"
    seed: int = 0
    envs: int = 1

    def __post_init__(self):
        known = [name for name in envs.tasks() if name.startswith("libero")]
        require("task", self.task, known)
        check_seed(self.seed)
        if self.envs < 1:
            raise ValueError(f"--envs is {self.envs}; it must be at least 1")
        first, _, end = self.starts.partition(":")
        if not (first.isdecimal() and end.isdecimal() and int(first) < int(end) <= STATES):
            raise ValueError(
                f"--starts is {self.starts!r}; it must be FIRST:END, numbers of initial states up "
                f"to {STATES}, as 0:25"
            )

    @property
    def numbers(self) -> range:
        """The starts."""
        first, _, end = self.starts.partition(":")
        return range(int(first), int(end))


def replays(arguments: Arguments) -> list:
    """Replays what the file lacks; returns the outcomes of the starts that were asked for.

    Raises:
        FileNotFoundError: a file of demonstrations is not there.
        ValueError: the file holds replays of other demonstrations or another seed.
    """
    from experiments.collection.libero import files  # needs LIBERO, which is an extra
    from experiments.collection.replaying import load
    from mummi.imitation.heads import outcomes

    recorded = [
        load(f"{task.suite}/{task.index}", path)
        for task, path in files(arguments.task, arguments.data).items()
    ]
    path = pathlib.Path(arguments.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = outcomes.read(path) if path.is_file() else []
    require_same(found, recorded, arguments)
    done = {(outcome.task, outcome.start) for outcome in found}
    pairs = itertools.product(recorded, arguments.numbers)
    left = [(one, start) for one, start in pairs if (one.task, start) not in done]
    outcomes.write(path, played(left, arguments))
    tasks = {one.task for one in recorded}
    rows = outcomes.read(path)
    return [row for row in rows if row.task in tasks and row.start in arguments.numbers]


def require_same(found: Sequence, recorded: Sequence, arguments: Arguments) -> None:
    """Raises a ValueError where the file holds replays of other demonstrations or another seed."""
    from mummi.imitation.heads.outcomes import digest

    names = {one.task: tuple(map(digest, one.executed)) for one in recorded}
    for outcome in found:
        if outcome.demonstrations != names.get(outcome.task, outcome.demonstrations):
            raise ValueError(
                f"{arguments.out} holds replays of other demonstrations of {outcome.task} than "
                f"{arguments.data} has; give another --out"
            )
        if outcome.seed != arguments.seed:
            raise ValueError(
                f"{arguments.out} holds replays with --seed {outcome.seed}, and this command asks "
                f"for {arguments.seed}; repeat it, or give another --out"
            )


def played(left: Sequence[tuple], arguments: Arguments) -> Iterator:
    """Outcomes of pairs of a task's demonstrations and a start, as they are ready."""
    from experiments.collection.replaying import replay

    if arguments.envs == 1:
        for one, start in track(left, "replaying"):
            yield replay(one, start, arguments.seed)
        return
    # Fresh interpreters: fork is unsafe beside the threads of JAX.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.envs, context) as pool:
        made = [pool.submit(replay, one, start, arguments.seed) for one, start in left]
        for future in track(concurrent.futures.as_completed(made), "replaying", total=len(made)):
            yield future.result()


def table(found: Sequence) -> Table:
    """Percent, by task and of all: mean success of a random demonstration, and of the best."""
    from experiments.report.shares import wilson
    from mummi.imitation.heads.outcomes import shares

    rows = Table("task", "starts", "random demonstration", "best demonstration")
    tasks = list(dict.fromkeys(outcome.task for outcome in found))
    for name, of in [*((task, [task]) for task in tasks), ("all", tasks)]:
        each = 100 * shares([outcome for outcome in found if outcome.task in of])
        if not len(each):
            continue
        said = f"{each.mean():.0f}"
        if len(each) > 1:
            half = scipy.stats.sem(each) * scipy.stats.t.ppf(0.975, len(each) - 1)
            said += f" ± {half:.0f}"
        low, high = (100 * x for x in wilson(float(np.mean(each > 0)), len(each)))
        top = f"{100 * np.mean(each > 0):.0f} [{low:.0f}, {high:.0f}]"
        rows.add_row(name, str(len(each)), said, top)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, replays and tells."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.replays", args=arguments)
        Console().print(table(replays(parsed)))
        print(f"replays: {parsed.out}")


if __name__ == "__main__":
    main()
