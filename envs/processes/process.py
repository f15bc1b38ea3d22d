"""The caller's side of one worker: in a process of its own, or in this one."""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from typing import IO, Any

from envs.processes.worker import Host, send

CLOSE_SECONDS = 5.0
MAKE_SECONDS = 1800.0
"""Time that a worker has at least to make its environment, which may import and download much."""

# The workers share the cores; threads inside each would only compete with the other workers.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("LP", "MKL", "OMP", "OPENBLAS")}


SHARED = "/dev/shm"
"""Where Linux keeps files in memory."""


def open_memory() -> IO[bytes]:
    """A file without a name, in memory where that can be had, for callers and workers to map."""
    return tempfile.TemporaryFile(dir=SHARED if os.path.isdir(SHARED) else None)


def reserve(memory: IO[bytes], size: int) -> None:
    """Takes the memory that is to be mapped, bytes, so that none is missing later.

    Raises:
        OSError: there is too little of it; with what to do.
    """
    try:
        # Only sized, full memory would be a bus error at the first step.
        os.posix_fallocate(memory.fileno(), 0, size)
    except OSError as error:
        raise OSError(
            f"{SHARED} has no room for the {size / 2**20:.1f} MiB that the environments share "
            f"({error.strerror}): free some of it, enlarge it (docker run --shm-size 1g), or take "
            "fewer environments or smaller pictures"
        ) from error


class WorkerDied(RuntimeError):
    """A worker's process ended without being asked to, or hung and was killed."""


class Process:
    """A ``Host`` in a process of its own.

    Args:
        memory: file descriptor of the shared memory.
        index: the environment's row.
        timeout: seconds that an answer may take.
        *arguments: task, seed and further arguments of ``envs.make``.
    """

    def __init__(self, memory: int, index: int, timeout: float, *arguments: Any):
        self._index, self._timeout = index, timeout
        self._seconds = max(timeout, MAKE_SECONDS)  # for the first answer
        self._cause = ""
        self._pipe, theirs = Pipe()
        self._answered = select.poll()
        self._answered.register(self._pipe.fileno(), select.POLLIN)
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
        """Sends a command of ``Host.answer`` with its argument."""
        with contextlib.suppress(OSError):  # if it has died, receive tells why
            send(self._pipe, message)

    def receive(self) -> Any:
        """Waits for the answer to the last command.

        Raises:
            WorkerDied: the process ended, or did not answer in time, for which it is killed.
            Exception: what the command raised.
        """
        if not self._answered.poll(1000 * self._seconds):
            self._cause = f"gave no answer for {self._seconds:g} s and was killed"
            self._child.kill()
        try:
            succeeded, reply = self._pipe.recv()
        except (EOFError, OSError):
            self.join()
            code = self._child.returncode
            how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
            cause = self._cause or f"ended ({how})"
            raise WorkerDied(f"the process of environment {self._index} {cause}") from None
        self._seconds = self._timeout
        if not succeeded:
            raise reply
        return reply

    def hang_up(self) -> None:
        """Asks the process to end."""
        self._pipe.close()

    def join(self) -> None:
        """Waits until the process has ended, and kills it where it does not."""
        try:
            self._child.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class Local:
    """A ``Host`` in this process, behind the same interface; it works when the answer is due."""

    def __init__(self, host: Host):
        self._host = host
        self._message: tuple[Any, ...] = ("spec",)

    def send(self, *message: Any) -> None:
        """Notes a command of ``Host.answer`` with its argument."""
        self._message = message

    def receive(self) -> Any:
        """Obeys the last command; what it raises is raised."""
        return self._host.answer(*self._message)

    def hang_up(self) -> None:
        """Closes the environment."""
        self._host.environment.close()

    def join(self) -> None:
        """Nothing is left to wait for."""
