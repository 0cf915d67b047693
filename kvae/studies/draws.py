"""What draws of z do to a decoder's log-likelihood and to the gradient."""

from typing import Any

import numpy as np
import tensorflow as tf

from kvae import objectives, random

__all__ = ["expectation_gap", "gradient_noise", "second_order_gap"]


def expectation_gap(
    vae: Any, params: dict[str, Any], x: Any, num_samples: int, seed: int
) -> np.ndarray:
    """Returns E_q[log p(x|z)] − log p(x|E[z]) in nats, `[batch]`, by Monte Carlo.

    Args:
        vae: `kvae.VAE`.
        params: dict. The posterior's parameters of `x`.
        x: tensor `[batch, *event]`.
        num_samples: int.
        seed: int. The seed of the draws.
    """
    at_mean = vae.likelihood.log_prob(vae.decode_params(vae.posterior.mean(params)), x)
    z = vae.posterior.sample(params, num_samples, seed=seed)
    drawn = vae.likelihood.log_prob(vae.decode_params(z), x)
    return np.asarray(tf.reduce_mean(drawn, axis=0) - at_mean)


def second_order_gap(vae: Any, params: dict[str, Any], x: Any) -> np.ndarray:
    """Returns `½ Σ_i σ_i² ∂² log p(x|z) / ∂z_i²` at the posterior's mean, in nats, `[batch]`.

    The second-order term of the Taylor series of E[f(z)] − f(E[z]) for a `DiagonalGaussian`; the
    first-order one is zero. The diagonal of the Hessian comes from one forward-over-reverse pass
    for each dimension.
    """
    z = tf.convert_to_tensor(params["z_mean"])
    variance = tf.exp(params["z_log_var"])
    total = tf.zeros(tf.shape(z)[0])
    for dim in range(vae.latent_dim):
        tangent = tf.one_hot(tf.fill([tf.shape(z)[0]], dim), vae.latent_dim)
        with tf.autodiff.ForwardAccumulator(z, tangent) as forward:
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = vae.likelihood.log_prob(vae.decode_params(z), x)
            gradient = tape.gradient(value, z)
        curvature = forward.jvp(gradient)[:, dim]
        total += 0.5 * variance[:, dim] * curvature
    return total.numpy()


def gradient_noise(
    vae: Any, objective: objectives.Objective, x: Any, repeats: int, seed: int
) -> float:
    """Returns the variance of the encoder's gradient, summed over its weights.

    Args:
        vae: `kvae.VAE`.
        objective: `kvae.objectives.Objective`.
        x: tensor `[batch, *event]`, the same in each repetition; the noise differs.
        repeats: int.
        seed: int. The seed of the draws.
    """
    variables = vae.encoder.trainable_variables + vae.posterior.trainable_variables
    # The tape watches plain variables: those of Keras are read as their values under it.
    variables = [variable.value for variable in variables]

    @tf.function
    def gradient(seed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective.terms(vae, x, x, training=False, seed=seed)["loss"])
        return tf.concat(
            [tf.reshape(value, (-1,)) for value in tape.gradient(loss, variables)], axis=0
        )

    mean, squares = 0.0, 0.0
    for repeat in range(repeats):
        value = np.float64(gradient(random.fold_in(seed, repeat)))
        mean, squares = mean + value / repeats, squares + value**2 / repeats
    return float(np.sum(squares - mean**2) * repeats / (repeats - 1))
