"""Retrieval as a library: what it learns, what missing modalities must not change, files."""

from dataclasses import replace

import numpy as np
import pytest

from mummi.imitation.retrieval import Retrieval, RetrievalConfig, StageConfig
from mummi.imitation.retrieval.graph import oracle
from mummi.imitation.retrieval.imputation import block, fit_imputer, impute
from mummi.imitation.retrieval.index import Samples, build_index, node_sets
from mummi.imitation.retrieval.policy import rank_reward
from mummi.imitation.retrieval.retriever import candidate_loss

pytestmark = pytest.mark.usefixtures("quick_compile")

SMALL = StageConfig(
    units=8, epochs=1, rollout=16, updates=1, top_k=4, head_units=4, heads=2, head_epochs=1
)
CONFIG = RetrievalConfig(limit=8, prediction=SMALL, imputation=SMALL)
REGRESSION = replace(CONFIG, task="regression")


def world(seed, number):
    """Two sensors of a point in the plane, one of them noisy, each with numbers that mean nothing.

    The class is the quadrant of the point.
    """
    random = np.random.default_rng(seed)
    point = random.normal(size=(number, 2))
    noise, rest = random.normal(size=(2, number, 2)), random.normal(size=(2, number, 4))
    sharp = np.concatenate([point + 0.2 * noise[0], rest[0]], 1)
    noisy = np.concatenate([point + noise[1], rest[1]], 1)
    label = 2 * (point[:, 0] > 0) + (point[:, 1] > 0)
    return {"sharp": sharp, "noisy": noisy}, point, label


def thirds(number):
    """Availability of which a third misses one sensor, a third the other, a third none."""
    case = np.arange(number) % 3
    return {"sharp": case != 1, "noisy": case != 2}


def slow_neighbours(embeddings, queries, available, k):
    """The k nearest by z-scores and eq. 13, one query at a time."""
    scale = {n: (x.mean(0), x.std(0, ddof=1)) for n, x in embeddings.items()}
    library = {n: (x - scale[n][0]) / scale[n][1] for n, x in embeddings.items()}
    found = []
    for i in range(len(next(iter(queries.values())))):
        terms = [
            np.square(library[n] - (queries[n][i] - scale[n][0]) / scale[n][1]).mean(1)
            for n in library
            if available[n][i]
        ]
        found.append(np.argsort(np.mean(terms, 0), kind="stable")[:k])
    return np.array(found)


def fitted(config=CONFIG, number=40, **missing):
    embeddings, point, label = world(0, number)
    labels = label if config.task == "classification" else point
    return Retrieval(config).fit(embeddings, labels, missing or None)


@pytest.fixture(scope="module")
def classifier():
    return fitted()


@pytest.fixture(scope="module")
def regressor():
    return fitted(REGRESSION)


