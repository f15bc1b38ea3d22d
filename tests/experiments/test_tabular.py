"""Tables with blocks missing: blocks, masks, the plain baseline, and the whole command."""

import json

import numpy as np
import pytest
from sklearn import datasets
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from experiments import tabular


def test_the_quarters_of_digits_are_those_of_the_picture():
    data = tabular.load("digits")
    picture = datasets.load_digits().images
    quarters = data.split(data.columns)
    assert list(quarters) == ["upper left", "upper right", "lower left", "lower right"]
    halves = slice(0, 4), slice(4, 8)
    for block, (rows, columns) in zip(
        quarters.values(), [(r, c) for r in halves for c in halves], strict=True
    ):
        np.testing.assert_array_equal(block.reshape(-1, 4, 4), picture[:, rows, columns])


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes", "digits"])
def test_blocks_are_all_columns(name):
    data = tabular.load(name)
    assert sum(data.blocks.values()) == data.columns.shape[1]
    assert data.classes == (name != "diabetes")


def test_blocks_are_missing_at_the_rate_and_one_always_stays():
    available = tabular.availability(20_000, 4, 0.5, np.random.default_rng(0))
    assert available.any(1).all()
    # Of the rows in which all would be missing, one in 16, one of four blocks is given back.
    assert 1 - available.mean() == pytest.approx(0.5 - 1 / 16 / 4, abs=0.01)
    assert tabular.availability(50, 3, 0.0, np.random.default_rng(0)).all()


@pytest.mark.parametrize(("name", "kind"), [("wine", KNeighborsClassifier),
                                            ("diabetes", KNeighborsRegressor)])  # fmt: skip
def test_with_nothing_missing_the_fair_neighbours_are_those_of_weighted_columns(name, kind):
    data = tabular.load(name)
    learned, queries = data.columns[::2], data.columns[1::2]
    labels = data.labels[::2]
    available = np.ones((len(queries), len(data.blocks)), bool)
    found = tabular.nearest(data, learned, labels, queries, available)
    width = np.sqrt(np.repeat(list(data.blocks.values()), list(data.blocks.values())))
    scale = StandardScaler().fit(learned)
    model = kind(tabular.NEIGHBOURS).fit(scale.transform(learned) / width, labels)
    expected = model.predict(scale.transform(queries) / width)
    assert np.mean(np.isclose(found, expected)) > 0.97  # ties


def test_scores():
    wine, diabetes = tabular.load("wine"), tabular.load("diabetes")
    assert tabular.score(wine, np.array([0, 1, 1]), np.array([0, 1, 2])) == pytest.approx(200 / 3)
    truth = np.array([1.0, 3.0])
    assert tabular.score(diabetes, truth, truth) == 100
    assert tabular.score(diabetes, np.array([2.0, 2.0]), truth) == 0


@pytest.mark.slow
def test_the_command_compares_every_method(tmp_path, capsys):
    out = tmp_path / "numbers.json"
    flags = ["--data", "wine", "--missing", "0", "0.5", "--seeds", "0", "1", "--epochs", "2"]
    tabular.main([*flags, "--rows", "90", "--out", str(out)])
    scores = json.loads(out.read_text())["scores"]["wine"]
    assert len(scores) == 2
    methods = {"SimpleImputer, k-NN", "KNNImputer, k-NN", "IterativeImputer, k-NN"}
    methods |= {"modality-fair k-NN", "retrieval, first", "retrieval, fused"}
    for row in scores:
        assert set(row) == methods
        assert all(set(by_rate) == {"0", "0.5"} for by_rate in row.values())
        assert row["KNNImputer, k-NN"]["0"] > 80
    assert "50 % missing" in capsys.readouterr().out


def test_what_makes_no_sense_is_refused(capsys):
    for flags, said in (
        (["--missing", "1"], "--missing has 1.0"),
        (["--rows", "3"], "--rows 3 must be at least 20"),
    ):
        with pytest.raises(SystemExit):
            tabular.main(flags)
        assert said in capsys.readouterr().err
