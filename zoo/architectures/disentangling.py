"""Models whose objectives ask for independent latents, on the network of Locatello et al."""

import math
from typing import Any

import kvae
from zoo.arguments import Count, CountFrom0, EventShape, Filters, Weight
from zoo.networks import conv_model, filters_for
from zoo.recipes import recipe
from zoo.registry import architecture

__all__ = ["beta_tcvae", "beta_vae", "factor_vae"]

_BETA = "Higgins et al. 2017, beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl"
_TC = "Chen et al. 2018, Isolating Sources of Disentanglement, https://arxiv.org/abs/1802.04942"
_FACTOR = "Kim & Mnih 2018, Disentangling by Factorising, https://arxiv.org/abs/1802.05983"
_ON_DSPRITES = _FACTOR.replace(", https", " (on dSprites), https")
# 7,800 steps, half an hour of one core, where the papers have 300,000 at a rate of 1e-4.
_SPRITES: dict[str, Any] = dict(
    dataset="sprites",
    epochs=10,
    batch_size=64,
    learning_rate=1e-3,
    monitor="val_loss",
    num_samples=20,
)
_SMALL = {"event_shape": (8, 8, 1), "latent_dim": 3, "hidden": 8}


def _model(event_shape, latent_dim, filters, hidden, **parts) -> kvae.VAE:
    if filters is None:  # As many of the four convolutions as the image has room for.
        room = int(math.log2(min(event_shape[:2]))) if len(event_shape) == 3 else 4
        filters = filters_for(event_shape, (32, 32, 64, 64)[: max(room, 1)])
    return conv_model(event_shape, latent_dim, filters, hidden, **parts)


def _weighted_kl(beta: Weight = 4.0):
    return kvae.objectives.ELBO(beta=beta)


@architecture(objective=_weighted_kl, small=_SMALL)
def beta_vae(
    event_shape: EventShape = (64, 64, 1),
    latent_dim: Count = 10,
    filters: Filters | None = None,
    hidden: CountFrom0 = 256,
    **parts,
) -> kvae.VAE:
    """The network on which disentanglement is compared, trained with the KL weighted by β.

    Its layers are those of Locatello et al., with SiLU in place of ReLU.

    Args:
        event_shape: tuple `(height, width, channels)`. Defaults to `(64, 64, 1)`.
        latent_dim: int. Size of `z`. Defaults to `10`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 32,
            32, 64 and 64, or as many of them as a smaller image has room for, and further ones of
            64 for images that are larger than 112 × 112 pixels.
        hidden: int. Width of the dense layer beside the latents; `0` for none. Defaults to `256`.
        beta: float or schedule. Weight of the KL. Defaults to `4.0`.
        **parts: further arguments of `kvae.VAE`; an `objective` replaces the one of `beta`.

    References:
        - [Higgins et al., β-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
        - [Locatello et al., Challenging Common Assumptions in the Unsupervised Learning of
          Disentangled Representations, table 1](https://arxiv.org/abs/1811.12359)
    """
    return _model(event_shape, latent_dim, filters, hidden, **parts)


recipe(
    "beta_vae.sprites",
    arguments={"beta": 4.0},
    paper=_BETA,
    published={"metric": "factor_vae_score", "value": 0.73, "source": _ON_DSPRITES},
    **_SPRITES,
)


def _weighted_total_correlation(beta: Weight = 6.0):
    return kvae.objectives.BetaTCVAE(beta=beta)


@architecture(objective=_weighted_total_correlation, small=_SMALL)
def beta_tcvae(
    event_shape: EventShape = (64, 64, 1),
    latent_dim: Count = 10,
    filters: Filters | None = None,
    hidden: CountFrom0 = 256,
    **parts,
) -> kvae.VAE:
    """`beta_vae`'s network, with the total correlation of the latents weighted by β.

    Args:
        event_shape, latent_dim, filters, hidden: as for `beta_vae`.
        beta: float or schedule. Weight of the total correlation. Defaults to `6.0`.
        **parts: further arguments of `kvae.VAE`; an `objective` replaces the one of `beta`.

    Reference:
        - [Chen et al., Isolating Sources of Disentanglement](https://arxiv.org/abs/1802.04942)
    """
    return _model(event_shape, latent_dim, filters, hidden, **parts)


recipe("beta_tcvae.sprites", arguments={"beta": 6.0}, paper=_TC, **_SPRITES)


def _discriminated(
    gamma: Weight = 35.0, discriminator_width: Count = 300, discriminator_depth: Count = 4
):
    return kvae.objectives.FactorVAE(
        gamma=gamma,
        discriminator_width=discriminator_width,
        discriminator_depth=discriminator_depth,
    )


@architecture(objective=_discriminated, small={**_SMALL, "discriminator_width": 8})
def factor_vae(
    event_shape: EventShape = (64, 64, 1),
    latent_dim: Count = 10,
    filters: Filters | None = None,
    hidden: CountFrom0 = 256,
    **parts,
) -> kvae.VAE:
    """`beta_vae`'s network, with the total correlation as a discriminator estimates it.

    Args:
        event_shape, latent_dim, filters, hidden: as for `beta_vae`.
        gamma: float. Weight of the total correlation. Defaults to `35.0`.
        discriminator_width, discriminator_depth: int. Size of the discriminator, whose weights are
            in the file with the model's. Default to `300` and `4`: the paper's 1000 and 6 would
            take 60 of 63 MB, and half of the time of a step.
        **parts: further arguments of `kvae.VAE`; an `objective` replaces the discriminator's.

    Reference:
        - [Kim & Mnih, Disentangling by Factorising](https://arxiv.org/abs/1802.05983)
    """
    return _model(event_shape, latent_dim, filters, hidden, **parts)


recipe(
    "factor_vae.sprites",
    arguments={"gamma": 35.0},
    paper=_FACTOR,
    published={"metric": "factor_vae_score", "value": 0.82, "source": _ON_DSPRITES},
    # A discriminator estimates the loss, so that it is a different one in every epoch.
    **{**_SPRITES, "monitor": None, "epochs": 8},
)
