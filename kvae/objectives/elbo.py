"""The evidence lower bound."""

import keras
from keras import ops

from kvae import divergences, names, schedules
from kvae.objectives.objective import Objective

__all__ = ["ELBO"]

_KL = ("auto", "analytic", "monte_carlo")


@keras.saving.register_keras_serializable(package="kvae")
class ELBO(Objective):
    """The evidence lower bound, `E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z))`, in nats.

    The KL term compares the posterior of one `x` with the *prior*: it is the price, in nats, of
    telling the decoder `z`. The reported `elbo` and `kl` are those with β = 1, whatever `beta` is,
    so that they stay a bound of log p(x) and can be compared between models.

    Args:
        beta: float or `keras.optimizers.schedules.LearningRateSchedule`. Weight of the KL in the
            loss (β-VAE). A schedule is a function of the optimizer's step, which is saved with the
            model, so a resumed training goes on where it was; a linear warm-up over 1,000 steps is
            `PolynomialDecay(0.0, 1000, 1.0)`. Defaults to `1.0`.
        num_samples: int. Samples of `z` for each `x` (L in the paper). Defaults to `1`.
        kl: str. `"analytic"` takes the closed form (eq. 10 of the paper; an error where none is
            known), `"monte_carlo"` the average of log q(z|x) − log p(z) over the samples (eq. 3's
            estimator), `"auto"` the closed form where there is one. Defaults to `"auto"`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, objective=kvae.objectives.ELBO(beta=4.0))
    ```

    References:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
        - [Higgins et al., β-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
    """

    def __init__(self, beta: float = 1.0, num_samples: int = 1, kl: str = "auto", **kwargs):
        super().__init__(**kwargs)
        if kl not in _KL:
            raise names.unknown_name("kl", kl, _KL)
        if num_samples < 1:
            raise ValueError(f"`num_samples` is at least 1, not {num_samples}.")
        self.beta = schedules.resolve("beta", beta)
        self.num_samples, self.kl = num_samples, kl

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        draw = {"seed": seed, "training": training}
        closed_form = None
        if self.kl != "monte_carlo":
            closed_form = divergences.closed_form_kl(vae.posterior, vae.prior)
        if closed_form is not None:
            z = vae.posterior.sample(params, self.num_samples, **draw)
            kl = closed_form(params)
        elif self.kl == "analytic":
            raise ValueError(
                f"No closed-form KL is known between {type(vae.posterior).__name__} and "
                f"{type(vae.prior).__name__}. Use ELBO(kl='auto') or kl='monte_carlo'."
            )
        else:
            z, log_q = vae.posterior.sample_and_log_prob(params, self.num_samples, **draw)
            kl = ops.mean(log_q - vae.prior.log_prob(z), axis=0)
        outputs = vae.decode_params(z, training=training)
        reconstruction = -ops.mean(vae.likelihood.log_prob(outputs, target), axis=0)
        loss = reconstruction + schedules.at(self.beta, vae) * kl
        penalty = vae.posterior.penalty(params)
        return {
            "loss": loss if penalty is None else loss + penalty,
            "elbo": -(reconstruction + kl),
            "reconstruction": reconstruction,
            "kl": kl,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "beta": schedules.serialize(self.beta),
            "num_samples": self.num_samples,
            "kl": self.kl,
        }
