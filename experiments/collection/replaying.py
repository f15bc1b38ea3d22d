"""Replays demonstrations of LIBERO from official initial states, by physics alone."""

import functools
from typing import NamedTuple

import numpy as np

from envs.libero.simulator import REST, LiberoSimulator, suite_tasks
from envs.libero.tasks import timing
from mummi.imitation.demonstrations import LiberoDemonstrations, Reading
from mummi.imitation.heads.outcomes import Outcome, digest

REPLAY = 3
"""Second entry of every seed here; those of training, evaluation and collection have 0 to 2."""


class Recorded(NamedTuple):
    """The demonstrations of a task, as they are replayed.

    Attributes:
        task: its name, ``libero_object/3``.
        executed: of each demonstration, float32 [T, 7].
        starts: number of the initial state that each began at; None where its file does not say.
        action_repeat: control steps of each action.
    """

    task: str
    executed: tuple[np.ndarray, ...]
    starts: tuple[int | None, ...]
    action_repeat: int

    def own(self, start: int) -> tuple[str, ...]:
        """``digest`` of the demonstrations that began at an initial state."""
        pairs = zip(self.executed, self.starts, strict=True)
        return tuple(digest(actions) for actions, begin in pairs if begin == start)


def load(task: str, path) -> Recorded:
    """The demonstrations of one file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    with LiberoDemonstrations(path, Reading(obs=())) as data:
        settings = data.attributes.get("env_args", {}).get("env_kwargs", {})
        made = list(data)
    executed = [one.actions if one.executed is None else one.executed for one in made]
    starts = [one.attributes.get("initial_state") for one in made]
    return Recorded(
        task,
        tuple(np.asarray(actions, np.float32) for actions in executed),
        tuple(None if start is None else int(start) for start in starts),
        int(settings.get("action_repeat", 1)),
    )


@functools.lru_cache(maxsize=1)
def _simulator(task: str) -> LiberoSimulator:
    suite, _, index = task.partition("/")
    return LiberoSimulator(suite_tasks(suite)[int(index)])


def replay(recorded: Recorded, start: int, seed: int) -> Outcome:
    """Every demonstration from one initial state; what comes to rest and how long it may take is
    as in the environment, and past the end of a recording nothing is done.

    Args:
        recorded: demonstrations of a task.
        start: number of the initial state.
        seed: of the fixtures, which the initial states leave open.
    """
    simulator = _simulator(recorded.task)
    settle, horizon = timing(simulator.task.suite)
    scene = np.random.SeedSequence((seed, REPLAY, start))
    played = []
    for actions in recorded.executed:
        simulator.reset_to(start, scene)
        for _ in range(settle):
            simulator.step(REST)
        played.append(_play(simulator, np.repeat(actions, recorded.action_repeat, 0), horizon))
    return Outcome(
        task=recorded.task,
        start=start,
        seed=seed,
        own=recorded.own(start),
        demonstrations=tuple(digest(actions) for actions in recorded.executed),
        success=tuple(success for success, _ in played),
        steps=tuple(steps for _, steps in played),
    )


def _play(simulator: LiberoSimulator, actions: np.ndarray, horizon: int) -> tuple[bool, int]:
    """Whether the goal is reached, and after how many control steps."""
    nothing = np.zeros(actions.shape[1])
    for step in range(horizon):
        if simulator.step(actions[step] if step < len(actions) else nothing):
            return True, step + 1
    return False, horizon
