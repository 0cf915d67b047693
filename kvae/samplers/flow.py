"""A normalizing flow that is trained on codes by maximum likelihood."""

from kvae import priors, random
from kvae.samplers.sampler import register
from kvae.samplers.trained import Likelihood, TrainedSampler

__all__ = ["Flow"]


@register("flow")
class Flow(TrainedSampler):
    """A flow prior, by default masked autoregressive, trained on the codes by maximum likelihood.

    `p(z) = p_ε(f⁻¹(z)) |det ∂f⁻¹/∂z|` is exact, and follows shapes that no mixture does. The prior
    is a `kvae.priors.Flow` in the units of the codes (`Rescaled`).

    Args:
        flows: str or sequence, as in `kvae.priors.Flow`. Defaults to `"maf"`.
        num_flows: int. Defaults to `4`.
        steps: int. The number of steps of the training. The weights are kept that give a tenth of
            the codes, which is held out, the best likelihood. Defaults to `5000`.
        batch_size: int. Defaults to `256`.
        learning_rate: float. The rate at the first step, from which it falls to 0 by a half cosine.
            Defaults to `1e-3`.

    Raises:
        ValueError: by `fit`, for fewer than two codes, and where training diverges.

    Example:

    ```python
    sampler = kvae.samplers.Flow(num_flows=6).fit(vae, train)
    sampler.log_prob(codes).numpy().mean()      # nats
    ```

    Reference:
        - [Papamakarios et al., Masked Autoregressive Flow](https://arxiv.org/abs/1705.07057)
    """

    def __init__(
        self,
        flows="maf",
        num_flows: int = 4,
        steps: int = 5000,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
    ):
        super().__init__(steps, batch_size, learning_rate)
        self.flows, self.num_flows = flows, num_flows

    def prior_of(self, codes, seed):
        with random.initial_weights(seed):
            prior = priors.Rescaled(priors.Flow(codes.shape[1], self.flows, self.num_flows))
            prior.build()
        model = Likelihood(prior.base)
        self.train_density(model, prior.standardize(codes), seed)
        return prior
