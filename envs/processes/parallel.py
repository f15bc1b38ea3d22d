"""Several copies of one task, each in its own process, stepped as one batch.

A worker is a fresh interpreter with an inherited pipe: ``fork`` is unsafe beside the threads of
JAX, and the spawning of ``multiprocessing`` would import the caller's main module, JAX with it.
Observations, rewards, flags and actions lie in an unnamed file that caller and workers map, so
nothing is left behind however they end; the pipe carries commands and ``info``.
"""

import contextlib
import dataclasses
import mmap
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from typing import Any

import numpy as np

from envs.processes.worker import Host, record, send

MAX_RESTARTS = 5
CLOSE_SECONDS = 5.0

# The workers share the cores; threads inside each would only compete with the other workers.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("LP", "MKL", "OMP", "OPENBLAS")}


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """One time step of each of K environments; the arrays belong to the caller.

    Attributes:
        values: one array a modality, [K, *shape] of its dtype.
        available: one bool array [K] a modality.
        reward: float32 [K].
        is_first, is_last, is_terminal: bool [K], as in ``TimeStep``.
        restarted: bool [K]; the worker was lost and this is the first step of a new episode; the
            episode before it has no end and is to be dropped.
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


class WorkerDied(RuntimeError):
    """A worker's process ended without being asked to."""


