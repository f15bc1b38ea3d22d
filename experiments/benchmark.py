"""Measures each stage against its own limit: python -m experiments.benchmark --preset paper."""

import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import envs
from envs.parallel import ParallelEnvironments
from experiments import flops
from experiments.command_line import explain
from experiments.simulator_benchmark import libero_rows, wiping_rows
from experiments.timing import Cost, Row, fastest
from mummi.agent import Agent, nest
from mummi.config import Config, Preset
from mummi.episode import layout
from mummi.modality import Modality
from mummi.presets import preset
from mummi.replay import Replay

Stage = Literal["env", "replay", "train", "act"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Prints each stage as a rate and as a ratio to its own limit, measured in the same run.

    Stage and limit are run in turn and the fastest run of each counts, which is what other
    processes disturb least.

    Attributes:
        what: stages to measure.
        preset: settings of the agent and the environments.
        task: the task, which decides on the sensors.
        repeats: runs of each.
        out: write the results to this JSON file.
    """

    what: tuple[Stage, ...] = ("env", "replay", "train", "act")
    preset: Preset = "paper"
    task: str = "walker_walk"
    repeats: int = 5
    out: str = ""


def environment_rows(config: Config, repeats: int, steps: int = 100) -> list[Row]:
    """One environment step against its physics and one render, and two workers against one.

    Args:
        config: settings of the environment.
        repeats: runs of each.
        steps: agent steps of a run.

    Raises:
        ValueError: the task has no raw physics to compare with.
    """
    if config.task == "table_wiping":
        return wiping_rows(config, repeats)
    if config.task.startswith("libero"):
        return libero_rows(config, repeats)
    from envs.natural_mujoco import TASKS
    from envs.rendering import Renderer, mujoco

    if config.task not in TASKS:
        raise ValueError(f"the stage env knows the tasks {', '.join(TASKS)}, not {config.task!r}")
    domain, make_task = TASKS[config.task]
    task = make_task(np.random.RandomState(0))
    physics = domain.suite.Physics.from_xml_string(*domain.suite.get_model_and_assets())
    model, data = physics.model.ptr, physics.data.ptr
    substeps = config.action_repeat * round(domain.control_timestep / model.opt.timestep)
    renderer = Renderer(model, domain.camera, config.image_size)
    options = {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }
    environment = envs.make(config.task, **options)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, environment.action_size))

    def reset():
        environment.reset()
        with physics.reset_context():
            task.initialize_episode(physics)

    def full():
        for action in actions:
            environment.step(action)

    def raw():
        for action in actions:
            data.ctrl[:] = action
            mujoco.mj_step(model, data, substeps)
            renderer.body(data)

    step, limit = fastest(repeats, full, raw, prepare=reset)
    environment.close()
    renderer.close()
    meaning = "time / (physics + one render)"
    ratios = (step.wall / limit.wall, step.cpu / limit.cpu)
    rows = [Row("env", steps / step.wall, "agent steps", meaning, "<= 2", *ratios)]

    with (
        ParallelEnvironments(config.task, [0], **options) as one,
        ParallelEnvironments(config.task, [1, 2], **options) as two,
    ):

        def run(workers):
            for action in actions:
                workers.step(np.tile(action, (len(workers), 1)))

        single, double = fastest(
            repeats, lambda: run(one), lambda: run(two), prepare=lambda: (one.reset(), two.reset())
        )
    gain = 2 * single.wall / double.wall
    meaning = "throughput of two workers / of one"
    return [*rows, Row("env", 2 * steps / double.wall, "agent steps", meaning, ">= 1.7", gain)]


def replay_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """Sampling a batch against copying arrays of the same sizes."""
    length = max(250, config.batch_length)
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(folder, modalities, actions, capacity=4 * length, seed=0)
        for index in range(4):
            episode = draw(modalities, actions, (length,), seed=index)
            episode["is_first"][:] = np.arange(length) == 0
            episode["is_last"][:] = np.arange(length) == length - 1
            replay.add(episode, index)
        batch = replay.sample(config.batch_size, config.batch_length)
        sample, copy = fastest(
            5 * repeats,
            lambda: replay.sample(config.batch_size, config.batch_length),
            lambda: {name: array.copy() for name, array in batch.items()},
        )
    ratios = (sample.wall / copy.wall, sample.cpu / copy.cpu)
    return [Row("replay", 1 / sample.wall, "batches", "time / memory copy", "", *ratios)]


def train_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """One update against the float32 matrix-product peak of the device."""
    agent = Agent(config, modalities, actions)
    batch = draw(modalities, actions, (config.batch_size, config.batch_length))
    batch = jax.device_put(nest(batch))
    state = agent.init(0)
    work = flops.count(agent.update, state, batch)
    peak, peak_work = peak_product()

    def update():
        nonlocal state
        state, metrics = agent.update(state, batch)
        return metrics

    jax.block_until_ready((update(), peak()))
    # The first product after an update pays for fresh memory.
    cost, _, *limits = fastest(repeats, update, peak, peak, peak)
    limit = Cost(*np.min(limits, 0))
    host = jax.default_backend() == "cpu"
    ratio = work / cost.wall / (peak_work / limit.wall)
    ratio_cpu = work / cost.cpu / (peak_work / limit.cpu) if host else None
    meaning = f"{work / 1e9:.4g} GFLOP / time / peak of {peak_work / limit.wall / 1e9:.0f} GFLOP/s"
    target = ">= 0.35" if host and config.preset == "paper" else ""
    return [Row("train", 1 / cost.wall, "updates", meaning, target, ratio, ratio_cpu)]


def act_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """Acting for one robot against an empty compiled call and its bare matrix products."""
    agent = Agent(config, modalities, actions)
    state, carry, key = agent.init(0), agent.start(1), jax.random.PRNGKey(0)
    step = nest(draw(modalities, actions, (1,)))
    arguments = (state, carry, step["values"], step["available"], step["is_first"], key)
    products = flops.products(lambda *a: agent.act(*a, explore=True), *arguments)
    zero, identity = jnp.zeros(()), jax.jit(lambda x: x)

    def repeated(call):
        def run():
            for _ in range(20):
                jax.block_until_ready(call())

        run()
        return run

    act = repeated(lambda: agent.act(*arguments, explore=True))
    cost, empty, bare = fastest(repeats, act, repeated(lambda: identity(zero)), repeated(products))
    ratios = (cost.wall / (empty.wall + bare.wall), cost.cpu / (empty.cpu + bare.cpu))
    meaning = "time / (empty call + its products)"
    return [Row("act", 20 / cost.wall, "calls", meaning, "", *ratios)]


def peak_product() -> tuple[Callable[[], jax.Array], int]:
    """A large compiled float32 matrix product, and its number of operations."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size))
    product = jax.jit(jnp.dot)
    return lambda: product(matrix, matrix), 2 * size**3


def draw(
    modalities: tuple[Modality, ...], actions: int, lead: tuple[int, ...], seed: int = 0
) -> dict[str, np.ndarray]:
    """Random steps under the replay's keys, arrays [*lead, ...]; all sensors deliver."""
    random = np.random.default_rng(seed)
    steps = {}
    for key, (shape, dtype) in layout(modalities, actions).items():
        if np.issubdtype(dtype, np.floating):
            steps[key] = random.random((*lead, *shape), np.float32).astype(dtype)
        elif dtype == np.uint8:
            steps[key] = random.integers(0, 256, (*lead, *shape), np.uint8)
        else:
            steps[key] = np.full((*lead, *shape), key.startswith("available"))
    return steps


def benchmark(arguments: Arguments) -> list[Row]:
    """Measures the stages asked for."""
    config = preset(arguments.preset, arguments.task.removeprefix("dmc_"))
    environment = envs.make(config.task, image_size=config.image_size, **config.env)
    sensors = (environment.modalities, environment.action_size)
    environment.close()
    rows = []
    for stage in arguments.what:
        if stage == "env":
            rows += environment_rows(config, arguments.repeats)
        else:
            measure = {"replay": replay_rows, "train": train_rows, "act": act_rows}[stage]
            rows += measure(config, *sensors, arguments.repeats)
    return rows


def main() -> None:
    """The command."""
    with explain():
        arguments = tyro.cli(Arguments, prog="python -m experiments.benchmark")
        rows = benchmark(arguments)
        title = f"{arguments.preset}, {arguments.task}, {jax.default_backend()}"
        table = Table("stage", "rate", "ratio", "by CPU time", "target", "what", title=title)
        for row in rows:
            cpu = "" if row.ratio_cpu is None else f"{row.ratio_cpu:.2f}"
            rate = f"{row.rate:.4g} {row.unit}/s"
            table.add_row(row.stage, rate, f"{row.ratio:.2f}", cpu, row.target, row.meaning)
        Console().print(table)
        if arguments.out:
            content = {
                **dataclasses.asdict(arguments),
                "backend": jax.default_backend(),
                "device": jax.devices()[0].device_kind,
                "cores": len(os.sched_getaffinity(0)),
                "rows": [dataclasses.asdict(row) for row in rows],
            }
            path = pathlib.Path(arguments.out)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
