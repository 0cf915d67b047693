"""The base of objectives that compare images by another measure than log p(x|z)."""

import math

import numpy as np
from keras import ops

from kvae import schedules
from kvae.objectives.bound import Bound
from kvae.parts import to_write
from kvae.utils import arguments

__all__ = ["Similarity", "check_decoded"]


class Similarity(Bound):
    """An objective with `w · unlikeness(x, x̃) − r · E_q log p(x|z) + β KL(q(z|x) ‖ p(z))` as loss.

    x̃ is the mean of p(x|z). The unlikeness, in the logs by the name that the class gives as
    `measure`, is no logarithm of a density, so that the loss bounds no likelihood. The model keeps
    its likelihood: `elbo`, `reconstruction` and `kl` are reported, and log p(x) is estimated, as of
    any model, and say what this one is worth as a density, for which it learns by r alone.

    A new one gives `measure` and `unlikeness`.

    Args:
        weight: float or schedule (`kvae.schedules`). w, in nats. Defaults to `100.0`.
        reconstruction_weight: float or schedule. r. Defaults to `0.0`.
        beta: float or schedule. Defaults to `1.0`.
        value_range: pair of float or `None`. What in x is black and white. Defaults to `None`: the
            ends of the likelihood's support, or where it has none, 0 and 1.
        **settings: `num_samples` and `kl` of `kvae.objectives.Bound`.

    Raises:
        ValueError: for settings out of range, and with the model, for examples that are no images,
            an autoregressive likelihood and missing values.
    """

    of_images = True
    measure = "unlikeness"

    def __init__(
        self,
        weight: schedules.Number = 100.0,
        reconstruction_weight: schedules.Number = 0.0,
        beta: schedules.Number = 1.0,
        value_range=None,
        **settings,
    ):
        super().__init__(**settings)
        self.weight = schedules.resolve("weight", weight)
        self.reconstruction_weight = schedules.resolve(
            "reconstruction_weight", reconstruction_weight
        )
        self.beta = schedules.resolve("beta", beta)
        if value_range is not None:
            if np.shape(value_range) != (2,):
                raise ValueError(f"`value_range` is a pair of numbers, not {value_range!r}.")
            low, high = (arguments.number("value_range", value) for value in value_range)
            if not low < high:
                raise ValueError(f"`value_range` goes from black to white, not {low} to {high}.")
            value_range = (low, high)
        self.value_range = value_range

    @to_write
    def unlikeness(self, vae, x, decoded):
        """Returns how unlike images are, `[num_samples, batch]`.

        Args:
            vae: `kvae.VAE`.
            x: tensor `[batch, height, width, channels]` in [0, 1].
            decoded: tensor `[num_samples, batch, height, width, channels]` on the same scale.
        """
        raise NotImplementedError

    def attach(self, vae):
        super().attach(vae)
        check_decoded(self, vae)

    def prepare(self, vae):
        if len(vae.event_shape) != 3:
            raise ValueError(
                f"{type(self).__name__} compares images [height, width, channels], and examples "
                f"of this model have the shape {tuple(vae.event_shape)}. Use objective='elbo'."
            )
        super().prepare(vae)

    def metric_names(self):
        return (*super().metric_names(), self.measure)

    def scheduled(self):
        return {
            "weight": self.weight,
            "reconstruction_weight": self.reconstruction_weight,
            "beta": self.beta,
        }

    def in_unit_range(self, vae, images):
        """Returns images of which black is 0 and white 1."""
        low, high = self.value_range or vae.likelihood.support()[:2]
        if not (math.isfinite(low) and math.isfinite(high)):
            return images
        return (images - low) / (high - low)

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        z, kl = self.draw(vae, params, seed=seed, training=training)
        outputs = vae.decode_params(z, training=training)
        reconstruction = -ops.mean(vae.likelihood.log_prob(outputs, target), axis=0)
        decoded = vae.likelihood.mean(outputs)
        seen = self.in_unit_range(vae, ops.cast(target, "float32"))
        unlike = ops.mean(self.unlikeness(vae, seen, self.in_unit_range(vae, decoded)), axis=0)
        cost, more = self.cost(vae, params, z, kl, seed=seed)
        loss = schedules.at(self.weight, vae) * unlike + cost
        if schedules.is_schedule(self.reconstruction_weight) or self.reconstruction_weight:
            loss = loss + schedules.at(self.reconstruction_weight, vae) * reconstruction
        more = {self.measure: unlike, **more}
        return self.reported(vae, params, loss, reconstruction, kl, **more)

    def cost(self, vae, params, z, kl, *, seed):
        return schedules.at(self.beta, vae) * kl, {}

    def get_config(self):
        return {
            **super().get_config(),
            "weight": schedules.serialize(self.weight),
            "reconstruction_weight": schedules.serialize(self.reconstruction_weight),
            "beta": schedules.serialize(self.beta),
            "value_range": self.value_range,
        }


def check_decoded(objective, vae) -> None:
    """Refuses models of which no whole example is decoded with a gradient.

    Raises:
        ValueError: for a model that takes missing values, and an autoregressive likelihood.
    """
    name = type(objective).__name__
    if vae.missing is not None:
        raise ValueError(
            f"{name} compares whole examples, and this model takes missing values. Use "
            "objective='elbo'."
        )
    if vae.likelihood.autoregressive:
        raise ValueError(
            f"With {name} the decoder learns through the mean of p(x|z), which has no gradient "
            f"with {type(vae.likelihood).__name__}. Use objective='elbo'."
        )
