"""Freed memory is used again: page faults are counted in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
import numpy as np
from experiments.allocation import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=lambda: np.ones(100_000_000, np.uint8).sum())
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_large_arrays_touch_no_new_pages():
    default, kept = (
        int(subprocess.check_output([sys.executable, "-c", PROGRAM, how]))
        for how in ("default", "kept")
    )
    # NumPy asks for huge pages, of which 100 MB are about 50.
    assert kept < 0.2 * default
