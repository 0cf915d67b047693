"""Posteriors in the Poincaré ball, a space in which trees have room."""

import tensorflow as tf
from keras import ops

from kvae.distributions import poincare_ball as ball
from kvae.parts import to_write
from kvae.posteriors.posterior import Posterior, register

__all__ = ["Poincare", "RiemannianNormal", "WrappedNormal"]

# How far from the centre a mean may lie, in units of 1 / √c.
_FARTHEST_MEAN = 0.5 * ball.FARTHEST


class Poincare(Posterior):
    """A distribution in the ball `c ‖z‖² < 1` of curvature −c, around `z_mean`.

    The circumference of a circle grows exponentially with its radius there, as the number of
    branches of a tree does with the depth. Densities are with respect to dz. z_mean is at most
    6 / √c from the centre, and z 12 / √c, where float32 ends; in Euclidean length that is
    0.99999 / √c.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        curvature: float. c, which is that of the prior, too. Defaults to `1.0`.

    Raises:
        ValueError: for a curvature that is not positive.

    Parameters: `z_mean`, `[batch, latent_dim]`, a point of the ball, and those of the kind. An
    encoder that returns parameters gives for `z_mean` a vector v, which means the point at the
    distance ‖v‖ from the centre.
    """

    space = "ball"

    def __init__(self, latent_dim: int | None = None, curvature: float = 1.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.curvature = ball.check_curvature(curvature)

    @to_write
    def step(self, params, noise):
        """Returns the way from `z_mean` to z, `[..., batch, latent_dim]`: its direction and length.

        Args:
            params: dict. The parameters, `[batch, ...]`.
            noise: dict of tensors `[..., batch, size]`, as `base_noise` declares them.
        """
        raise NotImplementedError

    @to_write
    def log_density(self, params, step):
        """Returns the log-density in nats with respect to the ball's volume, at such a step."""
        raise NotImplementedError

    def constrain(self, params):
        z_mean = ball.point_at(params["z_mean"], self.curvature, _FARTHEST_MEAN)
        return {**params, "z_mean": z_mean}

    def transform(self, params, noise):
        return ball.step_from(params["z_mean"], self.step(params, noise), self.curvature)

    def mean(self, params):
        """Returns `z_mean`, `[batch, latent_dim]`, from which the mean squared distance is least.

        It is no mean of coordinates.
        """
        return params["z_mean"]

    def geodesic(self, start, end, position):
        """Returns points `[n, s, latent_dim]` of the shortest way from `start` to `end`.

        Args:
            start, end: tensors `[n, 1, latent_dim]`.
            position: tensor `[n, s, 1]`, from 0 to 1.
        """
        return ball.geodesic(start, end, position, self.curvature)

    def log_prob(self, params, z):
        step = ball.step_to(params["z_mean"], z, self.curvature)
        return self.log_density(params, step) + ball.log_volume(z, self.curvature)

    def get_config(self):
        return {**super().get_config(), "curvature": self.curvature}


@register("wrapped_normal")
class WrappedNormal(Poincare):
    """`z = exp_mean(v / λ(z_mean))` with `v ~ N(0, diag(exp(z_log_var)))`, in the Poincaré ball.

    A Gaussian step from z_mean along the shortest way. `λ(z) = 2 / (1 − c ‖z‖²)` is the length
    there of a Euclidean unit, so that the density is
    `N(v; 0, diag(exp(z_log_var))) (√c ‖v‖ / sinh(√c ‖v‖))^(d−1) λ(z)^d`. As c tends to 0 it
    becomes that of `N(z_mean, diag(exp(z_log_var)) / 4)`: lengths at the centre are twice the
    Euclidean ones.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        curvature: float. c, which is that of the prior, too. Defaults to `1.0`.
        log_var_bound: float. Bound of `|z_log_var|`. Defaults to `20.0`.

    Parameters: `z_mean`, a point of the ball (see `Poincare`), and `z_log_var`, both
    `[batch, latent_dim]`.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=2, posterior="wrapped_normal", prior="wrapped_normal"
    )
    ```

    Measured:
        - digits: NLL 23.47 ± 0.22 nats,
          `python -m benchmarks.methods --method posterior=wrapped_normal prior=wrapped_normal`

    References:
        - [Mathieu et al., Continuous Hierarchical Representations with Poincaré Variational
          Auto-Encoders, section 3](https://arxiv.org/abs/1901.06033)
        - [Nagano et al., A Wrapped Normal Distribution on Hyperbolic Space](
          https://arxiv.org/abs/1902.02992)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        curvature: float = 1.0,
        log_var_bound: float = 20.0,
        **kwargs,
    ):
        super().__init__(latent_dim, curvature, **kwargs)
        self.log_var_bound = log_var_bound

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,), "z_log_var": (self.latent_dim,)}

    def constrain(self, params):
        z_log_var = ops.clip(params["z_log_var"], -self.log_var_bound, self.log_var_bound)
        return {**super().constrain(params), "z_log_var": z_log_var}

    def step(self, params, noise):
        return ops.exp(0.5 * params["z_log_var"]) * noise["noise"]

    def log_density(self, params, step):
        return ball.wrapped_log_density(step, params["z_log_var"], self.curvature)

    def get_config(self):
        return {**super().get_config(), "log_var_bound": self.log_var_bound}


@register("riemannian_normal")
class RiemannianNormal(Poincare):
    """`q(z|x) ∝ exp(−d(z_mean, z)² / 2σ²)` with respect to the volume of the Poincaré ball.

    It has the largest entropy of all distributions with its mean and its mean squared distance d².
    The direction from z_mean is uniform; the distance has the density
    `ρ(r) ∝ exp(−r² / 2σ²) sinh(√c r)^(d−1)`, whose distribution function is inverted by
    quadrature, so that nothing is rejected and gradients reach σ.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        curvature: float. c, which is that of the prior, too. Defaults to `1.0`.
        max_scale: float or `None`. The largest σ; the smallest is a thousandth of it. Defaults to
            `None`: the largest that leaves z where float32 tells it from the boundary, which falls
            as `latent_dim` grows, for most of the volume is far out.

    Raises:
        ValueError: when it is built, for a `max_scale` above that.

    Parameters: `z_mean`, `[batch, latent_dim]`, a point of the ball (see `Poincare`), and
    `z_scale`, σ, `[batch, 1]`. An encoder that returns parameters gives the logit of
    `z_scale / max_scale` for it.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=2, posterior="riemannian_normal", prior="riemannian_normal"
    )
    ```

    Measured:
        - digits: NLL 23.51 ± 0.22 nats, `python -m benchmarks.methods
          --method posterior=riemannian_normal prior=riemannian_normal`

    Reference:
        - [Mathieu et al., Continuous Hierarchical Representations with Poincaré Variational
          Auto-Encoders, section 3 and appendix B](https://arxiv.org/abs/1901.06033)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        curvature: float = 1.0,
        max_scale: float | None = None,
        **kwargs,
    ):
        super().__init__(latent_dim, curvature, **kwargs)
        if max_scale is not None and not max_scale > 0:
            raise ValueError(f"`max_scale` is positive, not {max_scale}.")
        self.max_scale = max_scale

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,), "z_scale": (1,)}

    def build(self, features_shape):
        if self.latent_dim is not None:
            self._largest()
        super().build(features_shape)

    def base_noise(self):
        return ball.radial_noise(self.latent_dim)

    def constrain(self, params):
        share = 0.001 + 0.999 * tf.math.sigmoid(params["z_scale"])
        return {**super().constrain(params), "z_scale": self._largest() * share}

    def step(self, params, noise):
        return ball.radial_step(noise, params["z_scale"][..., 0], self.curvature)

    def log_density(self, params, step):
        return ball.radial_log_density(step, params["z_scale"][..., 0], self.curvature)

    def _largest(self) -> float:
        return ball.largest_scale(self.max_scale, self.latent_dim, self.curvature)

    def get_config(self):
        return {**super().get_config(), "max_scale": self.max_scale}
