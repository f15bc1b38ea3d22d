"""Plays whole episodes and keeps what was seen, wanted and done in them."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation.actors import Act
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.latents import usable
from mummi.training.stop import Stop

DEMONSTRATION = 2
"""Second entry of every seed here; training seeds have 0 there, evaluation seeds 1."""

ROBOSUITE, GYM = 1, 2
"""robomimic's numbers for robosuite's environments and for others."""


def settings(config: Config) -> dict[str, Any]:
    """Settings of the environments, which a file of demonstrations tells."""
    return config.env | {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }


def check_noise(noise: Sequence[float], action_size: int) -> None:
    """Makes sure that noise is of all actions alike, or of each.

    Raises:
        ValueError: it is of another number of actions.
    """
    if len(noise) not in (1, action_size):
        raise ValueError(
            f"--noise has {len(noise)} numbers; give one for all actions, or one for each of the "
            f"{action_size}"
        )


class Episode:
    """The episode of one of K environments while it is played.

    Args:
        index: of the environment.

    Attributes:
        over: it has ended; what follows in its environment is ignored.
    """

    def __init__(self, index: int):
        self.over = False
        self._index, self._rows = index, []

    def arrive(self, batch: Batch) -> None:
        """Takes what the last action brought; what a lost worker had begun is forgotten."""
        k = self._index
        if self.over:
            return
        if batch.is_first[k]:
            self._rows = []
            return
        self._rows[-1]["reward"] = batch.reward[k]
        if batch.is_last[k]:
            self.over = True
            self._info = batch.info[k] | {"is_terminal": bool(batch.is_terminal[k])}

    def act(self, batch: Batch, actions, executed, states) -> None:
        """Takes what is seen, wanted and done next: arrays [K, ...], of which one row is its."""
        k = self._index
        if self.over:
            return
        self._rows.append(
            {
                "values": {name: value[k] for name, value in batch.values.items()},
                "available": {name: mask[k] for name, mask in batch.available.items()},
                "action": actions[k],
                "executed": executed[k],
                "state": states[k],
            }
        )

    def demonstration(self) -> Demonstration:
        """The episode that is over."""
        rows = self._rows
        actions, executed = (
            np.stack([row[name] for row in rows]) for name in ("action", "executed")
        )
        available = _by_name([row["available"] for row in rows])
        complete = all(mask.all() for mask in available.values())
        return Demonstration(
            values=_by_name([row["values"] for row in rows]),
            actions=actions,
            rewards=np.array([row["reward"] for row in rows], np.float32),
            dones=np.arange(len(rows)) == len(rows) - 1,
            states=None if rows[0]["state"] is None else np.stack([row["state"] for row in rows]),
            attributes=self._info,
            executed=None if np.array_equal(actions, executed) else executed.astype(np.float32),
            available=None if complete else available,
        )


def _by_name(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """One array over time for each name that every row has."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def record(
    environments: ParallelEnvironments,
    act: Act,
    random: Sequence[np.random.Generator],
    noise: Sequence[float],
    noise_steps: int,
    stop: Stop,
    report: Callable[[], None],
    label: Act | None = None,
) -> list[Demonstration]:
    """Plays one whole episode of each of K environments.

    A sensor whose value is not finite counts as missing, for the policy and in the demonstration.

    Args:
        environments: before their first reset.
        act: chooses the actions.
        random: a generator for each environment, for the noise.
        noise: standard deviation of Gaussian noise on the actions that are executed, of all or
            of each.
        noise_steps: steps that each draw of it lasts.
        stop: where its ``requested`` is true, the episodes are abandoned.
        report: called at every step.
        label: tells what is wanted at each step in place of what acts (DAgger; Ross et al., 2011).

    Returns:
        K demonstrations, none when it was stopped.
    """
    episodes = [Episode(k) for k in range(len(environments))]
    batch = environments.reset()
    for step in itertools.count():
        for episode in episodes:
            episode.arrive(batch)
        if all(episode.over for episode in episodes):
            return [episode.demonstration() for episode in episodes]
        if stop.requested:
            return []
        available = usable(environments.modalities, batch.values, batch.available)
        batch = dataclasses.replace(batch, available=available)
        rows = range(len(episodes))
        states, actions = environments.physics_state(), act(batch, rows)
        wanted = label(batch, rows) if label else actions
        if step % noise_steps == 0:
            draws = [r.standard_normal(environments.action_size) for r in random]
            disturbance = np.array(noise) * np.array(draws)
        executed = np.clip(actions + disturbance, -1, 1)
        for episode in episodes:
            episode.act(batch, wanted, executed, states)
        batch = environments.step(executed)
        report()
