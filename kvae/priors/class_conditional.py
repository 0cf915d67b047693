"""The prior of a conditional model with one Gaussian for each class."""

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_log_prob
from kvae.layers.sampling import reparameterize
from kvae.priors.prior import Prior, register

__all__ = ["ClassConditional"]


@register("class_conditional")
class ClassConditional(Prior):
    """`p(z|y) = N(z; mean_y, diag(exp(log_var_y)))`, trained with the model.

    For conditional models, `kvae.VAE(..., num_classes=K)`: each class has a place of its own among
    the latents. With a decoder that does not see the label, the code has to hold the class; with
    one that does, the prior says how the other traits are spread within each class. The KL to a
    diagonal Gaussian is known in closed form, and estimated for other posteriors.

    All classes start at N(0, I).

    Args:
        num_classes: int or `None`. Set by `kvae.VAE` when `None`.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_var_bound: float. Bound of `|log_var|`. Defaults to `10.0`.

    Raises:
        ValueError: in a model without classes, or with another number of them; and where it is
            asked for a density without labels: `prior.conditioned_on(label)` has one.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, prior="class_conditional", num_classes=10)
    vae.compile("adam")
    vae.fit(kvae.datasets.load("digits", "train"))      # with its labels
    vae.sample(5, label=3, seed=0)
    ```

    Reference:
        - [Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
          Models, section 4.1](https://papers.nips.cc/paper/5775): the prior p(z|x) of a
          conditional VAE, here of a class
    """

    conditional = True

    def __init__(
        self,
        num_classes: int | None = None,
        latent_dim: int | None = None,
        log_var_bound: float = 10.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_classes, self.log_var_bound = num_classes, log_var_bound

    def attach(self, vae):
        if vae.num_classes is None:
            raise ValueError(
                "ClassConditional has a Gaussian for each class, and this model has no classes: "
                "give kvae.VAE(..., num_classes=…). For clusters without labels use "
                "'gaussian_mixture'."
            )
        if self.num_classes is None:
            self.num_classes = vae.num_classes
        elif self.num_classes != vae.num_classes:
            raise ValueError(
                f"ClassConditional has num_classes={self.num_classes}, the model {vae.num_classes}."
            )

    def build(self, input_shape=None):
        if self.built:  # A reloaded one has been built by Keras before its model builds it.
            return
        if self.num_classes is None:
            raise ValueError("ClassConditional needs its `num_classes` before it is built.")
        shape = (self.num_classes, self.latent_dim)
        self.means = self.add_weight(shape=shape, initializer="zeros", name="means")
        self.raw_log_vars = self.add_weight(shape=shape, initializer="zeros", name="log_vars")
        self.built = True

    @property
    def log_vars(self):
        """The log-variances, `[num_classes, latent_dim]`."""
        return ops.clip(self.raw_log_vars, -self.log_var_bound, self.log_var_bound)

    def conditioned_on(self, label):
        return _Conditioned(self, label)

    def parameters(self):
        """Returns the means and log-variances of the labels, both `[batch, latent_dim]`."""
        raise ValueError(
            "The density of ClassConditional is that of a class: use prior.conditioned_on(label) "
            "or vae.conditioned_on(label)."
        )

    def transform(self, noise, temperature=1.0):
        mean, log_var = self.parameters()
        noise = temperature * noise["noise"]
        # The noise of several draws for each label may share one axis.
        rows = tf.reshape(noise, (-1, tf.shape(mean)[0], self.latent_dim))
        return tf.reshape(reparameterize(mean, log_var, rows), tf.shape(noise))

    def mean(self):
        """Returns the means of the labels, `[batch, latent_dim]`."""
        return self.parameters()[0]

    def distribution(self):
        from tensorflow_probability import distributions as tfd

        mean, log_var = self.parameters()
        return tfd.MultivariateNormalDiag(mean, ops.exp(0.5 * log_var))

    def log_prob(self, z):
        return gaussian_log_prob(*self.parameters(), z)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "log_var_bound": self.log_var_bound,
        }


class _Conditioned(ClassConditional):
    """The prior for the labels of a batch."""

    def __init__(self, prior, label):
        super().__init__(prior.num_classes, prior.latent_dim)
        known = tf.gather(prior.means, label), tf.gather(prior.log_vars, label)
        self.parameters = lambda: known

    def conditioned_on(self, label):
        raise ValueError("This prior is conditioned on labels already.")
