"""Whether MetaWorld is here; modules that need it skip otherwise."""

import importlib.util

import pytest

needs_metaworld = pytest.mark.skipif(
    importlib.util.find_spec("metaworld") is None, reason="needs MetaWorld (make metaworld)"
)
