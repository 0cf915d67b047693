"""The objective that brings the posteriors of single modalities near the joint one."""

import numpy as np
from keras import ops

from kvae.distributions.gaussian import gaussian_kl
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register
from kvae.objectives.subsets import check_experts
from kvae.utils import arguments

__all__ = ["JMVAE"]


@register("jmvae")
class JMVAE(ELBO):
    """`−ELBO(x) + α Σ_m KL(q(z|x_1, …, x_M) ‖ q(z|x_m))`: JMVAE-kl, for several modalities.

    The joint posterior trains with the ELBO, and that of a single x_m is drawn over all joint ones
    of examples with this x_m: the KL is least where q(z|x_m) covers them. The paper has a network
    for the joint posterior, which is an encoder of several modalities, `encoders={"image": …,
    "label": …, ("image", "label"): …}`, and `posterior="joint_experts"`. With
    `"product_of_experts"` there is none. Of an example with a single modality the KL is 0.

    Args:
        alpha: float. α, at least 0. Large ones make translations better and the ELBO worse.
            Defaults to `0.1`.
        **settings: those of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for a posterior that is no Gaussian of experts.

    Example:

    ```python
    objective = kvae.objectives.JMVAE(alpha=0.01)
    ```

    Reference:
        - [Suzuki et al., Joint Multimodal Learning with Deep Generative Models, eq. 10](
          https://arxiv.org/abs/1611.01891)
    """

    of_modalities = True

    def __init__(self, alpha: float = 0.1, **settings):
        super().__init__(**settings)
        self.alpha = arguments.number("alpha", alpha, least=0.0)

    def attach(self, vae):
        super().attach(vae)
        check_experts(self, vae, gaussian=True)

    def cost(self, vae, params, z, kl, *, seed):
        cost, more = super().cost(vae, params, z, kl, seed=seed)
        count = len(vae.modalities)
        for number in range(count):
            alone = params["present"] * np.eye(count, dtype="float32")[number]
            single = vae.posterior.given(params, alone)
            own = gaussian_kl(
                params["z_mean"], params["z_log_var"], single["z_mean"], single["z_log_var"]
            )
            # Where it is all that is present, the two are one.
            cost = cost + self.alpha * params["present"][:, number] * ops.sum(own, axis=-1)
        return cost, more

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
