"""Evaluates a trained run with sensors missing: python -m experiments.evaluate --logdir D."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import envs
from envs.failures.script import load_script
from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.command_line import explain
from experiments.evaluation.agreement import Recording, agreement, show
from experiments.evaluation.measures import Measured, PilotActor
from experiments.evaluation.rollout import (
    Act,
    Result,
    agent_actor,
    evaluation_environments,
    expert_actor,
    random_actor,
    rollout,
    write_json,
)
from experiments.evaluation.video import panels
from experiments.report.scores import condition_name
from mummi.agent import Agent
from mummi.config import Config
from mummi.imitation import record as imitation
from mummi.imitation.pilot import load_pilot
from mummi.modality import require_can_fail
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import write_video

FRAMES_PER_SECOND = 12
"""Of the videos: near real time where an action lasts 0.05 to 0.1 s."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Evaluates the last checkpoint of a run on seeds and clips that training never used.

    Attributes:
        logdir: folder of the run.
        missing: sensor dropout scripts, one row each: none, medium, high, published_medium,
            published_high, or YAML files; by default none medium high, on LIBERO none.
        drop: sensors removed entirely, one row each; rgb+depth removes both in one row. By default
            nothing is removed, on LIBERO each camera and both.
        drop_missing: sensor dropout scripts of what is left, a row of each --drop for each.
        episodes: episodes of each row.
        video: write a video of the first episode of each row.
        random: add the row of the random policy.
        expert: add the row of the task's scripted expert, which knows the true state.
        agreement: with the row none, also decode the physical state from each sensor alone and
            across sensors, into agreement.json.
        background: as in training by default; natural, none or a path.
        seed: evaluation seed; by default the run's.
        envs: environments that run in parallel.
        keep: leave out rows whose file has at least as many episodes of this checkpoint, seed and
            background already.
        out: folder of what is written; by default the run's.
    """

    logdir: str
    missing: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None
    drop_missing: tuple[str, ...] = ("none",)
    episodes: int = 30
    video: bool = False
    random: bool = False
    expert: bool = False
    agreement: bool = True
    background: str | None = None
    seed: int | None = None
    envs: int = 2
    keep: bool = False
    out: str = ""


class Condition(NamedTuple):
    """One row of the table."""

    name: str
    missing: str
    hidden: tuple[str, ...] = ()
    policy: Literal["agent", "random", "expert"] = "agent"

    @property
    def file(self) -> str:
        """The name without what a file name should not have."""
        return re.sub(r"[^\w.+]+", "-", self.name).strip("-.")


def usual(record: run.Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``missing`` and ``drop`` of a run of which nothing else is asked."""
    if not record.config.task.startswith("libero"):
        return ("none", "medium", "high"), ()
    cameras = [modality.name for modality in record.modalities if modality.kind == "image"]
    return ("none",), tuple(dict.fromkeys((*cameras, "+".join(cameras)))) if cameras else ()


def conditions(arguments: Arguments, record: run.Run) -> list[Condition]:
    """The rows that the arguments ask of a run.

    Raises:
        ValueError: a modality that is unknown or cannot fail, or two rows of one name.
    """
    rows = [Condition("random policy", "none", policy="random")] * arguments.random
    rows += [Condition("scripted expert", "none", policy="expert")] * arguments.expert
    scripts, removals = usual(record)
    for script in scripts if arguments.missing is None else arguments.missing:
        rows.append(Condition(load_script(script).name, script))
    for names in removals if arguments.drop is None else arguments.drop:
        hidden = tuple(names.split("+"))
        require_can_fail(hidden, record.modalities, " in --drop")
        for script in arguments.drop_missing:
            name = condition_name(hidden, load_script(script).name)
            rows.append(Condition(name, script, hidden))
    if not rows:
        raise ValueError("nothing to evaluate: give --missing, --drop, --random or --expert")
    files = [row.file for row in rows]
    for row in rows:
        if files.count(row.file) > 1:
            raise ValueError(f"two rows are named {row.name!r}; name each script and sensor once")
    return rows


def evaluate(arguments: Arguments) -> dict[str, Result]:
    """Runs every condition; writes ``eval/NAME.json`` and videos; prints the tables.

    Raises:
        ValueError: a setting that makes no sense, or a file that holds another evaluation of this
            checkpoint, or more episodes than would replace it.
    """
    if arguments.episodes < 1 or arguments.envs < 1:
        raise ValueError(
            f"--episodes {arguments.episodes} and --envs {arguments.envs} must be at least 1"
        )
    logdir = pathlib.Path(arguments.logdir)
    record = run.load(logdir)
    config = record.config
    if arguments.background is not None:
        config = dataclasses.replace(config, background=arguments.background)
    seed = config.seed if arguments.seed is None else arguments.seed
    rows = conditions(arguments, record)
    imitates = imitation.is_imitation(logdir)
    if imitates:
        agent, step = load_pilot(logdir)
    else:
        agent = Agent(record.config, record.modalities, record.action_size)
        state, meta = Checkpointer(logdir / "checkpoints").restore(jax.eval_shape(agent.init, 0))
        step = meta["step"]
    common = {
        "task": config.task,
        "method": config.method,
        "seed": config.seed,
        "evaluation_seed": seed,
        "step": step,
        "background": config.background,
    }
    count = min(arguments.envs, arguments.episodes)

    def actor(row: Condition, environments: ParallelEnvironments) -> Act:
        if row.policy == "random":
            return random_actor(record.action_size, seed)
        if row.policy == "expert":
            return expert_actor(environments)
        if imitates:
            return PilotActor(agent, count, seed)
        return agent_actor(agent, state, count, seed)

    out = pathlib.Path(arguments.out or logdir)
    console, results = Console(), {}
    decoded = None
    for row, path, content in due(rows, common, out / "eval", arguments):
        with console.status(f"{row.name}: {arguments.episodes} episodes") as status:
            keep = arguments.agreement and not imitates and row.name == "none"
            options = (arguments, count, seed, status, keep)
            result, frames, recording, measures = run_condition(config, row, actor, *options)
        console.print(f"{row.name}: {result.mean:.4g}")
        results[row.name] = result
        if imitates:
            content["measures"] = measures
        write_json(path, content | result.to_dict())
        if frames:
            path = out / "videos" / f"evaluation-{row.file}.mp4"
            write_video(path, np.stack(frames), FRAMES_PER_SECOND)
            console.print(f"video: {path}")
        if recording:
            decoded = agreement(agent, state, recording, seed)
            write_json(out / "agreement.json", common | {"r2": decoded})
    if results:
        console.print(table(config, step, results))
    if decoded:
        console.print(show(decoded))
    return results


