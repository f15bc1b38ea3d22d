"""How a policy moves and how fast it is: jerk, mode switches, diversity, latency of rollouts."""

import math
import time

import jax
import numpy as np

from envs.processes.parallel import Batch
from experiments.evaluation.rollout import Act
from mummi.imitation import metrics
from mummi.imitation.pilot import Pilot

WARM_UP = 3
"""First calls, which compile and are not timed."""


class PilotActor:
    """An ``Act`` of a trained action head for K environments.

    Args:
        pilot: the head on its world model.
        count: K.
        seed: seed of what heads draw.

    Attributes:
        carry: what the pilot remembers.
    """

    def __init__(self, pilot: Pilot, count: int, seed: int):
        self._pilot, self._key = pilot, jax.random.PRNGKey(seed)
        self.carry = pilot.start(count)

    def __call__(self, batch: Batch) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        now = (batch.values, batch.available, batch.is_first, self._key)
        action, self.carry = self._pilot.act(None, self.carry, *now)
        return action


class Measured:
    """Acts as it is told to, and measures: use it as an ``Act``.

    Args:
        act: chooses the actions. A ``PilotActor`` whose head makes chunks also shows how much they
            switch and how diverse their candidates are.
    """

    def __init__(self, act: Act):
        self._act = act
        self._running: dict[int, list[np.ndarray]] = {}
        self._episodes: list[list[np.ndarray]] = []
        self._seconds: list[float] = []
        self._gaps: list[float] = []
        self._diversity: list[float] = []

    def __call__(self, batch: Batch) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        began = time.perf_counter()
        actions = self._act(batch)
        self._seconds.append(time.perf_counter() - began)
        for k, first in enumerate(batch.is_first):
            if first:
                self._running[k] = []
                self._episodes.append(self._running[k])
            # The action at a last step is taken by nobody.
            if not batch.is_last[k]:
                self._running[k].append(actions[k])
        plan = getattr(getattr(self._act, "carry", None), "head", None)
        if hasattr(plan, "gap"):
            new = np.asarray(plan.position) == 0
            self._gaps += np.asarray(plan.gap)[new].tolist()
            self._diversity += np.asarray(plan.diversity)[new].tolist()
        return actions

    def measures(self) -> dict[str, float | None]:
        """What was measured; None for what the policy has not.

        ``jerk``: of the executed actions, mean over episodes. ``mode_switch_rate`` and
        ``diversity``: of chunks. ``latency_ms``, ``latency_p99_ms``: of one call for all ``robots``
        at once, from sensors to actions; ``hertz``: how often the mean allows it a second.
        """
        milliseconds = 1000 * np.array(self._seconds[WARM_UP:] or self._seconds)
        jerks = [metrics.jerk(np.stack(rows)) for rows in self._episodes if rows]
        diverse = [x for x in self._diversity if math.isfinite(x)]
        found = {
            "jerk": np.mean(jerks),
            "mode_switch_rate": metrics.mode_switch_rate(np.array(self._gaps)),
            "diversity": np.mean(diverse) if diverse else math.nan,
            "latency_ms": milliseconds.mean(),
            "latency_p99_ms": np.percentile(milliseconds, 99),
            "hertz": 1000 / milliseconds.mean(),
            "robots": len(self._running),
        }
        return {name: float(x) if math.isfinite(x) else None for name, x in found.items()}
