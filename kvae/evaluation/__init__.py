"""Estimates of how good a model is."""

from kvae.evaluation.annealed import annealed_log_prob
from kvae.evaluation.bits import bits_per_dim, dequantize
from kvae.evaluation.evaluate import evaluate
from kvae.evaluation.frechet import frechet_distance
from kvae.evaluation.importance import LogProb, importance_log_prob
from kvae.evaluation.latent import LatentSummary, latent_summary
from kvae.evaluation.neighbors import (
    TrainingNeighbors,
    precision_recall_density_coverage,
    training_neighbors,
)
from kvae.evaluation.probes import knn_probe, linear_probe

__all__ = [
    "LatentSummary",
    "LogProb",
    "TrainingNeighbors",
    "annealed_log_prob",
    "bits_per_dim",
    "dequantize",
    "evaluate",
    "frechet_distance",
    "importance_log_prob",
    "knn_probe",
    "latent_summary",
    "linear_probe",
    "precision_recall_density_coverage",
    "training_neighbors",
]
