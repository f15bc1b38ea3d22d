"""How far a head's actions are from those of the demonstrations that are held out."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

from envs.failures.script import load_script
from experiments.evaluation.conditions import Condition, conditions, require_distinct, usual
from experiments.evaluation.rollout import write_json
from experiments.evaluation.saved import load as load_json
from experiments.evaluation.views import FAILURES, failing
from experiments.imitation.data import load_held_out
from experiments.imitation.errors import controls, show, summary
from mummi.config import check_seed
from mummi.imitation import record
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.heads.head import HEADS, Head, Trajectory
from mummi.imitation.latents import View
from mummi.imitation.pilot import Pilot, load_pilot
from mummi.modality import Modality
from mummi.runs import record as run

OWN = "encoders of its own"
"""In place of the method of a world model where a head reads none."""


def evaluate(
    logdir: pathlib.Path,
    missing: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    drop_missing: Sequence[str] = ("none",),
    *,
    seed: int | None = None,
    keep: bool = False,
    out: str = "",
) -> dict[str, Any]:
    """Errors of a run's actions on its held-out demonstrations; writes and prints them.

    Args:
        logdir: folder of a run of experiments.imitate that holds out some.
        missing: scripts of sensor dropout, one row each; by default what is usual for the task.
        drop: sensors removed, one row each; by default what is usual for the task, or else each
            that can fail.
        drop_missing: scripts of what is left, a row of each ``drop`` for each.
        seed: of the failures; by default the run's.
        keep: rows that the file has already are not evaluated again.
        out: folder of what is written; by default the run's.

    Returns:
        By the name of each row that was evaluated now, what the file says of it.

    Raises:
        FileNotFoundError: the head is not trained yet, or the data are gone.
        ValueError: a sensor that is unknown or cannot fail, a wrong script, or changed data.
    """
    found, imitation = run.load(logdir), record.load(logdir)
    seed = found.config.seed if seed is None else seed
    check_seed(seed)
    path, console = pathlib.Path(out or logdir) / record.HELD_OUT, Console()
    rows = asked(found, HEADS[imitation.head].blind, missing, drop, drop_missing)
    pilot, step = load_pilot(logdir)
    split = record.load_split(logdir)
    common = {
        "task": found.config.task,
        "data": imitation.data,
        "method": found.config.method if imitation.reads_latents else OWN,
        "head": imitation.head,
        "seed": found.config.seed,
        "evaluation_seed": seed,
        "step": step,
        "rate": split.rate,
        "held_out": list(split.held_out),
        "action_mean": list(split.mean),
        "action_std": list(split.std),
    }
    content = load_json(path) or common | {"rows": {}}
    if not common.items() <= content.items():
        raise ValueError(
            f"{path} is of another seed, step or data than these; name another folder with --out, "
            "or remove the file"
        )
    lacking = [row for row in rows if not (keep and same(row, content["rows"].get(row.name)))]
    if lacking:
        demonstrations = load_held_out(logdir, found.config, found.modalities)
        wanted = [pilot.scaling.acted(one.actions) for one in demonstrations]
    for row in lacking:
        with console.status(f"held-out demonstrations: {row.name}"):
            views = seen(demonstrations, found.modalities, row, seed)
            actions, ahead = predict(pilot, views, seed)
        masks = [np.mean(list(view.available.values())) for view in views]
        content["rows"][row.name] = {
            **asked_of(row),
            "missing": float(1 - np.mean(masks)),
            **summary(actions, wanted, ahead, split),
        }
        done = [pilot.scaling.acted(view.actions) for view in views]
        content["controls"] = {
            name: summary(control, wanted, ahead, split)
            for name, control in controls(done, ahead, split).items()
        }
    if lacking:
        write_json(path, content)
    show(content, console)
    console.print(f"written: {path}")
    return {row.name: content["rows"][row.name] for row in lacking}


def asked(
    found: run.Run,
    blind: bool,
    missing: Sequence[str] | None,
    drop: Sequence[str] | None,
    drop_missing: Sequence[str] = ("none",),
) -> list[Condition]:
    """The rows that are asked for, those of a head that reads no sensor being one."""
    if blind:
        missing, drop = ("none",), ()
    if missing is None:
        missing = usual(found)[0]
    if drop is None:
        drop = usual(found)[1] or [m.name for m in found.modalities if m.can_fail]
    rows = conditions(found, missing, drop, drop_missing)
    require_distinct(rows)
    if not rows:
        raise ValueError("nothing to evaluate: give --missing or --drop")
    return rows


def same(row: Condition, held: dict | None) -> bool:
    """Whether a row of the file is of the script and sensors that are asked for."""
    return held is not None and asked_of(row).items() <= held.items()


def asked_of(row: Condition) -> dict[str, Any]:
    """What a row's entry says beside its errors."""
    return {"script": load_script(row.missing).to_dict(), "dropped": list(row.hidden)}


def seen(
    demonstrations: Sequence[Demonstration],
    modalities: Sequence[Modality],
    row: Condition,
    seed: int,
) -> list[View]:
    """Demonstrations as a condition leaves them; copy 0 of a seed is none that was learned from."""
    views, script = [], load_script(row.missing)
    for index, demonstration in enumerate(demonstrations):
        view = failing(demonstration, modalities, script, (seed, FAILURES, index, 0))
        there = {name: mask & (name not in row.hidden) for name, mask in view.available.items()}
        views.append(view._replace(available=there))
    return views


def predict(
    pilot: Pilot, views: Sequence[View], seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the head would do at each step of what was recorded.

    The latents follow the recorded sensors and actions, so that errors do not add up; a two-valued
    action is held after what was decided before. A head that makes chunks makes them as often as
    when it drives.

    Returns:
        Of each view its actions [T, A] in the units of the data, and how many steps ahead each was
        chosen, int [T], 1 where it follows what is seen at its own step.
    """
    trajectories = pilot.encode(views)
    actions, ahead = drive(pilot.head, trajectories, jax.random.PRNGKey(seed))
    ahead = [steps[: len(view.actions)] for steps, view in zip(ahead, views, strict=True)]
    done = []
    for row, view in zip(np.clip(actions, -1, 1), views, strict=True):
        held, decided = pilot.decisions.start(1, row.shape[-1]), []
        for step in range(len(view.actions)):
            held = pilot.decisions.decide(row[step : step + 1], held, np.array([step == 0]))
            decided.append(held.actions[0])
        done.append(pilot.scaling.acted(np.stack(decided)))
    return done, ahead


def drive(
    head: Head, trajectories: Sequence[Trajectory], key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Actions [D, T, A] of a head along D trajectories at once, and how far ahead, int [D, T].

    What lies beyond an end says nothing.
    """
    count, longest = len(trajectories), max(len(t.action) for t in trajectories)
    percepts = [t.percept for t in trajectories]
    carry, actions, ahead = head.reset(count), [], []
    for step in range(longest):
        now = jax.tree.map(
            lambda *leaves, step=step: np.stack([x[min(step, len(x) - 1)] for x in leaves]),
            *percepts,
        )
        first = np.full(count, step == 0)
        action, carry = head.act(carry, now, first, jax.random.fold_in(key, step))
        actions.append(np.asarray(action, np.float32))
        position = getattr(carry, "position", np.zeros(count, int))
        ahead.append(np.asarray(position) + 1)
    return np.stack(actions, 1), np.stack(ahead, 1)
