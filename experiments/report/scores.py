"""Evaluations of many runs: found below folders, read, and checked to be comparable."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from experiments.evaluation import saved
from experiments.evaluation.conditions import condition_name, variant
from mummi.config import Config
from mummi.imitation.heads.head import HEADS
from mummi.imitation.record import Imitation, is_imitation, load
from mummi.presets import preset
from mummi.runs import record as run

NAMES = {
    "mummi": "MuMMI",
    "mummi_b": "MuMMI-b",
    "mssm_e": "MSSM-e",
    "cvrl": "CVRL",
    "dreamer": "Dreamer",
}
"""Method -> name in print, in the order of columns; others follow under their own name."""

WORLD_MODEL = ", world model "
"""How the kind of a run goes on that has one which learned from demonstrations."""

SHOWN_ELSEWHERE = {"method", "seed", "missing", "background"}
"""Settings that tables name anyway, so that they are no change from the preset."""


@dataclasses.dataclass(frozen=True)
class Score:
    """One file of ``experiments.evaluate``: episodes of one run under one condition.

    Attributes:
        seed: seed of the evaluation.
        step: environment steps of the checkpoint.
        background: behind the robot in the evaluation.
        script: sensor dropout of the evaluation.
        dropped: sensors removed entirely.
        policy: who acted: agent, random or expert.
        missing: share of sensor readings that did not arrive.
        returns: of each episode.
        trust: sensors that lie were left out.
        as_zeros: what was missing was delivered as zeros.
        numbers: of the episodes; none where the file does not tell them apart.
        last: mean over episodes of each number in ``TimeStep.info`` at their ends.
        measures: of motion and speed, where they were measured.
        by_task: of a suite, ``episodes`` and ``success`` of each task.
    """

    seed: int
    step: int
    background: str
    script: dict
    dropped: tuple[str, ...]
    policy: Literal["agent", "random", "expert"]
    missing: float
    returns: tuple[float, ...]
    last: dict[str, float]
    measures: dict[str, float | None] = dataclasses.field(default_factory=dict)
    by_task: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    trust: bool = False
    as_zeros: bool = False
    numbers: tuple[int, ...] = ()

    @property
    def by_number(self) -> dict[int, float]:
        """Number of an episode -> its return."""
        return dict(zip(self.numbers, self.returns, strict=bool(self.numbers)))

    @property
    def condition(self) -> str:
        """Name of the condition."""
        name = condition_name(self.dropped, self.script["name"])
        return variant(name, trust=self.trust, as_zeros=self.as_zeros)


@dataclasses.dataclass(frozen=True)
class Trained:
    """The folder of a run: what it was trained with and what its evaluations say."""

    folder: pathlib.Path
    config: Config
    script: dict
    scores: tuple[Score, ...]
    imitation: Imitation | None = None

    @property
    def name(self) -> str:
        """What tables compare: the action head of an imitation run, the method of another."""
        return self.imitation.head if self.imitation else self.config.method

    @property
    def missing(self) -> str:
        """Missing data in training: the script's name and rules."""
        rules = "; ".join(" ".join(map(str, rule.values())) for rule in self.script["rules"])
        return self.script["name"] + (f" ({rules})" if rules else "")

    @property
    def kind(self) -> str:
        """What runs of one table must share; a run without a world model, all but that."""
        preset, background = self.config.preset, self.config.background
        kind = f"preset {preset}, missing in training: {self.missing}, background {background}"
        if self.imitation and self.imitation.reads_latents:
            kind += f"{WORLD_MODEL}{self.config.method}"
        return kind

    @functools.cached_property
    def latest(self) -> int:
        """Environment steps of the last checkpoint; 0 where the folder has none."""
        from mummi.runs.checkpoint import Checkpointer  # seconds to import

        return Checkpointer(self.folder / "checkpoints").latest_step() or 0

    @functools.cached_property
    def changed(self) -> tuple[str, ...]:
        """Settings that differ from the preset's, beside those that tables name anyway."""
        default = preset(self.config.preset, self.config.task)
        pairs = [(default, self.config)]
        if self.imitation:
            pairs.append((HEADS[self.name].default(self.config.preset), self.imitation.settings))
        return tuple(
            f"{name} {value}"
            for before, after in pairs
            for name, _, value in run.differences(before, after)
            if name not in SHOWN_ELSEWHERE
        )


Pair = tuple[Trained, Score]


