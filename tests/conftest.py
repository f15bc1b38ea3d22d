"""What all tests share; runs before any of them imports jax."""

import os

import hypothesis

# Several test processes may share one accelerator, and each would reserve most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# The first example of a property compiles, so no deadline fits; the same examples every run.
hypothesis.settings.register_profile("mummi", deadline=None, derandomize=True)
hypothesis.settings.load_profile("mummi")
