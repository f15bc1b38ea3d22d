"""What the declaration of a sensor says of its values."""

import numpy as np
import pytest

from mummi.modality import Modality, is_finite

FLOATS = (
    Modality("depth", "depth", (4, 4, 1)),
    Modality("touch", "vector", (2,)),
    Modality("clip", "embedding", (3,)),
)
IMAGE = Modality("rgb", "image", (4, 4, 3))
BAD = (np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("modality", FLOATS, ids=lambda m: m.kind)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_number_that_is_not_finite_spoils_its_value_and_no_other(modality, bad, dtype):
    values = np.zeros((2, 3, *modality.shape), dtype)
    assert is_finite(modality, values).all()
    values[1, 2].flat[-1] = bad
    expected = np.ones((2, 3), bool)
    expected[1, 2] = False
    np.testing.assert_array_equal(is_finite(modality, values), expected)
    assert is_finite(modality, values[0, 0]) and not is_finite(modality, values[1, 2])
    assert not is_finite(modality, np.full(modality.shape, bad, dtype))


def test_pixels_are_always_finite():
    values = np.full((5, *IMAGE.shape), 255, np.uint8)
    assert is_finite(IMAGE, values).shape == (5,) and is_finite(IMAGE, values).all()
    assert is_finite(IMAGE, values[0])


def test_what_float32_cannot_hold_is_not_finite():
    touch = FLOATS[1]
    assert is_finite(touch, np.array([3e38, -3e38]))
    assert not is_finite(touch, np.array([0.0, 1e39]))
