"""Gaussian groups of a ladder: what posterior and prior share."""

from keras import ops

from kvae.layers.top_down import TopDown

__all__ = ["mean_and_log_var", "sum_of_group", "top_down_of"]


def mean_and_log_var(outputs, bound: float):
    """Cuts outputs `[n, …, 2 c]` of a network into means and bounded log-variances, in float32."""
    mean, log_var = ops.split(ops.cast(outputs, "float32"), 2, axis=-1)
    return mean, bound * ops.tanh(log_var / bound)


def sum_of_group(values):
    """Sums `[n, *shape]` over all axes but the first."""
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))


def top_down_of(part, vae, networks, above: int = 0) -> TopDown:
    """Returns the decoder of a model, whose groups the networks of a part have to fit.

    Args:
        part: `Part`. Whose networks they are.
        vae: `kvae.VAE`.
        networks: sequence of keras.Model.
        above: int. The number of groups, from the top, that have no network. Defaults to `0`.

    Raises:
        ValueError: for another decoder, and networks that do not fit.
    """
    name, decoder = type(part).__name__, vae.decoder
    if not isinstance(decoder, TopDown):
        raise ValueError(
            f"A {name} reads the states of the decoder, which is a kvae.layers.TopDown, not a "
            f"{type(decoder).__name__}. zoo.build('ladder_vae') makes such a model."
        )
    expected = [(*shape[:-1], 2 * shape[-1]) for shape in decoder.shapes[above:]]
    given = [tuple(network.outputs[0].shape[1:]) for network in networks]
    if given != expected:
        raise ValueError(
            f"The networks of the {name} {part.__module__.split('.')[1].removesuffix('s')} return "
            f"the shapes {given}; means and log-variances of the decoder's groups have {expected}."
        )
    return decoder
