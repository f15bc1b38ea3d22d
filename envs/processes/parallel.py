"""Several copies of one task, each in its own process, stepped as one batch.

A worker is a fresh interpreter with an inherited pipe: ``fork`` is unsafe beside the threads of
JAX, and the spawning of ``multiprocessing`` would import the caller's main module, JAX with it.
Observations, rewards, flags and actions lie in an unnamed file that caller and workers map, so
nothing is left behind however they end; the pipe carries commands and ``info``.
"""

import dataclasses
import mmap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import envs
from envs.base import LABELS
from envs.episodes import checked_number
from envs.processes.process import Local, Process, WorkerDied, open_memory, reserve
from envs.processes.worker import Host, record

MAX_RESTARTS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """One time step of each of K environments; the arrays belong to the caller.

    Attributes:
        values: one array a modality, [K, *shape] of its dtype.
        available: one bool array [K] a modality.
        reward: float32 [K].
        is_first, is_last, is_terminal: bool [K], as in ``TimeStep``.
        restarted: bool [K]; the worker was lost and this is the first step of another episode, or
            of the same one again where it has a number; the episode before it has no end and is to
            be dropped.
        info: K mappings of numbers worth logging.
    """

    values: Mapping[str, np.ndarray]
    available: Mapping[str, np.ndarray]
    reward: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray
    restarted: np.ndarray
    info: Sequence[Mapping[str, float]]


