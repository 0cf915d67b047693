"""The objective of two levels of latents: a VAE of each modality, and one of their latents."""

from collections.abc import Mapping

import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.distributions.gaussian import gaussian_kl, gaussian_log_prob
from kvae.layers.sampling import reparameterize
from kvae.objectives.objective import Objective, register
from kvae.objectives.subsets import modality_weights
from kvae.posteriors import Nexus as NexusPosterior
from kvae.utils import arguments

__all__ = ["Nexus"]


@register("nexus")
class Nexus(Objective):
    """`Σ_m (β_m KL_m − λ_m E log p(x_m|z_m)) + β KL_s − Σ_m γ_m E log p(z_m|s)`: Nexus.

    `KL_m = KL(q(z_m|x_m) ‖ N(0, I))` and `KL_s = KL(q(s|z_1 … z_M) ‖ N(0, I))`. The first sum
    trains a VAE for each modality, the rest a VAE of their latents, which are constants to it: no
    gradient of it reaches the encoders of x. With *forced perceptual dropout* s often has to be
    told by a part of the modalities alone, and yet to say all z_m, as a translation asks of it.

    The reported `elbo`, `reconstruction` and `kl` are those of the whole model, whose prior is
    p(s) Π p(z_m|s), with all modalities that an example has: a bound of log p(x_1, …, x_M) that the
    loss does not train as such.

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all.
        betas: mapping from names of modalities to β_m, or `None`: 1 for all.
        gammas: mapping from names of modalities to γ, or `None`: 1 for all.
        beta: float or schedule. β, of s. Defaults to `1.0`.
        dropout: float from 0 to 1. The probability with which an example of two modalities or more
            tells s by some of them alone, of any number as likely as any other. Defaults to `0.5`.

    Raises:
        ValueError: for another posterior than `kvae.posteriors.Nexus`, and settings out of range.

    Example:

    ```python
    objective = kvae.objectives.Nexus(weights={"label": 50.0}, dropout=0.5)
    ```

    Reference:
        - [Vasco et al., Leveraging hierarchy in multimodal generative models for effective
          cross-modality inference](https://doi.org/10.1016/j.neunet.2021.11.019)
    """

    of_modalities = True

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        betas: Mapping[str, float] | None = None,
        gammas: Mapping[str, float] | None = None,
        beta: schedules.Number = 1.0,
        dropout: float = 0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.factors = {"weights": weights, "betas": betas, "gammas": gammas}
        self.factors = {name: dict(each or {}) for name, each in self.factors.items()}
        self.beta = schedules.resolve("beta", beta)
        self.dropout = arguments.number("dropout", dropout, least=0.0)
        if self.dropout > 1:
            raise ValueError(f"`dropout` is a probability, from 0 to 1, not {dropout}.")

    def attach(self, vae):
        super().attach(vae)
        if not isinstance(vae.posterior, NexusPosterior):
            raise ValueError(
                "The objective 'nexus' trains two levels of latents: use "
                "posterior=kvae.posteriors.Nexus({…}) with its prior."
            )
        for each in self.factors.values():
            modality_weights(each, vae)

    def scheduled(self):
        return {"beta": self.beta}

    def terms(self, vae, x, target, *, training, seed):
        posterior, prior = vae.posterior, vae.prior
        params = vae.encode_params(x, training=training)
        there = params["present"]
        z = posterior.sample(params, seed=random.fold_in(seed, 0), training=training)
        outputs = vae.decode_params(z, training=training)
        log_p = vae.likelihood.log_prob_by_modality(outputs, target)
        weights, betas, gammas = (modality_weights(own, vae) for own in self.factors.values())
        zero = ops.zeros_like(z[:, :1])
        rates = [ops.sum(gaussian_kl(*own, zero, zero), axis=-1) for own in posterior.of(params)]
        bottom = there * (betas * ops.stack(rates, axis=-1) - weights * log_p)
        each = [ops.stop_gradient(own) for own in tf.split(z, posterior.sizes, axis=-1)[1:]]
        of_s = posterior.top(each, self.kept(there, random.fold_in(seed, 1)))
        noise = random.normal(ops.shape(of_s[0]), random.fold_in(seed, 2))
        s = reparameterize(*of_s, noise)
        log_z = [gaussian_log_prob(*prior.lower.after(m, s), own) for m, own in enumerate(each)]
        top = schedules.at(self.beta, vae) * ops.sum(gaussian_kl(*of_s, zero, zero), axis=-1)
        top = top - ops.sum(there * gammas * ops.stack(log_z, axis=-1), axis=-1)
        reconstruction = -ops.sum(log_p, axis=-1)
        kl = posterior.log_prob(params, z) - prior.log_prob(z)
        loss = ops.sum(bottom, axis=-1) + top
        return self.reported(vae, params, loss, reconstruction, kl)

    def kept(self, present, seed):
        """Returns which modalities tell s, `[batch, modalities]`: all that are there, or some."""
        count = ops.sum(present, axis=-1, keepdims=True)
        draws = random.uniform(tf.shape(present) + [0, 2], seed)
        number = 1.0 + ops.floor(draws[:, :1] * ops.maximum(count - 1.0, 1.0))
        order = ops.where(present > 0, draws[:, 2:], 2.0)
        place = ops.argsort(ops.argsort(order, axis=-1), axis=-1)
        some = present * ops.cast(ops.cast(place, number.dtype) < number, present.dtype)
        return ops.where(draws[:, 1:2] < self.dropout, some, present)

    def get_config(self):
        return {
            **super().get_config(),
            **self.factors,
            "beta": schedules.serialize(self.beta),
            "dropout": self.dropout,
        }
