"""Uniform priors over one-hot vectors and over the entries of a codebook."""

import math

import tensorflow as tf
from keras import ops

from kvae.distributions.base_noise import Noise
from kvae.distributions.one_hot import one_hot_distribution, one_hot_of_largest
from kvae.posteriors.quantizer import Quantizer
from kvae.priors.prior import Prior, register

__all__ = ["CodesPrior", "UniformCategorical", "UniformCodes"]


@register("uniform_categorical")
class UniformCategorical(Prior):
    """The uniform distribution over one-hot vectors, for `GumbelSoftmax`: `log p(z) = −N log K`.

    `temperature` has nothing to scale.

    Args:
        num_categories: int. K; `latent_dim` is a multiple of it. Defaults to `10`.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Example:

    ```python
    prior = kvae.priors.UniformCategorical(num_categories=2, latent_dim=6)
    prior.sample(4, seed=0)      # [4, 6], three one-hot vectors of two classes in each row
    ```

    Reference:
        - [Jang et al., Categorical Reparameterization with Gumbel-Softmax, section 3](
          https://arxiv.org/abs/1611.01144)
    """

    space = "categorical"

    def __init__(self, num_categories: int = 10, latent_dim: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        if num_categories < 2:
            raise ValueError(f"`num_categories` is at least 2, not {num_categories}.")
        self.num_categories = num_categories

    def build(self, input_shape=None):
        if self.latent_dim is None or self.latent_dim % self.num_categories:
            raise ValueError(
                f"latent_dim={self.latent_dim} is no multiple of num_categories="
                f"{self.num_categories}: z is a one-hot vector for each variable."
            )
        self.built = True

    def base_noise(self):
        return {"uniform": Noise(self.latent_dim, "uniform")}

    def transform(self, noise, temperature=1.0):
        # Each number of a group is the largest with the same probability.
        return one_hot_of_largest(tf.convert_to_tensor(noise["uniform"]), self.num_categories)

    def mean(self):
        return ops.full((self.latent_dim,), 1.0 / self.num_categories)

    def distribution(self):
        shape = (self.latent_dim // self.num_categories, self.num_categories)
        return one_hot_distribution(tf.zeros(shape))

    def log_prob(self, z):
        variables = self.latent_dim // self.num_categories
        return ops.zeros_like(z[..., 0]) - variables * math.log(self.num_categories)

    def get_config(self):
        return {**super().get_config(), "num_categories": self.num_categories}


class CodesPrior(Prior):
    """A prior over the entries of the codebooks of the model's posterior, a `Quantizer`."""

    space = "codes"

    def __init__(self, latent_dim: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self._vae = lambda: None

    def attach(self, vae):
        if not isinstance(vae.posterior, Quantizer):
            raise ValueError(
                f"{type(self).__name__} draws from the codebook of a posterior such as "
                f"VectorQuantized, and this model's is a {type(vae.posterior).__name__}."
            )
        self._vae = lambda: vae

    @property
    def quantizer(self):
        """The model's posterior, whose codebook this draws from."""
        vae = self._vae()
        if vae is None:
            raise ValueError(
                f"{type(self).__name__} draws from the codebook of a model: make a kvae.VAE with "
                "it."
            )
        return vae.posterior

    def base_noise(self):
        return {"uniform": Noise(self.quantizer.num_codes, "uniform")}  # One for each code.

    def mean(self):
        """Returns the average entry of the codebook at each position, `[latent_dim]`."""
        return self.quantizer.average()


@register("uniform_codes")
class UniformCodes(CodesPrior):
    """The uniform distribution over the entries of the model's codebooks: `log p(z) = −N log K`.

    The model's posterior is a `Quantizer`, of N codes with K values each. It serves for training,
    where it is a constant; samples are better from `PixelCNN`. `temperature` has nothing to scale.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Raises:
        ValueError: for a model with another posterior, and when used without a model.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=16, posterior="vector_quantized", prior="uniform_codes"
    )
    ```

    Reference:
        - [van den Oord et al., Neural Discrete Representation Learning, section 3.1](
          https://arxiv.org/abs/1711.00937)
    """

    any_size = True

    def transform(self, noise, temperature=1.0):
        k = self.quantizer.num_embeddings
        codes = tf.minimum(tf.cast(noise["uniform"] * k, tf.int32), k - 1)
        return self.quantizer.embed(codes)

    def log_prob(self, z):
        posterior = self.quantizer
        log_codes = posterior.num_codes * math.log(posterior.num_embeddings)
        return ops.zeros_like(z[..., 0]) - log_codes