class ParallelEnvironments:
    """K environments of one task that step together.

    An environment whose episode has ended is reset by the next ``step``, which ignores its action
    and returns the first step of the new episode; the very first ``step`` does the same.

    A worker that dies, raises, hangs or gives a reward that is not finite is replaced; the
    unfinished episode is lost, ``Batch.restarted`` says so, and a ``RuntimeWarning`` names the
    worker and the cause. Where the episode has a number, the new worker plays it again; otherwise
    it has a new seed, derived from the worker's own, so number all episodes or none.

    A sensor whose value is not finite counts as missing at that step, and its value as zeros; the
    first time a ``RuntimeWarning`` names it.

    Args:
        task: a name that ``envs.make`` knows.
        seeds: one ``seed`` of ``envs.make`` an environment: an int or a sequence of ints. Where
            episodes are numbered, equal seeds make episode n the same in every environment.
        processes: False runs the environments in this process, one after the other, where a
            debugger sees them; their exceptions are raised and nothing is restarted.
        timeout: seconds after which a worker that gives no answer is taken to hang; while it makes
            its environment at least half an hour. Nothing is timed without processes.
        **make_kwargs: further arguments of ``envs.make``; they must pickle.

    Attributes:
        modalities, action_size, action_repeat: as in ``Environment``.
        restarts: how many workers had to be replaced so far.
        broken: how many values were not finite so far, by the name of the sensor.

    Raises:
        ValueError: for no seeds, or a timeout that is not positive. What ``envs.make`` raises is
            raised here too.
        ImportError: the task is drawn, and nothing can draw here (``envs.settle_drawing``).
        OSError: the memory that is shared with the workers is full.
        WorkerDied: when a worker dies while it makes its environment.
    """

    labels = LABELS  # names in ``Batch.info`` that say which episode it is

    def __init__(
        self,
        task: str,
        seeds: Sequence[Any],
        *,
        processes: bool = True,
        timeout: float = 600.0,
        **make_kwargs: Any,
    ):
        if len(seeds) == 0:
            raise ValueError("seeds is empty; there must be one for each environment")
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout!r}; it must be a positive number of seconds")
        if processes:
            envs.settle_drawing(task)
        self.restarts = 0
        self.broken: dict[str, int] = {}
        self._task, self._kwargs = task, make_kwargs
        self._processes, self._timeout = processes, timeout
        self._seeds = list(seeds)
        self._renewals = [0] * len(seeds)  # how often a worker was given a new seed
        self._numbers: list[int | None] = [None] * len(seeds)  # of the episodes under way
        self._failures = [0] * len(seeds)  # restarts since the last progress
        self._over = [True] * len(seeds)  # the next step is a reset
        self._waiting = False
        self._memory = open_memory()
        self._workers: list[Process | Local] = []
        try:
            for k in range(len(seeds)):
                self._workers.append(self._start(k))
            specs = [worker.receive() for worker in self._workers]
            self.modalities, self.action_size, self.action_repeat, self._numbered = specs[0]
            layout = record(self.modalities, self.action_size)
            reserve(self._memory, layout.itemsize * len(seeds))
            self._rows = np.frombuffer(mmap.mmap(self._memory.fileno(), 0), layout)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._seeds)

    def __enter__(self) -> "ParallelEnvironments":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reset(self, numbers: Sequence[int | None] | None = None) -> Batch:
        """Starts a new episode everywhere, those of ``numbers``; unfinished ones are dropped."""
        self._require_waiting(False)
        self._over = [True] * len(self)
        return self.step(np.zeros((len(self), self.action_size), np.float32), numbers)

    def step(self, actions: np.ndarray, numbers: Sequence[int | None] | None = None) -> Batch:
        """``step_async`` and ``step_wait`` in one."""
        self.step_async(actions, numbers)
        return self.step_wait()

    def step_async(self, actions: np.ndarray, numbers: Sequence[int | None] | None = None) -> None:
        """Sends one action to each environment and returns at once.

        Args:
            actions: float [K, action_size] in [-1, 1].
            numbers: [K] of the episodes that begin by this call where the last one is over, as of
                ``Environment.reset``; ignored elsewhere.

        Raises:
            ValueError: for actions of another shape, or numbers that are not K or below 0.
            RuntimeError: when the step before has not been waited for.
        """
        self._require_waiting(False)
        actions = np.asarray(actions)
        if actions.shape != (len(self), self.action_size):
            raise ValueError(
                f"actions have shape {actions.shape}; {len(self)} environments with "
                f"{self.action_size} action dimensions need {(len(self), self.action_size)}"
            )
        if any(self._over):
            self._begin(numbers)
        self._rows["action"] = actions
        for worker, over, number in zip(self._workers, self._over, self._numbers, strict=True):
            if over:
                worker.send("reset", number)
            else:
                worker.send("step")
        self._waiting = True

    def step_wait(self) -> Batch:
        """Waits for the environments and returns their time steps.

        Raises:
            RuntimeError: when no step is under way, or when a worker had to be replaced more than
                ``MAX_RESTARTS`` times without completing a step.
        """
        self._require_waiting(True)
        self._waiting = False
        info: list[Mapping[str, float]] = []
        lost: dict[int, Exception] = {}
        for k, worker in enumerate(self._workers):
            try:
                info.append(self._received(k))
            except Exception as error:
                if isinstance(worker, Local):
                    raise
                lost[k] = error
                info.append({})
            else:
                # A numbered episode takes the same steps when it is played again: its end counts.
                if self._numbers[k] is None and not self._over[k]:
                    self._failures[k] = 0
        restarted = np.zeros(len(self), bool)
        for k, error in lost.items():
            info[k] = self._replace(k, error)
            restarted[k] = True
        rows = self._rows
        self._over = rows["is_last"].tolist()
        for k, over in enumerate(self._over):
            if over and k not in lost:
                self._failures[k] = 0
        return Batch(
            values={m.name: rows["values"][m.name].copy() for m in self.modalities},
            available={m.name: rows["available"][m.name].copy() for m in self.modalities},
            reward=rows["reward"].copy(),
            is_first=rows["is_first"].copy(),
            is_last=rows["is_last"].copy(),
            is_terminal=rows["is_terminal"].copy(),
            restarted=restarted,
            info=info,
        )

    def render(self, size: int) -> list[np.ndarray]:
        """A picture of each environment, [size, size, 3] uint8; black where a worker has died."""
        black = np.zeros((size, size, 3), np.uint8)
        return [black if p is None else p for p in self._ask("render", size)]

    def truth(self) -> list[Mapping[str, np.ndarray] | None]:
        """The physical state of each environment, by name; None where a worker has died."""
        return self._ask("truth")

    def physics_state(self) -> list[np.ndarray | None]:
        """The simulator's state of each environment, float64 [S]; None from one without it."""
        return self._ask("physics_state")

    def expert_action(self) -> np.ndarray:
        """What the task's scripted expert does in each environment, float32 [K, action_size].

        It is zeros where a worker has died; a task without an expert is a ValueError.
        """
        idle = np.zeros(self.action_size)
        actions = [idle if a is None else a for a in self._ask("expert_action")]
        return np.array(actions, np.float32)

    def close(self) -> None:
        """Closes the environments and ends their processes."""
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.join()
        self._memory.close()

    def _ask(self, *message: Any) -> list[Any]:
        """Every worker's answer, None from one that has died: the next step replaces it."""
        self._require_waiting(False)
        for worker in self._workers:
            worker.send(*message)
        answers: list[Any] = []
        errors: list[Exception] = []
        for worker in self._workers:
            try:
                answers.append(worker.receive())
            except WorkerDied:
                answers.append(None)
            except Exception as error:  # the first is raised when every answer has been read
                errors.append(error)
        if errors:
            raise errors[0]
        return answers

    def _require_waiting(self, expected: bool) -> None:
        if self._waiting != expected:
            state = "already under way; call step_wait first" if self._waiting else "not under way"
            raise RuntimeError(f"a step is {state}")

    def _begin(self, numbers: Sequence[int | None] | None) -> None:
        """Notes the numbers of the episodes that begin."""
        numbers = [None] * len(self) if numbers is None else list(numbers)
        if len(numbers) != len(self):
            raise ValueError(f"numbers are {numbers}; {len(self)} environments need one each")
        for k, (over, number) in enumerate(zip(self._over, numbers, strict=True)):
            if over:
                self._numbers[k] = None if number is None else checked_number(number)
        if not self._numbered and any(number is not None for number in numbers):
            self._numbered = True  # once is enough
            warnings.warn(
                f"reset of task {self._task!r} takes no number: its episodes are not reproducible",
                RuntimeWarning,
                stacklevel=4,
            )

    def _received(self, k: int) -> Mapping[str, float]:
        """The info of worker k's step; counts the values that were not finite."""
        info, broken = self._workers[k].receive()
        for name in broken:
            if name not in self.broken:
                warnings.warn(
                    f"sensor {name!r} of task {self._task!r} gave a value that is not finite; "
                    "at such steps it counts as missing",
                    RuntimeWarning,
                    stacklevel=4,
                )
            self.broken[name] = self.broken.get(name, 0) + 1
        return info

    def _start(self, k: int) -> Process | Local:
        seed, memory = self._seeds[k], self._memory.fileno()
        if self._renewals[k]:
            seed = [*np.atleast_1d(seed).tolist(), self._renewals[k]]
        if self._processes:
            return Process(memory, k, self._timeout, self._task, seed, self._kwargs)
        return Local(Host(memory, k, self._task, envs.make(self._task, seed=seed, **self._kwargs)))

    def _replace(self, k: int, error: Exception) -> Mapping[str, float]:
        """Starts worker k anew until a first step arrives in its row; returns its info."""
        while True:
            cause = f"{type(error).__name__}: {error}"
            self._failures[k] += 1
            if self._failures[k] > MAX_RESTARTS:
                raise RuntimeError(
                    f"environment worker {k} of task {self._task!r} failed {self._failures[k]} "
                    f"times without progress; the last time with {cause}"
                ) from error
            self.restarts += 1
            warnings.warn(
                f"environment worker {k} of task {self._task!r} is started anew and its episode "
                f"dropped, after {cause}",
                RuntimeWarning,
                stacklevel=4,
            )
            self._workers[k].hang_up()
            self._workers[k].join()
            self._renewals[k] += self._numbers[k] is None  # lest it fails in the same way
            try:
                self._workers[k] = self._start(k)
                self._workers[k].receive()
                self._workers[k].send("reset", self._numbers[k])
                return self._received(k)
            except Exception as next_error:
                error = next_error
