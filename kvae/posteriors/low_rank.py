"""The Gaussian posterior whose covariance is diagonal plus low rank."""

import math

import tensorflow as tf
from keras import ops

from kvae.distributions.base_noise import Noise
from kvae.distributions.gaussian import gaussian_log_density
from kvae.posteriors.posterior import Posterior, register

__all__ = ["LowRank"]


@register("low_rank")
class LowRank(Posterior):
    """`q(z|x) = N(z; z_mean, diag(exp(z_log_var)) + V Vᵀ)` with V of `rank` columns.

    `z = z_mean + exp(z_log_var / 2) ε + V η`, with noise for each dimension (ε) and for each column
    (η). Between `DiagonalGaussian` and `FullCovariance`: parameters and time grow linearly with
    `latent_dim`. The density comes from the matrix determinant lemma and Woodbury's identity, in
    double precision: its terms cancel where V is much larger than the diagonal.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        rank: int. Columns of V. Defaults to `1`.
        log_var_bound: float. Bound of `|z_log_var|`. Defaults to `20.0`.
        factor_bound: float. Bound of the entries of V. Defaults to `100.0`.

    Parameters: `z_mean` and `z_log_var`, `[batch, latent_dim]`; `z_factor`,
    `[batch, latent_dim, rank]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=50, posterior=kvae.posteriors.LowRank(rank=4))
    ```

    Reference:
        - [Rezende et al., Stochastic Backpropagation, section 4.3 and appendix](
          https://arxiv.org/abs/1401.4082), there for the precision and rank 1.
    """

    standard_normal_at_zero = True

    def __init__(
        self,
        latent_dim: int | None = None,
        rank: int = 1,
        log_var_bound: float = 20.0,
        factor_bound: float = 100.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if rank < 1:
            raise ValueError(f"`rank` is at least 1, not {rank}.")
        self.rank, self.log_var_bound, self.factor_bound = rank, log_var_bound, factor_bound

    def parameter_shapes(self):
        d = self.latent_dim
        return {"z_mean": (d,), "z_log_var": (d,), "z_factor": (d, self.rank)}

    def constrain(self, params):
        variance, factor = self.log_var_bound, self.factor_bound
        return {
            **params,
            "z_log_var": ops.clip(params["z_log_var"], -variance, variance),
            "z_factor": ops.clip(params["z_factor"], -factor, factor),
        }

    def covariance(self, params):
        """Returns the covariance, `[batch, latent_dim, latent_dim]`."""
        factor = params["z_factor"]
        low_rank = tf.linalg.matmul(factor, factor, transpose_b=True)
        return tf.linalg.diag(ops.exp(params["z_log_var"])) + low_rank

    def log_det_covariance(self, params):
        """Returns the logarithm of the covariance's determinant, `[batch]`."""
        log_det = 2 * ops.sum(ops.log(tf.linalg.diag_part(self._capacitance(params)[1])), axis=-1)
        return ops.sum(params["z_log_var"], axis=-1) + ops.cast(log_det, "float32")

    def base_noise(self):
        return {"noise": Noise(self.latent_dim + self.rank)}  # ε and η.

    def transform(self, params, noise):
        noise = noise["noise"]
        own, shared = noise[..., : self.latent_dim], noise[..., self.latent_dim :]
        spread = ops.exp(0.5 * params["z_log_var"]) * own
        return params["z_mean"] + spread + tf.linalg.matvec(params["z_factor"], shared)

    def mean(self, params):
        return params["z_mean"]

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.MultivariateNormalDiagPlusLowRankCovariance(
            params["z_mean"], ops.exp(params["z_log_var"]), params["z_factor"]
        )

    def log_prob(self, params, z):
        scaled, cholesky = self._capacitance(params)
        difference = (z - params["z_mean"]) * ops.exp(-0.5 * params["z_log_var"])
        difference = ops.cast(difference, "float64")
        shared = tf.linalg.matvec(scaled, difference, transpose_a=True)[..., None]
        explained = tf.linalg.triangular_solve(cholesky, shared)[..., 0]
        distance = ops.sum(ops.square(difference), -1) - ops.sum(ops.square(explained), -1)
        constant = self.latent_dim * math.log(2 * math.pi)
        return -0.5 * (ops.cast(distance, "float32") + self.log_det_covariance(params) + constant)

    def marginal_log_prob(self, params, z):
        """Returns log q(z_i|x) of each coordinate alone in nats, `[..., batch, latent_dim]`."""
        variance = tf.linalg.diag_part(self.covariance(params))
        return gaussian_log_density(params["z_mean"], ops.log(variance), z)

    def get_config(self):
        return {
            **super().get_config(),
            "rank": self.rank,
            "log_var_bound": self.log_var_bound,
            "factor_bound": self.factor_bound,
        }

    def _capacitance(self, params):
        """Returns W = σ⁻¹ V and the Cholesky factor of I + Wᵀ W, in float64."""
        scaled = params["z_factor"] * ops.exp(-0.5 * params["z_log_var"])[..., None]
        scaled = ops.cast(scaled, "float64")
        inner = tf.linalg.matmul(scaled, scaled, transpose_a=True)
        return scaled, tf.linalg.cholesky(inner + ops.eye(self.rank, dtype="float64"))
