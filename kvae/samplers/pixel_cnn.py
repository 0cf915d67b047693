"""An autoregressive network that is trained on the codes of a quantized model."""

from kvae import priors, random
from kvae.samplers.sampler import register
from kvae.samplers.trained import Likelihood, TrainedSampler

__all__ = ["PixelCNN"]


@register("pixel_cnn")
class PixelCNN(TrainedSampler):
    """A `kvae.priors.PixelCNN`, fitted to the codes of a model by maximum likelihood.

    It is `p(z) = Π_i p(code_i | codes before it)`, for posteriors that are
    `kvae.posteriors.Quantizer`. What the encoder does is known by then, so that no example is
    encoded twice, and any model with uniform codes gets the bound `log p(x|z) + log p(codes)`.

    Args:
        grid, filters, num_layers: as in `kvae.priors.PixelCNN`.
        steps: int. The number of steps of the training. The weights are kept that give a tenth of
            the codes, which is held out, the best likelihood. Defaults to `5000`.
        batch_size: int. Defaults to `256`.
        learning_rate: float. The rate at the first step, from which it falls to 0 by a half cosine.
            Defaults to `1e-3`.

    Raises:
        ValueError: by `fit`, for a model without codebooks, a grid of another number of codes,
            fewer than two examples, and where training diverges.

    Example:

    ```python
    sampler = kvae.samplers.PixelCNN(filters=64).fit(vae, train)
    sampler.model.evaluate(test)        # the ELBO under the fitted prior, in nats
    ```

    Reference:
        - [van den Oord et al., Neural Discrete Representation Learning, section 3.3](
          https://arxiv.org/abs/1711.00937)
    """

    spaces = ("codes",)

    def __init__(
        self,
        grid=None,
        filters: int = 32,
        num_layers: int = 4,
        steps: int = 5000,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
    ):
        super().__init__(steps, batch_size, learning_rate)
        self.grid, self.filters, self.num_layers = grid, filters, num_layers
        self._fitted = None

    def fit(self, vae, data, **options):
        self._fitted = vae  # Whose codebooks say which codes z stands for.
        return super().fit(vae, data, **options)

    def prior_of(self, codes, seed):
        with random.initial_weights(seed):
            prior = priors.PixelCNN(codes.shape[1], self.grid, self.filters, self.num_layers)
            prior.attach(self._fitted)
            prior.build()
        self.train_density(Likelihood(prior), codes, seed)
        return prior
