"""Two ways around an obstacle in a plane, by every chunk objective: python -m experiments.two_ways.

A point starts below a disc and goes to a goal above it. Demonstrations pass on the left or on the
right, from the middle equally often, so that a policy must keep both ways apart (in the spirit of
MIRROR's Fig. 7). All objectives train one backbone on the same demonstrations.
"""

import dataclasses
import json
import pathlib
import time
from typing import NamedTuple

import jax
import matplotlib
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.command_line import explain
from mummi.config import check_seed
from mummi.imitation.chunks.config import Backbone, Choice, ChunkConfig, Objective
from mummi.imitation.chunks.head import ChunkHead
from mummi.imitation.chunks.imle import SHARES
from mummi.imitation.heads.head import HEADS, Percept, Sizes, Trajectory
from mummi.imitation.metrics import jerk, mode_switch_rate

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RADIUS = 0.4
"""Of the obstacle, a disc around the origin."""
GOAL = np.array([0.0, 1.0])
NEAR = 0.15
"""Distance to the goal that counts as arrived."""
SPEED = 0.1
"""Longest step."""
LIMIT = 50
"""Steps of a rollout."""
BELOW = -0.6
"""y of all starts: a chunk's executed steps straight ahead end in the obstacle."""
STARTS = np.linspace(-0.6, 0.6, 7)
"""Sweep of start positions x, the columns of the picture."""
AMBIGUOUS = 0.25
"""Starts within it are demonstrated both ways."""
EXECUTE = 4


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Averaging, per-sample and batch-global IMLE, diffusions and flow where there are two ways.

    Attributes:
        objectives: what trains the backbone.
        backbone: the same for all of them.
        demonstrations: paths to learn from.
        updates: of each objective.
        candidates: K, chunks to choose from when acting.
        choice: among them.
        rollouts: from each start position.
        seed: of everything.
        out: folder of two_ways.png and numbers.json.
    """

    objectives: tuple[Objective, ...] = ("mse", "imle", "mirror", "diffusion", "flow", "beso")
    backbone: Backbone = "performer"
    demonstrations: int = 200
    updates: int = 1500
    candidates: int = 8
    choice: Choice = "proxy"
    rollouts: int = 20
    seed: int = 0
    out: str = "runs/two_ways"


class Rollouts(NamedTuple):
    """N paths and P plans made along each.

    Attributes:
        positions: [N, LIMIT + 1, 2], standing still once at the goal.
        steps: until the goal, or ``LIMIT``, int [N].
        gaps: of each plan to what the one before still held, [N, P]; NaN of the first.
        changes: 1.0 where a plan goes along the other side than the one before, [N, P]; NaN where
            that is decided or there was none.
    """

    positions: np.ndarray
    steps: np.ndarray
    gaps: np.ndarray
    changes: np.ndarray


def expert(start: float, right: bool, random: np.random.Generator) -> Trajectory:
    """A path from (start, BELOW) to the goal around one side, with noise that it corrects."""
    side = random.uniform(0.55, 0.75) * (1 if right else -1)
    y = np.linspace(BELOW, 1, 351)
    before = start + (side - start) * np.sin(np.pi / 2 * (1 - y / BELOW))
    x = np.where(y < 0, before, side * np.cos(np.pi / 2 * np.clip(y, 0, 1)))
    path, position = np.stack([x, y], -1), np.array([start, BELOW])
    positions, actions = [], []
    while np.linalg.norm(position - GOAL) > NEAR:
        nearest = np.linalg.norm(path - position, axis=1).argmin()
        ahead = path[min(nearest + 20, len(path) - 1)] - position
        action = SPEED * ahead / np.linalg.norm(ahead) + random.normal(0, 0.01, 2)
        positions.append(position)
        actions.append(action)
        position = position + action
    return Trajectory(percept(np.array(positions)), np.float32(actions))


def percept(position: np.ndarray) -> Percept:
    """The position [..., 2] is all that is seen."""
    return Percept(np.float32(position), {}, {}, {})


def demonstrate(count: int, seed: int) -> list[Trajectory]:
    """Paths from uniformly random starts; the nearer side is the likelier one, none collides."""
    random, made = np.random.default_rng(seed), []
    while len(made) < count:
        start = random.uniform(-0.7, 0.7)
        right = random.random() < 1 / (1 + np.exp(-start / 0.15))
        path = expert(start, right, random)
        if not collided(path.percept.feature[None]).any():
            made.append(path)
    return made


def config(objective: Objective, arguments: Arguments) -> ChunkConfig:
    """The laptop's sizes at half the width, with what is compared alike for all objectives."""
    sizes = HEADS[objective].default("laptop")
    alike = {"candidates": arguments.candidates, "choice": arguments.choice}
    return dataclasses.replace(
        sizes, backbone=arguments.backbone, execute=EXECUTE, width=64,
        windows=sizes.batch * arguments.updates,
        **(alike if objective != "mse" else {}),
    )  # fmt: skip


