"""An agent whose actions tell what its policy remembers, for the tests of serving."""

from typing import NamedTuple

import numpy as np

from mummi.policy import Policy
from tests.support.small import ACTION_SIZE, MODALITIES


class Verdict(NamedTuple):
    """Trust in each sensor [M, 1]."""

    trust: np.ndarray


class Carry(NamedTuple):
    """Steps since the policy was reset."""

    steps: int
    verdict: Verdict | None


class Counting:
    """Its action is how many steps the episode has and how many sensors delivered, over 100.

    Args:
        trust: in each sensor, at every step.
    """

    modalities = MODALITIES
    action_size = ACTION_SIZE

    def __init__(self, *trust: float):
        self._verdict = Verdict(np.array(trust)[:, None]) if trust else None

    def trusting(self, thresholds):
        return self

    def start(self, batch):
        return Carry(0, self._verdict)

    def act(self, params, carry, values, available, is_first, key, explore):
        steps = carry.steps + 1
        delivered = sum(bool(mask[0]) for mask in available.values())
        action = np.array([[steps, delivered]], np.float32) / 100
        return action, carry._replace(steps=steps)


def counting(*trust: float) -> Policy:
    """The policy of a ``Counting`` agent."""
    return Policy(Counting(*trust), None, step=7)


def observe(**changes) -> dict:
    """A value of each sensor of ``counting``, changed; None for one that did not deliver."""
    return {m.name: np.zeros(m.shape, m.dtype) for m in MODALITIES} | changes
