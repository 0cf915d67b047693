"""Estimates of how good a model is.

| folder or file | answers |
|---|---|
| `marginal_likelihood` | how probable the data is under the model: log p(x), bits per dimension |
| `samples` | how good generated examples are: Fréchet distance, precision and recall, copies |
| `latents` | what the latent variables say of the data: rate, active units, probes |
| `disentanglement` | whether each latent stands for one factor of the data |
| `imputation` | what values that were not observed may have been |
| `rows` | the same row by row, for what is exported and for detection |
| `rate_distortion` | what models pay for their codes, and what they get for it |
| `modalities` | what modalities say of one another: conditional log p, and coherence |
| `compare` | which of two models gives the same data more probability |
| `evaluate` | all of these in one call; its `Result` prints, writes and draws |
"""

from kvae.evaluation.compare import Comparison, compare
from kvae.evaluation.disentanglement import (
    beta_vae_score,
    dci,
    disentanglement,
    factor_vae_score,
    irs,
    mig,
    modularity,
    sap,
    udr,
)
from kvae.evaluation.evaluate import Evaluation, evaluate
from kvae.evaluation.imputation import Imputation, impute
from kvae.evaluation.latents.probes import knn_probe, linear_probe
from kvae.evaluation.latents.summary import LatentSummary, active_units, latent_summary
from kvae.evaluation.marginal_likelihood.annealed import annealed_log_prob
from kvae.evaluation.marginal_likelihood.bits import bits_per_dim, dequantize
from kvae.evaluation.marginal_likelihood.importance import importance_log_prob
from kvae.evaluation.marginal_likelihood.log_prob import LogProb
from kvae.evaluation.modalities import ConditionalLogProb, coherence, conditional_log_prob
from kvae.evaluation.rate_distortion import (
    RateDistortionCurve,
    rate_distortion,
    rate_distortion_curve,
)
from kvae.evaluation.result import Result
from kvae.evaluation.samples.features import (
    classifier_features,
    inception_features,
    register_features,
    registered_features,
)
from kvae.evaluation.samples.frechet import frechet_distance
from kvae.evaluation.samples.neighbors import (
    TrainingNeighbors,
    precision_recall_density_coverage,
    training_neighbors,
)
from kvae.evaluation.samples.quality import SampleQuality, sample_quality

__all__ = [
    "Comparison",
    "ConditionalLogProb",
    "Evaluation",
    "Imputation",
    "LatentSummary",
    "LogProb",
    "RateDistortionCurve",
    "Result",
    "SampleQuality",
    "TrainingNeighbors",
    "active_units",
    "annealed_log_prob",
    "beta_vae_score",
    "bits_per_dim",
    "classifier_features",
    "coherence",
    "compare",
    "conditional_log_prob",
    "dci",
    "dequantize",
    "disentanglement",
    "evaluate",
    "factor_vae_score",
    "frechet_distance",
    "importance_log_prob",
    "impute",
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
    "register_features",
    "registered_features",
    "sample_quality",
    "sap",
    "training_neighbors",
    "udr",
]
