"""Pictures are resized by area averaging."""

import itertools

import numpy as np
import pytest

from mummi.imitation.pictures import fitted, resize


def area_means(picture, size):
    """Each pixel the mean of the area that it covers, one after the other, float64 [h, w, C]."""
    height, width, channels = picture.shape
    made = np.zeros((*size, channels))
    for row, column in itertools.product(range(size[0]), range(size[1])):
        rows, columns = (
            np.clip(np.minimum(np.arange(n) + 1, high) - np.maximum(np.arange(n), low), 0, 1)
            for n, low, high in (
                (height, row * height / size[0], (row + 1) * height / size[0]),
                (width, column * width / size[1], (column + 1) * width / size[1]),
            )
        )
        weights = np.outer(rows, columns) / rows.sum() / columns.sum()
        made[row, column] = np.einsum("hw,hwc->c", weights, picture.astype(np.float64))
    return made


@pytest.mark.parametrize("size", [(3, 4), (5, 4), (6, 8), (1, 1), (5, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_pixel_is_the_mean_of_the_area_that_it_covers(size, channels):
    random = np.random.default_rng(0)
    depth = random.normal(size=(6, 8, channels)).astype(np.float32)
    np.testing.assert_allclose(resize(depth, size), area_means(depth, size), atol=1e-2)
    whole = random.integers(0, 256, (6, 8, channels), np.uint8)
    made = resize(whole, size)
    assert made.dtype == np.uint8 and made.shape == (*size, channels)
    assert np.abs(made - area_means(whole, size)).max() <= 2


def test_whole_blocks_are_exact_and_leading_axes_stay():
    pictures = np.random.default_rng(1).normal(size=(2, 5, 12, 8, 3)).astype(np.float32)
    blocks = pictures.reshape(2, 5, 4, 3, 4, 2, 3).mean((3, 5))
    np.testing.assert_allclose(resize(pictures, (4, 4)), blocks, atol=1e-6)
    assert resize(pictures, (12, 8)) is pictures
    assert resize(pictures[:, :0], (4, 4)).shape == (2, 0, 4, 4, 3)


def test_smaller_pictures_are_enlarged_and_infinite_pixels_stay_infinite():
    small = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    np.testing.assert_array_equal(resize(small, (4, 4)), small.repeat(2, 0).repeat(2, 1))
    depth = np.ones((4, 4, 1), np.float32)
    depth[0, 1] = np.nan
    assert np.isnan(resize(depth, (2, 2))[..., 0]).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [
        ((480, 640), 64, (64, 85)),
        ((640, 480), 64, (85, 64)),
        ((84, 84), 64, (64, 64)),
        ((96, 96), 96, (96, 96)),
        ((720, 1280), 128, (128, 228)),
        ((16, 24), 64, (64, 96)),
    ],
)
def test_the_shorter_side_is_as_asked_and_proportions_stay(size, side, wanted):
    assert fitted(size, side) == wanted
