"""Figures of cards beside those of `kvae.evaluation`."""

import numpy as np

import kvae
from zoo.recipes import Recipe

__all__ = ["auroc", "without_improper"]


def auroc(recipe: Recipe, model: kvae.VAE, data) -> float:
    """Returns how well a detector's score tells the normal examples of data from all others.

    Args:
        recipe: `Recipe` with `normal` classes.
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset` with labels of all classes.

    Returns:
        The area under the ROC curve: the share of the pairs of a normal example and another one
        of which the other has the higher score.
    """
    from sklearn.metrics import roc_auc_score

    score = kvae.detection.Detector(model, seed=recipe.seed).score(data.examples)
    return float(roc_auc_score(~np.isin(data.labels, recipe.normal), score))


def without_improper(model: kvae.VAE, data, metrics: dict) -> dict:
    """Returns metrics without the log p(x) that grey pixels do not have under a Bernoulli.

    Its events are 0 and 1: for others there is only the bound that is trained.

    Args:
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset` that was measured.
        metrics: dict. As `kvae.evaluation.evaluate` returns it.
    """
    x = data.examples
    proper = not isinstance(model.likelihood, kvae.likelihoods.Bernoulli)
    if proper or bool(((x == 0) | (x == 1)).all()):
        return metrics
    return {name: value for name, value in metrics.items() if name != "nll"}
