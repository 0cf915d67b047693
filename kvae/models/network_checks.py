"""Checks of the networks that users give: what they are, and what they end in."""

import keras
import tensorflow as tf

from kvae.utils import callers

__all__ = ["check_ending", "check_kind", "check_latents"]

# Layers and operations of TensorFlow that pass on what comes in, or rearrange it.
_PASSING = (
    "reshape flatten permute transpose cropping1d cropping2d cropping3d dropout identity "
    "spatialdropout1d spatialdropout2d spatialdropout3d gaussiandropout inputlayer "
    "activityregularization cast stopgradient squeeze expanddims stridedslice slice"
).split()
# Outputs between 0 and 1: whoever ends in these has probabilities in mind ...
_PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax", "sparsemax")
# ... and these bound the outputs too.
_BOUNDED = (
    "relu relu6 tanh softplus exp exponential elu selu celu softsign hard_tanh squareplus gelu "
    "silu swish mish hard_silu"
).split()


def check_kind(name: str, network) -> None:
    """Raises `TypeError` for what is no Keras layer or model, with a word that says what to give.

    Args:
        name: str. `"encoder"` or `"decoder"`.
        network: anything. What the user has given.
    """
    if isinstance(network, keras.Layer):
        return
    bases = {base.__module__.split(".")[0] for base in type(network).__mro__}
    if isinstance(network, type):
        found, advice = (
            f"the class {network.__name__}",
            f"make a network of it, {network.__name__}()",
        )
    elif isinstance(network, (list, tuple)):
        found, advice = f"a {type(network).__name__}", "join its layers, keras.Sequential(layers)"
    elif "tf_keras" in bases or type(network).__module__.startswith("tensorflow.python.keras"):
        found = f"a {type(network).__name__} of tf_keras (Keras 2)"
        advice = "make it with Keras 3, `import keras`"
    elif "torch" in bases:
        found = f"a {type(network).__name__} of torch"
        advice = "make it with Keras 3, `import keras`"
    elif isinstance(network, str):
        found, advice = f"the name {network!r}", "load the network, keras.models.load_model(path)"
    elif callable(network):
        found = f"a function, {getattr(network, '__name__', type(network).__name__)}"
        advice = "make a network of it: a keras.Model, or a keras.Layer with a `call`"
    else:
        found = repr(network)[:60]
        advice = "give one, e.g. keras.Sequential([keras.Input(shape), keras.layers.Dense(64)])"
    if network is None:
        advice += f", or `{name}s` by name for several modalities"
    raise TypeError(f"`{name}` is a keras.Model, not {found}: {advice}.")


def check_latents(decoder, latent_shape: tuple[int, ...]) -> None:
    """Refuses a decoder whose `keras.Input` is of another shape than z.

    A size of `None` is any.

    Raises:
        ValueError: with both shapes.
    """
    declared = getattr(decoder, "inputs", None)
    if not declared:
        return
    shape = tuple(declared[0].shape[1:])
    fits = len(shape) == len(latent_shape)
    if fits and all(a in (None, b) for a, b in zip(shape, latent_shape, strict=True)):
        return
    given = f"latent_shape={latent_shape}"
    if len(latent_shape) == 1:
        given = f"latent_dim={latent_shape[0]}"
    raise ValueError(
        f"The decoder takes inputs of shape {tuple(declared[0].shape)}; with {given} it is "
        f"{(None, *latent_shape)}."
    )


def check_ending(decoder, likelihood, inputs) -> None:
    """Refuses a decoder that ends in an activation which its likelihood applies itself.

    Args:
        decoder: `keras.Layer`, built.
        likelihood: `kvae.likelihoods.Likelihood`. Its `decoder_outputs` are checked.
        inputs: `keras.KerasTensor`, or a list of them. What the decoder is called on.

    Raises:
        ValueError: for an activation that makes probabilities.

    Warns:
        UserWarning: for another one that bounds the outputs.
    """
    if likelihood.decoder_outputs is None:
        return
    found = _ending(decoder, inputs)
    if found not in (*_PROBABILITIES, *_BOUNDED):
        return
    kind = type(likelihood).__name__
    message = (
        f"The decoder ends in the activation {found!r}, and {kind} takes "
        f"{likelihood.decoder_outputs}, which may be any numbers: leave out the activation of its "
        "last layer."
    )
    if found in _PROBABILITIES:
        raise ValueError(f"{message} `decode` and `sample` still return values of x.")
    callers.warn(message)


def _ending(network, inputs) -> str | None:
    """Returns the name of the operation that makes a network's outputs, where it is known."""
    if isinstance(network, keras.Sequential):
        steps = network.layers
    elif hasattr(network, "operations"):  # Those of a functional model begin at its inputs.
        steps = network.operations
    elif isinstance(network, keras.Model):
        return _traced_ending(network, inputs)
    else:
        return _activation(network)
    for step in reversed(steps):
        if _plain(type(step).__name__) in _PASSING:
            continue
        if isinstance(step, keras.Model):
            return _ending(step, step.inputs) if step.built else None
        return _activation(step)
    return None


def _activation(step) -> str | None:
    """Returns the name of a layer's activation, or of the operation that it is."""
    step = getattr(step, "layer", step)  # That which a wrapper applies.
    activation = getattr(step, "activation", None)
    if activation is None:
        return _plain(type(step).__name__)
    return getattr(activation, "__name__", type(activation).__name__)


def _traced_ending(network, inputs) -> str | None:
    """Returns the operation of TensorFlow that makes the outputs, for networks of other kinds."""
    specs = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), inputs)
    graph = tf.function(network, autograph=False).get_concrete_function(specs).graph
    operation = graph.outputs[0].op
    while _plain(operation.type) in _PASSING:
        operation = operation.inputs[0].op
    return _plain(operation.type)


def _plain(name: str) -> str:
    return name.lower()
