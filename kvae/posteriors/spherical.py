"""Posteriors on the unit sphere: a mean direction, and a concentration around it."""

import math

import tensorflow as tf
from keras import ops

from kvae.parts import on_demand, to_write
from kvae.posteriors.posterior import Posterior, register

__all__ = ["PowerSpherical", "Spherical", "VonMisesFisher"]


class Spherical(Posterior):
    """A distribution on the unit sphere in R^latent_dim that depends on the angle to `z_mean` only.

    It comes out of plain Gaussian noise: the first coordinate, through the inverse of the angle's
    distribution function, gives the angle; the others the direction away from the pole; and a
    reflection takes the pole to `z_mean`. Nothing is rejected, and gradients reach both parameters.

    A new one gives `angle`, `log_density` and `entropy`.

    Some of x is in every z, since the concentration has a least value: near 0, where q(z|x) is
    the uniform prior, the decoder learns nothing of z and so gives the encoder no reason to leave.

    Args:
        latent_dim: int or `None`, at least 2. Set by `kvae.VAE` when `None`.
        max_concentration: float. The largest concentration. Defaults to `1000.0`.
        min_concentration: float. The smallest, above 0. Defaults to `1.0`, as in the code of
            Davidson et al., which is a KL of about `1 / (2 latent_dim)` nats.

    Parameters: `z_mean`, `[batch, latent_dim]`, the mean direction, of length 1 (brought there);
    `z_concentration`, `[batch, 1]`. An encoder that returns parameters gives `z_concentration`
    before its softplus.
    """

    space = "sphere"

    def __init__(
        self,
        latent_dim: int | None = None,
        max_concentration: float = 1000.0,
        min_concentration: float = 1.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if not 0 < min_concentration < max_concentration < math.inf:
            raise ValueError(
                "`min_concentration` is more than 0, and `max_concentration` more than that, not "
                f"{min_concentration} and {max_concentration}."
            )
        self.max_concentration = max_concentration
        self.min_concentration = min_concentration

    @classmethod
    def from_config(cls, config):
        # Saved configurations without the argument belong to models that were trained with 0.01.
        return super().from_config({"min_concentration": 0.01, **config})

    @to_write
    def angle(self, concentration, uniform):
        """Returns the cosine and the sine of the angle to `z_mean`, of the shape of `uniform`.

        Args:
            concentration: float64 tensor `[batch]`.
            uniform: float64 tensor `[..., batch]`, in (0, 1).
        """
        raise NotImplementedError

    @to_write
    def log_density(self, concentration, cosine):
        """Returns the log-density with respect to the sphere's area, in nats.

        Args:
            concentration: float64 tensor `[batch]`.
            cosine: float32 tensor `[..., batch]`.
        """
        raise NotImplementedError

    @on_demand
    def entropy(self, params):
        """Returns the entropy in nats with respect to the sphere's area, `[batch]`."""
        raise NotImplementedError

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,), "z_concentration": (1,)}

    def build(self, features_shape):
        if self.latent_dim is not None and self.latent_dim < 2:
            raise ValueError(f"A sphere needs a latent_dim of at least 2, not {self.latent_dim}.")
        super().build(features_shape)

    def constrain(self, params):
        # The small step decides for the first axis if the direction is undetermined.
        axis = tf.one_hot(0, self.latent_dim) * 1e-6
        concentration = self.min_concentration + tf.math.softplus(params["z_concentration"])
        return {
            "z_mean": tf.math.l2_normalize(params["z_mean"] + axis, axis=-1),
            "z_concentration": ops.minimum(concentration, self.max_concentration),
        }

    def transform(self, params, noise):
        noise = noise["noise"]
        uniform = 0.5 * tf.math.erfc(tf.cast(noise[..., 0], tf.float64) / math.sqrt(2.0))
        cosine, sine = self.angle(self._concentration(params), uniform)
        cosine, sine = (ops.cast(value, "float32")[..., None] for value in (cosine, sine))
        around = tf.math.l2_normalize(noise[..., 1:], axis=-1)
        pole = ops.concatenate([cosine, sine * around], axis=-1)
        # The reflection that takes the first axis to the mean.
        first = tf.one_hot(0, self.latent_dim)
        mirror = tf.math.l2_normalize(first - params["z_mean"], axis=-1)
        return pole - 2 * ops.sum(mirror * pole, axis=-1, keepdims=True) * mirror

    def mean(self, params):
        """Returns the mean direction, `[batch, latent_dim]`.

        It is E[z] brought to the sphere, where the decoder knows its inputs.
        """
        return params["z_mean"]

    def log_prob(self, params, z):
        cosine = ops.sum(z * params["z_mean"], axis=-1)
        return self.log_density(self._concentration(params), cosine)

    def get_config(self):
        return {
            **super().get_config(),
            "max_concentration": self.max_concentration,
            "min_concentration": self.min_concentration,
        }

    @staticmethod
    def _concentration(params):
        # Double precision is needed because log-gammas cancel.
        return ops.cast(params["z_concentration"][..., 0], "float64")


