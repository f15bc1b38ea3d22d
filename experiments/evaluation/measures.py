"""How a policy moves and how fast it is: jerk, mode switches, diversity, latency of rollouts."""

import math
import time
from typing import Any

import numpy as np

from envs.processes.parallel import Batch
from experiments.evaluation.actors import Act, AgentActor, Numbers, asked
from mummi.imitation import metrics

WARM_UP = 3
"""First calls, which compile and are not timed."""


class Measures:
    """Measures a policy while it acts."""

    def __init__(self):
        self._actions: dict[int, list[np.ndarray]] = {}
        self._seconds: list[float] = []
        self._gaps: list[float] = []
        self._diversity: list[float] = []

    def timed(self, act: Act) -> Act:
        """Acts as ``act`` and measures it."""

        def timed(batch: Batch, numbers: Numbers) -> np.ndarray:
            began = time.perf_counter()
            actions = act(batch, numbers)
            seconds = time.perf_counter() - began
            robots = asked(numbers)
            self._seconds.append(seconds / len(robots))
            for k in robots:
                if batch.is_first[k]:
                    self._actions[numbers[k]] = []
                self._actions[numbers[k]].append(actions[k])
                if isinstance(act, AgentActor):
                    self._look(act.carries[k])
            return actions

        return timed

    def _look(self, carry: Any) -> None:
        """Measures what a pilot remembers of one robot after an action: its chunk, if it is new."""
        plan = getattr(carry, "head", None)
        if hasattr(plan, "gap"):
            new = np.asarray(plan.position) == 0
            self._gaps += np.asarray(plan.gap)[new].tolist()
            self._diversity += np.asarray(plan.diversity)[new].tolist()

    def to_dict(self) -> dict[str, float | None]:
        """What was measured; None for what the policy has not.

        ``episodes``: how many were measured. ``jerk``: of the executed actions, mean over episodes.
        ``mode_switch_rate`` and ``diversity``: of chunks. ``latency_ms``, ``latency_p99_ms``: from
        the sensors of one robot to its action; ``hertz``: how often the mean allows it a second.
        """
        milliseconds = 1000 * np.array(self._seconds[WARM_UP:] or self._seconds)
        diverse = [x for x in self._diversity if math.isfinite(x)]
        found = {
            "episodes": len(self._actions),
            "jerk": np.mean([metrics.jerk(np.stack(rows)) for rows in self._actions.values()]),
            "mode_switch_rate": metrics.mode_switch_rate(np.array(self._gaps)),
            "diversity": np.mean(diverse) if diverse else math.nan,
            "latency_ms": milliseconds.mean(),
            "latency_p99_ms": np.percentile(milliseconds, 99),
            "hertz": 1000 / milliseconds.mean(),
        }
        return {name: float(x) if math.isfinite(x) else None for name, x in found.items()}
