"""How this package's commands get their memory."""

import itertools
import os
import sys
from collections.abc import Mapping, Sequence

TUNABLE = "glibc.malloc.hugetlb"


def with_huge_pages(program: Sequence[str], environ: Mapping[str, str]) -> dict[str, str] | None:
    """The environment in which glibc asks the kernel for huge pages; None for nothing to change.

    XLA allocates its buffers on a CPU anew for each call, and the kernel clears every page of
    them when it is first touched: a third of an update for pages of 4 KiB, little for pages of
    2 MiB. glibc can be told only before a process starts.

    Args:
        program: the interpreter and its arguments, as ``sys.orig_argv``. Only commands of this
            package are meant, ``python -m experiments.NAME`` and the installed ``mummi-NAME``.
        environ: as ``os.environ``. What it says of huge pages already stays.
    """
    modules = [name for flag, name in itertools.pairwise(program) if flag == "-m"]
    module = bool(modules) and modules[0].startswith("experiments.")
    script = len(program) > 1 and os.path.basename(program[1]).startswith("mummi-")
    tunables = environ.get("GLIBC_TUNABLES", "")
    if not (module or script) or TUNABLE in tunables:
        return None
    tunables = ":".join(filter(None, [tunables, f"{TUNABLE}=1"]))
    return {**environ, "GLIBC_TUNABLES": tunables}


def restart_with_huge_pages() -> None:
    """Replaces a command of this package that has just begun by itself with huge pages."""
    environ = with_huge_pages(sys.orig_argv, os.environ)
    if environ is not None and sys.platform.startswith("linux"):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
