"""Retrieval as a head: what is played, selected, compared and aligned."""

import dataclasses

import jax
import numpy as np
import pytest

from mummi.imitation.heads import outcomes
from mummi.imitation.heads.head import Percept, Sizes, Trajectory
from mummi.imitation.heads.outcomes import Outcome
from mummi.imitation.heads.replay import RandomReplay, ReplayConfig
from mummi.imitation.heads.retrieval import MOMENT, RetrievalHead, RetrievalHeadConfig
from mummi.imitation.retrieval import RetrievalConfig, StageConfig
from mummi.modality import Modality
from tests.support.demonstrated import (
    FIRST,
    KEY,
    SIZES,
    act_along,
    at,
    demonstrations,
    fitted,
    percept,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

NEAREST = StageConfig(ranking="distance", selection="hard")
"""No policy and no head: nothing to train."""
PLAIN = RetrievalConfig(task="regression", validation=0.0, prediction=NEAREST, imputation=NEAREST)


def retrieved(config, rows, seen):
    """Actions of one robot with a head that was saved and restored."""
    head = fitted(RetrievalHead, config, rows)
    again = RetrievalHead(config, SIZES)
    again.restore(head.arrays())
    return act_along(again, seen)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_retrieval_plays_the_demonstration_that_the_first_observation_is_of(task):
    rows = demonstrations()
    if task == "classification":
        # Labels are identities, and only copies of a demonstration share one.
        rows = [t for t in rows for _ in range(2)]
    config = RetrievalHeadConfig(retrieval=dataclasses.replace(PLAIN, task=task))
    for which in (1, 4):
        # Later observations are those of another demonstration: in open loop nobody looks.
        path = [at(rows[which], 0), *(at(rows[0], t) for t in range(1, 5)), at(rows[0], 4)]
        seen = retrieved(config, rows, path)
        np.testing.assert_array_equal(seen, [*rows[which].action, [0.0, 0.0]])


def test_action_sequences_are_retrieved_from_each_demonstration_once():
    rows = demonstrations()
    late = [Trajectory(jax.tree.map(lambda x: x + 1, t.percept), t.action) for t in rows]
    config = RetrievalHeadConfig(retrieval=PLAIN)
    head, plain = (fitted(RetrievalHead, config, demos) for demos in ([*rows, *late], rows))
    assert len(head.arrays()["length"]) == len(rows)
    seen, expected = (h.retrieval.predict(rows[2].percept.embeddings) for h in (head, plain))
    np.testing.assert_allclose(seen, expected)


def test_what_a_missing_sensor_says_is_ignored():
    rows = demonstrations()
    true, false = (at(rows[i], 0) for i in (2, 5))
    liar = {"near": true.embeddings["near"], "far": false.embeddings["far"]}
    for garbage in (liar, liar | {"far": np.full((1, 3), np.nan, np.float32)}):
        seen = percept(embeddings=garbage, available={"far": np.array([False])})
        played = retrieved(RetrievalHeadConfig(retrieval=PLAIN), rows, [seen])
        np.testing.assert_array_equal(played[0], rows[2].action[0])


def test_in_closed_loop_it_looks_again_and_plays_what_was_done_at_that_moment():
    rows = demonstrations(steps=6)
    config = RetrievalHeadConfig(research_every=2, retrieval=PLAIN)
    path = [at(rows[which], t) for t, which in enumerate((1, 1, 3, 0, 0, 0))]
    seen = retrieved(config, rows, path)
    expected = [*rows[1].action[:2], *rows[3].action[2:4], *rows[0].action[4:]]
    np.testing.assert_array_equal(seen, expected)


def test_what_is_played_in_open_loop_is_what_was_executed():
    rows = [t._replace(executed=t.action + 2) for t in demonstrations(steps=4)]
    assert (demonstrations()[0].recording == demonstrations()[0].action).all()
    plain = RetrievalHeadConfig(retrieval=PLAIN)
    path = [at(rows[3], t) for t in range(4)]
    np.testing.assert_array_equal(retrieved(plain, rows, path), rows[3].executed)
    # In closed loop the next search answers for what happened.
    again = dataclasses.replace(plain, research_every=2)
    np.testing.assert_array_equal(retrieved(again, rows, path), rows[3].action)
    replay = fitted(RandomReplay, ReplayConfig(), rows)
    action, _ = replay.act(replay.reset(1), path[0], FIRST, KEY)
    assert action[0].tolist() in [t.executed[0].tolist() for t in rows]


def test_fused_plays_what_the_library_predicts():
    rows = demonstrations()
    config = RetrievalHeadConfig(play="fused", retrieval=PLAIN)
    seen = retrieved(config, rows, [at(rows[3], t) for t in range(5)])
    np.testing.assert_allclose(seen, rows[3].action, atol=1e-5)
    with pytest.raises(ValueError, match="classes cannot be mixed"):
        RetrievalHeadConfig(play="fused", retrieval=RetrievalConfig(task="classification"))


SOFT = StageConfig(units=8, epochs=2, top_k=4, head_units=4, heads=2, head_epochs=2)


@pytest.mark.parametrize(
    "task", ["regression", pytest.param("classification", marks=pytest.mark.slow)]
)
def test_what_is_selected(task):
    rows = demonstrations(12, steps=3)
    rows = rows if task == "regression" else [t for t in rows for _ in range(2)]
    library = RetrievalConfig(task=task, impute=False, validation=0.0, prediction=SOFT)
    config = RetrievalHeadConfig(retrieval=library, select="attention")
    trained = fitted(RetrievalHead, config, rows).arrays()
    # The policy's own choice needs no fusion head, and is the same without one.
    ranking = dataclasses.replace(config, select="policy")
    alone = fitted(RetrievalHead, ranking, rows).arrays()
    assert not [name for name in alone if "prediction/params/head" in name]
    assert [name for name in trained if "prediction/params/head" in name]
    queries = demonstrations(20, steps=1, seed=1)
    seen = jax.tree.map(lambda *x: np.concatenate(x), *(t.percept for t in queries))
    played = {}
    for select in ("policy", "prediction", "attention"):
        head = RetrievalHead(dataclasses.replace(config, select=select), SIZES)
        head.restore(alone if select == "policy" else trained)
        played[select], _ = head.act(head.reset(20), seen, np.ones(20, bool), KEY)
    found = head.retrieval.retrieve(seen.embeddings)
    first = np.stack([t.action[0] for t in rows])
    for q, nodes in enumerate(found.nodes):
        np.testing.assert_array_equal(played["policy"][q], first[nodes[0]])
        np.testing.assert_array_equal(
            played["attention"][q], first[nodes[found.weights[q].argmax()]]
        )
        values = head.retrieval.arrays()["prediction/values"][nodes]
        if task == "regression":
            near = np.square(values - found.output[q]).mean(1).argmin()
        else:
            near = (values @ found.output[q]).argmax()
        np.testing.assert_array_equal(played["prediction"][q], first[nodes[near]])
    assert not np.array_equal(played["policy"], played["attention"])


def test_in_closed_loop_actions_are_predicted_anew_for_what_is_seen_then():
    rows = demonstrations(8, steps=6)
    library = RetrievalConfig(task="regression", impute=False, validation=0.0, prediction=SOFT)
    config = RetrievalHeadConfig(research_every=3, play="fused", retrieval=library)
    head = fitted(RetrievalHead, config, rows)
    played = act_along(head, [at(rows[2], t) for t in range(6)])
    for step in (0, 3):
        seen = {n: x[step : step + 1] for n, x in rows[2].percept.embeddings.items()}
        moment = {MOMENT: np.full((1, 1), float(step))}
        (expected,) = head.retrieval.predict(seen | moment)[:, :3, :, 0]
        np.testing.assert_allclose(played[step : step + 3], expected, atol=1e-5)
    assert not np.allclose(played[:3], played[3:], atol=1e-3)


REACH = Sizes((Modality("near", "vector", (2,)),), 3, {"near": 2}, 3)
"""A hand in the plane and its gripper; a sensor tells where the thing is."""


def reach(place: np.ndarray, steps: int, executed=None) -> Trajectory:
    """A demonstration that grasps a thing at ``place`` and lets it go at the origin."""
    there = np.tile(place / steps, (steps, 1))
    move = np.concatenate([there, 0 * there[:2], -there, 0 * there[:1]])
    closed = np.where(
        (np.arange(len(move)) >= steps) & (np.arange(len(move)) < len(move) - 1), 1, -1
    )
    action = np.column_stack([move, closed]).astype(np.float32)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    said = {"near": np.tile(np.float32(turned @ place), (len(action), 1))}
    seen = Percept(
        np.zeros((len(action), 3), np.float32), said, {}, {"near": np.ones(len(action), bool)}
    )
    return Trajectory(seen, action, executed)


@pytest.mark.parametrize("select", ["policy", "random"])
def test_an_aligned_demonstration_grasps_where_the_thing_is(select):
    random = np.random.default_rng(0)
    rows = [reach(random.uniform(-3, 3, 2), int(random.integers(8, 14))) for _ in range(12)]
    config = RetrievalHeadConfig(select=select, moves=2, align=True, retrieval=PLAIN)
    head = RetrievalHead(config, REACH)
    reports = {}
    head.fit(rows, 0, lambda _, metrics: reports.update(metrics))
    assert reports["alignment/aligned"] < 0.01 * reports["alignment/unaligned"]
    again = RetrievalHead(config, REACH)
    again.restore(head.arrays())
    place = np.array([2.2, -1.7])
    path = [at(reach(place, 13), t) for t in range(28)]
    actions = act_along(again, path)
    closing = int(np.argmax(actions[:, 2] > 0))
    opening = closing + int(np.argmax(actions[closing:, 2] < 0))
    np.testing.assert_allclose(actions[:closing, :2].sum(0), place, atol=0.01)
    np.testing.assert_allclose(actions[:opening, :2].sum(0), 0, atol=0.01)
    assert np.abs(actions).max() <= 1
    plain = RetrievalHead(dataclasses.replace(config, select="policy", align=False), REACH)
    plain.restore(head.arrays())
    actions = act_along(plain, path)
    missed = actions[: int(np.argmax(actions[:, 2] > 0)), :2].sum(0) - place
    assert np.linalg.norm(missed) > 0.1


def test_labels_are_what_they_are_named():
    random = np.random.default_rng(0)
    rows = [reach(random.uniform(-3, 3, 2), int(random.integers(8, 14))) for _ in range(6)]
    places = np.array([t.action[: np.argmax(t.action[:, 2] > 0), :2].sum(0) for t in rows])
    lost = np.stack([0 * places[0] for _ in rows])

    def labels(**changes):
        config = RetrievalHeadConfig(moves=2, retrieval=PLAIN, **changes)
        head = RetrievalHead(config, REACH)
        head.fit(rows, 0)
        library = {"near": np.concatenate([t.percept.embeddings["near"][:1] for t in rows])}
        return head.retrieval.predict(library)[..., 0]

    np.testing.assert_allclose(labels(label="events")[:, 0], places, atol=1e-5)
    np.testing.assert_allclose(labels(label="events")[:, 1], lost, atol=1e-5)
    path = labels()
    assert path.shape == (6, 32, 2)
    np.testing.assert_allclose(path[:, -1], lost, atol=1e-5)
    actions = labels(label="actions")
    for row, t in zip(actions, rows, strict=True):
        np.testing.assert_allclose(row[: len(t.action)], t.action, atol=1e-5)
        assert np.abs(row[len(t.action) :]).max() < 1e-5


def test_the_hand_may_be_a_sensor():
    rows = []
    for n, t in enumerate(demonstrations(6, steps=5)):
        hand = np.linspace(7, 7 + n, 5)[:, None] * np.ones(2)
        rows.append(t._replace(percept=t.percept._replace(values={"near": hand})))
    config = RetrievalHeadConfig(hand="near", retrieval=PLAIN)
    head = fitted(RetrievalHead, config, rows)
    at_start = {k: np.stack([t.percept.embeddings[k][0] for t in rows]) for k in ("near", "far")}
    label = head.retrieval.predict(at_start)[..., 0]
    expected = [np.linspace(0, n, 33)[1:, None] * np.ones(2) for n in range(6)]
    np.testing.assert_allclose(label, expected, atol=1e-5)
    rows[3].percept.available["near"][2] = False
    with pytest.raises(ValueError, match=r"--head\.hand near: the sensor is missing at some steps"):
        fitted(RetrievalHead, config, rows)
    with pytest.raises(ValueError, match=r"--head\.hand 'hand' is none of the sensors near, far"):
        RetrievalHead(RetrievalHeadConfig(hand="hand"), SIZES)


def test_success_of_replays_is_what_the_policy_is_rewarded_for(tmp_path):
    rows = demonstrations(12, steps=3)
    names = tuple(outcomes.digest(t.recording) for t in rows)
    path, best = tmp_path / "replays.jsonl", tuple(name == names[7] for name in names)
    outcomes.write(
        path,
        [
            Outcome("task", 25 + i, 0, (name,), names, best, (3,) * 12)
            for i, name in enumerate(names)
        ],
    )
    stage = dataclasses.replace(SOFT, selection="hard", epochs=150, learning_rate=3e-3)
    library = RetrievalConfig(task="regression", impute=False, validation=0.0, prediction=stage)
    head = fitted(RetrievalHead, RetrievalHeadConfig(success=str(path), retrieval=library), rows)
    seen = demonstrations(6, steps=1, seed=2)
    chosen = [act_along(head, [t.percept])[0] for t in seen]
    assert np.mean([np.array_equal(c, rows[7].action[0]) for c in chosen]) > 0.6
    with pytest.raises(ValueError, match="from the starts of 1 of 13 demonstrations nothing"):
        fitted(RetrievalHead, head.config, [*rows, demonstrations(1, steps=3, seed=9)[0]])


def test_nothing_is_trained_for_what_cannot_fail():
    rows = demonstrations(8, steps=2)
    library = RetrievalConfig(task="regression", validation=0.0, prediction=SOFT, imputation=SOFT)
    sensors = (SIZES.modalities[0], Modality("far", "embedding", (3,), can_fail=False))
    rows = [
        t._replace(percept=t.percept._replace(values={"far": t.percept.embeddings["far"]}))
        for t in rows
    ]
    head = RetrievalHead(
        RetrievalHeadConfig(research_every=1, retrieval=library), SIZES._replace(modalities=sensors)
    )
    head.fit(rows, 0)
    assert set(head.retrieval.history) == {"near", "prediction"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"research_every": 4, "align": True}, "are for whole demonstrations"),
        ({"research_every": 4, "success": "f"}, "are for whole demonstrations"),
        ({"research_every": 4, "label": "path"}, "label path is of whole demonstrations"),
        ({"play": "fused", "label": "events"}, "label events is of whole demonstrations"),
        ({"play": "fused", "align": True}, "plays no one demonstration"),
        ({"select": "random"}, "is the head replay"),
        (
            {"label": "path", "retrieval": RetrievalConfig(task="classification")},
            "label path is for the task regression",
        ),
    ],
)
def test_settings_that_mean_nothing_together_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        RetrievalHeadConfig(**settings)
