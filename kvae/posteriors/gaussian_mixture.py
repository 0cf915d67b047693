"""The mixture of Gaussians as a posterior, which may have several modes."""

import math

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import draw_from_mixture, gaussian_log_density, mixture_log_prob
from kvae.posteriors.posterior import Posterior, register

__all__ = ["GaussianMixture"]


@register("gaussian_mixture")
class GaussianMixture(Posterior):
    """`q(z|x) = Σ_k w_k N(z; mean_k, diag(exp(log_var_k)))`.

    Choosing a component is no differentiable function of the weights, and through `z` as it is
    drawn the gradient would miss them. So `z` carries *implicit* gradients: with F the function
    that turns `z` into uniform variables, one coordinate given those before it, the gradient of
    `z` is `−(∂F/∂z)⁻¹ ∂F/∂θ`. They are unbiased for all parameters, weights included, and every
    objective uses them as it is. (Sampling each component and weighting would need an objective
    that knows the weights.) The solve takes `latent_dim²` numbers for each sample; second
    derivatives are not right.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        num_components: int. K. Defaults to `3`.
        log_var_bound: float. Bound of `|z_log_vars|`. Defaults to `10.0`.

    Parameters: `z_logits`, `[batch, K]`; `z_means` and `z_log_vars`, `[batch, K, latent_dim]`.

    Example:

    ```python
    posterior = kvae.posteriors.GaussianMixture(num_components=2)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior=posterior)
    ```

    Reference:
        - [Figurnov et al., Implicit Reparameterization Gradients, section 4](
          https://arxiv.org/abs/1805.08498)
    """

    standard_normal_at_zero = True

    def __init__(
        self,
        latent_dim: int | None = None,
        num_components: int = 3,
        log_var_bound: float = 10.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if num_components < 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        self.num_components = num_components
        self.log_var_bound = log_var_bound

    def parameter_shapes(self):
        k, d = self.num_components, self.latent_dim
        return {"z_logits": (k,), "z_means": (k, d), "z_log_vars": (k, d)}

    def constrain(self, params):
        bound = self.log_var_bound
        return {**params, "z_log_vars": ops.clip(params["z_log_vars"], -bound, bound)}

    def transform(self, params, noise):
        own = params["z_logits"], params["z_means"], params["z_log_vars"]
        _, z = draw_from_mixture(*own, noise["noise"])
        return self._with_implicit_gradient(params, tf.stop_gradient(z))

    def mean(self, params):
        return ops.sum(ops.softmax(params["z_logits"])[..., None] * params["z_means"], axis=-2)

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        scales = ops.exp(0.5 * params["z_log_vars"])
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=params["z_logits"]),
            tfd.MultivariateNormalDiag(params["z_means"], scales),
        )

    def log_prob(self, params, z):
        return mixture_log_prob(params["z_logits"], params["z_means"], params["z_log_vars"], z)

    def marginal_log_prob(self, params, z):
        """Returns log q(z_i|x) of each coordinate alone in nats, `[..., batch, latent_dim]`."""
        each = gaussian_log_density(params["z_means"], params["z_log_vars"], z[..., None, :])
        return ops.logsumexp(ops.log_softmax(params["z_logits"])[..., None] + each, axis=-2)

    def covariance(self, params):
        """Returns the covariance, `[batch, latent_dim, latent_dim]`."""
        weights = ops.softmax(params["z_logits"])
        away = params["z_means"] - self.mean(params)[..., None, :]
        between = tf.einsum("...k,...ki,...kj->...ij", weights, away, away)
        within = tf.einsum("...k,...ki->...i", weights, ops.exp(params["z_log_vars"]))
        return between + tf.linalg.diag(within)

    def get_config(self):
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "log_var_bound": self.log_var_bound,
        }

    def _with_implicit_gradient(self, params, z):
        """Returns `z`, with the gradient of the solution of F(z) = const."""
        inverse_scales = ops.exp(-0.5 * params["z_log_vars"])
        t = (z[..., None, :] - params["z_means"]) * inverse_scales  # [..., K, D]
        log_density = -0.5 * ops.square(t) + ops.log(inverse_scales) - 0.5 * math.log(2 * math.pi)
        cdf = 0.5 * tf.math.erfc(-t / math.sqrt(2.0))
        # The weights of the components given the coordinates before each: [..., K, D].
        before = tf.cumsum(log_density, axis=-1, exclusive=True)
        given = tf.nn.softmax(params["z_logits"][..., None] + before, axis=-2)
        uniform = tf.reduce_sum(given * cdf, axis=-2)
        # ∂F/∂z, lower triangular: conditional densities on the diagonal, and below it the change of
        # the weights that an earlier coordinate brings, in closed form.
        score = -t * inverse_scales
        slope = given * (cdf - uniform[..., None, :])
        jacobian = tf.linalg.set_diag(
            tf.einsum("...kd,...kj->...dj", slope, score),
            tf.maximum(tf.reduce_sum(given * tf.exp(log_density), axis=-2), 1e-30),
        )
        change = (uniform - tf.stop_gradient(uniform))[..., None]  # Zero, with a gradient.
        step = tf.linalg.triangular_solve(tf.stop_gradient(jacobian), change)
        return z - step[..., 0]
