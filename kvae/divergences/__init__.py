"""Divergences of distributions: closed-form KL, and distances between samples."""

from kvae.divergences.kl import (
    closed_form_kl,
    kl_of_groups,
    kl_per_dimension,
    marginal_kl_per_dimension,
    register_kl,
)
from kvae.divergences.mmd import mmd
from kvae.divergences.ms_ssim import ms_ssim
from kvae.divergences.sliced_wasserstein import sliced_wasserstein

__all__ = [
    "closed_form_kl",
    "kl_of_groups",
    "kl_per_dimension",
    "marginal_kl_per_dimension",
    "mmd",
    "ms_ssim",
    "register_kl",
    "sliced_wasserstein",
]
