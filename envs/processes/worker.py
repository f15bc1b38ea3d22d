"""The side of ``parallel`` that holds an environment; its processes import neither JAX nor the
caller's main module."""

import contextlib
import mmap
import pickle
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import envs
from mummi.modality import Modality


def record(modalities: Sequence[Modality], action_size: int) -> np.dtype:
    """What one environment and its caller share, as a structured dtype.

    Fields: action float32 [action_size]; reward float32; is_first, is_last, is_terminal bool;
    available and values with one field a modality.
    """
    flags = [(name, np.bool_) for name in ("is_first", "is_last", "is_terminal")]
    available = np.dtype([(m.name, np.bool_) for m in modalities])
    values = np.dtype([(m.name, m.dtype, m.shape) for m in modalities], align=True)
    fields = [("action", np.float32, (action_size,)), ("reward", np.float32), *flags]
    return np.dtype([*fields, ("available", available), ("values", values)], align=True)


class Host:
    """One environment and its row in the shared memory.

    Args:
        memory: file descriptor of the shared memory, of any size until the first step.
        index: the environment's row.
        task, seed, kwargs: arguments of ``envs.make``.
    """

    def __init__(self, memory: int, index: int, task: str, seed: int, kwargs: Mapping[str, Any]):
        self._memory = memory
        self._index = index
        self._row = self._available = None
        self._values: dict[str, np.ndarray] = {}
        self._task, self._seed, self._kwargs = task, seed, kwargs
        self.environment = envs.make(task, seed=seed, **kwargs)

    def answer(self, command: str, argument: Any = None) -> Any:
        """Obeys ``spec``, ``reset``, ``step``, ``truth``, ``physics_state``, ``expert_action`` or
        ``render``.

        The argument of ``render`` is the size, that of ``reset`` the episode's number.

        Raises:
            ValueError: ``expert_action`` of a task that has no expert.
        """
        if command == "spec":
            env = self.environment
            return env.modalities, env.action_size, env.action_repeat
        if command == "render":
            return self.environment.render(argument)
        if command == "truth":
            return self.environment.truth()
        if command == "physics_state":
            return getattr(self.environment, "physics_state", lambda: None)()
        if command == "expert_action":
            if not hasattr(self.environment, "expert_action"):
                raise ValueError(f"task {self._task!r} has no scripted expert")
            return self.environment.expert_action()
        if command == "reset" and argument is not None:
            self.environment.close()
            seed = [*np.atleast_1d(self._seed).tolist(), argument]
            self.environment = envs.make(self._task, seed=seed, **self._kwargs)
        return self._advance(command)

    def _advance(self, command: str) -> dict[str, float]:
        if self._row is None:
            layout = record(self.environment.modalities, self.environment.action_size)
            self._row = np.frombuffer(mmap.mmap(self._memory, 0), layout)[self._index]
            self._values = {name: self._row["values"][name] for name in layout["values"].names}
            self._available = self._row["available"]
        row = self._row
        if command == "reset":
            step = self.environment.reset()
        else:
            step = self.environment.step(row["action"].copy())
        for name in ("reward", "is_first", "is_last", "is_terminal"):
            row[name] = getattr(step, name)
        for name, value in self._values.items():
            self._available[name] = step.available[name]
            value[...] = step.values[name]
        return dict(step.info)


def main() -> None:
    """Serves one environment over an inherited pipe until the other end of it is closed.

    Arguments on the command line: file descriptors of the pipe and of the shared memory.
    """
    # The caller decides what Ctrl-C means; it closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, memory = Connection(int(sys.argv[1])), int(sys.argv[2])
    host = None
    # When the caller is gone, even by SIGKILL, its end of the pipe is closed.
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            data = pipe.recv_bytes()
            try:
                message = pickle.loads(data)
                if host is None:
                    host = Host(memory, *message)
                    reply = host.answer("spec")
                else:
                    reply = host.answer(*message)
            except Exception as error:
                send(pipe, (False, _portable(error)))
            else:
                send(pipe, (True, reply))
    if host is not None:
        host.environment.close()


def send(pipe: Connection, message: Any) -> None:
    """Sends what ``pipe.recv`` returns.

    ``pipe.send`` prepares a pickler for sockets and the like at every message; none is sent here.
    """
    pipe.send_bytes(pickle.dumps(message))


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, or a RuntimeError if it does not pickle."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