def rollout(head: ChunkHead, starts: np.ndarray, seed: int) -> Rollouts:
    """Closed-loop paths from ``starts`` [N], all in one batch."""
    count = len(starts)
    position = np.stack([starts, np.full(count, BELOW)], -1)
    carry, key = head.reset(count), jax.random.PRNGKey(seed)
    positions, gaps, changes = [position], [], []
    side, arrived = np.full(count, np.nan), np.zeros(count, bool)
    steps = np.full(count, LIMIT)
    for step in range(LIMIT):
        first = np.full(count, step == 0)
        action, carry = head.act(carry, percept(position), first, jax.random.fold_in(key, step))
        if step % EXECUTE == 0:
            chunk = head.in_environment_scale(carry.chunk)
            planned = np.sign((position + chunk.sum(1))[:, 0])
            undecided = ~arrived & (position[:, 1] < 0)
            changed = np.where(undecided & np.isfinite(side), planned != side, np.nan)
            changes.append(changed)
            gaps.append(np.where(arrived, np.nan, carry.gap))
            side = planned
        position = np.where(arrived[:, None], position, position + action)
        positions.append(position)
        now = ~arrived & (np.linalg.norm(position - GOAL, axis=-1) <= NEAR)
        steps[now], arrived = step + 1, arrived | now
    return Rollouts(
        positions=np.stack(positions, 1),
        steps=steps,
        gaps=np.stack(gaps, 1),
        changes=np.stack(changes, 1),
    )


def recorded(demonstrations: list[Trajectory]) -> Rollouts:
    """Demonstrations in the form of rollouts."""
    steps = np.array([len(t.action) for t in demonstrations])
    paths = [np.vstack([t.percept.feature, t.percept.feature[-1:] + t.action[-1:]])
             for t in demonstrations]  # fmt: skip
    rows = [path[np.minimum(np.arange(LIMIT + 1), len(path) - 1)] for path in paths]
    nothing = np.full((len(steps), 1), np.nan)
    return Rollouts(positions=np.stack(rows), steps=steps, gaps=nothing, changes=nothing)


def collided(positions: np.ndarray) -> np.ndarray:
    """Did each path [N, T, 2] enter the obstacle between or at its points?, bool [N]."""
    between = np.linspace(0, 1, 5)[:, None, None, None]
    points = (1 - between) * positions[:, :-1] + between * positions[:, 1:]
    return (np.linalg.norm(points, axis=-1) < RADIUS).any((0, 2))


def ways(positions: np.ndarray) -> np.ndarray:
    """1 for paths that cross y = 0 on the right, -1 on the left, 0 for neither, int [N]."""
    above = positions[..., 1] >= 0
    row = above.argmax(1)
    crossing = positions[np.arange(len(row)), row, 0]
    return np.where(above.any(1), np.sign(crossing), 0).astype(int)


def numbers(rollouts: Rollouts) -> dict[str, float]:
    """Success, collisions, coverage, switches and jerk.

    Coverage is, over the starts that are demonstrated both ways, the mean of twice the smaller
    share of the two ways among all paths that do not collide: 1 when both are equally frequent.
    """
    hit, way = collided(rollouts.positions), ways(rollouts.positions)
    arrived = np.linalg.norm(rollouts.positions[:, -1] - GOAL, axis=-1) <= NEAR
    starts, way = rollouts.positions[:, 0, 0], np.where(hit, 0, way)
    covered = []
    for start in STARTS[np.abs(STARTS) <= AMBIGUOUS]:
        chosen = way[np.abs(starts - start) < 0.1]
        shares = [np.mean(chosen == side) if len(chosen) else np.nan for side in (-1, 1)]
        covered.append(2 * min(shares))
    paths = zip(rollouts.positions, rollouts.steps, strict=True)
    return {
        "success": float((arrived & ~hit).mean()),
        "collisions": float(hit.mean()),
        "coverage": float(np.mean(covered)),
        "side_switches": mode_switch_rate(rollouts.changes, 0.5),
        "plan_switches": mode_switch_rate(rollouts.gaps),
        "jerk": float(np.mean([jerk(path[: count + 1]) for path, count in paths])),
    }


