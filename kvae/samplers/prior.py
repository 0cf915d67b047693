"""The model's own prior as a sampler, for comparison."""

from kvae.samplers.sampler import Sampler, register

__all__ = ["Prior"]


@register("prior")
class Prior(Sampler):
    """The model's own prior, with which the other samplers are compared.

    It is `p(z) = vae.prior`, and works with every model that has a prior, conditional ones too, and
    ignores the data.

    Example:

    ```python
    kvae.samplers.Prior().fit(vae).sample(16, seed=0)      # vae.sample(16, seed=0)
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, section 2.1](
          https://arxiv.org/abs/1312.6114)
    """

    takes_labels = True

    def fit(self, vae, data=None, **options):
        if vae.prior is None:
            raise ValueError(
                f"{vae.name} is an autoencoder without a prior. Fit another sampler to its codes, "
                "e.g. 'gaussian_mixture'."
            )
        self._model = vae
        return self
