"""Retrieval where it is known which demonstration fits a start: python -m experiments.reaching.

What is seen of a start says where its object is, so that a retrieved demonstration can be asked how
far from it the fingers close.
"""

import dataclasses
import json
import pathlib
import tempfile

import numpy as np
import scipy.stats
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.spatial.distance import cdist

from experiments.command_line import explain, require
from experiments.imitation.reach import SIZES, World, play_head, replays
from mummi.config import check_seed
from mummi.imitation.heads import outcomes
from mummi.imitation.heads.head import Head, Trajectory
from mummi.imitation.heads.knn import KNNConfig, NearestNeighbours
from mummi.imitation.heads.replay import RandomReplay, ReplayConfig
from mummi.imitation.heads.retrieval import RetrievalHead, RetrievalHeadConfig
from mummi.imitation.retrieval import RetrievalConfig, StageConfig
from mummi.runs.files import atomic

Config = RetrievalHeadConfig | KNNConfig | ReplayConfig
KINDS = {
    RetrievalHeadConfig: RetrievalHead,
    KNNConfig: NearestNeighbours,
    ReplayConfig: RandomReplay,
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Labels, selections, alignment and closed loop of retrieval, against their controls.

    Attributes:
        instructions: how many objects.
        demonstrations: of each.
        queries: rollouts of each method, with starts of their own.
        methods: which are compared, by their names in the table; all by default.
        epochs: of the policy, and of the fusion head.
        seeds: each with other objects, demonstrations and queries.
        out: file of the numbers.
    """

    instructions: int = 10
    demonstrations: int = 20
    queries: int = 200
    methods: tuple[str, ...] = ()
    epochs: int = 30
    seeds: tuple[int, ...] = (0, 1, 2)
    out: str = "runs/reaching.json"

    def __post_init__(self):
        for name in ("instructions", "demonstrations", "queries", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        for name in self.methods:
            require("method", name, methods(1, ""))
        for seed in self.seeds:
            check_seed(seed)


def methods(epochs: int, success: str) -> dict[str, Config]:
    """What is compared, by name; ``success`` is a file of replays."""
    stage = StageConfig(epochs=epochs, head_epochs=epochs)
    nearest = StageConfig(ranking="distance", selection="hard")
    library = RetrievalConfig(task="regression", impute=False, limit=60, prediction=stage)
    plain = dataclasses.replace(library, prediction=nearest)

    def head(retrieval=library, **changes) -> RetrievalHeadConfig:
        return RetrievalHeadConfig(retrieval=retrieval, **changes)

    rows: dict[str, Config] = {
        "random": ReplayConfig(),
        "random, aligned": head(plain, select="random", align=True),
        "nearest": head(plain),
        "nearest, aligned": head(plain, align=True),
    }
    for label in ("actions", "path", "events"):
        for select in ("attention", "policy", "prediction"):
            rows[f"{label}, {select}"] = head(label=label, select=select)
    return rows | {
        "path, policy, aligned": head(align=True),
        "path, policy, rewarded by success": head(success=success),
        "closed loop, nearest": head(plain, research_every=8),
        "closed loop, policy": head(research_every=8),
        "closed loop, prediction": head(research_every=8, select="prediction"),
        "closed loop, fused": head(research_every=8, play="fused"),
        "knn": KNNConfig(),
        "knn, follow": KNNConfig(mode="follow"),
    }


def train(config: Config, trajectories: list[Trajectory], seed: int, trained: dict) -> Head:
    """A trained head; those that differ in what they do with the same library share it."""
    shared = config
    if isinstance(config, RetrievalHeadConfig):
        shared = dataclasses.replace(
            config,
            **{"select": "policy", "play": "selected", "label": config.labels},
            align=not config.research_every,
        )
    if shared not in trained:
        trained[shared] = KINDS[type(config)](shared, SIZES)
        trained[shared].fit(trajectories, seed)
    head = KINDS[type(config)](config, SIZES)
    head.restore(trained[shared].arrays())
    return head


def label_quality(head: RetrievalHead, starts: np.ndarray, which: np.ndarray) -> dict[str, float]:
    """What the labels of a trained head say about starts, places of the object [N, 2].

    ``correlation`` (Spearman) of the loss between demonstrations of an instruction with the
    distance between their starts; of each the other one of least loss: whether it has the same
    ``instruction``, and if so the ``miss`` in centimetres.
    """
    values = head.retrieval.arrays()["prediction/values"]
    loss = cdist(values, values, "sqeuclidean")
    apart = cdist(starts, starts)
    same = (which[:, None] == which) & ~np.eye(len(which), dtype=bool)
    np.fill_diagonal(loss, np.inf)
    best = loss.argmin(1)
    right = which[best] == which
    return {
        "correlation": float(scipy.stats.spearmanr(loss[same], apart[same]).statistic),
        "instruction": float(right.mean()),
        "miss": 100 * float(apart[np.arange(len(which)), best][right].mean()),
    }


def run_seed(arguments: Arguments, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Of the ``labels`` what they say, and of the ``methods`` miss and success."""
    world = World(arguments.instructions, seed)
    which = np.repeat(np.arange(arguments.instructions), arguments.demonstrations)
    made = [world.demonstrate(k) for k in which]
    asked = world.random.integers(arguments.instructions, size=arguments.queries)
    start, trajectories = world.start(asked), [t for t, _ in made]
    starts = np.concatenate([begin.object for _, begin in made])
    trained: dict[Config, Head] = {}
    plain, found = methods(1, "")["nearest"], {}
    labels = {
        label: label_quality(
            train(dataclasses.replace(plain, label=label), trajectories, seed, trained),
            starts,
            which,
        )
        for label in ("actions", "path", "events")
    }
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "replays.jsonl"
        outcomes.write(path, replays(world, made, which))
        compared = methods(arguments.epochs, str(path))
        for name in track(arguments.methods or compared, f"seed {seed}"):
            config = compared[name]
            head = train(config, trajectories, seed, trained)
            played = play_head(world, asked, start, head, seed)
            found[name] = {
                "miss": 100 * float(np.median(played.miss)),
                "success": 100 * float(played.success.mean()),
            }
    return {"labels": labels, "methods": found}


def run(arguments: Arguments) -> list[dict]:
    """The numbers of each seed, which are written after each."""
    found, out = [], pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        found.append(run_seed(arguments, seed))
        content = {"arguments": dataclasses.asdict(arguments), "seeds": found}
        with atomic(out) as temporary:
            temporary.write_text(json.dumps(content, indent=1))
    return found


def table(found: list[dict], part: str) -> Table:
    """Means over seeds of one part, with 95 % intervals of Student's t where there are several."""
    names = list(next(iter(found[0][part].values())))
    rows = Table(part, *names)
    for row in found[0][part]:
        cells = []
        for name in names:
            values = np.array([seed[part][row][name] for seed in found])
            text = f"{values.mean():.3g}"
            if len(values) > 1:
                sem = scipy.stats.sem(values)
                text += f" ± {sem * scipy.stats.t.ppf(0.975, len(values) - 1):.2g}"
            cells.append(text)
        rows.add_row(row, *cells)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, trains and shows."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.reaching", args=arguments)
        found = run(parsed)
        for part in ("labels", "methods"):
            Console().print(table(found, part))
        print(f"numbers (miss in cm, success in %): {parsed.out}")


if __name__ == "__main__":
    main()
