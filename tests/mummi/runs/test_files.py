"""A file is the old one or the new one, whatever happens in between."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from experiments.evaluation import rollout
from mummi.config import Config
from mummi.data import episode
from mummi.imitation import record as imitation
from mummi.runs import files, logger, record
from mummi.runs.files import atomic

ROOT = pathlib.Path(__file__).parents[3]


def test_what_was_written_is_there_whole_and_no_other_file_is(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    for content in ("first", "second, and longer"):
        with atomic(path) as temporary:
            temporary.write_text(content)
            assert temporary.parent == path.parent
        assert path.read_text() == content
    assert os.listdir(path.parent) == ["file.json"]


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), atomic(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("halfway")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError("no such luck")

    path = tmp_path / "file.json"
    path.write_text("old")
    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(OSError, match="no such luck"), atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_bytes_are_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    calls = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda f: (calls.append("fsync"), sync(f)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("replace"), rename(a, b)))
    with atomic(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert calls == ["fsync", "replace"]


KILLED_HALFWAY = """
import os, signal, sys
from mummi.runs.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text("ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_the_middle_leaves_the_old_file_and_the_next_write_goes_on(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED_HALFWAY, str(path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    with atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file.json"]


def save_episode(path):
    episode.save_episode(path, {"reward": np.zeros(3, np.float32)})


WRITERS = {
    "an episode": (episode, save_episode),
    "a run's record": (record, lambda p: record.save(p.parent, record.Run(Config(), (), 1))),
    "an imitation's record": (
        imitation,
        lambda p: imitation.save(p.parent, imitation.Imitation("data.hdf5", settings=Config())),
    ),
    "a film": (logger, lambda p: logger.write_video(p, np.zeros((2, 8, 8, 3), np.uint8), 5)),
    "a result": (rollout, lambda p: rollout.write_json(p, {"mean": 1})),
}


@pytest.mark.parametrize("what", WRITERS)
def test_whoever_replaces_a_file_does_so_in_this_one_way(tmp_path, monkeypatch, what):
    module, write = WRITERS[what]
    written = []

    def watched(path):
        written.append(pathlib.Path(path))
        return atomic(path)

    monkeypatch.setattr(module, "atomic", watched)
    write(tmp_path / "file")
    (path,) = written
    assert path.is_file() and os.listdir(tmp_path) == [path.name]


def test_no_other_code_renames_a_file():
    """Of an own ``os.replace`` somebody would forget the sync, the folder or the left-over file."""
    renames = ("os.replace(", "os.rename(", "temporary.replace(")
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("mummi", "envs", "experiments")
        for path in (ROOT / package).rglob("*.py")
        if any(rename in path.read_text() for rename in renames)
    ]
    assert found == ["mummi/runs/files.py"]
