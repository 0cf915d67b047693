"""Training in half precision: which policies train, and the scale of the loss that they need."""

import keras

from kvae.utils import keras_internals

__all__ = ["check_weights", "scaled"]


def check_weights(vae) -> None:
    """Refuses to train weights that are themselves kept in float16.

    Raises:
        ValueError: with what to use in place of it.
    """
    for layer in _layers(vae):
        if layer.trainable and layer.variable_dtype == "float16":
            raise ValueError(
                f"The weights of {layer.name} are float16, in which updates vanish and losses end "
                "in NaN. Make the networks under the policy 'mixed_float16', e.g. "
                "keras.config.set_dtype_policy('mixed_float16'): it computes in float16 and keeps "
                "weights in float32."
            )


def scaled(vae, optimizer):
    """Returns an optimizer that scales the loss where a layer computes in float16.

    Keras does it for a model under the policy `mixed_float16`, and not for one whose layers alone
    have it.

    Args:
        vae: `kvae.VAE`.
        optimizer: str, dict or `keras.optimizers.Optimizer`.
    """
    optimizer = keras.optimizers.get(optimizer)
    if (
        isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        or vae.dtype_policy.name == "mixed_float16"
        or not any(layer.compute_dtype == "float16" for layer in _layers(vae))
    ):
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")


def _layers(vae) -> list:
    return keras_internals.flat_layers(vae, include_self=False)
