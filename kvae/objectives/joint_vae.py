"""The JointVAE: a capacity for each part of z."""

from collections.abc import Mapping

from keras import ops

from kvae import divergences, schedules
from kvae.objectives.bound import Bound
from kvae.objectives.objective import register
from kvae.objectives.regularized import excess
from kvae.posteriors import Product

__all__ = ["JointVAE"]


@register("joint_vae")
class JointVAE(Bound):
    """The ELBO with a capacity for each part of z: `−E_q log p(x|z) + γ Σ_k |KL_k − C_k|`.

    With a `kvae.posteriors.Product` of continuous and discrete parts, each part of the KL is drawn
    to a capacity C_k in nats, which may grow in training. So no part can take all of the
    information while another, often the discrete one, gets none. A discrete part cannot hold more
    than the entropy of its prior, N log K: its C_k ends there. The KL of each part is in the logs
    as `kl_NAME`. With a posterior of one part this is the β-VAE with a capacity,
    `ELBO(capacity=…)`.

    Args:
        gamma: float or schedule (`kvae.schedules`). Defaults to `30.0`, as in the paper on MNIST.
        capacity: float, schedule, or a mapping from the names of parts to these. C_k in nats.
            Defaults to `5.0`, where the paper ends on MNIST, after a line from 0 over 25 000 steps.
        **settings: of `kvae.objectives.Bound`.

    Raises:
        ValueError: for settings out of range, names that are not those of the posterior's parts,
            and parts whose KL has no closed form and whose density is known at own draws only.

    Example:

    ```python
    posterior = kvae.posteriors.Product({
        "style": "diagonal_gaussian",
        "digit": kvae.posteriors.GumbelSoftmax(latent_dim=10, num_categories=10),
    })
    prior = kvae.priors.Product({
        "style": "standard_normal",
        "digit": kvae.priors.UniformCategorical(num_categories=10, latent_dim=10),
    })
    objective = kvae.objectives.JointVAE(
        gamma=30.0,
        capacity={"style": kvae.schedules.Linear(0.0, 5.0, steps=25_000), "digit": 2.3},
    )
    vae = kvae.VAE(
        encoder, decoder, latent_dim=16, posterior=posterior, prior=prior, objective=objective
    )
    ```

    References:
        - [Dupont, Learning Disentangled Joint Continuous and Discrete Representations, eq. 7](
          https://arxiv.org/abs/1804.00104)
        - [Burgess et al., Understanding disentangling in β-VAE, eq. 8](
          https://arxiv.org/abs/1804.03599)
    """

    def __init__(self, gamma: schedules.Number = 30.0, capacity=5.0, **settings):
        super().__init__(**settings)
        self.gamma = schedules.resolve("gamma", gamma)
        if isinstance(capacity, Mapping) and "class_name" not in capacity:
            each = {name: schedules.resolve("capacity", one) for name, one in capacity.items()}
            self.capacity = each
        else:
            self.capacity = schedules.resolve("capacity", capacity)

    def attach(self, vae):
        super().attach(vae)
        posterior = vae.posterior
        names = list(posterior.parts) if isinstance(posterior, Product) else []
        if isinstance(self.capacity, dict) and set(self.capacity) != set(names):
            raise ValueError(
                f"`capacity` names the parts {sorted(self.capacity)}, and those of the posterior "
                f"are {sorted(names)}."
            )
        pairs = self._pairs(vae)
        if pairs is None:
            raise ValueError(
                f"JointVAE weighs the KL of each part, and a {type(vae.prior).__name__} prior has "
                "none for each. Use prior=kvae.priors.Product(…) of as many parts."
            )
        for part, prior in pairs if names else ():
            if divergences.closed_form_kl(part, prior) is None and not part.tractable:
                raise ValueError(
                    f"The KL of a {type(part).__name__} posterior with a {type(prior).__name__} "
                    "prior is known at its own draws only: use another part."
                )

    def metric_names(self):
        vae = self._vae()
        parts = getattr(vae.posterior, "parts", {}) if vae is not None else {}
        return (*super().metric_names(), *(f"kl_{name}" for name in parts))

    def scheduled(self):
        if isinstance(self.capacity, dict):
            each = {f"capacity_{name}": value for name, value in self.capacity.items()}
            return {"gamma": self.gamma, **each}
        return {"gamma": self.gamma, "capacity": self.capacity}

    def set_scheduled(self, name, value):
        _, of_part, part = name.partition("capacity_")
        if of_part and isinstance(self.capacity, dict) and part in self.capacity:
            self.capacity[part] = schedules.resolve("capacity", value)
        else:
            super().set_scheduled(name, value)

    def cost(self, vae, params, z, kl, *, seed):
        product = isinstance(vae.posterior, Product)
        each_params = vae.posterior.of(params) if product else [params]
        each_z = vae.posterior.split(z) if product else [z]
        names = list(vae.posterior.parts) if product else [None]
        total, found = 0.0, {}
        pairs = self._pairs(vae)
        for name, (part, prior), own, z in zip(names, pairs, each_params, each_z, strict=True):
            closed_form = divergences.closed_form_kl(part, prior)
            if len(pairs) == 1:
                rate = kl
            elif closed_form is not None and self.kl != "monte_carlo":
                rate = closed_form(own)
            else:
                rate = ops.mean(part.log_prob(own, z) - prior.log_prob(z), axis=0)
            capacity = self.capacity[name] if isinstance(self.capacity, dict) else self.capacity
            capacity = schedules.at(capacity, vae)
            if part.discrete:  # −log p(z) is what naming z costs at most.
                capacity = ops.minimum(capacity, ops.mean(-prior.log_prob(z)))
            total = total + excess(rate, capacity)
            if name is not None:
                found[f"kl_{name}"] = rate
        return schedules.at(self.gamma, vae) * total, found

    def _pairs(self, vae):
        posterior, prior = vae.posterior, vae.prior
        return posterior.pairs(prior) if isinstance(posterior, Product) else [(posterior, prior)]

    def get_config(self):
        capacity = self.capacity
        if isinstance(capacity, dict):
            capacity = {name: schedules.serialize(value) for name, value in capacity.items()}
        else:
            capacity = schedules.serialize(capacity)
        return {
            **super().get_config(),
            "gamma": schedules.serialize(self.gamma),
            "capacity": capacity,
        }
