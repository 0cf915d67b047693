"""Callbacks for `fit`: exact resuming, a stop at NaN, and a watch on the latents."""

from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.finite_loss import FiniteLoss
from kvae.callbacks.latent_monitor import LatentMonitor

__all__ = ["Checkpoint", "FiniteLoss", "LatentMonitor"]
