"""What one robot is told: answers, episodes, and sentences about wrong messages."""

import math
import time

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.serving.conversation import Conversation, largest_message, metadata, warm_up
from experiments.serving.messages import pack, unpack
from mummi.modality import Modality
from mummi.presets import preset
from mummi.runs.record import Run
from tests.support.counting import counting, observe
from tests.support.small import ACTION_SIZE, MODALITIES

NAMES = [m.name for m in MODALITIES]
RUN = Run(preset("debug", "walker_walk"), MODALITIES, ACTION_SIZE)


def ask(talk: Conversation, **changes) -> dict | str:
    """The answer to an observation, changed."""
    found = talk.answer(pack(observe(**changes)), time.perf_counter())
    return found if isinstance(found, str) else unpack(found)


def steps(answer: dict) -> int:
    """Steps of the episode, by its action."""
    return round(100 * float(answer["actions"][0, 0]))


def test_the_metadata_say_what_the_policy_needs_and_gives():
    told = unpack(pack(metadata(counting(), RUN, trust=False, rate=20.0)))
    assert list(told["sensors"]) == NAMES
    assert told["sensors"]["rgb"] == {
        "kind": "image", "shape": [8, 8, 3], "dtype": "uint8", "can_fail": True
    }  # fmt: skip
    assert told["sensors"]["touch"]["dtype"] == "float32"
    assert told["actions"] == {
        "shape": [1, 2], "dtype": "float32", "low": [-1.0, -1.0], "high": [1.0, 1.0]
    }  # fmt: skip
    rest = {name: told[name] for name in told if name not in ("sensors", "actions")}
    assert rest == {
        "instructions": [], "rate": 20.0, "task": "walker_walk", "method": "mummi",
        "preset": "debug", "step": 7, "trust": False,
    }  # fmt: skip


def test_a_sensor_that_is_called_as_a_key_of_messages_is_refused():
    policy = counting()
    policy.modalities = (Modality("reset", "vector", (1,)),)
    with pytest.raises(ValueError, match="'reset' has the name"):
        metadata(policy, RUN, trust=False, rate=None)


def test_an_answer_is_an_action_and_where_it_came_from():
    arrived = time.perf_counter() - 0.25
    talk = Conversation(counting(), trust=False)
    answer = unpack(talk.answer(pack(observe()), arrived))
    assert set(answer) == {"actions", "taken", "server_timing"}
    assert answer["actions"].dtype == np.float32
    np.testing.assert_allclose(answer["actions"], [[0.01, 0.03]])
    assert answer["taken"] == NAMES
    assert 250 < answer["server_timing"]["infer_ms"] < 1250


@pytest.mark.parametrize("absent", [None, ...])
def test_a_sensor_that_is_left_out_is_missing(absent):
    content = {name: v for name, v in observe(depth=absent).items() if v is not ...}
    answer = unpack(Conversation(counting(), trust=False).answer(pack(content), 0.0))
    np.testing.assert_allclose(answer["actions"], [[0.01, 0.02]])
    assert answer["taken"] == ["rgb", "touch"]


@pytest.mark.filterwarnings("ignore:modality 'touch' delivered NaN")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_missing(bad):
    answer = ask(Conversation(counting(), trust=False), touch=np.array([0.0, bad]))
    assert answer["taken"] == ["rgb", "depth"]


def test_with_trust_an_answer_tells_it_and_whom_it_left_out():
    answer = ask(Conversation(counting(0.9, 0.25, 0.5), trust=True), rgb=None)
    assert answer["trust"] == {"rgb": 0.9, "depth": 0.25, "touch": 0.5}
    assert answer["taken"] == ["touch"]


def test_each_robot_has_a_past_of_its_own_and_reset_begins_anew():
    policy = counting()
    one, other = Conversation(policy, trust=False), Conversation(policy, trust=False)
    assert [steps(ask(one)) for _ in range(3)] == [1, 2, 3]
    assert [steps(ask(other)) for _ in range(2)] == [1, 2]
    assert [steps(ask(one, reset=reset)) for reset in (False, True, False)] == [4, 1, 2]


def test_a_numpy_bool_also_resets():
    talk = Conversation(counting(), trust=False)
    ask(talk)
    sent = {b"__npgeneric__": True, b"data": True, b"dtype": "|b1"}
    assert steps(unpack(talk.answer(msgpack.packb({"reset": sent}), 0.0))) == 1


