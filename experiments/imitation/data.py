"""The demonstrations of a task, checked against its sensors."""

import contextlib
import dataclasses
from collections.abc import Iterator

from mummi.config import Config
from mummi.imitation import scaling
from mummi.imitation.demonstrations import DataSet, Demonstration, Reading, open_with_instruction
from mummi.imitation.record import Imitation
from mummi.imitation.scaling import Scaling
from mummi.modality import Modality

Sensors = tuple[tuple[Modality, ...], int]
"""Modalities and action size of a task."""


def load_demonstrations(
    imitation: Imitation, config: Config, sensors: Sensors
) -> tuple[list[Demonstration], Scaling]:
    """All demonstrations of the data as they are learned from, and what made them so.

    Args:
        imitation: names the data, how they are read, and a world model that is taken.
        config: settings of the task.
        sensors: modalities and action size of the task.

    Raises:
        FileNotFoundError: there are no data.
        ValueError: the data are damaged or do not fit the task or the world model.
    """
    reading = dataclasses.replace(imitation.reading, obs=tuple(m.name for m in sensors[0]))
    with opened(imitation.data, reading, config) as data:
        require_fits(imitation.data, data, config, sensors)
        demonstrations = in_units_of_task(list(data), data, config)
    with told_of(imitation.data):
        found = scaling.find(demonstrations, sensors[0], reading.depth)
    require_unit(imitation.data, found, config)
    if source := imitation.world_model:
        found = scaling.load(source)
        require_unit(source, found, config)
        with told_of(imitation.data):
            scaling.require_within(demonstrations, found, source)
    for line in scaling.describe(found):
        print(f"{imitation.data}: {line}; task {config.task} cuts what is beyond [-1, 1]")
    return [found.demonstration(one) for one in demonstrations], found


@contextlib.contextmanager
def told_of(path: str) -> Iterator[None]:
    """Begins the message of a ValueError with the data that it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def require_fits(path: str, data: DataSet, config: Config, sensors: Sensors) -> None:
    """Raises a ValueError unless data have the sensors, actions and action repeat of the task."""
    modalities, action_size = sensors
    settings = data.attributes.get("env_args", {}).get("env_kwargs", {})
    pairs = [
        (f"modality {m.name!r}", (given.kind, given.shape), (m.kind, m.shape))
        for given, m in zip(data.modalities, modalities, strict=True)
    ]
    repeat = settings.get("action_repeat", config.action_repeat)
    pairs += [
        ("action size", data.action_size, action_size),
        ("action repeat", repeat, config.action_repeat),
    ]
    for name, given, wanted in pairs:
        if given != wanted:
            raise ValueError(
                f"--data {path!r} has {name} {given}, and task {config.task!r} with these settings "
                f"has {wanted}"
            )


def require_unit(path: str, found: Scaling, config: Config) -> None:
    """Raises a ValueError where depth is scaled or pictures resized, which a task's are not."""
    if found.pictures:
        told = scaling.describe(Scaling(pictures=found.pictures))[0]
        raise ValueError(
            f"{path}: {told}, but task {config.task!r} shows them as they are: leave --task out, "
            "or take another world model"
        )
    if found.depth:
        told = scaling.describe(Scaling(depth=found.depth))[0]
        raise ValueError(
            f"{path}: {told}, but task {config.task!r} shows depth in [-1, 1] between distances "
            "that no data tell: choose other sensors with --obs, or give --depth unit if the "
            "numbers mean the same in the task"
        )


def in_units_of_task(
    demonstrations: list[Demonstration], data: DataSet, config: Config
) -> list[Demonstration]:
    """Demonstrations whose actions are those that the task takes.

    Those of an environment of gymnasium that were recorded elsewhere are in its own units, which
    the task's [-1, 1] stands for.
    """
    recorded_here = data.attributes.get("env_args", {}).get("env_name") == config.task
    if recorded_here or not config.task.startswith("gymnasium:"):
        return demonstrations
    from envs.gymnasium import task_bounds

    low, high = (tuple(limits.tolist()) for limits in task_bounds(config.task))
    units = Scaling(low, high)
    told = ", ".join(f"[{least:.4g}, {most:.4g}]" for least, most in zip(low, high, strict=True))
    print(f"actions are in the units of {config.task}, and {told} become [-1, 1], as of the task")
    return [units.demonstration(one) for one in demonstrations]


def opened(path: str, reading: Reading, config: Config) -> DataSet:
    """The data; an instruction among their sensors is embedded as the task does it."""

    def embed(sentences):
        from envs.instruction import embed

        return embed(sentences, encoder=config.env.get("encoder", "minilm"))

    return open_with_instruction(path, reading, embed)
