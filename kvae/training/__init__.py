"""Training that survives interruptions."""

from kvae.training.checkpoint import Checkpoint

__all__ = ["Checkpoint"]
