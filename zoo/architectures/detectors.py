"""Models that see normal examples alone, to tell what is unusual."""

import kvae
from zoo.arguments import Activation, Count, EventShape, Widths
from zoo.networks import dense_model
from zoo.recipes import recipe
from zoo.registry import architecture

__all__ = ["detector"]

_AN = (
    "An & Cho 2015, Variational Autoencoder based Anomaly Detection using Reconstruction "
    "Probability, http://dm.snu.ac.kr/static/docs/TR/SNUDM-TR-2015-03.pdf"
)


@architecture(small={"event_shape": (8, 8, 1), "latent_dim": 3, "hidden": (16,)})
def detector(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 20,
    hidden: Widths = (200,),
    activation: Activation = "tanh",
    **parts,
) -> kvae.VAE:
    """A VAE of dense layers for `kvae.detection.Detector`, trained on normal examples alone.

    Its recipes leave the other classes out of the training and the validation data, and their
    cards say how well −log p(x) tells these from normal ones in the test data (AUROC). A threshold
    needs normal examples of one's own: `kvae.detection.Detector(vae).fit(normal)`.

    Args:
        event_shape: tuple. Shape of one example, of any rank. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of `z`. Defaults to `20`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them. Defaults to
            `(200,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"tanh"`.
        **parts: further arguments of `kvae.VAE`.

    Reference:
        - [An & Cho, Variational Autoencoder based Anomaly Detection using Reconstruction
          Probability](http://dm.snu.ac.kr/static/docs/TR/SNUDM-TR-2015-03.pdf)
    """
    return dense_model(event_shape, latent_dim, hidden, activation, **parts)


for _digit in (0, 8):
    recipe(
        f"detector.mnist_{_digit}",
        "mnist",
        normal=[_digit],
        epochs=60,
        num_samples=500,
        paper=_AN,
    )
