"""Evaluations again and again, here a few."""

import platform
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from experiments.benchmarks import evaluations
from experiments.benchmarks.evaluations import Arguments, Seen, guarded, main, memory, table


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", ["table_wiping", "walker_stand"])
def test_nothing_dies_and_nothing_is_said(task, capsys):
    main(["--tasks", task, "--count", "2", "--episodes", "3"])
    said = capsys.readouterr().out
    assert f"2/2 {task} ended" in said and "DIED" not in said


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import os; os.abort()", "SIGABRT", "Fatal Python error: Aborted"),
        ("import sys; sys.exit('no')", "exit status 1", "no"),
        ("import sys; print('so', file=sys.stderr)", "ended", "so"),
    ],
)
def test_what_dies_or_speaks_is_shown(monkeypatch, capsys, code, status, said):
    run = subprocess.Popen

    def other(command, **more):
        at = command.index("-m")
        return run([*command[:at], "-c", code], **more)

    monkeypatch.setattr(evaluations, "untrained", lambda task, logdir: logdir.mkdir())
    monkeypatch.setattr(evaluations.subprocess, "Popen", other)
    with pytest.raises(SystemExit) as end:
        main(["--tasks", "dummy", "--count", "1", "--no-guard"])
    assert end.value.code == 1
    shown = capsys.readouterr().out
    assert status in shown and said in shown


@pytest.mark.skipif(platform.machine() != "x86_64", reason="glibc's version of malloc is another")
def test_the_heap_is_checked():
    """A block that is written beyond its end, where nothing else is, kills the process."""
    code = """
import ctypes
find = ctypes.CDLL(None).dlvsym
find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
# As programs are linked to them; by name alone those that check nothing are found.
malloc, free = (find(None, name, b"GLIBC_2.2.5") for name in (b"malloc", b"free"))
block = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(malloc)(20)
ctypes.memset(block + 20, 1, 1)
ctypes.CFUNCTYPE(None, ctypes.c_void_p)(free)(block)
"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env={}).returncode == 0
    child = subprocess.run(command, env=guarded(), capture_output=True)
    assert child.returncode == -signal.SIGABRT and b"invalid pointer" in child.stderr


def test_memory_is_that_of_a_process_and_of_its_largest_child():
    child = "x = bytearray(64 * 2**20); import time; time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    looks = list(memory(subprocess.Popen([sys.executable, "-c", code])))
    assert looks[0] == (0.0, 0.0) and len(looks) > 2
    assert 64 < max(child for _, child in looks) < 100
    assert 0 < max(own for own, _ in looks) < 64


def test_a_row_tells_how_many_died_and_the_memory():
    found = [Seen(0, "", (500.0, 200.0), (510.0, 201.0)), Seen(-6, "x", (400.0, 20.0), (1.0, 2.0))]
    console = Console(width=150)
    with console.capture() as shown:
        console.print(table({"dummy": found}))
    (row,) = [line for line in shown.get().splitlines() if "dummy" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "dummy", "2", "1", "1", "500, 510", "200, 201"
    ]  # fmt: skip


@pytest.mark.parametrize("flag", ["--count", "--episodes"])
def test_none_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        main(["--tasks", "dummy", flag, "0"])
    assert "must be at least one" in capsys.readouterr().err


def test_episodes_are_short():
    assert evaluations.short("walker_stand", "x").action_repeat * evaluations.STEPS == 1000
    assert evaluations.short("table_wiping", "x").env == {"horizon": evaluations.STEPS}
    assert Arguments().count == 100
