"""A posterior of several parts, such as continuous and discrete latents."""

import tensorflow as tf

from kvae.distributions.joined import Joined, Seen
from kvae.posteriors.posterior import Posterior, get, register

__all__ = ["Product"]


@register()
class Product(Joined, Posterior):
    """`q(z|x) = Π_k q_k(z_k|x)` with z = (z_1, …, z_K), each part a posterior of any kind.

    So z can have continuous and discrete latents, or some on a sphere. The prior is a
    `kvae.priors.Product` of parts of the same sizes and spaces in the same order, or, where all
    parts are on R^n, any other prior. The KL is the sum of those of the parts, in closed form where
    each of them has one. `kvae.objectives.JointVAE` has a capacity for each part.

    Args:
        parts: mapping from names to posteriors, or a sequence of posteriors, whose names are then
            `"0"`, `"1"`, …. Each has its `latent_dim`; one may leave it out, and gets the rest of
            the model's. Names are made of letters and digits.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Parameters: those of the parts, with the name of the part and an underscore before them, e.g.
    `style_z_mean`.

    Raises:
        ValueError: for fewer than two parts, for names that are not made of letters and digits,
            for parts that ignore x or have no density, for sizes that do not add up, and with the
            model, for a prior of other parts.

    Example:

    ```python
    posterior = kvae.posteriors.Product({
        "style": "diagonal_gaussian",
        "digit": kvae.posteriors.GumbelSoftmax(latent_dim=10, num_categories=10),
    })
    prior = kvae.priors.Product({
        "style": "standard_normal",
        "digit": kvae.priors.UniformCategorical(num_categories=10, latent_dim=10),
    })
    vae = kvae.VAE(encoder, decoder, latent_dim=16, posterior=posterior, prior=prior)
    ```

    Reference:
        - [Dupont, Learning Disentangled Joint Continuous and Discrete Representations](
          https://arxiv.org/abs/1804.00104)
    """

    def __init__(self, parts, latent_dim: int | None = None, **kwargs):
        super().__init__(None, **kwargs)
        self.take(parts, get, "posterior")
        for part in self.parts.values():
            if part.ignores_x or not part.has_density:
                raise ValueError(
                    f"A Product is one of densities q(z|x), and a {type(part).__name__} posterior "
                    "has none, or does not depend on x."
                )
        self.latent_dim = latent_dim

    @property
    def deterministic(self):
        return all(part.deterministic for part in self.parts.values())

    @property
    def discrete(self):
        return any(part.discrete for part in self.parts.values())

    @property
    def has_density(self):
        return True

    @property
    def tractable(self):
        return all(part.tractable for part in self.parts.values())

    @property
    def fully_amortized(self):
        return all(part.fully_amortized for part in self.parts.values())

    @property
    def marginal_log_prob(self):
        each = [part.marginal_log_prob for part in self.parts.values()]
        if None in each:
            return None
        return lambda params, z: tf.concat(
            [one(*own) for one, *own in zip(each, self.of(params), self.split(z), strict=True)], -1
        )

    @property
    def covariance(self):
        each = [part.covariance for part in self.parts.values()]
        if None in each:
            return None
        operator = tf.linalg.LinearOperatorFullMatrix
        return lambda params: tf.linalg.LinearOperatorBlockDiag(
            [operator(one(own)) for one, own in zip(each, self.of(params), strict=True)]
        ).to_dense()

    def attach(self, vae):
        super().attach(vae)
        if isinstance(vae.prior, Joined) and vae.prior.sizes != self.sizes:
            raise ValueError(
                f"The parts of the posterior have the sizes {self.sizes}, those of the prior "
                f"{vae.prior.sizes}: each z_k has a posterior and a prior of its own."
            )
        pairs = self.pairs(vae.prior) or [(part, None) for part in self.parts.values()]
        for name, (part, prior) in zip(self.parts, pairs, strict=True):
            part.attach(Seen(vae, part, prior, name))

    def pairs(self, prior) -> list | None:
        """Returns each part with its prior, or `None` where p(z) is no product of such parts."""
        parts = self.parts.values()
        if isinstance(prior, Joined) and prior.sizes == self.sizes:
            return list(zip(parts, prior.parts.values(), strict=True))
        if getattr(prior, "standard_normal", False):
            own = [type(prior)(part.latent_dim, name=prior.name) for part in parts]
            return list(zip(parts, own, strict=True))
        return None

    def build(self, features_shape):
        shapes = [features_shape] * len(self.parts)
        if isinstance(features_shape, dict):
            self._check_parameters(features_shape)
            shapes = self.of(features_shape)
        elif features_shape and isinstance(features_shape[0], (list, tuple)):
            shapes = self.of(self._by_name(features_shape))
        for part, shape in zip(self.parts.values(), shapes, strict=True):
            if not part.built:  # One of a loaded model has been built by Keras before.
                part.build(shape)
        self.built = True

    def call(self, features, training=False):
        if isinstance(features, (list, tuple)):
            features = self._by_name(features)
        each = [features] * len(self.parts)
        if isinstance(features, dict):
            each = self.of(features)
        return self.named(
            part(own, training=training)
            for part, own in zip(self.parts.values(), each, strict=True)
        )

    def parameter_shapes(self):
        return self.named(self.each("parameter_shapes"))

    def transform(self, params, noise):
        return tf.concat(self.each("transform", self.of(params), self.of(noise)), axis=-1)

    def mean(self, params):
        return tf.concat(self.each("mean", self.of(params)), axis=-1)

    def sample(self, params, num_samples=None, *, seed, training=False):
        drawn = self._draw("sample", params, num_samples, seed, training)
        return tf.concat(drawn, axis=-1)

    def sample_and_log_prob(self, params, num_samples=None, *, seed, training=False):
        drawn = self._draw("sample_and_log_prob", params, num_samples, seed, training)
        return tf.concat([z for z, _ in drawn], axis=-1), tf.add_n([log_q for _, log_q in drawn])

    def distribution(self, params):
        return self.joined_distribution(self.of(params))

    def log_prob(self, params, z):
        return tf.add_n(self.each("log_prob", self.of(params), self.split(z)))

    def cross_log_prob(self, params, z):
        return tf.add_n(self.each("cross_log_prob", self.of(params), self.split(z)))

    def penalty(self, params):
        found = [one for one in self.each("penalty", self.of(params)) if one is not None]
        return tf.add_n(found) if found else None

    def params_of(self, prior):
        pairs = self.pairs(prior)
        return {} if pairs is None else self.named(part.params_of(own) for part, own in pairs)

    def _draw(self, method: str, params, num_samples, seed, training: bool) -> list:
        """Draws from all parts, each with the noise that is drawn for it."""
        noise = self.draw_noise(params, num_samples, seed)
        return [
            getattr(part, method)(own, num_samples, seed=seed, training=training)
            for part, own, seed in zip(
                self.parts.values(), self.of(params), self.of(noise), strict=True
            )
        ]