def draw(results: dict[str, Rollouts], path: pathlib.Path) -> None:
    """Writes a picture: a row for each method, a column for each start position."""
    figure, grid = plt.subplots(
        len(results), len(STARTS), figsize=(1.7 * len(STARTS), 2.1 * len(results)), dpi=110,
        squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    for row, (label, rollouts) in zip(grid, results.items(), strict=True):
        row[0].set_ylabel(label)
        starts, hit = rollouts.positions[:, 0, 0], collided(rollouts.positions)
        way = ways(rollouts.positions)
        for axes, start in zip(row, STARTS, strict=True):
            axes.add_patch(plt.Circle((0, 0), RADIUS, color="0.8"))
            axes.plot(*GOAL, "*", color="black")
            for index in np.flatnonzero(np.abs(starts - start) < 0.1):
                colour = "tab:red" if hit[index] else {1: "tab:blue", -1: "tab:green"}
                colour = colour if isinstance(colour, str) else colour.get(way[index], "tab:red")
                axes.plot(*rollouts.positions[index].T, color=colour, lw=0.7, alpha=0.6)
            axes.set(xlim=(-1, 1), ylim=(BELOW - 0.15, 1.15), xticks=[], yticks=[], aspect="equal")
    for axes, start in zip(grid[0], STARTS, strict=True):
        axes.set_title(f"x = {start:.1f}", fontsize=9)
    figure.suptitle("left (green), right (blue), collision or neither (red)", fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def run(arguments: Arguments) -> dict[str, dict]:
    """Demonstrates, trains, rolls out; returns the numbers by method.

    Picture and numbers are written after each method.

    Raises:
        ValueError: a seed that is none.
    """
    check_seed(arguments.seed)
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    demonstrations = demonstrate(arguments.demonstrations, arguments.seed)
    paths = {"expert": recorded(demonstrations)}
    # A demonstration has no plans; JSON has no NaN.
    of_expert = numbers(paths["expert"]).items()
    found = {"expert": {name: x if np.isfinite(x) else None for name, x in of_expert}}
    for objective in track(arguments.objectives, "training"):
        head = ChunkHead(config(objective, arguments), Sizes((), 2, {}, 2))
        reports, began = [], time.monotonic()
        head.fit(demonstrations, arguments.seed, lambda *report, to=reports: to.append(report))
        seconds = time.monotonic() - began
        starts = np.repeat(STARTS, arguments.rollouts)
        paths[objective] = rollout(head, starts, arguments.seed)
        found[objective] = numbers(paths[objective]) | {
            "seconds": seconds,
            "training": reports[-1][1],
            **rejection([metrics for _, metrics in reports]),
        }
        draw(paths, out / "two_ways.png")
        content = {"arguments": dataclasses.asdict(arguments), "methods": found}
        (out / "numbers.json").write_text(json.dumps(content, indent=2, allow_nan=False))
    return found


def rejection(reports: list[dict[str, float]]) -> dict[str, float]:
    """Of an objective that rejects, its shares, means over training."""
    names = [name for name in SHARES if name in reports[0]]
    return {name: float(np.mean([metrics[name] for metrics in reports])) for name in names}


def table(found: dict[str, dict]) -> Table:
    """The numbers, a row for each method."""
    columns = [*found["expert"], *SHARES]
    rows = Table("", *(name.replace("_", " ") for name in columns))
    for label, row in found.items():
        cells = (row.get(name) for name in columns)
        rows.add_row(label, *("" if cell is None else f"{cell:.2f}" for cell in cells))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, trains and shows."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.two_ways", args=arguments)
        Console().print(table(run(parsed)))
        print(f"picture and numbers: {parsed.out}")


if __name__ == "__main__":
    main()
