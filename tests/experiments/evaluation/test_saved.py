"""The files of evaluations: what is damaged is neither overwritten nor averaged."""

import json

import pytest

from experiments.evaluation import saved
from experiments.evaluation.conditions import Condition
from experiments.evaluation.result import Played, Result
from experiments.plot import untrained_return
from experiments.report.scores import find
from tests.support import evaluated

NONE = Condition("none", "none")
COMMON = {
    "task": "walker_walk", "method": "mummi", "seed": 0, "evaluation_seed": 0, "step": 1000,
    "background": "natural",
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """The file of a run's only evaluation."""
    config = evaluated.make_run(tmp_path / "run")
    assert {name: getattr(config, name) for name in ("task", "method", "background")} == {
        name: COMMON[name] for name in ("task", "method", "background")
    }
    evaluated.score(tmp_path / "run", [1.0, 2.0])
    return tmp_path / "run" / "eval" / "none.json"


def changed(**entries):
    return lambda text: json.dumps(json.loads(text) | entries)


DAMAGES = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[1, 2]",
    "a row short": changed(returns=[1.0]),
    "no number": changed(returns=["x", 2.0]),
    "no list": changed(returns=3.0),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_and_left_as_it_is(path, damage):
    files = saved.Files(path.parents[1], COMMON)
    assert files.held(NONE).returns == [1.0, 2.0]
    path.write_text(damage(path.read_text()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"none.json is damaged .*remove it and evaluate"):
        files.held(NONE)
    with pytest.raises(ValueError, match=r"none.json is damaged"):
        files.save(NONE, Result((Played(7, 1.0, 5, 0.0, {}),)))
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [*list(DAMAGES.values())[:3], *list(DAMAGES.values())[4:]])
def test_tables_refuse_it(path, damage):
    assert find([str(path.parents[1])])[0].scores[0].returns == (1.0, 2.0)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"none.json is damaged"):
        find([str(path.parents[1])])


def test_a_damaged_file_is_not_complete(path):
    assert saved.holds(path, COMMON, [0, 1])
    path.write_text("{")
    assert not saved.holds(path, COMMON, [0, 1])
    assert not saved.holds(path.with_name("other.json"), COMMON, [0])


def test_a_number_that_is_none_is_named(tmp_path):
    assert untrained_return(tmp_path, "random") is None
    path = tmp_path / "eval" / "random-policy.json"
    path.parent.mkdir()
    for content in ('{"mean": "x"}', "{}", "{"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"random-policy.json is damaged"):
            untrained_return(tmp_path, "random")
