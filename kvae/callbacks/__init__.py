"""Callbacks for `fit`: exact resuming, a stop at NaN, a watch on the latents, and pictures."""

from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.finite_loss import FiniteLoss
from kvae.callbacks.latent_monitor import LatentMonitor
from kvae.callbacks.pictures import Pictures

__all__ = ["Checkpoint", "FiniteLoss", "LatentMonitor", "Pictures"]
