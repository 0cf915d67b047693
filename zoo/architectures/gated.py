"""Models of gated dense layers with one stochastic layer, after Tomczak & Welling."""

import kvae
from zoo.arguments import Activation, Count, EventShape, Widths
from zoo.networks import dense_model
from zoo.recipes import EXEMPLAR, FAST, VAMP, recipe
from zoo.registry import architecture

__all__ = ["gated_vae", "vamp_vae"]

_SMALL = {"event_shape": (8, 8, 1), "latent_dim": 3, "hidden": (16,)}


@architecture(small=_SMALL)
def gated_vae(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 40,
    hidden: Widths = (300, 300),
    activation: Activation = "gated",
    **parts,
) -> kvae.VAE:
    """A VAE of gated dense layers: the one-level model of Tomczak & Welling.

    Args:
        event_shape: tuple. Shape of one example, of any rank. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of `z`. Defaults to `40`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them. Defaults to
            `(300, 300)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"gated"`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `likelihood`, `objective`,
            `seed`, and `num_classes` or `conditions`, with which both networks see the label.

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior, section 5](https://arxiv.org/abs/1705.07120)
    """
    return dense_model(event_shape, latent_dim, hidden, activation, **parts)


recipe(
    "gated_vae.mnist",
    "mnist",
    binarize="dynamic",
    epochs=320,
    warmup_epochs=20,
    final_rate=0.01,
    compile=FAST,
    num_samples=5000,
    paper=VAMP,
    published={"metric": "nll", "value": 84.45, "source": EXEMPLAR},
)


def _vamp(num_components: Count = 500, initial=None):
    return kvae.priors.Vamp(num_components, initial=initial)


@architecture(prior=_vamp, small={**_SMALL, "num_components": 4})
def vamp_vae(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 40,
    hidden: Widths = (300, 300),
    activation: Activation = "gated",
    **parts,
) -> kvae.VAE:
    """`gated_vae` with a VampPrior.

    Args:
        event_shape, latent_dim, hidden, activation: as for `gated_vae`.
        num_components: int. Pseudo-inputs. Defaults to `500`.
        initial: optional array or `kvae.datasets.Dataset` from which they start; see
            `kvae.priors.Vamp`.
        **parts: further arguments of `kvae.VAE`; a `prior` replaces the VampPrior.

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior](https://arxiv.org/abs/1705.07120)
    """
    return dense_model(event_shape, latent_dim, hidden, activation, **parts)


recipe(
    "vamp_vae.mnist",
    "mnist",
    binarize="dynamic",
    epochs=200,
    batch_size=200,
    warmup_epochs=20,
    compile=FAST,
    final_rate=0.01,
    initial_from_data=True,
    num_samples=5000,
    paper=VAMP,
    published={"metric": "nll", "value": 82.43, "source": EXEMPLAR},
)
