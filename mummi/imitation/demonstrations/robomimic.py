"""Demonstrations in HDF5, in the layout of robomimic and LIBERO, whose tools read ours.

```
data                       attributes: total, env_args (JSON); LIBERO: problem_info (JSON), …
data/demo_0                attributes: num_samples, success, …
data/demo_0/obs/NAME       [T, *shape], what a sensor gave before each action
data/demo_0/available/NAME bool [T], whether it did; optional: where it is not, it always did
data/demo_0/actions        [T, A], what the demonstrator wanted
data/demo_0/executed       [T, A], what was done where that is something else, optional
data/demo_0/rewards        [T], what each action brought
data/demo_0/dones          [T]
data/demo_0/states         [T, S], the simulator's state before each action; optional
mask/KEY                   names of demonstrations, optional (robomimic's filter keys)
```

Whatever else a file holds, such as robomimic's ``next_obs``, is left alone. ``rewards`` and
``dones`` that are missing count as zeros, as in robomimic.
"""

import pathlib

import h5py

from mummi.imitation.demonstrations.groups import numbered
from mummi.imitation.demonstrations.hdf5 import Hdf5Demonstrations


class Demonstrations(Hdf5Demonstrations):
    """The demonstrations of a file of robomimic or of this package; see ``Hdf5Demonstrations``."""

    def _no_observations(self, demo: str) -> ValueError:
        if "states" not in self._groups.group(demo):
            return super()._no_observations(demo)
        return self._groups.error(
            *(demo, self.observed, "is missing: this is a raw recording of states and actions"),
            f"a group of observations, which python -m experiments.render --data {self._path} "
            "--out images.hdf5 renders from the states of robosuite",
        )


class IsaacLabDemonstrations(Demonstrations):
    """The demonstrations of a file of IsaacLab or Mimic.

    Observations may lie in groups, whose names and theirs are joined by ``_``; ``states`` and
    ``initial_state`` are groups, which are left alone, and demonstrations that failed are left out
    unless they are asked for.
    """

    drops_failed = True


def is_robomimic(path: pathlib.Path) -> bool:
    """Whether a file has the group ``data``."""
    with h5py.File(path) as file:
        return isinstance(file.get("data"), h5py.Group)


def is_isaaclab(path: pathlib.Path) -> bool:
    """Whether a file has ``data``, and groups in it where robomimic has arrays."""
    with h5py.File(path) as file:
        data = file.get("data")
        if not isinstance(data, h5py.Group):
            return False
        for name in numbered(data, "demo_")[:1]:
            demo, groups = data[name], ("initial_state", "states")
            nested = list(demo["obs"].values()) if "obs" in demo else []
            inner = [demo[name] for name in groups if name in demo] + nested
            return any(isinstance(item, h5py.Group) for item in inner)
    return False
