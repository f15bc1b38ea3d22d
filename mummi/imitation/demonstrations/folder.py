"""A folder of data as one set of demonstrations."""

import bisect
import itertools
import operator
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from mummi.imitation.demonstrations.demonstration import DataSet, Demonstration


class Folder(Sequence[Demonstration]):
    """Several sets of demonstrations of the same sensors and actions, one after the other.

    One of them is open at a time.

    Args:
        path: the folder.
        parts: what opens each, by its path.

    Attributes:
        modalities, action_size, attributes: those of the first.
        names: of the demonstrations, each with its part's before it.

    Raises:
        ValueError: two of them have not the same sensors or actions, or one cannot be read.
    """

    def __init__(self, path: pathlib.Path, parts: dict[pathlib.Path, Callable[[], DataSet]]):
        self._parts, self._open = list(parts.values()), None
        lengths, names, wanted, first = [], [], {}, None
        for number, place in enumerate(parts):
            part = self._part(number)
            kind = _kind(part)
            if number == 0:
                self.modalities, self.attributes = part.modalities, part.attributes
                self.action_size, wanted, first = part.action_size, kind, place
            for what, given in kind.items():
                if given != wanted[what]:
                    self.close()
                    raise ValueError(
                        f"{place} has {what} {given}, and {first} has {wanted[what]}: a folder "
                        "must hold data of one kind; take the other files out, or name sensors "
                        "that all have with --obs"
                    )
            lengths.append(len(part))
            label = str(place.relative_to(path).with_suffix(""))
            names += [name if name == label else f"{label}/{name}" for name in part.names]
        self.names = tuple(names)
        self._ends = list(itertools.accumulate(lengths))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Demonstration:
        index = range(len(self))[operator.index(index)]
        number = bisect.bisect_right(self._ends, index)
        return self._part(number)[index - self._ends[number]]

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes what is open."""
        if self._open:
            self._open[1].close()
        self._open = None

    def _part(self, number: int) -> DataSet:
        if self._open is None or self._open[0] != number:
            self.close()
            self._open = number, self._parts[number]()
        return self._open[1]


def _kind(data: DataSet) -> dict[str, Any]:
    """In what the parts of a folder must be alike."""
    settings = data.attributes.get("env_args", {}).get("env_kwargs", {})
    return {
        "sensors": ", ".join(f"{m.name} ({m.kind} {m.shape})" for m in data.modalities),
        "action size": data.action_size,
        "action repeat": settings.get("action_repeat"),
    }
