"""Training procedures: the one that every training here follows, and searches made of it."""

from kvae.training.beta import train_over_beta
from kvae.training.procedure import Interrupted, Settings, Trained, train
from kvae.training.sweep import sweep

__all__ = ["Interrupted", "Settings", "Trained", "sweep", "train", "train_over_beta"]
