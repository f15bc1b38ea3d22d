"""The agent: one update on a batch, and one action for a batch of robots."""

import copy
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from mummi.config import Config
from mummi.control.behavior import Behavior, Option, flatten_states
from mummi.control.mpc import plan
from mummi.modality import Modality
from mummi.model.rssm import State
from mummi.model.trust import Judge, Thresholds, Verdict
from mummi.model.world_model import WorldModel
from mummi.runs import devices


class Parameters(NamedTuple):
    """The part of an AgentState that acting needs."""

    model: dict
    actor: dict
    critic: dict


class AgentState(NamedTuple):
    """Everything that training changes.

    ``average`` is the running mean of the parameters along training, which is steadier than the
    last ones: it is evaluated and deployed.
    """

    model: dict
    actor: dict
    critic: dict
    slow_critic: dict
    average: Parameters
    model_optimiser: optax.OptState
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    return_range: Array
    key: Array
    updates: Array


class Carry(NamedTuple):
    """What acting remembers from step to step, for a batch of robots.

    With trust the verdict remembers the filters in place of ``state``; without there is none. The
    option is of exploration alone.
    """

    state: State | None
    action: Array
    count: Array
    option: Option | None
    verdict: Verdict | None = None


def running_mean(mean, new, decay: float, updates: Array):
    """The mean of parameters after one more update; young means forget faster.

    Args:
        mean: pytree, after ``updates`` updates.
        new: the parameters after one more.
        decay: weight of the mean, at most (1 + updates) / (10 + updates).
        updates: made before this one.
    """
    step = 1.0 - jnp.minimum(decay, (1.0 + updates) / (10.0 + updates))
    return optax.incremental_update(new, mean, step)


