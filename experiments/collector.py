"""What environments deliver, as episodes in replays."""

import numpy as np

from envs.base import LABELS
from envs.processes.parallel import Batch, ParallelEnvironments
from mummi.data.episode import EpisodeWriter
from mummi.data.replay import Replay


class Collector:
    """Writes what K environments deliver into replays, and keeps score.

    Args:
        environments: where the steps come from.
        replay: of the episodes that the agent, or chance, lived through.
        demonstrations: of those that an expert did.
    """

    def __init__(self, environments: ParallelEnvironments, replay: Replay, demonstrations: Replay):
        sensors = (environments.modalities, environments.action_size)
        self._writers = [EpisodeWriter(*sensors) for _ in range(len(environments))]
        self._replays = {"episode": replay, "demonstration": demonstrations}
        self._returns = np.zeros(len(environments))
        self._missing = np.zeros(len(environments))

    def add(
        self, batch: Batch, actions: np.ndarray, step: int, demonstrated: np.ndarray
    ) -> list[dict[str, float]]:
        """Takes one step [K] of episodes that are ``demonstrated``, bool [K], or not.

        Returns:
            Of each episode that ended the score, as ``episode/return`` or
            ``demonstration/return`` and so on.
        """
        ended = []
        for k, writer in enumerate(self._writers):
            if batch.restarted[k]:
                writer.drop()
            if batch.is_first[k]:
                self._returns[k] = self._missing[k] = 0.0
            values = {name: value[k] for name, value in batch.values.items()}
            available = {name: there[k] for name, there in batch.available.items()}
            flags = (batch.is_first[k], batch.is_last[k], batch.is_terminal[k])
            writer.append(values, available, actions[k], batch.reward[k], *flags)
            self._returns[k] += batch.reward[k]
            self._missing[k] += 1.0 - np.mean(list(available.values()))
            if batch.is_last[k]:
                length = len(writer)
                kind = "demonstration" if demonstrated[k] else "episode"
                self._replays[kind].add(writer.finish(), step)
                score = {"return": self._returns[k], "missing": self._missing[k] / length}
                last = {n: value for n, value in batch.info[k].items() if n not in LABELS}
                score |= {f"last/{name}": value for name, value in last.items()}
                ended.append({f"{kind}/{name}": float(value) for name, value in score.items()})
        return ended
