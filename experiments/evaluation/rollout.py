"""Rollouts of a trained agent and what they say: returns by condition, intervals, files."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence

import jax
import numpy as np

from envs.base import LABELS
from envs.processes.parallel import Batch, ParallelEnvironments
from mummi.agent import Agent
from mummi.config import Config
from mummi.modality import require_can_fail
from mummi.runs.files import atomic

EVALUATION = 1
"""Second entry of every evaluation seed; training seeds have 0 there."""


@dataclasses.dataclass(frozen=True)
class Result:
    """Episodes under one condition.

    Attributes:
        returns: sum of rewards of each episode.
        lengths: agent steps of each episode.
        missing: share of sensor readings that did not arrive, of each episode.
        info: last value of each number of ``TimeStep.info``, of each episode.
    """

    returns: list[float]
    lengths: list[int]
    missing: list[float]
    info: list[dict[str, float]]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the return over episodes."""
        return float(np.std(self.returns))

    @property
    def last(self) -> dict[str, float]:
        """Mean over the episodes that have it of each number of ``info`` that is no label."""
        names = dict.fromkeys(name for info in self.info for name in info if name not in LABELS)
        return {n: float(np.mean([i[n] for i in self.info if n in i])) for n in names}

    @property
    def by_task(self) -> dict[str, dict[str, float]]:
        """``episodes`` and mean ``success`` of each of several tasks, by the number that ``info``
        gives it; empty where it does not."""
        tasks: dict[int, list[float]] = {}
        for info in self.info:
            if info.keys() >= {"task", "success"}:
                tasks.setdefault(int(info["task"]), []).append(info["success"])
        return {
            str(task): {"episodes": len(tasks[task]), "success": float(np.mean(tasks[task]))}
            for task in sorted(tasks)
        }

    @property
    def interval(self) -> float:
        """Half width of the 95 % interval of the mean (normal approximation)."""
        return (
            1.96
            * float(np.std(self.returns, ddof=min(1, len(self.returns) - 1)))
            / math.sqrt(len(self.returns))
        )

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        successes = [info["success"] for info in self.info if "success" in info]
        return {
            "episodes": len(self.returns),
            "mean": self.mean,
            "std": self.std,
            "interval95": [self.mean - self.interval, self.mean + self.interval],
            "missing": float(np.mean(self.missing)),
            "returns": self.returns,
            "successes": successes,
            "by_task": self.by_task,
            "last": self.last,
            "lengths": self.lengths,
        }


def evaluation_seeds(seed: int, count: int) -> list[tuple[int, int, int]]:
    """Environment seeds that no training run uses."""
    return [(seed, EVALUATION, index) for index in range(count)]


Act = Callable[[Batch], np.ndarray]
"""Actions [K, A] for one step of K environments."""


def agent_actor(agent: Agent, parameters, count: int, seed: int) -> Act:
    """The mode of a trained agent, for ``count`` environments.

    Args:
        agent: the agent.
        parameters: an AgentState, or any object with ``model``, ``actor`` and ``critic``.
        count: K.
        seed: seed of the latent samples.
    """
    key, carry = jax.random.PRNGKey(seed), agent.start(count)

    def act(batch: Batch) -> np.ndarray:
        nonlocal carry
        action, carry = agent.act(
            parameters, carry, batch.values, batch.available, batch.is_first, key, explore=False
        )
        return np.asarray(action)

    return act


def random_actor(action_size: int, seed: int) -> Act:
    """Uniform actions in [-1, 1]."""
    random = np.random.default_rng(seed)

    def act(batch: Batch) -> np.ndarray:
        return random.uniform(-1, 1, (len(batch.reward), action_size)).astype(np.float32)

    return act


def expert_actor(environments: ParallelEnvironments) -> Act:
    """The task's scripted expert, which knows the true state of the environments.

    Its first action raises a ValueError where the task has none.
    """
    return lambda batch: environments.expert_action()


def rollout(
    act: Act,
    environments: ParallelEnvironments,
    episodes: int,
    hidden: Sequence[str] = (),
    watch: Callable[[Batch], None] | None = None,
) -> Result:
    """Runs whole episodes.

    Episodes are shared out beforehand, so short ones are not counted more often.

    Args:
        act: chooses the actions.
        environments: K environments; each gives its first ``episodes / K`` episodes.
        episodes: number of episodes.
        hidden: modalities removed entirely.
        watch: called with every step's batch.

    Returns:
        The episodes in the order of environment, then time.

    Raises:
        ValueError: a modality in ``hidden`` that the task does not have, or that cannot fail.
    """
    require_can_fail(hidden, environments.modalities, " in --drop")
    count = len(environments)
    quota = [len(range(k, episodes, count)) for k in range(count)]
    rows = [[] for _ in range(count)]
    total, steps, missing = np.zeros(count), np.zeros(count, int), np.zeros(count)
    batch = environments.reset()
    while True:
        available = {n: there & (n not in hidden) for n, there in batch.available.items()}
        batch = dataclasses.replace(batch, available=available)
        if watch:
            watch(batch)
        lost = 1.0 - np.mean(list(available.values()), 0)
        total = np.where(batch.is_first, 0.0, total + batch.reward)
        missing = np.where(batch.is_first, lost, missing + lost)
        steps = np.where(batch.is_first, 0, steps + 1)
        for k in np.flatnonzero(batch.is_last):
            rows[k].append((total[k], steps[k], missing[k] / (steps[k] + 1), batch.info[k]))
        if all(len(row) >= n for row, n in zip(rows, quota, strict=True)):
            break
        batch = environments.step(act(batch))
    done = [row for k in range(count) for row in rows[k][: quota[k]]]
    returns, lengths, shares, info = zip(*done, strict=True)
    return Result(
        [float(x) for x in returns],
        [int(x) for x in lengths],
        [float(x) for x in shares],
        [dict(x) for x in info],
    )


def write_json(path: str | os.PathLike, content: dict) -> None:
    """Writes a JSON file whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def evaluation_environments(
    config: Config, count: int, seed: int, missing="none", **changes
) -> ParallelEnvironments:
    """``count`` environments on seeds and background clips that training never uses."""
    settings = config.env | {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }
    return ParallelEnvironments(
        config.task,
        evaluation_seeds(seed, count),
        processes=count > 1,
        missing=missing,
        training=False,
        **settings | changes,
    )
