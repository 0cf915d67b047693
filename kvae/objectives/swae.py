"""The sliced Wasserstein autoencoder."""

from kvae import random, schedules
from kvae.divergences.sliced_wasserstein import sliced_wasserstein
from kvae.objectives.matching import Wasserstein
from kvae.objectives.objective import register

__all__ = ["SWAE"]


@register("swae")
class SWAE(Wasserstein):
    """The sliced Wasserstein autoencoder: `−E_q log p(x|z) + λ SW²(q(z), p(z))`.

    The distance of the codes from draws of the prior is that of their projections to lines, where
    optimal transport takes sorting alone: no kernel has to be chosen, as for `WAE`, and no critic
    trained, as for `AAE`. It is in the logs as `sliced_wasserstein`. The paper's encoder is
    deterministic (`posterior="delta"`), and any other will do; its prior is any that can be drawn
    from. `elbo` and `kl` are reported as of any model; the loss bounds no likelihood.

    Args:
        lambda_: float or schedule (`kvae.schedules`). Weight of the distance. Defaults to `10.0`,
            as in the paper.
        num_projections: int. Directions in each step. Defaults to `50`, as in the paper.
        **settings: `num_samples` and `kl` of `kvae.objectives.Bound`.

    Raises:
        ValueError: for settings out of range, a model without a prior, a discrete posterior, and a
            prior that depends on a label.

    Example:

    ```python
    objective = kvae.objectives.SWAE(lambda_=10.0, num_projections=100)
    vae = kvae.VAE(encoder, decoder, latent_dim=8, posterior="delta", objective=objective)
    ```

    Reference:
        - [Kolouri et al., Sliced-Wasserstein Auto-Encoders, algorithm 1](
          https://arxiv.org/abs/1804.01947)
    """

    measure = "sliced_wasserstein"

    def __init__(self, lambda_: schedules.Number = 10.0, num_projections: int = 50, **settings):
        super().__init__(lambda_=lambda_, **settings)
        if num_projections < 1:
            raise ValueError(f"`num_projections` is at least 1, not {num_projections}.")
        self.num_projections = num_projections

    def distance(self, vae, z, drawn, seed):
        return sliced_wasserstein(z, drawn, self.num_projections, seed=random.fold_in(seed, 2))

    def get_config(self):
        return {**super().get_config(), "num_projections": self.num_projections}
