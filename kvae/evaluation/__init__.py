"""Estimates of how good a model is."""

from kvae.evaluation.evaluate import evaluate
from kvae.evaluation.frechet import frechet_distance
from kvae.evaluation.importance import LogProb, importance_log_prob
from kvae.evaluation.latent import LatentSummary, latent_summary
from kvae.evaluation.probes import knn_probe, linear_probe

__all__ = [
    "LatentSummary",
    "LogProb",
    "evaluate",
    "frechet_distance",
    "importance_log_prob",
    "knn_probe",
    "latent_summary",
    "linear_probe",
]
