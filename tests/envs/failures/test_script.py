"""Sensors fail at the stated rates, in the stated ways, and a failed sensor tells nothing."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.base import TimeStep
from envs.failures import script as dropout
from envs.failures.rules import Segments, segments, stationary_segments
from envs.failures.script import BUILT_IN, Dropout, Script, load_script
from mummi.modality import Modality

STEPS = 40


class Counter:
    """Every value is the step number modulo 255, plus one, so that zero is never a true value."""

    modalities = (
        Modality("rgb", "image", (2, 2, 3)),
        Modality("touch", "vector", (2,)),
        Modality("gone", "vector", (1,)),
    )
    action_size = 1
    action_repeat = 3

    def reset(self, number=None):
        self.count = 0
        return self._time_step()

    def step(self, action):
        self.count += 1
        return self._time_step()

    def render(self, size):
        return np.full((size, size, 3), self.count, np.uint8)

    def close(self):
        self.closed = True

    def _time_step(self):
        return TimeStep(
            values={
                m.name: np.full(m.shape, self.count % 255 + 1, m.dtype) for m in self.modalities
            },
            available={"rgb": True, "touch": True, "gone": False},
            reward=float(self.count),
            is_first=self.count == 0,
            is_last=False,
            is_terminal=False,
            info={"count": self.count},
        )


def script(*rules):
    return Script.from_dict({"name": "test", "rules": list(rules)})


def episode(rules, steps=STEPS, seed=0, episodes=1):
    """The time steps of the last of some episodes under a script of these rules."""
    environment = Dropout(Counter(), rules if isinstance(rules, Script) else script(*rules), seed)
    for _ in range(episodes):
        first = environment.reset()
        rest = [environment.step(np.zeros(1)) for _ in range(steps - 1)]
    return [first, *rest]


def told(steps, name="touch"):
    """What was delivered: the value of each step, None where it was declared missing."""
    return [float(s.values[name].flat[0]) if s.available[name] else None for s in steps]


TRUE = [float(n + 1) for n in range(STEPS)]


def many_masks(name, episodes=600, steps=30):
    """Missing [episodes, steps, modality] of the two working sensors, over many seeds."""
    runs = [episode(load_script(name), steps, seed) for seed in range(episodes)]
    return np.array([[[not s.available[m] for m in ("rgb", "touch")] for s in run] for run in runs])


@pytest.mark.parametrize(("name", "rate"), [("medium", 0.375), ("high", 0.75)])
def test_the_true_rate_is_exact_at_every_step_and_modalities_fail_independently(name, rate):
    missing = many_masks(name)
    count = missing.shape[0]
    # Five standard deviations of a binomial: one test in 10,000 with right code would fail.
    bound = 5 * np.sqrt(rate * (1 - rate) / count)
    np.testing.assert_allclose(missing.mean(axis=0), rate, atol=bound)
    correlation = np.corrcoef(missing[:, 15, 0], missing[:, 15, 1])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(count)


def published_rate(probability, steps, max_length=14):
    """The expected missing fraction of an episode, by the chain of remaining steps."""
    state = np.zeros(max_length + 1)  # probability of j more steps missing; 0 is available
    state[0] = 1
    rates = []
    for _ in range(steps):
        free = state[0] + state[1]
        state = np.concatenate([[free * (1 - probability)], state[2:], [0]])
        state[1:] += free * probability / max_length
        rates.append(1 - state[0])
    return np.mean(rates)


@pytest.mark.parametrize(
    ("name", "probability", "rate"),
    [("published_medium", 0.05, 0.281), ("published_high", 0.1, 0.452)],
)
def test_the_published_process_has_its_true_rate(name, probability, rate):
    assert published_rate(probability, 500) == pytest.approx(rate, abs=5e-4)
    random = np.random.default_rng(0)
    episodes = [list(itertools.islice(segments(probability, 14, random), 500)) for _ in range(400)]
    means = np.mean(episodes, axis=1)
    assert abs(means.mean() - rate) < 5 * means.std() / np.sqrt(len(means))
    delivered = np.mean([told(episode(load_script(name), 100, s)).count(None) for s in range(200)])
    assert delivered / 100 == pytest.approx(published_rate(probability, 100), abs=0.03)


@given(rate=st.floats(0, 0.95), max_length=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_any_rate_can_be_had_with_any_length(rate, max_length, seed):
    random = np.random.default_rng(seed)
    runs = np.array(
        [
            list(itertools.islice(stationary_segments(rate, max_length, random), 4))
            for _ in range(800)
        ]
    )
    bound = 5.5 * np.sqrt(rate * (1 - rate) / len(runs)) + 3 / len(runs)
    np.testing.assert_allclose(runs.mean(axis=0), rate, atol=bound)


@given(max_length=st.integers(1, 14), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_lengths_of_segments_are_uniform_up_to_the_longest(max_length, seed):
    # So rare that two segments hardly ever abut: runs are segments.
    process = segments(1e-3, max_length, np.random.default_rng(seed))
    flags = list(itertools.islice(process, 100_000))
    lengths = [len(list(run)) for missing, run in itertools.groupby(flags[:-1]) if missing]
    assert sum(length > max_length for length in lengths) <= 5
    kept = np.clip(lengths, 1, max_length)
    deviation = np.sqrt((max_length**2 - 1) / 12 / len(kept))
    assert kept.mean() == pytest.approx((max_length + 1) / 2, abs=5 * deviation + 0.5)
    assert max_length == 1 or kept.max() > 0.7 * max_length


def test_segments_of_one_step_are_independent_draws():
    random = np.random.default_rng(0)
    flags = np.array(list(itertools.islice(stationary_segments(0.75, 1, random), 20_000)))
    assert flags[1:][flags[:-1]].mean() == pytest.approx(0.75, abs=0.02)


RULES = st.one_of(
    st.builds(
        lambda rate, length: {"rule": "segments", "rate": rate, "max_length": length},
        st.floats(0, 0.99),
        st.integers(1, 20),
    ),
    st.builds(lambda at: {"rule": "lost", "at": at}, st.integers(0, 20)),
    st.builds(lambda p: {"rule": "flicker", "probability": p}, st.floats(0, 1)),
    st.builds(lambda start: {"rule": "frozen", "start": start}, st.integers(0, 20)),
    st.builds(lambda std: {"rule": "noise", "std": std}, st.floats(0, 100)),
    st.builds(lambda steps: {"rule": "delay", "steps": steps}, st.integers(1, 9)),
)


@given(
    rules=st.lists(RULES, max_size=4),
    target=st.sampled_from(["all", "touch", ["rgb", "gone"]]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_a_missing_value_is_all_zeros_and_shapes_stay(rules, target, seed):
    for step in episode([{**rule, "modality": target} for rule in rules], 25, seed):
        assert not step.available["gone"]
        for modality in Counter.modalities:
            value = step.values[modality.name]
            assert (value.shape, value.dtype) == (modality.shape, modality.dtype)
            if not step.available[modality.name]:
                assert not value.any()


def test_no_script_changes_nothing_but_what_the_environment_itself_lacks():
    steps = episode(load_script("none"))
    assert told(steps) == told(steps, "rgb") == TRUE
    assert told(steps, "gone") == [None] * STEPS
    assert not any(step.values["gone"].any() for step in steps)
    assert [step.reward for step in steps] == [float(n) for n in range(STEPS)]
    assert steps[0].is_first and not steps[1].is_first and steps[3].info == {"count": 3}
    environment = Dropout(Counter(), load_script("none"))
    environment.reset()
    assert environment.action_repeat == 3 and environment.render(4).shape == (4, 4, 3)
    environment.close()
    assert environment._environment.closed


@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_lost_sensor_never_comes_back(at):
    for episodes in (1, 2):
        steps = episode([{"rule": "lost", "modality": "touch", "at": at}], episodes=episodes)
        assert told(steps) == TRUE[:at] + [None] * (STEPS - at)
        assert told(steps, "rgb") == TRUE


def test_regular_flicker_delivers_its_duty_of_each_period_within_its_bounds():
    rule = {"rule": "flicker", "modality": "touch", "period": 5, "duty": 0.6}
    assert told(episode([{**rule, "start": 3, "stop": 11}]))[:13] == [
        *(1, 2, 3),  # not begun
        *(4, 5, 6, None, None, 9, 10, 11),
        *(12, 13),  # over
    ]


def test_random_flicker_is_independent_at_each_step():
    rule = {"rule": "flicker", "modality": "touch", "probability": 0.3}
    missing = np.array([v is None for v in told(episode([rule], 4000))])
    assert missing.mean() == pytest.approx(0.3, abs=0.035)
    assert abs(np.corrcoef(missing[1:], missing[:-1])[0, 1]) < 0.08


def test_a_frozen_sensor_repeats_its_last_value_and_claims_to_work():
    frozen = {"rule": "frozen", "modality": "touch", "start": 4, "stop": 7}
    assert told(episode([frozen]))[:9] == [1, 2, 3, 4, 4, 4, 4, 8, 9]
    assert told(episode([{**frozen, "start": 0}]))[:9] == [1] * 7 + [8, 9]
    lost_before = {"rule": "flicker", "modality": "touch", "probability": 1, "stop": 5}
    assert told(episode([lost_before, frozen]))[:9] == [None] * 5 + [6, 6, 8, 9]


def test_random_freezes_have_their_rate():
    rule = {"rule": "frozen", "modality": "touch", "rate": 0.4}
    values = [told(episode([rule], 200, seed)) for seed in range(60)]
    stale = np.mean([[v != t % 255 + 1 for t, v in enumerate(steps)] for steps in values])
    assert stale == pytest.approx(0.4, abs=0.04)


def test_noise_has_its_standard_deviation_and_stays_in_range():
    noise = {"rule": "noise", "modality": "touch", "std": 0.5}
    error = np.array(told(episode([noise], 3000))) - np.arange(3000) % 255 - 1
    assert abs(error.mean()) < 0.05 and error.std() == pytest.approx(0.5, rel=0.1)
    grey = np.concatenate(
        [s.values["rgb"].ravel() for s in episode([{**noise, "modality": "rgb", "std": 9}], 200)]
    )
    assert grey.dtype == np.uint8 and grey.min() == 0 and 60 < grey.max() <= 255
    assert told(episode([{**noise, "std": 0}])) == TRUE


def test_a_delay_moves_values_and_availability():
    delay = {"rule": "delay", "modality": "touch", "steps": 3}
    lost = {"rule": "lost", "modality": "touch", "at": 5}
    assert told(episode([delay])) == [None] * 3 + TRUE[:-3]
    assert told(episode([lost, delay]))[:10] == [None] * 3 + TRUE[:5] + [None] * 2
    assert told(episode([delay, lost]))[:10] == [None] * 3 + TRUE[:2] + [None] * 5


def test_the_same_seed_fails_alike_and_rules_do_not_share_random_numbers():
    def masks(rules, seed):
        return [dict(step.available) for step in episode(rules, 60, seed, episodes=2)]

    random = {"rule": "segments", "modality": "rgb", "rate": 0.4}
    for seed in (3, [3, 4], np.random.SeedSequence(3).spawn(2)[1]):
        assert masks([random], seed) == masks([random], seed)
    assert masks([random], 3) != masks([random], 4)
    noise = {"rule": "noise", "modality": "all", "std": 1}
    assert masks([random, noise], 3) == masks([random], 3)
    twice = [step.available["rgb"] for step in episode([random], 60)]
    assert twice != [step.available["rgb"] for step in episode([random], 60, episodes=2)]


EXAMPLE = dropout.__doc__.split("```yaml\n")[1].split("```")[0]


def test_the_documented_example_loads_and_survives_a_round_trip(tmp_path):
    path = tmp_path / "rough.yaml"
    path.write_text(EXAMPLE)
    loaded = load_script(str(path))
    assert loaded.name == "rough_day" and len(loaded.rules) == 17
    assert loaded == load_script(path) == load_script(loaded)
    for each in (loaded, *BUILT_IN.values()):
        assert pickle.loads(pickle.dumps(each)) == each
        assert Script.from_dict(yaml.safe_load(yaml.safe_dump(each.to_dict()))) == each
    assert BUILT_IN["high"].rules == (Segments(modality="all", rate=0.75, max_length=14),)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{rule: segments, modality: all, rate: 1.5}", r"segments: rate is 1.5; .* in \[0, 1\)"),
        ("{rule: segments, modality: all, rate: much}", "segments: rate is 'much'"),
        ("{rule: segments, modality: all}", "segments: field 'rate' is missing"),
        ("{rule: segments, rate: 0.5}", "segments: field 'modality' is missing"),
        ("{rule: segments, modality: all, rates: 1}", "unknown field 'rates' .*you mean 'rate'"),
        ("{rule: segments, modality: 3, rate: 0.5}", "modality is 3; it must be a name"),
        ("{rule: segments, modality: [], rate: 0.5}", "modality is "),
        (
            "{rule: segments, modality: all, rate: 0.5, max_length: 0}",
            "max_length is 0; .* least 1",
        ),
        ("{rule: lost, modality: all, at: -1}", "lost: at is -1; .* integer of at least 0"),
        ("{rule: lost, modality: all, at: 2, stop: 3}", "unknown field 'stop'"),
        ("{rule: noise, modality: all, std: -1}", "noise: std is -1"),
        ("{rule: noise, modality: all, std: 1, start: 5, stop: 5}", "stop is 5; .* least 6"),
        ("{rule: flicker, modality: all}", "flicker: period is None"),
        ("{rule: flicker, modality: all, probability: 1, duty: 1}", "duty is 1; .* left out"),
        ("{rule: delay, modality: all, steps: 0}", "delay: steps is 0"),
        ("{rule: frozzen, modality: all}", "rule is 'frozzen' .*segments.*did you mean 'frozen'"),
        ("frozen", "must be a mapping with a key 'rule'"),
    ],
)
def test_an_error_in_a_file_names_file_rule_field_and_value(tmp_path, rule, message):
    path = tmp_path / "bad.yaml"
    good = "{rule: lost, modality: all, at: 3}"
    path.write_text(f"name: bad\nrules:\n  - {good}\n  - {rule}\n")
    with pytest.raises(ValueError, match=rf"bad\.yaml: rules\[1\]: .*{message}"):
        load_script(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1", "bad.yaml: "),
        ("3", "a script is a mapping"),
        ("name: x", "field 'rules' is missing"),
        ("name: 3\nrules: []", "name is 3"),
        ("name: x\nrules: 3", "rules is 3"),
        ("name: x\nrule: []\nrules: []", "unknown field 'rule' .*did you mean 'rules'"),
    ],
)
def test_a_file_that_is_no_script_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_script(path)


def test_unknown_names_are_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'hihg' .scripts are none, medium.*did you mean 'high'"):
        load_script("hihg")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        load_script("nowhere.yaml")
    rule = {"rule": "lost", "modality": ["rgb", "tuch"], "at": 0}
    with pytest.raises(
        ValueError, match=r"rules\[0\]: unknown modality 'tuch' .* rgb, touch.*did you mean 'touch'"
    ):
        Dropout(Counter(), script(rule))


def unfailing(name):
    """A counter of which one modality is told and cannot fail."""
    environment = Counter()
    environment.modalities = tuple(
        dataclasses.replace(m, can_fail=m.name != name) for m in Counter.modalities
    )
    return environment


@pytest.mark.parametrize("name", ["medium", "high", "published_high"])
def test_what_cannot_fail_is_delivered_whatever_the_script(name):
    sensors = Dropout(unfailing("touch"), load_script(name), seed=0)
    whole = Counter()
    steps = [(sensors.reset(), whole.reset())]
    steps += [(sensors.step(None), whole.step(None)) for _ in range(STEPS)]
    assert not all(seen.available["rgb"] for seen, _ in steps)
    for seen, true in steps:
        assert seen.available["touch"]
        np.testing.assert_array_equal(seen.values["touch"], true.values["touch"])


def test_a_script_that_names_what_cannot_fail_is_refused():
    rule = {"rule": "noise", "modality": ["rgb", "touch"], "std": 1}
    message = r"rules\[0\]: modality 'touch' cannot fail; those that can: rgb, gone"
    with pytest.raises(ValueError, match=message):
        Dropout(unfailing("touch"), script(rule))
