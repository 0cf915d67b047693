"""The mean of the training data in the place of what was not observed."""

import numpy as np
from keras import ops

from kvae.datasets.dataset import Dataset
from kvae.fills.fill import Fill, register
from kvae.likelihoods.scale import blocks
from kvae.utils import masks

__all__ = ["Mean", "learn_fill"]


@register("mean")
class Mean(Fill):
    """The encoder sees the mean of the values that were observed at this place in the training.

    `fit` takes the means from its data, unless there are some already; `adapt` takes them from any
    data. They are on the encoder's scale, and weights that no optimizer trains.

    Args:
        mask: bool. Whether the encoder also sees the mask; see `Fill`. Defaults to `False`.

    Example:

    ```python
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, missing="mean")
    vae.missing.adapt(vae.likelihood, kvae.datasets.load("digits", "train"))
    ```

    Reference:
        - [Little & Rubin, Statistical Analysis with Missing Data, chapter 4](
          https://doi.org/10.1002/9781119013563): imputation by means, here for the encoder alone.
    """

    def build(self, values_shape, *_):
        kept = {"initializer": "zeros", "trainable": False, "aggregation": "mean"}
        self.means = self.add_weight(shape=tuple(values_shape[1:]), name="means", **kept)
        self.adapted = self.add_weight(shape=(), name="adapted", **kept)
        self.built = True

    @property
    def needs_data(self):
        return not (self.built and bool(self.adapted.numpy()))

    def value(self):
        return self.means

    def adapt(self, likelihood, data):
        count, total, shape = 0, 0.0, None
        for block in blocks(data):
            x = likelihood.check(block, support=False, missing=True)
            there, shape = masks.observed(x), x.shape[1:]
            seen = ops.convert_to_numpy(likelihood.encoder_input(likelihood.filled(x)))
            total = total + np.where(there, seen, 0.0).sum(axis=0, dtype=np.float64)
            count = count + there.sum(axis=0)
        if shape is None:
            raise ValueError("There are no data to take means of.")
        if not self.built:
            self.build((None, *shape))
        self.means.assign(total / np.maximum(count, 1))
        self.adapted.assign(1.0)


def learn_fill(vae, data) -> None:
    """Gives the fill of a model, where it has one, what it needs of the training data.

    Args:
        vae: `kvae.VAE`, built.
        data: what the model trains on, checked; `None` where it is not known as a whole.

    Raises:
        ValueError: where means are needed, and the data come batch by batch.
    """
    if vae.missing is None or not vae.missing.needs_data:
        return
    x = data[0] if isinstance(data, tuple) else data
    if not (isinstance(x, (np.ndarray, Dataset)) or hasattr(x, "batches")):
        raise ValueError(
            f"{type(vae.missing).__name__} has no means of the data yet, and cannot take them from "
            "batches that may have no end. Call model.missing.adapt(model.likelihood, data) before "
            "the training, with an array, a Dataset, a Stream or a finite tf.data.Dataset."
        )
    vae.missing.adapt(vae.likelihood, x)
