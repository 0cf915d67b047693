"""What users hand to `fit`: trainings that resume, stop at NaN, or watch their latents."""

from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.finite_loss import FiniteLoss
from kvae.callbacks.latent_monitor import LatentMonitor

__all__ = ["Checkpoint", "FiniteLoss", "LatentMonitor"]
