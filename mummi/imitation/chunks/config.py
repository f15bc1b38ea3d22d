"""Settings of the chunk heads: what all have, and a class for each objective."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

from mummi.imitation.settings import only
from mummi.imitation.weights import require_share
from mummi.presets import WINDOWS

Objective = Literal["mse", "imle", "mirror", "diffusion", "flow", "beso"]
Backbone = Literal["unet", "performer", "transformer"]
Prediction = Literal["noise", "sample"]
Choice = Literal["proxy", "smoothness", "medoid", "first"]
Source = Literal["latent", "sensors", "disentangled"]
Pictures = Literal["resnet", "keypoints", "cnn"]
OWN = ("sensors", "disentangled")
"""Sources of the context that a head's own encoders read."""


@dataclasses.dataclass(frozen=True)
class ChunkConfig:
    """What every head that predicts chunks of actions has; backbones and objectives cross freely.

    Attributes:
        backbone: unet (Diffusion Policy, IMLE Policy), performer (MIRROR), or transformer, the
            same with exact softmax attention (BESO), which is cheaper for short chunks.
        context: latent (of the world model), or encoders that are learned with the actions:
            sensors (features in a row; MIRROR) or disentangled (shared and private parts; DisDP).
        observe: T_o, percepts that are seen.
        predict: T_p, actions of a chunk.
        execute: T_a, actions of it that are taken before the next is made.
        width: d, of tokens, performer and transformer.
        blocks: of performer and transformer.
        heads: of their attention.
        features: random features of each attention head of the performer.
        unet_widths: channels of the U-Net's levels.
        pictures: what encodes images: resnet (ResNet-18 and the mean over its map; MIRROR),
            keypoints (ResNet-18 and spatial softmax; Diffusion Policy), or cnn (three strided
            convolutions, which a CPU can train; what encodes depth either way).
        image_width: channels of the first stage of the ResNet, whose paper has 64; half as many of
            the first convolution.
        shift: images and depth of a training window are moved by up to this share of their height
            and width, each sensor's at random, edges repeated.
        drop: probability, for each sensor that can fail, that a training window lacks it.
        align_weight: weight of the alignment of shared parts.
        align_temperature: τ of it.
        orthogonality_weight: weight of the squared cosine between shared and private parts.
        change_share: share of the windows that is drawn in proportion to how much the wanted action
            changes over the T_a actions that are taken, each action that ever does having an equal
            part; all others alike.
        windows: that training sees, batch after batch.
        batch: of them in an update.
        learning_rate: AdamW's, after the warm-up and before its cosine decay.
        warmup: updates over which it rises.
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        average: power of the moving average of the weights that acts: its decay after n updates
            is 1 - (1 + n)^-power.
        report_every: updates between reports.
    """

    objective: ClassVar[Objective]
    candidates: ClassVar[int] = 1
    choice: ClassVar[Choice] = "first"

    backbone: Backbone = "unet"
    context: Source = "latent"
    observe: int = 2
    predict: int = 16
    execute: int = 8
    width: int = 512
    blocks: int = only("backbone", "performer", "transformer", default=6)
    heads: int = only("backbone", "performer", "transformer", default=8)
    features: int = only("backbone", "performer", default=128)
    unet_widths: tuple[int, ...] = only("backbone", "unet", default=(256, 512, 1024))
    pictures: Pictures = only("context", *OWN, default="resnet")
    image_width: int = only("context", *OWN, default=64)
    shift: float = only("context", *OWN, default=0.0)
    drop: float = only("context", *OWN, default=0.0)
    align_weight: float = only("context", "disentangled", default=0.1)
    align_temperature: float = only("context", "disentangled", default=0.1)
    orthogonality_weight: float = only("context", "disentangled", default=0.1)
    change_share: float = 0.0
    windows: int = WINDOWS["paper"]
    batch: int = 128
    learning_rate: float = 1e-4
    warmup: int = 500
    weight_decay: float = 1e-6
    clip: float = 1.0
    average: float = 0.75
    report_every: int = 100

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "warmup" else 1
            if field.type is int and value < least:
                raise ValueError(f"{field.name} {value} must be at least {least}")
        require_share(self.change_share)
        for name in ("shift", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 0 and below 1")
        if self.align_temperature <= 0:
            raise ValueError(f"align_temperature {self.align_temperature} must be above 0")
        if self.batch > self.windows:
            raise ValueError(f"batch {self.batch} must be at most windows {self.windows}")
        if self.execute > self.predict:
            raise ValueError(f"execute {self.execute} must be at most predict {self.predict}")
        if self.choice == "smoothness" and self.execute == self.predict:
            raise ValueError(
                f"choice smoothness compares with what the last chunk still held: execute "
                f"{self.execute} must be below predict {self.predict}"
            )
        if self.backbone == "unet":
            self._require_halvings()
        elif self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} must be a multiple of twice the heads, {2 * self.heads}"
            )

    @property
    def updates(self) -> int:
        """Updates of training."""
        return self.windows // self.batch

    @property
    def reads_latents(self) -> bool:
        """Whether the context is the latents of a world model."""
        return self.context == "latent"

    def _require_halvings(self):
        halvings = 2 ** (len(self.unet_widths) - 1)
        if self.predict % halvings:
            raise ValueError(
                f"predict {self.predict} must be a multiple of {halvings}: each of the levels "
                f"{self.unet_widths} after the first halves it"
            )
        if any(width < 8 or width % 8 for width in self.unet_widths):
            raise ValueError(f"unet_widths {self.unet_widths} must be multiples of 8")


