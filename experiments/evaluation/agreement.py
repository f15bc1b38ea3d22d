"""Do an agent's sensors agree? The physical state decoded from each sensor alone, and across."""

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation import probe
from experiments.evaluation.rollout import Act
from mummi.agent import Agent

LIMIT = 10
"""Most episodes that are kept."""
BLOCK = 10
"""Neighbouring steps that are fitted on, or held out, together."""
PENALTY = 0.3
"""Of the linear maps, see ``probe.fit_ridge``."""


class Recording:
    """Acts as it is told to, and keeps what was seen, done and true: use it as an ``Act``.

    Args:
        act: chooses the actions.
        environments: the environments that it acts in.
    """

    def __init__(self, act: Act, environments: ParallelEnvironments):
        self._act = act
        self._environments = environments
        self._running: list[list[tuple]] = [[] for _ in range(len(environments))]
        self._episodes: list[list[tuple]] = []

    def __call__(self, batch: Batch) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        truth = self._environments.truth()
        actions = self._act(batch)
        for k, rows in enumerate(self._running):
            if batch.restarted[k]:
                rows.clear()
            if truth[k] is not None and len(self._episodes) < LIMIT:
                values = {name: value[k] for name, value in batch.values.items()}
                available = {name: there[k] for name, there in batch.available.items()}
                rows.append((values, available, actions[k], truth[k]))
            if batch.is_last[k] and rows:
                self._episodes.append(rows)
                self._running[k] = []
        return actions

    def episodes(self) -> dict:
        """Arrays [N, T, ...] of N episodes, padded to the longest: ``values`` and ``available`` by
        modality, ``action`` (taken at that step), ``truth`` by name, ``real`` (not padding).

        Episodes that have not ended count too.

        Raises:
            ValueError: nothing was recorded.
        """
        episodes = [rows for rows in (*self._episodes, *self._running) if rows][:LIMIT]
        if not episodes:
            raise ValueError("no step was recorded")
        longest = max(map(len, episodes))

        def pad(*rows):
            column = np.stack(rows)
            return np.pad(column, ((0, longest - len(rows)), *((0, 0),) * (column.ndim - 1)))

        padded = [jax.tree.map(pad, *rows) for rows in episodes]
        values, available, action, truth = jax.tree.map(lambda *x: np.stack(x), *padded)
        length = np.array([len(rows) for rows in episodes])
        real = np.arange(longest) < length[:, None]
        return {
            "values": values, "available": available, "action": action, "truth": truth,
            "real": real,
        }  # fmt: skip


def alone_features(agent: Agent, parameters, episodes: dict, seed: int) -> dict[str, np.ndarray]:
    """Latent features [steps, F] of recorded steps, filtered from each sensor alone and from all.

    A feature is h and the mean of s^c. ``all`` stands for all sensors.

    Args:
        agent: the agent.
        parameters: an object with its ``model`` parameters.
        episodes: from ``Recording.episodes``.
        seed: seed of the latent samples.
    """
    number, time = episodes["real"].shape
    action = np.pad(episodes["action"], ((0, 0), (1, 0), (0, 0)))[:, :-1]
    first = np.zeros((number, time), bool)
    first[:, 0] = True
    values = {m.name: episodes["values"][m.name] for m in agent.modalities}

    @jax.jit
    def features(model, available):
        def step(state, inputs):
            index, *now = inputs
            key = jax.random.fold_in(jax.random.PRNGKey(seed), index)
            state = agent.model.filter_step(model, state, *now, key)
            return state, jnp.concatenate([state.deter, state.mean], -1)

        inputs = jax.tree.map(lambda x: x.swapaxes(0, 1), (values, available, action, first))
        start = agent.model.rssm.initial(number)
        return jax.lax.scan(step, start, (jnp.arange(time), *inputs))[1].swapaxes(0, 1)

    def filtered(names):
        there = episodes["available"]
        there = {name: there[name] & (name in names) for name in values}
        return np.asarray(features(parameters.model, there))[episodes["real"]]

    alone = {name: filtered([name]) for name in values}
    return {"all": filtered(list(values)), **alone}


def agreement(agent: Agent, parameters, recording: Recording, seed: int) -> dict[str, dict]:
    """How well linear maps of each sensor's latents decode the physical state from another's.

    Maps are fitted on a random half of all blocks of ``BLOCK`` steps; the R² is that of the rest.
    An agent that has learned to hold still visits few states, so the maps are held back strongly.

    Returns:
        R² by sensor that the map was fitted on, then by sensor whose latents it decodes (both
        also ``all``), averaged over the physical state's dimensions; -1 stands for all below.
        Empty where there is nothing to tell: no physical state is known, too few steps, or
        nothing that moved.

    Raises:
        ValueError: nothing was recorded.
    """
    episodes = recording.episodes()
    if not episodes["truth"]:
        return {}
    truth = np.concatenate(list(episodes["truth"].values()), -1)[episodes["real"]]
    blocks = np.random.default_rng(seed).permutation(-(-len(truth) // BLOCK))
    fit = np.repeat(blocks % 2 == 0, BLOCK)[: len(truth)]
    if fit.all() or not np.ptp(truth[~fit], axis=0).any():
        return {}
    latents = alone_features(agent, parameters, episodes, seed)
    table: dict[str, dict] = {name: {} for name in latents}
    for (fitted, decoded), score in probe.cross_decoding(latents, truth, fit, PENALTY).items():
        table[fitted][decoded] = max(score, -1.0)
    return table


def show(table: dict[str, dict]) -> Table:
    """The agreement as a table for the terminal."""
    view = Table(title="physical state decoded from one sensor's latents, R²")
    view.add_column("map fitted on")
    for name in table:
        view.add_column(f"reads {name}", justify="right")
    for fitted, row in table.items():
        view.add_row(fitted, *(f"{score:.2f}" for score in row.values()))
    return view
