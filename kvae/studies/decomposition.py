"""What the KL is made of: mutual information, and the KL of the aggregate posterior."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from kvae import divergences, random
from kvae.evaluation import active_units

__all__ = ["decompose", "gaussian_kl"]


def gaussian_kl(mean: np.ndarray, covariance: np.ndarray) -> float:
    """Returns KL(N(mean, covariance) ‖ N(0, I)) in nats: `mean` `[d]`, `covariance` `[d, d]`."""
    log_det = np.linalg.slogdet(covariance)[1]
    return float(0.5 * (np.trace(covariance) + mean @ mean - len(mean) - log_det))


def decompose(vae: Any, x: Any, codes: int, seed: int) -> dict[str, float]:
    """Splits the mean KL of the images `x` into mutual information and the KL of their aggregate.

    The aggregate is the mean of the posteriors of all n images, so the figures are those of exactly
    these images: without bias, and with a mutual information of at most log n. For the
    distribution that they come from, the mutual information is at least, the aggregate's KL at most
    what is found.

    Args:
        vae: `kvae.VAE` with a diagonal Gaussian posterior and a standard normal prior.
        x: array `[n, *event]`.
        codes: int. One code is drawn for each of the first `codes` images.
        seed: int.

    Returns:
        dict of floats, in nats: `rate`, `mutual_information`, its `error`, `aggregate_kl`, and
        `moments_kl`, that of a Gaussian with the aggregate's moments, in closed form, which is at
        most as large. Also the number of `active` dimensions and the mean `sigma`.
    """
    params = vae.encode(x)
    rate = np.asarray(divergences.closed_form_kl(vae.posterior, vae.prior)(params), np.float64)
    some = {name: value[:codes] for name, value in params.items()}
    z, log_q = vae.posterior.sample_and_log_prob(some, seed=random.as_seed(seed))
    rows = max(1, 2**22 // len(x))
    aggregate = [
        tf.reduce_logsumexp(vae.posterior.cross_log_prob(params, z[k : k + rows]), axis=1)
        for k in range(0, len(z), rows)
    ]
    ratio = np.float64(log_q) - np.float64(tf.concat(aggregate, axis=0)) + math.log(len(x))
    means, variances = np.float64(params["z_mean"]), np.exp(np.float64(params["z_log_var"]))
    matched = np.cov(means, rowvar=False, ddof=0) + np.diag(variances.mean(axis=0))
    return {
        "rate": float(rate.mean()),
        "mutual_information": float(ratio.mean()),
        "error": float(ratio.std(ddof=1) / math.sqrt(len(ratio))),
        "aggregate_kl": float(rate.mean() - ratio.mean()),
        "moments_kl": gaussian_kl(means.mean(axis=0), matched),
        "active": active_units(means),
        "sigma": float(np.sqrt(variances).mean()),
    }
