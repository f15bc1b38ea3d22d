"""Statistics of features, against NumPy over all frames at once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mummi.imitation.demonstrations.lerobot import statistics

PARTS = st.lists(
    st.integers(0, 6).flatmap(
        lambda n: arrays(np.float32, (n, 2), elements=st.floats(-9, 9, width=32))
    ),
    min_size=1,
    max_size=5,
)


def require_numpys(found, values):
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(found[name], getattr(values, name)(0), atol=1e-6)
    assert found["count"].tolist() == [len(values)]


@settings(max_examples=100, deadline=None)
@given(PARTS)
def test_parts_together_have_the_statistics_of_the_whole(parts):
    whole = np.concatenate(parts).astype(np.float64)
    found = statistics.together([statistics.of_numbers(part) for part in parts])
    if len(whole):
        require_numpys(found, whole)
    else:
        assert found["count"].tolist() == [0] and found["mean"].tolist() == [0, 0]


def test_pictures_are_measured_by_channel_in_the_unit_interval():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    found = statistics.of_pictures(pictures)
    pixels = pictures.reshape(-1, 3) / 255
    for name in ("min", "max", "mean", "std"):
        assert found[name].shape == (3, 1, 1)
        np.testing.assert_allclose(found[name][:, 0, 0], getattr(pixels, name)(0))
    assert found["count"].tolist() == [5]
    assert statistics.of_pictures(pictures[:0])["mean"].shape == (3, 1, 1)


def test_depth_keeps_its_unit_and_a_number_a_frame_has_one_dimension():
    depth = np.full((2, 3, 3, 1), 1.5, np.float32)
    assert statistics.of_pictures(depth)["max"].tolist() == [[[1.5]]]
    require_numpys(statistics.of_numbers(np.arange(4)), np.arange(4.0)[:, None])
