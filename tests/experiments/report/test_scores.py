"""Which runs may stand in one table."""

import pytest

from experiments.report.scores import comparable, find
from tests.support.evaluated import make_imitated, score


def made(folder, **heads):
    """Evaluated runs, and what they share."""
    for head, changes in heads.items():
        make_imitated(folder / head, head, **changes)
        score(folder / head, [1.0])
    return comparable(find([str(folder)], heads=True))


def test_a_run_without_a_world_model_stands_beside_those_of_any_one(tmp_path):
    own = made(tmp_path / "own", disdp={})
    assert "world model" not in own
    both = made(tmp_path / "both", disdp={}, bc={"method": "cvrl"})
    assert both == f"{own}, world model cvrl"
    with pytest.raises(ValueError, match=r"runs of 2 kinds .* world model cvrl .* world model mum"):
        made(tmp_path / "models", disdp={}, bc={"method": "cvrl"}, knn={})
    with pytest.raises(ValueError, match=r"runs of 2 kinds .* missing in training: none"):
        made(tmp_path / "missing", disdp={"missing": "none"}, bc={})
