"""Dense encoders and decoders, for events of any shape."""

import math

import keras
from keras import layers

import kvae
from kvae.layers import hidden_layers
from zoo.arguments import declares
from zoo.assembly import CHANNELS_LAST, assemble, join_label

__all__ = [
    "build_blog_vae",
    "build_dense_autoencoder",
    "build_dense_vae",
    "build_gated_vae",
    "build_hvae",
    "build_iaf_vae",
    "build_iwae",
    "build_tabular_vae",
    "build_vamp_vae",
    "dense_decoder",
    "dense_encoder",
]


def dense_encoder(event_shape, hidden, activation, num_classes=None) -> keras.Model:
    """Flattens the event and applies dense layers of the widths `hidden`."""
    inputs = keras.Input(event_shape, name="image")
    inputs, x = join_label(
        inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(inputs), num_classes
    )
    x = hidden_layers(x, hidden, activation)
    return keras.Model(inputs, x, name="encoder")


def dense_decoder(output_shape, latent_dim, hidden, activation, num_classes=None) -> keras.Model:
    """Dense layers of the widths `hidden`, then a linear one of `output_shape`."""
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, num_classes)
    x = hidden_layers(x, hidden, activation)
    x = layers.Dense(math.prod(output_shape), name="outputs")(x)
    return keras.Model(inputs, layers.Reshape(output_shape, name="event")(x), name="decoder")


def _build(name, event_shape, latent_dim, hidden, activation, likelihood, **parts):
    num_classes = parts.get("num_classes")
    encoder = dense_encoder(event_shape, hidden, activation, num_classes)

    def decoder(shape):
        return dense_decoder(shape, latent_dim, tuple(reversed(hidden)), activation, num_classes)

    return assemble(name, event_shape, latent_dim, likelihood, encoder, decoder, **parts)


@declares(filled=("event_shape",))
def build_dense_vae(
    event_shape=(28, 28, 1),
    latent_dim: int = 50,
    hidden=(200, 200),
    activation: str = "tanh",
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """A VAE of dense layers; the defaults are the one-layer model of Burda et al.

    Args:
        event_shape: tuple. Shape of one example, of any rank.
        latent_dim: int. Defaults to `50`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"tanh"`.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `objective`, `seed`, and
            `num_classes`, with which both networks see the label.

    Reference:
        - [Burda et al., Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519)
    """
    return _build("dense_vae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",))
def build_blog_vae(
    event_shape=(28, 28, 1),
    latent_dim: int = 2,
    hidden=(256,),
    activation: str = "relu",
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's variational autoencoder: 784-256-2, whose plane can be drawn.

    Args:
        event_shape, hidden, activation, likelihood: as for `dense_vae`.
        latent_dim: int. Defaults to `2`.
        **parts: further arguments of `kvae.VAE`.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    return _build("blog_vae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",))
def build_gated_vae(
    event_shape=(28, 28, 1),
    latent_dim: int = 40,
    hidden=(300, 300),
    activation: str = "gated",
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """A VAE of gated dense layers: the one-level model of Tomczak & Welling.

    Args:
        event_shape: tuple. Shape of one example, of any rank.
        latent_dim: int. Defaults to `40`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them.
        activation: str. Defaults to `"gated"`.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `objective`, `seed`, and
            `num_classes`, with which both networks see the label.

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior, section 5](https://arxiv.org/abs/1705.07120)
    """
    return _build("gated_vae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",), prior=("num_components", "initial"))
def build_vamp_vae(
    event_shape=(28, 28, 1),
    latent_dim: int = 40,
    hidden=(300, 300),
    activation: str = "gated",
    likelihood="bernoulli",
    num_components: int = 500,
    initial=None,
    **parts,
) -> kvae.VAE:
    """`gated_vae` with a VampPrior.

    Args:
        event_shape, latent_dim, hidden, activation, likelihood: as for `gated_vae`.
        num_components: int. Pseudo-inputs. Defaults to `500`.
        initial: optional array or `kvae.datasets.Dataset` from which they start; see
            `kvae.priors.Vamp`.
        **parts: further arguments of `kvae.VAE`; a `prior` replaces the VampPrior.

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior](https://arxiv.org/abs/1705.07120)
    """
    parts = {"prior": kvae.priors.Vamp(num_components, initial=initial), **parts}
    return _build("vamp_vae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",), posterior=("num_flows",))
def build_iaf_vae(
    event_shape=(28, 28, 1),
    latent_dim: int = 50,
    hidden=(200, 200),
    activation: str = "tanh",
    likelihood="bernoulli",
    num_flows: int = 2,
    **parts,
) -> kvae.VAE:
    """`dense_vae` with a posterior that inverse autoregressive flows have bent.

    All else is as in its twin with a diagonal Gaussian, so that the two compare posteriors.

    Args:
        event_shape, latent_dim, hidden, activation, likelihood: as for `dense_vae`.
        num_flows: int. Flows, in alternating orders. Defaults to `2`.
        **parts: further arguments of `kvae.VAE`; a `posterior` replaces the flows'.

    Reference:
        - [Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow](
          https://arxiv.org/abs/1606.04934)
    """
    parts = {"posterior": kvae.posteriors.Flow(num_flows=num_flows), **parts}
    return _build("iaf_vae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",), objective=("num_samples",))
