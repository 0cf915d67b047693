"""Student's t-distribution as a posterior, with polynomial tails."""

import math

import tensorflow as tf
from keras import ops

from kvae.distributions.base_noise import Noise
from kvae.distributions.student_t import (
    student_t_from_uniform,
    student_t_log_density,
    student_t_log_normalizer,
)
from kvae.posteriors.location_scale import LocationScale
from kvae.posteriors.posterior import register

__all__ = ["StudentT"]

_SMALLEST_DF, _LARGEST_DF = 2.1, 1000.0


@register("student_t")
class StudentT(LocationScale):
    """`q(z|x) = Π t(z_i; df, z_mean_i, exp(z_log_scale_i))`: tails that fall like a power.

    The noise is Bailey's: with u and v uniform, `sqrt(df (u^(-2/df) − 1)) cos(2πv)` has exactly
    Student's distribution. Unlike a Gaussian over the root of a gamma variable it is elementary, so
    that gradients reach `df` too. The KL to N(0, I) is known.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        df: float or `None`. Degrees of freedom, more than 2, so that the variance and the KL exist;
            `None` learns them for each dimension and `x`, from 2.1 to 1000. Defaults to `5.0`.
        log_scale_bound: float. Bound of `|z_log_scale|`. Defaults to `10.0`.

    Parameters: `z_mean`, `z_log_scale`, and `z_df` where it is learned, `[batch, latent_dim]`. An
    encoder that returns parameters gives `z_df` before its softplus.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior=kvae.posteriors.StudentT(df=None))
    ```

    Reference:
        - [Bailey, Polar generation of random variates with the t-distribution, Mathematics of
          Computation 62 (1994)](https://doi.org/10.1090/S0025-5718-1994-1219702-8)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        df: float | None = 5.0,
        log_scale_bound: float = 10.0,
        **kwargs,
    ):
        super().__init__(latent_dim, log_scale_bound, **kwargs)
        if df is not None and not 2 < df < math.inf:
            raise ValueError(f"`df` is more than 2 (or None to learn it), not {df}.")
        self.df = df

    def parameter_shapes(self):
        shapes = super().parameter_shapes()
        return shapes if self.df is not None else {**shapes, "z_df": (self.latent_dim,)}

    def constrain(self, params):
        params = super().constrain(params)
        if self.df is None:
            df = _SMALLEST_DF + tf.math.softplus(params["z_df"])
            params["z_df"] = ops.minimum(df, _LARGEST_DF)
        return params

    def base_noise(self):
        return {"uniform": Noise(2 * self.latent_dim, "uniform")}

    def element_transform(self, params, uniform):
        shape = tf.concat([tf.shape(uniform)[:-1], [self.latent_dim, 2]], axis=0)
        df = ops.cast(self._df(params), "float32")
        return student_t_from_uniform(tf.reshape(uniform, shape), df)

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return self._independent(tfd.StudentT, params, df=ops.cast(self._df(params), "float32"))

    def element_log_prob(self, params, t):
        return student_t_log_density(t, self._df(params))

    def entropy(self, params):
        df = self._df(params)
        half = 0.5 * (df + 1.0)
        spread = half * (tf.math.digamma(half) - tf.math.digamma(0.5 * df))
        return ops.cast(student_t_log_normalizer(df) + spread, "float32")

    def second_moment(self, params):
        df = self._df(params)
        return ops.cast(df / (df - 2.0), "float32")

    def get_config(self):
        return {**super().get_config(), "df": self.df}

    def _df(self, params):
        # Double precision is needed because log-gammas of large arguments cancel.
        return tf.cast(params["z_df"] if self.df is None else self.df, tf.float64)
