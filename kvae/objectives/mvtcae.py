"""The objective that maximizes the total correlation of modalities."""

from keras import ops

from kvae import schedules
from kvae.distributions.gaussian import gaussian_kl
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register
from kvae.objectives.subsets import check_experts
from kvae.utils import arguments

__all__ = ["MVTCAE"]


@register("mvtcae")
class MVTCAE(ELBO):
    """`−(M − α)/M E_q log p(x|z) + (1 − α) β KL(q ‖ p) + α/M β Σ_m KL(q ‖ q_m)`, of M modalities.

    It is a bound of the total correlation of the modalities and z: q is the joint posterior
    `q(z|x_1, …, x_M)`, and the last term makes the expert q_m of each modality say as much of z as
    all of them together. α = 0 is the ELBO. M counts the modalities that an example has. The paper
    takes the product of the experts as q, without the prior among them.

    Args:
        alpha: float. α, from 0 to 1. Defaults to `0.1`.
        **settings: those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for an α out of range, and for a posterior that is no Gaussian of experts.

    Example:

    ```python
    posterior = kvae.posteriors.ProductOfExperts(prior_expert=False)
    objective = kvae.objectives.MVTCAE(alpha=0.9, beta=2.5)
    ```

    Reference:
        - [Hwang et al., Multi-View Representation Learning via Total Correlation Objective, eq. 7](
          https://papers.nips.cc/paper/2021/hash/65a99bb7a3115fdede20da98b08a370f-Abstract.html)
    """

    of_modalities = True

    def __init__(self, alpha: float = 0.1, **settings):
        super().__init__(**settings)
        self.alpha = arguments.number("alpha", alpha, least=0.0, most=1.0)

    def attach(self, vae):
        super().attach(vae)
        check_experts(self, vae, gaussian=True)

    def terms(self, vae, x, target, *, training, seed):
        found = super().terms(vae, x, target, training=training, seed=seed)
        there = ops.cast(vae.likelihood.present(x), "float32")
        count = ops.maximum(ops.sum(there, axis=-1), 1.0)
        return {**found, "loss": found["loss"] - self.alpha / count * found["reconstruction"]}

    def cost(self, vae, params, z, kl, *, seed):
        cost, more = super().cost(vae, params, z, kl, seed=seed)
        there, cost = params["present"], (1.0 - self.alpha) * cost
        total = 0.0
        for number in range(len(vae.modalities)):
            expert = vae.posterior.expert(params, number)
            own = gaussian_kl(
                params["z_mean"], params["z_log_var"], expert["z_mean"], expert["z_log_var"]
            )
            total = total + there[:, number] * ops.sum(own, axis=-1)
        count = ops.maximum(ops.sum(there, axis=-1), 1.0)
        return cost + self.alpha / count * schedules.at(self.beta, vae) * total, more

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
