"""Heads on hand-made demonstrations: cloning, neighbours, following, replay and retrieval."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mummi.imitation.heads.bc import BCConfig, BehaviourCloning
from mummi.imitation.heads.head import HEADS, Percept, Sizes, Trajectory
from mummi.imitation.heads.knn import KNNConfig, NearestNeighbours
from mummi.imitation.heads.replay import RandomReplay, ReplayConfig
from mummi.imitation.heads.retrieval import RetrievalHead, RetrievalHeadConfig
from mummi.imitation.retrieval import RetrievalConfig, StageConfig
from mummi.modality import Modality

pytestmark = pytest.mark.usefixtures("quick_compile")

SENSORS = {"near": 2, "far": 3}
SIZES = Sizes(tuple(Modality(n, "vector", (k,)) for n, k in SENSORS.items()), 3, SENSORS, 2)
FIRST, ON = np.array([True]), np.array([False])
KEY = jax.random.PRNGKey(0)
NEAREST = StageConfig(ranking="distance", selection="hard")
"""No policy and no head: nothing to train."""
PLAIN = RetrievalConfig(task="regression", validation=0.0, prediction=NEAREST, imputation=NEAREST)


def percept(feature=None, embeddings=None, available=None) -> Percept:
    """A percept of as many steps as its features or embeddings have."""
    rows = len(feature if embeddings is None else next(iter(embeddings.values())))
    feature = np.zeros((rows, 3), np.float32) if feature is None else np.float32(feature)
    embeddings = embeddings or {n: np.zeros((rows, k), np.float32) for n, k in SENSORS.items()}
    delivered = {n: np.ones(rows, bool) for n in SENSORS} | (available or {})
    return Percept(feature, embeddings, {}, delivered)


def demonstrations(number: int = 6, steps: int = 5, seed: int = 0) -> list[Trajectory]:
    """Random features and actions; each demonstration's sensors say which one it is."""
    random, rows = np.random.default_rng(seed), []
    for _ in range(number):
        who = {n: random.normal(size=k) for n, k in SENSORS.items()}
        drift = np.linspace(0, 0.1, steps)[:, None]
        embeddings = {n: np.float32(point + drift) for n, point in who.items()}
        action = random.uniform(-1, 1, (steps, 2)).astype(np.float32)
        rows.append(Trajectory(percept(random.normal(size=(steps, 3)), embeddings), action))
    return rows


def fitted(kind, config, trajectories):
    head = kind(config, SIZES)
    head.fit(trajectories, 0)
    return head


def at(trajectory: Trajectory, step: int) -> Percept:
    """What one robot would see there."""
    return jax.tree.map(lambda x: x[step : step + 1], trajectory.percept)


def act_along(head, percepts, first=0):
    """Actions of one robot that sees these percepts from its start on."""
    carry, actions = head.reset(1), []
    for step, now in enumerate(percepts):
        action, carry = head.act(carry, now, FIRST if step == first else ON, KEY)
        actions.append(action[0])
    return np.stack(actions)


@pytest.mark.parametrize("name", ["bc", "knn", "replay", "retrieval"])
def test_the_table_of_heads_names_what_is_there(name):
    head = HEADS[name].build(HEADS[name].default(), SIZES)
    assert all(hasattr(head, part) for part in ("fit", "reset", "act", "arrays", "restore"))


def test_the_gaussian_of_bc_is_scored_by_its_log_density():
    rows = demonstrations()
    head = fitted(BehaviourCloning, BCConfig(windows=4, units=4, batch=4), rows)
    feature = jnp.concatenate([t.percept.feature for t in rows])
    action = jnp.concatenate([t.action for t in rows])
    low, high = action.min(0), action.max(0)
    mean, std = (np.asarray(x) for x in jax.jit(head.distribution)(head._params, feature))
    density = scipy.stats.norm.logpdf(2 * (action - low) / (high - low) - 1, mean, std)
    loss = -(density + 0.5 * np.log(2 * np.pi)).sum(1).mean()
    found = jax.jit(head.loss)(head._params, feature, action)
    np.testing.assert_allclose(found, loss, rtol=1e-4)
    assert (std > BCConfig.min_std).all()


