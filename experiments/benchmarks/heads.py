"""Latency of chunk heads on this machine: python -m experiments.benchmarks.heads.

Every call makes a chunk for one robot: history, context, K candidates, choice. What starts from
the sensors goes through the paper-size world model first. MIRROR (table 6) compares ``mirror`` with
K = 8 with a diffusion of 10 steps on a graphics card.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Column, Table

from experiments.benchmarks import flops
from experiments.benchmarks.timing import Row, fastest
from experiments.command_line import explain
from mummi.agent import Agent
from mummi.imitation.chunks.config import CONFIGS, Backbone, Objective
from mummi.imitation.chunks.head import ChunkHead
from mummi.imitation.heads.head import Percept, Sizes
from mummi.imitation.latents import Latents
from mummi.imitation.metrics import Latency, latencies
from mummi.imitation.pilot import Pilot
from mummi.modality import Modality
from mummi.presets import preset
from mummi.runs.devices import run_once

HORIZONS = ((8, 16), (16, 32))
"""T_o and T_p of MIRROR's table 6."""
BUDGET = 1000 / 30
"""Milliseconds of a step at 30 Hz."""

SENSORS = (
    Modality("rgb", "image", (64, 64, 3)),
    Modality("depth", "depth", (64, 64, 1)),
    Modality("touch", "vector", (2,)),
)
"""Those of the walker."""


class Case(NamedTuple):
    """An objective with K candidates, from latents or from the sensors (encode, fuse, filter)."""

    objective: Objective
    candidates: int
    source: Literal["latents", "sensors"] = "latents"


