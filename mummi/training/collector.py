"""What environments deliver, as episodes in replays."""

import warnings

import numpy as np

from mummi.data.episode import EpisodeWriter, NotFinite
from mummi.data.replay import Replay
from mummi.training.environments import Batch, Environments


class Collector:
    """Writes what K environments deliver into replays, and keeps score.

    An episode with a reward, an action or an available value that is not finite is dropped, with a
    warning the first time: nothing could be learned from it.

    Args:
        environments: where the steps come from.
        replay: of the episodes in which the agent, or chance, acts.
        demonstrations: of those in which an expert does.

    Attributes:
        dropped: how many episodes were dropped as they were not finite.
    """

    def __init__(self, environments: Environments, replay: Replay, demonstrations: Replay):
        sensors = (environments.modalities, environments.action_size)
        self._writers = [EpisodeWriter(*sensors) for _ in range(len(environments))]
        self._replays = {"episode": replay, "demonstration": demonstrations}
        self._labels = frozenset(environments.labels)
        self._returns = np.zeros(len(environments))
        self._missing = np.zeros(len(environments))
        self._skipping = np.zeros(len(environments), bool)
        self.dropped = 0

    def add(
        self, batch: Batch, actions: np.ndarray, step: int, demonstrated: np.ndarray
    ) -> list[dict[str, float]]:
        """Takes one step of each environment.

        Args:
            batch: the step.
            actions: [K, A], the actions that led to it.
            step: environment steps taken by the run so far.
            demonstrated: bool [K], the episode is an expert's.

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
                self._skipping[k] = False
            if self._skipping[k]:
                continue
            try:
                self._append(writer, batch, actions, k)
            except NotFinite as error:
                self._drop(k, error)
                continue
            if batch.is_last[k]:
                kind = "demonstration" if demonstrated[k] else "episode"
                score = self._score(k, batch)
                self._replays[kind].add(writer.finish(), step)
                ended.append({f"{kind}/{name}": float(value) for name, value in score.items()})
        return ended

    def _append(self, writer: EpisodeWriter, batch: Batch, actions: np.ndarray, k: int) -> None:
        values = {name: value[k] for name, value in batch.values.items()}
        available = {name: flags[k] for name, flags in batch.available.items()}
        flags = (batch.is_first[k], batch.is_last[k], batch.is_terminal[k])
        writer.append(values, available, actions[k], batch.reward[k], *flags)
        self._returns[k] += batch.reward[k]
        self._missing[k] += 1.0 - np.mean(list(available.values()))

    def _score(self, k: int, batch: Batch) -> dict[str, float]:
        """Return, share of sensor readings that were missing, and the last ``info``."""
        missing = self._missing[k] / len(self._writers[k])
        last = {f"last/{n}": x for n, x in batch.info[k].items() if n not in self._labels}
        return {"return": self._returns[k], "missing": missing} | last

    def _drop(self, k: int, error: NotFinite) -> None:
        """Forgets the episode of environment k, and what follows of it."""
        self._writers[k].drop()
        self._skipping[k] = True
        if not self.dropped:
            warnings.warn(
                f"an episode of environment {k} is dropped: {error}. Later ones are only counted, "
                "as episodes_dropped in the metrics",
                RuntimeWarning,
                stacklevel=3,
            )
        self.dropped += 1
