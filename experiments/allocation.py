"""How this process's memory is allocated."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Numbers of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Lets glibc keep what is freed for what is allocated next, for the rest of the process.

    XLA allocates its buffers on a CPU anew for each call. By default large ones come from the
    kernel and go back to it each time, and the kernel clears every page of them when it is first
    touched: a third of the time of an update on LIBERO's pictures. They come from one heap
    instead, which grows to what is needed at most and does not shrink.

    Returns:
        Whether it is so; elsewhere than on glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    return all(mallopt(name, value) == 1 for name, value in settings)
