"""The command that serves a run, and the client of the docs in a process without this package."""

import pathlib
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import mummi
from experiments import imitate, inspect, serve
from tests.support import foreign, imitated, lerobot_files, tiny
from tests.support.libero_here import needs_encoder

pytestmark = pytest.mark.usefixtures("quick_compile")

CLIENT = pathlib.Path(__file__).parents[2] / "docs" / "mummi_client.py"
ALONE = ("mummi", "envs", "experiments", "jax")
"""What a robot does not have."""


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "run"
    imitated.untrained(logdir, step=30)
    return logdir


def served(logdir, *flags):
    """A server's process, once it serves, and its address."""
    process = tiny.start("experiments.serve", "--logdir", str(logdir), "--port", "0", *flags)
    line = process.stdout.readline()
    found = re.search(r"serving .*, step \d+, at (ws://127\.0\.0\.1:\d+); Ctrl-C stops", line)
    assert found, line + process.stdout.read()
    return process, found[1]


def ended(process, number) -> str:
    """What a server says that is told to stop."""
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and said.endswith("stopped\n"), said
    return said


def alone(code: str, *arguments: str) -> str:
    """What a program prints in a process that cannot import this package."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({ALONE}))"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", f"{blocked}\n{textwrap.dedent(code)}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


ROBOT = f"""
import runpy
import numpy as np

connected = runpy.run_path({str(CLIENT)!r})["connected"]
with connected(*sys.argv[1:]) as policy:
    sensors = {{
        name: np.full(s["shape"], 0.5).astype(s["dtype"])
        for name, s in policy.metadata["sensors"].items()
    }}
    for step in range(6):
        if step == 2:
            try:
                policy({{"tactil": np.zeros(2)}})
            except ValueError as error:
                print(error)
        missing = "depth" if step % 2 else "none"
        seen = {{name: value for name, value in sensors.items() if name != missing}}
        answer = policy(seen, reset=step == 4)
        print(*answer["taken"], *answer["actions"][0].tolist())
"""


def test_a_robot_without_this_package_is_told_what_load_policy_says(logdir, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    process, url = served(logdir, "--token-file", str(token))
    try:
        lines = alone(ROBOT, url, "secret").splitlines()
    finally:
        said = ended(process, signal.SIGTERM)
    assert re.search(r"left: 6 answered, 1 refused", said)
    assert lines.pop(2).startswith("unknown sensor 'tactil'")
    policy = mummi.load_policy(logdir)
    sensors = {m.name: np.full(m.shape, 0.5).astype(m.dtype) for m in policy.modalities}
    for step, line in enumerate(lines):
        if step == 4:
            policy.reset()
        seen = {name: v for name, v in sensors.items() if not (step % 2 and name == "depth")}
        expected, words = policy(seen), line.split()
        assert words[: len(seen)] == policy.taken == list(seen)
        np.testing.assert_allclose([float(x) for x in words[len(seen) :]], expected, atol=1e-5)


TOLD = f"""
import runpy
import numpy as np

connected = runpy.run_path({str(CLIENT)!r})["connected"]
with connected(*sys.argv[1:]) as policy:
    print(*policy.metadata["instructions"], sep=";")
    sensors = {{
        name: np.full(s["shape"], 0.5).astype(s["dtype"])
        for name, s in policy.metadata["sensors"].items()
    }}
    for sentence in (*policy.metadata["instructions"], "pick the cub"):
        try:
            answer = policy({{**sensors, "instruction": sentence}}, reset=True)
            print(*answer["actions"][0].tolist())
        except ValueError as error:
            print(error)
"""


@needs_encoder
@pytest.mark.slow
def test_a_lerobot_dataset_becomes_a_policy_that_is_told_in_words_what_to_do(tmp_path, capsys):
    data = lerobot_files.dataset(tmp_path / "demos")
    inspect.main(["--data", str(data)])
    assert "instruction: open the drawer (3)" in capsys.readouterr().out
    imitate.main(foreign.flags(tmp_path / "run", data, "bc"))
    process, url = served(tmp_path / "run")
    try:
        sentences, *lines, unknown = alone(TOLD, url).splitlines()
    finally:
        ended(process, signal.SIGTERM)
    known = sentences.split(";")
    assert set(known) == set(lerobot_files.TASKS)
    assert unknown.startswith("unknown instruction 'pick the cub'; did you mean 'pick the cube'?")
    policy = mummi.load_policy(tmp_path / "run")
    sensors = {m.name: np.full(m.shape, 0.5).astype(m.dtype) for m in policy.modalities}
    for sentence, line in zip(known, lines, strict=True):
        policy.reset()
        expected = policy({**sensors, "instruction": sentence})
        np.testing.assert_allclose([float(x) for x in line.split()], expected, atol=1e-5)
    assert lines[0] != lines[1]


def test_the_client_is_a_command_that_shows_what_it_gets(logdir):
    process, url = served(logdir)
    try:
        shown = alone(f"import runpy; runpy.run_path({str(CLIENT)!r}, run_name='__main__')", url)
    finally:
        ended(process, signal.SIGINT)
    first, *rest = shown.splitlines()
    assert "'embedding': {'kind': 'embedding'" in first and "'step': 30" in first
    assert len([line for line in rest if "'actions'" in line]) == 10


def test_the_blocked_process_really_cannot_import_the_package():
    with pytest.raises(AssertionError, match="import of mummi halted"):
        alone("import mummi")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--connections", "0"), "--connections 0 must be at least 1"),
        (("--rate", "0"), "--rate 0.0 must be positive"),
        (("--rate", "inf"), "--rate inf must be positive"),
        (("--port", "-1"), "--port -1 (ports are 0 to 65535)"),
        (("--token-file", "/no/token"), "--token-file /no/token is no file"),
        (("--logdir", "/no/run"), "'/no/run' is no run"),
        (("--trust", "on"), "trust was not measured yet"),
    ],
)
def test_a_mistake_is_one_line(logdir, capsys, flags, said):
    with pytest.raises(SystemExit) as end:
        serve.main(["--logdir", str(logdir), "--port", "0", *flags])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("secret", 0o644, "can be read by others; chmod 600"),
        ("secret", 0o640, "can be read by others"),
        ("\n", 0o600, "one line of printable ASCII"),
        ("one\ntwo", 0o600, "one line of printable ASCII"),
        ("sécret", 0o600, "one line of printable ASCII"),
    ],
)
def test_a_token_is_one_line_that_only_its_owner_reads(tmp_path, content, mode, said):
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(ValueError, match=said):
        serve.read_token(str(path))
    path.write_text(" secret \n")
    path.chmod(0o400)
    assert serve.read_token(str(path)) == "secret"


def test_who_listens_to_all_without_a_token_is_warned(tmp_path):
    flags = ["--logdir", "/no/run", "--port", "0", "--host", "0.0.0.0"]
    with pytest.raises(SystemExit), pytest.warns(UserWarning, match="whoever reaches port"):
        serve.main(flags)
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("secret")
    with pytest.raises(SystemExit):
        serve.main([*flags, "--token-file", str(token)])
