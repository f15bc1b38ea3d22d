"""A request to stop, by Ctrl-C or SIGTERM."""

import os
import signal
import threading


class Stop:
    """Turns the first Ctrl-C or SIGTERM into a request, so that no step is cut in the middle.

    A second Ctrl-C interrupts at once, as without it. In a thread other than the main one, where
    Python delivers no signal, nothing changes.

    Attributes:
        requested: whether there was one.
    """

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "Stop":
        self._before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        if threading.current_thread() is threading.main_thread():
            for number in self._before:
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _handle(self, number, frame) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # Not print: the handler may have interrupted one.
        os.write(2, b"\nstopping with a checkpoint; Ctrl-C again stops at once\n")
