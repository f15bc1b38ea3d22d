"""Baselines that learn encoders of their own with the actions: settings of other chunk heads.

What each takes from its paper, and what the paper leaves open, is in docs/baselines.md.
"""

import dataclasses
from collections.abc import Mapping

from mummi.imitation.chunks.config import (
    OWN,
    Backbone,
    BesoConfig,
    ChunkConfig,
    DiffusionConfig,
    MSEConfig,
    Pictures,
    Prediction,
    Source,
)
from mummi.imitation.settings import only


@dataclasses.dataclass(frozen=True)
class DiffusionPolicyConfig(DiffusionConfig):
    """Diffusion Policy: ResNet-18 with spatial softmax, noise prediction, U-Net, DDIM."""

    backbone: Backbone = "unet"
    context: Source = "sensors"
    prediction: Prediction = "noise"
    pictures: Pictures = only("context", *OWN, default="keypoints")
    shift: float = only("context", *OWN, default=0.05)


@dataclasses.dataclass(frozen=True)
class BesoActConfig(BesoConfig):
    """BESO-ACT: EDM diffusion by a transformer decoder, the sensors' features in a row."""

    backbone: Backbone = "transformer"
    context: Source = "sensors"


@dataclasses.dataclass(frozen=True)
class BesoActDropoutConfig(BesoActConfig):
    """BESO-ACT-Dropout: BESO-ACT, trained with sensors hidden at random."""

    drop: float = only("context", *OWN, default=0.3)


@dataclasses.dataclass(frozen=True)
class DisBCConfig(MSEConfig):
    """DisBC: regression by a transformer decoder from shared and private parts."""

    backbone: Backbone = "transformer"
    context: Source = "disentangled"


@dataclasses.dataclass(frozen=True)
class DisDPConfig(BesoConfig):
    """DisDP: BESO-ACT from shared and private parts."""

    backbone: Backbone = "transformer"
    context: Source = "disentangled"


BASELINES: Mapping[str, type[ChunkConfig]] = {
    "diffusion_policy": DiffusionPolicyConfig,
    "beso_act": BesoActConfig,
    "beso_act_dropout": BesoActDropoutConfig,
    "disbc": DisBCConfig,
    "disdp": DisDPConfig,
}
"""Settings by name."""
