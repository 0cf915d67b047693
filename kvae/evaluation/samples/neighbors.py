"""Distances to nearest neighbours, by which generated examples are judged."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets import kinds

__all__ = ["TrainingNeighbors", "precision_recall_density_coverage", "training_neighbors"]

# The most numbers in one block of distances.
_BLOCK = 2**22
# Squared distances that differ by less, in units of the squared norms, are ties: they are computed
# as differences of such norms.
_TIE = 1e-12


def precision_recall_density_coverage(
    real: ArrayLike, generated: ArrayLike, neighbors: int = 5
) -> dict[str, float]:
    """Compares two sets of features by the balls of their nearest neighbours.

    Around each example lies a ball that reaches to its k-th nearest neighbour of the same set.

    - `precision`: the share of generated examples in the ball of some real one (fidelity).
    - `recall`: the share of real examples in the ball of some generated one (diversity).
    - `density`: the real balls around a generated example, over k. Unlike precision it is not moved
      by one outlier of the real set; it may exceed 1. It is near 1 for equal distributions.
    - `coverage`: the share of real balls that hold a generated example. It does not trust the
      generated set's own balls. For equal distributions and sizes it is about `1 − 2^−k`.

    All depend on the numbers of examples and on k: compare figures of equal settings.

    Args:
        real: array `[n, d]`. Features of real examples.
        generated: array `[m, d]`. Features of generated ones.
        neighbors: int. k; the papers use 3 and 5. Defaults to `5`.

    Returns:
        dict of float: `precision`, `recall`, `density`, `coverage`.

    Raises:
        ValueError: for features of unequal width or NaN, and for sets of k examples or fewer.

    Example:

    ```python
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(2, 1000, 8))
    kvae.evaluation.precision_recall_density_coverage(real, generated)   # all near 1
    ```

    References:
        - [Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative
          Models](https://arxiv.org/abs/1904.06991)
        - [Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models](
          https://arxiv.org/abs/2002.09797): density and coverage
    """
    real, generated = _pair(real, generated)
    if not 1 <= neighbors < min(len(real), len(generated)):
        raise ValueError(
            f"`neighbors` is from 1 to one less than the smaller set ({len(real)} real, "
            f"{len(generated)} generated examples), not {neighbors!r}."
        )
    real_radius = _radius(real, neighbors)
    generated_radius = _radius(generated, neighbors)
    in_real, in_generated = np.zeros(len(generated), int), np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for rows, squared, tie in _blocks(generated, real):
        inside = squared <= real_radius + tie
        in_real[rows] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
        in_generated |= (squared <= generated_radius[rows, None] + tie).any(axis=0)
    return {
        "precision": float(np.mean(in_real > 0)),
        "recall": float(np.mean(in_generated)),
        "density": float(np.mean(in_real) / neighbors),
        "coverage": float(np.mean(covered)),
    }


@dataclasses.dataclass(frozen=True)
class TrainingNeighbors:
    """The distances of generated and held-out examples to their nearest training examples.

    Attributes:
        generated: array `[n]`. Distances of the generated examples.
        held_out: array `[m]`. Distances of examples that the model was not trained on.
        index: array `[n]`. The nearest training example of each generated one.
        held_out_index: array `[m]`. That of each held-out one.
    """

    generated: np.ndarray
    held_out: np.ndarray
    index: np.ndarray
    held_out_index: np.ndarray

    @property
    def copying(self) -> float:
        """The probability that a generated example is nearer than a held-out one, from 0 to 1.

        Ties count half. New examples from the data's distribution have 1/2. A much larger figure
        means that examples are copied, or smoother than the data; a much smaller one, that they are
        unlike the training set.
        """
        import scipy.stats

        statistic = scipy.stats.mannwhitneyu(self.held_out, self.generated).statistic
        return float(statistic / (len(self.held_out) * len(self.generated)))

    @property
    def copying_error(self) -> float:
        """The standard error that `copying` has where the distributions are equal."""
        n, m = len(self.generated), len(self.held_out)
        return float(np.sqrt((n + m + 1) / (12 * n * m)))

    def summary(self) -> dict[str, float]:
        """Returns the medians of the distances, `copying`, its error, and the share of near copies.

        `near_copies` is the share of generated examples that are nearer than all but one in a
        hundred of the held-out ones: 0.01 where they are as new as those.
        """
        limit = np.quantile(self.held_out, 0.01)
        return {
            "median_distance": float(np.median(self.generated)),
            "median_distance_held_out": float(np.median(self.held_out)),
            "copying": self.copying,
            "copying_error": self.copying_error,
            "near_copies": float(np.mean(self.generated < limit)),
        }


def training_neighbors(
    generated: ArrayLike, train: ArrayLike, held_out: ArrayLike
) -> TrainingNeighbors:
    """Finds the nearest training examples: are samples new, or remembered?

    A model that remembers its training set gives samples that are nearer to it than held-out data
    are. The comparison is fair only between like and like: means E[x|z] are smoother than images,
    so they come nearer to everything. For grey images take likelihood draws
    (`sample(..., output="sample")`) where those look like the data, for binary data binary draws.

    Args:
        generated: array `[n, ...]`. Examples, or their features.
        train: array `[t, ...]`. The training set, all of it.
        held_out: array `[m, ...]`. A test or validation set of the same distribution.

    Returns:
        `TrainingNeighbors` with Euclidean distances.

    Raises:
        ValueError: for shapes that do not match, or NaN.

    Example:

    ```python
    samples = vae.sample(200, seed=1)
    found = kvae.evaluation.training_neighbors(samples, train.examples, test.examples)
    found.summary()["copying"]     # 0.5 for samples as new as the test set
    kvae.plots.training_neighbors(samples, train.examples, found)
    ```

    Reference:
        - [Meehan et al., A Non-Parametric Test to Detect Data-Copying in Generative Models](
          https://arxiv.org/abs/2004.05675): this statistic, there also within cells of the space
    """
    distances, index = _nearest(generated, train)
    held_out_distances, held_out_index = _nearest(held_out, train)
    return TrainingNeighbors(distances, held_out_distances, index, held_out_index)


def _pair(first, second) -> list[np.ndarray]:
    """Returns two sets of rows as flat float64, moved by one vector, which keeps distances."""
    pair = [kinds.as_array(values).astype(np.float64) for values in (first, second)]
    for values in pair:
        if values.ndim < 2 or values.size == 0 or not np.isfinite(values).all():
            raise ValueError(
                f"Distances are between rows of finite numbers, [n, ...], not {values.shape}."
            )
    if pair[0].shape[1:] != pair[1].shape[1:]:
        raise ValueError(
            f"The sets have examples of the shapes {pair[0].shape[1:]} and {pair[1].shape[1:]}: "
            "give equal shapes."
        )
    pair = [values.reshape(len(values), -1) for values in pair]
    centre = pair[1].mean(axis=0)
    return [values - centre for values in pair]


def _blocks(first, second):
    """Yields slices of `first`, their squared distances to all of `second`, and what is a tie."""
    norms = np.sum(second**2, axis=1)
    step = max(1, _BLOCK // len(second))
    for start in range(0, len(first), step):
        block = first[start : start + step]
        both = np.sum(block**2, axis=1)[:, None] + norms
        squared = np.maximum(both - 2.0 * (block @ second.T), 0.0)
        yield slice(start, start + step), squared, _TIE * both


def _radius(values, neighbors: int) -> np.ndarray:
    """Returns the squared distance of each row to its k-th nearest other row."""
    radius = np.empty(len(values))
    for rows, squared, _ in _blocks(values, values):
        # Itself is the nearest but for rounding: not counted by its place, but by its number.
        squared[np.arange(len(squared)), np.arange(len(values))[rows]] = -1.0
        radius[rows] = np.partition(squared, neighbors, axis=1)[:, neighbors]
    return radius


def _nearest(queries, references) -> tuple[np.ndarray, np.ndarray]:
    queries, references = _pair(queries, references)
    index = np.empty(len(queries), int)
    for rows, squared, _ in _blocks(queries, references):
        index[rows] = squared.argmin(axis=1)
    # Once more without the cancellation of large squares, so that a copy has the distance 0.
    return np.linalg.norm(queries - references[index], axis=1), index
