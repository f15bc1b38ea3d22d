"""Training of a world model on demonstrations alone; the behaviour stays untrained."""

import pathlib
import time
from collections.abc import Sequence

import jax

from mummi.agent import Agent, AgentState, nest
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


def train_world_model(
    agent: Agent, episodes: Sequence[Episode], updates: int, logger: Reports
) -> AgentState:
    """Trains, or goes on from the last checkpoint, until there were ``updates`` updates.

    Args:
        agent: its config names folder, seed, and size of a batch.
        episodes: the data, kept in memory.
        updates: of the world model.
        logger: where metrics go; their step is the number of updates.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
        FloatingPointError: training diverged.
    """
    config = agent.config
    steps = sum(len(episode["reward"]) for episode in episodes)
    replay = Replay(None, agent.modalities, agent.action_size, steps, config.seed)
    for episode in episodes:
        replay.add(episode, 0)
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
                logger.scalars(done, means)
            checkpointer.save(done, state, {"step": done, "replay": replay.state()})
            saved = done

    def sample():
        return jax.device_put(nest(replay.sample(config.batch_size, config.batch_length)))

    logs = Every(max(1, updates // LOGS), done, aligned=True)
    saves = Every(config.checkpoint_every, time.monotonic())
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
            if logs.due(done) and done < updates:
                logger.scalars(done, averages.take(done) | progress.rates(done, done))
                logs.done(done)
            if saves.due(time.monotonic()):
                save()
                saves.done(time.monotonic())
        save()
    if stop.requested and done < updates:
        raise KeyboardInterrupt(f"stopped at update {done}; the same command goes on from here")
    return state
