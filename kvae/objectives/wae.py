"""Objectives that pull the codes of all examples together to the prior: InfoVAE and WAE."""

import math

from kvae import schedules
from kvae.divergences.mmd import SCALES, check_kernel, mmd
from kvae.objectives.matching import Matching, Wasserstein
from kvae.objectives.objective import register

__all__ = ["WAE", "InfoVAE", "KernelMatching"]


class KernelMatching(Matching):
    """A matching of the codes with the prior by the squared maximum mean discrepancy, as `mmd`.

    Args:
        kernel: str. `"imq"` or `"rbf"`, see `kvae.divergences.mmd.mmd`. Defaults to `"imq"`.
        bandwidth: float or `None`. A squared length. Defaults to `None`: the mean squared distance
            of two draws from N(0, I), `2 * latent_dim`, or on the unit sphere, 2.
        scales: sequence of float. The kernel is a sum over multiples of the bandwidth. Defaults to
            `(0.1, 0.2, 0.5, 1, 2, 5, 10)`.
        unbiased: bool. Whether the MMD is the U-statistic. Defaults to `True`.
        **settings: `num_samples` and `kl` of `kvae.objectives.Bound`. With several samples the MMD
            is averaged over them.
    """

    measure = "mmd"

    def __init__(
        self,
        kernel: str = "imq",
        bandwidth: float | None = None,
        scales=SCALES,
        unbiased: bool = True,
        **settings,
    ):
        super().__init__(**settings)
        check_kernel(kernel, bandwidth, scales)
        self.kernel, self.bandwidth, self.unbiased = kernel, bandwidth, unbiased
        self.scales = tuple(scales)

    def distance(self, vae, z, drawn, seed):
        bandwidth = self.bandwidth
        if bandwidth is None and vae.posterior.space == "sphere":
            bandwidth = 2.0
        return mmd(z, drawn, self.kernel, bandwidth, self.scales, self.unbiased)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel": self.kernel,
            "bandwidth": self.bandwidth,
            "scales": self.scales,
            "unbiased": self.unbiased,
        }


@register("info_vae")
class InfoVAE(KernelMatching):
    """`−E_q log p(x|z) + (1 − α) KL(q(z|x) ‖ p(z)) + (α + λ − 1) MMD(q(z), p(z))`.

    The KL of each posterior with the prior keeps information out of z; the MMD compares all codes
    together with the prior, and does not. `alpha=0` and `lambda_=1` is the ELBO, `alpha=1` leaves
    the MMD alone (MMD-VAE); a negative α weighs the KL like a β of `1 − α`.

    Args:
        alpha: float, at most 1. How much of the KL is taken out. Defaults to `0.0`.
        lambda_: float, at least `1 − alpha`. Defaults to `10.0`.
        **settings: `kernel`, `bandwidth`, `scales`, `unbiased` of `kvae.objectives.KernelMatching`,
            `num_samples` and `kl` of `kvae.objectives.Bound`.

    Raises:
        ValueError: for weights below 0, for a posterior without a density (see `WAE`), a discrete
            one, and a prior that depends on a label.

    Example:

    ```python
    objective = kvae.objectives.InfoVAE(alpha=0.5, lambda_=100.0)
    vae = kvae.VAE(encoder, decoder, latent_dim=10, objective=objective)
    ```

    Reference:
        - [Zhao et al., InfoVAE: Balancing Learning and Inference in Variational Autoencoders,
          eq. 6 and section 3.2](https://arxiv.org/abs/1706.02262)
    """

    def __init__(self, alpha: float = 0.0, lambda_: float = 10.0, **settings):
        super().__init__(**settings)
        if not (math.isfinite(alpha) and math.isfinite(lambda_)):
            raise ValueError(f"`alpha` and `lambda_` are finite, not {alpha} and {lambda_}.")
        if alpha > 1:
            raise ValueError(f"`alpha` is at most 1: the KL weighs 1 − alpha. It is {alpha}.")
        if alpha + lambda_ < 1:
            raise ValueError(
                f"`lambda_` is at least 1 − alpha, {1 - alpha:g}: the MMD weighs alpha + lambda_ "
                f"− 1. It is {lambda_}."
            )
        self.alpha, self.lambda_ = alpha, lambda_

    def attach(self, vae):
        super().attach(vae)
        if not vae.posterior.has_density:
            raise ValueError(
                f"InfoVAE weighs the KL, and a {type(vae.posterior).__name__} posterior has no "
                "density. Use objective=kvae.objectives.WAE(lambda_=…), which has the MMD alone."
            )

    def cost(self, vae, params, z, kl, *, seed):
        value = self.discrepancy(vae, z, seed)
        cost = (1.0 - self.alpha) * kl + (self.alpha + self.lambda_ - 1.0) * value
        return cost, {"mmd": value}

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "lambda_": self.lambda_}


@register("wae")
class WAE(Wasserstein, KernelMatching):
    """The Wasserstein autoencoder with MMD: `−E_q log p(x|z) + λ MMD(q(z), p(z))`.

    No KL: codes may be as precise as they like, as long as all of them together are spread like
    the prior. So a deterministic encoder (`posterior="delta"`) becomes a model that can be sampled
    from. The paper's cost `‖x − G(z)‖²` is, up to a constant, that of a Gaussian likelihood with
    `scale=1/√2`. `elbo` and `kl` are reported as of any model; the loss bounds no likelihood.

    Args:
        lambda_: float or schedule (`kvae.schedules`). Weight of the MMD. Defaults to `10.0`.
        **settings: `kernel`, `bandwidth`, `scales`, `unbiased` of `kvae.objectives.KernelMatching`,
            `num_samples` and `kl` of `kvae.objectives.Bound`.

    A learned prior is trained through its draws: that reaches means and scales, and not the weights
    of components.

    Raises:
        ValueError: for a model without a prior, a discrete posterior, and a prior that depends on a
            label.

    Example:

    ```python
    objective = kvae.objectives.WAE(lambda_=10.0, kernel="imq")
    vae = kvae.VAE(encoder, decoder, latent_dim=8, posterior="delta", objective=objective)
    ```

    Reference:
        - [Tolstikhin et al., Wasserstein Auto-Encoders, algorithm 2](
          https://arxiv.org/abs/1711.01558)
    """

    def __init__(self, lambda_: schedules.Number = 10.0, **settings):
        super().__init__(lambda_=lambda_, **settings)
