"""Training of a scoring policy by PPO and of a soft head by regression."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mummi.imitation.retrieval.config import StageConfig
from mummi.imitation.retrieval.fusion_head import FusionHead
from mummi.imitation.retrieval.policy import Policy, Sources, chosen, ppo_loss
from mummi.runs import devices

_BATCH = 256
"""Rows that are evaluated in one call."""


def in_batches(function: Callable, rows):
    """``function`` of a tree of arrays [S, ...] as NumPy arrays, a batch of rows at a time.

    Batches are padded to a power of two with their last row, so that few shapes are compiled.
    """
    count = len(jax.tree.leaves(rows)[0])
    parts = []
    for start in range(0, count, _BATCH):
        number = min(_BATCH, count - start)
        padded = 1 << (number - 1).bit_length()
        index = start + np.minimum(np.arange(padded), number - 1)
        result = function(jax.tree.map(lambda x, index=index: x[index], rows))
        parts.append(jax.tree.map(lambda x, number=number: np.asarray(x)[:number], result))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def shuffled(key: Array, count: int, size: int) -> Int[Array, "n B"]:
    """All of ``range(count)`` in random order in batches; the last is filled from the first."""
    order = jax.random.permutation(key, count)
    size = min(size, count)
    return jnp.resize(order, (-(-count // size), size))


def _optimiser(config: StageConfig) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(config.learning_rate))


# Each fit starts such modules anew; equal ones share a program.
_init = jax.jit(
    lambda module, key, *inputs: module.init(key, *inputs),
    static_argnames=("module",),
    compiler_options=devices.RUNS_ONCE,
)


@functools.partial(jax.jit, static_argnames=("policy", "config"))
def _policy_epoch(policy, config, params, state, key, sources, reward, embedding, labels):
    """One rollout of each source and the updates on it; also the mean reward of the actions."""
    order, draw = jax.random.split(key)
    batches = shuffled(order, len(reward), config.rollout)

    def update(carry, inputs):
        rows, key = inputs
        batch = jax.tree.map(lambda x: x[rows], sources)
        scores = policy.apply(carry[0], batch, embedding, labels)
        action = jax.random.categorical(key, scores)
        log_prob = chosen(jax.nn.log_softmax(scores), action)
        gained = chosen(reward[rows], action)

        def loss(params):
            scores = policy.apply(params, batch, embedding, labels)
            return ppo_loss(scores, action, log_prob, gained, config.clip_ratio, config.entropy)

        def step(carry, _):
            params, state = carry
            updates, state = _optimiser(config).update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        carry, _ = jax.lax.scan(step, carry, None, length=config.updates)
        return carry, gained.mean()

    keys = jax.random.split(draw, len(batches))
    (params, state), gained = jax.lax.scan(update, (params, state), (batches, keys))
    return params, state, gained.mean()


@functools.partial(jax.jit, static_argnames=("policy",))
def policy_nodes(policy: Policy, params, embedding: Array, labels: Array):
    """Parts of the scores that depend on the library alone."""
    return policy.apply(params, embedding, labels, method=Policy.nodes)


@functools.partial(jax.jit, static_argnames=("policy",))
def policy_scores(policy: Policy, params, nodes, sources: Sources):
    """Scores [S, K] from the parts that ``policy_nodes`` gives."""
    return policy.apply(params, sources, *nodes, method=Policy.scores)


def greedy_reward(
    scores: Float[np.ndarray, "S K"], reward: Float[np.ndarray, "S K"]
) -> Float[np.ndarray, " S"]:
    """Reward of the best-scored candidate of each source."""
    return np.take_along_axis(reward, scores.argmax(1)[:, None], 1)[:, 0]


def train_policy(
    policy: Policy,
    config: StageConfig,
    key: Array,
    sources: Sources,
    reward: Float[np.ndarray, "S K"],
    embedding: Float[np.ndarray, "N D"],
    labels: Float[np.ndarray, "N L"],
    validation: tuple[Sources, Float[np.ndarray, "V K"]] | None,
) -> tuple[dict, list[dict[str, float]]]:
    """PPO on single-step episodes (section 3.2.3); the parameters of the best epoch.

    Best is the greatest mean reward of the best-scored candidates of the held-out sources: for
    classification that orders the epochs as their F1-micro does. Without held-out sources the last
    epoch is best.

    Returns:
        Parameters, and of every epoch the mean ``reward`` of the sampled actions and the
        ``validation`` reward.
    """
    first = jax.tree.map(lambda x: x[:1], sources)
    params = best = _init(policy, key, first, embedding, labels)
    state = jax.jit(_optimiser(config).init)(params)
    data = jax.tree.map(jnp.asarray, (sources, np.float32(reward), embedding, labels))
    history, highest = [], -np.inf
    for epoch in range(config.epochs):
        key_epoch = jax.random.fold_in(key, epoch + 1)
        params, state, gained = _policy_epoch(policy, config, params, state, key_epoch, *data)
        history.append({"reward": float(gained)})
        if validation is None:
            best = params
            continue
        nodes = policy_nodes(policy, params, *data[2:])
        score = functools.partial(policy_scores, policy, params, nodes)
        value = float(greedy_reward(in_batches(score, validation[0]), validation[1]).mean())
        history[-1]["validation"] = value
        if value > highest:
            best, highest = params, value
    return best, history


@functools.partial(jax.jit, static_argnames=("head", "config", "loss"))
def _head_epoch(head, config, loss, params, state, key, rows, targets, library):
    def step(carry, chosen):
        params, state = carry
        batch, target = jax.tree.map(lambda x: x[chosen], (rows, targets))

        def error(params):
            return loss(apply_head(head, params, library, batch)[0], target)

        value, gradient = jax.value_and_grad(error)(params)
        updates, state = _optimiser(config).update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    batches = shuffled(key, len(targets), config.head_batch)
    (params, state), losses = jax.lax.scan(step, (params, state), batches)
    return params, state, losses.mean()


def apply_head(head: FusionHead, params, library, rows):
    """Output and weights of the head.

    Args:
        head: the head.
        params: its parameters.
        library: embeddings [N, D] and values [N, L] of the nodes.
        rows: query embeddings [S, D], candidates int [S, K], and which entries are any, [S, K].
    """
    query, nodes, mask = rows
    embedding, values = library
    return head.apply(params, query, embedding[nodes], values[nodes], mask)


jitted_head = jax.jit(apply_head, static_argnames=("head",))


def train_head(
    head: FusionHead,
    config: StageConfig,
    loss: Callable,
    key: Array,
    rows: tuple,
    targets: Float[np.ndarray, "S L"],
    library: tuple,
    validation: tuple[tuple, Float[np.ndarray, "V L"]] | None,
) -> tuple[dict, list[dict[str, float]]]:
    """Supervised training of a head on candidates that a fixed policy ranked.

    The epoch of least held-out loss is kept, as for the policy; the last without held-out rows.

    Args:
        head: the head.
        config: its settings.
        loss: of outputs and targets.
        key: random key.
        rows: as ``apply_head`` takes them.
        targets: what the output should be, [S, L].
        library: as ``apply_head`` takes it.
        validation: held-out rows and targets.

    Returns:
        Parameters, and of every epoch the mean ``loss`` and the ``validation`` loss.
    """
    rows, targets, library = jax.tree.map(jnp.asarray, (rows, targets, library))
    query, nodes, mask = jax.tree.map(lambda x: x[:1], rows)
    params = best = _init(head, key, query, library[0][nodes], library[1][nodes], mask)
    state = jax.jit(_optimiser(config).init)(params)
    history, least = [], np.inf
    for epoch in range(config.head_epochs):
        key_epoch = jax.random.fold_in(key, epoch + 1)
        params, state, value = _head_epoch(
            head, config, loss, params, state, key_epoch, rows, targets, library
        )
        history.append({"loss": float(value)})
        if validation is None:
            best = params
            continue
        output, _ = in_batches(functools.partial(jitted_head, head, params, library), validation[0])
        held_out = float(loss(jnp.asarray(output), jnp.asarray(validation[1])))
        history[-1]["validation"] = held_out
        if held_out < least:
            best, least = params, held_out
    return best, history
