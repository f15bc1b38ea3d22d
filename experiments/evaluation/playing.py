"""Plays one condition of a run: who acts, in which environments, and what is kept of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from rich.console import Console

import envs
from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation.actors import (
    Act,
    AgentActor,
    Numbers,
    asked,
    expert_actor,
    random_actor,
)
from experiments.evaluation.agreement import Recording
from experiments.evaluation.conditions import Condition
from experiments.evaluation.measures import Measures
from experiments.evaluation.result import Result
from experiments.evaluation.rollout import evaluation_environments, rollout
from experiments.evaluation.trained import Trained
from experiments.evaluation.trust import Traces
from experiments.evaluation.video import Film
from mummi.config import Config


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
        not_drawn = *self._config.env.get("unseen", ()), *row.hidden, *row.undrawn
        return row.missing, {"unseen": tuple(dict.fromkeys(not_drawn))}


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
        trained: acts, where the condition has no policy of its own; with trust where it wants that.
        stage: where.
        row: the condition.
        numbers: of the episodes.
        console: shows how many episodes have ended.
        video: keep frames of the first episode.
        record: keep what ``agreement`` needs.
    """
    done, traces, film, recording = 0, None, None, None
    with console.status(f"{row.name}: {len(numbers)} episodes") as status:
        environments, measures = stage.environments(row), Measures()
        actor = _actor(trained, row, environments, stage.seed)
        act = measures.timed(actor)
        if row.trust:
            act = traces = Traces(act, actor, [m.name for m in trained.agent.modalities])
        if video:
            act = film = Film(act, environments, numbers[0], traces)
        if record:
            act = recording = Recording(act, environments)

        def watch(batch: Batch, playing: Numbers) -> None:
            nonlocal done
            done += sum(bool(batch.is_last[k]) for k in asked(playing))
            status.update(f"{row.name}: {done} of {len(numbers)} episodes")

        result = rollout(act, environments, numbers, row.hidden, watch, row.undrawn)
    if traces:
        result = result.trusting(traces.trust)
    return Outcome(result, measures.to_dict(), film.frames if film else [], recording)


def _actor(trained: Trained, row: Condition, environments: ParallelEnvironments, seed: int) -> Act:
    """Who acts under a condition."""
    count = len(environments)
    if row.policy == "random":
        return random_actor(environments.action_size, count, seed)
    if row.policy == "expert":
        return expert_actor(environments)
    return AgentActor(trained.agent, trained.parameters, count, seed, row.as_zeros)