def due(
    rows: list[Condition], common: dict, folder: pathlib.Path, arguments: Arguments
) -> list[tuple[Condition, pathlib.Path, dict]]:
    """The rows to run, each with its file in ``folder`` and what that will say beside the result.

    Raises:
        ValueError: as ``require_replaceable``.
    """
    found = []
    for row in rows:
        path = folder / f"{row.file}.json"
        content = common | {
            "method": common["method"] if row.policy == "agent" else row.policy,
            "script": load_script(row.missing).to_dict(),
            "dropped": list(row.hidden),
        }
        if not (arguments.keep and holds(path, content, arguments.episodes)):
            require_replaceable(path, content, arguments.episodes)
            found.append((row, path, content))
    return found


def _read(path: pathlib.Path) -> dict:
    """What a file of an evaluation says; nothing where there is none or it is damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def holds(path: pathlib.Path, content: dict, episodes: int) -> bool:
    """Whether a file of an evaluation says all of ``content``, of so many episodes or more."""
    held = _read(path)
    return held.get("episodes", 0) >= episodes and content.items() <= held.items()


def require_replaceable(path: pathlib.Path, content: dict, episodes: int) -> None:
    """Refuses to lose what a file has of the same checkpoint to ``episodes`` of ``content``.

    Raises:
        ValueError: it has more episodes, or differs in seed, background or what was missing.
    """
    held = _read(path)
    if held.get("step") != content["step"]:
        return
    other = [name for name, value in content.items() if held.get(name, value) != value]
    has = [
        "another script" if name == "script" else f"{name} {held[name]!r}, not {content[name]!r}"
        for name in other
    ]
    if held.get("episodes", 0) > episodes:
        has.append(f"{held['episodes']} episodes, more than {episodes}")
    if has:
        raise ValueError(
            f"{path} is of this checkpoint and has {'; '.join(has)}; name another folder with "
            "--out, or remove the file"
        )


def run_condition(
    config: Config,
    row: Condition,
    actor: Callable[[Condition, ParallelEnvironments], Act],
    arguments: Arguments,
    count: int,
    seed: int,
    status,
    keep: bool,
):
    """The result of one row, the frames of its first episode where a video is asked for, a
    recording of what was seen if that is asked for, and what ``Measured`` measured."""
    frames, over, done = [], False, 0
    # Where it can be told, what is removed need not be drawn first.
    unseen = {}
    if "unseen" in vars(envs.options(config.task)):
        unseen["unseen"] = (*config.env.get("unseen", ()), *row.hidden)
    with evaluation_environments(config, count, seed, row.missing, **unseen) as environments:
        act = Measured(actor(row, environments))
        recording = Recording(act, environments) if keep else None

        def watch(batch: Batch):
            nonlocal over, done
            if batch.is_last.any():
                done = min(done + int(batch.is_last.sum()), arguments.episodes)
                status.update(f"{row.name}: {done} of {arguments.episodes} episodes")
            if arguments.video and not over:
                scene = environments.render(192)[0]
                frames.append(panels(scene, batch, environments.modalities))
                over = bool(batch.is_last[0])

        result = rollout(recording or act, environments, arguments.episodes, row.hidden, watch)
    return result, frames, recording, act.measures()


def table(config, step: int, results: dict[str, Result]) -> Table:
    """The results as a table for the terminal."""
    title = f"{config.task}, {config.method}, seed {config.seed}, step {step}"
    view = Table(title=title)
    last = list(dict.fromkeys(name for result in results.values() for name in result.last))
    for column in ("sensors", "missing", "return", "± sd", "95 % interval", *last, "episodes"):
        side = "left" if column == "sensors" else "right"
        view.add_column(column, justify=side, overflow="fold")
    for name, result in results.items():
        view.add_row(
            name,
            f"{100 * np.mean(result.missing):.1f} %",
            f"{result.mean:.4g}",
            f"{result.std:.3g}",
            f"{result.mean - result.interval:.4g} to {result.mean + result.interval:.4g}",
            *(f"{result.last[n]:.2f}" if n in result.last else "–" for n in last),
            str(len(result.returns)),
        )
    return view


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and evaluates."""
    with explain():
        evaluate(tyro.cli(Arguments, prog="python -m experiments.evaluate", args=arguments))


if __name__ == "__main__":
    main()
