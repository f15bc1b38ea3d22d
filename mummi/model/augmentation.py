"""Random changes of what sensors showed, for training on few demonstrations."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from mummi.modality import Modality


def random_shift(
    images: Shaped[Array, "B T H W C"], key: Array, share: float
) -> Shaped[Array, "B T H W C"]:
    """Moves each sequence's images by a random number of pixels; edges are repeated.

    All steps of a sequence move alike, so that what moves in them stays what moved.

    Args:
        images: of any dtype.
        key: random key.
        share: most pixels, of the height and of the width, rounded down.

    Source: random shifts of DrQ (Kostrikov et al., 2020), random crops of robomimic.
    """
    keys = jax.random.split(key)
    for axis, size, axis_key in zip((1, 2), images.shape[2:4], keys, strict=True):
        most = int(share * size)
        by = jax.random.randint(axis_key, (len(images), 1), -most, most + 1)
        index = jnp.clip(jnp.arange(size) + by, 0, size - 1)
        images = jax.vmap(lambda x, i, axis=axis: jnp.take(x, i, axis))(images, index)
    return images


def shift_sensors(
    values: Mapping[str, Array], modalities: Sequence[Modality], key: Array, share: float
) -> dict[str, Array]:
    """``random_shift`` of every image and depth map, each sensor's own; others stay as they are."""
    keys = jax.random.split(key, len(modalities))
    return {
        m.name: random_shift(values[m.name], k, share)
        if m.kind in ("image", "depth")
        else values[m.name]
        for m, k in zip(modalities, keys, strict=True)
    }
