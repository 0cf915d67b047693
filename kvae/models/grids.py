"""The shape of z: a vector, or numbers on a grid, as the latents of an image may lie."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.utils import arguments

__all__ = ["Grids", "latent_sizes"]


def latent_sizes(latent_dim, latent_shape) -> tuple[int, tuple[int, ...]]:
    """Returns the number of latents and the shape of z, of either of them or of both.

    Args:
        latent_dim: int or `None`. The short form of `latent_shape=(latent_dim,)`.
        latent_shape: sequence of int or `None`.

    Raises:
        ValueError: for neither, for sizes below 1, and for two that do not agree.
    """
    if latent_shape is None:
        if latent_dim is None or latent_dim < 1:
            raise ValueError(f"`latent_dim` is a whole number of at least 1, not {latent_dim}.")
        return latent_dim, (latent_dim,)
    sizes = (latent_shape,) if isinstance(latent_shape, int) else tuple(latent_shape)
    if not sizes:
        raise ValueError("`latent_shape` has at least one size, e.g. (8, 8, 4).")
    shape = tuple(arguments.whole("latent_shape", size) for size in sizes)
    if latent_dim not in (None, math.prod(shape)):
        raise ValueError(
            f"latent_shape={shape} are {math.prod(shape)} latents, and latent_dim={latent_dim}: "
            "leave `latent_dim` out."
        )
    return math.prod(shape), shape


class Grids:
    """The methods of `kvae.VAE` between z on its grid and z as the vector of its numbers.

    Networks and users see `latent_shape`. Parts compute with vectors `[..., latent_dim]`, the same
    numbers in row-major order, so that every density, divergence and objective is one of both.
    """

    latent_dim: int
    latent_shape: tuple[int, ...]
    scale_factor: float | None = None

    def on_grid(self, values):
        """Returns vectors `[..., latent_dim]` as z is shaped, `[..., *latent_shape]`.

        Args:
            values: tensor, or a dict of the posterior's parameters, of which those of z's size are
                reshaped.
        """
        if len(self.latent_shape) == 1:
            return values
        if isinstance(values, Mapping):
            own = self.posterior.parameter_shapes()
            return {
                name: self.on_grid(value) if own.get(name) == (self.latent_dim,) else value
                for name, value in values.items()
            }
        return tf.reshape(values, tf.concat([tf.shape(values)[:-1], self.latent_shape], axis=0))

    def fit_scale_factor(self, x, label=None, seed=0) -> float:
        """Measures by which factor codes have a standard deviation of 1, and keeps it.

        A model of the codes, such as a diffusion, learns `scale_factor * z`, and what it draws is
        decoded by `vae.decode(drawn / vae.scale_factor)`. The factor is saved and exported (in the
        metadata) with the model, and a training of the model takes it away.

        Args:
            x, label: as in `encode`, the data of the training.
            seed: int, `SeedGenerator` or int32 tensor `[2]`. Of the draws of z. Defaults to `0`.

        Returns:
            float: `vae.scale_factor`, 1 over the standard deviation of all numbers of z ~ q(z|x).

        Example:

        ```python
        vae = zoo.load("dense_vae.digits")
        x = kvae.datasets.load("digits", "train", binarize="static").examples
        scaled = vae.fit_scale_factor(x) * vae.encode(x)["z_mean"]
        images = vae.decode(scaled / vae.scale_factor)
        ```

        Reference:
            - [Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models,
              appendix G](https://arxiv.org/abs/2112.10752)
        """
        params, label = self.encode_data(x, label)
        z = np.asarray(self.code(params, label, random.as_seed(seed)), np.float64)
        if not z.std() > 0:
            raise ValueError("All codes of `x` are the same number: they have no scale.")
        self.scale_factor = float(1.0 / z.std())
        return self.scale_factor

    def as_vectors(self, values):
        """Returns what has the shape of z, `[..., *latent_shape]`, as vectors `[..., latent_dim]`.

        Args:
            values: array or tensor, or a dict of them. What has another shape stays as it is.

        Example:

        ```python
        params = vae.as_vectors(vae.encode(x))     # As the parts of the model take them.
        z = vae.posterior.sample(params, seed=0)
        vae.decode(vae.on_grid(z))
        ```
        """
        if len(self.latent_shape) == 1:
            return values
        if isinstance(values, Mapping):
            return {name: self.as_vectors(value) for name, value in values.items()}
        rank = len(self.latent_shape)
        if len(values.shape) < rank or tuple(values.shape[-rank:]) != self.latent_shape:
            return values
        values = tf.convert_to_tensor(values)
        lead = tf.shape(values)[:-rank]
        return tf.reshape(values, tf.concat([lead, [self.latent_dim]], axis=0))
