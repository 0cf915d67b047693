"""A second VAE, whose data are the codes of the first."""

import keras
from keras import layers

from kvae import likelihoods, priors, random
from kvae.models import VAE
from kvae.samplers.sampler import register
from kvae.samplers.trained import TrainedSampler

__all__ = ["TwoStage"]


@register("two_stage")
class TwoStage(TrainedSampler):
    """A second, dense VAE with a learned Gaussian scale, trained on the codes of the first.

    It is `p(z) = ∫ p(u) N(z; mean(u), σ²) du`. Where the data lie near a surface of fewer
    dimensions, the codes fill their space, so that the second VAE has an easier task than the
    first. The prior is a `kvae.priors.TwoStage` in the units of the codes (`kvae.priors.Rescaled`);
    its density is a lower bound.

    Args:
        latent_dim: int or `None`. The size of the second VAE's z. Defaults to `None`: that of the
            first.
        hidden: sequence of int. The widths of both of its networks. Defaults to `(256, 256)`.
        steps: int. The number of steps of the training. The weights are kept that give a tenth of
            the codes, which is held out, the best ELBO. Defaults to `5000`.
        batch_size: int. Defaults to `256`.
        learning_rate: float. The rate at the first step, from which it falls to 0 by a half cosine.
            Defaults to `1e-3`.
        num_samples: int. The number of importance samples for the density. Defaults to `32`.

    Raises:
        ValueError: by `fit`, for fewer than two codes, and where training diverges.

    Example:

    ```python
    sampler = kvae.samplers.TwoStage(steps=20_000).fit(vae, train)
    ```

    Reference:
        - [Dai & Wipf, Diagnosing and Enhancing VAE Models, section 4](
          https://arxiv.org/abs/1903.05789)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        hidden=(256, 256),
        steps: int = 5000,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        num_samples: int = 32,
    ):
        super().__init__(steps, batch_size, learning_rate)
        if any(width < 1 for width in hidden) or (latent_dim is not None and latent_dim < 1):
            raise ValueError("`latent_dim` and the widths of `hidden` are at least 1.")
        self.latent_dim, self.hidden, self.num_samples = latent_dim, tuple(hidden), num_samples

    def prior_of(self, codes, seed):
        outer, inner = codes.shape[1], self.latent_dim or codes.shape[1]
        with random.initial_weights(seed):
            vae = VAE(
                self._network(outer, "second_encoder"),
                self._network(inner, "second_decoder", outer),
                latent_dim=inner,
                likelihood=likelihoods.Gaussian("global"),
                seed=seed,
                name="second_stage",
            )
        # A model without an optimizer, which would be saved with every model of this prior.
        prior = priors.Rescaled(
            priors.TwoStage(vae.with_prior(vae.prior), num_samples=self.num_samples)
        )
        prior.build()
        self.train_density(vae, prior.standardize(codes), seed)
        return prior

    def _network(self, inputs: int, name: str, outputs: int | None = None) -> keras.Model:
        # Densities lose their meaning in half precision, whatever the policy of the first VAE.
        hidden = [layers.Dense(width, "relu", dtype="float32") for width in self.hidden]
        last = [] if outputs is None else [layers.Dense(outputs, dtype="float32")]
        return keras.Sequential([keras.Input((inputs,)), *hidden, *last], name=name)
