"""The base of objectives that consist of a reconstruction and a cost of the codes."""

from keras import ops

from kvae import divergences
from kvae.objectives.objective import Objective
from kvae.parts import to_write
from kvae.utils import names

__all__ = ["Bound", "check_aggregate", "check_real"]

_KL = ("auto", "analytic", "monte_carlo")


class Bound(Objective):
    """Objectives of the form `−E_q log p(x|z) + cost`, which report the ELBO whatever the cost is.

    A new one gives `cost`, the rest of its loss besides the reconstruction. `elbo` and `kl` remain
    those of the plain bound, so that models can be compared.

    Args:
        num_samples: int. Samples of `z` for each `x` (L in the paper). Defaults to `1`.
        kl: str. `"analytic"` takes the closed form (an error where none is known), `"monte_carlo"`
            the average of log q(z|x) − log p(z) over the samples, `"auto"` the closed form where
            there is one: of z, or of each group of a `kvae.posteriors.Ladder` given those above it.
            Defaults to `"auto"`.
    """

    def __init__(self, num_samples: int = 1, kl: str = "auto", **kwargs):
        super().__init__(**kwargs)
        if kl not in _KL:
            raise names.unknown_name("kl", kl, _KL)
        if num_samples < 1:
            raise ValueError(f"`num_samples` is at least 1, not {num_samples}.")
        self.num_samples, self.kl = num_samples, kl

    @to_write
    def cost(self, vae, params, z, kl, *, seed) -> tuple:
        """Returns the rest of the loss besides the reconstruction, and what else is reported.

        Args:
            vae: `kvae.VAE`.
            params: dict. The posterior's parameters.
            z: tensor `[num_samples, batch, latent_dim]`, drawn with `seed`.
            kl: tensor `[batch]`. The KL divergence in nats, or an estimate of it.
            seed: of the step; further noise is drawn with seeds folded from it.

        Returns:
            Pair: a tensor `[batch]` in nats, and a dict of further entries of `terms`.
        """
        raise NotImplementedError

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        z, kl = self.draw(vae, params, seed=seed, training=training)
        outputs = vae.decode_params(z, training=training)
        reconstruction = -ops.mean(vae.likelihood.log_prob(outputs, target), axis=0)
        cost, more = self.cost(vae, params, z, kl, seed=seed)
        loss = reconstruction + cost
        return self.reported(vae, params, loss, reconstruction, kl, **more)

    def draw(self, vae, params, *, seed, training):
        """Returns `z` `[num_samples, batch, latent_dim]` and the KL `[batch]` in nats."""
        posterior, prior = vae.posterior, vae.prior
        draw = {"seed": seed, "training": training}
        closed_form = None
        if self.kl != "monte_carlo":
            closed_form = divergences.closed_form_kl(posterior, prior)
        if closed_form is not None:
            return posterior.sample(params, self.num_samples, **draw), closed_form(params)
        if self.kl == "analytic":
            raise ValueError(
                f"No closed-form KL is known between {type(posterior).__name__} and "
                f"{type(prior).__name__}. Use kl='auto' or kl='monte_carlo'."
            )
        of_groups = divergences.kl_of_groups(posterior, prior)
        if self.kl == "auto" and of_groups is not None:
            z = posterior.sample(params, self.num_samples, **draw)
            return z, ops.mean(ops.sum(of_groups(params, z), axis=-1), axis=0)
        z, log_q = posterior.sample_and_log_prob(params, self.num_samples, **draw)
        return z, ops.mean(log_q - prior.log_prob(z), axis=0)

    def get_config(self):
        return {**super().get_config(), "num_samples": self.num_samples, "kl": self.kl}


def check_aggregate(objective, vae) -> None:
    """Refuses models whose aggregate posterior q(z) `objective` has nothing to compare with.

    Raises:
        ValueError: for a discrete posterior, and for a prior that is absent or depends on a label.
    """
    name, posterior, prior = type(objective).__name__, vae.posterior, vae.prior
    if posterior.discrete:
        raise ValueError(
            f"{name} shapes the distribution of z over R^latent_dim, and that of a "
            f"{type(posterior).__name__} posterior is discrete. Use objective='elbo'."
        )
    if prior is None:
        raise ValueError(
            f"{name} compares the codes of all examples with the prior, and this model has none. "
            "Give it one, e.g. prior='standard_normal'."
        )
    if prior.conditional:
        raise ValueError(
            f"{name} compares the codes of all examples with one prior, and a "
            f"{type(prior).__name__} prior depends on the label. Use one that does not, e.g. "
            "prior='standard_normal'."
        )


def check_real(objective, vae, asks: str = "asks for independent dimensions of z") -> None:
    """Refuses codes that do not lie in R^latent_dim.

    Args:
        objective: `kvae.objectives.Objective`.
        vae: `kvae.VAE`.
        asks: str. What the objective does that other spaces do not allow.

    Raises:
        ValueError: for a posterior or a prior on the sphere and others like that.
    """
    for part in (vae.posterior, vae.prior):
        if part.space not in ("real", None):
            raise ValueError(
                f"{type(objective).__name__} {asks}, and {type(part).__name__} puts z into the "
                f"space {part.space!r}. Use parts on R^latent_dim, e.g. "
                "posterior='diagonal_gaussian' and prior='standard_normal'."
            )
