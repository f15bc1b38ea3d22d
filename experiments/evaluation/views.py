"""Demonstrations with sensors failing as a script says, for training on them."""

from collections.abc import Sequence

import numpy as np

from envs.base import TimeStep
from envs.failures.script import Dropout, Script
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.latents import View, usable
from mummi.modality import Modality

FAILURES = 3
"""Second entry of every seed here; training, evaluation and collection have 0, 1 and 2 there."""


class Recorded:
    """A demonstration as an environment: whatever is done, what was recorded happens."""

    def __init__(self, demonstration: Demonstration, modalities: Sequence[Modality]):
        self.modalities = tuple(modalities)
        self.action_size = demonstration.actions.shape[1]
        self.action_repeat = 1
        self._demonstration = demonstration
        self._available = as_recorded(demonstration, modalities).available
        self._step = 0

    def reset(self, number: int | None = None) -> TimeStep:
        self._step = -1
        return self.step(None)

    def step(self, action) -> TimeStep:
        self._step += 1
        recorded = self._demonstration
        return TimeStep(
            values={m.name: recorded.values[m.name][self._step] for m in self.modalities},
            available={m.name: self._available[m.name][self._step] for m in self.modalities},
            reward=0.0,
            is_first=self._step == 0,
            is_last=self._step == len(recorded.actions) - 1,
            is_terminal=False,
        )


def as_recorded(demonstration: Demonstration, modalities: Sequence[Modality]) -> View:
    """The view of every sensor at every step at which it delivered a value that is finite."""
    values = {m.name: demonstration.values[m.name] for m in modalities}
    available = {m.name: demonstration.availability(m.name) for m in modalities}
    available = usable(modalities, values, available)
    wanted, executed = demonstration.actions, demonstration.executed
    executed = wanted if executed is None else executed
    return View(values, available, executed, demonstration.rewards, wanted)


def failing(
    demonstration: Demonstration, modalities: Sequence[Modality], script: Script, seed
) -> View:
    """The view that ``script`` leaves; ``seed`` as of ``Dropout``."""
    whole = as_recorded(demonstration, modalities)
    sensors = Dropout(Recorded(demonstration, modalities), script, seed)
    steps = [sensors.reset(), *(sensors.step(None) for _ in demonstration.actions[1:])]
    available = {m.name: np.array([s.available[m.name] for s in steps]) for m in modalities}
    values = {}
    for name, there in available.items():
        seen = np.stack([s.values[name] for s in steps])
        # Where only the availability changed, all views share the recorded values.
        same = np.array_equal(seen[there], whole.values[name][there])
        values[name] = whole.values[name] if same else seen
    return whole._replace(values=values, available=available)


def make_views(
    demonstrations: Sequence[Demonstration],
    modalities: Sequence[Modality],
    script: Script,
    copies: int,
    seed: int,
) -> list[View]:
    """Each demonstration as it was recorded, then ``copies - 1`` times with sensors failing.

    A script without rules would only repeat what was recorded, so it adds nothing.
    """
    views = []
    for index, demonstration in enumerate(demonstrations):
        views.append(as_recorded(demonstration, modalities))
        for copy in range(1, copies if script.rules else 1):
            seeds = (seed, FAILURES, index, copy)
            views.append(failing(demonstration, modalities, script, seeds))
    return views
