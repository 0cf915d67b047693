"""The reparameterisation of a Gaussian, as a function and as a layer."""

import keras
import tensorflow as tf
from keras import ops

from kvae import random

__all__ = ["Sampling", "reparameterize"]


def reparameterize(z_mean, z_log_var, epsilon):
    """Computes `z = z_mean + exp(0.5 * z_log_var) * epsilon` (all broadcast)."""
    return z_mean + ops.exp(0.5 * z_log_var) * epsilon


@keras.saving.register_keras_serializable(package="kvae")
class Sampling(keras.layers.Layer):
    """Draws `z ~ N(z_mean, exp(z_log_var))` by the reparameterisation trick.

    `z = z_mean + exp(0.5 * z_log_var) * epsilon` with `epsilon ~ N(0, I)`: the noise does not
    depend on the parameters, so gradients flow through both of them. The draw is needed because the
    ELBO is an expectation over `z`, and `E[f(z)]` is not `f(E[z])`.

    The layer computes in float32 and returns its compute dtype. The state of its generator is saved
    with the weights, so that a reloaded layer continues its stream.

    Args:
        num_samples: int or `None`. With an integer the output has a leading axis of that many
            samples. Defaults to `None`.
        seed: int. Starts the layer's own `keras.random.SeedGenerator`; the same seed gives the
            same bits, with and without XLA. Defaults to `0`.

    Call arguments:
        inputs: pair `(z_mean, z_log_var)` of tensors of shape `[batch, ..., latent_dim]`.
        seed: optional int, `SeedGenerator` or int32 tensor `[2]`, used for this call instead of
            the layer's own generator.

    Returns:
        Tensor of the shape of `z_mean`, or `[num_samples, *z_mean.shape]`.

    Example:

    ```python
    z = kvae.Sampling(seed=1)([np.zeros((3, 2)), np.zeros((3, 2))])  # shape (3, 2)
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, section 2.4](
          https://arxiv.org/abs/1312.6114)
    """

    def __init__(self, num_samples: int | None = None, seed: int = 0, **kwargs):
        # A cast by Keras under mixed precision would lose half the bits of the parameters.
        super().__init__(autocast=False, **kwargs)
        if num_samples is not None and num_samples < 1:
            raise ValueError(f"`num_samples` is None or at least 1, not {num_samples}.")
        self.num_samples = num_samples
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs, seed=None):
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ValueError("Sampling is called on a pair (z_mean, z_log_var).")
        z_mean, z_log_var = (ops.cast(ops.convert_to_tensor(value), "float32") for value in inputs)
        if z_mean.shape[1:] != z_log_var.shape[1:]:
            raise ValueError(
                "z_mean and z_log_var have the same shape in Sampling, not "
                f"{tuple(z_mean.shape)} and {tuple(z_log_var.shape)}."
            )
        shape = tf.shape(z_mean)
        if self.num_samples is not None:
            shape = tf.concat([[self.num_samples], shape], axis=0)
        epsilon = random.normal(shape, self.seed_generator if seed is None else seed)
        return ops.cast(reparameterize(z_mean, z_log_var, epsilon), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape[0])
        return shape if self.num_samples is None else (self.num_samples, *shape)

    def compute_output_spec(self, inputs, seed=None):
        shape = self.compute_output_shape([value.shape for value in inputs])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def save_own_variables(self, store):
        store["seed_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        return {**super().get_config(), "num_samples": self.num_samples, "seed": self.seed}
