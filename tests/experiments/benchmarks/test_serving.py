"""The server in use for long, here for seconds."""

import json

import pytest

from experiments.benchmarks import serving
from tests.support import imitated

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.slow
def test_a_robot_is_answered_while_another_misbehaves(tmp_path, capsys):
    imitated.untrained(tmp_path / "run", step=30)
    out = tmp_path / "out" / "soak.json"
    flags = ["--logdir", str(tmp_path / "run"), "--minutes", "0.1", "--rate", "20"]
    serving.main([*flags, "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["answers"] == 120 and found["minutes"] == 0.1
    assert found["mischiefs of another robot"] > len(serving.MISCHIEFS)
    assert 0 < found["of it the server, ms, p50"] < found["round trip, ms, p50"]
    assert found["round trip, ms, p50"] <= found["round trip, ms, p99"] < 1000
    assert 0 < found["server's memory, MiB, end"] <= found["server's memory, MiB, most"]
    assert "0.1 minutes at 20 Hz" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--minutes", "--rate"])
def test_a_time_that_is_not_positive_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        serving.main(["--logdir", "run", flag, "0"])
    assert "must be positive" in capsys.readouterr().err


def test_a_server_that_does_not_start_says_why(tmp_path, capsys):
    with pytest.raises(SystemExit):
        serving.main(["--logdir", str(tmp_path / "none"), "--minutes", "0.1"])
    assert "did not start: error:" in capsys.readouterr().err
