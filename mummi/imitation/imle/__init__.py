"""Implicit maximum likelihood estimation with rejection sampling (IMLE Policy, MIRROR)."""

from mummi.imitation.imle.objectives import (
    batch_global_rs_imle,
    charbonnier,
    mirror_loss,
    per_sample_rs_imle,
)

__all__ = ["batch_global_rs_imle", "charbonnier", "mirror_loss", "per_sample_rs_imle"]
