"""A trained action head on a frozen world model, as an agent that only acts."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from mummi.agent import Agent
from mummi.data.episode import load_episode
from mummi.imitation import record
from mummi.imitation.heads.head import HEADS, Head
from mummi.imitation.latents import Latents
from mummi.model.rssm import State
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer

HEAD = "head.npz"


class Carry(NamedTuple):
    """What acting remembers from step to step, for a batch of robots."""

    state: State
    head: Any
    action: np.ndarray
    count: int


class Pilot:
    """Takes the place of an ``Agent`` wherever one acts.

    Args:
        latents: the world model.
        head: trained.

    Attributes:
        modalities, action_size: those of the world model.
        head: the head.
    """

    def __init__(self, latents: Latents, head: Head):
        self.modalities = latents.sizes.modalities
        self.action_size = latents.sizes.action
        self.head = head
        self._latents = latents

    def start(self, batch: int) -> Carry:
        """What acting remembers before the first step of ``batch`` robots."""
        action = np.zeros((batch, self.action_size), np.float32)
        return Carry(self._latents.start(batch), self.head.reset(batch), action, 0)

    def act(
        self,
        params: None,
        carry: Carry,
        values: Mapping[str, np.ndarray],
        available: Mapping[str, np.ndarray],
        is_first: np.ndarray,
        key: Array,
        explore: bool = False,
    ) -> tuple[np.ndarray, Carry]:
        """Actions [B, A] in [-1, 1] for a batch of robots; arguments as of ``Agent.act``.

        There are no other parameters than those inside, and nothing is explored.
        """
        is_first = np.asarray(is_first)
        percept, state = self._latents.step(carry.state, values, available, carry.action, is_first)
        key = jax.random.fold_in(key, carry.count)
        action, head = self.head.act(carry.head, percept, is_first, key)
        action = np.clip(np.asarray(action, np.float32), -1, 1)
        return action, Carry(state, head, action, carry.count + 1)


def load_pilot(logdir) -> tuple[Pilot, int]:
    """The trained head of an imitation run and the updates of its world model.

    Raises:
        FileNotFoundError: the folder is no imitation run, or its head is not trained yet.
    """
    imitation, before = record.load(logdir), run.load(logdir)
    path = pathlib.Path(logdir) / HEAD
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(logdir)!r} has no trained head yet; the same command of experiments.imitate "
            "goes on"
        )
    agent = Agent(before.config, before.modalities, before.action_size)
    checkpointer = Checkpointer(pathlib.Path(logdir) / "checkpoints")
    state, meta = checkpointer.restore(jax.eval_shape(agent.init, 0))
    latents = Latents(agent, state.model)
    head = HEADS[imitation.head].build(imitation.settings, latents.sizes)
    head.restore(load_episode(path))
    return Pilot(latents, head), meta["step"]
