"""What acting for one robot costs, and what trust in its sensors adds."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import flops
from experiments.benchmarks.timing import Row, fastest
from experiments.benchmarks.updates import draw
from mummi.agent import Agent, nest
from mummi.config import Config
from mummi.modality import Modality
from mummi.model.calibration import BANK
from mummi.model.objectives import FusedContrast
from mummi.model.trust import Judge, Thresholds
from mummi.runs.devices import run_once

CALLS = 20
"""Actions that are timed together."""


def act_rows(
    config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int
) -> list[Row]:
    """Acting against an empty compiled call and its bare products, and with trust against without.

    The second row is left out for methods whose sensors nothing can be held against.
    """
    agent = Agent(config, modalities, actions)
    state, key = run_once(agent.init, 0), jax.random.PRNGKey(0)
    step = nest(draw(modalities, actions, (1,)))
    seen = (step["values"], step["available"], step["is_first"], key)

    def acting(agent: Agent, explore: bool):
        carry = agent.start(1)
        return repeated(lambda: agent.act(state, carry, *seen, explore=explore))

    zero, identity = jnp.zeros(()), jax.jit(lambda x: x)
    arguments = (state, agent.start(1), *seen)
    products = flops.products(lambda *a: agent.act(*a, explore=True), *arguments)
    calls = (acting(agent, True), repeated(lambda: identity(zero)), repeated(products))
    cost, empty, bare = fastest(repeats, *calls)
    ratios = (cost.wall / (empty.wall + bare.wall), cost.cpu / (empty.cpu + bare.cpu))
    beyond = 1000 * (cost.wall - bare.wall) / CALLS
    meaning = f"time / (empty call + its products): {beyond:.2f} ms beyond the products"
    rate, cpu = CALLS / cost.wall, cost.cpu / CALLS
    rows = [Row("act", rate, "calls", meaning, "<= 0.3 ms", *ratios, cpu=cpu)]
    if isinstance(agent.model.objective, FusedContrast):
        careful = agent.trusting(_thresholds(agent))
        cost, plain = fastest(4 * repeats, acting(careful, False), acting(agent, False))
        ratios = (cost.wall / plain.wall, cost.cpu / plain.cpu)
        rate, cpu = CALLS / cost.wall, cost.cpu / CALLS
        meaning = "time with trust in the sensors / without"
        rows.append(Row("act", rate, "calls", meaning, "<= 1.15", *ratios, cpu=cpu))
    return rows


def repeated(call):
    """``CALLS`` finished calls as one, compiled."""

    def run():
        for _ in range(CALLS):
            jax.block_until_ready(call())

    run()
    return run


def _thresholds(agent: Agent) -> Thresholds:
    """Thresholds of the right shapes; what they hold changes no time."""
    subsets, sensors = Judge(agent.model).hypotheses.shape
    bank = np.random.default_rng(0).standard_normal((sensors, BANK, agent.config.model.fused))
    told, level = np.ones((sensors, subsets)), np.zeros((sensors, subsets))
    limits = {"reach": np.ones(sensors), "repeats": np.full(sensors, 0.1)}
    found = Thresholds(
        bank=bank, past=told, present=told, past_level=level, present_level=level, **limits
    )
    return jax.tree.map(np.float32, found)