@dataclasses.dataclass(frozen=True)
class MSEConfig(ChunkConfig):
    """Regression of one chunk."""

    objective: ClassVar[Objective] = "mse"


@dataclasses.dataclass(frozen=True)
class SampledConfig(ChunkConfig):
    """What every head that samples its chunks has.

    Attributes:
        candidates: K, chunks to choose from when acting.
        choice: proxy takes the candidate whose first action is nearest to the last one taken
            (MIRROR's ProxyScore); smoothness the one nearest to what the last chunk still held;
            medoid the one with the least distance to all others; first does not choose. Where a
            robot starts, proxy and smoothness take the one that starts most smoothly.
    """

    candidates: int = 8
    choice: Choice = "proxy"


@dataclasses.dataclass(frozen=True)
class IMLEConfig(SampledConfig):
    """Implicit maximum likelihood with rejection per sample (IMLE Policy).

    Attributes:
        samples: chunks generated for each condition in training; IMLE Policy has 20.
        radius: within which one is rejected.
    """

    objective: ClassVar[Objective] = "imle"

    choice: Choice = "smoothness"
    samples: int = 8
    radius: float = 0.03


@dataclasses.dataclass(frozen=True)
class MirrorConfig(SampledConfig):
    """Implicit maximum likelihood with batch-global rejection (MIRROR).

    Attributes:
        samples: chunks generated for each condition in training.
        calibrate: distances whose quantile the threshold follows: all of the batch, as MIRROR
            prints, where the upper clamp decides in most cases; or each candidate's nearest, of
            which then about that share is rejected from the first updates on.
        quantile: q of the threshold.
        momentum: α of its moving average.
        least_threshold: its lower clamp for each number of an action.
        most_threshold: its upper clamp for each number of an action; MIRROR has 0.2 for the sum
            over an action of unknown weights.
        soft_candidates: K' of the soft coverage.
        temperature: its τ.
        soft_weight: its λ; 0 leaves it out.
    """

    objective: ClassVar[Objective] = "mirror"

    backbone: Backbone = "performer"
    observe: int = 8
    samples: int = 8
    calibrate: Literal["all", "nearest"] = "all"
    quantile: float = 0.25
    momentum: float = 0.9
    least_threshold: float = 1e-4
    most_threshold: float = 0.1
    soft_candidates: int = 3
    temperature: float = 0.1
    soft_weight: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile {self.quantile} must be between 0 and 1")
        if not 0 < self.least_threshold <= self.most_threshold:
            raise ValueError(
                f"least_threshold {self.least_threshold} must be above 0 and at most "
                f"most_threshold {self.most_threshold}"
            )
        if self.soft_candidates > self.samples:
            raise ValueError(
                f"soft_candidates {self.soft_candidates} must be at most samples {self.samples}"
            )


@dataclasses.dataclass(frozen=True)
class DiffusionConfig(SampledConfig):
    """Denoising diffusion, sampled by DDIM (Diffusion Policy).

    Attributes:
        prediction: noise (Diffusion Policy) or sample (DP3), what the network is asked for; noise
            takes many more updates.
        steps: evaluations of the network for one chunk.
        noise_steps: of the diffusion that is trained.
    """

    objective: ClassVar[Objective] = "diffusion"

    candidates: int = 1
    prediction: Prediction = "noise"
    steps: int = 10
    noise_steps: int = 100

    def __post_init__(self):
        super().__post_init__()
        if self.steps > self.noise_steps:
            raise ValueError(f"steps {self.steps} must be at most noise_steps {self.noise_steps}")


@dataclasses.dataclass(frozen=True)
class FlowConfig(SampledConfig):
    """Flow matching, sampled by Euler steps.

    Attributes:
        steps: evaluations of the network for one chunk.
    """

    objective: ClassVar[Objective] = "flow"

    candidates: int = 1
    steps: int = 10


@dataclasses.dataclass(frozen=True)
class BesoConfig(SampledConfig):
    """Score-based diffusion with EDM's preconditioning, sampled by DDIM (BESO).

    Attributes:
        steps: evaluations of the network for one chunk.
        data_std: σ_data, standard deviation of the normalised actions.
        least_std: least σ of the noise.
        most_std: largest σ of the noise, where sampling starts.
        spread: scale of the log-logistic distribution of σ around σ_data in training.
    """

    objective: ClassVar[Objective] = "beso"

    backbone: Backbone = "transformer"
    candidates: int = 1
    steps: int = 10
    data_std: float = 0.5
    least_std: float = 0.005
    most_std: float = 80.0
    spread: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.least_std < self.most_std:
            raise ValueError(
                f"least_std {self.least_std} must be above 0 and below most_std {self.most_std}"
            )
        for name in ("data_std", "spread"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)} must be above 0")


CONFIGS: Mapping[Objective, type[ChunkConfig]] = {
    kind.objective: kind
    for kind in (MSEConfig, IMLEConfig, MirrorConfig, DiffusionConfig, FlowConfig, BesoConfig)
}
"""Settings by objective."""
