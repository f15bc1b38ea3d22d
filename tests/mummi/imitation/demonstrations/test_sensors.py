"""What dtype and shape of an array say about a sensor, and which way round its pictures lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mummi.imitation.demonstrations.sensors import convert, declare, identifier


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "kind", "expected"),
    [
        ("cam", np.uint8, (48, 64, 3), "image", (48, 64, 3)),
        ("cam", np.uint8, (3, 48, 64), "image", (48, 64, 3)),
        ("cam", np.uint8, (32, 32), "image", (32, 32, 1)),
        ("cam", np.uint8, (1, 32, 32), "image", (32, 32, 1)),
        ("cam", np.uint8, (32, 32, 4), "image", (32, 32, 4)),
        ("cam", np.uint16, (48, 64, 1), "depth", (48, 64, 1)),
        ("cam", np.uint16, (48, 64), "depth", (48, 64, 1)),
        ("cam", np.float32, (1, 48, 64), "depth", (48, 64, 1)),
        ("wrist_Depth", np.float32, (48, 64), "depth", (48, 64, 1)),
        ("pose", np.float32, (4, 4), "vector", (16,)),
        ("joints", np.float64, (7,), "vector", (7,)),
        ("gripper", np.float32, (), "vector", (1,)),
        ("touched", bool, (2,), "vector", (2,)),
    ],
)
def test_kind_and_shape_follow_from_dtype_and_shape(name, dtype, shape, kind, expected):
    found = declare(name, dtype, shape)
    assert (found.kind, found.shape) == (kind, expected)
    stored = np.random.default_rng(0).integers(0, 2, (5, *shape)).astype(dtype)
    values = convert(found, stored)
    assert values.shape == (5, *expected)
    if shape != expected and shape[:1] in ((1,), (3,)) and kind != "vector":
        for row in range(expected[0]):  # channels first
            np.testing.assert_array_equal(values[:, row], stored[:, :, row].swapaxes(1, 2))
    else:
        np.testing.assert_array_equal(values.ravel(), stored.ravel())


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        (np.uint8, (3, 64, 3), r"shape \(3, 64, 3\), in which channels may come first or last"),
        (np.uint8, (64, 64, 9), "may come first or last"),
        (np.float32, (64, 64, 3), "dtype float32; pictures must be uint8"),
        (np.int64, (64, 64, 1), "dtype int64; depth must be floats, or uint16 in millimetres"),
        (np.float32, (2, 3, 4, 5), "at most three axes"),
        ("S4", (7,), r"dtype \|S4; it must be numbers"),
    ],
)
def test_what_is_no_sensor_is_refused(dtype, shape, said):
    with pytest.raises(ValueError, match=said):
        declare("sensor", dtype, shape)


def test_the_kind_that_the_data_say_counts():
    assert declare("code", np.float32, (5,), "embedding").kind == "embedding"
    assert declare("tiny", np.uint8, (3, 64, 3), "image").shape == (3, 64, 3)


@given(st.text(min_size=1))
def test_every_name_becomes_an_identifier(name):
    assert identifier(name).isidentifier()
