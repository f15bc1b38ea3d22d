"""Random shifts: against a slow loop, within bounds, alike for all steps of a sequence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mummi.modality import Modality
from mummi.model.augmentation import random_shift, shift_sensors

KEY = jax.random.PRNGKey(0)


def shifts(image: np.ndarray, most: tuple[int, int]) -> dict[tuple[int, int], np.ndarray]:
    """Every shift [T, H, W, C] of a sequence by at most so many rows and columns."""
    rows, columns = most
    wide = np.pad(image, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode="edge")
    height, width = image.shape[1:3]
    return {
        (r - rows, c - columns): wide[:, r : r + height, c : c + width]
        for r in range(2 * rows + 1)
        for c in range(2 * columns + 1)
    }


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.sampled_from([np.uint8, np.float32]))
def test_each_sequence_is_one_of_the_possible_shifts(seed, dtype):
    images = np.random.default_rng(seed).integers(0, 256, (3, 2, 10, 20, 3)).astype(dtype)
    moved = np.asarray(random_shift(jnp.asarray(images), jax.random.PRNGKey(seed), 0.1))
    assert moved.dtype == dtype
    for before, after in zip(images, moved, strict=True):
        assert any(np.array_equal(after, one) for one in shifts(before, (1, 2)).values())


def test_every_shift_is_equally_likely():
    image = np.random.default_rng(0).integers(0, 256, (1, 10, 10, 1), np.uint8)
    moved = np.asarray(random_shift(jnp.asarray(image)[None].repeat(4500, 0), KEY, 0.1))
    found = [(moved == one).all((1, 2, 3, 4)).mean() for one in shifts(image, (1, 1)).values()]
    np.testing.assert_allclose(found, 1 / 9, atol=0.02)


def test_sensors_move_on_their_own_and_vectors_not_at_all():
    modalities = (
        Modality("rgb", "image", (16, 16, 3)),
        Modality("depth", "depth", (16, 16, 1)),
        Modality("touch", "vector", (2,)),
    )
    ramp = jnp.broadcast_to(jnp.arange(16)[:, None, None], (64, 1, 16, 16, 1))
    values = {"rgb": ramp.repeat(3, -1), "depth": ramp, "touch": jnp.ones((64, 1, 2))}
    moved = shift_sensors(values, modalities, KEY, 0.25)
    assert moved["touch"] is values["touch"]
    rows = [np.asarray(moved[name][:, 0, 8, 8, 0]) - 8 for name in ("rgb", "depth")]
    assert abs(np.corrcoef(*rows)[0, 1]) < 0.3
    assert {int(r) for r in rows[0]} == set(range(-4, 5))


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_less_than_a_pixel_moves_nothing(share):
    images = jnp.asarray(np.random.default_rng(0).random((2, 3, 8, 8, 1)))
    np.testing.assert_array_equal(random_shift(images, KEY, share), images)
