"""Messages: the bytes that openpi's client and server send, and what is refused."""

import pickle
import time

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers

from experiments.serving.messages import DTYPES, pack, unpack


def entries(**changes) -> dict:
    """An array [1, 2] of float32 as it stands in a message."""
    there = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [1, 2]} | changes
    return {name.encode(): value for name, value in there.items() if value is not ...}


def test_an_array_is_these_bytes():
    """Written by hand from the specification of msgpack: a map of four, binary keys."""
    expected = (
        *(b"\x84", b"\xc4\x0b__ndarray__", b"\xc3"),
        *(b"\xc4\x04data", b"\xc4\x04\x01\x00\x02\x00"),
        *(b"\xc4\x05dtype", b"\xa3<u2", b"\xc4\x05shape", b"\x92\x01\x02"),
    )  # fmt: skip
    array = np.array([[1, 2]], "<u2")
    assert pack(array) == b"".join(expected)
    found = unpack(b"".join(expected))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(
    st.sampled_from(list(DTYPES.values())).flatmap(
        lambda dtype: numbers.arrays(dtype, numbers.array_shapes(min_dims=0, min_side=0))
    )
)
def test_every_array_comes_back_as_it_was(array):
    found = unpack(pack({"a": array, "b": [1, None, "text"]}))
    assert found["b"] == [1, None, "text"]
    assert (found["a"].shape, found["a"].dtype) == (array.shape, array.dtype)
    assert found["a"].tobytes() == array.tobytes()


def test_an_array_that_is_not_in_one_piece_is_sent_by_its_values():
    array = np.arange(12).reshape(3, 4)[:, ::2].T
    np.testing.assert_array_equal(unpack(pack(array)), array)


@pytest.mark.parametrize("value", [np.float32(0.5), np.bool_(True), np.int64(-3)])
def test_a_numpy_scalar_is_one(value):
    sent = {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    found = unpack(msgpack.packb(sent))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "|O"}, r"dtype '\|O'; it may be \|b1, \|u1"),
        ({"dtype": "|S8"}, r"dtype '\|S8'"),
        ({"dtype": "<f4,<f4"}, "dtype '<f4,<f4'"),
        ({"dtype": ">f4"}, "dtype '>f4'"),
        ({"dtype": ...}, "dtype None"),
        ({"dtype": ["<f4"]}, "unhashable"),
        ({"shape": [3]}, "cannot reshape array of size 2"),
        ({"shape": [2**63]}, "Maximum allowed dimension exceeded"),
        ({"shape": ["two"]}, "str"),
        ({"shape": 2}, "no shape"),
        ({"shape": ...}, "no shape"),
        ({"data": bytes(7)}, "buffer size must be a multiple"),
        ({"data": "text"}, "bytes-like"),
        ({"data": ...}, "bytes-like"),
    ],
)
def test_an_array_that_is_none_is_refused(changes, said):
    with pytest.raises(ValueError, match=f"not msgpack as it should be: .*({said})"):
        unpack(msgpack.packb({"touch": entries(**changes)}))


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"\xc1", b"\x92\x01", b"\x01\x02", b"{}", b"\xa2\xff\xff"),
        *(b"\xd7\xff" + bytes(8), b"\x81\x90\x01", pickle.dumps({"touch": [1]})),
    ],
)
def test_what_is_not_msgpack_is_refused_in_a_sentence(message):
    with pytest.raises(ValueError, match=r"the message is not msgpack as it should be: ."):
        unpack(message)


def test_headers_that_claim_what_is_not_there_cost_nothing():
    began = time.process_time()
    for header in (b"\xdd\x00\x0f\xff\xff", b"\xdf\x00\x0f\xff\xff", b"\x91"):
        with pytest.raises(ValueError, match="not msgpack"):
            unpack(header * 200_000)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("value", [np.float32(1), object(), {1, 2}])
def test_what_is_no_array_is_not_packed(value):
    with pytest.raises(TypeError, match="cannot be sent"):
        pack({"a": value})
