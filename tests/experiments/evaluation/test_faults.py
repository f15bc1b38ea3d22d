"""The benchmark of lying sensors: its rows, what it says of known results, and a real run."""

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

import mummi
from envs.dummy import Dummy
from experiments import evaluate
from experiments.evaluation import faults
from experiments.evaluation.result import Played, Result
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("quick_compile")

SENSORS = Dummy(image_size=8).modalities


def played(returns, trust=None) -> Result:
    rows = zip(returns, trust or [{}] * len(returns), strict=True)
    return Result(tuple(Played(n, x, 30, 0.0, {}, t) for n, (x, t) in enumerate(rows)))


def test_every_fault_is_played_announced_unannounced_and_with_trust():
    found = faults.faults(SENSORS, 2)
    rows = faults.conditions(found, trust=True)
    assert len(set(rows)) == len(rows) and len({row.file for row in rows}) == len(rows)
    announced = {row.name for row in rows if "announced" in row.name}
    assert announced == {f"{m.name} announced 20" for m in SENSORS}
    assert sum(row.trust for row in rows) == len(found) + 1
    assert not any(row.trust for row in faults.conditions(found, trust=False))
    assert {f.sensor for f in found} == {m.name for m in SENSORS}


def test_no_sensor_that_can_fail_is_said():
    with pytest.raises(ValueError, match="no sensor of this task can fail"):
        faults.faults([], 2)


def test_the_report_is_of_the_episodes_that_all_rows_have():
    (fault,) = [f for f in faults.faults(SENSORS, 2) if (f.sensor, f.name) == ("depth", "frozen")]
    steps = np.ones(30).tolist()
    caught = [1.0] * 23 + [0.1] * 7
    lost = [0.0] * 20 + [None] * 10

    def traces(depth, image):
        return {"depth": depth, "image": image}

    results = {
        faults.HEALTHY: played([10, 12]),
        faults.HEALTHY.trusting(): played(
            [9, 11], [traces(steps, steps), traces(steps, [0.4, *steps[1:]])]
        ),
        fault.announced: played([8, 8, 99]),
        fault.unannounced: played([2, 4]),
        fault.unannounced.trusting(): played(
            [6, 8, 99], [traces(caught, steps), traces(steps, steps), traces(caught, lost)]
        ),
    }
    found = faults.report([fault], results, trust=True)
    assert found["episodes"] == 2
    assert (found["healthy"], found["healthy_trust"]) == (11, 10)
    assert found["kept"] == pytest.approx(3 / 8) and found["kept_trust"] == pytest.approx(7 / 8)
    assert found["false_alarms"] == pytest.approx(1000 / 60)
    (row,) = found["faults"]
    assert (row["announced"], row["unannounced"], row["trust"]) == (8, 3, 7)
    assert row["delay"] == 3 and row["found"] == pytest.approx(2 / 3)
    assert row["others"] == pytest.approx(1000 * 20 / 90)
    without = faults.report([fault], {k: v for k, v in results.items() if not k.trust}, trust=False)
    assert "kept_trust" not in without and without["kept"] == found["kept"]


def test_the_area_is_that_of_mann_and_whitney():
    random = np.random.default_rng(0)
    faulty, healthy = random.integers(0, 5, 40) / 4, random.integers(1, 6, 60) / 4
    expected = mannwhitneyu(healthy, faulty).statistic / (40 * 60)
    assert faults._area(faulty, healthy) == pytest.approx(expected)
    assert faults._area([], healthy) is None


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "trained"
    tiny.run(logdir, "--env.length", "24")
    return logdir


def test_a_run_is_benchmarked_and_its_policy_trusts_by_the_same_thresholds(logdir, capsys):
    with pytest.raises(FileNotFoundError, match="trust was not measured yet"):
        mummi.load_policy(logdir, trust=True)
    arguments = evaluate.Arguments(str(logdir), episodes=1, faults="standard", envs=1)
    results = evaluate.evaluate(arguments)
    found = json.loads((logdir / "faults" / "severity-2.json").read_text())
    count = len(faults.faults(Dummy().modalities, 2))
    assert len(found["faults"]) == count and found["step"] == 400
    assert len(results) == 2 + 4 + 2 * count
    assert (logdir / "faults" / "severity-2.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "kept of the announced score" in said
    row = json.loads((logdir / "faults" / "eval" / "depth-frozen-2-trust.json").read_text())
    assert row["trust"] is True and row["script"]["rules"][0]["rule"] == "frozen"
    assert {len(trust) for trust in row["trust_of_each"][0].values()} == {24}
    # A policy in a loop by hand says the same of every sensor.
    policy, environment = mummi.load_policy(logdir, trust=True), Dummy(length=24, image_size=16)
    assert policy.trust == dict.fromkeys(("image", "depth", "vector", "embedding"), 1.0)
    step = environment.reset()
    policy(step.values)
    assert all(0.0 <= trust <= 1.0 for trust in policy.trust.values())
    assert policy.taken == [name for name, trust in policy.trust.items() if trust >= 0.5]
    assert mummi.load_policy(logdir).trust == dict.fromkeys(policy.trust, 1.0)


def test_thresholds_are_measured_once(logdir, tmp_path):
    flags = ["--logdir", str(logdir), "--missing", "none", "--trust", "on", "--episodes", "1"]
    evaluate.main([*flags, "--out", str(tmp_path)])
    (path,) = (logdir / "trust").iterdir()
    before = path.stat().st_mtime_ns
    evaluate.main([*flags, "--out", str(tmp_path)])
    assert path.stat().st_mtime_ns == before
    assert [row.stem for row in (tmp_path / "eval").iterdir()] == ["none-trust"]


def test_what_is_missing_is_delivered_as_zeros(logdir):
    arguments = evaluate.Arguments(
        str(logdir), missing=("none",), drop=("image",), episodes=1, missing_as_zeros=True
    )
    rows = evaluate.evaluate(arguments)
    assert list(rows) == ["none; as zeros", "without image; as zeros"]
    plain = evaluate.evaluate(evaluate.Arguments(str(logdir), missing=("none",), episodes=1))
    assert rows["none; as zeros"].returns == plain["none"].returns
    content = json.loads((logdir / "eval" / "without-image-as-zeros.json").read_text())
    assert content["missing_as_zeros"] is True and content["dropped"] == ["image"]
