"""Models of sequences of different lengths: of signals, and of symbols."""

from keras import Input, Model, layers

import kvae
from kvae.datasets.catalog import grammar
from zoo.architectures.signals import of_one_scale
from zoo.arguments import Amount, Count, CountFrom0, EventShape
from zoo.networks import (
    assemble,
    join_label,
    label_size,
    seen_shape,
)
from zoo.recipes import recipe
from zoo.registry import architecture
from zoo.sequence_networks import recurrent, recurrent_decoder, recurrent_encoder

__all__ = ["sequence_vae", "symbol_vae"]

_BOWMAN = (
    "Bowman et al. 2016, Generating Sentences from a Continuous Space, "
    "https://arxiv.org/abs/1511.06349"
)


def _check(event_shape, channels: int | None = None) -> None:
    if len(event_shape) != 2 or channels not in (None, event_shape[1]):
        kind = "sequence of symbols" if channels else "signal"
        wanted = "(steps, 1)" if channels else "(steps, channels)"
        raise ValueError(f"A {kind} has the shape {wanted}, not {tuple(event_shape)}.")


@architecture(likelihood=of_one_scale, small={"event_shape": (12, 2), "latent_dim": 3, "width": 8})
def sequence_vae(
    event_shape: EventShape = (64, 1),
    latent_dim: Count = 8,
    width: Count = 64,
    cell: str = "gru",
    bidirectional: bool = True,
    **parts,
) -> kvae.VAE:
    """A recurrent VAE of signals of different lengths, gaps included.

    Steps after the end of a signal, and those that are NaN, were not observed: the encoder does not
    read what comes after the end, and is told where the gaps are. The likelihood is a Gaussian of
    one learned scale.

    Args:
        event_shape: tuple `(steps, channels)`, of the longest signal. Defaults to `(64, 1)`.
        latent_dim: int. Size of `z`. Defaults to `8`.
        width: int. Units of the recurrent layers. Defaults to `64`.
        cell: str. `"gru"` or `"lstm"`. Defaults to `"gru"`.
        bidirectional: bool. Whether the networks read and write in both directions, with `width`
            units in each. Defaults to `True`.
        **parts: further arguments of `kvae.VAE`; a `likelihood` replaces the Gaussian, and
            `missing` the `"zero:mask"` of incomplete data (`None` takes complete signals alone).

    Raises:
        ValueError: for an event that is no signal, and an unknown cell.
    """
    _check(event_shape)
    parts = {"missing": "zero:mask", **parts}
    options = {"label": label_size(parts), "cell": cell}
    options["bidirectional"] = bidirectional
    encoder = recurrent_encoder(seen_shape(event_shape, parts), width, **options)

    def decoder(shape):
        return recurrent_decoder(shape, latent_dim, width, **options)

    return assemble(event_shape, latent_dim, encoder, decoder, **parts)


def _of_symbols(
    num_symbols: Count = 256,
    width: Count = 128,
    cell: str = "lstm",
    embedding_dim: Count = 32,
    word_dropout: Amount = 0.3,
    end: CountFrom0 | None = None,
):
    return kvae.likelihoods.Autoregressive(
        num_symbols, width, cell, embedding_dim, word_dropout=word_dropout, end=end
    )


def _with_free_bits(free_bits: Amount = 2.0):
    return kvae.objectives.ELBO(free_bits=free_bits, free_bits_groups=1)


@architecture(
    likelihood=_of_symbols,
    objective=_with_free_bits,
    small={"event_shape": (8, 1), "latent_dim": 3, "width": 8, "num_symbols": 6},
)
def symbol_vae(
    event_shape: EventShape = (32, 1),
    latent_dim: Count = 16,
    num_symbols: Count = 256,
    width: Count = 128,
    cell: str = "lstm",
    embedding_dim: Count = 32,
    bidirectional: bool = True,
    end: CountFrom0 | None = None,
    **parts,
) -> kvae.VAE:
    """A VAE of sequences of symbols: texts, events, codes.

    A recurrent encoder reads the symbols, and an autoregressive decoder
    (`kvae.likelihoods.Autoregressive`) writes them one after the other. Word dropout and free bits
    keep z in use.

    Args:
        event_shape: tuple `(steps, 1)`, of the longest sequence. Defaults to `(32, 1)`.
        latent_dim: int. Size of `z`. Defaults to `16`.
        num_symbols: int. Symbols are whole numbers from 0 to `num_symbols - 1`. Defaults to `256`.
        width: int. Units of the recurrent layers. Defaults to `128`.
        cell: str. `"lstm"` or `"gru"`. Defaults to `"lstm"`.
        embedding_dim: int. Size of the symbols' embeddings. Defaults to `32`.
        bidirectional: bool. Whether the encoder reads in both directions. Defaults to `True`.
        end: int or `None`. The symbol that ends a sequence. Defaults to `None`: all steps count.
        word_dropout: float below 1. How often the decoder has to do without the symbol before, in
            training. Defaults to `0.3`.
        free_bits: float. Nats of the KL that cost nothing. Defaults to `2.0`.
        **parts: further arguments of `kvae.VAE`; a `likelihood` replaces the autoregressive one, an
            `objective` that of `free_bits`, and `missing` the `"zero:mask"` of incomplete data.

    Raises:
        ValueError: for an event that is no sequence of symbols, and an unknown cell.

    Reference:
        - [Bowman et al., Generating Sentences from a Continuous Space](
          https://arxiv.org/abs/1511.06349)
    """
    _check(event_shape, channels=1)
    parts = {"missing": "zero:mask", **parts}
    label = label_size(parts)
    symbols = Input(seen_shape(event_shape, parts), name="symbols")
    x = kvae.layers.SymbolEmbedding(num_symbols, embedding_dim, end, name="embed")(symbols)
    x = recurrent(width, cell, event_shape[0], bidirectional)(x)
    inputs, x = join_label(symbols, x, label)
    encoder = Model(inputs, x, name="encoder")

    def decoder(shape):
        z = Input((latent_dim,), name="z")
        inputs, x = join_label(z, z, label)
        x = layers.Dense(shape[-1], name="context")(x)
        return Model(inputs, layers.RepeatVector(shape[0], name="repeat")(x), name="decoder")

    return assemble(event_shape, latent_dim, encoder, decoder, **parts)


recipe(
    "symbol_vae.grammar",
    "grammar",
    {
        "num_symbols": len(grammar.WORDS),
        "end": grammar.END,
        "width": 64,
        "latent_dim": 8,
        "word_dropout": 0.2,
    },
    epochs=20,
    learning_rate=4e-3,
    num_samples=200,
    paper=_BOWMAN,
)
