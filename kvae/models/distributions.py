"""What a model says of x and z as distributions of TensorFlow Probability."""

import tensorflow as tf

from kvae.models.inputs import require_built
from kvae.models.labels import checked_label

__all__ = ["Distributions"]


class Distributions:
    """The methods of `kvae.VAE` that return distributions of TFP.

    They are for `tfp.stats`, `tfp.mcmc`, `tfd.kl_divergence` and whatever else takes such
    distributions. TFP is imported when one of them is called.
    """

    def posterior_distribution(self, x, label=None, mask=None):
        """Returns q(z|x) as a distribution of TFP.

        Args:
            x, label, mask: as in `encode`.

        Returns:
            `tfd.Distribution` of batch shape `[n]` and event shape `[latent_dim]`.

        Raises:
            NotImplementedError: for a posterior of which TFP has no distribution, as a flow.
            ValueError: for a wrong shape or NaN, and for a missing, wrong or superfluous label.

        Example:

        ```python
        from tensorflow_probability import distributions as tfd

        vae = zoo.load("dense_vae.digits")
        x = kvae.datasets.load("digits", "test", binarize="static").examples[:5]
        q, p = vae.posterior_distribution(x), vae.prior_distribution()
        tfd.kl_divergence(q, p)       # [5], in nats
        ```
        """
        return self.posterior.distribution(self.as_vectors(self.encode(x, label, mask=mask)))

    def prior_distribution(self, label=None):
        """Returns p(z), or p(z|y) of a conditional prior, as a distribution of TFP.

        Args:
            label: int array `[n]`, for a prior that depends on labels alone. Defaults to `None`.

        Returns:
            `tfd.Distribution` of event shape `[latent_dim]`, and with labels of batch shape `[n]`.

        Raises:
            NotImplementedError: for a prior of which TFP has no distribution, as a flow.
            ValueError: for a model without a prior, and for a missing or superfluous label.
        """
        require_built(self)
        if self.prior is None:
            raise ValueError(f"{self.name} is an autoencoder without a prior.")
        if label is None and not self.prior.conditional:
            return self.prior.distribution()
        label = checked_label(self, label, unknown=False)
        return self.prior.conditioned_on(label).distribution()

    def likelihood_distribution(self, z, label=None):
        """Returns p(x|z) as a distribution of TFP, through which gradients reach z.

        Args:
            z: array or tensor `[n, latent_dim]` or `[n, *latent_shape]`, or with more axes before.
            label: as in `decode`.

        Returns:
            `tfd.Distribution` of batch shape `[n]` and event shape `[*event]`.

        Raises:
            NotImplementedError: for a likelihood of which TFP has no distribution.
            ValueError: for a wrong shape, and for a missing, wrong or superfluous label.

        Example:

        ```python
        vae = zoo.load("dense_vae.digits")
        x = kvae.datasets.load("digits", "test", binarize="static").examples[:1]

        def log_joint(z):     # What tfp.mcmc.sample_chain takes: log p(x, z), in nats.
            log_p = vae.likelihood_distribution(z).log_prob(x)
            return log_p + vae.prior_distribution().log_prob(z)
        ```
        """
        require_built(self)
        z = self.as_vectors(tf.convert_to_tensor(z, tf.float32))
        if z.shape.rank < 2 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"`z` has shape {z.shape}, the model takes (n, {self.latent_dim}).")
        label = checked_label(self, label, tf.shape(z)[-2], unknown=False)
        params = self.decode_params(z, label)
        return self.likelihood.distribution(params, len(self.event_shape))
