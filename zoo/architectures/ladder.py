"""Top-down ladders of residual blocks, with groups of latents on grids."""

import keras
from keras import layers

import kvae
from zoo.arguments import Count, EventShape, Filters
from zoo.networks import CHANNELS_LAST, assemble, check_image, grid, seen_shape
from zoo.recipes import Finish, config, recipe
from zoo.registry import architecture
from zoo.residual import convolution, residual_blocks

__all__ = ["ladder_vae"]

_LADDER = "Sønderby et al. 2016, Ladder Variational Autoencoders, https://arxiv.org/abs/1602.02282"
_STRIDED = {"strides": 2, "padding": "same", **CHANNELS_LAST}
_KERNEL = 4  # A multiple of the stride, so that transposed convolutions leave no checkerboard.
_NEAR_PRIOR = 0.1  # The share of the usual variance that a head begins with.


def _levels(event_shape, filters, latents, groups) -> list[int]:
    """Returns for each group of latents, from the top down, the number of its grid.

    Raises:
        ValueError: for an event that is no image, and for sequences of different lengths.
    """
    check_image(event_shape, filters)
    if not len(filters) == len(latents) == len(groups):
        raise ValueError(
            "`filters`, `latents` and `groups` have an entry for each grid, the finest first, not "
            f"{len(filters)}, {len(latents)} and {len(groups)} entries."
        )
    if sum(groups) < 2:
        raise ValueError("A ladder has at least two groups of latents: give more `groups`.")
    return [level for level in reversed(range(len(groups))) for _ in range(groups[level])]


def _head(x, width: int, name: str, normalization: str):
    """Returns means and log-variances, `2 width` channels, of a grid."""
    channels = x.shape[-1]
    x = layers.Activation("silu", name=f"{name}_silu")(x)
    x = convolution(channels, 3, f"{name}_conv", normalization)(x)
    x = layers.Activation("silu", name=f"{name}_silu_out")(x)
    return convolution(2 * width, 1, f"{name}_out", "none", _NEAR_PRIOR)(x)


def _shape(event_shape, filters, level: int) -> tuple[int, int, int]:
    """Returns rows, columns and channels of a grid; the number 0 is that of the finest."""
    return (*grid(event_shape, filters[: level + 1]), filters[level])


def _posterior(event_shape, filters, latents, groups, normalization):
    networks = []
    for index, level in enumerate(_levels(event_shape, filters, latents, groups)):
        shape = _shape(event_shape, filters, level)
        features = keras.Input(shape, name="features")
        inputs, x = features, convolution(shape[-1], 1, "of_features", normalization)(features)
        if index:
            state = keras.Input(shape, name="state")
            inputs, x = [features, state], layers.Add(name="joined")([x, state])
        outputs = _head(x, latents[level], "head", normalization)
        networks.append(keras.Model(inputs, outputs, name=f"posterior_{index}"))
    return kvae.posteriors.Ladder(networks, name="posterior")


def _prior(event_shape, filters, latents, groups, normalization):
    networks = []
    for index, level in enumerate(_levels(event_shape, filters, latents, groups)):
        if index:
            state = keras.Input(_shape(event_shape, filters, level), name="state")
            outputs = _head(state, latents[level], "head", normalization)
            networks.append(keras.Model(state, outputs, name=f"prior_{index}"))
    return kvae.priors.Ladder(networks, name="prior")


