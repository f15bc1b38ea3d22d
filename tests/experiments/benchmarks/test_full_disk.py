"""A full disk: what is counted, of a command that writes files of its own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from experiments.benchmarks import full_disk

WRITER = """
import pathlib, sys
folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
try:
    for number in range(20):
        path = folder / f"{number}.txt"
        if not path.exists():
            part = folder / "part"
            part.write_bytes(b"whole" * 4000)
            part.rename(path)
except OSError as error:
    if mode == "damages":
        for file in folder.glob("*.txt"):
            file.write_bytes(b"")
    sys.exit("who knows" if mode == "hides" else f"error: {error}")
if mode == "loses":
    (folder / "0.txt").unlink()
"""
COUNT = """
import json, pathlib, random, sys
from experiments.benchmarks import full_disk
from experiments.benchmarks.kills import Subject

def finished(folder):
    found = list(folder.glob("*.txt"))
    if any(not path.read_bytes() for path in found):
        raise ValueError("damaged")
    return {path.name for path in found}

mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
subject = Subject(lambda place: ("writer", str(place), mode), finished)
print(json.dumps(full_disk.rounds(subject, random.Random(1), folder, 2)))
"""


def may_mount() -> bool:
    """Whether this system lets a user have file systems of his own."""
    try:
        return not subprocess.run((*full_disk.NAMESPACE, "true"), capture_output=True).returncode
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_mount(), reason="needs unshare and user namespaces")
@pytest.mark.parametrize(
    ("mode", "said", "lost", "unreadable"),
    [
        *(("loses", 2, 2, 0), ("damages", 2, 0, 2)),
        pytest.param("good", 2, 0, 0, marks=pytest.mark.slow),
        pytest.param("hides", 0, 0, 0, marks=pytest.mark.slow),
    ],
)
def test_what_a_full_disk_costs_is_counted(tmp_path, mode, said, lost, unreadable):
    (tmp_path / "writer.py").write_text(WRITER)
    (tmp_path / "runs").mkdir()
    root = str(pathlib.Path(__file__).parents[3])
    path = os.pathsep.join([str(tmp_path), root, *sys.path])
    command = (*full_disk.NAMESPACE, sys.executable, "-c", COUNT, mode, str(tmp_path / "runs"))
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    seen = full_disk.Seen(*json.loads(process.stdout))
    assert (seen.full, seen.said, seen.lost, seen.unreadable) == (2, said, lost, unreadable)
    assert (seen.finished > 0) == (mode != "damages")


@pytest.mark.parametrize("arguments", [["--commands", "tarin"], ["--count", "0"]])
def test_a_mistake_is_said_before_anything_is_mounted(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        full_disk.main(arguments)
    assert end.value.code == 2
    assert "--commands are of train, collect, imitate, sweep" in capsys.readouterr().err
