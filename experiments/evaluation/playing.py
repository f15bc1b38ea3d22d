"""Plays one condition of a run: who acts, in which environments, and what is kept of it."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

import envs
from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation.agreement import Recording
from experiments.evaluation.conditions import Condition
from experiments.evaluation.measures import Measures
from experiments.evaluation.result import Result
from experiments.evaluation.rollout import (
    Act,
    Numbers,
    agent_actor,
    evaluation_environments,
    expert_actor,
    random_actor,
    rollout,
)
from experiments.evaluation.video import panels
from mummi.agent import Acting, Agent
from mummi.config import Config
from mummi.imitation import record as imitation
from mummi.imitation.pilot import load_pilot
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.record import Run

SCENE = 192
"""Pixels of a side of the scene in a video."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """Who acts: the agent or action head of a run at its last checkpoint.

    Attributes:
        agent: an ``Agent``, or the ``Pilot`` of an action head.
        parameters: of the agent; None of a pilot.
        step: of the checkpoint.
        imitates: whether it is a pilot.
    """

    agent: Acting
    parameters: Any
    step: int
    imitates: bool

    @classmethod
    def load(cls, logdir: pathlib.Path, record: Run) -> "Trained":
        """That of a run.

        Raises:
            FileNotFoundError: it has no checkpoint or no trained head yet.
        """
        if imitation.is_imitation(logdir):
            pilot, step = load_pilot(logdir)
            return cls(pilot, None, step, True)
        agent = Agent(record.config, record.modalities, record.action_size)
        state, meta = Checkpointer(logdir / "checkpoints").restore(jax.eval_shape(agent.init, 0))
        return cls(agent, state, meta["step"], False)


@dataclasses.dataclass(frozen=True)
class Setting:
    """How conditions are played.

    Attributes:
        config: settings of the environments.
        seed: of the evaluation.
        count: environments that run in parallel.
        video: keep frames of the first episode.
    """

    config: Config
    seed: int
    count: int
    video: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a condition.

    Attributes:
        result: its episodes.
        measures: of motion and speed.
        frames: of a video of the first episode, none where none was asked for.
        recording: what was seen, where that was asked for.
    """

    result: Result
    measures: dict[str, float | None]
    frames: list[np.ndarray]
    recording: Recording | None


def play(
    trained: Trained,
    setting: Setting,
    row: Condition,
    numbers: Sequence[int],
    record: bool,
    console: Console,
) -> Outcome:
    """Plays episodes under one condition.

    Args:
        trained: acts, where the condition has no policy of its own.
        setting: how.
        row: the condition.
        numbers: of the episodes.
        record: keep what ``agreement`` needs.
        console: shows how many episodes have ended.
    """
    config, frames, done = setting.config, [], 0
    # Where it can be told, what is removed need not be drawn first.
    unseen = {}
    if "unseen" in vars(envs.options(config.task)):
        unseen["unseen"] = (*config.env.get("unseen", ()), *row.hidden)
    places = (config, setting.count, setting.seed, row.missing)
    with (
        console.status(f"{row.name}: {len(numbers)} episodes") as status,
        evaluation_environments(*places, **unseen) as environments,
    ):
        measures = Measures()
        act = measures.timed(_actor(trained, row, environments, setting.seed, measures))
        recording = Recording(act, environments) if record else None

        def watch(batch: Batch, playing: Numbers) -> None:
            nonlocal done
            done += sum(bool(batch.is_last[k]) for k, n in enumerate(playing) if n is not None)
            status.update(f"{row.name}: {done} of {len(numbers)} episodes")
            # The first environment takes the first episode.
            if setting.video and playing[0] == numbers[0]:
                if batch.is_first[0]:
                    frames.clear()
                scene = environments.render(SCENE)[0]
                frames.append(panels(scene, batch, environments.modalities))

        result = rollout(recording or act, environments, numbers, row.hidden, watch)
    return Outcome(result, measures.to_dict(), frames, recording)


def _actor(
    trained: Trained,
    row: Condition,
    environments: ParallelEnvironments,
    seed: int,
    measures: Measures,
) -> Act:
    """Who acts under a condition."""
    count = len(environments)
    if row.policy == "random":
        return random_actor(environments.action_size, count, seed)
    if row.policy == "expert":
        return expert_actor(environments)
    return agent_actor(trained.agent, trained.parameters, count, seed, measures.look)
