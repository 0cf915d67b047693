"""Models of signals, by convolutions over time."""

import kvae
from zoo.arguments import Count, CountFrom0, EventShape, Filters
from zoo.networks import (
    assemble,
    filters_for,
    label_size,
    seen_shape,
)
from zoo.recipes import AEVB, recipe
from zoo.registry import architecture
from zoo.sequence_networks import signal_decoder, signal_encoder

__all__ = ["of_one_scale", "timeseries_vae"]


def of_one_scale():
    """Returns the likelihood of signals: a Gaussian of one learned scale."""
    return kvae.likelihoods.Gaussian("global", scale=0.2)


@architecture(
    likelihood=of_one_scale,
    small={"event_shape": (32, 2), "latent_dim": 3, "filters": (4, 8), "hidden": 8},
)
def timeseries_vae(
    event_shape: EventShape = (64, 1),
    latent_dim: Count = 8,
    filters: Filters | None = None,
    hidden: CountFrom0 = 128,
    **parts,
) -> kvae.VAE:
    """A VAE of signals: convolutions over time, of stride 2.

    The likelihood is a Gaussian of one learned scale.

    Args:
        event_shape: tuple `(steps, channels)`. Defaults to `(64, 1)`.
        latent_dim: int. Size of `z`. Defaults to `8`.
        filters: sequence of int. Channels of the convolutions. Defaults to `None`: 32 and 64, and
            further ones of 64 for signals of more than 64 steps.
        hidden: int. Width of the dense layer beside the latents; `0` for none. Defaults to `128`.
        **parts: further arguments of `kvae.VAE`; a `likelihood` replaces the Gaussian.

    Raises:
        ValueError: for an event that is no signal, or one that is shorter than the strides.
    """
    filters = filters_for(event_shape, (32, 64)) if filters is None else filters
    if len(event_shape) != 2 or event_shape[0] < 2 ** len(filters):
        raise ValueError(
            f"A signal has the shape (steps, channels), with at least {2 ** len(filters)} steps "
            f"for {len(filters)} convolutions of stride 2, not {tuple(event_shape)}."
        )
    label = label_size(parts)
    encoder = signal_encoder(seen_shape(event_shape, parts), filters, hidden, label)

    def decoder(shape):
        return signal_decoder(shape, latent_dim, filters, hidden, label)

    return assemble(event_shape, latent_dim, encoder, decoder, **parts)


recipe("timeseries_vae.signals", "signals", epochs=150, num_samples=1000, paper=AEVB)
recipe(
    "timeseries_vae.cut_signals",
    "cut_signals",
    {"missing": "zero:mask"},
    epochs=40,
    batch_size=64,
    learning_rate=2e-3,
    num_samples=1000,
    paper=AEVB,
)