@register("power_spherical")
class PowerSpherical(Spherical):
    """`q(z|x) ∝ (1 + z_meanᵀ z)^concentration` on the unit sphere in R^latent_dim.

    It resembles the von Mises–Fisher distribution, and everything about it is elementary: the
    cosine to `z_mean` is a beta variable, drawn here by the inverse of its distribution function.
    For use with the `UniformSphere` prior; the KL is known in closed form.

    Args:
        latent_dim: int or `None`, at least 2. Set by `kvae.VAE` when `None`.
        max_concentration: float. The largest concentration. Defaults to `1000.0`.
        min_concentration: float. The smallest, above 0; see `Spherical`. Defaults to `1.0`.

    Parameters: `z_mean`, `[batch, latent_dim]`, and `z_concentration`, `[batch, 1]`; see
    `Spherical`.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=3, posterior="power_spherical", prior="uniform_sphere"
    )
    ```

    Reference:
        - [De Cao & Aziz, The Power Spherical distribution](https://arxiv.org/abs/2006.04437)
    """

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.PowerSpherical(params["z_mean"], params["z_concentration"][..., 0])

    def angle(self, concentration, uniform):
        import tensorflow_probability as tfp

        # Half of one minus the cosine is small for large concentrations, and so stays precise.
        alpha, beta = self._alpha_beta(concentration)
        gap = ops.clip(tfp.math.betaincinv(beta, alpha, uniform), 1e-12, 1 - 1e-12)
        return 1 - 2 * gap, 2 * ops.sqrt(gap * (1 - gap))

    def log_density(self, concentration, cosine):
        power = ops.cast(concentration, "float32") * ops.log(ops.maximum(1 + cosine, 1e-7))
        return power - ops.cast(self._log_normalizer(concentration), "float32")

    def entropy(self, params):
        concentration = self._concentration(params)
        alpha, beta = self._alpha_beta(concentration)
        log_power = math.log(2.0) + tf.math.digamma(alpha) - tf.math.digamma(alpha + beta)
        return ops.cast(self._log_normalizer(concentration) - concentration * log_power, "float32")

    def _alpha_beta(self, concentration):
        # (1 + cosine) / 2 ~ Beta(alpha, beta).
        beta = tf.fill(tf.shape(concentration), tf.constant((self.latent_dim - 1) / 2, tf.float64))
        return beta + concentration, beta

    def _log_normalizer(self, concentration):
        alpha, beta = self._alpha_beta(concentration)
        gammas = tf.math.lgamma(alpha) - tf.math.lgamma(alpha + beta)
        return (alpha + beta) * math.log(2.0) + beta * math.log(math.pi) + gammas


# Points of the angle's quadrature. The rule is of fourth order, so the distribution function is
# right to about 1e-8.
_POINTS = 256


