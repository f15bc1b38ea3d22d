"""Who acts in an evaluation: a trained agent, chance, or the task's expert."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from envs.processes.parallel import Batch, ParallelEnvironments
from mummi.policy import Acting

Numbers = Sequence[int | None]
"""Number of the episode that each of K environments plays; None where no action is asked for."""

Act = Callable[[Batch, Numbers], np.ndarray]
"""Actions [K, A] for one step of K environments; rows without a number mean nothing."""


def asked(numbers: Numbers) -> list[int]:
    """Which robots are asked for an action."""
    return [k for k, number in enumerate(numbers) if number is not None]


class AgentActor:
    """The mode of an agent for K robots, each acted for by a call of its own: an ``Act``.

    A call for several robots at once would round otherwise than one for each, and an episode would
    depend on how many are played at a time.

    Args:
        agent: a trained agent, or the ``Pilot`` of an action head.
        parameters: an AgentState, or any object with ``model``, ``actor`` and ``critic``; None of
            a pilot.
        count: K.
        seed: of what is drawn; with the number of an episode it decides all draws in it.
        as_zeros: what is missing is delivered as zeros, as if it were there.

    Attributes:
        carries: what the agent remembers of each robot, None before its first action.
    """

    def __init__(
        self, agent: Acting, parameters: Any, count: int, seed: int, as_zeros: bool = False
    ):
        self._agent, self._parameters = agent, parameters
        self._seed_key = jax.random.PRNGKey(seed)
        self._as_zeros = as_zeros
        self._keys = [self._seed_key] * count
        self.carries: list[Any] = [None] * count

    def __call__(self, batch: Batch, numbers: Numbers) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        actions = np.zeros((len(self.carries), self._agent.action_size), np.float32)
        if self._as_zeros:
            batch = _filled(batch)
        for k in asked(numbers):
            if batch.is_first[k]:
                self._keys[k] = jax.random.fold_in(self._seed_key, numbers[k])
                self.carries[k] = self._agent.start(1)
            values = {name: value[k : k + 1] for name, value in batch.values.items()}
            available = {name: flags[k : k + 1] for name, flags in batch.available.items()}
            seen = values, available, batch.is_first[k : k + 1]
            action, self.carries[k] = self._agent.act(
                self._parameters, self.carries[k], *seen, self._keys[k], explore=False
            )
            actions[k] = np.asarray(action)[0]
        return actions


def _filled(batch: Batch) -> Batch:
    """The batch with zeros in place of what is missing, said to be there."""
    values = {}
    for name, value in batch.values.items():
        mask = batch.available[name].reshape(-1, *(1,) * (value.ndim - 1))
        values[name] = np.where(mask, value, np.zeros((), value.dtype))
    available = {name: np.ones_like(mask) for name, mask in batch.available.items()}
    return dataclasses.replace(batch, values=values, available=available)


def random_actor(action_size: int, count: int, seed: int) -> Act:
    """Uniform actions in [-1, 1]; seed and number of an episode decide those in it."""
    streams = [np.random.default_rng(seed)] * count

    def act(batch: Batch, numbers: Numbers) -> np.ndarray:
        actions = np.zeros((count, action_size), np.float32)
        for k in asked(numbers):
            if batch.is_first[k]:
                streams[k] = np.random.default_rng((seed, numbers[k]))
            actions[k] = streams[k].uniform(-1, 1, action_size)
        return actions

    return act


def expert_actor(environments: ParallelEnvironments) -> Act:
    """The task's scripted expert, which knows the true state of the environments.

    Its first action raises a ValueError where the task has none.
    """
    return lambda batch, numbers: environments.expert_action()
