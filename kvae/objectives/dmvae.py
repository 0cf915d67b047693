"""The objective of shared and private latents, reconstructed from each modality alone."""

from collections.abc import Mapping

import numpy as np
from keras import ops

from kvae import random, schedules
from kvae.distributions.gaussian import gaussian_kl
from kvae.objectives.objective import Objective, register
from kvae.objectives.subsets import modality_weights
from kvae.posteriors import DiagonalGaussian, SharedAndPrivate
from kvae.utils import arguments

__all__ = ["DMVAE"]


@register("dmvae")
class DMVAE(Objective):
    """`−L(q(s|x)) − Σ_m L(q(s|x_m))`, L of all modalities with private latents: DMVAE.

    `L(q) = E_{q(s) Π q(w_m|x_m)} Σ_m λ_m log p(x_m|s, w_m) − β KL(q(s) ‖ p(s)) − Σ_m β_m
    KL(q(w_m|x_m) ‖ p(w_m))`: with the shared latents of all, by the product of experts, and with
    those that each modality tells alone, while the private ones w_m stay those of x_m. So whatever
    one modality knows of another has to be in s, and its style in w. Absent modalities are left
    out, as is the bound of one that is absent.

    q(s|x_m) is the expert of x_m itself. The posterior of one modality, which translates, has the
    prior among its experts as well, `p(s) q(s|x_m)`, and is a little nearer to 0, as in multivae
    1.0.3; with `shared=kvae.posteriors.ProductOfExperts(prior_expert=False)` both are the same.

    The reported `elbo`, `reconstruction` and `kl` are those of q(s|x) with λ = β = 1, a bound of
    log p(x_1, …, x_M).

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all.
        beta: float or schedule. β, of the shared latents. Defaults to `1.0`.
        private_betas: mapping from names of modalities to β_m, or `None`: 1 for all.
        num_samples: int. Samples of z for each L. Defaults to `1`.

    Raises:
        ValueError: for another posterior than `kvae.posteriors.SharedAndPrivate` of a product of
            experts, and a wrong weight.

    Example:

    ```python
    objective = kvae.objectives.DMVAE(weights={"label": 50.0})
    ```

    Reference:
        - [Lee & Pavlovic, Private-Shared Disentangled Multimodal VAE for Learning of Latent
          Representations, eq. 7 and 8](https://arxiv.org/abs/2012.13024)
    """

    of_modalities = True

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        beta: schedules.Number = 1.0,
        private_betas: Mapping[str, float] | None = None,
        num_samples: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.factors, self.private_factors = dict(weights or {}), dict(private_betas or {})
        self.beta = schedules.resolve("beta", beta)
        self.num_samples = arguments.whole("num_samples", num_samples)

    def attach(self, vae):
        super().attach(vae)
        posterior = vae.posterior
        if not (
            isinstance(posterior, SharedAndPrivate)
            and isinstance(posterior.shared, DiagonalGaussian)
            and vae.prior.standard_normal
        ):
            raise ValueError(
                "DMVAE takes closed forms of shared and private Gaussians: use "
                "posterior=kvae.posteriors.SharedAndPrivate({…}), whose `shared` is a product of "
                "experts, and prior='standard_normal'."
            )
        modality_weights(self.factors, vae)
        modality_weights(self.private_factors, vae)

    def scheduled(self):
        return {"beta": self.beta}

    def terms(self, vae, x, target, *, training, seed):
        posterior = vae.posterior
        params = vae.encode_params(x, training=training)
        there = params["present"]
        _, *private = posterior.of(params)
        count = len(private)
        shared = [posterior.of(params)[0]] + [posterior.expert(params, m) for m in range(count)]
        drawn = []
        for number, one in enumerate(shared):
            own = {**params, **{f"shared_{name}": value for name, value in one.items()}}
            draw = {"seed": random.fold_in(seed, number), "training": training}
            drawn.append(posterior.sample(own, self.num_samples, **draw))
        outputs = vae.decode_params(ops.concatenate(drawn, axis=0), training=training)
        log_p = vae.likelihood.log_prob_by_modality(outputs, target)
        log_p = [ops.mean(each, axis=0) for each in ops.split(log_p, count + 1, axis=0)]
        weights = modality_weights(self.factors, vae)
        of_shared = [_kl(one) for one in shared]
        # Those of absent modalities are the prior's, or not of this x.
        of_private = there * ops.stack([_kl(own) for own in private], axis=-1)
        betas = modality_weights(self.private_factors, vae)
        beta = schedules.at(self.beta, vae)
        losses = [
            beta * kl - ops.sum(weights * each, axis=-1) + ops.sum(betas * of_private, axis=-1)
            for kl, each in zip(of_shared, log_p, strict=True)
        ]
        alone = ops.stack(losses[1:], axis=-1)
        reconstruction = -ops.sum(log_p[0], axis=-1)
        kl = of_shared[0] + ops.sum(of_private, axis=-1)
        loss = losses[0] + ops.sum(there * alone, axis=-1)
        return self.reported(vae, params, loss, reconstruction, kl)

    def get_config(self):
        return {
            **super().get_config(),
            "weights": dict(self.factors),
            "beta": schedules.serialize(self.beta),
            "private_betas": dict(self.private_factors),
            "num_samples": self.num_samples,
        }


def _kl(params):
    """Returns the KL of a Gaussian to N(0, I) in nats, `[batch]`."""
    zero = np.float32(0.0)
    return ops.sum(gaussian_kl(params["z_mean"], params["z_log_var"], zero, zero), axis=-1)
