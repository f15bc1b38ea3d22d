"""The run on a rented card: its comparison of precisions, and what is left of a wheel."""

import math
import zipfile

import pytest

from experiments.benchmarks import card


def test_losses_are_compared_by_their_size_and_small_ones_by_one():
    reference = {"loss/kl": 200.0, "loss/value": 1e-4, "gradient/model": 1.0}
    ours = {"loss/kl": 202.0, "loss/value": 3e-4, "gradient/model": 9.0}
    assert card.differences(ours, reference) == pytest.approx({"loss/kl": 0.01, "loss/value": 2e-4})


@pytest.mark.parametrize("ours", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_never_agrees(ours):
    for reference in (1.0, ours):
        assert card.differences({"loss/kl": ours}, {"loss/kl": reference}) == {"loss/kl": math.inf}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("dm_control/__init__.py", True),
        ("dm_control/suite/walker.py", True),
        ("dm_control/suite/common/materials.xml", True),
        ("dm_control/suite/dog_assets/skin.skn", False),
        ("dm_control/utils/rewards.py", True),
        ("dm_control/locomotion/walkers/rat.py", False),
        ("dm_control/mujoco/testing/assets/frame.png", False),
        ("dm_control-1.0.dist-info/METADATA", True),
    ],
)
def test_what_the_suite_imports_stays(name, needed):
    assert card.is_needed(name) == needed


def test_a_trimmed_wheel_records_just_what_it_has(tmp_path):
    path, record = tmp_path / "dm_control-1.0-py3-none-any.whl", "dm_control-1.0.dist-info/RECORD"
    files = ("dm_control/suite/walker.py", "dm_control/locomotion/soccer.py")
    with zipfile.ZipFile(path, "w") as wheel:
        for name in files:
            wheel.writestr(name, f"# {name}")
        wheel.writestr(record, "".join(f"{name},sha256=0,1\n" for name in (*files, record)))
    card.main(["trim", str(path)])
    with zipfile.ZipFile(path) as wheel:
        assert wheel.namelist() == [files[0], record]
        assert wheel.read(files[0]).decode() == f"# {files[0]}"
        assert [line.split(",")[0] for line in wheel.read(record).decode().splitlines()] == [
            files[0], record
        ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [path]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "mujoco-3.whl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mujoco-3\.whl' is no wheel of dm_control"):
        card.trim(tmp_path / "mujoco-3.whl")


@pytest.mark.parametrize(("tolerance", "status"), [("0.05", None), ("0", 3)])
def test_the_exit_status_says_whether_the_precisions_agree(monkeypatch, capsys, tolerance, status):
    rates = {"off": ({"loss/kl": 2.0}, 10.0, 0.5), "on": ({"loss/kl": 2.02}, 25.0, 1.25)}
    monkeypatch.setattr(card, "measure", lambda config, repeats: rates[config.bfloat16])
    arguments = ["check", "--preset", "debug", "--tolerance", tolerance]
    if status is None:
        card.main(arguments)
    else:
        with pytest.raises(SystemExit) as stopped:
            card.main(arguments)
        assert stopped.value.code == status
    said = capsys.readouterr().out
    assert "0.01" in said and "25" in said and "1.25" in said
    assert ("differs by more than" in said) == bool(status)
