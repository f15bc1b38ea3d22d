"""Two ways around the T of Push-T: python -m experiments.push_sides RUN RUN ….

The pusher starts at places along the top edge of the T and has to go behind it, where the planner
that demonstrates goes left or right by chance (MIRROR's Fig. 7, after IMLE Policy).
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Annotated

import matplotlib
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import envs
import mummi
from envs.base import TimeStep
from experiments.command_line import explain
from mummi.config import check_seed
from mummi.imitation import record as imitation
from mummi.runs.files import atomic
from mummi.runs.record import load as load_run

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TASK = "pusht"
BLOCK = (256.0, 256.0, np.pi)
"""The T upside down on the middle of its goal."""
STARTS = (-60.0, -30.0, 0.0, 30.0, 60.0)
"""Of the pusher along the top edge, from its middle; the columns of the picture."""
MIDDLE = 30.0
"""Starts within it are those from which both ways are as long or nearly so."""
BESIDE = 30.0
"""How far before the top edge it starts."""
BAR = 30.0
"""Height of the T's bar: who is past it, has chosen a side."""

Chooses = Callable[[TimeStep], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which way round the block heads go that have learned from both.

    Attributes:
        logdirs: runs of experiments.imitate on Push-T, a row each.
        rollouts: from each start.
        steps: of a rollout at most; it ends where the pusher has chosen a side.
        seed: of all that is drawn.
        out: folder of push_sides.png and numbers.json.
    """

    logdirs: Annotated[tuple[str, ...], tyro.conf.Positional]
    rollouts: int = 20
    steps: int = 60
    seed: int = 0
    out: str = "runs/push_sides"


@dataclasses.dataclass(frozen=True)
class Path:
    """Where the pusher goes.

    Attributes:
        start: one of ``STARTS``.
        places: float [T, 2].
        side: of the T that it passes, -1 at one end of the bar, 1 at the other, 0 at neither.
    """

    start: float
    places: np.ndarray
    side: int


def side(places: np.ndarray, blocks: np.ndarray) -> int:
    """At which end of the bar a pusher passes first, 0 at neither.

    Args:
        places: of the pusher, [T, 2].
        blocks: places of the block, (x, y, radians), [T, 3].
    """
    away = places - blocks[:, :2]
    cos, sin = np.cos(blocks[:, 2]), np.sin(blocks[:, 2])
    along = cos * away[:, 0] + sin * away[:, 1]
    behind = cos * away[:, 1] - sin * away[:, 0] > BAR
    return int(np.sign(along[behind.argmax()])) if behind.any() else 0


def play(environment: envs.Environment, number: int, start: float, act: Chooses, steps: int):
    """The ``Path`` of an episode."""
    step, places, blocks = environment.reset(number), [], []
    for _ in range(steps):
        truth = environment.truth()
        places.append(truth["pusher"])
        blocks.append(truth["block"])
        passed = side(np.array(places), np.array(blocks))
        if passed or step.is_last:
            break
        step = environment.step(act(step))
    return Path(start, np.array(places), passed)


def paths(arguments: Arguments, logdir: str | None) -> list[Path]:
    """Those of a run's head, or of the planner that demonstrates."""
    policy = mummi.load_policy(logdir, seed=arguments.seed) if logdir else None
    config = load_run(logdir).config if logdir else None
    made = []
    for start in STARTS:
        begins = BLOCK[0] + start, BLOCK[1] + BESIDE, *BLOCK
        changes = {"sensors": ("state",)} if config is None else dict(config.env)
        if config is not None:
            changes["image_size"] = config.image_size
        environment = envs.make(TASK, seed=(arguments.seed, 1), **changes | {"start": begins})

        def act(step: TimeStep, environment=environment) -> np.ndarray:
            return policy(step.values) if policy else environment.expert_action()

        for number in range(arguments.rollouts):
            if policy:
                policy.reset()
            made.append(play(environment, number, start, act, arguments.steps))
        environment.close()
    return made


def numbers(found: list[Path]) -> dict[str, float]:
    """How many choose a side, and ``coverage``.

    Coverage is, over the starts in the middle, the mean of twice the smaller share of the two sides
    among all paths: 1 where both are equally frequent.
    """
    covered = []
    for start in STARTS:
        sides = np.array([path.side for path in found if path.start == start])
        if abs(start) <= MIDDLE:
            covered.append(2 * min((sides == which).mean() for which in (-1, 1)))
    return {
        "passed": float(np.mean([path.side != 0 for path in found])),
        "coverage": float(np.mean(covered)),
    }


def draw(rows: dict[str, list[Path]], path: pathlib.Path) -> None:
    """Writes a picture: a row for each head, a column for each start."""
    from envs.pusht.simulator import SIDE, PushTSimulator

    table = PushTSimulator()
    table.place((0, 0), BLOCK)
    figure, grid = plt.subplots(
        len(rows), len(STARTS), figsize=(1.9 * len(STARTS), 1.9 * len(rows)), dpi=100, squeeze=False
    )
    colours = {-1: "tab:green", 1: "tab:blue", 0: "tab:red"}
    for axes_row, (label, found) in zip(grid, rows.items(), strict=True):
        axes_row[0].set_ylabel(label, fontsize=9)
        for axes, start in zip(axes_row, STARTS, strict=True):
            for corners, colour in ((table.goal, "lightgreen"), (table.keypoints, "0.7")):
                for bar in (corners[:4], corners[4:]):
                    axes.fill(*bar.T, color=colour, alpha=0.8, lw=0)
            for one in found:
                if one.start == start:
                    axes.plot(*one.places.T, color=colours[one.side], lw=0.7, alpha=0.7)
            axes.plot(BLOCK[0] + start, BLOCK[1] + BESIDE, "o", color="black", ms=3)
            axes.set(xlim=(80, 432), ylim=(400, 80), xticks=[], yticks=[], aspect="equal")
    for axes, start in zip(grid[0], STARTS, strict=True):
        axes.set_title(f"{start:+.0f}", fontsize=9)
    figure.suptitle(f"past one end (green) or the other (blue); the table is {SIDE:.0f} wide")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def run(arguments: Arguments) -> dict[str, dict[str, float]]:
    """Plays and writes; the numbers by row.

    Raises:
        ValueError: no rollouts or steps, a seed that is none, or a run of another task.
        FileNotFoundError: no run of imitation.
    """
    check_seed(arguments.seed)
    if arguments.rollouts < 1 or arguments.steps < 1:
        raise ValueError(
            f"--rollouts {arguments.rollouts} and --steps {arguments.steps} must be at least 1"
        )
    for logdir in arguments.logdirs:
        imitation.load(logdir)
        if (task := load_run(logdir).config.task) != TASK:
            raise ValueError(f"{logdir} is a run of task {task!r}; name runs of {TASK!r}")
    labels = _labels(arguments.logdirs)
    rows = {"planner": paths(arguments, None)}
    for label, logdir in track(list(zip(labels, arguments.logdirs, strict=True)), "rollouts"):
        rows[label] = paths(arguments, logdir)
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    found = {label: numbers(row) for label, row in rows.items()}
    draw(rows, out / "push_sides.png")
    with atomic(out / "numbers.json") as temporary:
        content = {"arguments": dataclasses.asdict(arguments), "rows": found}
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    return found


def _labels(logdirs: tuple[str, ...]) -> list[str]:
    """The heads of runs; their folders where two have the same."""
    heads = [imitation.load(logdir).head for logdir in logdirs]
    return heads if len(set(heads)) == len(heads) else list(logdirs)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, plays and shows."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.push_sides", args=arguments)
        rows = Table("", "choose a side", "coverage")
        for label, row in run(parsed).items():
            rows.add_row(label, f"{row['passed']:.2f}", f"{row['coverage']:.2f}")
        Console().print(rows)
        print(f"picture and numbers: {parsed.out}")


if __name__ == "__main__":
    main()
