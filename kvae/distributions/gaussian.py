"""Densities of diagonal Gaussians and of their mixtures, and the choice of a component."""

import math

import tensorflow as tf
from keras import ops

__all__ = [
    "component_at",
    "draw_from_mixture",
    "gaussian_kl",
    "gaussian_log_density",
    "gaussian_log_prob",
    "mixture_log_prob",
    "pick_component",
    "standard_log_density",
]


def standard_log_density(z):
    """Computes log N(z; 0, 1) in nats, elementwise."""
    return -0.5 * (ops.square(z) + math.log(2 * math.pi))


def gaussian_log_density(mean, log_var, z):
    """Computes log N(z; mean, exp(log_var)) in nats, elementwise; all broadcast."""
    squared = ops.square(z - mean) * ops.exp(-log_var)
    return -0.5 * (squared + log_var + math.log(2 * math.pi))


def gaussian_log_prob(mean, log_var, z):
    """Computes log N(z; mean, diag(exp(log_var))) in nats, over the last axis; all broadcast."""
    return ops.sum(gaussian_log_density(mean, log_var, z), axis=-1)


def component_at(logits, place):
    """Finds the component in whose share of the unit interval a number lies.

    Args:
        logits: tensor `[..., K]`. Logarithms of the weights, up to a constant.
        place: tensor `[..., 1]` in [0, 1), whose precision is that of the results.

    Returns:
        Pair of tensors `[..., K]`: the component one-hot, and the weights.
    """
    weights = tf.nn.softmax(tf.cast(logits, place.dtype))
    last = logits.shape[-1] - 1  # Rounding may leave the last boundary below 1.
    passed = tf.reduce_sum(tf.cast(place >= tf.cumsum(weights, axis=-1), tf.int32), axis=-1)
    return tf.one_hot(tf.minimum(passed, last), last + 1, dtype=place.dtype), weights


def pick_component(logits, noise):
    """Draws a component, and leaves as much Gaussian noise as there was.

    The first coordinate e of the noise does both. Φ(e) is uniform; the interval of the cumulative
    weights that it falls into names the component, and its place within that interval is uniform
    again and independent of the component, so Φ⁻¹ makes fresh Gaussian noise out of it. In double
    precision, of which the component takes a few bits. Both results are constants to gradients.

    Args:
        logits: tensor `[..., K]`. Logarithms of the weights, up to a constant.
        noise: tensor `[..., latent_dim]` from N(0, I); its leading axes broadcast with `logits`'.

    Returns:
        Pair: the component one-hot, float32 `[..., K]`, and noise from N(0, I), of the shape of
        `noise`.
    """
    first = tf.cast(tf.stop_gradient(noise[..., :1]), tf.float64)
    place = 0.5 * tf.math.erfc(-first / math.sqrt(2.0))
    chosen, weights = component_at(tf.stop_gradient(logits), place)
    width = tf.reduce_sum(chosen * weights, axis=-1, keepdims=True)
    upper = tf.cumsum(weights, axis=-1)
    below = tf.reduce_sum(chosen * (upper - weights), axis=-1, keepdims=True)
    rest = tf.clip_by_value((place - below) / width, 1e-12, 1 - 1e-12)
    fresh = tf.cast(tf.math.ndtri(rest), noise.dtype)
    return tf.cast(chosen, tf.float32), tf.concat([fresh, noise[..., 1:]], axis=-1)


def draw_from_mixture(logits, means, log_vars, noise):
    """Draws from a mixture of Gaussians, as a function of the component that was drawn alone.

    Gradients reach the means and log-variances of that component. Those of an expectation under the
    mixture are these where the weights are constants; else the weights' own are lacking.

    Args:
        logits: tensor `[..., K]`. Logarithms of the weights, up to a constant.
        means, log_vars: tensors `[..., K, latent_dim]`.
        noise: tensor `[..., latent_dim]` from N(0, I); its leading axes broadcast with `logits`'.

    Returns:
        Pair: the component one-hot, float32 `[..., K]`, and the draws, of the shape of `noise`.
    """
    chosen, noise = pick_component(logits, tf.convert_to_tensor(noise))
    mean = tf.einsum("...k,...kd->...d", chosen, means)
    scale = tf.einsum("...k,...kd->...d", chosen, ops.exp(0.5 * log_vars))
    return chosen, mean + scale * noise


def gaussian_kl(mean, log_var, other_mean, other_log_var):
    """Computes KL(N(mean, exp(log_var)) ‖ N(other_mean, exp(other_log_var))) in nats, elementwise.

    All broadcast.
    """
    squared = ops.square(mean - other_mean) * ops.exp(-other_log_var)
    log_ratio = log_var - other_log_var
    return 0.5 * (ops.exp(log_ratio) + squared - 1.0 - log_ratio)


def mixture_log_prob(logits, means, log_vars, z):
    """Computes log Σ_k w_k N(z; mean_k, diag(exp(log_var_k))) in nats.

    Args:
        logits: tensor `[..., K]`.
        means: tensor `[..., K, latent_dim]`.
        log_vars: tensor `[..., K, latent_dim]`.
        z: tensor `[..., latent_dim]`; the leading axes broadcast.

    Returns:
        Tensor `[...]`.
    """
    each = gaussian_log_prob(means, log_vars, z[..., None, :])
    return ops.logsumexp(ops.log_softmax(logits, axis=-1) + each, axis=-1)
