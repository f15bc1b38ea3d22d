"""A command bound to the process that started it: ``python -m experiments.sweeping.bound MODULE``.

Whoever starts it holds the other end of its standard input and writes nothing. When that end is
closed, as the system does however its holder ends, the command is killed.
"""

import os
import runpy
import signal
import sys
import threading


def _follow() -> None:
    # Not sys.stdin, whose lock the interpreter would wait for at its end.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_follow, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
