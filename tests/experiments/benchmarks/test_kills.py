"""Kills at random moments: what is counted, and one kill of a command that records."""

import os
import pathlib
import sys

import pytest

from experiments.benchmarks import kills
from experiments.benchmarks.kills import Count, Subject

SCRIPT = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
start = len(list(folder.glob("*.txt")))
for number in range(start, start + 3):
    (folder / f"{number}.txt").write_text("whole")
time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """A command that writes three more files each time and then waits to be killed."""
    (tmp_path / "writer.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def texts(folder: pathlib.Path) -> set[str]:
    for path in folder.glob("*.txt"):
        if path.read_text() != "whole":
            raise ValueError(f"{path} is damaged")
    return {path.name for path in folder.glob("*.txt")}


def test_what_is_lost_or_unreadable_after_a_kill_is_counted(writer, monkeypatch):
    spoilt = iter(["lose", "damage", ""])

    def killed(process):
        kill(process)
        what, first = next(spoilt), writer / "0" / "0.txt"
        if what == "lose":
            first.unlink()
        if what == "damage":
            first.write_text("half")

    kill = kills.kill
    monkeypatch.setattr(kills, "kill", killed)
    monkeypatch.setattr(kills, "run", lambda arguments: 2.0)
    subject = Subject(lambda folder: ("writer", str(folder)), texts)
    seen = kills.rounds(subject, iter([1.0, 1.0, 1.0]), writer, 3)
    assert (seen.kills, seen.ends, seen.lost) == (3, 1, 1)
    assert seen.unreadable == 2  # what is damaged stays so


def test_a_command_that_ends_by_itself_begins_anew_and_one_that_fails_is_said(writer):
    subject = Subject(lambda folder: ("timeit", "-n1", "-r1", "pass"), lambda folder: set())
    shares = iter([100.0, 100.0, 0.0])
    assert kills.rounds(subject, shares, writer, 1) == Count(1, 3, 0, 0, 0)
    with pytest.raises(RuntimeError, match="no_such_module ended with status 1"):
        kills.run(("no_such_module",))


def test_too_few_kills_are_refused(capsys):
    with pytest.raises(SystemExit) as end:
        kills.main(["--count", "3"])
    assert end.value.code == 2
    assert "--count is 3; it must be at least 4" in capsys.readouterr().err


def test_the_table_adds_up():
    found = {"a": Count(1, 2, 3, 0, 0), "b": Count(2, 1, 4, 1, 0)}
    assert kills.table(found).row_count == 3
    assert [list(column.cells)[-1] for column in kills.table(found).columns] == (
        ["all", "3", "3", "7", "1", "0"]
    )


@pytest.mark.slow
def test_nothing_is_lost_by_a_few_kills(capsys):
    kills.main(["--count", "8"])
    assert "all" in capsys.readouterr().out
