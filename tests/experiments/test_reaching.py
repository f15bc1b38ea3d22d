"""The test bed of starts: what labels say, that alignment and replays do what they must."""

import json

import numpy as np
import pytest

from experiments import reaching
from experiments.imitation import reach
from mummi.imitation.heads.outcomes import failures
from mummi.imitation.heads.retrieval import RetrievalHead, RetrievalHeadConfig
from mummi.imitation.retrieval import RetrievalConfig, StageConfig

pytestmark = pytest.mark.usefixtures("quick_compile")

NEAREST = StageConfig(ranking="distance", selection="hard")
PLAIN = RetrievalConfig(task="regression", impute=False, prediction=NEAREST)


@pytest.fixture(scope="module")
def world():
    return reach.World(4, 0)


@pytest.fixture(scope="module")
def made(world):
    """Demonstrations, fifteen of each of four instructions."""
    return [world.demonstrate(k) for k in np.repeat(np.arange(4), 15)]


WHICH = np.repeat(np.arange(4), 15)


def starts(made):
    return np.concatenate([begin.object for _, begin in made])


def fitted(made, **changes):
    head = RetrievalHead(RetrievalHeadConfig(retrieval=PLAIN, **changes), reach.SIZES)
    head.fit([t for t, _ in made], 0)
    return head


def test_a_demonstration_replayed_from_its_own_start_succeeds(world, made):
    outcomes = reach.replays(world, made, WHICH)
    failed = failures(outcomes, [t.recording for t, _ in made])
    assert not failed.diagonal().any()
    apart = np.linalg.norm(starts(made)[:, None] - starts(made), axis=-1)
    same = WHICH[:, None] == WHICH
    assert failed[~same].all()
    # The fingers close within half a centimetre of the object, and hold it within two.
    assert not failed[same & (apart < 0.012)].any()
    assert failed[same & (apart > 0.03)].all()


def test_labels_of_effects_tell_starts_apart_and_those_of_actions_less(made):
    quality = {
        label: reaching.label_quality(fitted(made, label=label), starts(made), WHICH)
        for label in ("actions", "path", "events")
    }
    print(quality)
    assert quality["events"]["correlation"] > 0.95
    assert quality["path"]["correlation"] > 0.85
    assert quality["actions"]["correlation"] < quality["path"]["correlation"] - 0.1
    assert max(quality[name]["miss"] for name in ("path", "events")) < quality["actions"]["miss"]


def test_alignment_closes_the_fingers_at_the_object(world, made):
    asked = world.random.integers(4, size=40)
    start = world.start(asked)
    plain, aligned = (
        reach.play_head(world, asked, start, fitted(made, **changes), 0)
        for changes in ({}, {"align": True, "select": "random"})
    )
    assert np.median(aligned.miss) < 0.006 < np.median(plain.miss)
    assert aligned.success.mean() > max(0.8, plain.success.mean())


@pytest.mark.slow
def test_learned_retrieval_is_not_behind_plain_distance_by_more_than_half_a_centimetre(tmp_path):
    out = tmp_path / "numbers.json"
    reaching.main(["--seeds", "0", "--queries", "100", "--out", str(out)])
    (found,) = json.loads(out.read_text())["seeds"]
    miss = {name: row["miss"] for name, row in found["methods"].items()}
    assert miss["path, policy"] < miss["nearest"] + 0.5 < miss["random"] - 2
    assert miss["random, aligned"] < 0.5
    assert miss["actions, attention"] > miss["path, policy"] + 1
