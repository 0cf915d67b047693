"""The β-TCVAE: a weight for each of the three parts of the KL."""

import tensorflow as tf
from keras import ops

from kvae import schedules
from kvae.objectives.bound import Bound, check_aggregate
from kvae.objectives.objective import register
from kvae.utils import names

__all__ = ["BetaTCVAE", "kl_parts"]

_ESTIMATORS = ("minibatch_weighted", "minibatch_stratified")


@register("beta_tcvae")
class BetaTCVAE(Bound):
    """The ELBO with the KL taken apart: `α I(x; z) + β TC(z) + γ Σ_i KL(q(z_i) ‖ p(z_i))`.

    The mean KL of the posteriors is the sum of three parts: the mutual information of x and z, the
    total correlation of the aggregate posterior q(z), which is how much its dimensions tell of each
    other, and how far each dimension alone is from the prior. A β over 1 asks for independent
    dimensions without taking information from z, as the β of a β-VAE does.

    The logs get the three as `mutual_information`, `total_correlation` and `dimension_wise_kl`, in
    nats and per example. They are estimated with the posteriors of the batch in place of those of
    all the data, so they depend on its size: the mutual information found with
    `"minibatch_weighted"` is at most its logarithm. The loss takes the KL itself in closed form,
    where there is one, so that only differences from γ carry the noise of the estimate, and
    α = β = γ = 1 is the ELBO exactly.

    Under a distribution strategy the batch is that of a replica.

    Args:
        alpha: float or schedule (`kvae.schedules`). Weight of the mutual information. Defaults to
            `1.0`.
        beta: float or schedule. Weight of the total correlation. Defaults to `6.0`.
        gamma: float or schedule. Weight of the dimension-wise KL. Defaults to `1.0`.
        dataset_size: int or `None`. N, the number of training examples; only the stratified
            estimator needs it. Defaults to `None`.
        estimator: str. How q(z) of a draw is estimated from the M posteriors of the batch.
            `"minibatch_weighted"` takes their average. The paper's estimate is smaller by a factor
            of N; that has no gradient, and would add (latent_dim − 1) log N nats to the reported
            total correlation. The draw's own posterior has too much weight in it, so q(z) comes
            out too large. `"minibatch_stratified"` gives the own posterior the weight 1/N, and each
            other (N − 1) / (N (M − 1)): q(z) without bias, exact when the batch is the data set,
            but noisier and, as a logarithm, too small for small batches. (In the paper one of the
            others has another weight; these are the weights averaged over which one it is.)
            Defaults to `"minibatch_weighted"`.
        **settings: `num_samples` and `kl` of `kvae.objectives.Bound`.

    The memory grows with `num_samples * batch² * latent_dim`.

    Raises:
        ValueError: for a posterior whose coordinates have no known density of their own (flows,
            points, discrete and spherical ones), a prior that is no product over dimensions, and
            the stratified estimator without `dataset_size`.

    Example:

    ```python
    objective = kvae.objectives.BetaTCVAE(beta=6.0)
    vae = kvae.VAE(encoder, decoder, latent_dim=10, objective=objective)
    ```

    Reference:
        - [Chen et al., Isolating Sources of Disentanglement in VAEs, eq. 2, section 4.1 and
          appendix C](https://arxiv.org/abs/1802.04942)
    """

    def __init__(
        self,
        alpha: schedules.Number = 1.0,
        beta: schedules.Number = 6.0,
        gamma: schedules.Number = 1.0,
        dataset_size: int | None = None,
        estimator: str = "minibatch_weighted",
        **settings,
    ):
        super().__init__(**settings)
        if estimator not in _ESTIMATORS:
            raise names.unknown_name("estimator", estimator, _ESTIMATORS)
        if dataset_size is not None and dataset_size < 2:
            raise ValueError(f"`dataset_size` is at least 2, not {dataset_size}.")
        if estimator == "minibatch_stratified" and dataset_size is None:
            raise ValueError(
                "The stratified estimator weights by the number of training examples: give "
                "`dataset_size`, or use estimator='minibatch_weighted'."
            )
        # These are no attributes, because `beta` elsewhere is the weight of the whole KL.
        weights = {"alpha": alpha, "beta": beta, "gamma": gamma}
        self._weights = {name: schedules.resolve(name, value) for name, value in weights.items()}
        self.dataset_size, self.estimator = dataset_size, estimator

    def attach(self, vae):
        super().attach(vae)
        check_aggregate(self, vae)
        posterior = type(vae.posterior).__name__
        if vae.posterior.marginal_log_prob is None:
            raise ValueError(
                f"BetaTCVAE compares the density of z with those of its coordinates, which a "
                f"{posterior} posterior does not know. Use one on R^latent_dim with a density for "
                "each coordinate, e.g. posterior='diagonal_gaussian'."
            )
        if not vae.prior.factorized:
            raise ValueError(
                "BetaTCVAE compares each coordinate of z with the prior's, and the dimensions of a "
                f"{type(vae.prior).__name__} prior are not independent. Use "
                "prior='standard_normal'."
            )

    def metric_names(self):
        own = ("mutual_information", "total_correlation", "dimension_wise_kl")
        return (*super().metric_names(), *own)

    def scheduled(self):
        return dict(self._weights)

    def set_scheduled(self, name, value):
        if name not in self._weights:
            raise names.unknown_name("setting", name, self._weights)
        self._weights[name] = schedules.resolve(name, value)

    def cost(self, vae, params, z, kl, *, seed):
        information, correlation, each = kl_parts(
            vae.posterior, vae.prior, params, z, self._log_weights(tf.shape(z)[1])
        )
        alpha, beta, gamma = (schedules.at(value, vae) for value in self._weights.values())
        # In the mean α I + β TC + γ Σ KL, because the three sum to the KL.
        cost = gamma * kl + (alpha - gamma) * information + (beta - gamma) * correlation
        return cost, {
            "mutual_information": information,
            "total_correlation": correlation,
            "dimension_wise_kl": each,
        }

    def get_config(self):
        weights = {name: schedules.serialize(value) for name, value in self._weights.items()}
        own = {"dataset_size": self.dataset_size, "estimator": self.estimator}
        return {**super().get_config(), **weights, **own}

    def _log_weights(self, batch):
        """Returns the posteriors' log-weights, `[batch, batch]`: row i for draws of i."""
        size = ops.cast(batch, "float32")
        if self.estimator == "minibatch_weighted":
            return tf.fill([batch, batch], -ops.log(size))
        n = float(self.dataset_size)
        other = ops.log((n - 1.0) / (n * ops.maximum(size - 1.0, 1.0)))
        return tf.linalg.set_diag(tf.fill([batch, batch], other), tf.fill([batch], -ops.log(n)))


