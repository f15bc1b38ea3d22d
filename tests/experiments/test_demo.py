"""What the demo shows before it trains."""

from envs.failures.script import load_script
from experiments import demo, evaluate
from mummi import pretrained


def test_the_demo_shows_an_agent_of_the_package_whose_depth_camera_freezes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(evaluate, "evaluate", asked.append)
    demo.show()
    folder = str(pretrained.folder("pretrained:walker_walk"))
    assert all(a.logdir == folder and a.out == "runs/pretrained/walker_walk" for a in asked)
    off, on = ([load_script(name).name for name in a.missing] for a in asked)
    assert (off, on) == (["none", "high", "frozen_depth"], ["frozen_depth"])
    assert [a.trust for a in asked] == ["off", "on"] and all(a.video for a in asked)
    (rule,) = load_script(demo.FROZEN).to_dict()["rules"]
    assert (rule["rule"], rule["modality"], rule["start"]) == ("frozen", "depth", 10)
