"""SAP: by how much one code alone predicts a factor better than any other code alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.evaluation.disentanglement.representation import Representation, checked, varying

__all__ = ["sap", "sap_from_codes"]


def sap(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
) -> dict[str, float]:
    """Measures the separated attribute predictability; arguments as `mig`'s.

    A linear support vector machine predicts each factor from each code alone. The score is the
    difference of test accuracy between the best and the second best code, averaged over the
    factors. From one number, linear machines (one for each value against all others) find the two
    ends of a factor's range at best, so that a factor of many values has a small gap even for a
    perfect code: compare figures on the same factors alone. The machines are regularised, so the
    scale of the codes matters: it is meant to be the prior's.

    Returns:
        dict: `sap`, from 0 to 1.

    Example:

    ```python
    kvae.evaluation.sap(vae, kvae.datasets.Sprites())["sap"]
    ```

    Reference:
        - [Kumar et al., Variational Inference of Disentangled Latent Concepts, section 3](
          https://arxiv.org/abs/1711.00848). Like Locatello et al. (appendix C), all factors are
          classes and C = 0.01; `sap_from_codes` also has the paper's R² for continuous factors.
    """
    representation = Representation.of(representation, batch_size)
    train = representation.sample(data, num_train, (seed, 0))
    test = representation.sample(data, num_test, (seed, 1))
    return sap_from_codes(*train, *test, seed=seed)


def sap_from_codes(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    *,
    continuous: Sequence[int] = (),
    seed: int = 0,
) -> dict[str, float]:
    """Returns what `sap` does, for codes `[n, latent_dim]` of factors `[n, K]`.

    Args:
        codes, factors: arrays to learn from.
        test_codes, test_factors: arrays to test.
        continuous: numbers of the factors that are quantities, for which the squared correlation
            with the code (of the training) stands in place of the accuracy. Defaults to none.
        seed: int. Defaults to `0`.
    """
    codes, factors = checked(codes, factors)
    test_codes, test_factors = checked(test_codes, test_factors)
    gaps = []
    for k in np.flatnonzero(varying(factors)):
        if k in continuous:
            scores = _squared_correlation(codes, factors[:, k])
        else:
            scores = [
                _accuracy(train[:, None], factors[:, k], test[:, None], test_factors[:, k], seed)
                for train, test in zip(codes.T, test_codes.T, strict=True)
            ]
        scores = np.sort(np.append(scores, 0.0))  # A single code is compared with nothing.
        gaps.append(scores[-1] - scores[-2])
    return {"sap": float(np.mean(gaps))}


def _accuracy(code, factor, test_code, test_factor, seed) -> float:
    from sklearn.svm import LinearSVC

    if np.ptp(code) == 0:  # Any constant guess; that of the training's most frequent value.
        values, counts = np.unique(factor, return_counts=True)
        return float(np.mean(test_factor == values[counts.argmax()]))
    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
    return float(machine.fit(code, factor).score(test_code, test_factor))


def _squared_correlation(codes, factor) -> np.ndarray:
    centred, factor = codes - codes.mean(axis=0), factor - factor.mean()
    scale = np.sum(centred**2, axis=0) * np.sum(factor**2)
    # A constant code can have a variance of rounding errors.
    constant = np.ptp(codes, axis=0) == 0
    return np.where(constant, 0.0, (factor @ centred) ** 2 / np.where(constant, 1.0, scale))
