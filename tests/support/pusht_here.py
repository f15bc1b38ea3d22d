"""Whether Push-T is here; modules that need it skip otherwise."""

import importlib.util

import pytest

needs_pusht = pytest.mark.skipif(
    importlib.util.find_spec("gym_pusht") is None, reason="needs Push-T (make pusht)"
)
