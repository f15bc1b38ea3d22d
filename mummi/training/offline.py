"""Training of a world model on demonstrations alone; the behaviour stays untrained."""

import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mummi.agent import Agent, AgentState, nest
from mummi.config import Config
from mummi.data.episode import Episode
from mummi.data.prefetch import Prefetch
from mummi.data.replay import Replay
from mummi.runs import devices
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Reports
from mummi.training.progress import Averages, Progress
from mummi.training.schedule import Every
from mummi.training.stop import Stop

LOGS = 100
"""Log entries of one training."""
HELD_OUT_BATCHES = 4
"""Batches over which losses on what is held out are averaged."""


class HeldOut:
    """Losses of a world model on episodes that it does not learn from, always the same sequences.

    Args:
        agent: its config names seed and size of a batch.
        episodes: the data, kept in memory.
    """

    def __init__(self, agent: Agent, episodes: Sequence[Episode]):
        self._config, self._loss = agent.config, jax.jit(agent.model.loss)
        self._replay = in_memory(agent, episodes)
        self._start = self._replay.state()

    def __call__(self, params: dict) -> dict[str, float]:
        """The metrics of a batch by ``held_out/NAME``, of the parameters of a world model."""
        self._replay.restore(self._start)
        rows = []
        for number in range(HELD_OUT_BATCHES):
            batch = sample(self._replay, self._config)
            rows.append(self._loss(params, batch, jax.random.PRNGKey(number))[1][1])
        return {f"held_out/{n}": float(np.mean([row[n] for row in rows])) for n in rows[0]}


def in_memory(agent: Agent, episodes: Sequence[Episode]) -> Replay:
    """A replay of demonstrations without files."""
    config, steps = agent.config, sum(len(episode["reward"]) for episode in episodes)
    sensors = (agent.modalities, agent.action_size)
    replay = Replay(None, *sensors, steps, config.seed, wanted=True)
    for episode in episodes:
        replay.add(episode, 0)
    return replay


def sample(replay: Replay, config: Config) -> dict:
    """A batch on the device, as the world model's loss takes it."""
    return jax.device_put(nest(replay.sample(config.batch_size, config.batch_length)))


def train_world_model(
    agent: Agent,
    episodes: Sequence[Episode],
    updates: int,
    logger: Reports,
    held_out: Callable[[dict], dict[str, float]] | None = None,
) -> AgentState:
    """Trains, or goes on from the last checkpoint, until there were ``updates`` updates.

    Args:
        agent: its config names folder, seed, and size of a batch.
        episodes: the data, kept in memory.
        updates: of the world model.
        logger: where metrics go; their step is the number of updates.
        held_out: gives more metrics of the averaged parameters, whenever metrics are logged.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
        FloatingPointError: training diverged.
    """
    config = agent.config
    replay = in_memory(agent, episodes)
    checkpointer = Checkpointer(pathlib.Path(config.logdir) / "checkpoints")
    state = devices.run_once(agent.init, config.seed)
    if checkpointer.latest_step() is not None:
        state, meta = checkpointer.restore(state)
        replay.restore(meta["replay"])
    done, averages, before = int(state.updates), Averages(), {}
    saved = done

    def save():
        nonlocal saved
        if done > saved:
            # A diverged state must not replace a good checkpoint.
            if means := averages.take(done):
                log(means)
            checkpointer.save(done, state, {"step": done, "replay": replay.state()})
            saved = done

    def log(metrics: dict):
        logger.scalars(done, metrics | (held_out(state.average.model) if held_out else {}))

    def draw():
        return sample(replay, config)

    logs = Every(max(1, updates // LOGS), done, aligned=True)
    saves = Every(config.checkpoint_every, time.monotonic())
    with Stop() as stop, Progress(updates, done, done) as progress, Prefetch(draw) as batches:
        progress.note("compiling the first update")
        while done < updates and not stop.requested:
            state, metrics = agent.update_model(state, next(batches))
            # Updates that wait would each hold their batch: dozens, where nothing awaits them.
            jax.block_until_ready(before)
            before = metrics
            averages.add(metrics)
            done += 1
            progress.show(done, done)
            if logs.due(done) and done < updates:
                log(averages.take(done) | progress.rates(done, done))
                logs.done(done)
            if saves.due(time.monotonic()):
                save()
                saves.done(time.monotonic())
        save()
    if stop.requested and done < updates:
        raise KeyboardInterrupt(f"stopped at update {done}; the same command goes on from here")
    return state
