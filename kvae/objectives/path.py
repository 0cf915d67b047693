"""Gradients that reach the posterior's parameters through `z` alone."""

import tensorflow as tf

__all__ = ["check", "sample_and_log_prob"]


def check(posterior) -> None:
    """Refuses a posterior whose log q cannot be taken with its parameters held still.

    Raises:
        ValueError: for one without a density, with a discrete z, or whose density has weights of
            its own.
    """
    name = type(posterior).__name__
    remedy = "Use gradient='reparameterization'."
    if not posterior.has_density:
        raise ValueError(
            f"A {name} posterior has no density, and the path gradient is one of log q. {remedy}"
        )
    if posterior.discrete:
        raise ValueError(
            f"The path gradient leads through z, and that of a {name} posterior is discrete. "
            f"{remedy}"
        )
    if not posterior.fully_amortized:
        raise ValueError(
            f"The path gradient holds the parameters of log q still, and that of a {name} depends "
            f"on weights of its own, or is known only together with its draws. {remedy}"
        )


def sample_and_log_prob(posterior, params, num_samples, *, seed, training):
    """Draws `z`, and log q(z|x) with the parameters held still: it depends on them through `z`."""
    z = posterior.sample(params, num_samples, seed=seed, training=training)
    return z, posterior.log_prob(tf.nest.map_structure(tf.stop_gradient, params), z)