@pytest.mark.parametrize("loss", ["nll", "mse"])
def test_bc_learns_what_the_demonstrator_does_and_is_the_same_after_saving(loss):
    random = np.random.default_rng(0)
    feature = random.normal(size=(400, 3)).astype(np.float32)
    action = np.stack([np.tanh(feature[:, 0]), 5 + 0.1 * feature[:, 1]], 1)
    rows = [Trajectory(percept(feature), action.astype(np.float32))]
    config = BCConfig(loss=loss, windows=38_400, units=32, batch=64, learning_rate=3e-3)
    reports = []
    head = BehaviourCloning(config, SIZES)
    head.fit(rows, 0, lambda update, metrics: reports.append((update, metrics["loss"])))
    assert reports[-1][0] == 600 and reports[-1][1] < reports[0][1]
    seen, _ = head.act(head.reset(400), percept(feature), np.zeros(400, bool), KEY)
    error = np.abs(seen - action).mean(0) / action.std(0)
    assert (error < 0.15).all()
    again = BehaviourCloning(config, SIZES)
    again.restore(head.arrays())
    np.testing.assert_array_equal(again.act((), percept(feature), ON, KEY)[0], seen)


def test_bc_reports_loss_and_error_on_what_it_has_not_learned_from():
    rows, unseen = demonstrations(), demonstrations(2, seed=9)
    head, reports = BehaviourCloning(BCConfig(windows=8, units=4, batch=4), SIZES), []
    head.fit(rows, 0, lambda update, metrics: reports.append(metrics), unseen)
    plain = BehaviourCloning(head.config, SIZES)
    plain.fit(rows, 0, lambda update, metrics: reports.append(metrics))
    np.testing.assert_array_equal(*(h.arrays()["scale/std"] for h in (head, plain)))
    assert [set(metrics) for metrics in reports] == 2 * [
        {"loss", "held_out/loss", "held_out/error"}
    ] + 2 * [{"loss"}]
    feature = np.concatenate([t.percept.feature for t in unseen])
    action = np.concatenate([t.action for t in unseen])
    loss = jax.jit(head.loss)(head._params, feature, action)
    assert reports[1]["held_out/loss"] == pytest.approx(float(loss), rel=1e-5)
    seen = head.act((), percept(feature), ON, KEY)[0]
    variance = np.concatenate([t.action for t in rows]).var(0)
    error = np.mean(np.square(seen - action) / variance)
    assert reports[1]["held_out/error"] == pytest.approx(error, rel=1e-4)


