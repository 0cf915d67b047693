"""Training that survives interruptions, and a watch on its latent variables."""

from kvae.training.checkpoint import Checkpoint
from kvae.training.finite import FiniteLoss
from kvae.training.latent_monitor import LatentMonitor

__all__ = ["Checkpoint", "FiniteLoss", "LatentMonitor"]
