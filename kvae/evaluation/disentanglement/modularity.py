"""Modularity: does each code speak of one factor? Explicitness: can a linear model read it?"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.evaluation.disentanglement.representation import (
    BINS,
    Representation,
    checked,
    mutual_information,
    varying,
)

__all__ = ["modularity", "modularity_from_codes"]


def modularity(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
) -> dict[str, float]:
    """Measures modularity and explicitness; arguments as `mig`'s.

    Of a code j with mutual information m_jk about K factors, most of all m_j* about one of them,
    the modularity is 1 − Σ_{k≠*} m_jk² / (m_j*² (K − 1)). The score is the mean over the codes,
    where a code that knows nothing counts 0. It does not ask how much a code knows: chance
    information gives useless codes some modularity too.

    Explicitness is the area under the ROC curve of a logistic regression from all codes to each
    value of a factor, averaged over values and factors; 0.5 is chance.

    Returns:
        dict: `modularity` from 0 to 1, and `explicitness` (test) and `explicitness_train`.

    Example:

    ```python
    kvae.evaluation.modularity(vae, kvae.datasets.Sprites())["explicitness"]
    ```

    Reference:
        - [Ridgeway & Mozer, Learning Deep Disentangled Embeddings With the F-Statistic Loss](
          https://arxiv.org/abs/1802.05312). Like Locatello et al. (appendix C),
          20 bins, one regression for all values of a factor, and codes scaled by the moments of
          the training.
    """
    representation = Representation.of(representation, batch_size)
    train = representation.sample(data, num_train, (seed, 0))
    return modularity_from_codes(*train, *representation.sample(data, num_test, (seed, 1)))


def modularity_from_codes(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike | None = None,
    test_factors: ArrayLike | None = None,
    bins: int = BINS,
) -> dict[str, float]:
    """Returns what `modularity` does, for codes `[n, latent_dim]` of factors `[n, K]`.

    Without codes to test, there is no explicitness.
    """
    codes, factors = checked(codes, factors)
    chosen = varying(factors)
    squared = mutual_information(codes, factors[:, chosen], bins) ** 2
    best = squared.max(axis=1)
    others = (squared.sum(axis=1) - best) / max(squared.shape[1] - 1, 1)
    each = np.where(best > 0, 1.0 - others / np.where(best > 0, best, 1.0), 0.0)
    scores = {"modularity": float(np.mean(each))}
    if test_codes is not None:
        test_codes, test_factors = checked(test_codes, test_factors)
        pairs = zip(factors[:, chosen].T, test_factors[:, chosen].T, strict=True)
        areas = [_areas(codes, train, test_codes, test) for train, test in pairs]
        scores["explicitness"] = float(np.mean([test for _, test in areas]))
        scores["explicitness_train"] = float(np.mean([train for train, _ in areas]))
    return scores


def _areas(codes, factor, test_codes, test_factor) -> tuple[float, float]:
    """Returns the mean areas under the ROC curves of a factor's values, in training and test."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(codes, factor)

    def area(codes, factor):
        is_value = factor[:, None] == model.classes_
        # A value that no example has, or all of them, has no curve.
        known = is_value.any(axis=0) & ~is_value.all(axis=0)
        if not known.any():
            raise ValueError("Every test example has the same factor: draw more of them.")
        return roc_auc_score(is_value[:, known], model.predict_proba(codes)[:, known])

    return float(area(codes, factor)), float(area(test_codes, test_factor))
