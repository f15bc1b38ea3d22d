"""Training of a world model on demonstrations alone; the behaviour stays untrained."""

import pathlib
import time
from collections.abc import Sequence

import jax

from experiments.command_line import Stop
from experiments.progress import Averages, Progress
from mummi.agent import Agent, AgentState, nest
from mummi.data.prefetch import Prefetch
from mummi.data.replay import Replay
from mummi.imitation.latents import View
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger

LOGS = 100
"""Log entries of one training."""


def train_world_model(
    agent: Agent, views: Sequence[View], updates: int, logger: Logger
) -> AgentState:
    """Trains, or goes on from the last checkpoint, until there were ``updates`` updates.

    Args:
        agent: its config names folder, seed, and size of a batch.
        views: the data, kept in memory.
        updates: of the world model.
        logger: where metrics go; their step is the number of updates.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
        FloatingPointError: training diverged.
    """
    config = agent.config
    steps = sum(len(view.actions) for view in views)
    replay = Replay(None, agent.modalities, agent.action_size, steps, config.seed)
    for view in views:
        replay.add(view.episode(), 0)
    checkpointer = Checkpointer(pathlib.Path(config.logdir) / "checkpoints")
    # Outside of jit every operation of an initialisation is compiled on its own.
    state = jax.jit(agent.init)(config.seed)
    if checkpointer.latest_step() is not None:
        state, meta = checkpointer.restore(state)
        replay.restore(meta["replay"])
    done, averages, before = int(state.updates), Averages(), {}
    saved, every = done, max(1, updates // LOGS)

    def save():
        nonlocal saved
        if done > saved:
            # A diverged state must not replace a good checkpoint.
            if means := averages.take(done):
                logger.scalars(done, means)
            checkpointer.save(done, state, {"step": done, "replay": replay.state()})
            saved = done

    def sample():
        return jax.device_put(nest(replay.sample(config.batch_size, config.batch_length)))

    due = time.monotonic() + config.checkpoint_every
    with Stop() as stop, Progress(updates, done, done) as progress, Prefetch(sample) as batches:
        progress.note("compiling the first update")
        while done < updates and not stop.requested:
            state, metrics = agent.update_model(state, next(batches))
            # Updates that wait would each hold their batch: dozens, where nothing awaits them.
            jax.block_until_ready(before)
            before = metrics
            averages.add(metrics)
            done += 1
            progress.show(done, done)
            if done % every == 0 and done < updates:
                logger.scalars(done, averages.take(done) | progress.rates(done, done))
            if time.monotonic() >= due:
                save()
                due = time.monotonic() + config.checkpoint_every
        save()
    if stop.requested and done < updates:
        raise KeyboardInterrupt(f"stopped at update {done}; the same command goes on from here")
    return state
