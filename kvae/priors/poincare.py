"""Priors in the Poincaré ball."""

import math

from keras import ops

from kvae.distributions import poincare_ball as ball
from kvae.parts import to_write
from kvae.priors.prior import Prior, register

__all__ = ["Poincare", "RiemannianNormal", "WrappedNormal"]


class Poincare(Prior):
    """A distribution around the centre of the ball `c ‖z‖² < 1` of curvature −c.

    It goes with the posteriors of `kvae.posteriors.Poincare`, with the same curvature. Densities
    are with respect to dz.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        curvature: float. c. Defaults to `1.0`.
        scale: float or `None`, where the kind finds its own. σ. Defaults to `1.0`.

    Raises:
        ValueError: for numbers that are not positive, and beside a posterior of another curvature.
    """

    space = "ball"

    def __init__(
        self,
        latent_dim: int | None = None,
        curvature: float = 1.0,
        scale: float | None = 1.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.curvature = ball.check_curvature(curvature)
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(f"`scale` is a positive number, not {scale}.")
        self.scale = None if scale is None else float(scale)

    @to_write
    def step(self, noise):
        """Returns the way from the centre to z, `[n, latent_dim]`: its direction and length."""
        raise NotImplementedError

    @to_write
    def log_density(self, step):
        """Returns the log-density in nats with respect to the ball's volume, at such a step."""
        raise NotImplementedError

    def attach(self, vae):
        super().attach(vae)
        other = getattr(vae.posterior, "curvature", self.curvature)
        if other != self.curvature:
            raise ValueError(
                f"The posterior's ball has the curvature −{other:g} and the prior's "
                f"−{self.curvature:g}. Give both the same."
            )

    def transform(self, noise, temperature=1.0):
        return ball.point_at(temperature * self.step(noise), self.curvature)

    def log_prob(self, z):
        step = ball.step_to(ops.zeros_like(z), z, self.curvature)
        return self.log_density(step) + ball.log_volume(z, self.curvature)

    def get_config(self):
        return {**super().get_config(), "curvature": self.curvature, "scale": self.scale}


@register("wrapped_normal")
class WrappedNormal(Poincare):
    """`z = exp_0(v / 2)` with `v ~ N(0, σ² I)`, in the Poincaré ball of curvature −c.

    A Gaussian step from the centre: z lies in the direction of v at the distance ‖v‖. The density
    is `N(v; 0, σ² I) (√c ‖v‖ / sinh(√c ‖v‖))^(d−1) λ(z)^d` with `λ(z) = 2 / (1 − c ‖z‖²)`.
    `temperature` scales v.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        curvature: float. c, which is that of the posterior, too. Defaults to `1.0`.
        scale: float. σ. Defaults to `1.0`.

    Example:

    ```python
    prior = kvae.priors.WrappedNormal(latent_dim=2)
    prior.log_prob(np.zeros((1, 2), "float32"))     # [-0.4516] = log(4 / 2π), in nats
    ```

    Measured:
        - digits: NLL 23.47 ± 0.22 nats,
          `python -m benchmarks.methods --method posterior=wrapped_normal prior=wrapped_normal`

    Reference:
        - [Mathieu et al., Continuous Hierarchical Representations with Poincaré Variational
          Auto-Encoders, section 3](https://arxiv.org/abs/1901.06033)
    """

    def step(self, noise):
        return self.scale * noise["noise"]

    def log_density(self, step):
        return ball.wrapped_log_density(step, 2 * math.log(self.scale), self.curvature)


@register("riemannian_normal")
class RiemannianNormal(Poincare):
    """`p(z) ∝ exp(−d(0, z)² / 2σ²)` with respect to the volume of the Poincaré ball.

    It has the largest entropy of all distributions with its mean squared distance d² from the
    centre; see `kvae.posteriors.RiemannianNormal` for how it is drawn. `temperature` scales the
    distance.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        curvature: float. c, which is that of the posterior, too. Defaults to `1.0`.
        scale: float or `None`. σ. Defaults to `None`: 1, or where that is less, the largest with
            which float32 tells most draws from the boundary. It falls as `latent_dim` grows, for
            most of the volume is far out.

    Raises:
        ValueError: when it is built, for a larger scale.

    Example:

    ```python
    prior = kvae.priors.RiemannianNormal(latent_dim=2, scale=0.5)
    prior.sample(4, seed=0)     # [4, 2]
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
        scale: float | None = None,
        **kwargs,
    ):
        super().__init__(latent_dim, curvature, scale, **kwargs)

    def build(self, input_shape=None):
        if self.latent_dim is not None:
            self._scale()
        super().build(input_shape)

    def base_noise(self):
        return ball.radial_noise(self.latent_dim)

    def step(self, noise):
        return ball.radial_step(noise, self._sigma(), self.curvature)

    def log_density(self, step):
        return ball.radial_log_density(step, self._sigma(), self.curvature)

    def _scale(self) -> float:
        largest = ball.largest_scale(self.scale, self.latent_dim, self.curvature)
        return min(1.0, largest) if self.scale is None else largest

    def _sigma(self):
        return ops.convert_to_tensor(self._scale(), "float32")
