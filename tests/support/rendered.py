"""Renderers of the tests share what takes most of a second to make and is the same for each."""

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def shared_contexts() -> Iterator[None]:
    """Within it a renderer takes the OpenGL context that another one gave back.

    The software renderer compiles its shaders in each context anew.
    """
    from envs.rendering import renderer

    free, make, ended = [], renderer._GLContext, False

    class Shared:
        def __init__(self, *size):
            self._context = free.pop() if free else make(*size)

        def make_current(self):
            self._context.make_current()

        def free(self):
            if ended:
                self._context.free()
            else:
                free.append(self._context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer, "_GLContext", Shared)
        yield
    ended = True
    for context in free:
        context.free()
