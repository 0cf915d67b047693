"""Estimates of how good a model is."""

from kvae.evaluation.annealed import annealed_log_prob
from kvae.evaluation.bits import bits_per_dim, dequantize
from kvae.evaluation.disentanglement import (
    beta_vae_score,
    dci,
    disentanglement,
    factor_vae_score,
    irs,
    mig,
    modularity,
    sap,
)
from kvae.evaluation.evaluate import Evaluation, evaluate
from kvae.evaluation.features import classifier_features, inception_features
from kvae.evaluation.frechet import frechet_distance
from kvae.evaluation.importance import importance_log_prob
from kvae.evaluation.latent import LatentSummary, active_units, latent_summary
from kvae.evaluation.log_mean import LogProb
from kvae.evaluation.neighbors import (
    TrainingNeighbors,
    precision_recall_density_coverage,
    training_neighbors,
)
from kvae.evaluation.probes import knn_probe, linear_probe
from kvae.evaluation.quality import SampleQuality, sample_quality
from kvae.evaluation.rate_distortion import (
    RateDistortionCurve,
    rate_distortion,
    rate_distortion_curve,
    train_over_beta,
)
from kvae.evaluation.result import Result
from kvae.evaluation.sweep import sweep

__all__ = [
    "Evaluation",
    "RateDistortionCurve",
    "LatentSummary",
    "LogProb",
    "Result",
    "SampleQuality",
    "TrainingNeighbors",
    "active_units",
    "annealed_log_prob",
    "beta_vae_score",
    "bits_per_dim",
    "classifier_features",
    "dci",
    "dequantize",
    "disentanglement",
    "evaluate",
    "factor_vae_score",
    "frechet_distance",
    "importance_log_prob",
    "inception_features",
    "irs",
    "knn_probe",
    "latent_summary",
    "linear_probe",
    "mig",
    "modularity",
    "precision_recall_density_coverage",
    "rate_distortion",
    "rate_distortion_curve",
    "sample_quality",
    "sap",
    "sweep",
    "train_over_beta",
    "training_neighbors",
]
