"""Sensors that lie: what is delivered is wrong in the stated way, and declared available."""

import numpy as np
import pytest
from scipy import ndimage

from envs.failures.script import Script, load_script
from envs.failures.standard import SEVERITIES, START, announced, standard_faults
from mummi.modality import Modality

IMAGE = Modality("rgb", "image", (16, 16, 3))
DEPTH = Modality("depth", "depth", (16, 16, 1))
VECTOR = Modality("touch", "vector", (4,))
SENSORS = (IMAGE, DEPTH, VECTOR)


def values(modality, steps=40, seed=0):
    random = np.random.default_rng(seed)
    if modality.kind == "image":
        return random.integers(0, 256, (steps, *modality.shape), np.uint8)
    return random.uniform(0, 1, (steps, *modality.shape)).astype(np.float32)


def deliver(rule, modality, rows, seed=0):
    (made,) = Script.from_dict({"name": "x", "rules": [{"modality": modality.name, **rule}]}).rules
    sift = made.begin(modality, np.random.default_rng(seed))
    told = [sift(row, True) for row in rows]
    assert all(available for _, available in told)
    assert all(value.dtype == modality.dtype for value, _ in told)
    return np.stack([value for value, _ in told])


def test_blur_is_that_of_scipy_and_begins_when_told():
    rows = values(IMAGE)
    told = deliver({"rule": "blur", "size": 0.1, "start": 3}, IMAGE, rows)
    np.testing.assert_array_equal(told[:3], rows[:3])
    expected = ndimage.gaussian_filter1d(rows[5].astype(float), 1.6, 0, mode="nearest")
    expected = ndimage.gaussian_filter1d(expected, 1.6, 1, mode="nearest")
    np.testing.assert_allclose(told[5], expected, atol=0.51)


def test_a_drift_reaches_gain_and_offset_and_stays():
    rows = np.full((60, 4), 2.0, np.float32)
    told = deliver({"rule": "drift", "gain": 0.5, "offset": 1.0, "steps": 10}, VECTOR, rows)
    np.testing.assert_allclose(told[4], 2 * 0.75 + 0.5)
    np.testing.assert_allclose(told[9:], 2 * 0.5 + 1.0)


def test_a_turn_of_a_camera_without_a_shift_is_that_of_scipy():
    rows = values(DEPTH)
    told = deliver({"rule": "displaced", "angle": 90}, DEPTH, rows)
    turned = [np.rot90(rows[7], k) for k in (1, 3)]
    assert min(np.abs(told[7] - x).max() for x in turned) < 1e-5


def test_a_shift_without_a_turn_moves_the_picture():
    dot = np.zeros((1, *IMAGE.shape), np.uint8)
    dot[0, 8, 8] = 255
    told = deliver({"rule": "displaced", "shift": 0.25}, IMAGE, dot)[0, ..., 0].astype(float)
    middle = np.array(ndimage.center_of_mass(told))
    assert np.hypot(*(middle - 8)) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("modality", [IMAGE, DEPTH], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("rule", "share"),
    [
        ({"rule": "patch", "size": 0.5}, 0.25),
        ({"rule": "patch", "size": 0.5, "moves": True}, 0.25),
        ({"rule": "dead_pixels", "share": 0.25}, 0.25),
    ],
)
def test_what_is_covered_has_its_share_and_stays_but_where_it_moves(modality, rule, share):
    rows = values(modality, 200)
    told = deliver(rule, modality, rows)
    covered = (told != rows).any(-1)
    assert covered.mean() == pytest.approx(share, abs=0.08)
    still = (covered[:-1] == covered[1:]).all((1, 2)).mean()
    assert still < 0.9 if rule.get("moves") else covered.all(0).mean() > share - 0.1


def test_glare_only_brightens_and_a_depth_camera_sees_nothing_there():
    rows = values(IMAGE)
    told = deliver({"rule": "glare", "size": 0.5}, IMAGE, rows)
    assert (told >= rows).all() and (told > rows).mean() > 0.03
    depth = values(DEPTH)
    told = deliver({"rule": "glare", "size": 0.5}, DEPTH, depth)
    changed = told != depth
    assert (told[changed] == 1).all() and 0.03 < changed.mean() < 0.8


def test_stuck_numbers_stay_as_they_were_and_the_others_go_on():
    rows = values(VECTOR)
    told = deliver({"rule": "stuck", "share": 0.5, "start": 4}, VECTOR, rows)
    stays = (told[4:] == rows[4]).all(0)
    assert stays.sum() == 2
    np.testing.assert_array_equal(told[:, ~stays], rows[:, ~stays])


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "frozen"},
        {"rule": "delay", "steps": 2},
        {"rule": "noise", "std": 5},
        {"rule": "blur", "size": 0.1},
        {"rule": "dead_pixels", "share": 0.5},
    ],
    ids=lambda rule: rule["rule"],
)
def test_any_lie_may_come_and_go_with_a_rate(rule):
    rows = values(IMAGE, 1500)
    wrong = deliver({**rule, "start": 5, "rate": 0.3, "max_length": 10}, IMAGE, rows) != rows
    wrong = wrong.any((1, 2, 3))
    assert wrong.mean() == pytest.approx(0.3, abs=0.07)
    starts = np.flatnonzero(np.diff(wrong.astype(int)) == 1)
    assert len(starts) > 30
    with pytest.raises(ValueError, match=r"rate is 1.5; it must be in \[0, 1\)"):
        deliver({**rule, "rate": 1.5}, IMAGE, rows)


