"""Divergences of distributions: closed-form KL, and the maximum mean discrepancy."""

from kvae.divergences.kl import (
    closed_form_kl,
    kl_per_dimension,
    marginal_kl_per_dimension,
    register_kl,
)
from kvae.divergences.mmd import mmd

__all__ = ["closed_form_kl", "kl_per_dimension", "marginal_kl_per_dimension", "mmd", "register_kl"]