def find(folders: Iterable[str], heads: bool = False) -> list[Trained]:
    """Every run in or below the folders, by task, method and seed.

    Runs of experiments.train are found, or with ``heads`` those of experiments.imitate.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no run at all, or a damaged file, by its name.
    """
    folders, paths = list(folders), set()
    for name in folders:
        if not pathlib.Path(name).is_dir():
            raise FileNotFoundError(f"--runs {name!r} is no folder")
        for root, below, files in os.walk(name):
            if "config.yaml" in files:
                if is_imitation(root) == heads:
                    paths.add(pathlib.Path(root).resolve())
                below.clear()
    if not paths:
        kind = "imitation run" if heads else "run"
        raise ValueError(f"no {kind} (a folder with config.yaml) in or below {', '.join(folders)}")
    runs = []
    for path in paths:
        folder = pathlib.Path(os.path.relpath(path))
        record = run.load(folder)
        script = record.script or {"name": record.config.missing, "rules": []}
        imitation = load(folder) if heads else None
        runs.append(Trained(folder, record.config, script, tuple(_scores(folder)), imitation))
    return sorted(runs, key=lambda r: (r.config.task, r.name, r.config.seed, r.folder))


def _scores(folder: pathlib.Path) -> Iterator[Score]:
    for path in sorted((folder / "eval").glob("*.json")):
        content = saved.load(path)
        try:
            method = content["method"]
            entries = {name: content[name] for name in ("step", "background", "script", "dropped")}
            entries |= {
                "seed": content["evaluation_seed"],
                "policy": method if method in ("random", "expert") else "agent",
                "missing": content["missing"],
                "returns": content["returns"],
                "last": content.get("last", {}),
                "measures": content.get("measures", {}),
                "by_task": content.get("by_task", {}),
                "trust": content.get("trust", False),
                "as_zeros": content.get("missing_as_zeros", False),
                "numbers": content.get("numbers", []),
            }
            yield run.from_dict(Score, entries)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged or from another version ({error!r}); evaluate the run again"
            ) from error


def comparable(runs: list[Trained]) -> str:
    """What the runs share: preset, missing data in training and background.

    Raises:
        ValueError: two runs of one task, method and seed; runs or evaluations of different kinds;
            two different scripts of one name. It names the folders.
    """
    seen, kinds, scripts = {}, {}, {}
    for trained in runs:
        kinds.setdefault(trained.kind, trained)
        for score in trained.scores:
            if score.background != trained.config.background:
                kinds.setdefault(f"{trained.kind}, evaluated on {score.background}", trained)
    with_model = {kind.partition(WORLD_MODEL)[0] for kind in kinds if WORLD_MODEL in kind}
    kinds = {kind: run for kind, run in kinds.items() if kind not in with_model}
    if len(kinds) > 1:
        listed = "; ".join(f"{kind} (e.g. {str(r.folder)!r})" for kind, r in kinds.items())
        raise ValueError(f"runs of {len(kinds)} kinds cannot be compared: {listed}; name one kind")
    for trained in runs:
        config = trained.config
        other = seen.setdefault((config.task, trained.name, config.seed), trained)
        if other is not trained:
            raise ValueError(
                f"{config.task}, {trained.name}, seed {config.seed} is there twice: "
                f"{str(other.folder)!r} and {str(trained.folder)!r}; name one of them in --runs"
            )
        for score in trained.scores:
            before, first = scripts.setdefault(score.condition, (score.script, trained))
            if before != score.script:
                raise ValueError(
                    f"the script {score.condition!r} is not the same in "
                    f"{str(first.folder)!r} and {str(trained.folder)!r}; evaluate both again"
                )
    return next(iter(kinds))


def pooled(pairs: Iterable[Pair]) -> np.ndarray:
    """Returns of all episodes of all seeds, [N]."""
    return np.array([value for _, score in pairs for value in score.returns])


def label(method: str) -> str:
    """Name of a method in print."""
    return NAMES.get(method, method)


def by_method(runs: list[Trained]) -> dict[tuple[str, str, str], list[Pair]]:
    """(task, method or head, condition) -> evaluations of the trained agents, by seed."""
    cells = {}
    for trained in runs:
        for score in trained.scores:
            if score.policy == "agent":
                key = (trained.config.task, trained.name, score.condition)
                cells.setdefault(key, []).append((trained, score))
    return cells


def scripted(runs: list[Trained], policy: str) -> dict[str, list[Pair]]:
    """Task -> evaluations of the policy ``random`` or ``expert``, one for each evaluation seed.

    Runs of several methods measure the same episodes when their seeds are the same.
    """
    found = {}
    for trained in runs:
        for score in trained.scores:
            if score.policy == policy:
                seeds = found.setdefault(trained.config.task, {})
                best = seeds.get(score.seed)
                if best is None or len(score.returns) > len(best[1].returns):
                    seeds[score.seed] = (trained, score)
    return {task: [seeds[seed] for seed in sorted(seeds)] for task, seeds in found.items()}


def in_order(values: Iterable[str], first: Iterable[str]) -> list[str]:
    """Without duplicates: those of ``first`` in its order, then the others by name."""
    order = list(first)
    known = {value: index for index, value in enumerate(order)}
    return sorted(set(values), key=lambda value: (known.get(value, len(order)), value))
