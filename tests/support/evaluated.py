"""Folders of runs as training and evaluation leave them, for the tests of tables and pictures."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from envs.failures.script import load_script
from experiments.evaluation.result import Played, Result
from experiments.evaluation.rollout import write_json
from mummi.config import Config
from mummi.imitation import record
from mummi.imitation.heads.head import HEADS
from mummi.modality import Modality
from mummi.presets import preset
from mummi.runs import record as run

SENSORS = ("rgb", "touch")


def make_run(logdir: pathlib.Path, **changes) -> Config:
    """Writes config.yaml of a debug run; ``changes`` are settings."""
    config = preset("debug", changes.get("task", "walker_walk"))
    config = dataclasses.replace(config, logdir=str(logdir), **changes)
    sensors = tuple(Modality(name, "vector", (2,)) for name in SENSORS)
    run.save(logdir, run.Run(config, sensors, 2, load_script(config.missing).to_dict()))
    return config


def make_imitated(logdir: pathlib.Path, head: str, **changes) -> None:
    """The same of an imitation run, with imitation.yaml."""
    config = make_run(logdir, **changes)
    settings = HEADS[head].default(config.preset)
    record.save(logdir, record.Imitation("data", head=head, settings=settings))


def succeed(logdir: pathlib.Path, tasks: Mapping[str, Sequence[int]], *dropped: str) -> None:
    """Evaluates an imitation run of LIBERO: successes 0 or 1 of each task, without some sensors."""
    returns = [float(x) for row in tasks.values() for x in row]
    by_task = {
        task: {"episodes": len(row), "success": sum(row) / len(row)} for task, row in tasks.items()
    }
    last = {"success": sum(returns) / len(returns)}
    score(logdir, returns, dropped=dropped, last=last, by_task=by_task)


def score(
    logdir: pathlib.Path,
    returns: Sequence[float],
    name: str = "none",
    *,
    dropped: Sequence[str] = (),
    missing: float = 0.0,
    **changes,
) -> None:
    """Writes one file of eval/; ``changes`` replace entries of it."""
    config = run.load(logdir).config
    content = {
        "task": config.task,
        "method": config.method,
        "seed": config.seed,
        "evaluation_seed": config.seed,
        "step": 1000,
        "background": config.background,
        "script": load_script(name).to_dict(),
        "dropped": list(dropped),
    }
    played = [Played(number, value, 10, missing, {}) for number, value in enumerate(returns)]
    result = Result(tuple(played)).to_dict()
    file = "-".join(("without", *dropped, name) if dropped else (name,))
    if changes.get("method") in ("random", "expert"):
        file = changes["method"]
    write_json(logdir / "eval" / f"{file}.json", content | result | changes)


def make_grid(folder: pathlib.Path, returns: Mapping[tuple[str, str, int], Sequence[float]]):
    """A run with ``none`` evaluated for each (task, method, seed)."""
    for (task, method, seed), values in returns.items():
        logdir = folder / task / f"{method}-{seed}"
        make_run(logdir, task=task, method=method, seed=seed)
        score(logdir, values)
