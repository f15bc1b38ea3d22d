"""What all tests share; runs before any of them imports jax."""

import contextlib
import ctypes
import gc
import os
import pathlib
import sys

import hypothesis
import pytest

CACHE = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"
LARGE = 2 * 2**30
"""Bytes of memory from which a test process gives up what it compiled."""

# Several test processes may share one accelerator, and each would reserve most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# A core for each test process: two that share two cores wait for each other's threads.
if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    _cores, _workers = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if 1 < _workers <= len(_cores):
        os.sched_setaffinity(0, _cores[int(os.environ["PYTEST_XDIST_WORKER"][2:]) :: _workers])

# Compilers allocate and free so much that asking the system for it each time takes a twentieth of
# the time; the processes that tests start keep it.
for _kept in ("TOP_PAD", "TRIM_THRESHOLD", "MMAP_THRESHOLD"):
    os.environ.setdefault(f"MALLOC_{_kept}_", str(2**26))

# Where in the source an operation comes from, which XLA's messages would tell.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# What one test has compiled another loads, also in the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# A program of the tests runs for milliseconds and takes seconds to compile. XLA's older code for
# element-wise operations, and one module for LLVM instead of 32, take a fifth of that.
COMPILE_FAST = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {COMPILE_FAST}".strip()

# Tracing makes objects by the hundred thousand that live on; looking through them for garbage as
# often as Python does by itself takes a seventh of the time of such a test.
gc.set_threshold(100_000, 20, 50)

# The first example of a property compiles, so no deadline fits; the same examples every run.
hypothesis.settings.register_profile("mummi", deadline=None, derandomize=True)
hypothesis.settings.load_profile("mummi")


def pytest_sessionstart(session):
    """Chooses the OpenGL backend once, for this process and all that the tests start.

    MuJoCo settles on one at its import, whichever test file brings that first.
    """
    from envs.rendering import gl

    with contextlib.suppress(ImportError):
        gl.choose()


def pytest_collection_finish(session):
    """What was imported stays, so that no collection of garbage looks through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def share_compiled():
    """What one agent, or head, has traced and compiled serves all of the same settings."""
    from tests.support.shared import shared_agents, shared_functions

    with shared_agents(), shared_functions():
        yield


@pytest.fixture(scope="session", autouse=True)
def share_contexts():
    """Contexts of OpenGL serve one environment after another."""
    try:
        import envs.rendering.renderer  # noqa: F401
    except ImportError:  # without OpenGL
        yield
        return
    from tests.support.rendered import shared_contexts

    with shared_contexts():
        yield


@pytest.fixture(scope="session", autouse=True)
def environments_here():
    """Environments run in the test's own process: a worker takes seconds to start.

    Tests of the workers ask for ``workers``; commands that tests start have them as users do.
    """
    with pytest.MonkeyPatch.context() as patch:
        _set_processes(patch, False)
        yield


@pytest.fixture
def workers(environments_here):
    """Each environment has a process of its own, as outside of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        _set_processes(patch, True)
        yield


def _set_processes(patch: pytest.MonkeyPatch, processes: bool) -> None:
    from envs.processes.parallel import ParallelEnvironments

    patch.setitem(ParallelEnvironments.__init__.__kwdefaults__, "processes", processes)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled():
    """Frees what was compiled once the process is large: it would grow to many gigabytes."""
    yield
    resident = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    if "jax" in sys.modules and resident * os.sysconf("SC_PAGE_SIZE") > LARGE:
        sys.modules["jax"].clear_caches()
        # Without this the process keeps what was freed.
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module")
def quick_compile():
    """Halves the time that XLA compiles; for modules whose arrays are small."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
