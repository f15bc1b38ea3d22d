"""What docs/paper_run.sh needs beside the commands: a check of the precision, and small wheels.

``python -m experiments.benchmarks.card check`` makes one update in float32 and in bfloat16, and
times more of them; ``… card trim WHEEL`` makes the wheel of dm_control a fiftieth of its size.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Annotated

import jax
import tyro
from rich.console import Console
from rich.table import Table

import envs
from experiments.benchmarks.timing import fastest
from experiments.benchmarks.updates import updating
from experiments.command_line import explain
from mummi.config import Config, Preset
from mummi.presets import preset
from mummi.runs.files import atomic

PRECISIONS = {"float32": "off", "bfloat16": "on"}
"""The precisions that are compared, by name, with what ``Config.bfloat16`` is for each."""
DIFFER = 3
"""Exit status that tells a difference of the precisions from an error."""
KEPT = ("_render", "mujoco", "rl", "suite", "utils")
"""Folders of dm_control that the tasks of dm_control.suite import."""
UNUSED = ("suite/dog_assets/", "mujoco/testing/")
"""Large folders in those, which our tasks do not open."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Compares one update in bfloat16 with the same in float32, and times both.

    Attributes:
        preset: settings of the agent.
        task: the task, which decides on the sensors.
        tolerance: largest relative difference of a loss, as ``differences`` has it.
        repeats: updates that are timed; the fastest counts.
    """

    preset: Preset = "modern"
    task: str = "walker_walk"
    tolerance: float = 0.05
    repeats: int = 10


@dataclasses.dataclass(frozen=True)
class Trim:
    """Leaves out of a wheel of dm_control, in place, what dm_control.suite does not need.

    Attributes:
        wheel: the file.
    """

    wheel: tyro.conf.Positional[pathlib.Path]


def differences(ours: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """Relative differences of two updates' losses, by name.

    A loss whose size is below 1 is compared by its absolute difference. Two losses that are not
    finite differ without bound, also from each other.

    Args:
        ours: the metrics of an update; those named ``loss/…`` are compared.
        reference: as much of the update that is right.
    """
    found = {}
    for name, right in reference.items():
        if name.startswith("loss/"):
            difference = abs(ours[name] - right) / max(1.0, abs(right))
            found[name] = difference if difference < float("inf") else float("inf")
    return found


def is_needed(name: str) -> bool:
    """Whether dm_control.suite needs a file of the wheel of dm_control, by its name there."""
    package, _, inside = name.partition("/")
    folder, slash, _ = inside.partition("/")
    if package != "dm_control" or not slash:
        return True
    return folder in KEPT and not inside.startswith(UNUSED)


def trim(wheel: pathlib.Path) -> None:
    """Rewrites a wheel of dm_control with nothing in it, nor in its RECORD, but what is needed.

    Raises:
        ValueError: the file is not a wheel of dm_control.
    """
    if not wheel.name.startswith("dm_control-") or not zipfile.is_zipfile(wheel):
        raise ValueError(f"{str(wheel)!r} is no wheel of dm_control (dm_control-VERSION-….whl)")
    with (
        atomic(wheel) as temporary,
        zipfile.ZipFile(wheel) as old,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for item in filter(lambda item: is_needed(item.filename), old.infolist()):
            content = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if is_needed(line.split(",")[0])).encode()
            new.writestr(item, content)


def measure(config: Config, repeats: int) -> tuple[dict[str, float], float, float]:
    """Metrics of the first update, updates a second, and TFLOP/s of their matrix products."""
    environment = envs.make(config.task, image_size=config.image_size, **config.env)
    sensors = environment.modalities, environment.action_size
    environment.close()
    update, operations = updating(config, *sensors)
    first = {name: float(value) for name, value in jax.device_get(update()).items()}
    (cost,) = fastest(repeats, update)
    return first, 1 / cost.wall, operations / cost.wall / 1e12


def check(arguments: Check) -> dict[str, float]:
    """Prints losses and rates in both precisions.

    Returns:
        The losses that differ by more than the tolerance, each with its difference.
    """
    config = preset(arguments.preset, arguments.task)
    found = {
        name: measure(dataclasses.replace(config, bfloat16=value), arguments.repeats)
        for name, value in PRECISIONS.items()
    }
    losses = {name: metrics for name, (metrics, *_) in found.items()}
    differ = differences(losses["bfloat16"], losses["float32"])
    device = jax.devices()[0].device_kind
    view = Table("", *PRECISIONS, "difference", title=f"one update, {arguments.preset}, {device}")
    for name, difference in differ.items():
        view.add_row(name, *(f"{losses[p][name]:.5g}" for p in PRECISIONS), f"{difference:.2g}")
    view.add_section()
    view.add_row("updates a second", *(f"{rate:.3g}" for _, rate, _ in found.values()))
    view.add_row("TFLOP/s", *(f"{speed:.3g}" for *_, speed in found.values()))
    Console().print(view)
    return {name: value for name, value in differ.items() if not value <= arguments.tolerance}


def main(arguments: list[str] | None = None) -> None:
    """The command; its exit status is ``DIFFER`` where bfloat16 does not agree with float32."""
    with explain():
        parsed = tyro.cli(
            Annotated[Check, tyro.conf.subcommand("check")]
            | Annotated[Trim, tyro.conf.subcommand("trim")],
            prog="python -m experiments.benchmarks.card",
            args=arguments,
        )
        if isinstance(parsed, Trim):
            trim(parsed.wheel)
            print(f"{parsed.wheel}: {parsed.wheel.stat().st_size / 2**20:.1f} MiB")
            return
        wrong = check(parsed)
        if wrong:
            print(f"bfloat16 differs by more than {parsed.tolerance}: {', '.join(wrong)}")
            raise SystemExit(DIFFER)
        print(f"every loss agrees within {parsed.tolerance}")


if __name__ == "__main__":
    main()
