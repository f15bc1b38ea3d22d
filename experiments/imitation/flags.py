"""Flags of experiments.imitate that are those of experiments.train, and what each needs."""

import dataclasses
from collections.abc import Callable

from mummi.config import Config
from mummi.imitation.record import Imitation
from mummi.presets import offline
from mummi.runs.record import differences

SETTINGS = (
    *("task", "preset", "method", "seed", "missing", "background", "env", "envs", "image-size"),
    *("action-repeat", "batch-size", "batch-length", "evaluate-episodes", "checkpoint-every"),
    *("average", "bfloat16", "logger", "model"),
)
"""Flags of experiments.train that matter here."""
SIMULATED = ("background", "env", "envs", "action-repeat", "evaluate-episodes")
"""Those of them that speak of a simulator."""
OF_WORLD_MODEL = (
    *("world-model", "updates", "method", "batch-size", "batch-length", "checkpoint-every"),
    *("average", "bfloat16", "model"),
)
"""Flags that speak of a world model."""
SAME = ("preset", "method", "image_size", "action_repeat", "model")
"""Settings in which a world model that is taken and the run that takes it are alike."""


def defaults(imitation: Imitation) -> Callable[[str, str], Config]:
    """Gives the settings of a preset for a task.

    A head with encoders of its own learns from demonstrations as they were recorded.
    """
    if imitation.reads_latents:
        return offline
    return lambda preset, task: dataclasses.replace(offline(preset, task), missing="none")


def require_world_model(imitation: Imitation, arguments: list[str]) -> None:
    """Raises a ValueError for a flag of a world model where the head reads none."""
    if imitation.reads_latents:
        return
    for flag, setting in named(arguments).items():
        if setting in OF_WORLD_MODEL:
            raise ValueError(
                f"{flag} is of a world model, and head {imitation.head} with the context "
                f"{imitation.settings.context} has encoders of its own and reads none: leave it out"
            )


def require_settings(rest: list[str], name: str) -> None:
    """Raises a ValueError unless all flags in ``rest`` are among ``SETTINGS``."""
    for flag, setting in named(rest).items():
        if setting not in SETTINGS:
            raise ValueError(f"unknown flag {flag}; --help tells those of {name}")


def named(rest: list[str]) -> dict[str, str]:
    """The flags in ``rest`` as they were given, and which setting or section each is of."""
    flags = [word.split("=")[0] for word in rest if word.startswith("--")]
    return {flag: flag[2:].split(".")[0].replace("_", "-") for flag in flags}


def require_same(taken: Config, config: Config, source: str) -> None:
    """Raises a ValueError where the settings of a world model that is taken are changed."""
    for setting, old, new in differences(taken, config):
        if setting.split(".")[0] in SAME:
            raise ValueError(
                f"--world-model {source!r} has {setting} = {old!r}, and this "
                f"command asks for {new!r}: leave that flag out"
            )
