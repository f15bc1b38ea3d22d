"""Measures each stage against its own limit: python -m experiments.benchmark --preset paper."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import platform
import tempfile
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import envs
from experiments.benchmarks.acting import act_rows
from experiments.benchmarks.heads import Arguments as HeadArguments
from experiments.benchmarks.heads import head_rows
from experiments.benchmarks.simulators import environment_rows
from experiments.benchmarks.timing import Cost, Row, fastest, forget_peak, now, peak_memory
from experiments.benchmarks.updates import draw, updating
from experiments.command_line import explain
from experiments.runtime.start import training_environments
from mummi.config import Config, Preset
from mummi.data.device_replay import DeviceSteps
from mummi.data.episode import layout
from mummi.data.replay import Replay
from mummi.modality import Modality
from mummi.presets import preset
from mummi.runs.devices import data_mesh
from mummi.runs.logger import Silence
from mummi.training.trainer import Trainer

Stage = Literal["env", "replay", "train", "act", "heads", "loop"]

WARM_UP = 4
"""Updates of the training loop before its time is taken."""


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

    what: tuple[Stage, ...] = ("env", "replay", "train", "act", "heads", "loop")
    preset: Preset = "paper"
    task: str = "walker_walk"
    repeats: int = 5
    out: str = ""


def replay_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """Sampling a batch, from memory, files and device, against copying arrays of its sizes."""
    length, size = max(250, config.batch_length), (config.batch_size, config.batch_length)
    ring = DeviceSteps(layout(modalities, actions), 4 * length, data_mesh(1, size[0]))
    with tempfile.TemporaryDirectory() as folder:
        memory, files, device = (
            Replay(f"{folder}/{index}", modalities, actions, 4 * length, 0, bound, held)
            for index, (bound, held) in enumerate(((None, None), (0, None), (0, ring)))
        )
        for index in range(4):
            episode = draw(modalities, actions, (length,), seed=index)
            episode["is_first"][:] = np.arange(length) == 0
            episode["is_last"][:] = np.arange(length) == length - 1
            for replay in (memory, files, device):
                replay.add(episode, index)
        batch = memory.sample(*size)
        *samples, copy = fastest(
            5 * repeats,
            lambda: memory.sample(*size),
            lambda: files.sample(*size),
            lambda: jax.block_until_ready(device.sample(*size)),
            lambda: {name: array.copy() for name, array in batch.items()},
        )
    rows = []
    sources = ("from memory", "<= 1.5"), ("from cached files", ""), ("on the device", "")
    for sample, (whence, target) in zip(samples, sources, strict=True):
        ratios = (sample.wall / copy.wall, sample.cpu / copy.cpu)
        meaning = f"{whence}: time / memory copy"
        rate, cpu = 1 / sample.wall, sample.cpu
        rows.append(Row("replay", rate, "batches", meaning, target, *ratios, cpu=cpu))
    return rows


def train_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """One update against the float32 matrix-product peak of the device."""
    update, work = updating(config, modalities, actions)
    peak, peak_work = peak_product()
    jax.block_until_ready((update(), peak()))
    # The first product after an update pays for fresh memory.
    cost, _, *limits = fastest(repeats, update, peak, peak, peak)
    limit = Cost(*np.min(limits, 0))
    host = jax.default_backend() == "cpu"
    ratio = work / cost.wall / (peak_work / limit.wall)
    ratio_cpu = work / cost.cpu / (peak_work / limit.cpu) if host else None
    meaning = f"{work / 1e9:.4g} GFLOP / time / peak of {peak_work / limit.wall / 1e9:.0f} GFLOP/s"
    target = ">= 0.45" if host and config.preset == "paper" else ""
    cpu = cost.cpu if host else None
    return [Row("train", 1 / cost.wall, "updates", meaning, target, ratio, ratio_cpu, cpu)]


def loop_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """The training loop against the time that its updates take by themselves."""
    count = WARM_UP + 8 * repeats
    every = max(1, int(1000 / config.updates_per_1000))
    prefill = min(config.prefill, 1000)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = dataclasses.replace(
            config, logdir=folder, prefill=prefill, steps=prefill + count * every,
            evaluate_every=0, checkpoint_every=np.inf, log_every=WARM_UP * every,
        )  # fmt: skip
        clock = Clock()
        with training_environments(config) as environments:
            Trainer(config, environments, clock, data_mesh(1, config.batch_size)).train()
    began = next(time for time in clock.times if time.updates >= WARM_UP)
    ended = clock.times[-1]
    update, _ = updating(config, modalities, actions)
    update()
    (alone,) = fastest(repeats, update)
    made, wall, cpu = ended.updates - began.updates, ended.wall - began.wall, ended.cpu - began.cpu
    meaning = f"time of {made} updates alone / time of the loop"
    ratios = made * alone.wall / wall, made * alone.cpu / cpu
    return [Row("loop", made / wall, "updates", meaning, ">= 0.9", *ratios, cpu=cpu / made)]


class Time(NamedTuple):
    """When so many updates had been made, in seconds by the clock and of processor time."""

    updates: int
    wall: float
    cpu: float


class Clock(Silence):
    """A logger that keeps when the loop said how many updates it had made."""

    def __init__(self):
        self.times: list[Time] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes what the training loop logs."""
        if "updates" in values:
            self.times.append(Time(int(values["updates"]), *now()))


