"""The prior that is uniform on a manifold: dense where the volume of a metric is small."""

import math

import numpy as np
import tensorflow as tf

from kvae.distributions.base_noise import Noise
from kvae.distributions.metric import Metric
from kvae.priors.prior import Prior, register
from kvae.utils import arguments

__all__ = ["Manifold"]

_MOST = 2**24  # Distances of draws from centroids that are in memory at a time, 128 MB.


@register()
class Manifold(Prior):
    """`p(z) ∝ √det G⁻¹(z) − λ^(d/2)`, with `G⁻¹(z) = Σ_i M_i exp(−‖z − c_i‖² / T²) + λ I`.

    Draws lie where codes do, along the directions in which G⁻¹ is large. `λ^(d/2)`, which is what
    the root tends to far from all centroids, is taken away so that there is a distribution over
    R^d; near the centroids it is nothing beside the rest. The normalizing constant is estimated by
    `adapt`, with importance samples around the centroids.

    A draw begins at a centroid and takes `num_steps` steps of Hamiltonian Monte Carlo, each of
    `num_leaps` leapfrog steps and accepted or not by their error. So draws follow p(z) as far as
    the chain has mixed: it starts in all places, and seldom goes from one group of centroids to
    another. `temperature` scales the momenta, and what error is accepted.

    `kvae.samplers.Manifold` makes it of a model with the objective `riemannian_hamiltonian`.

    Args:
        num_centroids: int. n.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        temperature: float. T. Defaults to `1.5`.
        regularization: float. λ. Defaults to `0.01`.
        num_steps: int. Defaults to `100`.
        num_leaps: int. Defaults to `15`.
        step_size: float. Of a leapfrog step. Defaults to `0.03`.

    Raises:
        ValueError: for numbers out of their range.

    Example:

    ```python
    prior = kvae.priors.Manifold(num_centroids=2, latent_dim=2, num_steps=5)
    prior.adapt(centroids=np.eye(2), matrices=np.stack([np.eye(2)] * 2), seed=0)
    prior.sample(4, seed=0)     # [4, 2]
    ```

    Reference:
        - [Chadebec et al., Data Generation in Low Sample Size Setting Using Manifold Sampling and a
          Geometry-Aware VAE, section 3.3](https://arxiv.org/abs/2103.13751)
    """

    def __init__(
        self,
        num_centroids: int,
        latent_dim: int | None = None,
        temperature: float = 1.5,
        regularization: float = 0.01,
        num_steps: int = 100,
        num_leaps: int = 15,
        step_size: float = 0.03,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_centroids = arguments.whole("num_centroids", num_centroids)
        self.num_steps = arguments.whole("num_steps", num_steps)
        self.num_leaps = arguments.whole("num_leaps", num_leaps)
        for name, value in (
            ("temperature", temperature),
            ("regularization", regularization),
            ("step_size", step_size),
        ):
            if not arguments.number(name, value) > 0:
                raise ValueError(f"`{name}` is more than 0, not {value}.")
            setattr(self, name, float(value))

    def build(self, input_shape=None):
        if self.built:
            return
        count, size = self.num_centroids, self.latent_dim
        for name, shape in (
            ("centroids", (count, size)),
            ("matrices", (count, size, size)),
            ("log_total", ()),
            ("average", (size,)),
        ):
            weight = self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)
            setattr(self, name, weight)
        super().build(input_shape)

    def adapt(self, centroids, matrices, seed: int, num_samples: int = 20_000) -> float:
        """Takes centroids and matrices, and estimates the constant that makes p(z) integrate to 1.

        Args:
            centroids: array `[num_centroids, latent_dim]`.
            matrices: array `[num_centroids, latent_dim, latent_dim]`, symmetric and positive.
            seed: int. Of the importance samples.
            num_samples: int. How many there are. Defaults to `20_000`.

        Returns:
            float. The standard error of log p(z), in nats, that the estimate leaves.
        """
        self.build()
        self.centroids.assign(centroids)
        self.matrices.assign(matrices)
        # The tails of √det G⁻¹ − λ^(d/2) are those of exp(−‖z − c‖² / T²), a Gaussian's.
        generator = np.random.Generator(np.random.Philox(seed))
        centroids = np.asarray(centroids, np.float64)
        weights, sums = [], np.zeros(self.latent_dim)
        for start in range(0, num_samples, 2048):
            count = min(2048, num_samples - start)
            chosen = centroids[generator.integers(len(centroids), size=count)]
            z = chosen + self.temperature / math.sqrt(2) * generator.normal(size=chosen.shape)
            pieces = np.array_split(z, math.ceil(count * len(centroids) / _MOST))
            own = np.concatenate([self._weights(piece, centroids) for piece in pieces])
            weights.append(own)
            sums += own @ z
        weights = np.concatenate(weights)
        total = weights.mean()
        self.log_total.assign(math.log(total))
        self.average.assign(sums / weights.sum())
        return float(weights.std(ddof=1) / math.sqrt(len(weights)) / total)

    def _weights(self, z, centroids) -> np.ndarray:
        """Returns √det G⁻¹ − λ^(d/2) at each z over the density from which it was drawn, `[n]`."""
        own, theirs = (np.sum(each**2, axis=-1) for each in (z, centroids))
        squares = np.maximum(own[:, None] + theirs - 2.0 * z @ centroids.T, 0.0)
        squares /= self.temperature**2
        least = squares.min(axis=1, keepdims=True)
        log_q = np.log(np.mean(np.exp(least - squares), axis=1)) - least[:, 0]
        log_q -= 0.5 * self.latent_dim * math.log(math.pi * self.temperature**2)
        return np.exp(np.asarray(self._log_mass(z.astype("float32")), np.float64) - log_q)

    def _metric(self) -> Metric:
        centroids, matrices = self.centroids.value, self.matrices.value
        return Metric(centroids, matrices, self.temperature, self.regularization)

    def _log_mass(self, z, gradient: bool = False):
        """Returns `log(√det G⁻¹ − λ^(d/2))` at z, and where it is asked for its gradient."""
        metric = self._metric()
        z = tf.convert_to_tensor(z, tf.float32)
        shares = metric.shares(z)
        factor = metric.factor(z, shares)
        log_root = metric.log_volume(factor)
        # The share of the root that is left. Rounding could leave nothing far from all centroids.
        least = 0.5 * self.latent_dim * math.log(self.regularization)
        left = tf.maximum(-tf.math.expm1(tf.minimum(least - log_root, 0.0)), 1e-6)
        log_mass = log_root + tf.math.log(left)
        if not gradient:
            return log_mass
        pull = metric.gradient(z, shares=shares, factor=factor)
        return log_mass, -pull / left[..., None]

    def base_noise(self):
        return {
            "start_uniform": Noise(1, "uniform"),
            "noise": Noise(self.num_steps * self.latent_dim),
            "accept_uniform": Noise(self.num_steps, "uniform"),
        }

    def transform(self, noise, temperature=1.0):
        count, size = self.num_centroids, self.latent_dim
        first = tf.cast(noise["start_uniform"][:, 0] * count, tf.int32)
        z = tf.gather(self.centroids.value, tf.minimum(first, count - 1))
        momenta = tf.reshape(noise["noise"], (-1, self.num_steps, size)) * temperature
        # −log u, times the temperature's square: how much the energy may rise.
        errors = -(temperature**2) * tf.math.log(tf.maximum(noise["accept_uniform"], 1e-30))

        def leap(_, z, momentum, log_mass, gradient):
            momentum = momentum + 0.5 * self.step_size * gradient
            z = z + self.step_size * momentum
            log_mass, gradient = self._log_mass(z, gradient=True)
            return _ + 1, z, momentum + 0.5 * self.step_size * gradient, log_mass, gradient

        def step(index, z, log_mass, gradient):
            momentum = momenta[:, index]
            state = (tf.constant(0), z, momentum, log_mass, gradient)
            _, there, after, mass, slope = tf.while_loop(
                lambda done, *_: done < self.num_leaps, leap, state
            )
            rise = 0.5 * tf.reduce_sum(after**2 - momentum**2, axis=-1) + log_mass - mass
            moves = rise < errors[:, index]
            return (
                index + 1,
                tf.where(moves[:, None], there, z),
                tf.where(moves, mass, log_mass),
                tf.where(moves[:, None], slope, gradient),
            )

        state = (tf.constant(0), z, *self._log_mass(z, gradient=True))
        return tf.while_loop(lambda done, *_: done < self.num_steps, step, state)[1]

    def mean(self):
        return self.average.value

    def log_prob(self, z):
        return self._log_mass(z) - self.log_total

    def get_config(self):
        return {
            **super().get_config(),
            "num_centroids": self.num_centroids,
            "temperature": self.temperature,
            "regularization": self.regularization,
            "num_steps": self.num_steps,
            "num_leaps": self.num_leaps,
            "step_size": self.step_size,
        }
