"""Models with two stochastic layers, after Tomczak & Welling."""

import kvae
from zoo.arguments import Activation, Count, CountFrom0, EventShape, Filters
from zoo.networks import dense_model
from zoo.recipes import EXEMPLAR, FAST, VAMP, recipe
from zoo.registry import architecture

__all__ = ["hvae"]


def _posterior(hidden, activation):
    return kvae.posteriors.Hierarchical(
        features_dim=hidden[-1], hidden=hidden, activation=activation
    )


def _prior(hidden, activation, num_components: CountFrom0 = 0, initial=None):
    top = "standard_normal"
    if initial is not None and not num_components:
        raise ValueError("`initial` is where pseudo-inputs start: give `num_components`, too.")
    if num_components:
        top = kvae.priors.Vamp(num_components, initial=initial)
    return kvae.priors.Hierarchical(top=top, hidden=hidden, activation=activation)


@architecture(
    posterior=_posterior,
    prior=_prior,
    small={"event_shape": (8, 8, 1), "latent_dim": 3, "hidden": (8,)},
)
def hvae(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 80,
    hidden: Filters = (300, 300),
    activation: Activation = "gated",
    **parts,
) -> kvae.VAE:
    """A VAE of two stochastic layers: groups of latents, drawn top down.

    Args:
        event_shape: tuple. Shape of one example, of any rank. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of both groups together. Defaults to `80`.
        hidden: sequence of int, at least one. Widths of the encoder; the decoder mirrors them, and
            the networks between the groups have them too. Defaults to `(300, 300)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"gated"`.
        num_components: int. Pseudo-inputs of a VampPrior on top; `0` for a standard normal.
            Defaults to `0`.
        initial: optional array or `kvae.datasets.Dataset` from which they start.
        **parts: further arguments of `kvae.VAE`; a `posterior` or `prior` replaces the hierarchy's.

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior, section 4](https://arxiv.org/abs/1705.07120)
    """
    return dense_model(event_shape, latent_dim, hidden, activation, **parts)


recipe(
    "hvae.mnist",
    "mnist",
    binarize="dynamic",
    epochs=300,
    warmup_epochs=30,
    final_rate=0.01,
    compile=FAST,
    num_samples=5000,
    paper=VAMP,
    published={"metric": "nll", "value": 82.39, "source": EXEMPLAR},
)
recipe(
    "hvae.mnist_vamp",
    "mnist",
    {"num_components": 500},
    binarize="dynamic",
    epochs=40,
    batch_size=200,
    final_rate=0.01,
    compile=FAST,
    initial_from_data=True,
    initial_weights="hvae.mnist",
    num_samples=5000,
    paper=VAMP,
    published={"metric": "nll", "value": 81.56, "source": EXEMPLAR},
)