def heads_rows(config: Config, modalities: tuple[Modality, ...], actions: int, repeats: int):
    """Making a chunk from latents by heads of their usual size."""
    feature = config.model.deter + config.model.stoch
    return head_rows(HeadArguments(feature=feature, actions=actions, repeats=5 * repeats))


def peak_product() -> tuple[Callable[[], jax.Array], int]:
    """A large compiled float32 matrix product, and its number of operations."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size))
    product = jax.jit(jnp.dot)
    return lambda: product(matrix, matrix), 2 * size**3


MEASURES = {
    "replay": replay_rows,
    "train": train_rows,
    "act": act_rows,
    "heads": heads_rows,
    "loop": loop_rows,
}


def benchmark(arguments: Arguments) -> list[Row]:
    """Measures the stages asked for."""
    config = preset(arguments.preset, arguments.task.removeprefix("dmc_"))
    environment = envs.make(config.task, image_size=config.image_size, **config.env)
    sensors = (environment.modalities, environment.action_size)
    environment.close()
    rows = []
    for stage in arguments.what:
        forget_peak()
        if stage == "env":
            found = environment_rows(config, arguments.repeats)
        else:
            found = MEASURES[stage](config, *sensors, arguments.repeats)
        rows += [dataclasses.replace(row, memory=peak_memory()) for row in found]
    return rows


def processor() -> str:
    """The processor's name, as Linux knows it."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """The command."""
    with explain():
        arguments = tyro.cli(Arguments, prog="python -m experiments.benchmark")
        if arguments.out:
            pathlib.Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
        rows = benchmark(arguments)
        title = f"{arguments.preset}, {arguments.task}, {jax.default_backend()}"
        table = Table(
            "stage", "rate", "CPU ms", "peak MiB", "ratio", "by CPU time", "target", "what",
            title=title,
        )  # fmt: skip
        for row in rows:
            by_cpu = "" if row.ratio_cpu is None else f"{row.ratio_cpu:.2f}"
            cpu = "" if row.cpu is None else f"{1000 * row.cpu:.3g}"
            rate, ratio = f"{row.rate:.4g} {row.unit}/s", f"{row.ratio:.2f}"
            memory = f"{row.memory:.0f}"
            table.add_row(row.stage, rate, cpu, memory, ratio, by_cpu, row.target, row.meaning)
        Console().print(table)
        if arguments.out:
            settings = dataclasses.asdict(arguments)
            del settings["out"]
            content = {
                **settings,
                "backend": jax.default_backend(),
                "device": jax.devices()[0].device_kind,
                "cores": len(os.sched_getaffinity(0)),
                "processor": processor(),
                "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
                "load": os.getloadavg()[0],
                "rows": [dataclasses.asdict(row) for row in rows],
            }
            pathlib.Path(arguments.out).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
