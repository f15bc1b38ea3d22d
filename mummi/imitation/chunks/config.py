"""Settings of the chunk heads."""

import dataclasses
from typing import Literal

from mummi.imitation.heads.head import WINDOWS

Objective = Literal["mse", "imle", "mirror", "diffusion", "flow"]
Backbone = Literal["unet", "performer"]


@dataclasses.dataclass(frozen=True)
class ChunkConfig:
    """A head that predicts chunks of actions; backbones and objectives cross freely.

    Attributes:
        objective: mse; imle (rejection per sample, IMLE Policy); mirror (batch-global rejection);
            diffusion (DDPM, sampled by DDIM); flow (flow matching, sampled by Euler steps).
        backbone: unet (Diffusion Policy, IMLE Policy) or performer (MIRROR).
        context: latent (of the world model) or sensors (MIRROR's own encoders).
        observe: T_o, percepts that are seen.
        predict: T_p, actions of a chunk.
        execute: T_a, actions of it that are taken before the next is made.
        candidates: K, chunks to choose from when acting; mse has one.
        choice: proxy takes the candidate whose first action is nearest to the last one taken
            (MIRROR's ProxyScore); smoothness the one nearest to what the last chunk still held;
            first does not choose. All take the first candidate where a robot starts.
        samples: chunks generated for each condition in training, by imle and mirror; IMLE Policy
            has 20.
        width: d, of tokens and performer.
        blocks: of the performer.
        heads: of its attention.
        features: random features of each attention head.
        unet_widths: channels of the U-Net's levels.
        image_width: channels of the first stage of the ResNet, whose paper has 64.
        steps: evaluations of the network for one chunk by diffusion and flow.
        noise_steps: of the diffusion that is trained.
        radius: within which imle rejects.
        quantile: q of mirror's threshold.
        momentum: α of its moving average.
        least_threshold: its lower clamp, where it starts.
        most_threshold: its upper clamp.
        soft_candidates: K' of mirror's soft coverage.
        temperature: its τ.
        soft_weight: its λ; 0 leaves it out.
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

    objective: Objective = "mirror"
    backbone: Backbone = "performer"
    context: Literal["latent", "sensors"] = "latent"
    observe: int = 8
    predict: int = 16
    execute: int = 8
    candidates: int = 8
    choice: Literal["proxy", "smoothness", "first"] = "proxy"
    samples: int = 8
    width: int = 512
    blocks: int = 6
    heads: int = 8
    features: int = 128
    unet_widths: tuple[int, ...] = (256, 512, 1024)
    image_width: int = 64
    steps: int = 10
    noise_steps: int = 100
    radius: float = 0.03
    quantile: float = 0.25
    momentum: float = 0.9
    least_threshold: float = 1e-4
    most_threshold: float = 0.2
    soft_candidates: int = 3
    temperature: float = 0.1
    soft_weight: float = 0.01
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
        self._require_whole_chunks()
        if self.batch > self.windows:
            raise ValueError(f"batch {self.batch} must be at most windows {self.windows}")
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} must be a multiple of twice the heads, {2 * self.heads}"
            )
        if self.steps > self.noise_steps:
            raise ValueError(f"steps {self.steps} must be at most noise_steps {self.noise_steps}")
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile {self.quantile} must be between 0 and 1")
        if not 0 < self.least_threshold <= self.most_threshold:
            raise ValueError(
                f"least_threshold {self.least_threshold} must be above 0 and at most "
                f"most_threshold {self.most_threshold}"
            )
        if self.objective == "mirror" and self.soft_candidates > self.samples:
            raise ValueError(
                f"soft_candidates {self.soft_candidates} must be at most samples {self.samples}"
            )

    @property
    def updates(self) -> int:
        """Updates of training."""
        return self.windows // self.batch

    def _require_whole_chunks(self):
        if self.execute > self.predict:
            raise ValueError(f"execute {self.execute} must be at most predict {self.predict}")
        if self.choice == "smoothness" and self.execute == self.predict:
            raise ValueError(
                f"choice smoothness compares with what the last chunk still held: execute "
                f"{self.execute} must be below predict {self.predict}"
            )
        if self.backbone != "unet":
            return
        halvings = 2 ** (len(self.unet_widths) - 1)
        if self.predict % halvings:
            raise ValueError(
                f"predict {self.predict} must be a multiple of {halvings}: each of the levels "
                f"{self.unet_widths} after the first halves it"
            )
        if any(width < 8 or width % 8 for width in self.unet_widths):
            raise ValueError(f"unet_widths {self.unet_widths} must be multiples of 8")