def test_faults_for_training_are_medium_and_lies_now_and_then():
    rules, steps = load_script("faults").rules, 1000
    rows = {m.name: values(m, steps) for m in SENSORS}
    there, wrong = {m.name: [] for m in SENSORS}, {m.name: [] for m in SENSORS}
    for seed in range(6):
        acts = []
        for index, rule in enumerate(rules):
            of = [m for m in SENSORS if m.name in rule.names(SENSORS)]
            streams = [np.random.default_rng((seed, index, k)) for k in range(len(of))]
            acts.append(rule.begin_all(of, streams))
        for t in range(steps):
            now, available = {n: x[t] for n, x in rows.items()}, dict.fromkeys(rows, True)
            for act in acts:
                act(now, available)
            for name in rows:
                there[name].append(available[name])
                wrong[name].append((now[name] != rows[name][t]).any())
    for m in SENSORS:
        delivered = np.array(there[m.name])
        # What comes late may have been missing then.
        assert delivered.mean() == pytest.approx(0.625, abs=0.04)
        kinds = sum(m.kind in rule.kinds for rule in rules if rule.lies)
        lies = np.array(wrong[m.name])[delivered].mean()
        assert lies == pytest.approx(1 - 0.96**kinds, abs=0.06)
    assert load_script("faults").lies and not load_script("medium").lies


def test_shuffled_values_are_of_earlier_moments_of_the_episode():
    rows = values(VECTOR, 200)
    told = deliver({"rule": "shuffled"}, VECTOR, rows)
    moments = [np.flatnonzero((rows == row).all(1)).item() for row in told]
    assert all(moment <= t for t, moment in enumerate(moments))
    assert np.mean([m / (t + 1) for t, m in enumerate(moments)]) == pytest.approx(0.5, abs=0.06)


def test_two_sensors_of_one_shape_are_taken_for_each_other():
    pair = (Modality("left", "image", (4, 4, 3)), Modality("right", "image", (4, 4, 3)))
    (rule,) = Script.from_dict(
        {"name": "x", "rules": [{"rule": "swapped", "modality": ["left", "right"], "start": 1}]}
    ).rules
    assert rule.names(pair) == ("left", "right")
    act = rule.begin_all(pair, [np.random.default_rng(n) for n in (0, 1)])
    for step in range(3):
        said, available = {"left": 1, "right": 2}, {"left": True, "right": False}
        act(said, available)
        swapped = step >= 1
        assert said == ({"left": 2, "right": 1} if swapped else {"left": 1, "right": 2})
        assert available["left"] is not swapped
    with pytest.raises(ValueError, match="cannot be taken for each other"):
        Script.from_dict(
            {"name": "x", "rules": [{"rule": "swapped", "modality": ["rgb", "depth"]}]}
        ).rules[0].names(SENSORS)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rule": "blur", "size": 2}, "blur: size is 2"),
        ({"rule": "patch", "size": 0.1, "moves": 1}, "moves is 1; it must be true or false"),
        ({"rule": "drift", "gain": -1}, "gain is -1; it must be a number of at least 0"),
        ({"rule": "displaced", "angle": "left"}, "angle is 'left'; it must be a number"),
        ({"rule": "swapped"}, "modality is 'rgb'; it must be a list of two sensors"),
    ],
)
def test_impossible_faults_are_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        Script.from_dict({"name": "x", "rules": [{"modality": "rgb", **rule}]})


def test_a_fault_that_a_kind_cannot_have_is_refused_and_all_means_those_that_can():
    script = Script.from_dict(
        {"name": "x", "rules": [{"rule": "blur", "modality": "touch", "size": 0.1}]}
    )
    with pytest.raises(ValueError, match="'touch' is of kind 'vector', which cannot fail so"):
        script.rules[0].names(SENSORS)
    every = Script.from_dict(
        {"name": "x", "rules": [{"rule": "blur", "modality": "all", "size": 0.1}]}
    )
    assert every.rules[0].names(SENSORS) == ("rgb", "depth")


@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_standard_fault_changes_what_its_sensor_says_and_can_be_announced(severity):
    twin = Modality("other", "vector", (4,))
    found = standard_faults((*SENSORS, twin), severity)
    assert set(found) == {"rgb", "depth", "touch", "other"}
    assert "blur" in found["rgb"] and "blur" not in found["touch"]
    assert "swapped with other" in found["touch"] and "swapped with touch" not in found["other"]
    for m in SENSORS:
        rows = values(m, 80)
        for name, script in found[m.name].items():
            assert Script.from_dict(script.to_dict()) == script
            gone = announced(script, m.name).rules[0].begin(m, np.random.default_rng(0))
            flags = [gone(row, True)[1] for row in rows]
            assert sum(flags) in (0, START) and not any(flags[START:])
            if name.startswith("swapped"):
                continue
            told = [script.rules[0].begin(m, np.random.default_rng(1))] * len(rows)
            told = np.stack([sift(row, True)[0] for sift, row in zip(told, rows, strict=True)])
            assert (told[START:] != rows[START:]).mean() > 0.01, name
    with pytest.raises(ValueError, match="severity is 4"):
        standard_faults(SENSORS, 4)
