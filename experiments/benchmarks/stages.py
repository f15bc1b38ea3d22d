"""What the processor is busy with while an agent trains, by stage."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

import envs
from experiments.benchmarks.timing import fastest
from experiments.benchmarks.updates import draw
from mummi.agent import Agent, AgentState, nest
from mummi.config import Config

STEPS = 50
"""Calls that are timed together where one is short."""


def stage_costs(agent: Agent, state: AgentState, repeats: int = 3) -> dict[str, float]:
    """Processor seconds that 1,000 environment steps of training take, by stage.

    ``environment`` and ``acting`` of what is collected, ``world model`` and ``behavior`` of the
    updates that it is worth. Evaluation is left out, as is what costs little: replay, logs,
    checkpoints.

    Args:
        agent: the agent.
        state: of it; it stays as it is.
        repeats: how often each is timed; the least counts.
    """
    config = agent.config
    batch = draw(agent.modalities, agent.action_size, (config.batch_size, config.batch_length))
    batch = jax.device_put(nest(batch))
    batch["demonstrated"] = jnp.zeros(config.batch_size, bool)
    whole, model = (jax.tree.map(jnp.copy, state) for _ in range(2))

    def update():
        nonlocal whole
        whole, metrics = agent.update(whole, batch)
        return metrics

    def update_model():
        nonlocal model
        model, metrics = agent.update_model(model, batch)
        return metrics

    step, carry = nest(draw(agent.modalities, agent.action_size, (1,))), agent.start(1)
    seen, key = (step["values"], step["available"], step["is_first"]), jax.random.PRNGKey(0)

    def act():
        for _ in range(STEPS):
            action, _ = agent.act(state, carry, *seen, key, explore=True)
        return action

    with contextlib.closing(_environment(config)) as environment:
        random = np.random.default_rng(0)
        environment.reset()

        def live():
            for _ in range(STEPS):
                action = random.uniform(-1, 1, agent.action_size).astype(np.float32)
                if environment.step(action).is_last:
                    environment.reset()

        calls = (update, update_model, act, live)
        for call in calls:
            jax.block_until_ready(call())  # compiled
        both, alone, acting, living = (cost.cpu for cost in fastest(repeats, *calls))
    steps, updates = 1000 / config.action_repeat, config.updates_per_1000
    return {
        "environment": steps * living / STEPS,
        "acting": steps * acting / STEPS,
        "world model": updates * alone,
        "behavior": updates * max(0.0, both - alone),
    }


def _environment(config: Config):
    settings = {"image_size": config.image_size, "background": config.background}
    settings["action_repeat"] = config.action_repeat
    return envs.make(config.task, missing=config.missing, **settings | config.env)
