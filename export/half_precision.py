"""Models whose networks compute in half precision, and copies of them that do not."""

__all__ = ["UNITS", "half_type", "in_float32"]

# The largest relative error of rounding a number to each type of half precision.
UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def half_type(model) -> str | None:
    """Returns the coarsest type of half precision in a model's networks, `None` without any."""
    from kvae.utils import keras_internals

    networks = [model.encoder, model.decoder]
    layers = [layer for network in networks for layer in keras_internals.flat_layers(network)]
    found = {layer.compute_dtype for layer in layers} & set(UNITS)
    return max(found, key=UNITS.get, default=None)


def in_float32(model):
    """Returns a copy of a model with the same weights, whose networks compute in float32."""
    from kvae.utils import keras_internals

    copy = type(model).from_config(model.get_config())
    if not copy.built:
        copy.build((None, *model.event_shape))
    copy.set_weights(model.get_weights())
    for layer in keras_internals.flat_layers(copy):
        layer.dtype_policy = "float32"
    return copy
