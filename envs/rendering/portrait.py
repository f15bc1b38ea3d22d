"""Pictures for people, with smooth edges."""

from collections.abc import Callable

import numpy as np

from envs.rendering.renderer import Renderer


class Portrait:
    """Draws at twice the size and averages.

    Args:
        make: gives a renderer of pictures of that many pixels a side.
    """

    def __init__(self, make: Callable[[int], Renderer]):
        self._make, self._renderer = make, None

    def picture(self, data, camera: str, size: int) -> np.ndarray:
        """What a camera sees, [size, size, 3] uint8; ``data`` is of the renderer's model."""
        if self._renderer is None or self._renderer.size != 2 * size:
            self.close()
            self._renderer = self._make(2 * size)
        picture, _ = self._renderer.view(data, camera)
        return picture.reshape(size, 2, size, 2, 3).mean((1, 3)).round().astype(np.uint8)

    def close(self) -> None:
        """Frees the renderer; the next picture makes another."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None