def _up(x, rows: int, columns: int, filters: int, name: str):
    """Doubles a grid, and crops it to a size."""
    x = layers.Activation("silu", name=f"{name}_silu")(x)
    x = layers.Conv2DTranspose(filters, _KERNEL, name=name, **_STRIDED)(x)
    extra = x.shape[1] - rows, x.shape[2] - columns
    if any(extra):
        sides = [(n // 2, n - n // 2) for n in extra]
        x = layers.Cropping2D(sides, name=f"{name}_crop", **CHANNELS_LAST)(x)
    return x


def _encoder(event_shape, filters, groups, depth, blocks) -> keras.Model:
    inputs = keras.Input(event_shape, name="image")
    x, found = inputs, []
    for level, width in enumerate(filters):
        if level:
            x = layers.Activation("silu", name=f"down_{level}_silu")(x)
        x = layers.Conv2D(width, _KERNEL, name=f"down_{level}", **_STRIDED)(x)
        for number in range(groups[level]):
            x = residual_blocks(x, depth, f"up_{level}_{number}", *blocks)
            found.append(x)
    outputs = {f"features_{index}": x for index, x in enumerate(reversed(found))}
    return keras.Model(inputs, outputs, name="encoder")


def _decoder(event_shape, filters, latents, levels, depth, blocks, output_shape):
    networks = []
    for index, level in enumerate(levels):
        *place, channels = _shape(event_shape, filters, level)
        z = keras.Input((*place, latents[level]), name="z")
        inputs, x = z, convolution(channels, 1, "of_latents", blocks[0])(z)
        if index:
            state = keras.Input((*place, channels), name="state")
            inputs, x = [state, z], layers.Add(name="joined")([x, state])
        x = residual_blocks(x, depth, "block", *blocks)
        if index == len(levels) - 1:
            x = _up(x, *output_shape, "outputs")
        elif levels[index + 1] != level:
            x = _up(x, *_shape(event_shape, filters, level - 1), "up")
        networks.append(keras.Model(inputs, x, name=f"down_{index}"))
    return kvae.layers.TopDown(networks, name="decoder")


@architecture(
    posterior=_posterior,
    prior=_prior,
    conditional=False,
    small={
        "event_shape": (8, 8, 1),
        "filters": (4, 4, 4),
        "latents": (1, 1, 2),
        "groups": (1, 1, 1),
    },
)
def ladder_vae(
    event_shape: EventShape = (28, 28, 1),
    filters: Filters = (32, 48, 64),
    latents: Filters = (2, 4, 8),
    groups: Filters = (1, 2, 2),
    depth: Count = 1,
    normalization: str = "weight",
    squeeze_excite: bool = False,
    **parts,
) -> kvae.VAE:
    """A top-down ladder: groups of latents on grids of several sizes, joined by residual blocks.

    The encoder goes up from the image to the smallest grid. From there a path goes down, on which
    each group is drawn, given the groups above it and the encoder's features of its grid.
    Posterior, prior and decoder share the path. It takes no labels.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(28, 28, 1)`.
        filters: sequence of int. Channels of each grid, the finest first, each half as large as the
            one before; the finest is half as large as the image. Defaults to `(32, 48, 64)`: grids
            of 14 × 14, 7 × 7 and 4 × 4.
        latents: sequence of int. Channels of a group of latents on each grid. Defaults to
            `(2, 4, 8)`.
        groups: sequence of int. Groups of latents on each grid. Defaults to `(1, 2, 2)`.
        depth: int. Residual blocks before each group on the way up, and after it on the way down.
            Defaults to `1`.
        normalization: str. `"weight"`, `"group"` or `"none"`; see `zoo.residual`. Defaults to
            `"weight"`.
        squeeze_excite: bool. Whether the blocks weigh their channels by what they see of the whole
            grid. Defaults to `False`.
        **parts: further arguments of `kvae.VAE`. With a `posterior` of another kind the encoder
            returns the features of the smallest grid alone.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides; and for
            sequences of different lengths.

    References:
        - [Sønderby et al., Ladder Variational Autoencoders](https://arxiv.org/abs/1602.02282)
        - [Vahdat & Kautz, NVAE: A Deep Hierarchical Variational Autoencoder](
          https://arxiv.org/abs/2007.03898)
    """
    levels = _levels(event_shape, filters, latents, groups)
    blocks = normalization, squeeze_excite
    encoder = _encoder(seen_shape(event_shape, parts), filters, groups, depth, blocks)
    posterior = kvae.posteriors.get(parts["posterior"])
    if not isinstance(posterior, kvae.posteriors.Ladder):
        encoder = keras.Model(encoder.inputs, encoder.output["features_0"], name="encoder")

    def decoder(shape):
        return _decoder(event_shape, filters, latents, levels, depth, blocks, shape)

    shapes = [(*_shape(event_shape, filters, level)[:2], latents[level]) for level in levels]
    latent_dim = sum(rows * columns * width for rows, columns, width in shapes)
    return assemble(event_shape, latent_dim, encoder, decoder, **{**parts, "posterior": posterior})


recipe(
    "ladder_vae.mnist",
    "mnist",
    {"objective": config(kvae.objectives.ELBO(free_bits=1.0, name="objective"))},
    binarize="dynamic",
    epochs=100,
    batch_size=64,
    learning_rate=1e-3,
    warmup_epochs=10,
    final_rate=0.01,
    compile={"skip_norm": 5000.0},
    finish=Finish(epochs=10, batch_size=64, learning_rate=5e-5),
    mantissa_bits=10,
    num_samples=5000,
    paper=_LADDER,
    published={"metric": "nll", "value": 81.74, "source": _LADDER},
)