WRONG = {
    "unknown sensor": (pack(observe(tactil=np.zeros(2))), "unknown sensor 'tactil'; this"),
    "unknown and missing": (pack(observe(tactil=None)), "unknown sensor 'tactil'"),
    "prompt": (pack(observe(prompt="wipe")), "unknown sensor 'prompt'"),
    "key of bytes": (pack({b"rgb": np.zeros(2)}), "unknown sensor b'rgb'"),
    "wrong shape": (pack(observe(touch=np.zeros(3))), r"'touch' has shape \(3,\), not \(2,\)"),
    "wrong dtype": (
        pack(observe(rgb=np.zeros((8, 8, 3)))), "'rgb' has dtype float64, not uint8"
    ),
    "wide dtype": (
        pack(observe(rgb=np.full((8, 8, 3), 300, np.uint16))), "'rgb' has dtype uint16, not uint8"
    ),
    "list": (pack(observe(touch=[0.0, 0.0])), "'touch' is a list; send a NumPy array"),
    "dict": (pack(observe(touch={"x": 0.0})), "'touch' is a dict; send a NumPy array"),
    "sentence": (pack(observe(touch="wipe")), "'touch' is text; it must be an array"),
    "number": (pack(observe(touch=0.0)), "'touch' is a float"),
    "no bool": (pack(observe(reset=1)), "'reset' is 1; send True or False"),
    "wrong and reset": (pack(observe(reset=True, touch=np.zeros(3))), "'touch' has shape"),
    "no dict": (pack([np.zeros(2)]), "the message is a list; send a dict"),
    "array": (pack(np.zeros(2)), "the message is a ndarray; send a dict"),
    "nothing": (pack(None), "the message is a NoneType; send a dict"),
    "text": ("hello", "a text frame; send msgpack in a binary one"),
    "garbage": (b"\xc1garbage", "not msgpack"),
    "object array": (
        msgpack.packb(
            {"touch": {b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [2]}}
        ),
        r"dtype '\|O'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_message_is_answered_by_a_sentence_and_changes_nothing(kind):
    message, said = WRONG[kind]
    talk = Conversation(counting(), trust=False)
    assert steps(ask(talk)) == 1
    found = talk.answer(message, time.perf_counter())
    assert isinstance(found, str)
    with pytest.raises(ValueError, match=said):
        raise ValueError(found)
    assert steps(ask(talk)) == 2
    assert (talk.answered, talk.refused) == (2, 1)


def test_a_sentence_is_never_long():
    found = Conversation(counting(), trust=False).answer(pack({"x" * 10**6: np.zeros(1)}), 0.0)
    assert "unknown sensor 'xxx" in found and len(found) < 100


@pytest.mark.filterwarnings("ignore:modality 'touch' delivered NaN")
@pytest.mark.filterwarnings("ignore:modality 'depth' delivered NaN")
@given(st.data())
def test_a_damaged_message_is_answered_or_refused(data):
    """Bytes changed, cut out and put in anywhere never raise, and never end the conversation."""
    message = bytearray(pack(observe(reset=True)))
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers are denser at the ends of the values than inside.
        at = data.draw(st.integers(0, len(message) - 1))
        end = at + data.draw(st.integers(0, 4))
        message[at:end] = data.draw(st.binary(max_size=4))
    talk = Conversation(counting(), trust=False)
    assert isinstance(talk.answer(bytes(message), 0.0), bytes | str)
    assert isinstance(ask(talk), dict)


def test_the_largest_message_fits_and_little_more():
    widest = {
        m.name: np.zeros(m.shape, np.uint8 if m.kind == "image" else np.float64) for m in MODALITIES
    }
    needed, allowed = len(pack(widest | {"reset": True})), largest_message(MODALITIES)
    assert needed < allowed < needed + 1024 * (1 + len(MODALITIES))
    assert isinstance(Conversation(counting(), trust=False).answer(pack(widest), 0.0), bytes)


def test_warming_up_leaves_the_policy_as_it_was():
    policy = counting()
    policy(observe())
    warm_up(policy)
    np.testing.assert_allclose(policy(observe()), [0.02, 0.03])