@pytest.mark.slow
def test_learned_retrieval_beats_uniform_and_nearest_neighbours_with_sensors_missing():
    stage = StageConfig(
        units=32, epochs=20, rollout=64, head_epochs=10, learning_rate=1e-3, top_k=16, head_units=32
    )
    config = RetrievalConfig(
        limit=24, seed_with_truth=False, prediction=stage, imputation=replace(stage, epochs=10)
    )
    embeddings, _, label = world(0, 400)
    queries, _, truth = world(1, 600)
    available = thirds(600)
    retrieval = Retrieval(config).fit(embeddings, label)

    near = slow_neighbours(embeddings, queries, available, 5)
    votes = np.eye(4)[label[near]].sum(1).argmax(1)
    uniform = (label[near] == truth[:, None]).mean()
    nearest, vote = (np.mean(x == truth) for x in (label[near[:, 0]], votes))

    found = retrieval.retrieve(queries, available)
    hard = np.mean(label[found.nodes[:, 0]] == truth)
    soft = np.mean(retrieval.predict(queries, available) == truth)
    print(f"uniform {uniform:.3f} nearest {nearest:.3f} learned {hard:.3f}")
    print(f"vote of five {vote:.3f} fusion head {soft:.3f}")
    assert hard > max(uniform, nearest) + 0.04
    assert soft > max(uniform, nearest, vote)

    rewards = [epoch["validation"] for epoch in retrieval.history["prediction"]["policy"]]
    assert max(rewards) > rewards[0] + 0.05
    ranks = [epoch["reward"] for epoch in retrieval.history["sharp"]["policy"]]
    assert ranks[0] < -0.4 and ranks[-1] > ranks[0] + 0.1


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_what_a_missing_sensor_holds_changes_nothing(classifier, poison):
    queries, _, _ = world(1, 9)
    available = thirds(9)
    spoiled = {n: np.where(available[n][:, None], x, poison) for n, x in queries.items()}
    expected = classifier.retrieve(queries, available)
    for a, b in zip(classifier.retrieve(spoiled, available), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    gone = {"sharp": np.zeros(9, bool)}
    np.testing.assert_array_equal(
        classifier.predict({"noisy": queries["noisy"]}), classifier.predict(queries, gone)
    )


def test_nor_what_it_holds_in_the_library():
    embeddings, _, label = world(0, 40)
    available = {"noisy": np.arange(40) % 4 > 0}
    spoiled = embeddings | {
        "noisy": np.where(available["noisy"][:, None], embeddings["noisy"], np.nan)
    }
    queries, _, _ = world(1, 6)
    first, second = (
        Retrieval(CONFIG).fit(x, label, available).retrieve(queries, thirds(6))
        for x in (embeddings, spoiled)
    )
    np.testing.assert_array_equal(first.output, second.output)
    np.testing.assert_array_equal(first.nodes, second.nodes)


def test_without_any_sensor_there_is_still_a_prediction(classifier):
    queries, _, _ = world(1, 2)
    blind = {name: np.zeros(2, bool) for name in queries}
    found = classifier.retrieve(queries, blind)
    assert np.isfinite(found.output).all() and (found.nodes >= 0).all()
    np.testing.assert_array_equal(found.output[0], found.output[1])


@pytest.mark.parametrize(
    "changes",
    [
        {
            "normalise": False,
            "validation": 0.0,
            "imputation": replace(SMALL, selection="hard", ranking="distance"),
        },
        {"impute": False},
        {
            "prediction": replace(SMALL, selection="hard"),
            "imputation": replace(SMALL, selection="hard", ranking="distance"),
        },
    ],
    ids=["unnormalised", "without-imputation", "hard"],
)
def test_every_ablation_predicts_with_sensors_missing(changes):
    retrieval = fitted(replace(CONFIG, **changes), noisy=np.arange(40) % 4 > 0)
    queries, _, _ = world(1, 9)
    found = retrieval.retrieve(queries, thirds(9))
    assert np.isfinite(found.output).all()
    np.testing.assert_allclose(found.weights.sum(1), 1.0, rtol=1e-5)
    if retrieval.config.prediction.selection == "hard":
        label = world(0, 40)[2]
        np.testing.assert_array_equal(
            retrieval.predict(queries, thirds(9)), label[found.nodes[:, 0]]
        )


def test_ranking_by_distance_and_hard_selection_are_the_nearest_neighbour():
    stage = replace(SMALL, ranking="distance", selection="hard")
    retrieval = fitted(replace(CONFIG, impute=False, prediction=stage))
    embeddings, _, label = world(0, 40)
    queries, _, _ = world(1, 30)
    near = slow_neighbours(embeddings, queries, thirds(30), 1)[:, 0]
    np.testing.assert_array_equal(retrieval.predict(queries, thirds(30)), label[near])


def test_labels_come_back_in_their_own_form(regressor):
    queries, _, _ = world(1, 5)
    assert regressor.predict(queries).shape == (5, 2)
    embeddings, _, label = world(0, 40)
    names = np.array([-2, 7, 11, 90])
    predicted = Retrieval(CONFIG).fit(embeddings, names[label]).predict(queries)
    np.testing.assert_array_equal(predicted, names[fitted().predict(queries)])


def test_hard_regression_gives_labels_of_the_library():
    retrieval = fitted(replace(REGRESSION, prediction=replace(SMALL, selection="hard")))
    queries, point, _ = world(1, 5)
    point = world(0, 40)[1]
    expected = point[retrieval.retrieve(queries).nodes[:, 0]]
    np.testing.assert_allclose(retrieval.predict(queries), expected, rtol=1e-5, atol=1e-6)


def test_a_saved_library_predicts_the_same(regressor, tmp_path):
    regressor.save(tmp_path / "library.npz")
    loaded = Retrieval.load(tmp_path / "library.npz")
    assert loaded.config == regressor.config and loaded.modalities == regressor.modalities
    queries, _, _ = world(1, 9)
    for a, b in zip(
        loaded.retrieve(queries, thirds(9)), regressor.retrieve(queries, thirds(9)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(loaded.predict(queries), regressor.predict(queries))
    assert [path.name for path in tmp_path.iterdir()] == ["library.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other.npz is no file of Retrieval.save"):
        Retrieval.load(path)


def test_the_arrays_of_a_library_are_a_part_of_others(regressor):
    # As a file of arrays keeps them: none without an axis.
    arrays = {name: np.ascontiguousarray(x) for name, x in regressor.arrays().items()}
    again = Retrieval.restored(arrays)
    queries, _, _ = world(1, 9)
    np.testing.assert_array_equal(
        again.predict(queries, thirds(9)), regressor.predict(queries, thirds(9))
    )
    with pytest.raises(ValueError, match="not the arrays of a Retrieval"):
        Retrieval.restored({"mean": np.zeros(3)})


def test_nothing_is_trained_for_what_never_fails_and_it_may_still_be_missing():
    embeddings, _, label = world(0, 40)
    retrieval = Retrieval(CONFIG).fit(embeddings, label, always=["noisy"])
    assert set(retrieval.history) == {"sharp", "prediction"}
    queries, _, _ = world(1, 9)
    complete = retrieval.complete(queries, thirds(9))
    lost = ~thirds(9)["noisy"]
    assert not complete[lost, 6:].any() and complete[~lost, 6:].all()
    assert complete[:, :6].all()
    assert np.isfinite(retrieval.retrieve(queries, thirds(9)).output).all()
    with pytest.raises(ValueError, match="unknown modality 'touch'; there are sharp, noisy"):
        Retrieval(CONFIG).fit(embeddings, label, always=["touch"])


def test_the_policy_minimises_the_losses_that_it_is_given():
    embeddings, point, _ = world(0, 40)
    losses = np.ones((40, 40))
    losses[:, 13] = 0.0
    stage = replace(SMALL, selection="hard", epochs=120, learning_rate=5e-3)
    config = replace(REGRESSION, prediction=stage, impute=False, validation=0.0, limit=40)
    retrieval = Retrieval(config).fit(embeddings, point, losses=losses)
    queries, _, _ = world(1, 30)
    assert (retrieval.retrieve(queries).nodes[:, 0] == 13).mean() > 0.6
    with pytest.raises(ValueError, match=r"losses have shape \(40, 39\); 40 samples have finite"):
        Retrieval(config).fit(embeddings, point, losses=losses[:, 1:])


def test_quantities_that_are_followed_over_time_have_one_scale_each():
    embeddings, _, _ = world(0, 40)
    random = np.random.default_rng(3)
    label = random.normal(size=(40, 5, 2)) * np.array([1.0, 100.0])
    label[:, 0, 0] *= 1e-3
    stage = replace(SMALL, selection="hard", ranking="distance")
    config = replace(REGRESSION, prediction=stage, impute=False)
    retrieval = Retrieval(config).fit(embeddings, label)
    values = retrieval.arrays()["prediction/values"].reshape(40, 5, 2)
    centred = label - label.mean(0)
    scale = np.sqrt(np.square(centred).sum((0, 1)) / (39 * 5))
    np.testing.assert_allclose(values, centred / scale, rtol=1e-4, atol=1e-6)
    nodes = retrieval.retrieve(world(1, 5)[0]).nodes[:, 0]
    np.testing.assert_allclose(
        retrieval.predict(world(1, 5)[0]), label[nodes], rtol=1e-4, atol=1e-4
    )


def normal_samples(number=30, seed=0):
    embeddings, _, _ = world(seed, number)
    x = np.concatenate([(x - x.mean(0)) / x.std(0) for x in embeddings.values()], 1)
    return Samples(x.astype(np.float32), np.ones((number, 2), bool))


def test_the_imputation_oracle_is_found_by_brute_force():
    samples = normal_samples()
    graph = build_index(CONFIG, (6, 6), samples).graph
    sets = node_sets(CONFIG, (6, 6), samples, samples, graph)
    values = samples.embedding[:, block(0, (6, 6))]
    loss = candidate_loss("imputation", values, values, sets.nodes)
    reward = rank_reward(loss, sets.mask)
    for s in range(len(values)):
        members = sets.nodes[s, sets.mask[s]]
        errors = [np.sum((values[s] - values[v]) ** 2) for v in members]
        best = int(np.argmin(errors))
        assert oracle(loss, sets.mask)[s] == best
        assert reward[s, best] == 0.0 and reward[s, int(np.argmax(errors))] == -1.0


def test_only_samples_with_the_modality_donate_and_the_hidden_block_is_never_seen():
    samples = normal_samples()
    samples.available[::3, 0] = False
    samples.embedding[::3, block(0, (6, 6))] = 0.0
    config = replace(CONFIG, imputation=replace(SMALL, selection="hard"))
    imputer = fit_imputer(config, (6, 6), 0, samples, 0)
    donors = samples.embedding[samples.available[:, 0]]
    queries = normal_samples(5, seed=1).without(0, (6, 6))
    assert not queries.embedding[:, block(0, (6, 6))].any()
    filled = impute({0: imputer}, queries, (6, 6))
    for row, other in zip(filled.embedding, queries.embedding, strict=True):
        assert (donors[:, block(0, (6, 6))] == row[block(0, (6, 6))]).all(1).any()
        np.testing.assert_array_equal(row[block(1, (6, 6))], other[block(1, (6, 6))])
    assert filled.available.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tactile": np.zeros((40, 2))}, None),
        ({"noisy": np.zeros((39, 6))}, r"'noisy' has shape \(39, 6\); expected \(40, 6\)"),
        ({"noisy": np.full((40, 6), np.nan)}, r"'noisy' holds numbers that are not finite"),
        ({"noisy": np.zeros(40)}, r"'noisy' has shape \(40,\); expected \(samples"),
    ],
)
def test_embeddings_that_do_not_fit_are_named(classifier, change, message):
    embeddings, _, label = world(0, 40)
    if message is None:
        with pytest.raises(ValueError, match="unknown modality 'tactile'; there are sharp, noisy"):
            classifier.predict(embeddings | change)
        return
    with pytest.raises(ValueError, match=message):
        Retrieval(CONFIG).fit(embeddings | change, label)


def test_labels_and_masks_that_do_not_fit_are_named(classifier):
    embeddings, point, label = world(0, 40)
    with pytest.raises(ValueError, match=r"labels have shape \(39,\) for 40 samples"):
        Retrieval(CONFIG).fit(embeddings, label[1:])
    with pytest.raises(ValueError, match="labels of classification are integers, not float64"):
        Retrieval(CONFIG).fit(embeddings, point[:, 0])
    with pytest.raises(ValueError, match="'noisy' is available in 3 samples; its imputation"):
        Retrieval(CONFIG).fit(embeddings, label, {"noisy": np.arange(40) < 3})
    with pytest.raises(ValueError, match="none of the 34 samples to train on has two candidates"):
        Retrieval(replace(CONFIG, impute=False)).fit(embeddings, np.arange(40))
    with pytest.raises(ValueError, match="availability of 'noisy' is int64"):
        classifier.predict(embeddings, {"noisy": np.ones(40, int)})
    with pytest.raises(RuntimeError, match="call fit or load first"):
        Retrieval(CONFIG).predict(embeddings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StageConfig(head_units=6, heads=4), "multiple of heads 4"),
        (lambda: StageConfig(top_k=0), "top_k 0 must be at least 1"),
        (lambda: RetrievalConfig(validation=1.0), "validation 1.0"),
        (lambda: RetrievalConfig(limit=1), "limit 1 leaves no choice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
