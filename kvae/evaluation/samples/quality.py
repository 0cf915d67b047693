"""One call that measures generated examples."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kvae import plots
from kvae.datasets.batches import BaseDataset
from kvae.evaluation.result import Result
from kvae.evaluation.samples.features import default_features, image_features
from kvae.evaluation.samples.frechet import frechet_distance
from kvae.evaluation.samples.neighbors import (
    TrainingNeighbors,
    precision_recall_density_coverage,
    training_neighbors,
)

__all__ = ["SampleQuality", "sample_quality"]

_MOST = 5000


class SampleQuality(Result):
    """The figures of `sample_quality`, a mapping that prints as a table.

    Attributes:
        reference: dict. The same figures for as many training images in place of the samples,
            which a perfect generator would reach. Empty without training images.
        generated: array `[n, *event]`. The samples.
        neighbors: `TrainingNeighbors` or `None`, for `kvae.plots.training_neighbors`.
    """

    def __init__(
        self,
        *arguments,
        reference: dict[str, float],
        generated: np.ndarray,
        neighbors: TrainingNeighbors | None,
        **options,
    ):
        super().__init__(*arguments, **options)
        self.reference, self.generated, self.neighbors = reference, generated, neighbors


def sample_quality(
    vae: Any,
    data: Any,
    n: int | None = None,
    seed: int = 0,
    *,
    train: Any = None,
    features: str | keras.Model | Callable | None = None,
    neighbors: int = 5,
    output: str | None = None,
) -> SampleQuality:
    """Measures samples of a model against held-out data: fidelity, diversity, memory.

    Sets of `n` samples and `n` held-out images are compared in features: by their Fréchet distance
    (0 at best, of equal moments), and by precision, recall, density and coverage. With `train` the
    same is measured of `n` training images, a reference that shows what figures are possible at
    this n, and the samples' nearest training images tell whether they are copies.

    Args:
        vae: `kvae.VAE` with a prior.
        data: `kvae.datasets.Dataset` or other data that `fit` takes. Held-out data, with labels for
            a conditional model.
        n: int or `None`. Samples, at most `len(data)`. Figures of different n do not compare.
            Defaults to `None`: as many as `data` has, 5000 at most.
        seed: int. Of the samples and of the choice among `data` and `train`. Defaults to `0`.
        train: data as above, or `None`. The model's training data, all of which is read into
            memory. Defaults to `None`: no reference and no check for copies.
        features: `"pixels"`, `"inception"`, the name of a dataset that there is a classifier of
            (`"digits"`, `"mnist"`), another registered name (see `register_features`), a Keras
            model or a function from images to `[n, d]`. Defaults to `None`: the classifier of
            `data` where there is one, else pixels.
        neighbors: int. k of precision, recall, density and coverage. Defaults to `5`.
        output: `"mean"`, `"mode"` or `"sample"`, as in `vae.sample`. Defaults to `None`: draws for
            binarized data, means for others. Means are smoother than data.

    Returns:
        `SampleQuality` with `frechet_distance`, `precision`, `recall`, `density`, `coverage`; with
        `train` also what `TrainingNeighbors.summary` returns.

    Raises:
        ValueError: for more samples than held-out images, sets that are binarized differently, an
            unknown kind of features, or a model that cannot sample.

    Example:

    ```python
    test, train = (kvae.datasets.load("digits", split) for split in ("test", "train"))
    print(kvae.evaluation.sample_quality(vae, test, n=200, seed=1, train=train))
    ```
    """
    if not isinstance(data, BaseDataset):
        data = vae.as_dataset(data)
    if not (train is None or isinstance(train, BaseDataset)):
        train = vae.as_dataset(train)
    n = min(len(data), _MOST) if n is None else n
    if not neighbors < n <= len(data):
        raise ValueError(
            f"`n` is more than neighbors={neighbors} and at most the {len(data)} examples of "
            f"`data`, not {n!r}."
        )
    if train is not None and train.binarize != data.binarize:
        raise ValueError(
            f"`data` is binarized {data.binarize!r}, `train` {train.binarize!r}: load both alike."
        )
    if features is None:
        features = default_features(data.name)
    if output is None:
        output = "sample" if data.binarize else "mean"
    kind, function = image_features(features)
    generator = np.random.Generator(np.random.Philox(seed))
    rows = generator.permutation(len(data))[:n]
    chosen = data.take(rows)
    real = chosen.examples
    label = {"label": chosen.labels} if vae.conditional else {}
    generated = np.asarray(vae.sample(n, seed=seed, output=output, **label))
    of_real, of_generated = function(real), function(generated)

    def compared(others) -> dict[str, float]:
        return {
            "frechet_distance": frechet_distance(of_real, others),
            **precision_recall_density_coverage(of_real, others, neighbors),
        }

    values, reference, found = compared(of_generated), {}, None
    if train is not None:
        images = train[:].examples
        some = images[generator.permutation(len(images))[:n]]
        if len(some) == n:
            reference = compared(function(some))
        found = training_neighbors(generated, images, real)
        values |= found.summary()
        # These are the figures of held-out data, by definition.
        reference |= {
            "median_distance": values["median_distance_held_out"],
            "copying": 0.5,
            "near_copies": 0.01,
        }
    names = [name for name in values if name not in ("median_distance_held_out", "copying_error")]
    settings = {
        "n": n,
        "seed": seed,
        "features": kind,
        "neighbors": neighbors,
        "output": output,
        "data": f"{data.name} {data.split}",
    }
    note = ", ".join(f"{name} {value}" for name, value in settings.items())
    pictures = {}
    if found is not None:
        pictures["training_neighbors"] = (
            "Samples and their nearest training examples",
            lambda path: plots.training_neighbors(generated, images, found, path),
        )
    return SampleQuality(
        f"Samples of {vae.name}",
        {**values, "reference": reference, "settings": settings},
        ("figure", "samples", "real images", "best"),
        [(name, values[name], reference.get(name), _BEST[name]) for name in names],
        note,
        reference=reference,
        generated=generated,
        neighbors=found,
        pictures=pictures,
    )


_BEST = {
    "frechet_distance": "0",
    "precision": "1",
    "recall": "1",
    "density": "1",
    "coverage": "1",
    "median_distance": "that of real images",
    "copying": "0.5; 1 for copies",
    "near_copies": "0.01; 1 for copies",
}
