"""Models that are told several things of an image, each of which may be unknown."""

import kvae
from zoo.arguments import Count, CountFrom0, EventShape, Filters
from zoo.networks import conv_model, filters_for
from zoo.recipes import config, recipe
from zoo.registry import architecture

__all__ = ["conditional_vae"]

_CVAE = (
    "Sohn et al. 2015, Learning Structured Output Representation using Deep Conditional "
    "Generative Models, https://papers.nips.cc/paper/5775"
)


@architecture(small={"event_shape": (8, 8, 1), "latent_dim": 3, "filters": (4, 8), "hidden": 8})
def conditional_vae(
    event_shape: EventShape = (64, 64, 1),
    latent_dim: Count = 10,
    filters: Filters | None = None,
    hidden: CountFrom0 = 256,
    **parts,
) -> kvae.VAE:
    """A convolutional VAE that is told what an image shows, as far as it is known.

    What is known does not have to be in the code: z holds the rest of an image, the style, and what
    is unknown of it.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(64, 64, 1)`.
        latent_dim: int. Size of `z`. Defaults to `10`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 16,
            32 and 64, the last of which is repeated for larger images.
        hidden: int. Width of the dense layer that sees the conditions; `0` for none. Defaults to
            `256`.
        **parts: further arguments of `kvae.VAE`, first of all `conditions` (or `num_classes`),
            which both networks see.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides.

    Reference:
        - [Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
          Models](https://papers.nips.cc/paper/5775)
    """
    filters = filters_for(event_shape, (16, 32, 64)) if filters is None else filters
    return conv_model(event_shape, latent_dim, filters, hidden, **parts)


# The five factors, each of which is hidden from a tenth of the images.
recipe(
    "conditional_vae.sprites",
    "sprite_factors",
    {
        "conditions": config(
            kvae.conditions.Conditions(
                kvae.datasets.info("sprite_factors").conditions,
                unknown_rate=0.1,
            )
        )
    },
    epochs=4,
    batch_size=64,
    num_samples=20,
    paper=_CVAE,
)