def kl_parts(posterior, prior, params, z, log_weights):
    """Estimates the three parts of the KL: I(x; z), TC(z) and Σ_i KL(q(z_i) ‖ p(z_i)), in nats.

    Args:
        posterior: `kvae.posteriors.Posterior` with `marginal_log_prob`.
        prior: `kvae.priors.Prior`, a product over dimensions.
        params: dict. The posterior's parameters, `[batch, ...]`.
        z: tensor `[num_samples, batch, latent_dim]`, drawn from the posteriors.
        log_weights: tensor `[batch, batch]`. What weight, as a logarithm, the posterior j has in
            the density of the aggregate posterior at draws of i.

    Returns:
        Three tensors `[batch]`, averaged over the samples. Their sum is an estimate of the KL
        whatever the weights are.
    """
    joint = posterior.cross_log_prob(params, z)  # [num_samples, batch, batch]
    marginal = posterior.marginal_log_prob(params, z[..., None, :])  # [..., batch, latent_dim]
    log_q = ops.logsumexp(joint + log_weights, axis=-1)
    log_product = ops.sum(ops.logsumexp(marginal + log_weights[..., None], axis=-2), axis=-1)
    parts = (
        tf.linalg.diag_part(joint) - log_q,
        log_q - log_product,
        log_product - prior.log_prob(z),
    )
    return tuple(ops.mean(part, axis=0) for part in parts)
