"""A prior of several parts, such as continuous and discrete latents."""

import tensorflow as tf

from kvae.distributions.joined import Joined, Seen
from kvae.priors.prior import Prior, get, register

__all__ = ["Product"]


@register()
class Product(Joined, Prior):
    """`p(z) = Π_k p_k(z_k)` with z = (z_1, …, z_K), each part a prior of any kind.

    It goes with a `kvae.posteriors.Product` of parts of the same sizes and spaces in the same
    order, or, where all parts are on R^n, with any other posterior on R^latent_dim.

    Args:
        parts: mapping from names to priors, or a sequence of priors, whose names are then `"0"`,
            `"1"`, …. Each has its `latent_dim`; one may leave it out, and gets the rest of the
            model's. Names are made of letters and digits.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Raises:
        ValueError: for fewer than two parts, for names that are not made of letters and digits, for
            sizes that do not add up, and with the model, for a posterior of other parts.

    Example:

    ```python
    posterior = kvae.posteriors.Product({
        "style": "diagonal_gaussian",
        "digit": kvae.posteriors.GumbelSoftmax(latent_dim=10, num_categories=10),
    })
    prior = kvae.priors.Product({
        "style": kvae.priors.GaussianMixture(3, latent_dim=2),
        "digit": kvae.priors.UniformCategorical(num_categories=10, latent_dim=10),
    })
    vae = kvae.VAE(encoder, decoder, latent_dim=12, posterior=posterior, prior=prior)
    ```

    Reference:
        - [Dupont, Learning Disentangled Joint Continuous and Discrete Representations](
          https://arxiv.org/abs/1804.00104)
    """

    def __init__(self, parts, latent_dim: int | None = None, **kwargs):
        super().__init__(None, **kwargs)
        self.take(parts, get, "prior")
        self.latent_dim = latent_dim

    @property
    def factorized(self):
        return all(part.factorized for part in self.parts.values())

    @property
    def conditional(self):
        return any(part.conditional for part in self.parts.values())

    @property
    def uses_posterior(self):
        return any(part.uses_posterior for part in self.parts.values())

    def attach(self, vae):
        super().attach(vae)
        posteriors = dict.fromkeys(self.parts, vae.posterior)
        if self.uses_posterior and not isinstance(vae.posterior, Joined):
            raise ValueError(
                "A part of this prior is made of a posterior's part, and a "
                f"{type(vae.posterior).__name__} posterior has none: use "
                "posterior=kvae.posteriors.Product(…)."
            )
        if isinstance(vae.posterior, Joined):
            posteriors = dict(vae.posterior.parts)
        for (name, posterior), part in zip(posteriors.items(), self.parts.values(), strict=True):
            part.attach(Seen(vae, posterior, part, name))

    def build(self, input_shape=None):
        for part in self.parts.values():
            if not part.built:
                part.build((None, part.latent_dim))
        self.built = True

    def transform(self, noise, temperature=1.0):
        temperatures = [temperature] * len(self.parts)
        return tf.concat(self.each("transform", self.of(noise), temperatures), axis=-1)

    def mean(self):
        means = self.each("mean")
        rank = max(len(mean.shape) for mean in means)
        if rank == 2:  # Of labels, which have a mean each.
            rows = next(tf.shape(mean)[0] for mean in means if len(mean.shape) == 2)
            means = [tf.broadcast_to(mean, (rows, mean.shape[-1])) for mean in means]
        return tf.concat(means, axis=-1)

    def distribution(self):
        return self.joined_distribution()

    def log_prob(self, z):
        return tf.add_n(self.each("log_prob", self.split(z)))

    def conditioned_on(self, label):
        if not self.conditional:
            return self
        return self._of_parts(lambda part: part.conditioned_on(label))

    def precompute(self):
        return self.named(self.each("precompute"))

    def precomputed(self, tensors=None):
        tensors = self.precompute() if tensors is None else tensors
        own = dict(zip(self.parts.values(), self.of(tensors), strict=True))
        return self._of_parts(lambda part: part.precomputed(own[part]))

    def _of_parts(self, change) -> "Product":
        """Returns the product of other parts, which computes and is no layer of a model."""
        parts = {name: change(part) for name, part in self.parts.items()}
        return type(self)(parts, self.latent_dim)