def build_iwae(
    event_shape=(28, 28, 1),
    latent_dim: int = 50,
    hidden=(200, 200),
    activation: str = "tanh",
    likelihood="bernoulli",
    num_samples: int = 5,
    **parts,
) -> kvae.VAE:
    """`dense_vae` trained on the importance-weighted bound.

    Args:
        event_shape, latent_dim, hidden, activation, likelihood: as for `dense_vae`.
        num_samples: int. Importance samples of the bound. Defaults to `5`.
        **parts: further arguments of `kvae.VAE`; an `objective` replaces the bound.

    Reference:
        - [Burda et al., Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519)
    """
    parts = {"objective": kvae.objectives.IWAE(num_samples), **parts}
    return _build("iwae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(
    from_0=("num_components",),
    filled=("event_shape", "hidden"),
    prior=("num_components", "initial"),
)
def build_hvae(
    event_shape=(28, 28, 1),
    latent_dim: int = 80,
    hidden=(300, 300),
    activation: str = "gated",
    likelihood="bernoulli",
    num_components: int = 0,
    initial=None,
    **parts,
) -> kvae.VAE:
    """A VAE of two stochastic layers: groups of latents, drawn top down.

    Args:
        event_shape, hidden, activation, likelihood: as for `gated_vae`. The networks between the
            groups have the same widths.
        latent_dim: int. Of both groups together. Defaults to `80`.
        num_components: int. Pseudo-inputs of a VampPrior on top; `0` for a standard normal.
            Defaults to `0`.
        initial: optional array or `kvae.datasets.Dataset` from which they start.
        **parts: further arguments of `kvae.VAE`; a `posterior` or `prior` replaces the hierarchy's.

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior, section 4](https://arxiv.org/abs/1705.07120)
    """
    top = "standard_normal"
    if initial is not None and not num_components:
        raise ValueError("`initial` is where pseudo-inputs start: give `num_components`, too.")
    if num_components:
        top = kvae.priors.Vamp(num_components, initial=initial)
    between = {"hidden": hidden, "activation": activation}
    parts = {
        "posterior": kvae.posteriors.Hierarchical(features_dim=hidden[-1], **between),
        "prior": kvae.priors.Hierarchical(top=top, **between),
        **parts,
    }
    return _build("hvae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",), likelihood=("columns", "standardize"))
def build_tabular_vae(
    event_shape=(31,),
    latent_dim: int = 8,
    hidden=(64, 64),
    activation: str = "silu",
    columns=None,
    standardize: bool = False,
    likelihood=None,
    **parts,
) -> kvae.VAE:
    """A VAE of tables, whose columns may be of different kinds.

    Args:
        event_shape: tuple `(columns,)`. Shape of one row.
        latent_dim: int. Defaults to `8`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them.
        activation: str. Defaults to `"silu"`.
        columns: sequence of column descriptions, see `kvae.likelihoods.MixedTabular`, or `None`:
            all of them Gaussian. Defaults to `None`.
        standardize: bool. Whether columns are seen relative to their statistics in the training
            data (see `kvae.likelihoods.MixedTabular`), where these are not standardised. Defaults
            to `False`.
        likelihood: str or `Likelihood` instead of `columns` and `standardize`.
        **parts: further arguments of `kvae.VAE`.

    Raises:
        ValueError: for rows of another number of columns.

    Reference:
        - [Nazábal et al., Handling Incomplete Heterogeneous Data using VAEs](
          https://arxiv.org/abs/1807.03653)
    """
    if likelihood is None:
        if columns is None:
            columns = [("gaussian",)] * math.prod(event_shape)
        likelihood = kvae.likelihoods.MixedTabular(
            [tuple(column) for column in columns], standardize
        )
    return _build("tabular_vae", event_shape, latent_dim, hidden, activation, likelihood, **parts)


@declares(filled=("event_shape",), posterior=("code_activation", "l1"))
def build_dense_autoencoder(
    event_shape=(28, 28, 1),
    latent_dim: int = 32,
    hidden=(),
    activation: str = "relu",
    code_activation: str = "relu",
    l1: float = 0.0,
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's autoencoders of dense layers: single, deep (`hidden`) and sparse (`l1`).

    Args:
        event_shape: tuple. Shape of one example, of any rank.
        latent_dim: int. Size of the code. Defaults to `32`.
        hidden: sequence of int. Widths between image and code, e.g. `(128, 64)` for the deep one.
        activation: str. Of the hidden layers. Defaults to `"relu"`.
        code_activation: str. Of the code. Defaults to `"relu"`.
        l1: float. Nats per unit of |code| (the sparse one). Defaults to `0.0`.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`; a `posterior` replaces `kvae.posteriors.Delta`;
            it takes a `prior` where it has a density.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    parts = {
        "prior": None,
        "posterior": kvae.posteriors.Delta(activation=code_activation, l1=l1),
        **parts,
    }
    return _build(
        "dense_autoencoder", event_shape, latent_dim, hidden, activation, likelihood, **parts
    )
