"""Training of a chunk head on windows of demonstrations."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mummi.imitation.chunks.config import ChunkConfig
from mummi.imitation.chunks.generators import State
from mummi.imitation.chunks.network import ChunkNetwork, Inputs, Scale
from mummi.imitation.heads.head import Report, Trajectory
from mummi.imitation.metrics import error_over_variance, varying
from mummi.imitation.weights import change_weights, cumulative
from mummi.runs import devices

HELD_OUT = 256
"""Windows of held-out demonstrations that are measured, evenly spread."""


class TrainState(NamedTuple):
    """All that an update changes.

    Attributes:
        params: of the network.
        average: their moving average, which acts.
        optimiser: state of the optimiser.
        objective: state of the objective.
        update: updates that were made, int32 [].
    """

    params: dict
    average: dict
    optimiser: optax.OptState
    objective: State
    update: Array


def windows(
    lengths: Sequence[int], observe: int, predict: int
) -> tuple[Int[np.ndarray, "N S"], Int[np.ndarray, "N T"]]:
    """Rows of history and of chunk for each step of episodes that lie one after another.

    A history reaches ``observe`` steps back and repeats the first one before the episode; a chunk
    reaches ``predict`` steps on from the step itself and repeats the last one after the episode.
    """
    ends = np.cumsum(lengths)
    first, last = (np.repeat(x, lengths)[:, None] for x in (ends - lengths, ends - 1))
    step = np.arange(ends[-1])[:, None]
    history = np.maximum(step + np.arange(1 - observe, 1), first)
    return history, np.minimum(step + np.arange(predict), last)


def gather(
    network: ChunkNetwork, trajectories: Sequence[Trajectory]
) -> tuple[Inputs, np.ndarray, list[int]]:
    """Inputs [N, ...] and actions [N, A] of all steps, and the lengths of the episodes.

    Raises:
        ValueError: no demonstration; one that is shorter than T_a, of other sizes than the head
            was built for, or not finite, by its number.
    """
    if not trajectories:
        raise ValueError("no demonstrations: a head needs at least one")
    parts, actions = [], []
    example = network.blank(1)
    for number, trajectory in enumerate(trajectories):
        action = np.asarray(trajectory.action, np.float32)
        inputs = jax.tree.map(np.asarray, network.inputs(trajectory.percept))
        name = f"demonstration {number}"
        if action.ndim != 2 or action.shape[1] != network.sizes.action:
            raise ValueError(f"{name} has actions {action.shape}, not [T, {network.sizes.action}]")
        if len(action) < network.config.execute:
            raise ValueError(
                f"{name} has {len(action)} steps, fewer than a chunk's execute "
                f"{network.config.execute}"
            )
        for leaf, like in zip(jax.tree.leaves(inputs), jax.tree.leaves(example), strict=True):
            if leaf.shape != (len(action), *like.shape[1:]):
                wanted = (len(action), *like.shape[1:])
                raise ValueError(f"{name} has percepts {leaf.shape} where {wanted} are expected")
        for leaf in (action, *jax.tree.leaves(inputs)):
            if not np.isfinite(leaf).all():
                raise ValueError(f"{name} holds a value that is not finite")
        parts.append(inputs)
        actions.append(action)
    inputs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return inputs, np.concatenate(actions), [len(action) for action in actions]


def optimiser(config: ChunkConfig) -> optax.GradientTransformation:
    """AdamW with warm-up, cosine decay to 0 and a clipped gradient."""
    warmup = min(config.warmup, config.updates - 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.updates)
    adam = optax.adamw(rate, weight_decay=config.weight_decay)
    return optax.chain(optax.clip_by_global_norm(config.clip), adam)


Measure = Callable[[dict, State], dict[str, float]]
"""Metrics of parameters and what their objective remembers."""


def held_out_measure(
    network: ChunkNetwork,
    trajectories: Sequence[Trajectory],
    scales: dict[str, Scale],
    variance: Float[np.ndarray, " A"],
) -> Measure:
    """What measures parameters on windows of demonstrations that nothing learns from.

    It gives ``held_out/loss``; ``held_out/error``, that of the first candidate over ``variance``
    (of normalised actions); and the same of each step of the chunk, ``held_out/error/STEP`` from 1
    on.
    """
    c = network.config
    if c.candidates > 1:
        c = dataclasses.replace(c, candidates=1)
    single = ChunkNetwork(c, network.sizes)
    inputs, actions, lengths = gather(network, trajectories)
    history, future = windows(lengths, c.observe, c.predict)
    rows = np.linspace(0, len(actions) - 1, min(HELD_OUT, len(actions))).astype(int)
    histories = jax.tree.map(lambda x: x[history[rows]], inputs)
    chunks = scales["action"].normalise(actions).astype(np.float32)[future[rows]]
    data = jax.device_put((scales, histories, chunks))

    @jax.jit
    def measured(params, state, scales, histories, chunks):
        of_loss, of_sample = jax.random.split(jax.random.PRNGKey(0))
        loss = network.loss(params, scales, histories, chunks, of_loss, state).loss
        chosen = single.sample(params, scales, histories, of_sample)[:, 0]
        return loss, error_over_variance(chosen, chunks, variance)

    def measure(params, state):
        loss, errors = jax.device_get(measured(params, state, *data))
        by_step = {f"held_out/error/{step}": float(x) for step, x in enumerate(errors, 1)}
        return {"held_out/loss": float(loss), "held_out/error": float(errors.mean())} | by_step

    return measure


def drawn(
    config: ChunkConfig,
    actions: Float[np.ndarray, "N A"],
    lengths: Sequence[int],
    future: Int[np.ndarray, "N T"],
) -> Float[np.ndarray, " N"] | None:
    """``cumulative`` of the weights by which windows are drawn, None where all are alike.

    That of a window is the mean over the T_a actions of its chunk that are taken.
    """
    if not config.change_share:
        return None
    episodes = np.split(actions, np.cumsum(lengths)[:-1])
    weights = change_weights(episodes, config.change_share)
    return cumulative(weights[future[:, : config.execute]].mean(1)).astype(np.float32)


def train(
    network: ChunkNetwork,
    trajectories: Sequence[Trajectory],
    seed: int,
    report: Report,
    held_out: Sequence[Trajectory] = (),
) -> tuple[dict, dict[str, Scale]]:
    """Averaged parameters and scales after ``config.updates`` updates.

    What is reported are means since the last report, and with ``held_out`` what
    ``held_out_measure`` says of the averaged parameters.

    Raises:
        ValueError: as ``gather`` does.
        FloatingPointError: the loss is no longer finite.
    """
    c = network.config
    inputs, actions, lengths = gather(network, trajectories)
    scales = network.fit_scales(inputs, actions)
    chunks = scales["action"].normalise(actions).astype(np.float32)
    rows = windows(lengths, c.observe, c.predict)
    data = jax.device_put((inputs, chunks, *rows, scales, drawn(c, actions, lengths, rows[1])))
    measure = held_out and held_out_measure(network, held_out, scales, varying(chunks))
    transformation = optimiser(c)
    key = jax.random.PRNGKey(seed)

    def start():
        params = network.init(jax.random.fold_in(key, 0))
        return TrainState(
            params=params,
            average=jax.tree.map(jnp.copy, params),
            optimiser=transformation.init(params),
            objective=network.generator.init(c),
            update=jnp.int32(0),
        )

    def step(state, data):
        inputs, chunks, history, future, scales, ends = data
        keys = jax.random.split(jax.random.fold_in(key, state.update + 1), 3)
        of_rows, of_loss, of_change = keys
        if ends is None:
            rows = jax.random.randint(of_rows, (c.batch,), 0, len(chunks))
        else:
            uniform = jax.random.uniform(of_rows, (c.batch,))
            rows = jnp.searchsorted(ends, uniform, side="right")
        histories = jax.tree.map(lambda x: x[history[rows]], inputs)
        histories = network.augmented(histories, of_change)

        def loss(params):
            trained = network.loss(
                params, scales, histories, chunks[future[rows]], of_loss, state.objective
            )
            return trained.loss, (trained.state, trained.metrics | {"loss": trained.loss})

        gradient, (objective, metrics) = jax.grad(loss, has_aux=True)(state.params)
        change, optimiser_state = transformation.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, change)
        decay = 1 - (1 + state.update.astype(jnp.float32)) ** -c.average
        average = optax.incremental_update(params, state.average, 1 - decay)
        metrics["gradient"] = optax.tree.norm(gradient)
        state = TrainState(
            params=params,
            average=average,
            optimiser=optimiser_state,
            objective=objective,
            update=state.update + 1,
        )
        return state, metrics

    update, state, gathered = jax.jit(step, donate_argnums=0), devices.run_once(start), []
    for number in range(1, c.updates + 1):
        state, metrics = update(state, data)
        gathered.append(metrics)
        if number % c.report_every and number != c.updates:
            continue
        means = {name: float(np.mean([m[name] for m in gathered])) for name in metrics}
        if not np.isfinite(means["loss"]):
            raise FloatingPointError(
                f"the loss of {c.objective} is {means['loss']} before update {number}: "
                f"lower learning_rate {c.learning_rate}"
            )
        report(number, means | (measure(state.average, state.objective) if measure else {}))
        gathered.clear()
    return jax.tree.map(np.asarray, state.average), scales