@register("von_mises_fisher")
class VonMisesFisher(Spherical):
    """`q(z|x) ∝ exp(concentration · z_meanᵀ z)` on the unit sphere in R^latent_dim.

    The Gaussian of the sphere. Its normaliser is a Bessel function, and its usual sampler rejects
    draws; both are replaced here by one quadrature over the angle to `z_mean`, whose density
    `exp(κ cos θ) sin^(D−2) θ` is smooth: its sum is the normaliser, its running sum the
    distribution function that a draw inverts. Gradients of draws are implicit,
    `dθ/dκ = −(∂F/∂κ) / (∂F/∂θ)`. The KL to `UniformSphere` is known, `κ E[cos θ] + log C(κ)` plus
    the logarithm of the area.

    Args:
        latent_dim: int or `None`, at least 2. Set by `kvae.VAE` when `None`.
        max_concentration: float. The largest concentration. Defaults to `1000.0`.
        min_concentration: float. The smallest, above 0; see `Spherical`. Defaults to `1.0`.

    Parameters: `z_mean`, `[batch, latent_dim]`, and `z_concentration`, `[batch, 1]`; see
    `Spherical`.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=3, posterior="von_mises_fisher", prior="uniform_sphere"
    )
    ```

    References:
        - [Davidson et al., Hyperspherical Variational Auto-Encoders](
          https://arxiv.org/abs/1804.00891)
        - [Figurnov et al., Implicit Reparameterization Gradients](
          https://arxiv.org/abs/1805.08498)
    """

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.VonMisesFisher(params["z_mean"], params["z_concentration"][..., 0])

    def angle(self, concentration, uniform):
        grid, step, density, cumulative, total, _ = self._quadrature(concentration)
        cumulative = cumulative / total[:, None]
        slope = density / total[:, None]
        # Rows are examples: [batch, draws].
        lead = tf.shape(uniform)
        u = tf.transpose(tf.reshape(uniform, (-1, lead[-1])))
        u = tf.clip_by_value(u, 1e-12, 1 - 1e-12)
        cell = tf.searchsorted(tf.stop_gradient(cumulative), u, side="right") - 1
        cell = tf.clip_by_value(cell, 0, _POINTS - 2)

        def at(values, index):
            return tf.gather(values, index, batch_dims=1)

        low, high = at(cumulative, cell), at(cumulative, cell + 1)
        low_slope = at(slope, cell) * step[:, None]
        high_slope = at(slope, cell + 1) * step[:, None]

        def curve(t, low, high, low_slope, high_slope):
            """Returns the cubic with these ends and slopes at t in [0, 1], and its derivative."""
            gap = high - low
            c2, c3 = 3 * gap - 2 * low_slope - high_slope, low_slope + high_slope - 2 * gap
            value = low + t * (low_slope + t * (c2 + t * c3))
            return value, low_slope + t * (2 * c2 + 3 * t * c3)

        fixed = [tf.stop_gradient(value) for value in (low, high, low_slope, high_slope)]
        t = (u - fixed[0]) / tf.maximum(fixed[1] - fixed[0], 1e-300)
        for _ in range(4):  # Newton's steps: the cubic is nearly a line.
            value, derivative = curve(t, *fixed)
            t = tf.clip_by_value(t - (value - u) / tf.maximum(derivative, 1e-300), 0.0, 1.0)
        t = tf.stop_gradient(t)
        value, derivative = curve(t, low, high, low_slope, high_slope)
        change = value - tf.stop_gradient(value)  # Zero, with the gradient of F by κ.
        theta = at(grid, cell) + step[:, None] * (
            t - change / tf.maximum(tf.stop_gradient(derivative), 1e-30)
        )
        theta = tf.reshape(tf.transpose(theta), lead)
        return tf.cos(theta), tf.sin(theta)

    def log_density(self, concentration, cosine):
        log_normalizer = ops.cast(self._log_normalizer(concentration), "float32")
        # κ is subtracted on both sides, so that no large terms cancel.
        return ops.cast(concentration, "float32") * (cosine - 1.0) - log_normalizer

    def entropy(self, params):
        concentration = self._concentration(params)
        *_, mean_gap = self._quadrature(concentration)
        return ops.cast(self._log_normalizer(concentration) + concentration * mean_gap, "float32")

    def _log_normalizer(self, concentration):
        """log ∫ exp(κ (cos θ − 1)) over the sphere."""
        *_, total, _ = self._quadrature(concentration)
        # Times the area of the sphere of directions around the pole.
        half = 0.5 * (self.latent_dim - 1)
        log_area = math.log(2.0) + half * math.log(math.pi) - math.lgamma(half)
        return log_area + tf.math.log(total) + self._log_peak(concentration)[1]

    def _log_peak(self, concentration):
        """Returns the angle of the largest density and its logarithm `[batch]`, as constants."""
        kappa = tf.stop_gradient(concentration)
        power = self.latent_dim - 2.0
        # κ sin² θ = (D − 2) cos θ.
        cosine = 2 * kappa / (power + tf.sqrt(power**2 + 4 * kappa**2))
        theta = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
        return theta, _log_angle_density(kappa, tf.maximum(theta, 1e-30), power)

    def _quadrature(self, concentration):
        """The angle's density, in units of its peak, on a grid that holds all of its mass.

        Returns: grid `[batch, points]`, step `[batch]`, density and its running integral
        `[batch, points]`, the integral and the mean of 1 − cos θ `[batch]`.
        """
        power = self.latent_dim - 2.0
        peak, log_peak = self._log_peak(concentration)
        kappa = tf.stop_gradient(concentration)
        curvature = kappa * tf.cos(peak) + power / tf.maximum(tf.sin(peak) ** 2, 1e-12)
        if power == 0:
            curvature = kappa
        reach = 10.0 / tf.sqrt(curvature)
        low, high = tf.maximum(peak - reach, 0.0), tf.minimum(peak + reach, math.pi)
        step = (high - low) / (_POINTS - 1)
        grid = low[:, None] + step[:, None] * tf.range(_POINTS, dtype=tf.float64)
        sine = tf.maximum(tf.sin(grid), 1e-30)
        kappa = concentration[:, None]
        density = tf.exp(
            kappa * (tf.cos(grid) - 1.0) + power * tf.math.log(sine) - log_peak[:, None]
        )
        slope = density * (power * tf.cos(grid) / sine - kappa * tf.sin(grid))

        def running(values, slopes):
            """∫ by the trapezoidal rule with its end correction, of fourth order."""
            inner = 0.5 * (values[:, 1:] + values[:, :-1]) * step[:, None]
            sums = tf.concat([tf.zeros_like(inner[:, :1]), tf.cumsum(inner, axis=1)], axis=1)
            return sums - step[:, None] ** 2 / 12 * (slopes - slopes[:, :1])

        cumulative = running(density, slope)
        gap = 1.0 - tf.cos(grid)
        moment = running(density * gap, slope * gap + density * tf.sin(grid))[:, -1]
        total = cumulative[:, -1]
        return grid, step, density, cumulative, total, moment / total


def _log_angle_density(kappa, theta, power):
    return kappa * (tf.cos(theta) - 1.0) + power * tf.math.log(tf.maximum(tf.sin(theta), 1e-30))