def test_all_heads_that_train_by_gradient_see_as_many_windows():
    for preset in ("paper", "laptop", "debug"):
        settings = [kind.default(preset) for kind in HEADS.values()]
        trained = [s for s in settings if hasattr(s, "windows")]
        assert len(trained) == 6 and len({s.windows for s in trained}) == 1
        assert all(s.updates == s.windows // s.batch >= 3 for s in trained)
    with pytest.raises(ValueError, match="batch 9 must be at least 1 and at most windows 8"):
        BCConfig(windows=8, batch=9)


def test_a_sampled_action_follows_its_key():
    config = BCConfig(sample=True, windows=4, units=4, batch=4)
    head = fitted(BehaviourCloning, config, demonstrations())
    one, same, other = (
        head.act((), percept(np.ones((1, 3))), FIRST, jax.random.PRNGKey(seed))[0]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    with pytest.raises(ValueError, match="sample needs the loss nll"):
        BCConfig(loss="mse", sample=True)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_weighted_neighbours_are_those_of_a_slow_loop(k):
    rows = demonstrations()
    head = fitted(NearestNeighbours, KNNConfig(neighbours=k, temperature=0.7), rows)
    feature = np.concatenate([t.percept.feature for t in rows]).astype(float)
    action = np.concatenate([t.action for t in rows])
    queries = np.random.default_rng(1).normal(size=(4, 3))
    seen, _ = head.act(head.reset(4), percept(queries), np.ones(4, bool), KEY)
    mean, std = feature.mean(0), feature.std(0)
    for query, given in zip(np.float32(queries), seen, strict=True):
        distances = [np.sqrt((((query - x) / std) ** 2).sum()) for x in feature]
        near = sorted(range(len(feature)), key=lambda i: distances[i])[:k]
        weights = [np.exp(-distances[i] / 0.7) for i in near]
        expected = sum(w * action[i] for w, i in zip(weights, near, strict=True)) / sum(weights)
        np.testing.assert_allclose(given, expected, atol=1e-5)
    np.testing.assert_allclose(mean, head.arrays()["mean"])


def line(start: float, steps: int, action: float) -> Trajectory:
    """A demonstration that moves one unit a step along a line and does one action."""
    feature = np.zeros((steps, 3), np.float32)
    feature[:, 0] = start + np.arange(steps)
    feature[:, 1] = action
    number = np.full((steps, 2), action, np.float32)
    number[:, 1] = np.arange(steps)
    return Trajectory(percept(feature), number)


LOW, HIGH = line(0, 10, 0.0), line(0, 10, 1.0)


def follow(path, **changes):
    """Actions of one robot that follows LOW or HIGH, at these points of the plane."""
    config = KNNConfig(mode="follow", divergence=1.5, **changes)
    head = fitted(NearestNeighbours, config, [LOW, HIGH])
    return act_along(head, [percept([[x, y, 0.0]]) for x, y in path])


def test_following_takes_the_actions_of_one_demonstration_in_their_order():
    seen = follow([(3.0 + t, 0.1) for t in range(5)])
    np.testing.assert_array_equal(seen, LOW.action[3:8])


def test_following_does_not_search_while_the_robot_is_near_enough():
    # The nearest step stays the same, but the one that is followed is only one step away.
    seen = follow([(3.0, 0.0), (3.0, 0.0)])
    np.testing.assert_array_equal(seen[:, 1], [3, 4])


def test_following_searches_again_when_it_has_diverged():
    seen = follow([(3.0, 0.0), (4.0, 0.0), (5.0, 1.0), (6.0, 1.0)])
    np.testing.assert_array_equal(seen, [*LOW.action[3:5], *HIGH.action[5:7]])


def test_following_searches_again_after_some_steps_and_past_an_end():
    stand = follow([(2.0, 0.0)] * 3, follow_steps=1)
    np.testing.assert_array_equal(stand, LOW.action[[2, 2, 2]])
    over = follow([(9.0, 0.0), (5.0, 1.0)])
    np.testing.assert_array_equal(over, [LOW.action[9], HIGH.action[5]])


def test_a_new_episode_forgets_what_was_followed():
    head = fitted(NearestNeighbours, KNNConfig(mode="follow", divergence=99.0), [LOW, HIGH])
    carry = head.reset(2)
    now = percept([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    _, carry = head.act(carry, now, np.array([True, True]), KEY)
    action, _ = head.act(carry, now, np.array([True, False]), KEY)
    np.testing.assert_array_equal(action[:, 1], [2, 3])


def test_replay_plays_one_demonstration_from_its_start_and_then_does_nothing():
    rows = demonstrations(4, steps=3)
    rows[0] = Trajectory(rows[0].percept, rows[0].action[:2])
    head = fitted(RandomReplay, ReplayConfig(), rows)
    again = RandomReplay(ReplayConfig(), SIZES)
    again.restore(head.arrays())
    carry, seen = again.reset(40), []
    for step in range(5):
        first = np.full(40, step == 0)
        action, carry = again.act(carry, percept(np.zeros((40, 3))), first, KEY)
        seen.append(action)
    drawn = set()
    for path in np.stack(seen, 1):
        (which,) = [i for i, t in enumerate(rows) if np.array_equal(path[:2], t.action[:2])]
        drawn.add(which)
        assert np.array_equal(path[: len(rows[which].action)], rows[which].action)
        assert not path[len(rows[which].action) :].any()
    assert drawn == {0, 1, 2, 3}


def telling(seen: Percept, told: np.ndarray) -> Percept:
    """The percept with an instruction of its own at each step."""
    available = {**seen.available, "say": np.ones(len(told), bool)}
    return seen._replace(values={"say": told}, available=available)


def test_replay_draws_among_the_demonstrations_of_the_same_instruction():
    told = np.eye(3, dtype=np.float32)
    which = [0, 1, 1, 0, 1, 2]
    sizes = SIZES._replace(
        modalities=(*SIZES.modalities, Modality("say", "embedding", (3,), False))
    )
    rows = [
        t._replace(percept=telling(t.percept, told[[k] * len(t.action)]))
        for t, k in zip(demonstrations(6), which, strict=True)
    ]
    head = RandomReplay(ReplayConfig(), sizes)
    head.fit(rows, 0)
    again = RandomReplay(ReplayConfig(), sizes)
    again.restore(head.arrays())
    asked = np.arange(300) % 3
    # What is told arrives with the rounding of another program.
    seen = telling(percept(np.zeros((300, 3))), told[asked] * np.float32(1 + 1e-7))
    _, carry = again.act(again.reset(300), seen, np.full(300, True), KEY)
    for k in range(3):
        drawn = np.bincount(carry.index[asked == k], minlength=6)
        mine = np.array(which) == k
        assert not drawn[~mine].any()
        assert scipy.stats.chisquare(drawn[mine]).pvalue > 1e-3 or k == 2
    # An instruction that is missing is none, whatever stands in its place.
    gone = {**seen.available, "say": np.zeros(300, bool)}
    drawn = [
        again.act(again.reset(300), seen._replace(available=gone, values={"say": told}), FIRST, KEY)
        for told in (seen.values["say"], np.full((300, 3), np.nan))
    ]
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    _, later = again.act(carry, seen, np.arange(300) < 150, jax.random.PRNGKey(1))
    np.testing.assert_array_equal(later.index[150:], carry.index[150:])
    assert (later.index[:150] != carry.index[:150]).any()
    assert later.step.tolist() == [1] * 150 + [2] * 150


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
