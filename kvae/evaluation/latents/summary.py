"""The information about the data in a model's latent variables."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import divergences, random
from kvae.utils import arguments
from kvae.utils.eager import evaluated_eagerly

__all__ = ["LEAST_KL", "LatentSummary", "active_units", "latent_summary"]

LEAST_KL = 0.1  # The rate in nats below which a posterior counts as collapsed.

# The most numbers that are held at once when every code is compared with every posterior.
_NUMBERS = 2**20
_ACTIVE = 0.01


@dataclasses.dataclass(frozen=True)
class LatentSummary:
    """The information that the latent variables of `num_examples` examples carry, in nats.

    Quantities that a posterior, or its pair with a prior, does not have are `None`. For a
    model of classes everything is conditioned on the label y: variances are those within a class,
    the mutual information is I_q(x; z | y), and the aggregate posterior is that of a class.

    Attributes:
        active_units: int. Dimensions whose `variance_of_means` is over 0.01 (of the prior's
            variance, on the sphere).
        variance_of_means: array `[latent_dim]`. Var_x(E[z_i|x]).
        rate: float. Mean KL(q(z|x) ‖ p(z)), which is `mutual_information + aggregate_kl`.
        kl_per_dimension: array `[latent_dim]`. Terms whose sum is the rate, where both
            distributions are products over dimensions.
        marginal_kl_per_dimension: array `[latent_dim]`. Mean KL(q(z_i|x) ‖ p(z_i)) of each
            coordinate alone, for a Gaussian with correlations: their sum is less than the rate.
        mutual_information: float. I_q(x; z) of these examples.
        mutual_information_error: float. Its standard error over the examples.
        aggregate_kl: float. KL(q(z) ‖ p(z)) of the aggregate posterior, the mean of q(z|x). Under
            a prior with independent dimensions it is `total_correlation` and a sum of KLs of each.
        num_examples: int. The mutual information is at most its logarithm (that of the examples of
            a class).
        total_correlation: float. KL(q(z) ‖ Π q(z_i)), how much the dimensions tell of each other,
            where the coordinates of the posterior have densities of their own.
        misfit: float. What the mean and the variance of each coordinate of z have of
            `aggregate_kl`: the KL from the Gaussian of those of q(z) to that of those of p(z). It
            is at most `aggregate_kl` under a standard normal prior. Unlike it, it can be
            told from few examples.
    """

    active_units: int
    variance_of_means: np.ndarray
    rate: float | None
    kl_per_dimension: np.ndarray | None
    marginal_kl_per_dimension: np.ndarray | None
    mutual_information: float | None
    mutual_information_error: float | None
    aggregate_kl: float | None
    num_examples: int
    total_correlation: float | None = None
    misfit: float | None = None

    @property
    def latent_dim(self) -> int:
        return len(self.variance_of_means)

    def scalars(self, per_dimension: bool = True) -> dict[str, float]:
        """Returns the numbers that are not `None`, by name; dimension i of the KL is `kl_z{i}`."""
        names = ("active_units", "rate", "mutual_information", "aggregate_kl", "total_correlation")
        values = {name: getattr(self, name) for name in names}
        if per_dimension:
            for prefix in ("kl", "marginal_kl"):
                each = getattr(self, f"{prefix}_per_dimension")
                each = () if each is None else each
                values.update({f"{prefix}_z{i}": value for i, value in enumerate(each)})
        return {name: float(value) for name, value in values.items() if value is not None}

    def state(self, min_kl: float = LEAST_KL) -> str:
        """Returns `"healthy"`, `"partly collapsed"`, `"collapsed"` or `"off the prior"`.

        Collapsed is a posterior with a rate below `min_kl` nats, or with less than a twentieth of
        its units active; partly collapsed one with less than half of them. An autoencoder has no
        posterior that could collapse, and is healthy. Off the prior is a posterior whose `misfit`
        is over 1 nat and over half of the rate: draws from the prior are not like its codes then,
        and samples not like the data.
        """
        if self.rate is None:
            return "healthy"
        if self.rate < min_kl or 20 * self.active_units < self.latent_dim or not self.active_units:
            return "collapsed"
        if self.misfit is not None and self.misfit > max(1.0, 0.5 * self.rate):
            return "off the prior"
        return "healthy" if 2 * self.active_units >= self.latent_dim else "partly collapsed"


@evaluated_eagerly
def latent_summary(
    vae: Any,
    data: Any,
    *,
    num_samples: int = 1,
    batch_size: int = 1000,
    seed: int = 0,
    label: ArrayLike | None = None,
) -> LatentSummary:
    """Measures what the latent variables carry of `data`: rate, active units, mutual information.

    The rate R = E_x KL(q(z|x) ‖ p(z)) is what the model pays for z. It is the sum of the mutual
    information I_q(x; z) and of the mismatch KL(q(z) ‖ p(z)) between the aggregate posterior and
    the prior. The mutual information is estimated as the mean over `z ~ q(z|x_i)` of

        log q(z|x_i) − log (1/n Σ_j q(z|x_j)),

    without bias for the distribution over exactly these `n` examples. As an estimate for the
    distribution that they come from it is too low, and it never exceeds log n: where it comes near
    that, read it as "at least". Each of the n codes is compared with all n posteriors, so the cost
    grows with n².

    Args:
        vae: `kvae.VAE`.
        data: array `[n, *event]` or other data that `vae.encode` takes, n at least 2.
        num_samples: int. Codes drawn for each example. Defaults to `1`.
        batch_size: int. Examples encoded at once. Defaults to `1000`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        label: int array `[n]`, for a conditional model alone. Defaults to `None`: the labels of the
            data.

    Returns:
        `LatentSummary`. Of a posterior without a density (`Delta`) it has the active units alone;
        of a flow without an inverse, no mutual information.

    Raises:
        ValueError: for a wrong shape, NaN, a missing or wrong label, or fewer than two examples.

    Example:

    ```python
    summary = kvae.evaluation.latent_summary(vae, kvae.datasets.load("digits", "test"))
    summary.active_units, summary.mutual_information
    ```

    References:
        - [Burda et al., Importance Weighted Autoencoders, section 5](
          https://arxiv.org/abs/1509.00519): active units
        - [Hoffman & Johnson, ELBO surgery](
          http://approximateinference.org/accepted/HoffmanJohnson2016.pdf): the rate's two parts
        - [Poole et al., On Variational Bounds of Mutual Information, section 2.3](
          https://arxiv.org/abs/1905.06922): the estimate, its bias and its bound
    """
    params, label = vae.encode_data(data, label, batch_size)
    given = vae.conditioned_on(label)
    posterior, prior = given.posterior, given.prior
    if vae.conditions is not None:
        label = None  # No two examples have the same ones, and p(z) does not depend on them.
    means = np.asarray(posterior.mean(params), np.float64)
    n, latent_dim = means.shape
    if n < 2:
        raise ValueError("A summary of the latent variables takes at least two examples.")
    num_samples = arguments.whole("num_samples", num_samples)
    # On the unit sphere the prior's variance is 1/latent_dim, not 1.
    threshold = _ACTIVE / latent_dim if posterior.space == "sphere" else _ACTIVE
    found = dict.fromkeys(field.name for field in dataclasses.fields(LatentSummary))
    found |= {
        "active_units": active_units(means, label, threshold=threshold),
        "variance_of_means": _variance_of_means(means, label),
        "num_examples": n,
    }
    if not posterior.has_density:
        return LatentSummary(**found)

    z, log_q = posterior.sample_and_log_prob(params, num_samples, seed=random.as_seed(seed))
    closed_form = divergences.closed_form_kl(posterior, prior)
    rate = (
        closed_form(params) if closed_form is not None else log_q - prior.precomputed().log_prob(z)
    )
    found["rate"] = float(np.mean(rate, dtype=np.float64))
    if posterior.space == "real":
        drawn = np.asarray(prior.sample(n, random.fold_in(random.as_seed(seed), 1)), np.float64)
        known = (0.0, 1.0) if prior.standard_normal else (drawn.mean(axis=0), drawn.var(axis=0))
        found["misfit"] = _misfit(np.asarray(z, np.float64).reshape(-1, latent_dim), *known)
    each = divergences.kl_per_dimension(posterior, prior)
    marginal = divergences.marginal_kl_per_dimension(posterior, prior)
    if each is not None:
        found["kl_per_dimension"] = np.mean(each(params), axis=0, dtype=np.float64)
    elif marginal is not None:
        found["marginal_kl_per_dimension"] = np.mean(marginal(params), axis=0, dtype=np.float64)
    if posterior.tractable:
        log_aggregate, log_product = _log_aggregate(posterior, params, z, label)
        log_ratio = np.asarray(log_q, np.float64) - log_aggregate
        found["mutual_information"] = float(np.mean(log_ratio))
        spread = np.std(np.mean(log_ratio, axis=0), ddof=1)
        found["mutual_information_error"] = float(spread / math.sqrt(n))
        found["aggregate_kl"] = found["rate"] - found["mutual_information"]
        if log_product is not None:
            found["total_correlation"] = float(np.mean(log_aggregate - log_product))
    return LatentSummary(**found)


def active_units(
    means: ArrayLike, label: ArrayLike | None = None, *, threshold: float = _ACTIVE
) -> int:
    """Counts the dimensions of z in which the posterior's mean varies over the data.

    Args:
        means: array `[n, latent_dim]`. E[z|x] of each example.
        label: int array `[n]`. Counts what varies within a class. Defaults to `None`: no classes.
        threshold: float. A dimension is active when its variance is larger. Defaults to `0.01`.

    Example:

    ```python
    kvae.evaluation.active_units(vae.posterior.mean(vae.encode(x)))
    ```

    Reference:
        - [Burda et al., Importance Weighted Autoencoders, section 5.2](
          https://arxiv.org/abs/1509.00519)
    """
    return int(np.sum(_variance_of_means(means, label) > threshold))


def _misfit(z, mean, variance) -> float:
    """Returns the KL from the Gaussian of the moments of codes `[n, latent_dim]` to another one."""
    own = np.maximum(z.var(axis=0), 1e-12)
    ratio = own / np.maximum(variance, 1e-12)
    shift = np.square(z.mean(axis=0) - mean) / np.maximum(variance, 1e-12)
    return float(np.sum(0.5 * (ratio + shift - 1.0 - np.log(ratio))))


def _variance_of_means(means, label) -> np.ndarray:
    """Returns the variance of the means `[latent_dim]`, within the classes if there are any."""
    means = np.asarray(means, np.float64)
    group, counts = _groups(label, len(means))
    centres = np.zeros((len(counts), means.shape[1]))
    np.add.at(centres, group, means)
    centres /= counts[:, None]
    return np.mean(np.square(means - centres[group]), axis=0)


def _groups(label, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns each example's class, numbered among those that occur, and the classes' sizes."""
    labels = np.zeros(n, int) if label is None else np.asarray(label)
    _, group, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return group, counts


def _log_aggregate(posterior, params, z, label) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns log of the mean of q(z|x_j) over the examples j of the class that `z` is of.

    The second result is the logarithm of the product of its marginals, or `None` when they are not
    known.

    Args:
        z: tensor `[num_samples, n, latent_dim]`.
        label: int array `[n]`, or `None` for a single class.

    Returns:
        Two arrays `[num_samples, n]`.
    """
    num_samples, n, latent_dim = z.shape
    group, counts = _groups(label, n)
    rows = tf.reshape(z, (-1, latent_dim))
    chunk = max(1, _NUMBERS // (n * latent_dim))
    values, products = [], []
    for start in range(0, len(rows), chunk):
        some = rows[start : start + chunk]
        own = group[np.arange(start, start + len(some)) % n]
        same = own[:, None] == group
        cross = posterior.cross_log_prob(params, some)
        values.append(tf.reduce_logsumexp(tf.where(same, cross, -math.inf), axis=1))
        if posterior.marginal_log_prob is not None:
            each = posterior.marginal_log_prob(params, some[:, None, :])
            each = tf.where(same[..., None], each, -math.inf)
            products.append(tf.reduce_sum(tf.reduce_logsumexp(each, axis=1), axis=1))
    log_count = np.log(counts)[group]

    def mean(values, count):
        return tf.concat(values, axis=0).numpy().reshape(num_samples, n) - count

    return mean(values, log_count), mean(products, latent_dim * log_count) if products else None
