"""The objective of shared and private latents whose shared ones are of one modality at a time."""

from collections.abc import Mapping

import numpy as np
from keras import ops

from kvae import random, schedules
from kvae.objectives.objective import Objective, register
from kvae.objectives.subsets import modality_weights
from kvae.posteriors import (
    DiagonalGaussian,
    MixtureOfExperts,
    MixtureOfProducts,
    SharedAndPrivate,
)
from kvae.utils import arguments

__all__ = ["MMVAEPlus"]


@register("mmvae_plus")
class MMVAEPlus(Objective):
    """`−1/M Σ_m E log 1/K Σ_k ω_mk`: MMVAE+, of a mixture of experts with private latents.

    `log ω_m = Σ_n λ_n log p(x_n|s, w_n) + β (log p(s) + log p(w_m) − log q(s|x) − log q(w_m|x_m))`,
    where s is drawn from q(s|x_m), w_m from q(w_m|x_m), and the w_n of the other modalities from
    r_n, which knows nothing of x_n: q(s|x) is the mixture of all. If they were drawn from
    q(w_n|x_n), as the other modalities' own, x_n could pass s by, and translations would lack it.
    M is the number of the modalities that an example has, and absent ones are left out.

    The reported `elbo`, `reconstruction` and `kl` are those with λ = β = 1 and with
    `log p(w_n) − log r_n(w_n)` of the other modalities: a bound of log p(x_1, …, x_M).

    Args:
        weights: mapping from names of modalities to λ, or `None`: 1 for all.
        beta: float or schedule. β. Defaults to `1.0`.
        num_samples: int. K, drawn for each modality. The paper's gradient (DReG) is not used.
            Defaults to `1`.

    Raises:
        ValueError: for another posterior than `kvae.posteriors.SharedAndPrivate` of a mixture of
            experts, a prior that is no product of such parts, and a wrong weight.

    Example:

    ```python
    posterior = kvae.posteriors.SharedAndPrivate(
        {"image": 4, "label": 1}, shared="mixture_of_experts", absent="learned"
    )
    objective = kvae.objectives.MMVAEPlus(beta=2.5, num_samples=10)
    ```

    Reference:
        - [Palumbo et al., MMVAE+: Enhancing the Generative Quality of Multimodal VAEs without
          Compromises, eq. 5](https://openreview.net/forum?id=sdQGxouELX)
    """

    of_modalities = True

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        beta: schedules.Number = 1.0,
        num_samples: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.factors = dict(weights or {})
        self.beta = schedules.resolve("beta", beta)
        self.num_samples = arguments.whole("num_samples", num_samples)

    def attach(self, vae):
        super().attach(vae)
        posterior = vae.posterior
        if not (
            isinstance(posterior, SharedAndPrivate)
            and isinstance(posterior.shared, MixtureOfExperts)
            # Its density would be that of more components than are drawn from.
            and not isinstance(posterior.shared, MixtureOfProducts)
            and posterior.reads is None
            and posterior.pairs(vae.prior) is not None
        ):
            raise ValueError(
                "MMVAEPlus draws the shared latents from one modality at a time: use "
                "posterior=kvae.posteriors.SharedAndPrivate({…}, shared='mixture_of_experts') and "
                "prior='standard_normal', or a kvae.priors.Product of the same parts."
            )
        modality_weights(self.factors, vae)

    def scheduled(self):
        return {"beta": self.beta}

    def terms(self, vae, x, target, *, training, seed):
        posterior, prior = vae.posterior, vae.prior
        params = vae.encode_params(x, training=training)
        there, shared = params["present"], posterior.of(params)[0]
        (_, prior_of_s), *pairs = posterior.pairs(prior)
        count = len(pairs)
        # An expert of s is a Gaussian, as the w are.
        parts = [DiagonalGaussian(posterior.shared.latent_dim), *posterior.private.values()]
        drawn, ratios, of_others = [], [], []
        for m in range(count):
            alone = there * np.eye(count, dtype="float32")[m]
            _, *own_params = posterior.of(posterior.given(params, alone))
            gaussians = [posterior.expert(params, m), *own_params]
            own = [
                part.sample(given, self.num_samples, seed=random.fold_in(seed, m * len(parts) + n))
                for n, (part, given) in enumerate(zip(parts, gaussians, strict=True))
            ]
            s, *own = own
            each = [
                prior.log_prob(w) - part.log_prob(given, w)
                for (part, prior), given, w in zip(pairs, own_params, own, strict=True)
            ]
            drawn.append(ops.concatenate([s, *own], axis=-1))
            ratios.append(prior_of_s.log_prob(s) - posterior.shared.log_prob(shared, s) + each[m])
            of_others.append(sum(each) - each[m])
        outputs = vae.decode_params(ops.concatenate(drawn, axis=0), training=training)
        log_p = vae.likelihood.log_prob_by_modality(outputs, target)
        log_p = ops.split(log_p, count, axis=0)
        weights, beta = modality_weights(self.factors, vae), schedules.at(self.beta, vae)
        bounds = [
            ops.logsumexp(ops.sum(weights * each, axis=-1) + beta * ratio, axis=0)
            - np.log(self.num_samples)
            for each, ratio in zip(log_p, ratios, strict=True)
        ]
        share = there / ops.maximum(ops.sum(there, axis=-1, keepdims=True), 1.0)

        def mean(values):
            return ops.sum(share * ops.stack(list(values), axis=-1), axis=-1)

        reconstruction = -mean(ops.mean(ops.sum(each, axis=-1), axis=0) for each in log_p)
        kl = -mean(ops.mean(a + b, axis=0) for a, b in zip(ratios, of_others, strict=True))
        return self.reported(vae, params, -mean(bounds), reconstruction, kl)

    def get_config(self):
        return {
            **super().get_config(),
            "weights": dict(self.factors),
            "beta": schedules.serialize(self.beta),
            "num_samples": self.num_samples,
        }
