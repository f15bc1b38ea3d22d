"""Commands that end with the process that started them."""

import signal
import subprocess
import sys

BOUND = (sys.executable, "-m", "experiments.sweeping.bound")
SCRIPT = """
import sys
print(__name__, sys.argv[1:], flush=True)
if sys.argv[1:] != ["end"]:
    import time
    time.sleep(600)
sys.exit(3)
"""


def start(folder, *arguments) -> subprocess.Popen:
    (folder / "script.py").write_text(SCRIPT)
    return subprocess.Popen(
        (*BOUND, "script", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": f"{folder}:{':'.join(sys.path)}"},
    )


def test_a_command_is_killed_when_the_other_end_is_closed(tmp_path):
    with start(tmp_path, "go", "on") as child:
        assert child.stdout.readline() == "__main__ ['go', 'on']\n"
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(10) == -signal.SIGKILL


def test_a_command_ends_by_itself_with_its_own_status(tmp_path):
    with start(tmp_path, "end") as child:
        assert child.wait(10) == 3
        assert child.stdout.read() == "__main__ ['end']\n"
