"""Batches that are prepared on a thread while others are learned from."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Prefetch(Iterator):
    """Prepares the next batches on a thread.

    The thread is ahead of the consumer by up to ``depth + 1`` batches, and so is the random state
    of a replay that it samples: after a resume those batches are drawn anew, not repeated.

    Args:
        sample_fn: returns the next batch, for example
            ``lambda: jax.device_put(replay.sample(50, 50))``.
        depth: number of finished batches that may wait.
    """

    def __init__(self, sample_fn: Callable[[], Any], depth: int = 2):
        self._sample = sample_fn
        self._queue: queue.Queue = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def __next__(self) -> Any:
        """Waits for the next batch.

        Raises:
            StopIteration: when closed.
            Exception: whatever ``sample_fn`` raised; the thread has ended then.
        """
        if self._closed.is_set():
            raise StopIteration
        batch, error = self._queue.get()
        if error is not None:
            self.close()
            raise error
        return batch

    def close(self) -> None:
        """Stops the thread and waits for it; may be called twice."""
        self._closed.set()
        while self._thread.is_alive():
            # A thread that waits at a full queue sees the flag only once there is room.
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.01)
        self._thread.join()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                item = self._sample(), None
            except BaseException as error:
                item = None, error
            self._queue.put(item)
            if item[1] is not None:
                return
