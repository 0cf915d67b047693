"""Models that are told several things of an image, each of which may be unknown."""

from keras import Input, Model, layers

import kvae
from kvae.layers import FourierFeatures
from zoo.arguments import Count, EventShape, Filters
from zoo.networks import (
    assemble,
    check_image,
    conv_encoder,
    filters_for,
    grid,
    label_size,
    seen_shape,
    up,
)
from zoo.recipes import config, recipe
from zoo.registry import architecture

__all__ = ["conditional_vae"]

_CVAE = (
    "Sohn et al. 2015, Learning Structured Output Representation using Deep Conditional "
    "Generative Models, https://papers.nips.cc/paper/5775"
)
_OCTAVES = 5  # The shortest wave of a standardized number is 0.4 of its deviation.
_DENSE = 3


@architecture(small={"event_shape": (8, 8, 1), "latent_dim": 3, "filters": (4, 8), "hidden": 8})
def conditional_vae(
    event_shape: EventShape = (64, 64, 1),
    latent_dim: Count = 4,
    filters: Filters | None = None,
    hidden: Count = 256,
    **parts,
) -> kvae.VAE:
    """A convolutional VAE that is told what an image shows, as far as it is known.

    What is known does not have to be in the code: z holds the rest of an image, the style, and what
    is unknown of it. The decoder hears of the conditions in each of its layers: of them and z it
    makes a vector, by dense layers that see the conditions as waves
    (`kvae.layers.FourierFeatures`), and of this the scale and the shift of each channel (FiLM).

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(64, 64, 1)`.
        latent_dim: int. Size of `z`. Defaults to `4`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 16,
            32 and 64, the last of which is repeated for larger images.
        hidden: int. Width of the dense layers that see the conditions. Defaults to `256`.
        **parts: further arguments of `kvae.VAE`, first of all `conditions` (or `num_classes`),
            which both networks see.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides.

    Reference:
        - [Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
          Models](https://papers.nips.cc/paper/5775)
        - [Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer](
          https://arxiv.org/abs/1709.07871)
    """
    filters = filters_for(event_shape, (16, 32, 64)) if filters is None else filters
    check_image(event_shape, filters)
    size = label_size(parts)
    encoder = conv_encoder(seen_shape(event_shape, parts), filters, hidden, size)

    def make_decoder(shape):
        return _decoder(shape, latent_dim, filters, hidden, size)

    return assemble(event_shape, latent_dim, encoder, make_decoder, **parts)


def _decoder(output_shape, latent_dim: int, filters, hidden: int, size: int | None) -> Model:
    """Makes the decoder, whose every layer hears of z and the label."""
    x = z = Input((latent_dim,), name="z")
    inputs = [z]
    if size is not None:
        label = Input((size,), name="label")
        inputs.append(label)
        x = layers.Concatenate(name="with_label")(
            [z, FourierFeatures(_OCTAVES, name="waves")(label)]
        )
    for index in range(_DENSE):
        x = layers.Dense(hidden, "silu", name=f"hidden_{index}")(x)
    rows, columns = grid(output_shape, filters)
    seed = layers.Dense(rows * columns * filters[-1], "silu", name="seed")(x)
    seed = layers.Reshape((rows, columns, filters[-1]), name="grid")(seed)
    return Model(inputs, up(seed, filters, output_shape, told=x), name="decoder")


# The five factors, each of which is hidden from a tenth of the images. An encoder finds them sooner
# than a decoder learns to draw what it is told, and a decoder that finds them in z does not listen.
# So the nats of z are dear at first, when only what is unknown is worth them.
recipe(
    "conditional_vae.sprites",
    "sprite_factors",
    {
        "conditions": config(
            kvae.conditions.Conditions(
                {
                    **kvae.datasets.info("sprite_factors").conditions,
                    "orientation": "periodic:harmonics=4",  # A square looks the same four times.
                },
                unknown_rate=0.1,
            )
        ),
        "objective": config(
            kvae.objectives.ELBO(
                beta=kvae.schedules.Linear(50.0, 1.0, steps=2500), name="objective"
            )
        ),
    },
    epochs=4,
    batch_size=64,
    learning_rate=4e-3,
    num_samples=10,
    paper=_CVAE,
)
