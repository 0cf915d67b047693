"""Probes: simple classifiers that look for the labels in the codes."""

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets import kinds

__all__ = ["knn_probe", "linear_probe"]


def linear_probe(
    train: ArrayLike,
    labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    per_class: int | None = None,
    seed: int = 0,
) -> float:
    """Returns the test accuracy of a logistic regression on codes.

    Args:
        train: array `[n, latent_dim]`. Codes to learn from; all codes are scaled by their moments.
        labels: array `[n]`. The classes of `train`.
        test: array `[m, latent_dim]`. Codes to test on.
        test_labels: array `[m]`. The classes of `test`.
        per_class: int or `None`. Labelled examples of each class, drawn by `seed`; all of them by
            default.
        seed: int. Defaults to `0`.

    Returns:
        float from 0 to 1.

    Raises:
        ValueError: when a class has fewer than `per_class` examples.

    Example:

    ```python
    codes = vae.encode(data)["z_mean"]
    kvae.evaluation.linear_probe(codes[:900], data.labels[:900], codes[900:], data.labels[900:])
    ```

    Reference:
        - [Alain & Bengio, Understanding intermediate layers using linear classifier probes](
          https://arxiv.org/abs/1610.01644)
    """
    from sklearn.linear_model import LogisticRegression

    return _probe(
        LogisticRegression(max_iter=1000), train, labels, test, test_labels, per_class, seed
    )


def knn_probe(
    train: ArrayLike,
    labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    per_class: int | None = None,
    seed: int = 0,
    neighbors: int = 5,
) -> float:
    """Returns the test accuracy of the nearest neighbours' vote; arguments as `linear_probe`'s."""
    from sklearn.neighbors import KNeighborsClassifier

    return _probe(
        KNeighborsClassifier(neighbors), train, labels, test, test_labels, per_class, seed
    )


def _probe(classifier, train, labels, test, test_labels, per_class, seed) -> float:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = kinds.as_array(train, "train"), kinds.as_array(test, "test")
    labels = kinds.as_array(labels, "labels", only_numbers=False)
    test_labels = kinds.as_array(test_labels, "test_labels", only_numbers=False)
    if per_class is not None:
        chosen = _some_of_each(labels, per_class, seed)
        train, labels = train[chosen], labels[chosen]
    model = make_pipeline(StandardScaler(), classifier).fit(train, labels)
    return float(model.score(test, test_labels))


def _some_of_each(labels, per_class, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < per_class:
            raise ValueError(
                f"Class {label} has {len(members)} examples, fewer than per_class={per_class}."
            )
        chosen.append(rng.choice(members, per_class, replace=False))
    return np.concatenate(chosen)
