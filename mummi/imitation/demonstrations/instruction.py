"""What is told in words, as a sensor."""

import dataclasses
import operator
import os
from collections.abc import Callable, Sequence

import numpy as np

from mummi.imitation.demonstrations.demonstration import INSTRUCTION, DataSet, Demonstration
from mummi.imitation.demonstrations.formats import open_data
from mummi.imitation.demonstrations.reading import Reading
from mummi.modality import Modality

Embed = Callable[[tuple[str, ...]], np.ndarray]
"""Vectors [S, E] of S sentences."""


def open_with_instruction(path: str | os.PathLike, reading: Reading, embed: Embed) -> DataSet:
    """Opens demonstrations whose instruction, where ``reading`` asks for it, is a sensor, too.

    Args:
        path: a file or a folder.
        reading: as of ``open_data``; ``instruction`` may be among its sensors.
        embed: gives the vectors.

    Raises:
        FileNotFoundError, ValueError: as ``open_data``; a demonstration tells no instruction.
    """
    names = reading.obs
    if names is None or INSTRUCTION not in names:
        return open_data(path, reading)
    others = tuple(name for name in names if name != INSTRUCTION)
    data = open_data(path, dataclasses.replace(reading, obs=others))
    try:
        return Instructed(data, names, embed, str(path))
    except BaseException:
        data.close()
        raise


class Instructed(Sequence[Demonstration]):
    """Demonstrations with their instruction as the sensor ``instruction``, which cannot fail.

    Args:
        data: each with the attribute ``instruction``.
        names: of the sensors, this one included, in the order of fusion.
        embed: gives the vectors.
        path: of the data, for messages.

    Attributes:
        modalities, action_size, names, attributes: as of ``DataSet``.

    Raises:
        ValueError: a demonstration has no such attribute.
    """

    def __init__(self, data: DataSet, names: Sequence[str], embed: Embed, path: str):
        self._data, self._embed, self._path = data, embed, path
        self._vectors: dict[str, np.ndarray] = {}
        self.action_size, self.names = data.action_size, data.names
        self.attributes = data.attributes
        size = self._vector(data.names[0], data[0]).shape
        told = Modality(INSTRUCTION, "embedding", size, can_fail=False)
        known = {m.name: m for m in data.modalities} | {INSTRUCTION: told}
        self.modalities = tuple(known[name] for name in names)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Demonstration:
        stored = self._data[operator.index(index)]
        vector = self._vector(self.names[index], stored)
        values = {**stored.values, INSTRUCTION: np.tile(vector, (len(stored.actions), 1))}
        return stored._replace(values={m.name: values[m.name] for m in self.modalities})

    def __enter__(self) -> "Instructed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the data."""
        self._data.close()

    def _vector(self, name: str, demonstration: Demonstration) -> np.ndarray:
        sentence = demonstration.attributes.get(INSTRUCTION)
        if not sentence:
            raise ValueError(
                f"{self._path}: demonstration {name!r} tells no instruction, which a sensor is to "
                "be made of; read these data without the sensor 'instruction' (--obs)"
            )
        if sentence not in self._vectors:
            self._vectors[sentence] = np.asarray(self._embed((sentence,))[0], np.float32)
        return self._vectors[sentence]