CASES = (
    Case("mirror", 1),
    Case("mirror", 8),
    Case("mirror", 8, "sensors"),
    Case("diffusion", 1),
    Case("diffusion", 8),
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Mean, 99th percentile and rate of making a chunk, and the ratio to one diffusion sample.

    Attributes:
        backbone: of all heads.
        feature: size of the latent, where a head is timed alone.
        actions: size of an action.
        width: d; 512 is the default of the heads.
        repeats: chunks that each head makes, in turn.
        out: write the results to this JSON file.
    """

    backbone: Backbone = "performer"
    feature: int = 230
    actions: int = 7
    width: int = 512
    repeats: int = 100
    out: str = ""


def make_head(
    case: Case, horizons: tuple[int, int], arguments: Arguments, sizes: Sizes
) -> ChunkHead:
    """A head with random weights."""
    config = CONFIGS[case.objective](
        candidates=case.candidates, backbone=arguments.backbone,
        observe=horizons[0], predict=horizons[1], width=arguments.width,
    )  # fmt: skip
    head = ChunkHead(config, sizes)
    head.initialise(0)
    return head


def planning(
    case: Case, horizons: tuple[int, int], arguments: Arguments
) -> tuple[ChunkHead, Callable[[], np.ndarray]]:
    """A head, and a call that makes a chunk with it from a latent."""
    head = make_head(case, horizons, arguments, Sizes((), arguments.feature, {}, arguments.actions))
    carry, key = head.reset(1), jax.random.PRNGKey(0)
    percept = Percept(np.ones((1, arguments.feature), np.float32), {}, {}, {})
    return head, lambda: head.act(carry, percept, np.ones(1, bool), key)[0]


def acting(case: Case, horizons: tuple[int, int], arguments: Arguments) -> Callable[[], np.ndarray]:
    """A call that makes a chunk from what the sensors deliver."""
    agent = Agent(preset("paper", "walker_walk"), SENSORS, arguments.actions)
    latents = Latents(agent, run_once(agent.init, 0).model)
    pilot = Pilot(latents, make_head(case, horizons, arguments, latents.sizes))
    start, key, first = pilot.start(1), jax.random.PRNGKey(0), np.ones(1, bool)
    values = {m.name: np.ones((1, *m.shape), m.dtype) for m in SENSORS}
    available = {m.name: first for m in SENSORS}
    return lambda: pilot.act(None, start, values, available, first, key)[0]


def benchmark(arguments: Arguments) -> dict[tuple[int, int], dict[Case, Latency]]:
    """Latencies by horizons and case; the cases of one pair of horizons are timed in turn."""
    found = {}
    for horizons in HORIZONS:
        calls = [
            acting(case, horizons, arguments)
            if case.source == "sensors"
            else planning(case, horizons, arguments)[1]
            for case in CASES
        ]
        found[horizons] = dict(zip(CASES, latencies(calls, arguments.repeats), strict=True))
    return found


def head_rows(arguments: Arguments) -> list[Row]:
    """Making a chunk by each case against an empty compiled call and its bare products."""
    zero, identity = jnp.zeros(()), jax.jit(lambda x: x)
    rows, horizons = [], HORIZONS[0]
    for case in (case for case in CASES if case.source == "latents"):
        head, plan = planning(case, horizons, arguments)
        network, key = head.network, jax.random.PRNGKey(0)
        inputs = network.init(key), network.blank_scales(), network.blank(1, horizons[0]), key
        products = flops.products(network.sample, *inputs)
        calls = plan, lambda: identity(zero), products
        for call in calls:
            jax.block_until_ready(call())
        cost, empty, bare = fastest(arguments.repeats, *calls)
        ratios = cost.wall / (empty.wall + bare.wall), cost.cpu / (empty.cpu + bare.cpu)
        meaning = f"{case.objective}, K = {case.candidates}: time / (empty call + its products)"
        rows.append(Row("heads", 1 / cost.wall, "chunks", meaning, "", *ratios, cpu=cost.cpu))
    return rows


def speed_up(row: dict[Case, Latency], case: Case) -> float:
    """How many times less processor time than one diffusion sample.

    On a graphics card, whose time is not the processor's, by the clock.
    """
    measure = "cpu" if jax.default_backend() == "cpu" else "mean"
    return getattr(row[Case("diffusion", 1)], measure) / getattr(row[case], measure)


def table(arguments: Arguments, found: dict[tuple[int, int], dict[Case, Latency]]) -> Table:
    """A row for each horizon and case."""
    cores = len(os.sched_getaffinity(0))
    load = f"load {os.getloadavg()[0]:.1f} on {cores} cores"
    rows = Table(
        "T_o, T_p", Column("objective", no_wrap=True), "from", "K", "mean ms", "p99 ms", "CPU ms",
        "Hz", "30 Hz", "faster",
        title=f"{arguments.backbone}, width {arguments.width}, {jax.default_backend()}, {load}",
    )  # fmt: skip
    for horizons, row in found.items():
        for case, cost in row.items():
            values = [f"{value:.1f}" for value in cost]
            holds = "yes" if cost.p99 <= BUDGET else "no"
            label = f"{horizons[0]}, {horizons[1]}"
            times = f"{speed_up(row, case):.1f}"
            kind = (label, case.objective, case.source, str(case.candidates))
            rows.add_row(*kind, *values, holds, times)
    return rows


def write(arguments: Arguments, found: dict[tuple[int, int], dict[Case, Latency]]) -> None:
    """Writes the settings, the machine and a row for each horizon and case to ``out``."""
    rows = [
        {"observe": horizons[0], "predict": horizons[1], **case._asdict(), **cost._asdict()}
        | {"speed_up": speed_up(row, case)}
        for horizons, row in found.items()
        for case, cost in row.items()
    ]
    settings = dataclasses.asdict(arguments)
    del settings["out"]
    content = {
        **settings,
        "backend": jax.default_backend(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "rows": rows,
    }
    pathlib.Path(arguments.out).write_text(json.dumps(content, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, measures and shows."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.benchmarks.heads", args=arguments)
        if parsed.out:
            pathlib.Path(parsed.out).parent.mkdir(parents=True, exist_ok=True)
        found = benchmark(parsed)
        Console().print(table(parsed, found))
        if parsed.out:
            write(parsed, found)


if __name__ == "__main__":
    main()
