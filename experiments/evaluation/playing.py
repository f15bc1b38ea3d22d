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
from mummi.agent import Agent
from mummi.config import Config
from mummi.imitation import record as imitation
from mummi.imitation.pilot import load_pilot
from mummi.policy import Acting
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


class Stage:
    """The environments that conditions are played in, one condition after the other.

    Conditions that differ in nothing that environments are made with share them: an episode
    follows from its number, whatever was played before.

    Args:
        config: settings of the environments.
        count: environments that run in parallel.
        seed: of the evaluation.
    """

    def __init__(self, config: Config, count: int, seed: int):
        self.seed = seed
        self._config, self._count = config, count
        self._key: tuple | None = None
        self._environments: ParallelEnvironments | None = None
        # Where it can be told, what is removed need not be drawn first.
        self._tells_unseen = "unseen" in vars(envs.options(config.task))

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the environments that are open."""
        if self._environments:
            self._environments.close()
        self._environments = self._key = None

    def order(self, rows: Sequence[Condition]) -> list[Condition]:
        """The conditions with those together that share environments."""
        keys = [self._settings(row) for row in rows]
        return sorted(rows, key=lambda row: keys.index(self._settings(row)))

    def environments(self, row: Condition) -> ParallelEnvironments:
        """Those for a condition, valid until the next are asked for."""
        if (key := self._settings(row)) != self._key:
            self.close()
            missing, changes = key
            self._environments = evaluation_environments(
                self._config, self._count, self.seed, missing, **changes
            )
            self._key = key
        return self._environments

    def _settings(self, row: Condition) -> tuple[str, dict]:
        """Script of sensor dropout, and changed options of the task."""
        if not self._tells_unseen:
            return row.missing, {}
        return row.missing, {"unseen": (*self._config.env.get("unseen", ()), *row.hidden)}


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
    stage: Stage,
    row: Condition,
    numbers: Sequence[int],
    console: Console,
    *,
    video: bool = False,
    record: bool = False,
) -> Outcome:
    """Plays episodes under one condition.

    Args:
        trained: acts, where the condition has no policy of its own.
        stage: where.
        row: the condition.
        numbers: of the episodes.
        console: shows how many episodes have ended.
        video: keep frames of the first episode.
        record: keep what ``agreement`` needs.
    """
    frames, done = [], 0
    with console.status(f"{row.name}: {len(numbers)} episodes") as status:
        environments, measures = stage.environments(row), Measures()
        act = measures.timed(_actor(trained, row, environments, stage.seed, measures))
        recording = Recording(act, environments) if record else None

        def watch(batch: Batch, playing: Numbers) -> None:
            nonlocal done
            done += sum(bool(batch.is_last[k]) for k, n in enumerate(playing) if n is not None)
            status.update(f"{row.name}: {done} of {len(numbers)} episodes")
            # The first environment takes the first episode.
            if video and playing[0] == numbers[0]:
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
