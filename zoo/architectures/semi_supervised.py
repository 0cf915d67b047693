"""Models that learn classes from few labels."""

import kvae
from zoo.arguments import Activation, Amount, Count, EventShape, Widths
from zoo.networks import assemble, dense_decoder, dense_encoder, seen_shape
from zoo.recipes import FAST, RECIPES, recipe
from zoo.registry import ARCHITECTURES, architecture

__all__ = ["m2_vae"]

_M2 = (
    "Kingma et al. 2014, Semi-supervised Learning with Deep Generative Models, "
    "https://arxiv.org/abs/1406.5298"
)


def _guessing(alpha: Amount = 1.0, hidden: Widths = (500,), activation: Activation = "softplus"):
    return kvae.objectives.SemiSupervised(alpha=alpha, hidden=hidden, activation=activation)


def _of_codes(first: str | None = None):
    return "bernoulli" if first is None else kvae.likelihoods.Gaussian("per_pixel")


@architecture(
    objective=_guessing,
    likelihood=_of_codes,
    small={"event_shape": (8, 8, 1), "latent_dim": 3, "hidden": (16,)},
)
def m2_vae(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 50,
    hidden: Widths = (500,),
    activation: Activation = "softplus",
    num_classes: Count = 10,
    first: str | None = None,
    **parts,
) -> kvae.VAE:
    """The semi-supervised model M2 of Kingma et al.: a conditional VAE with a classifier.

    Labels that are not known are -1 in `fit((x, labels))`. The classifier has hidden layers like
    the encoder's.

    Args:
        event_shape: tuple. Shape of one example, of any rank. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of `z`. Defaults to `50`.
        hidden: sequence of int. Widths of the encoder and of the classifier; the decoder mirrors
            them. Defaults to `(500,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"softplus"`.
        num_classes: int. Defaults to `10`.
        first: str or `None`. A recipe of the zoo, e.g. `"dense_vae.mnist"`, whose model is the
            paper's M1: this one is M2 of its codes, and both are one model (`kvae.stacked`). A
            training by a recipe takes the weights of M1 and trains M2 alone; `likelihood` is then
            that of the codes, a Gaussian if it is left out. Defaults to `None`: M2 of the examples.
        alpha: float. The weight of the cross-entropy of each labelled row. The paper has 0.1·N/n
            for N rows, n of them labelled. Defaults to `1.0`.
        **parts: further arguments of `kvae.VAE`; an `objective` replaces the semi-supervised one.

    Reference:
        - [Kingma et al., Semi-supervised Learning with Deep Generative Models](
          https://arxiv.org/abs/1406.5298)
    """
    if first is not None:
        known = RECIPES[first]
        one = ARCHITECTURES[known.architecture].build(**known.arguments)
        if tuple(event_shape) != one.event_shape:
            raise ValueError(
                f"{first} is a model of examples {one.event_shape}, and `event_shape` is "
                f"{tuple(event_shape)}: give that of {first}."
            )
        other = (one.latent_dim,), latent_dim, hidden, activation, num_classes
        return kvae.stacked(one, m2_vae(*other, **parts))
    shape = seen_shape(event_shape, parts)
    encoder = dense_encoder(shape, hidden, activation, num_classes, apart=True)

    def decoder(shape):
        return dense_decoder(shape, latent_dim, tuple(reversed(hidden)), activation, num_classes)

    return assemble(event_shape, latent_dim, encoder, decoder, num_classes=num_classes, **parts)


# M1+M2: M2 of draws of the codes of a model that has seen no label. α is the paper's 0.1·N/n, of N
# examples with n labels.
recipe(
    "m2_vae.mnist_100",
    "mnist",
    {"alpha": 55.0, "activation": "relu", "latent_dim": 20, "first": "dense_vae.mnist"},
    labels_per_class=10,
    code_draws=5,
    epochs=6,
    batch_size=100,
    final_rate=0.01,
    compile=FAST,
    num_samples=1,  # Grey pixels have no log p(x).
    paper=_M2,
    published={"metric": "error", "value": 3.33, "source": _M2},
)