class ParallelEnvironments:
    """K environments of one task that step together.

    An environment whose episode has ended is reset by the next ``step``, which ignores its action
    and returns the first step of the new episode; the very first ``step`` does the same.

    A worker that dies or raises is replaced by one with a new seed, derived from its own; the
    unfinished episode is lost, ``Batch.restarted`` says so, and a ``RuntimeWarning`` names the
    worker and the cause.

    Args:
        task: a name that ``envs.make`` knows.
        seeds: one ``seed`` of ``envs.make`` an environment: an int or a sequence of ints.
        processes: False runs the environments in this process, one after the other, where a
            debugger sees them; their exceptions are raised and nothing is restarted.
        **make_kwargs: further arguments of ``envs.make``; they must pickle.

    Attributes:
        modalities, action_size, action_repeat: as in ``Environment``.
        restarts: how many workers had to be replaced so far.

    Raises:
        ValueError: for no seeds. What ``envs.make`` raises is raised here too.
        WorkerDied: when a worker dies while it makes its environment.
    """

    def __init__(
        self, task: str, seeds: Sequence[Any], *, processes: bool = True, **make_kwargs: Any
    ):
        if len(seeds) == 0:
            raise ValueError("seeds is empty; ParallelEnvironments needs one seed an environment")
        self.restarts = 0
        self._task, self._kwargs = task, make_kwargs
        self._seeds = list(seeds)
        self._lives = [0] * len(seeds)
        self._numbers = [None] * len(seeds)
        self._failures = [0] * len(seeds)  # restarts since the last completed step
        self._over = np.ones(len(seeds), bool)  # the next step is a reset
        self._waiting = False
        self._memory = tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self._workers: list[_Process | _Local] = []
        self._kind = _Process if processes else _Local
        try:
            for k in range(len(seeds)):
                self._workers.append(self._start(k))
            specs = [worker.receive() for worker in self._workers]
            self.modalities, self.action_size, self.action_repeat = specs[0]
            layout = record(self.modalities, self.action_size)
            # Written, not only sized: full memory is an error here, not a bus error later.
            self._memory.write(bytes(layout.itemsize * len(seeds)))
            self._memory.flush()
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

    def reset(self, numbers=None) -> Batch:
        """Starts a new episode everywhere; unfinished episodes are dropped."""
        self._require_waiting(False)
        self._over[:] = True
        return self.step(np.zeros((len(self), self.action_size), np.float32), numbers)

    def step(self, actions: np.ndarray, numbers=None) -> Batch:
        """``step_async`` and ``step_wait`` in one."""
        self.step_async(actions, numbers)
        return self.step_wait()

    def step_async(self, actions: np.ndarray, numbers=None) -> None:
        """Sends one action to each environment and returns at once.

        Args:
            actions: float [K, action_size] in [-1, 1].

        Raises:
            ValueError: for actions of another shape.
            RuntimeError: when the step before has not been waited for.
        """
        self._require_waiting(False)
        actions = np.asarray(actions)
        if actions.shape != (len(self), self.action_size):
            raise ValueError(
                f"actions have shape {actions.shape}; {len(self)} environments with "
                f"{self.action_size} action dimensions need {(len(self), self.action_size)}"
            )
        self._rows["action"] = actions
        numbers = numbers or [None] * len(self)
        self._numbers = np.where(self._over, numbers, self._numbers).tolist()
        for worker, over, number in zip(self._workers, self._over, self._numbers, strict=True):
            worker.send(*(("reset", number) if over else ("step",)))
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
                info.append(worker.receive())
            except Exception as error:
                if isinstance(worker, _Local):
                    raise
                lost[k] = error
                info.append({})
            else:
                self._failures[k] = self._failures[k] if self._over[k] else 0
        restarted = np.zeros(len(self), bool)
        for k, error in lost.items():
            info[k] = self._replace(k, error)
            restarted[k] = True
        rows = self._rows
        self._over = rows["is_last"].copy()
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

    def _start(self, k: int) -> "_Process | _Local":
        """Starts worker k; a later life of it has another seed, lest it fails in the same way."""
        seed = self._seeds[k]
        if self._lives[k] and self._numbers[k] is None:
            seed = [*np.atleast_1d(seed).tolist(), self._lives[k]]
        self._lives[k] += 1
        return self._kind(self._memory.fileno(), k, self._task, seed, self._kwargs)

    def _replace(self, k: int, error: Exception) -> Mapping[str, float]:
        """Starts worker k anew until a first step arrives in its row; returns its info."""
        while True:
            cause = f"{type(error).__name__}: {error}"
            self._failures[k] += 1
            if self._failures[k] > MAX_RESTARTS:
                raise RuntimeError(
                    f"environment worker {k} of task {self._task!r} failed {self._failures[k]} "
                    f"times without a completed step; the last time with {cause}"
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
            try:
                self._workers[k] = self._start(k)
                self._workers[k].receive()
                self._workers[k].send("reset", self._numbers[k])
                return self._workers[k].receive()
            except Exception as next_error:
                error = next_error


class _Process:
    """A ``Host`` in a process of its own."""

    def __init__(self, memory: int, index: int, *arguments: Any):
        self._index = index
        self._pipe, theirs = Pipe()
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with theirs:
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-c", "from envs.processes.worker import main; main()"),
                    *(str(theirs.fileno()), str(memory)),
                ],
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
                pass_fds=(theirs.fileno(), memory),
                stdin=subprocess.DEVNULL,
            )
        self.send(index, *arguments)

    def send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # if it has died, receive tells why
            send(self._pipe, message)

    def receive(self) -> Any:
        try:
            succeeded, reply = self._pipe.recv()
        except (EOFError, OSError):
            self.join()
            code = self._child.returncode
            how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
            raise WorkerDied(f"the process of environment {self._index} ended ({how})") from None
        if not succeeded:
            raise reply
        return reply

    def hang_up(self) -> None:
        self._pipe.close()

    def join(self) -> None:
        try:
            self._child.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class _Local:
    """A ``Host`` in this process, behind the same interface; it works when the answer is due."""

    def __init__(self, *arguments: Any):
        self._host = Host(*arguments)
        self._message: tuple[Any, ...] = ("spec",)

    def send(self, *message: Any) -> None:
        self._message = message

    def receive(self) -> Any:
        return self._host.answer(*self._message)

    def hang_up(self) -> None:
        self._host.environment.close()

    def join(self) -> None:
        """Nothing is left to wait for."""
