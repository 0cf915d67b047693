"""DCI: disentanglement, completeness and informativeness, from what a classifier relies on."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.evaluation.disentanglement.representation import Representation, checked, varying
from kvae.utils import names

__all__ = ["dci", "dci_from_codes", "dci_from_importance"]


def dci(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
    classifier: str = "random_forest",
) -> dict[str, float]:
    """Measures disentanglement, completeness and informativeness.

    A classifier predicts each factor from all codes; the importances that it gives to the codes
    are the matrix R `[latent_dim, K]`. With entropies in units of their maximum:

    - disentanglement: 1 − the entropy over the factors of the importances of a code, averaged with
      the codes' shares of the whole importance: does each code serve one factor?
    - completeness: 1 − the entropy over the codes of the importances for a factor, averaged with
      the factors' shares: is each factor in one code?
    - informativeness: the test accuracy, averaged over the factors.

    Args:
        representation, data: as in `mig`.
        num_train: int. Images to learn from. Defaults to `10_000`.
        num_test: int. Images to test what was learned. Defaults to `5_000`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        batch_size: int. Images at once. Defaults to `1000`.
        classifier: str. `"random_forest"`, whose size of leaves is chosen by the examples that each
            tree has not seen, or `"gradient_boosting"` (as Locatello et al.; many minutes where
            factors have many values). Defaults to `"random_forest"`.

    Returns:
        dict: `dci_disentanglement`, `dci_completeness`, `dci_informativeness` and
        `dci_informativeness_train`, from 0 to 1.

    Example:

    ```python
    kvae.evaluation.dci(vae, kvae.datasets.Sprites())["dci_disentanglement"]
    ```

    Reference:
        - [Eastwood & Williams, A Framework for the Quantitative Evaluation of Disentangled
          Representations, section 2](https://openreview.net/forum?id=By-7dz-AZ), which tunes random
          forests too, and reports errors of regressions; accuracies of classifiers as in
          [Locatello et al., appendix C](https://arxiv.org/abs/1811.12359).
    """
    representation = Representation.of(representation, batch_size)
    train = representation.sample(data, num_train, (seed, 0))
    test = representation.sample(data, num_test, (seed, 1))
    return dci_from_codes(*train, *test, seed=seed, classifier=classifier)


def dci_from_codes(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    *,
    seed: int = 0,
    classifier: str = "random_forest",
) -> dict[str, float]:
    """Returns what `dci` does, for codes `[n, latent_dim]` of factors `[n, K]`.

    Raises:
        ValueError: for an unknown classifier, or bad codes or factors.
    """
    if classifier not in _FIT:
        raise names.unknown_name("classifier", classifier, _FIT)
    codes, factors = checked(codes, factors)
    test_codes, test_factors = checked(test_codes, test_factors)
    importance, train, test = [], [], []
    for k in np.flatnonzero(varying(factors)):
        model = _FIT[classifier](codes, factors[:, k], seed)
        importance.append(model.feature_importances_)
        train.append(model.score(codes, factors[:, k]))
        test.append(model.score(test_codes, test_factors[:, k]))
    return {
        **dci_from_importance(np.stack(importance, axis=1)),
        "dci_informativeness": float(np.mean(test)),
        "dci_informativeness_train": float(np.mean(train)),
    }


def dci_from_importance(importance: ArrayLike) -> dict[str, float]:
    """Returns disentanglement and completeness of importances `[latent_dim, K]`, at least 0.

    Both are 0 where nothing is of importance, and 1 where there is a single factor or code to
    choose from.
    """
    importance = np.abs(np.asarray(importance, np.float64))
    return {
        "dci_disentanglement": _concentration(importance),
        "dci_completeness": _concentration(importance.T),
    }


def _concentration(weights) -> float:
    """Returns 1 − the entropy of each row in units of its maximum, averaged by the rows' sums."""
    rows, total = weights.sum(axis=1, keepdims=True), weights.sum()
    if total == 0:
        return 0.0
    shares = weights / np.where(rows > 0, rows, 1.0)
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)
    entropy /= np.log(max(weights.shape[1], 2))
    return float(np.sum(rows[:, 0] / total * (1.0 - entropy)))


def _random_forest(codes, factor, seed):
    """Returns the forest that predicts best, by the size of its leaves, which keeps out noise.

    Importances depend on that size: the trees of a code that says little, grown to the last
    example, rely on noise more than on it.
    """
    from sklearn.ensemble import RandomForestClassifier

    best = None
    for leaf in _LEAVES:
        # With every code to choose from at each split, one that says nothing new is not taken.
        model = RandomForestClassifier(
            20, max_features=None, min_samples_leaf=leaf, oob_score=True, random_state=seed
        )
        with warnings.catch_warnings():  # An example may be in all 20 draws.
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
            model.fit(codes, factor)
        if best is not None and model.oob_score_ <= best.oob_score_:
            break  # Smaller leaves would be worse still, and they take the most time.
        best = model
    return best


def _gradient_boosting(codes, factor, seed):
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=seed).fit(codes, factor)


_LEAVES = (100, 20, 4)
_FIT = {"random_forest": _random_forest, "gradient_boosting": _gradient_boosting}
