"""Models of convolutions, for images of any size."""

import kvae
from zoo.arguments import Count, CountFrom0, EventShape, Filters
from zoo.networks import conv_model, filters_for
from zoo.recipes import AEVB, DIGITS, EXEMPLAR, VAMP, config, recipe
from zoo.registry import architecture

__all__ = ["conv_vae"]


@architecture(small={"event_shape": (8, 8, 1), "latent_dim": 3, "filters": (4, 8), "hidden": 8})
def conv_vae(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 32,
    filters: Filters | None = None,
    hidden: CountFrom0 = 256,
    **parts,
) -> kvae.VAE:
    """A convolutional VAE that two cores can train and a phone can decode.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of `z`. Defaults to `32`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 32
            and 64, and further ones of 64 for images that are larger than 28 × 28 pixels.
        hidden: int. Width of the dense layer beside the latents; `0` for none. Defaults to `256`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `likelihood`, `objective`,
            `seed`, and `num_classes` or `conditions`, with which both networks see the label.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides.
    """
    filters = filters_for(event_shape, (32, 64)) if filters is None else filters
    return conv_model(event_shape, latent_dim, filters, hidden, **parts)


recipe(
    "conv_vae.mnist",
    "mnist",
    binarize="dynamic",
    epochs=36,
    warmup_epochs=4,
    num_samples=500,
    paper=AEVB,
)
# The convolutions are small enough for one core; those of the published figure are far larger.
recipe(
    "conv_vae.mnist_hierarchical",
    "mnist",
    {
        "latent_dim": 64,
        "posterior": config(
            kvae.posteriors.Hierarchical(
                features_dim=128, hidden=(128, 128), activation="gated", name="posterior"
            )
        ),
        "prior": config(
            kvae.priors.Hierarchical(
                top=kvae.priors.StandardNormal(name="top"),
                hidden=(128, 128),
                activation="gated",
                name="prior",
            )
        ),
    },
    binarize="dynamic",
    epochs=75,
    learning_rate=2e-3,
    warmup_epochs=10,
    final_rate=0.01,
    num_samples=500,
    paper=VAMP,
    published={"metric": "nll", "value": 80.52, "source": EXEMPLAR},
)
# Binarized anew in every epoch, like MNIST. Nobody has run it yet: its data were not here.
recipe(
    "conv_vae.fashion_mnist",
    "fashion_mnist",
    binarize="dynamic",
    epochs=36,
    warmup_epochs=4,
    num_samples=500,
    paper=AEVB,
)
recipe(
    "conv_vae.frey_faces",
    "frey_faces",
    {
        "event_shape": (28, 20, 1),
        "latent_dim": 10,
        "filters": (16, 32),
        "hidden": 128,
        "prior": config(kvae.priors.GaussianMixture(covariance="full", name="prior")),
        "likelihood": config(kvae.likelihoods.Gaussian("global", 0.1, name="likelihood")),
    },
    epochs=600,
    batch_size=100,
    sampler="gaussian_mixture",
    mantissa_bits=10,
    num_samples=5000,
    paper=AEVB,
)
recipe(
    "conv_vae.digits",
    arguments={"event_shape": (8, 8, 1), "latent_dim": 16, "filters": (16, 32), "hidden": 64},
    binarize="dynamic",
    epochs=300,
    paper=AEVB,
    **DIGITS,
)
