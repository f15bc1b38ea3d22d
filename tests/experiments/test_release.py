"""A run given away: a folder that acts, is evaluated and says what it is."""

import numpy as np
import pytest

import mummi
from experiments import evaluate, release, train
from mummi import pretrained
from mummi.runs import parameters
from mummi.runs.record import load as load_run

# An agent of the settings that other tests train.
FLAGS = ["--preset", "debug", "--task", "dummy", "--steps", "1200", "--envs", "1"]
FLAGS += ["--batch-length", "6"]


@pytest.fixture(scope="module")
def logdir(tmp_path_factory, quick_compile):
    logdir = tmp_path_factory.mktemp("release") / "run"
    train.main([*FLAGS, "--evaluate-every", "0", "--logdir", str(logdir)])
    return logdir


def released(logdir, out) -> list[str]:
    told = {
        "command": "python -m experiments.train --task dummy",
        "commit": "abc",
        "limits": "Toy.",
    }
    flags = [word for name, text in told.items() for word in (f"--{name}", text)]
    return ["--logdir", str(logdir), "--out", str(out), *flags]


def test_a_released_agent_is_evaluated_and_loaded_by_its_name(
    logdir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pretrained, "_HERE", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "shipped" / "dummy"
    with pytest.raises(SystemExit):
        release.main(released(logdir, out))
    assert "was not evaluated at step 1200" in capsys.readouterr().err
    asked = ["--missing", "none", "high", "--episodes", "2", "--envs", "1", "--no-agreement"]
    evaluate.main(["--logdir", str(logdir), *asked, "--trust", "on"])
    release.main(released(logdir, out))
    assert pretrained.names() == ["dummy"]
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.yaml", parameters.FILE, "trust",
    ]  # fmt: skip
    assert str(tmp_path) not in (out / "config.yaml").read_text()
    assert str(logdir) not in (out / "config.yaml").read_text()
    card = (out / "README.md").read_text()
    assert "| none, trust | 0 % |" in card or "| none-trust | 0 % |" in card, card
    assert "Toy." in card and "`abc`" in card
    with pytest.raises(SystemExit):
        release.main(released(logdir, out))
    assert "is there already" in capsys.readouterr().err

    evaluate.main(["--pretrained", "dummy", *asked])
    assert (tmp_path / "runs/pretrained/dummy/eval/none.json").is_file()
    assert not (out / "eval").exists()
    policy = mummi.load_policy("pretrained:dummy", trust=True)
    values = {m.name: np.zeros(m.shape, m.dtype) for m in policy.modalities}
    original = mummi.load_policy(logdir)
    assert policy.step == original.step == 1200
    np.testing.assert_allclose(policy(values), original(values), atol=2e-3)


def test_an_agent_that_does_not_come_along_is_named(capsys, monkeypatch, tmp_path):
    (tmp_path / "walker_walk").mkdir()
    (tmp_path / "walker_walk" / "config.yaml").touch()
    monkeypatch.setattr(pretrained, "_HERE", tmp_path)
    with pytest.raises(ValueError, match="no pretrained agent 'walker_wlk'; did you mean 'walker_"):
        mummi.load_policy("pretrained:walker_wlk")
    for flags in ([], ["--pretrained", "walker_walk", "--logdir", "runs/x"]):
        with pytest.raises(SystemExit):
            evaluate.main(flags)
        assert r"--pretrained NAME (walker_walk)" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("name", pretrained.names())
def test_every_agent_that_comes_along_acts_and_says_what_it_is(name):
    folder = pretrained.folder(pretrained.PREFIX + name)
    assert "Limits: " in (folder / "README.md").read_text()
    assert load_run(folder).config.logdir == ""
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2**20
    policy = mummi.load_policy(pretrained.PREFIX + name, trust=(folder / "trust").is_dir())
    action = policy({})
    assert action.shape == (policy.action_size,) and np.isfinite(action).all()
