"""The objective that brings single posteriors near the joint one and lets both reconstruct."""

from keras import ops

from kvae import schedules
from kvae.distributions.gaussian import gaussian_kl
from kvae.objectives.objective import register
from kvae.objectives.subsets import OfSubsets

__all__ = ["CRMVAE"]


@register("crmvae")
class CRMVAE(OfSubsets):
    """`(−½ Σ_m [E_q + E_{q_m}] log p(x_m|z) + β KL(q ‖ p) + β Σ_m KL(q ‖ q_m)) / (M + 1)`.

    q is the posterior of all M modalities, q_m that of x_m alone. The last sum brings the two
    together, as in `MVTCAE`, and each modality is also reconstructed from itself alone, which makes
    translations better. M counts the modalities that an example has.

    Args:
        weights: mapping from names of modalities to the weights of log p(x_m|z), or `None`: 1 for
            all. As in `kvae.objectives.OfSubsets`.
        **settings: those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for a posterior that is no Gaussian of experts, and a wrong weight.

    Example:

    ```python
    posterior = kvae.posteriors.ProductOfExperts(prior_expert=False)
    objective = kvae.objectives.CRMVAE(beta=2.5)
    ```

    Reference:
        - [Suzuki & Matsuo, Mitigating the Limitations of Multimodal VAEs with Coordination-Based
          Approach](https://openreview.net/forum?id=Rn8u4MYgeNJ), with the weights of multivae 1.0.3
    """

    gaussian = True

    def total(self, vae, weights, seen):
        joint, present = seen[0], seen[0].there
        count = ops.maximum(ops.sum(present, axis=-1), 1.0)
        log_p = ops.sum(weights * present * joint.log_p, axis=-1)
        cost = self.penalized(vae, joint.params, joint.kl, joint.z)
        beta = schedules.at(self.beta, vae)
        for number, one in enumerate(seen[1:]):
            own = vae.posterior.expert(joint.params, number)
            kl = gaussian_kl(
                joint.params["z_mean"], joint.params["z_log_var"], own["z_mean"], own["z_log_var"]
            )
            cost = cost + beta * present[:, number] * ops.sum(kl, axis=-1)
            log_p = log_p + ops.sum(weights * one.there * one.log_p, axis=-1)
        return (cost - 0.5 * log_p) / (count + 1.0)
