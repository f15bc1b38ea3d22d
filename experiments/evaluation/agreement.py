"""Do an agent's sensors agree? The physical state decoded from each sensor alone, and across."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation import probe
from experiments.evaluation.actors import Act, Numbers
from mummi.agent import Agent
from mummi.model.world_model import WorldModel

LIMIT = 10
"""Most episodes that are kept."""
BLOCK = 10
"""Neighbouring steps that are fitted on, or held out, together."""
PENALTY = 0.3
"""Of the linear maps, see ``probe.fit_ridge``."""
SPAN = 50
"""Steps that one compiled call filters; episodes of every length are made of such spans."""


class Recording:
    """Acts as it is told to, and keeps what was seen, done and true: use it as an ``Act``.

    The first ``LIMIT`` episodes that begin are kept.

    Args:
        act: chooses the actions.
        environments: the environments that it acts in.
        truth: also keep the physical state, and only steps that have one.
    """

    def __init__(self, act: Act, environments: ParallelEnvironments, truth: bool = True):
        self._act = act
        self._environments = environments
        self._truth = truth
        self._steps: dict[int, list[dict]] = {}

    def __call__(self, batch: Batch, numbers: Numbers) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        for k, number in enumerate(numbers):
            if number is None or not batch.is_first[k]:
                continue
            if number in self._steps or len(self._steps) < LIMIT:
                self._steps[number] = []  # also where a lost worker begins it anew
        kept = [k for k, number in enumerate(numbers) if number in self._steps]
        truth = self._environments.truth() if kept and self._truth else [None] * len(numbers)
        actions = self._act(batch, numbers)
        for k in kept:
            if self._truth and truth[k] is None:
                continue
            step = {
                "values": {name: value[k] for name, value in batch.values.items()},
                "available": {name: flags[k] for name, flags in batch.available.items()},
                "action": actions[k],
                "reward": batch.reward[k],
            }
            self._steps[numbers[k]].append(step | ({"truth": truth[k]} if self._truth else {}))
        return actions

    def episodes(self) -> list[dict]:
        """Recorded episodes in the order of their numbers, each as arrays [T, ...]: ``values`` and
        ``available`` by modality, ``action`` (taken at that step), ``reward`` (that came with it),
        ``truth`` by name, if that is kept.

        The last step of an episode, at which nothing is done, is not recorded.

        Raises:
            ValueError: nothing was recorded.
        """
        episodes = [self._steps[number] for number in sorted(self._steps) if self._steps[number]]
        if not episodes:
            raise ValueError("no step was recorded")
        return [jax.tree.map(lambda *rows: np.stack(rows), *steps) for steps in episodes]


@functools.partial(jax.jit, static_argnums=0)
def _filter(model: WorldModel, params, state, span, key):
    """The state after ``SPAN`` steps of one episode, and features [SPAN, 1 + M, F] along them.

    Rows are filtered from all sensors and from each of M alone. ``span`` has ``values`` by modality
    [SPAN, ...], ``available`` [SPAN, 1 + M], ``action`` [SPAN, A], ``is_first`` and ``index``.
    """
    rows = 1 + len(model.modalities)

    def step(state, now):
        def alike(x):
            return jnp.broadcast_to(x, (rows, *x.shape))

        values, action, is_first = (
            jax.tree.map(alike, now[name]) for name in ("values", "action", "is_first")
        )
        noise = jax.random.fold_in(key, now["index"])
        state = model.filter_step(params, state, values, now["available"], action, is_first, noise)
        return state, jnp.concatenate([state.deter, state.mean], -1)

    return jax.lax.scan(step, state, span)


def alone_features(
    agent: Agent, parameters, episodes: list[dict], seed: int
) -> dict[str, np.ndarray]:
    """Latent features [steps, F] of recorded steps, filtered from each sensor alone and from all.

    A feature is h and the mean of s^c. ``all`` stands for all sensors.

    Args:
        agent: the agent.
        parameters: an object with its ``model`` parameters.
        episodes: from ``Recording.episodes``.
        seed: seed of the latent samples.
    """
    names = [m.name for m in agent.modalities]
    # Which sensors each row of the batch has, [1 + M, M].
    has = np.concatenate([np.ones((1, len(names)), bool), np.eye(len(names), dtype=bool)])
    features = []
    for number, episode in enumerate(episodes):
        index, action = np.arange(len(episode["action"])), episode["action"]
        steps = {
            "values": {name: episode["values"][name] for name in names},
            "available": {
                name: episode["available"][name][:, None] & has[:, column]
                for column, name in enumerate(names)
            },
            "action": np.concatenate([np.zeros_like(action[:1]), action[:-1]]),
            "is_first": index == 0,
            "index": index,
        }
        key = jax.random.fold_in(jax.random.PRNGKey(seed), number)
        state = agent.model.rssm.initial(len(has))
        for start in range(0, len(index), SPAN):
            span = jax.tree.map(functools.partial(_span, start), steps)
            state, found = _filter(agent.model, parameters.model, state, span, key)
            features.append(np.asarray(found)[: len(index) - start])
    rows = np.concatenate(features).swapaxes(0, 1)
    return dict(zip(("all", *names), rows, strict=True))


def _span(start: int, rows: np.ndarray) -> np.ndarray:
    """``SPAN`` rows from ``start`` on, zeros beyond the last."""
    rows = rows[start : start + SPAN]
    return np.pad(rows, ((0, SPAN - len(rows)), *((0, 0),) * (rows.ndim - 1)))


def fitting_steps(count: int, seed: int) -> np.ndarray:
    """Which of ``count`` steps maps are fitted on: a random half of all blocks, bool [count]."""
    blocks = np.random.default_rng(seed).permutation(-(-count // BLOCK))
    return np.repeat(blocks % 2 == 0, BLOCK)[:count]


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
    if not episodes[0]["truth"]:
        return {}
    truth = np.concatenate([np.concatenate(list(e["truth"].values()), -1) for e in episodes])
    fit = fitting_steps(len(truth), seed)
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
