"""Models that learn classes from few labels."""

import kvae
from zoo.arguments import Activation, Amount, Count, EventShape, Widths
from zoo.networks import assemble, dense_decoder, dense_encoder, seen_shape
from zoo.recipes import recipe
from zoo.registry import architecture

__all__ = ["m2_vae"]

_M2 = (
    "Kingma et al. 2014, Semi-supervised Learning with Deep Generative Models, "
    "https://arxiv.org/abs/1406.5298"
)


def _guessing(alpha: Amount = 1.0, hidden: Widths = (500,), activation: Activation = "softplus"):
    return kvae.objectives.SemiSupervised(alpha=alpha, hidden=hidden, activation=activation)


@architecture(
    objective=_guessing,
    small={"event_shape": (8, 8, 1), "latent_dim": 3, "hidden": (16,)},
)
def m2_vae(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 50,
    hidden: Widths = (500,),
    activation: Activation = "softplus",
    num_classes: Count = 10,
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
        alpha: float. The weight of the cross-entropy of each labelled row. The paper has 0.1·N/n
            for N rows, n of them labelled. Defaults to `1.0`.
        **parts: further arguments of `kvae.VAE`; an `objective` replaces the semi-supervised one.

    Reference:
        - [Kingma et al., Semi-supervised Learning with Deep Generative Models](
          https://arxiv.org/abs/1406.5298)
    """
    shape = seen_shape(event_shape, parts)
    encoder = dense_encoder(shape, hidden, activation, num_classes, apart=True)

    def decoder(shape):
        return dense_decoder(shape, latent_dim, tuple(reversed(hidden)), activation, num_classes)

    return assemble(event_shape, latent_dim, encoder, decoder, num_classes=num_classes, **parts)


# α is the paper's 0.1·N/n, of N examples with n labels.
# Nobody has run it to its end yet.
recipe(
    "m2_vae.mnist_100",
    "mnist",
    {"alpha": 55.0, "activation": "relu"},
    binarize="dynamic",
    labels_per_class=10,
    epochs=200,
    final_rate=0.01,
    paper=_M2,
)
