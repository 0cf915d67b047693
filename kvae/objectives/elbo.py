"""The evidence lower bound."""

from keras import ops

from kvae import schedules
from kvae.objectives import path
from kvae.objectives.bound import Bound
from kvae.objectives.objective import register
from kvae.objectives.regularized import Regularized
from kvae.utils import names

__all__ = ["ELBO"]

_GRADIENT = ("reparameterization", "path")


@register("elbo")
class ELBO(Regularized, Bound):
    """The evidence lower bound, `E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z))`, in nats.

    The KL term compares the posterior of one `x` with the *prior*: it is the price, in nats, of
    telling the decoder `z`. The reported `elbo` and `kl` are those with β = 1, whatever `beta`,
    `capacity` and `free_bits` are, so that they stay a bound of log p(x) and can be compared
    between models. What follows a schedule is in the logs as well.

    Args:
        beta: float or schedule. Weight of the KL in the loss (β-VAE). A schedule is a function of
            the optimizer's step, which is saved with the model, so a resumed training goes on where
            it was; `kvae.schedules` has `Linear`, `Cyclical` and `Sigmoid`. Defaults to `1.0`.
        num_samples: int. Samples of `z` for each `x` (L in the paper). Defaults to `1`.
        kl: str. `"analytic"` takes the closed form (eq. 10 of the paper; an error where none is
            known), `"monte_carlo"` the average of log q(z|x) − log p(z) over the samples (eq. 3's
            estimator), `"auto"` the closed form where there is one. Defaults to `"auto"`.
        gradient: str. `"path"` (sticking the landing) estimates the KL by Monte Carlo and lets the
            gradient reach the posterior's parameters through `z` alone: unbiased, and without
            variance where q is the true posterior. Defaults to `"reparameterization"`.
        **settings: `capacity`, `free_bits`, `free_bits_groups` of
            `kvae.objectives.Regularized`.

    Example:

    ```python
    beta = kvae.schedules.Linear(0.0, 4.0, steps=1000)
    objective = kvae.objectives.ELBO(beta=beta, num_samples=5)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, objective=objective)
    ```

    References:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
        - [Higgins et al., β-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
        - [Roeder et al., Sticking the Landing](https://arxiv.org/abs/1703.09194)
    """

    def __init__(
        self,
        beta: schedules.Number = 1.0,
        num_samples: int = 1,
        kl: str = "auto",
        gradient: str = "reparameterization",
        **settings,
    ):
        super().__init__(beta, num_samples=num_samples, kl=kl, **settings)
        if gradient not in _GRADIENT:
            raise names.unknown_name("gradient", gradient, _GRADIENT)
        if gradient == "path" and kl == "analytic":
            raise ValueError(
                "The path gradient is one of the Monte Carlo estimate; a closed form has no "
                "samples. Leave `kl` at 'auto'."
            )
        if gradient == "path" and self.free_bits and self.free_bits_groups != 1:
            raise ValueError(
                "Bits left free in each dimension take the closed-form KL of each, which has no "
                "path gradient. Use free_bits_groups=1: free bits in total."
            )
        self.gradient = gradient

    def attach(self, vae):
        super().attach(vae)
        if self.gradient == "path":
            path.check(vae.posterior)

    def cost(self, vae, params, z, kl, *, seed):
        return self.penalized(vae, params, kl, z), {}

    def draw(self, vae, params, *, seed, training):
        if self.gradient != "path":
            return super().draw(vae, params, seed=seed, training=training)
        z, log_q = path.sample_and_log_prob(
            vae.posterior, params, self.num_samples, seed=seed, training=training
        )
        return z, ops.mean(log_q - vae.prior.log_prob(z), axis=0)

    def get_config(self):
        return {**super().get_config(), "gradient": self.gradient}
