"""Data that are learned from without a simulator: what they hold is all that is known."""

import dataclasses
from collections.abc import Set

from experiments.imitation.data import Learned, all_of, chosen, opened, require_units, told_of
from experiments.imitation.split import divide, instructions, measured
from mummi.config import Config
from mummi.imitation import decisions, scaling
from mummi.imitation.demonstrations import INSTRUCTION, Reading, open_data
from mummi.imitation.pictures import picture_sizes
from mummi.imitation.record import Imitation
from mummi.imitation.scaling import Scaling


def load(imitation: Imitation, config: Config) -> Learned:
    """The demonstrations to learn from, and those held out.

    Args:
        imitation: names the data, how they are read and what is held out, and a world model.
        config: gives the size of pictures and the seed.

    Raises:
        FileNotFoundError: there are no data.
        ValueError: the data are damaged, too few, none is held out, or they do not fit the world
            model.
        ModuleNotFoundError: the encoder of instructions is not installed.
    """
    path, told = imitation.data, instructions(imitation.data, imitation.reading)
    split = divide(imitation, told, config.seed)
    if not split.held_out:
        raise ValueError(
            f"{path}: no demonstration is held out, and without --task there is nothing else to "
            "evaluate on: leave --held-out out, or choose another share"
        )
    reading = with_instructions(path, imitation.reading, {told[name] for name in split.trained})
    with opened(path, reading, config) as data:
        if not data.modalities:
            raise ValueError(f"{path}: there is no sensor to learn from")
        pictures = picture_sizes(data.modalities, config.image_size)
        smaller = Scaling(pictures=pictures)
        demonstrations = [smaller.demonstration(one) for one in chosen(data, split.trained)]
        given = data.modalities
        modalities, action_size = smaller.reduced(data.modalities), data.action_size
        rate = data.attributes.get("rate")
    with opened(path, all_of(reading, given), config) as data:
        unseen = [smaller.demonstration(one) for one in chosen(data, split.held_out)]
    with told_of(path):
        named = dict(zip(split.trained, demonstrations, strict=True))
        found = scaling.find(named, modalities, reading.depth)
        if reading.depth == "auto":
            require_units(found, dict(zip(split.held_out, unseen, strict=True)), modalities)
    found = dataclasses.replace(found, vectors=scaling.standards(demonstrations, modalities))
    if source := imitation.world_model:
        found = dataclasses.replace(scaling.load(source), pictures={})
        with told_of(path):
            scaling.require_within(demonstrations, found, source)
    whole = dataclasses.replace(found, pictures=pictures)
    with told_of(path):
        split = measured(split, demonstrations, rate, imitation.two_valued)
    for line in (*scaling.describe(whole), *decisions.describe(split.two_valued)):
        print(f"{path}: {line}")
    learned, unseen = ([found.demonstration(one) for one in d] for d in (demonstrations, unseen))
    return Learned((modalities, action_size), learned, unseen, whole, split)


def with_instructions(path: str, reading: Reading, told: Set[str | None]) -> Reading:
    """How data are read: all of their sensors, and the instruction where there are several.

    What ``--obs`` names is left as it is.

    Args:
        path: of the data.
        reading: as it was asked for.
        told: the instructions of the demonstrations to learn from.
    """
    if reading.obs is not None or len(told) < 2:
        return reading
    with open_data(path, reading) as data:
        names = tuple(m.name for m in data.modalities)
    print(f"{path}: {len(told)} instructions, which are a sensor, too")
    return dataclasses.replace(reading, obs=(*names, INSTRUCTION))
