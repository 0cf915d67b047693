"""The autoregressive likelihood of symbols."""

import keras
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.categorical import Categorical
from kvae.likelihoods.likelihood import register
from kvae.utils import masks, names

__all__ = ["Autoregressive"]

_CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}


@register("autoregressive")
class Autoregressive(Categorical):
    """`p(x|z)` = Π p(x_t | x_1, …, x_t-1, z), for sequences of class numbers 0 … K - 1 (symbols).

    A recurrent network reads the symbol before each step beside what the decoder says of the step,
    its *context*, and returns the logits of the next symbol. The network belongs to the likelihood,
    as the PixelCNN of a prior belongs to the prior: `log_prob` reads the symbols of x (teacher
    forcing, in training and in evaluation), `sample` draws one symbol after the other, and `mode`
    takes the most probable symbol at each step (a greedy choice, which need not be the most
    probable sequence). Symbols have no mean; `mean` is the mode.

    A decoder that can do without z will: the posterior then collapses to the prior. Word dropout,
    free bits and a warm-up of β (`kvae.objectives.ELBO`) keep z in use.

    Symbols that are NaN were not observed. log p(x_obs|z) is the product over those that were,
    each given the observed ones before it: for sequences that end early, or whose first part is
    known, this is exact. In the place of a missing symbol within a sequence the network reads the
    symbol "unknown", which it knows from word dropout. `completed`, of which `kvae.VAE.impute`
    makes use, draws the missing ones in their turn, weighed by the symbols that follow.

    Args:
        num_classes: int. K, at least 2. Defaults to `256`.
        width: int. Units of the recurrent network. Defaults to `64`.
        cell: str. `"lstm"` or `"gru"`. Defaults to `"lstm"`.
        embedding_dim: int. Size of the symbols' embeddings. Defaults to `32`.
        context_dim: int. Numbers that the decoder returns for each step. Defaults to `16`.
        word_dropout: float in [0, 1). How often a training step hides the symbol before from the
            network. Defaults to `0.0`.
        end: int or `None`. The symbol that ends a sequence: what follows it counts for nothing, and
            draws repeat it up to their last step. Defaults to `None`: all steps count.
        scale_input: as for `Categorical`. Defaults to `False`: an encoder has an embedding.

    Decoder output: `(steps, context_dim)` for events `(steps, 1)`. A decoder that returns the same
    for each step repeats z: `keras.layers.RepeatVector(steps)`.

    Raises:
        ValueError: for arguments out of range.

    Example:

    ```python
    likelihood = kvae.likelihoods.Autoregressive(num_classes=5, context_dim=3)
    params = likelihood(np.zeros((2, 8, 3), "float32"))            # for events (8, 1)
    x = likelihood.sample(params, seed=1)
    likelihood.log_prob(params, x)                                 # shape (2,)
    ```

    Measured:
        - 1.492 nats per symbol of `grammar`, of which a language model has 1.485:
          `python -m benchmarks.sequences --tasks symbols --seeds 0`

    Reference:
        - [Bowman et al., Generating Sentences from a Continuous Space](
          https://arxiv.org/abs/1511.06349)
    """

    decoder_outputs = None
    autoregressive = True

    def __init__(
        self,
        num_classes: int = 256,
        width: int = 64,
        cell: str = "lstm",
        embedding_dim: int = 32,
        context_dim: int = 16,
        word_dropout: float = 0.0,
        end: int | None = None,
        scale_input: bool = False,
        **kwargs,
    ):
        super().__init__(num_classes, scale_input, **kwargs)
        if cell not in _CELLS:
            raise names.unknown_name("cell", cell, _CELLS)
        sizes = {"width": width, "embedding_dim": embedding_dim, "context_dim": context_dim}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"`{name}` is at least 1, not {size}.")
        if not 0 <= word_dropout < 1:
            raise ValueError(f"`word_dropout` is at least 0 and below 1, not {word_dropout}.")
        if end is not None and not 0 <= end < num_classes:
            raise ValueError(f"`end` is None or a symbol from 0 to {num_classes - 1}, not {end}.")
        self.num_parameters = context_dim
        self.width, self.cell, self.embedding_dim = width, cell, embedding_dim
        self.context_dim, self.word_dropout, self.end = context_dim, word_dropout, end

    def output_shape(self, event_shape):
        if len(event_shape) != 2 or event_shape[1] != 1:
            raise ValueError(
                f"Autoregressive takes sequences of symbols, event_shape=(steps, 1), not "
                f"{tuple(event_shape)}."
            )
        return super().output_shape(event_shape)

    def build(self, outputs_shape):
        if self.built:
            return
        own, features = {"dtype": self.dtype}, self.embedding_dim + self.context_dim
        # Two more than there are symbols: one that is not known, and the start.
        self.embedding = keras.layers.Embedding(self.num_classes + 2, self.embedding_dim, **own)
        self.recurrent = keras.layers.RNN(
            _CELLS[self.cell](self.width, **own), return_sequences=True, **own
        )
        self.readout = keras.layers.Dense(self.num_classes, **own)
        self.dropout = keras.layers.Dropout(self.word_dropout, **own) if self.word_dropout else None
        self.embedding.build((None, None))
        self.recurrent.build((None, outputs_shape[-2], features))
        self.readout.build((None, self.width))
        self.built = True

    def call(self, outputs, training=False):
        params = {"context": ops.cast(outputs, self.dtype)}
        if training and self.dropout is not None:
            # The symbols that the network gets to read. Evaluations read all.
            params["read"] = self.dropout(ops.ones_like(outputs[..., :1]), training=True) > 0
        return params

    # Densities.

    def element_log_prob(self, params, x):
        context, steps = params["context"], params["context"].shape[-2]
        shape = tf.concat([tf.shape(context)[:-1], [1]], axis=0)
        x = tf.reshape(tf.broadcast_to(tf.cast(x, self.dtype), shape), (-1, steps))
        observed, symbols = masks.observed(x), self._symbols(x)
        read = (
            symbols
            if "read" not in params
            else tf.where(tf.reshape(params["read"], (-1, steps)), symbols, self.num_classes)
        )
        before = tf.concat([tf.fill([tf.shape(x)[0], 1], self.num_classes + 1), read[:, :-1]], 1)
        flat = tf.reshape(context, (-1, steps, self.context_dim))
        inputs = tf.concat([self.embedding(before), flat], axis=-1)
        # Keras's cells fail on no rows, which a replica may be given.
        none = tf.cast(tf.equal(tf.shape(x)[0], 0), tf.int32)
        inputs = tf.pad(inputs, [[0, none], [0, 0], [0, 0]])
        logits = self.readout(self.recurrent(inputs))[: tf.shape(x)[0]]
        log_p = _log_prob(logits, tf.where(observed, symbols, 0))
        if self.end is not None:
            ends = tf.cast(symbols == self.end, tf.int32)
            log_p = tf.where(tf.cumsum(ends, axis=1, exclusive=True) > 0, 0.0, log_p)
        return tf.reshape(log_p, shape)

    def _of_incomplete(self, params, x):
        return self.element_log_prob(params, x)

    def _symbols(self, x):
        """Returns x as int32, with the number of what is not known in the place of NaN."""
        filled = tf.where(masks.observed(x), x, float(self.num_classes))
        return tf.cast(tf.round(filled), tf.int32)

    # Draws, one symbol after the other.

    def mean(self, params):
        return self.mode(params)

    def mode(self, params):
        return self._ancestral(params, _most_probable)[0]

    def sample(self, params, seed):
        if "completed" in params:
            return params["completed"]
        return self._ancestral(params, self._drawing(params, seed))[0]

    def completed(self, params, x, seed):
        """Draws the missing symbols of x in their turn; the observed ones weigh the draw.

        The average weight is p(x_obs|z): likelihood weighting (Fung & Chang 1990). Without a seed
        the missing symbols are the most probable ones, each in its turn.
        """
        choose = _most_probable if seed is None else self._drawing(params, seed)
        drawn, log_p = self._ancestral(params, choose, x)
        return {**params, "completed": drawn}, log_p

    def averaged(self, params):
        symbols = params["completed"] if "completed" in params else self.mode(params)
        return {
            "probabilities": tf.one_hot(
                tf.cast(symbols, tf.int32), self.num_classes, dtype=self.dtype
            )
        }

    def _drawing(self, params, seed):
        """Returns a function that draws symbols by their logits."""
        shape = tf.concat([tf.shape(params["context"])[:-1], [self.num_classes]], axis=0)
        steps = params["context"].shape[-2]
        noise = tf.reshape(random.gumbel(shape, seed), (-1, steps, self.num_classes))
        return lambda logits, step: tf.argmax(logits + noise[:, step], -1, tf.int32)

    def _ancestral(self, params, choose, x=None):
        """Chooses one symbol after the other.

        Args:
            params: dict, of leading axes `[...]`.
            choose: callable, from logits `[n, K]` and the number of the step to symbols `[n]`.
            x: tensor `[batch, steps, 1]` or `None`. Symbols that are known, and NaN.

        Returns:
            Symbols `[..., steps, 1]`, and the log-probability `[...]` of the known ones.
        """
        context, steps = params["context"], params["context"].shape[-2]
        lead = tf.shape(context)[:-2]
        flat = tf.reshape(context, (-1, steps, self.context_dim))
        count = tf.shape(flat)[0]
        if x is not None:
            shape = tf.concat([lead, [steps, 1]], axis=0)
            x = tf.reshape(tf.broadcast_to(tf.cast(x, self.dtype), shape), (-1, steps))
            observed, symbols = masks.observed(x), self._symbols(x)
            # A sequence does not end before a symbol that is known.
            goes_on = ~observed & masks.until_last(observed[..., None])
        cell = self.recurrent.cell
        states = [tf.zeros([count, size]) for size in tf.nest.flatten(cell.state_size)]
        last, chosen = tf.fill([count], self.num_classes + 1), []
        ended, log_p = tf.zeros([count], tf.bool), tf.zeros([count])
        for step in range(steps):  # Unrolled: TFLite has no loops over lists of tensors.
            inputs = tf.concat([self.embedding(last), flat[:, step]], axis=-1)
            output, states = cell(inputs, states)
            logits = self.readout(output)
            if x is not None and self.end is not None:
                barred = goes_on[:, step] & ~ended
                logits, share = self._without_end(logits, barred)
                log_p += share
            last = choose(logits, step)
            if x is not None:
                known = tf.where(observed[:, step], symbols[:, step], last)
                counts = observed[:, step] & ~ended
                log_p += tf.where(counts, _log_prob(logits, known), 0.0)
                last = known
            if self.end is not None:
                last = tf.where(ended, self.end, last)
                ended |= last == self.end
            chosen.append(last)
        symbols = tf.cast(tf.stack(chosen, axis=1), self.dtype)
        return tf.reshape(symbols, tf.concat([lead, [steps, 1]], axis=0)), tf.reshape(log_p, lead)

    def _without_end(self, logits, barred):
        """Returns logits `[n, K]` without the end for some rows, and the log-share of the rest."""
        is_end = tf.range(self.num_classes) == self.end
        others = tf.where(barred[:, None] & is_end, logits.dtype.min / 2, logits)
        share = tf.reduce_logsumexp(others, axis=-1) - tf.reduce_logsumexp(logits, axis=-1)
        return others, tf.where(barred, share, 0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "cell": self.cell,
            "embedding_dim": self.embedding_dim,
            "context_dim": self.context_dim,
            "word_dropout": self.word_dropout,
            "end": self.end,
        }


def _most_probable(logits, step):
    return tf.argmax(logits, -1, tf.int32)


def _log_prob(logits, symbols):
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=symbols, logits=logits)