class Agent:
    """World model, behaviour and their optimisers as pure, compiled functions of their state.

    Args:
        config: the run's settings.
        modalities: the sensors, in the order of fusion.
        action_size: A.
        mesh: the devices that ``update`` splits its batches between, of ``devices.data_mesh``; by
            default it runs where its arrays are.

    Raises:
        ValueError: ``config.average`` is no decay, or settings that contradict each other.
    """

    def __init__(
        self,
        config: Config,
        modalities: tuple[Modality, ...],
        action_size: int,
        mesh: Mesh | None = None,
    ):
        if not 0 <= config.average < 1:
            raise ValueError(f"average is {config.average}; it must be at least 0 and below 1")
        self.config = config
        self.modalities = tuple(modalities)
        self.action_size = action_size
        bfloat16 = config.bfloat16 == "on"
        bfloat16 |= config.bfloat16 == "auto" and jax.default_backend() != "cpu"
        dtype = jnp.bfloat16 if bfloat16 else jnp.float32
        inputs = (self.modalities, action_size, config.method, dtype, config.pace)
        self.model = WorldModel(config.model, *inputs)
        self.behavior = Behavior(config.behavior, self.model, action_size, dtype)

        def adam(rate, clip):
            # One array in place of a hundred: an update is traced and compiled a quarter sooner.
            return optax.flatten(optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate)))

        self._model_optimiser = adam(config.model.learning_rate, config.model.clip)
        self._actor_optimiser = adam(config.behavior.actor_rate, config.behavior.clip)
        self._critic_optimiser = adam(config.behavior.value_rate, config.behavior.clip)
        self._mesh = mesh
        one, many, layout = {}, {}, {}
        if mesh is not None:
            replicated = devices.replicated(mesh)
            layout = {"out_shardings": replicated}
            one, many = ({"in_shardings": (replicated, devices.sharded(mesh, n))} for n in (0, 1))
        self.update = jax.jit(self._update, donate_argnums=0, **one, **layout)
        self.update_many = jax.jit(self._update_many, donate_argnums=0, **many, **layout)
        self.update_model = jax.jit(self._update_model, donate_argnums=0)
        self._compiled_act = jax.jit(self._act, static_argnames="explore")
        self._judge: Judge | None = None
        self._thresholds: Thresholds | None = None

    def trusting(self, thresholds: Thresholds) -> "Agent":
        """This agent as one that leaves out sensors that lie.

        Args:
            thresholds: of its parameters, from ``mummi.model.calibration``.

        Raises:
            ValueError: as ``Judge``.
        """
        agent = copy.copy(self)
        agent._judge = Judge(self.model)
        agent._thresholds = jax.tree.map(jnp.asarray, thresholds)
        agent._compiled_act = jax.jit(agent._act, static_argnames="explore")
        return agent

    def init(self, seed: int | Array) -> AgentState:
        """Fresh parameters, optimisers and random key."""
        model_key, behavior_key, key = jax.random.split(jax.random.PRNGKey(seed), 3)
        model = self.model.init(model_key)
        actor, critic = self.behavior.init(behavior_key)
        return AgentState(
            model=model,
            actor=actor,
            critic=critic,
            slow_critic=jax.tree.map(jnp.copy, critic),
            average=jax.tree.map(jnp.copy, Parameters(model, actor, critic)),
            model_optimiser=self._model_optimiser.init(model),
            actor_optimiser=self._actor_optimiser.init(actor),
            critic_optimiser=self._critic_optimiser.init(critic),
            return_range=jnp.zeros(()),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def _update(self, state: AgentState, batch: Mapping) -> tuple[AgentState, dict[str, Array]]:
        """One step of world model, actor and critic on a batch of sequences.

        Args:
            state: its buffers are reused, so the caller goes on with the returned one.
            batch: as in ``WorldModel.loss``; cloning also needs ``demonstrated`` bool [B], the
                sequences that show a demonstration.

        Returns:
            The new state and scalar metrics.
        """
        keys = jax.random.split(jax.random.fold_in(state.key, state.updates), 3)
        model, model_optimiser, posterior, metrics = self._model_step(state, batch, keys[0])

        c = self.config.behavior
        start, terminal = self._starts(posterior, batch["is_terminal"], keys[1])
        slow = state.slow_critic if c.slow_critic else state.critic
        scale = jnp.maximum(1.0, state.return_range) if c.normalise_returns else 1.0

        def loss(actor, critic):
            total, (returns, metrics) = self.behavior.loss(
                actor, critic, slow, model, start, terminal, scale, keys[2]
            )
            if c.cloning > 0:
                demonstrated = batch["demonstrated"][:, None] & ~batch["is_first"]
                inputs = (posterior.feature, batch["action"], demonstrated)
                metrics["loss/cloning"] = self.behavior.cloning_loss(actor, *inputs)
                total += c.cloning * metrics["loss/cloning"]
            return total, (returns, metrics)

        gradient, (returns, behavior_metrics) = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            state.actor, state.critic
        )
        metrics["gradient/actor"] = optax.tree.norm(gradient[0])
        metrics["gradient/value"] = optax.tree.norm(gradient[1])
        actor_step, actor_optimiser = self._actor_optimiser.update(
            gradient[0], state.actor_optimiser
        )
        critic_step, critic_optimiser = self._critic_optimiser.update(
            gradient[1], state.critic_optimiser
        )
        actor = optax.apply_updates(state.actor, actor_step)
        critic = optax.apply_updates(state.critic, critic_step)
        mean = (state.average, Parameters(model, actor, critic))
        low, high = jnp.percentile(returns, jnp.array([5.0, 95.0]))
        decay = jnp.where(state.updates == 0, 0.0, 0.99)
        return_range = decay * state.return_range + (1 - decay) * (high - low)
        new = AgentState(
            model=model,
            actor=actor,
            critic=critic,
            slow_critic=optax.incremental_update(critic, state.slow_critic, c.slow_critic or 1.0),
            average=running_mean(*mean, self.config.average, state.updates),
            model_optimiser=model_optimiser,
            actor_optimiser=actor_optimiser,
            critic_optimiser=critic_optimiser,
            return_range=return_range,
            key=state.key,
            updates=state.updates + 1,
        )
        return new, metrics | behavior_metrics | {"return_range": return_range}

    def _starts(self, posterior: State, is_terminal: Array, key: Array) -> tuple[State, Array]:
        """States [N, ...] of the batch that imagination starts from, and which ended the task."""
        starts = flatten_states(posterior), is_terminal.reshape(-1)
        wanted, number = self.config.behavior.starts, is_terminal.size
        if not 0 < wanted < number:
            return starts
        index = jax.random.choice(key, number, (wanted,), replace=False)
        starts = jax.tree.map(lambda x: x[index], starts)
        if self._mesh is not None and wanted % self._mesh.size == 0:
            # Left alone, the compiler would have every device imagine from all of them.
            starts = jax.lax.with_sharding_constraint(starts, devices.sharded(self._mesh))
        return starts

    def _update_many(self, state: AgentState, batches: Mapping) -> tuple[AgentState, dict]:
        """As ``update`` on each of K batches, arrays [K, B, ...]; metrics are arrays [K]."""
        return jax.lax.scan(self._update, state, batches)

    def _update_model(self, state: AgentState, batch: Mapping) -> tuple[AgentState, dict]:
        """One step of the world model alone; otherwise as ``update``."""
        key = jax.random.split(jax.random.fold_in(state.key, state.updates), 3)[0]
        model, optimiser, _, metrics = self._model_step(state, batch, key)
        mean = running_mean(state.average.model, model, self.config.average, state.updates)
        new = state._replace(
            model=model,
            average=state.average._replace(model=mean),
            model_optimiser=optimiser,
            updates=state.updates + 1,
        )
        return new, metrics

    def _model_step(self, state: AgentState, batch: Mapping, key: Array):
        """New parameters and optimiser of the world model, its posteriors and metrics."""
        (_, (posterior, metrics)), gradient = jax.value_and_grad(self.model.loss, has_aux=True)(
            state.model, batch, key
        )
        metrics["gradient/model"] = optax.tree.norm(gradient)
        step, optimiser = self._model_optimiser.update(gradient, state.model_optimiser)
        return optax.apply_updates(state.model, step), optimiser, posterior, metrics

    def start(self, batch: int) -> Carry:
        """What acting remembers before the first step of ``batch`` robots."""
        action = jnp.zeros((batch, self.action_size))
        option = Option(action=action, left=jnp.zeros(batch, jnp.int32))
        return Carry(
            state=None if self._judge else self.model.rssm.initial(batch),
            action=action,
            count=jnp.zeros((), jnp.int32),
            option=option,
            verdict=self._judge and self._judge.start(batch),
        )

    def act(
        self, params, carry: Carry, values, available, is_first, key: Array, explore: bool
    ) -> tuple[Array, Carry]:
        """Actions [B, A] for a batch of robots, in one compiled call.

        Args:
            params: an AgentState, or any object with ``model``, ``actor`` and ``critic``.
            carry: from the last call, or ``start``.
            values: by modality [B, *shape].
            available: by modality bool [B].
            is_first: bool [B], forgets the past of a robot.
            key: random key; the carry's count makes each step's draws its own.
            explore: sample latents and actor and add exploration noise (training); or else the mode
                of the actor at the means of the latents.
        """
        # A call is slower for each array that it is handed, used or not.
        params = Parameters(model=params.model, actor=params.actor, critic=params.critic)
        option = carry.option
        seen = carry if explore else carry._replace(option=None)
        inputs = (params, seen, values, available, is_first, key)
        action, carry = self._compiled_act(*inputs, explore=explore)
        return action, carry if explore else carry._replace(option=option)

    def _act(self, params: Parameters, carry: Carry, values, available, is_first, key, explore):
        keys = jax.random.split(jax.random.fold_in(key, carry.count), 4)
        perception, moved = self.model.perception, (carry.action, is_first)
        delivered = perception.delivered(available)
        said = perception.say(params.model, values, delivered, delivered)
        verdict = None
        if self._judge is None:
            inputs = (carry.state, said, delivered, *moved, keys[0] if explore else None)
            state = self.model.filter_said(params.model, *inputs)
        else:
            inputs = (carry.verdict, said, delivered, *moved)
            _, state, verdict = self._judge.step(params.model, self._thresholds, *inputs)
        noise = jax.random.normal(keys[1], carry.action.shape) if explore else 0.0
        action = self.behavior.act(params.actor, state.feature, noise)
        action = plan(self.config.mpc, self.behavior, params, state, action, keys[2])
        option = carry.option
        if explore:
            option = option._replace(left=jnp.where(is_first, 0, option.left))
            action, option = self.behavior.explore(action, option, keys[3])
        count = carry.count + 1
        state = state if verdict is None else None
        return action, Carry(
            state=state, action=action, count=count, option=option, verdict=verdict
        )


def nest(batch: Mapping[str, np.ndarray | Array]) -> dict:
    """Replay's flat keys ``values/rgb`` as nested dictionaries by modality."""
    nested = {"values": {}, "available": {}}
    for key, value in batch.items():
        group, _, name = key.partition("/")
        if name:
            nested[group][name] = value
        else:
            nested[key] = value
    return nested
