"""Data that are learned from without a simulator: what they hold is all that is known."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.imitation.data import opened, told_of
from mummi.config import Config
from mummi.imitation import record, scaling
from mummi.imitation.demonstrations import INSTRUCTION, Demonstration, Reading, open_data
from mummi.imitation.depth import require_one_unit
from mummi.imitation.pictures import picture_sizes
from mummi.imitation.record import Imitation, Split
from mummi.imitation.scaling import Scaling
from mummi.modality import Modality

HELD_OUT = 5
"""Second entry of the seed by which demonstrations are held out."""
SHARE = 0.1
"""Of the demonstrations that are held out by default."""


class Learned(NamedTuple):
    """What is learned from, and what is not.

    Attributes:
        sensors: modalities as they are learned from, and action size.
        demonstrations: as they are learned from, without those held out.
        scaling: what made them so.
        split: which they are.
    """

    sensors: tuple[tuple[Modality, ...], int]
    demonstrations: list[Demonstration]
    scaling: Scaling
    split: Split


def load(imitation: Imitation, config: Config) -> Learned:
    """The demonstrations to learn from.

    Args:
        imitation: names the data, how they are read and what is held out, and a world model.
        config: gives the size of pictures and the seed.

    Raises:
        FileNotFoundError: there are no data.
        ValueError: the data are damaged, too few, or do not fit the world model.
        ModuleNotFoundError: the encoder of instructions is not installed.
    """
    path = imitation.data
    with open_data(path, dataclasses.replace(imitation.reading, obs=())) as data:
        split = divide(imitation, data.names, config.seed)
    reading = with_instructions(path, imitation.reading, split.trained)
    with opened(path, reading, config) as data:
        if not data.modalities:
            raise ValueError(f"{path}: there is no sensor to learn from")
        pictures = picture_sizes(data.modalities, config.image_size)
        smaller = Scaling(pictures=pictures)
        places = [data.names.index(name) for name in split.trained]
        demonstrations = [smaller.demonstration(data[place]) for place in places]
        modalities, action_size = smaller.reduced(data.modalities), data.action_size
        rate = data.attributes.get("rate")
    with told_of(path):
        named = dict(zip(split.trained, demonstrations, strict=True))
        found = scaling.find(named, modalities, reading.depth)
    found = dataclasses.replace(found, vectors=scaling.standards(demonstrations, modalities))
    if source := imitation.world_model:
        found = dataclasses.replace(scaling.load(source), pictures={})
        with told_of(path):
            scaling.require_within(demonstrations, found, source)
    whole = dataclasses.replace(found, pictures=pictures)
    for line in scaling.describe(whole):
        print(f"{path}: {line}")
    actions = np.concatenate([d.actions for d in demonstrations]).astype(np.float64)
    std = actions.std(0)
    split = dataclasses.replace(
        split,
        mean=tuple(actions.mean(0).tolist()),
        std=tuple(np.where(std < scaling.CONSTANT, 1.0, std).tolist()),
        rate=None if rate is None else float(rate),
    )
    learned = [found.demonstration(one) for one in demonstrations]
    return Learned((modalities, action_size), learned, whole, split)


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
    scale, names = scaling.load(logdir), tuple(m.name for m in modalities)
    reading = dataclasses.replace(imitation.reading, obs=names, filter_key="")
    with opened(imitation.data, reading, config) as data:
        if scale.reduced(data.modalities) != tuple(modalities):
            raise ValueError(f"{imitation.data}: the sensors changed since {str(logdir)!r}")
        for name in split.held_out:
            if name not in data.names:
                raise ValueError(
                    f"{imitation.data}: demonstration {name!r}, which {str(logdir)!r} holds out, "
                    "is no longer there"
                )
        held = {name: data[data.names.index(name)] for name in split.held_out}
    if reading.depth == "auto":
        with told_of(imitation.data):
            require_units(scale, held, modalities)
    return [scale.demonstration(one) for one in held.values()]


def require_units(
    scale: Scaling, demonstrations: Mapping[str, Demonstration], modalities: Sequence[Modality]
) -> None:
    """Raises a ValueError where depth of a demonstration looks not like that which was learned."""
    for m in modalities:
        if m.kind == "depth":
            unit = scale.depth[m.name].unit if m.name in scale.depth else "unit"
            require_one_unit(m.name, scaling.all_limits(demonstrations, m.name), unit)


def with_instructions(path: str, reading: Reading, trained: Sequence[str]) -> Reading:
    """How data are read: all of their sensors, and the instruction where there are several.

    What ``--obs`` names is left as it is.

    Args:
        path: of the data.
        reading: as it was asked for.
        trained: names of the demonstrations to learn from.
    """
    if reading.obs is not None:
        return reading
    with open_data(path, dataclasses.replace(reading, obs=())) as data:
        places = [data.names.index(name) for name in trained]
        told = {data[place].attributes.get(INSTRUCTION) for place in places}
    if len(told) < 2:
        return reading
    with open_data(path, reading) as data:
        names = tuple(m.name for m in data.modalities)
    print(f"{path}: {len(told)} instructions, which are a sensor, too")
    return dataclasses.replace(reading, obs=(*names, INSTRUCTION))


def divide(imitation: Imitation, names: Sequence[str], seed: int) -> Split:
    """Which demonstrations are held out; numbers of the actions are left empty.

    Args:
        imitation: says how many or which; a world model that is taken has its own already.
        names: of all demonstrations.
        seed: by which they are drawn.

    Raises:
        ValueError: none is left to learn from or to hold out.
    """
    path, wanted = imitation.data, imitation.held_out
    if source := _same_data(imitation):
        if wanted is not None:
            raise ValueError(
                f"--held-out {wanted} is given, and the world model of {imitation.world_model!r} "
                "has learned from these data already, whose own demonstrations stay held out: "
                "leave --held-out out"
            )
        held = source.held_out
    elif isinstance(wanted, str):
        mask = dataclasses.replace(imitation.reading, filter_key=wanted, obs=())
        with open_data(path, mask) as data:
            held = data.names
    else:
        count = max(1, round((wanted or SHARE) * len(names)))
        drawn = np.random.default_rng((seed, HELD_OUT)).permutation(len(names))[:count]
        held = tuple(names[place] for place in sorted(drawn))
    trained = tuple(name for name in names if name not in set(held))
    if not trained or not held:
        raise ValueError(
            f"{path}: of {len(names)} demonstrations {len(held)} are held out and {len(trained)} "
            "are left to learn from; there must be one of each at least: record more, or choose "
            "by --held-out"
        )
    return Split(trained, tuple(held), (), ())


def _same_data(imitation: Imitation) -> Split | None:
    """The split of the world model that is taken, where it is of the same data."""
    if not imitation.world_model:
        return None
    source = record.load(imitation.world_model).data
    if pathlib.Path(source).resolve() != pathlib.Path(imitation.data).resolve():
        return None
    return record.load_split(imitation.world_model)
