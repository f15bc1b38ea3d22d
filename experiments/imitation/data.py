"""The demonstrations of a task, checked against its sensors, and those of a run held out."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import envs
from experiments.imitation.split import divide, instructions, measured
from mummi.config import NO_SIMULATOR, Config
from mummi.imitation import decisions, record, scaling
from mummi.imitation.demonstrations import DataSet, Demonstration, Reading, open_with_instruction
from mummi.imitation.depth import require_one_unit
from mummi.imitation.record import Imitation, Split
from mummi.imitation.scaling import Scaling
from mummi.modality import Modality

Sensors = tuple[tuple[Modality, ...], int]
"""Modalities and action size of a task."""


class Learned(NamedTuple):
    """What is learned from, and what is not.

    Attributes:
        sensors: modalities as they are learned from, and action size.
        demonstrations: as they are learned from, without those held out.
        held_out: those, alike.
        scaling: what made them so.
        split: which they are.
    """

    sensors: Sensors
    demonstrations: list[Demonstration]
    held_out: list[Demonstration]
    scaling: Scaling
    split: Split


def load(imitation: Imitation, config: Config, sensors: Sensors) -> Learned:
    """The demonstrations of the data for a task.

    Args:
        imitation: names the data, how they are read and what is held out, and a world model that
            is taken.
        config: settings of the task, and the seed.
        sensors: modalities and action size of the task.

    Raises:
        FileNotFoundError: there are no data.
        ValueError: the data are damaged or do not fit the task or the world model.
    """
    told = instructions(imitation.data, imitation.reading)
    split = divide(imitation, told, config.seed)
    reading = all_of(imitation.reading, sensors[0])
    with opened(imitation.data, reading, config) as data:
        require_fits(imitation.data, data, config, sensors)
        units = units_of_task(data, config)
        demonstrations, unseen = (
            [units.demonstration(one) for one in chosen(data, names)]
            for names in (split.trained, split.held_out)
        )
        rate = data.attributes.get("rate")
    with told_of(imitation.data):
        split = measured(split, demonstrations, rate, imitation.two_valued)
        named = dict(zip(split.trained, demonstrations, strict=True))
        found = scaling.find(named, sensors[0], reading.depth)
    found = dataclasses.replace(found, vectors=scaling.standards(demonstrations, sensors[0]))
    require_unit(imitation.data, found, config)
    if source := imitation.world_model:
        found = scaling.load(source)
        require_unit(source, found, config)
        with told_of(imitation.data):
            scaling.require_within(demonstrations, found, source)
    for line in scaling.describe(found):
        print(f"{imitation.data}: {line}; task {config.task} cuts what is beyond [-1, 1]")
    for line in decisions.describe(split.two_valued):
        print(f"{imitation.data}: {line}")
    learned, unseen = ([found.demonstration(one) for one in d] for d in (demonstrations, unseen))
    return Learned(sensors, learned, unseen, found, split)


def load_held_out(
    logdir: pathlib.Path, config: Config, modalities: Sequence[Modality]
) -> list[Demonstration]:
    """The demonstrations that a run has not learned from, in the units in which it learned.

    Args:
        logdir: folder of the run.
        config: its settings.
        modalities: its sensors.

    Raises:
        FileNotFoundError: the data are gone.
        ValueError: the data lack one of them, or have other sensors than before, or depth in
            another unit.
    """
    imitation, split = record.load(logdir), record.load_split(logdir)
    scale = scaling.load(logdir)
    with opened(imitation.data, all_of(imitation.reading, modalities), config) as data:
        now, before = (
            [(m.name, m.kind, m.shape) for m in of]
            for of in (scale.reduced(data.modalities), modalities)
        )
        if now != before:
            raise ValueError(f"{imitation.data}: the sensors changed since {str(logdir)!r}")
        units = units_of_task(data, config)
        with told_of(imitation.data):
            held = chosen(data, split.held_out)
            if imitation.reading.depth == "auto":
                require_units(scale, dict(zip(split.held_out, held, strict=True)), modalities)
        return [scale.demonstration(units.demonstration(one)) for one in held]


def require_units(
    scale: Scaling, demonstrations: Mapping[str, Demonstration], modalities: Sequence[Modality]
) -> None:
    """Raises a ValueError where depth of a demonstration looks not like that which was learned."""
    for m in modalities:
        if m.kind == "depth":
            unit = scale.depth[m.name].unit if m.name in scale.depth else "unit"
            require_one_unit(m.name, scaling.all_limits(demonstrations, m.name), unit)


def all_of(reading: Reading, modalities: Sequence[Modality]) -> Reading:
    """How these sensors of all demonstrations are read, whichever are learned from."""
    names = tuple(m.name for m in modalities)
    return dataclasses.replace(reading, obs=names, filter_key="")


def chosen(data: DataSet, names: Sequence[str]) -> list[Demonstration]:
    """The demonstrations of these names.

    Raises:
        ValueError: the data lack one.
    """
    places = {name: place for place, name in enumerate(data.names)}
    for name in names:
        if name not in places:
            raise ValueError(f"demonstration {name!r} is no longer there")
    return [data[places[name]] for name in names]


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


def units_of_task(data: DataSet, config: Config) -> Scaling:
    """What brings actions of the data to those that the task takes.

    Those that were recorded elsewhere are in the units of ``envs.action_limits``, which the task's
    [-1, 1] stands for.
    """
    recorded_here = data.attributes.get("env_args", {}).get("env_name") == config.task
    if recorded_here or config.task == NO_SIMULATOR:
        return Scaling()
    if (limits := envs.action_limits(config.task)) is None:
        return Scaling()
    low, high = (tuple(ends.tolist()) for ends in limits)
    told = ", ".join(f"[{least:.4g}, {most:.4g}]" for least, most in zip(low, high, strict=True))
    print(f"actions are in the units of {config.task}, and {told} become [-1, 1], as of the task")
    return Scaling(low, high)


def opened(path: str, reading: Reading, config: Config) -> DataSet:
    """The data; an instruction among their sensors is embedded as the task does it."""

    def embed(sentences):
        from envs.instruction import embed

        return embed(sentences, encoder=config.env.get("encoder", "minilm"))

    return open_with_instruction(path, reading, embed)
