"""The trainable mixture of Gaussians."""

import keras
import tensorflow as tf
from keras import ops

from kvae.priors.components import mixture_log_prob, pick_component
from kvae.priors.prior import Prior

__all__ = ["GaussianMixture"]


@keras.saving.register_keras_serializable(package="kvae")
class GaussianMixture(Prior):
    """`p(z) = Σ_k w_k N(z; mean_k, diag(exp(log_var_k)))`, trained with the model.

    The KL of the ELBO pulls the posteriors towards the prior and the prior towards the posteriors'
    average: clusters in the data need not be squeezed into one cloud. No closed-form KL is known;
    it is estimated by Monte Carlo.

    A draw takes as much plain Gaussian noise as one from N(0, I): the first coordinate also names
    the component (`kvae.priors.components.pick_component`). Draws are differentiable in the means
    and variances of their component, not in the weights. `temperature` scales the noise within the
    components, and leaves their weights.

    Args:
        num_components: int. K. Defaults to `10`.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_var_bound: float. Bound of `|log_var|`. Defaults to `10.0`.
        seed: int. The means start as draws from N(0, I) with this seed. Defaults to `0`.

    Example:

    ```python
    prior = kvae.priors.GaussianMixture(num_components=20)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, prior=prior)
    ```

    Reference:
        - [Dilokthanakul et al., Deep Unsupervised Clustering with Gaussian Mixture Variational
          Autoencoders](https://arxiv.org/abs/1611.02648); as a plain marginal prior:
          [Tomczak & Welling, VAE with a VampPrior, section 2](https://arxiv.org/abs/1705.07120)
    """

    def __init__(
        self,
        num_components: int = 10,
        latent_dim: int | None = None,
        log_var_bound: float = 10.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if num_components < 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        self.num_components = num_components
        self.log_var_bound = log_var_bound
        self.seed = seed

    def build(self, input_shape=None):
        if self.built:  # A reloaded one has been built by Keras before its model builds it.
            return
        shape = (self.num_components, self.latent_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.means = self.add_weight(shape=shape, initializer=normal, name="means")
        self.raw_log_vars = self.add_weight(shape=shape, initializer="zeros", name="log_vars")
        self.logits = self.add_weight(shape=shape[:1], initializer="zeros", name="logits")
        self.built = True

    @property
    def weights_of_components(self):
        """The weights w, `[num_components]`."""
        return ops.softmax(self.logits)

    @property
    def log_vars(self):
        """The log-variances, `[num_components, latent_dim]`."""
        return ops.clip(self.raw_log_vars, -self.log_var_bound, self.log_var_bound)

    def transform(self, noise):
        return self._place(noise, 1.0)

    def sample(self, n, seed, temperature: float = 1.0):
        return self._place(self.noise([n, self.latent_dim], seed), temperature)

    def mean(self):
        return ops.sum(self.weights_of_components[:, None] * self.means, axis=0)

    def log_prob(self, z):
        return mixture_log_prob(
            tf.convert_to_tensor(self.logits), tf.convert_to_tensor(self.means), self.log_vars, z
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "log_var_bound": self.log_var_bound,
            "seed": self.seed,
        }

    def _place(self, noise, temperature):
        chosen, noise = pick_component(tf.convert_to_tensor(self.logits), noise)
        scale = ops.matmul(chosen, ops.exp(0.5 * self.log_vars))
        return ops.matmul(chosen, self.means) + scale * temperature * noise
