"""Minari's HDF5 files: an episode a group, with one observation more than actions.

```
episode_0/observations           [T + 1, N], or a group of them, nested in any way
episode_0/actions                [T, A]
episode_0/rewards                [T]
episode_0/terminations           [T]
episode_0/truncations            [T]
```
"""

import pathlib

import h5py
import numpy as np

from mummi.imitation.demonstrations.groups import numbered
from mummi.imitation.demonstrations.hdf5 import Hdf5Demonstrations


class MinariDemonstrations(Hdf5Demonstrations):
    """The episodes of a file of Minari.

    Observations in groups have their names joined by ``_``; a single one is ``observation``. The
    last of an episode, which no action follows, is left out.
    """

    parent, prefix, observed, more = "/", "episode_", "observations", 1

    def _sensors(self, demo: str) -> dict[str, str]:
        if isinstance(self._groups.group(demo).get(self.observed), h5py.Dataset):
            return {"observation": self.observed}
        return super()._sensors(demo)

    def _dones(self, demo: str, steps: int) -> np.ndarray:
        ends = [self._scalars(demo, name, steps) != 0 for name in ("terminations", "truncations")]
        return ends[0] | ends[1]


def is_minari(path: pathlib.Path) -> bool:
    """Whether a file has ``episode_0``, ``episode_1``, … at its top."""
    with h5py.File(path) as file:
        return bool(numbered(file, "episode_"))
