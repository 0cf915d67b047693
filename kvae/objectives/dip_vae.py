"""The DIP-VAE: an aggregate posterior whose covariance is the identity."""

import tensorflow as tf
from keras import ops

from kvae import schedules
from kvae.objectives.bound import check_aggregate, check_real
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register
from kvae.utils import names

__all__ = ["DIPVAE", "covariance_of_means"]

_KINDS = ("i", "ii")
_DIAGONAL = {"i": 10.0, "ii": 1.0}


@register("dip_vae")
class DIPVAE(ELBO):
    """The ELBO, and a penalty that pulls the covariance C of the codes to the prior's, I.

    The loss holds in addition `λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)²`. DIP-VAE-I takes for C the
    covariance over x of the posteriors' means, DIP-VAE-II that of the aggregate posterior: the same
    plus the mean of the posteriors' covariances. Both are of the batch, divided by its size; under
    a distribution strategy it is that of a replica.

    The two sums, without their weights, are in the logs as `off_diagonal` and `diagonal`.

    Args:
        lambda_od: float or schedule (`kvae.schedules`). Weight of what lies off the diagonal.
            Defaults to `10.0`.
        lambda_d: float, schedule or `None`. Weight of the diagonal. Defaults to `None`: as in the
            paper `10 * lambda_od` for `kind="i"`, and `lambda_od` for `kind="ii"`.
        kind: str. `"i"` or `"ii"`. Defaults to `"i"`.
        **settings: of `kvae.objectives.ELBO`.

    Raises:
        ValueError: for an unknown kind, with `"ii"` for a posterior whose covariance is not known
            (flows, points), and for z that is discrete or on the sphere, a model without a prior,
            and a prior that depends on a label.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=10, objective=kvae.objectives.DIPVAE(kind="ii"))
    ```

    Reference:
        - [Kumar et al., Variational Inference of Disentangled Latent Concepts from Unlabeled
          Observations, eq. 6 and 7](https://arxiv.org/abs/1711.00848)
    """

    def __init__(
        self,
        lambda_od: schedules.Number = 10.0,
        lambda_d: float | None = None,
        kind: str = "i",
        **settings,
    ):
        super().__init__(**settings)
        if kind not in _KINDS:
            raise names.unknown_name("kind", kind, _KINDS)
        self.lambda_od = schedules.resolve("lambda_od", lambda_od)
        self.lambda_d = None if lambda_d is None else schedules.resolve("lambda_d", lambda_d)
        self.kind = kind

    def attach(self, vae):
        super().attach(vae)
        check_aggregate(self, vae)
        check_real(self, vae)
        if self.kind == "ii" and vae.posterior.covariance is None:
            raise ValueError(
                f"DIPVAE(kind='ii') needs the covariance of q(z|x), which is not known for a "
                f"{type(vae.posterior).__name__} posterior. Use kind='i'."
            )

    def metric_names(self):
        return (*super().metric_names(), "off_diagonal", "diagonal")

    def scheduled(self):
        return {**super().scheduled(), "lambda_od": self.lambda_od, "lambda_d": self.lambda_d}

    def cost(self, vae, params, z, kl, *, seed):
        cost, more = super().cost(vae, params, z, kl, seed=seed)
        covariance = covariance_of_means(vae.posterior.mean(params))
        if self.kind == "ii":
            covariance = covariance + ops.mean(vae.posterior.covariance(params), axis=0)
        variances = tf.linalg.diag_part(covariance)
        off_diagonal = ops.sum(ops.square(covariance * (1.0 - ops.eye(vae.latent_dim))))
        diagonal = ops.sum(ops.square(variances - 1.0))
        weight = schedules.at(self.lambda_od, vae)
        if self.lambda_d is None:
            of_diagonal = _DIAGONAL[self.kind] * weight
        else:
            of_diagonal = schedules.at(self.lambda_d, vae)
        every = ops.ones_like(kl)
        return cost + weight * off_diagonal + of_diagonal * diagonal, {
            **more,
            "off_diagonal": off_diagonal * every,
            "diagonal": diagonal * every,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "lambda_od": schedules.serialize(self.lambda_od),
            "lambda_d": schedules.serialize(self.lambda_d),
            "kind": self.kind,
        }


def covariance_of_means(means):
    """Returns the covariance of the rows of `means` `[batch, latent_dim]`, divided by `batch`."""
    away = means - ops.mean(means, axis=0, keepdims=True)
    size = ops.cast(tf.shape(means)[0], means.dtype)
    return tf.linalg.matmul(away, away, transpose_a=True) / size
