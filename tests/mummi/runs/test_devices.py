"""An update on eight devices, or on two processes, is that on one device; and so is a run."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from experiments import train
from mummi.data.episode import load_episode
from mummi.runs import devices
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import read_metrics
from mummi.training.start import replay_folders
from tests.support import sharded, tiny

pytestmark = pytest.mark.usefixtures("quick_compile")

ROOT = pathlib.Path(__file__).parents[3]


def start(arguments: list[str], count: int = 1) -> subprocess.Popen:
    """A Python process that sees ``count`` devices, its output piped."""
    settings = {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> list[str]:
    """What processes said that all end well; they are ended when one does not."""
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def coordinator() -> str:
    """An address of this machine with a free port."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def on_one_device():
    return sharded.updates(None)


def assert_same(found: dict, expected: list) -> None:
    """The metrics of two updates are equal to rounding, those of the second to more of it."""
    for other, row, rtol in zip(found["metrics"], expected, (1e-4, 1e-2), strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert other[name] == pytest.approx(value, rel=rtol, abs=rtol / 10), name


def test_eight_devices_update_as_one_does(tmp_path, on_one_device):
    out = tmp_path / "eight.json"
    finish(start([str(ROOT / "tests/support/sharded.py"), "8", str(out)], count=8))
    found = json.loads(out.read_text())
    assert found["devices"] == 8
    assert found["windows"] == [[(2 * b + t) % 20 for t in range(7)] for b in range(8)]
    assert_same(found, on_one_device)


def test_two_processes_of_two_devices_update_as_one_device_does(tmp_path, on_one_device):
    address, outs = coordinator(), [tmp_path / "0.json", tmp_path / "1.json"]
    program = [str(ROOT / "tests/support/sharded.py"), "2"]
    finish(
        *(
            start([*program, str(out), address, "2", str(index)], count=2)
            for index, out in enumerate(outs)
        )
    )
    first, second = (json.loads(out.read_text()) for out in outs)
    assert first == second and first["devices"] == 4
    assert_same(first, on_one_device)


@pytest.mark.slow  # an update of two processes is tested above, and a run of one by all others
@pytest.mark.timeout(600)
def test_a_run_of_two_processes_makes_the_updates_of_one_and_one_process_resumes_it(tmp_path):
    settings = tiny.config(tmp_path, "--steps", "400", "--envs", "2")
    address = coordinator()
    program = ["-m", "experiments.train", *tiny.flags(tmp_path, "--steps", "400", "--envs", "2")]
    said = finish(
        *(
            start([*program, "--coordinator", address, "--processes", "2", "--process", index])
            for index in "01"
        )
    )
    assert "updates" in said[0] and "updates" not in said[1]
    rows = [row for row in read_metrics(tmp_path) if "updates" in row]
    assert (rows[-1]["step"], rows[-1]["updates"]) == (400, tiny.target_updates(settings))
    assert Checkpointer(tmp_path / "checkpoints").latest_step() == 400
    # Four environments, two of each process, share the 400 steps and none is like another.
    noise = set()
    for folder in replay_folders(tmp_path)[0], replay_folders(tmp_path, 1)[0]:
        paths = list(folder.iterdir())
        assert len(paths) == 4
        noise |= {load_episode(path)["values/embedding"].tobytes() for path in paths}
    assert len(noise) == 8
    # One process would forget what the second recorded, so it goes on only when that is elsewhere.
    with pytest.raises(ValueError, match=r"replay-1 would be forgotten. Start 2 processes"):
        tiny.run(tmp_path, "--steps", "480", "--envs", "2")
    (tmp_path / "replay-1").rename(tmp_path.with_name("elsewhere"))
    longer = tiny.run(tmp_path, "--steps", "480", "--envs", "2")
    rows = [row for row in read_metrics(tmp_path) if "updates" in row]
    assert (rows[-1]["step"], rows[-1]["updates"]) == (480, tiny.target_updates(longer))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--devices 2", "devices is 2; a process has 1"),
        ("--devices -1", "devices is -1; a process has 1"),
        ("--processes 2", "processes is 2, but no coordinator HOST:PORT is given"),
        ("--coordinator here", "coordinator is 'here'; it must be HOST:PORT, or auto"),
        ("--coordinator a:1 --processes 2 --process 2", "process is 2; of 2 it must be 0 to 1"),
    ],
)
def test_devices_and_processes_that_are_not_there_are_refused(tmp_path, capsys, flags, said):
    with pytest.raises(SystemExit) as end:
        train.main(tiny.flags(tmp_path, *flags.split()))
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_is_not_there_is_said():
    process = start(["-c", "from mummi.runs import devices; devices.connect('auto', 1, 0)"])
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "RuntimeError: coordinator is auto, but no cluster was found" in said


def test_the_devices_must_divide_the_batch_and_by_default_do():
    with pytest.raises(ValueError, match="50 sequences cannot be split evenly between 8 devices"):
        devices.share(8, 8, 1, 50)
    assert devices.share(5, 8, 1, 50) == 5
    assert devices.share(0, 8, 1, 50) == 5
    assert devices.share(0, 8, 2, 64) == 8
    with pytest.raises(ValueError, match="between 1 devices of each of 3 processes"):
        devices.share(0, 8, 3, 50)
    assert devices.data_mesh(0, 50).size == 1
