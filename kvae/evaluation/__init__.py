"""Estimates of how good a model is."""

from kvae.evaluation.evaluate import evaluate
from kvae.evaluation.importance import LogProb, importance_log_prob

__all__ = ["LogProb", "evaluate", "importance_log_prob"]
