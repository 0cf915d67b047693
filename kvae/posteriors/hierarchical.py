"""The hierarchical posterior, with several stochastic layers."""

from keras import ops

from kvae.distributions.gaussian_chain import GaussianChain
from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.of_groups import OfGroups
from kvae.posteriors.posterior import register

__all__ = ["Hierarchical"]


@register("hierarchical")
class Hierarchical(OfGroups):
    """`q(z|x) = q(z_1|x) Π_l q(z_l | x, z_1 … z_{l−1})`: stochastic layers, drawn top down.

    `z` holds all groups one after the other, the top one first. The top group is a diagonal
    Gaussian; each further one is Gaussian given the groups above, so that q(z|x) as a whole is not.
    With `kvae.priors.Hierarchical` it makes the VAE of several stochastic layers; it works
    with every prior on R^latent_dim. The KL is estimated by Monte Carlo.

    Args:
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.
        groups: int, or sequence of the groups' sizes. Defaults to `2`, of about equal size.
        features_dim: int. What the lower groups see of x. Defaults to `128`.
        hidden: sequence of int. Widths of the network of each lower group. Defaults to `(128,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"relu"`.
        log_var_bound: float. Bound of the log-variances. Defaults to `20.0`.

    Parameters: `z_mean`, `z_log_var` of the top group, `[batch, size]`, and `features`,
    `[batch, features_dim]`.

    Raises:
        ValueError: for sizes that do not add up to `latent_dim`.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=8,
        posterior=kvae.posteriors.Hierarchical(groups=(4, 4)),
        prior=kvae.priors.Hierarchical(groups=(4, 4)),
    )
    ```

    References:
        - [Sønderby et al., Ladder Variational Autoencoders, section 2](
          https://arxiv.org/abs/1602.02282)
        - [Tomczak & Welling, VAE with a VampPrior, eq. 14 to 18](https://arxiv.org/abs/1705.07120)
    """

    fully_amortized = False

    def attach(self, vae):
        super().attach(vae)
        self._make_top()  # A prior of the top group asks for it before anything is built.

    def build(self, features_shape):
        super().build(features_shape)
        self._make_top()
        self.lower = GaussianChain(
            self.sizes, self.hidden, self.activation, self.features_dim, self.log_var_bound
        )
        self.lower.build()

    def parameter_shapes(self):
        top = (self.sizes[0],)
        return {"z_mean": top, "z_log_var": top, "features": (self.features_dim,)}

    def constrain(self, params):
        return {**params, **self.top.constrain({name: params[name] for name in _TOP})}

    def transform(self, params, noise):
        return self._drawn(params, noise)[0]

    def mean(self, params):
        """Returns the most probable group after the most probable group above, as `z`.

        E[z] of the lower groups has no closed form.
        """
        lower = ops.zeros_like(params["z_mean"][:, :1]) * ops.zeros((self._num_lower(),))
        return self.lower.transform(params["z_mean"], lower, params["features"])

    def log_prob(self, params, z):
        top = self.top.log_prob(params, z[..., : self.sizes[0]])
        return top + self.lower.log_prob(z, params["features"])

    def sample_and_log_prob(self, params, num_samples=None, *, seed, training=False):
        # The noise is known, so the networks need not be asked again.
        return self._drawn(params, self.draw_noise(params, num_samples, seed))

    def _drawn(self, params, noise):
        """Returns z, and its log-density."""
        size, noise = self.sizes[0], noise["noise"]
        top = self.top.transform(params, {"noise": noise[..., :size]})
        z, log_q = self.lower.transform_and_log_prob(top, noise[..., size:], params["features"])
        return z, log_q + self.top.log_prob(params, top)

    def _make_top(self):
        if getattr(self, "top", None) is None:
            self.top = DiagonalGaussian(self.sizes[0], self.log_var_bound)
            self.top.built = True  # Its parameters come from the heads of this layer.

    def _num_lower(self):
        return self.latent_dim - self.sizes[0]


_TOP = ("z_mean", "z_log_var")
