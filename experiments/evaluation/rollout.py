"""Rollouts of numbered episodes, each the same whoever plays beside it."""

import collections
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation.actors import Act, Numbers, asked
from experiments.evaluation.result import Played, Result
from mummi.config import Config
from mummi.modality import require_can_fail
from mummi.runs.files import atomic

EVALUATION = 1
"""Second entry of every evaluation seed; training seeds have 0 there."""


def episode_numbers(text: int | str) -> range:
    """Numbers of episodes as a command line has them: ``30`` is ``0:30``, ``5:8`` is 5, 6 and 7.

    Raises:
        ValueError: another text, or no episode.
    """
    start, colon, stop = str(text).partition(":")
    if not colon:
        start, stop = "0", start
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise ValueError(
            f"--episodes {text} must be a count of at least 1, or FIRST:END such as 5:8, which "
            "is the episodes 5, 6 and 7"
        )
    return range(int(start), int(stop))


def rollout(
    act: Act,
    environments: ParallelEnvironments,
    episodes: Iterable[int],
    hidden: Sequence[str] = (),
    watch: Callable[[Batch, Numbers], None] | None = None,
    undrawn: Sequence[str] = (),
) -> Result:
    """Plays whole episodes; an environment that has finished one takes the next that is left.

    Args:
        act: chooses the actions. At the last step of an episode it is not asked.
        environments: K environments of the same seed.
        episodes: their numbers, each once.
        hidden: modalities removed entirely.
        watch: called with every step's batch and the numbers of the episodes that it is of.
        undrawn: cameras that nobody looks at, which count as there.

    Returns:
        The episodes in the order of their numbers.

    Raises:
        ValueError: a modality in ``hidden`` that the task does not have, or that cannot fail.
    """
    require_can_fail(hidden, environments.modalities, " in --drop")
    left, count = collections.deque(episodes), len(environments)

    def following() -> int | None:
        return left.popleft() if left else None

    running: list[_Running] = [_Running() for _ in range(count)]
    played: list[Played] = []
    numbers = [following() for _ in range(count)]
    idle = np.zeros((count, environments.action_size), np.float32)
    batch = environments.reset(numbers)
    while asked(numbers):
        available = {
            n: (flags | (n in undrawn)) & (n not in hidden) for n, flags in batch.available.items()
        }
        batch = dataclasses.replace(batch, available=available)
        if watch:
            watch(batch, numbers)
        lost = 1.0 - np.mean(list(available.values()), 0)
        for k in asked(numbers):
            if batch.is_first[k]:  # also where a lost worker begins the episode anew
                running[k] = _Running()
            running[k].add(float(batch.reward[k]), float(lost[k]))
            if batch.is_last[k]:
                played.append(running[k].end(numbers[k], batch.info[k]))
        going = [None if batch.is_last[k] else n for k, n in enumerate(numbers)]
        actions = act(batch, going) if asked(going) else idle
        # An environment without an episode goes on, and nobody looks.
        numbers = [
            following() if batch.is_last[k] and n is not None else n for k, n in enumerate(numbers)
        ]
        if asked(numbers):
            batch = environments.step(actions, numbers)
    return Result(tuple(sorted(played, key=lambda episode: episode.number)))


@dataclasses.dataclass
class _Running:
    """Sums over an episode that has not ended."""

    total: float = 0.0
    steps: int = 0
    missing: float = 0.0

    def add(self, reward: float, missing: float) -> None:
        self.total, self.steps = self.total + reward, self.steps + 1
        self.missing += missing

    def end(self, number: int, info) -> Played:
        # The first step is that of the reset, and no action led to it.
        return Played(number, self.total, self.steps - 1, self.missing / self.steps, dict(info))


def write_json(path: str | os.PathLike, content: dict) -> None:
    """Writes a JSON file whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def evaluation_seeds(seed: int, count: int) -> list[tuple[int, int]]:
    """Seeds of ``count`` environments of an evaluation, which no training run uses.

    They are the same, so that an episode of a number is the same in each.
    """
    return [(seed, EVALUATION)] * count


def evaluation_environments(
    config: Config, count: int, seed: int, missing="none", **changes
) -> ParallelEnvironments:
    """``count`` environments on seeds and background clips that training never uses.

    Each has a process of its own, also one alone: a simulator that fails costs an episode that is
    begun anew, and not the caller.
    """
    return ParallelEnvironments(
        config.task,
        evaluation_seeds(seed, count),
        missing=missing,
        training=False,
        **environment_settings(config) | changes,
    )


def environment_settings(config: Config) -> dict:
    """What a run's environments are made with, beside task, seed and what is missing."""
    return config.env | {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }
