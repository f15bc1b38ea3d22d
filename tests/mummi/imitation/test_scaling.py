"""Actions beyond [-1, 1] and depth in any unit: scaled for learning, undone when acting."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mummi.imitation import scaling
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.pictures import Picture, picture_sizes
from mummi.imitation.scaling import Depth, Scaling, Standard
from mummi.modality import Modality

DEPTH = Modality("depth", "depth", (2, 2, 1))
ARM = Modality("arm", "vector", (3,))


def demonstration(actions, depth=None, executed=None, available=None):
    steps = len(actions)
    values = {"arm": np.ones((steps, 3), np.float32)}
    if depth is not None:
        values["depth"] = np.asarray(depth, np.float32) * np.ones((steps, 2, 2, 1), np.float32)
    actions = np.asarray(actions, np.float32)
    zeros = np.zeros(steps, np.float32)
    return Demonstration(values, actions, zeros, zeros != 0, None, {}, executed, available)


def pixels(*numbers):
    return np.array(numbers, np.float32).reshape(-1, 1, 1, 1)


@settings(max_examples=50)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 8), st.integers(1, 4)),
        elements=st.floats(-1000, 1000, width=32),
    )
)
def test_actions_are_scaled_by_the_limits_of_each_dimension_and_undone(actions):
    found = scaling.find({"demo_0": demonstration(actions)}, (ARM,))
    learned = found.learned(actions)
    if np.abs(actions).max() <= 1 + scaling.SLACK:
        assert found == Scaling()
        np.testing.assert_array_equal(learned, actions)
        return
    for column, expected in zip(learned.T, actions.T.astype(float), strict=True):
        low, high = expected.min(), expected.max()
        right = np.zeros(len(expected))
        if high > low:
            right = 2 * (expected - low) / (high - low) - 1
        np.testing.assert_allclose(column, right, atol=1e-5)
    width = np.ptp(actions.astype(float), axis=0).max() + 1
    np.testing.assert_allclose(found.acted(learned), actions, atol=1e-6 * width + 1e-4)


def test_what_was_executed_counts_and_is_scaled_alike():
    wanted, done = [[0.5, 0.1], [-0.5, 0]], np.array([[4, 0], [-2, 1]], np.float32)
    found = scaling.find({"demo_0": demonstration(wanted, executed=done)}, (ARM,))
    assert (found.low, found.high) == ((-2, 0), (4, 1))
    learned = found.demonstration(demonstration(wanted, executed=done))
    np.testing.assert_allclose(learned.executed, [[1, -1], [-1, 1]])
    np.testing.assert_allclose(learned.actions[0, 0], 2 * 2.5 / 6 - 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "unit", "found", "learned"),
    [
        ((0, 1000, 4000), "auto", Depth("millimetres", 0.0, 4000.0), (0, 0.25, 1)),
        ((0.5, 2.0), "auto", Depth("metres", 0.0, 2.0), (0.25, 1)),
        ((0.98, 0.995), "auto", Depth("buffer", 0.98, 0.995), (0, 1)),
        ((0.1, 0.7), "auto", None, (0.1, 0.7)),
        ((-1, 1), "auto", None, (-1, 1)),
        ((0.98, 0.995), "unit", None, (0.98, 0.995)),
        ((0.1, 0.5), "metres", Depth("metres", 0.0, 0.5), (0.2, 1)),
        ((20, 50), "millimetres", Depth("millimetres", 0.0, 50.0), (0.4, 1)),
        ((0.5, 0.75), "buffer", Depth("buffer", 0.5, 0.75), (0, 1)),
    ],
)
def test_the_unit_of_depth_is_told_by_its_limits_or_by_the_flag(numbers, unit, found, learned):
    recorded = demonstration(np.zeros((len(numbers), 1)), pixels(*numbers))
    made = scaling.find({"demo_0": recorded}, (DEPTH, ARM), unit)
    assert made.low == ()
    if found is None:
        assert made.depth == {}
    else:
        assert made.depth["depth"].unit == found.unit
        limits = (made.depth["depth"].near, made.depth["depth"].far)
        np.testing.assert_allclose(limits, (found.near, found.far), rtol=1e-6)
    seen = made.demonstration(recorded).values
    np.testing.assert_allclose(seen["depth"][:, 1, 0, 0], learned, atol=1e-5)
    assert seen["depth"].dtype == np.float32
    np.testing.assert_array_equal(seen["arm"], recorded.values["arm"])


def test_depth_of_missing_steps_tells_no_limits():
    available = {"depth": np.array([True, False])}
    gone = demonstration(np.zeros((2, 1)), pixels(0.5, 9), available=available)
    assert scaling.find({"demo_0": gone}, (DEPTH,)) == Scaling()
    never = gone._replace(available={"depth": np.zeros(2, bool)})
    assert scaling.find({"demo_0": never}, (DEPTH,)) == Scaling()


@pytest.mark.parametrize(
    ("numbers", "unit", "said"),
    [
        ((0, 3), "unit", "'depth' has values from 0 to 3, which are not in .* --depth unit"),
        ((-2, 3), "auto", "from -2 to 3, and metres are never negative"),
        ((0, 3), "buffer", "a depth buffer ends at 1"),
    ],
)
def test_depth_that_is_not_in_its_unit_is_refused(numbers, unit, said):
    recorded = demonstration(np.zeros((2, 1)), pixels(*numbers))
    with pytest.raises(ValueError, match=said):
        scaling.find({"demo_0": recorded}, (DEPTH,), unit)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((0.5, 2), (400, 2500), "from 0.5 to 2 in 'a', .* as if they were in millimetres"),
        ((0.98, 0.99), (0.5, 2), r"from 0.98 to 0.99 in 'a', .* in metres: .* --depth"),
        ((0.98, 0.99), (-0.5, 1), "from 0.98 to 0.99 in 'a', .* a unit of their own in"),
    ],
)
def test_depth_in_several_units_is_refused_unless_one_is_named(one, other, said):
    recorded = {
        name: demonstration(np.zeros((2, 1)), pixels(*numbers))
        for name, numbers in (("b", other), ("a", one))
    }
    with pytest.raises(ValueError, match="depth sensor 'depth' has values " + said):
        scaling.find(recorded, (DEPTH,))
    unit = "unit" if min(other) < 0 else "millimetres"
    assert (scaling.find(recorded, (DEPTH,), unit).depth == {}) == (unit == "unit")


@pytest.mark.parametrize(("one", "unit"), [((0.2, 0.7), "metres"), ((0, 0), "millimetres")])
def test_what_is_near_or_saw_nothing_is_in_the_unit_of_the_others(one, unit):
    other = (0.5, 2) if unit == "metres" else (400, 2500)
    recorded = {
        str(numbers): demonstration(np.zeros((2, 1)), pixels(*numbers)) for numbers in (one, other)
    }
    assert scaling.find(recorded, (DEPTH,)).depth["depth"] == Depth(unit, 0.0, float(other[1]))


def test_a_unit_without_depth_is_refused():
    with pytest.raises(ValueError, match=r"--depth metres is given, and no sensor is depth .*arm"):
        scaling.find({"demo_0": demonstration(np.zeros((2, 1)))}, (ARM,), "metres")


def test_it_is_kept_with_the_run(tmp_path):
    made = Scaling((-1.5, 0.25), (7.5, 3.0), {"depth": Depth("metres", 0.0, 2.5)})
    assert scaling.load(tmp_path) == Scaling()
    scaling.save(tmp_path, made)
    assert scaling.load(tmp_path) == made
    scaling.save(tmp_path, made)
    with pytest.raises(ValueError, match=r"the data changed since .* give another --logdir"):
        scaling.save(tmp_path, Scaling((-1.5, 0.25), (7.5, 4.0), made.depth))
    for content in ("low: [", "low: [1]\nhigh: []\ndepth: {}", "low: [2]\nhigh: [1]\ndepth: {}"):
        (tmp_path / "scaling.yaml").write_text(content)
        with pytest.raises(ValueError, match=r"scaling.yaml is damaged"):
            scaling.load(tmp_path)


def test_each_change_is_said():
    made = Scaling((-1.5,), (7.5,), {"depth": Depth("metres", 0.0, 2.5)})
    actions, depth = scaling.describe(made)
    assert "scaled from [-1.5, 7.5] to [-1, 1], and back when acting" in actions
    assert "depth 'depth' is in metres, scaled from [0, 2.5]" in depth
    assert scaling.describe(Scaling()) == []


def test_a_world_model_that_is_taken_must_know_such_actions():
    data = [demonstration([[0.5, 7.5], [0, -3]])]
    with pytest.raises(ValueError, match=r"dimension 1 .* -3 to 7.5, .*'run' has learned -1 to 1"):
        scaling.require_within(data, Scaling(), "run")
    known = Scaling((-1.0, -4.0), (1.0, 8.0))
    scaling.require_within(data, known, "run")
    with pytest.raises(ValueError, match=r"dimension 1 of the actions goes .* learned -4 to 8"):
        scaling.require_within([demonstration([[0, 9]])], known, "run")


CAMERA = Modality("camera", "image", (8, 6, 3))


def test_pictures_have_the_size_of_the_data_outside_and_their_own_inside():
    sensors = (CAMERA, dataclasses.replace(DEPTH, shape=(4, 8, 1)), ARM)
    pictures = picture_sizes(sensors, 4)
    assert pictures == {"camera": Picture((8, 6), (5, 4))}
    scale = Scaling(pictures=pictures)
    inside = scale.reduced(sensors)
    assert [m.shape for m in inside] == [(5, 4, 3), (4, 8, 1), (3,)]
    assert scale.given(inside) == sensors
    values = {"camera": np.full((2, 8, 6, 3), 9, np.uint8), "arm": np.ones((2, 3), np.float32)}
    seen = scale.seen(values)
    assert seen["camera"].shape == (2, 5, 4, 3) and (seen["camera"] == 9).all()
    assert seen["arm"] is values["arm"]
    assert scaling.describe(scale)[0].startswith("pictures 'camera' are resized from 8×6 to 5×4")


def test_vectors_are_standardised_by_what_delivered():
    random = np.random.default_rng(0)
    demos = []
    for steps in (5, 9):
        arm = random.normal(3, 40, (steps, 3)).astype(np.float32)
        arm[:, 2] = 7
        available = {"arm": random.random(steps) < 0.6}
        arm[~available["arm"]] = 1e6
        made = demonstration(np.zeros((steps, 1)), available=available)
        demos.append(made._replace(values={"arm": arm}))
    found = scaling.standards(demos, (ARM, DEPTH))
    rows = np.concatenate([d.values["arm"][d.available["arm"]] for d in demos]).astype(float)
    seen = Scaling(vectors=found).seen({"arm": rows})["arm"]
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[:, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(seen[:, :2].std(0), 1, atol=1e-6)
    assert (seen[:, 2] == 0).all()
    nowhere = [d._replace(available={"arm": np.zeros(len(d.actions), bool)}) for d in demos]
    assert scaling.standards(nowhere, (ARM,)) == {}


def test_sizes_and_standards_are_kept_with_the_run(tmp_path):
    scale = Scaling(
        pictures={"camera": Picture((480, 640), (64, 85))},
        vectors={"arm": Standard((1.5, 0.0), (2.0, 1.0))},
    )
    scaling.save(tmp_path, scale)
    assert scaling.load(tmp_path) == scale
    text = (tmp_path / scaling.FILE).read_text().replace("- 2.0", "- two")
    (tmp_path / scaling.FILE).write_text(text)
    with pytest.raises(ValueError, match=r"scaling.yaml is damaged.*'std'"):
        scaling.load(tmp_path)
