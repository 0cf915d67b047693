"""KL divergences that TensorFlow Probability knows, for pairs with one of its distributions."""

import contextlib
from collections.abc import Callable

import tensorflow as tf
from keras import ops

from kvae import posteriors, priors
from kvae.distributions import tfp_draws

__all__ = ["kl_of_tfp"]


def kl_of_tfp(posterior, prior) -> tuple[Callable | None, bool]:
    """Returns a function from (posterior, params, prior) to a KL in nats, as TFP computes it.

    It is the one registered by `tfd.RegisterKL`. Distributions whose dimensions are independent are
    compared dimension by dimension, whatever class of TFP says so.

    Returns:
        Pair: the function or `None`, and whether it returns one KL for each latent dimension.
    """
    if not isinstance(posterior, posteriors.Distribution) and not isinstance(
        prior, priors.Distribution
    ):
        return None, False
    from tensorflow_probability import distributions as tfd

    for pair, function, per_dimension in (
        (_factors, _of_factors, True),
        (_vectors, _of_vectors, False),
    ):
        try:
            # The prior of a batch's labels holds tensors of the graph that is being made.
            with contextlib.nullcontext() if prior.conditional else tf.init_scope():
                tfd.kl_divergence(*pair(posterior, _example(posterior), prior))
        except NotImplementedError:
            continue
        return function, per_dimension
    return None, False


def _example(posterior) -> dict:
    shapes = posterior.parameter_shapes().items()
    return posterior.constrain({name: tf.zeros([1, *shape]) for name, shape in shapes})


def _factors(posterior, params, prior) -> tuple:
    q = tfp_draws.factors(posterior.distribution(params))
    p = tfp_draws.factors(prior.distribution())
    if q is None or p is None:
        raise NotImplementedError("The dimensions depend on each other.")
    return q, p


def _vectors(posterior, params, prior) -> tuple:
    return posterior.distribution(params), prior.distribution()


def _of_factors(posterior, params, prior):
    from tensorflow_probability import distributions as tfd

    rows = ops.shape(next(iter(params.values())))[0]
    kl = tfd.kl_divergence(*_factors(posterior, params, prior))
    return ops.broadcast_to(kl, (rows, posterior.latent_dim))


def _of_vectors(posterior, params, prior):
    from tensorflow_probability import distributions as tfd

    return tfd.kl_divergence(*_vectors(posterior, params, prior))
