"""The posterior that draws codes from coarse to fine, each for what those before leave over."""

import math

import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.distributions.base_noise import Noise
from kvae.distributions.straight_through import with_gradient_of
from kvae.posteriors.posterior import register
from kvae.posteriors.quantizer import Quantizer
from kvae.utils import arguments

__all__ = ["HierarchicalResidual"]

# The digits of a uniform number beyond these are another one, which tells how many levels stay.
_DIGITS = 2.0**12


@register("hierarchical_residual")
class HierarchicalResidual(Quantizer):
    """HRQ-VAE: `q(z|x) = Π_d q(z_d | z_<d, x)`, codes from coarse to fine, with noise.

    Each code is drawn for what those before leave over of the encoder's output,
    `q(z_d = k | z_<d, x) ∝ exp(−‖z_e − Σ_{c<d} C_c(z_c) − C_d(k)‖²)`, so that all codes that begin
    alike are a branch of a tree. Unlike the other quantizers it is not certain of its codes: the KL
    to `UniformCodes` is learned, and importance samples of log p(x) are of several codes.

    In training a draw has the gradient of its Gumbel-softmax relaxation, while its values are
    exact entries; log q is then its mean over each code given those before. Two things keep the
    levels in order. In training an example keeps its first levels alone with the probability
    `level_dropout`: the entries of the others are 0, and their log q is that of the uniform
    distribution. And `penalty` is
    `norm_weight / (D − 1) Σ_d [max(1.5 ‖C_d‖ / ‖C_{d−1}‖, 1) − 1]²` of the entries' mean lengths,
    which begin at 1 and halve from level to level.

    The vectors of all levels stand in `z` one after another, as those of the residuals of
    `VectorQuantized`; a decoder that adds those of a position up sees the sum of the paper.

    Args:
        latent_dim: int or `None`, a multiple of `embedding_dim * num_levels`. Set by `kvae.VAE`
            when `None`.
        num_embeddings: int. K, of each codebook. Defaults to `128`.
        embedding_dim: int. Size of the encoder's output at each position. Defaults to `8`.
        num_levels: int. D. Defaults to `3`.
        temperature: float or schedule (`kvae.schedules`), at least 0.001. Of the relaxation; a
            schedule's value is in the logs. Defaults to `1.0`.
        level_dropout: float. From 0 to 1. Defaults to `0.3`, as in the paper.
        norm_weight: float. Defaults to `0.05`, as in the paper.
        decay: float. Weight of the past in the codes' running frequencies. Defaults to `0.99`.
        seed: int. Of the initial entries. Defaults to `0`.

    Parameters: `z_e`, and `codes` with them, the nearest ones, as those of `Quantizer`.

    Raises:
        ValueError: for numbers out of their range.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=24, prior="uniform_codes",
        posterior="hierarchical_residual:num_levels=3,embedding_dim=8",
    )
    ```

    Reference:
        - [Hosking et al., Hierarchical Sketch Induction for Paraphrase Generation, section 3.2](
          https://arxiv.org/abs/2203.03463)
    """

    deterministic = False

    def __init__(
        self,
        latent_dim: int | None = None,
        num_embeddings: int = 128,
        embedding_dim: int = 8,
        num_levels: int = 3,
        temperature: schedules.Number = 1.0,
        level_dropout: float = 0.3,
        norm_weight: float = 0.05,
        decay: float = 0.99,
        seed: int = 0,
        **kwargs,
    ):
        self.num_levels = arguments.whole("num_levels", num_levels)
        super().__init__(
            latent_dim,
            num_embeddings,
            embedding_dim,
            self.num_levels,
            commitment=0.0,  # `penalty` and the gradient of draws are its own.
            gradient="straight_through",
            decay=decay,
            **kwargs,
        )
        self.temperature = schedules.resolve("temperature", temperature)
        if self.temperature == 0:
            raise ValueError("`temperature` is more than 0: at 0 there is no gradient.")
        self.level_dropout = arguments.number("level_dropout", level_dropout, 0.0, 1.0)
        self.norm_weight = arguments.number("norm_weight", norm_weight, 0.0)
        self.seed = seed
        self._vae = lambda: None

    def attach(self, vae):
        super().attach(vae)
        if self._vae() is None:  # Of models that share it, the schedule is the first one's.
            self._vae = lambda: vae

    def report(self):
        scheduled = schedules.is_schedule(self.temperature)
        own = {"temperature": self._temperature()} if scheduled else {}
        return {**super().report(), **own}

    def build_codebooks(self):
        super().build_codebooks()
        shape = (self.num_embeddings, self.embedding_dim)

        def start(shape_of_all, dtype=None):
            drawn = random.normal([self.num_levels, *shape], random.as_seed(self.seed))
            lengths = 0.5 ** tf.range(self.num_levels, dtype=tf.float32)
            drawn = lengths[:, None, None] * tf.math.l2_normalize(drawn, axis=-1)
            return ops.cast(tf.reshape(drawn, shape_of_all), dtype)

        self.embeddings = self.add_weight(
            shape=self.of_codebooks(shape), initializer=start, name="embeddings"
        )

    def codebooks(self):
        value = tf.convert_to_tensor(self.embeddings)
        return [value] if self.num_levels == 1 else tf.unstack(value)

    def base_noise(self):
        return {"uniform": Noise(self.num_codes * self.num_embeddings, "uniform")}

    def transform(self, params, noise):
        return self._draw(params, noise, training=False)[0]

    def sample(self, params, num_samples=None, *, seed, training=False):
        noise = self.draw_noise(params, num_samples, seed)
        return self._draw(params, noise, training)[0]

    def sample_and_log_prob(self, params, num_samples=None, *, seed, training=False):
        return self._draw(params, self.draw_noise(params, num_samples, seed), training)

    def _draw(self, params, noise, training: bool) -> tuple:
        """Returns z `[..., batch, latent_dim]` and log q, in training its mean, `[..., batch]`."""
        uniform = noise["uniform"]
        lead = tf.shape(uniform)[:-1]
        shape = (self.num_positions, self.num_levels, self.num_embeddings)
        gumbel = tf.reshape(random.to_gumbel(uniform), tf.concat([lead, shape], axis=0))
        left = self._outputs(params) + tf.zeros(tf.concat([lead, [1, 1]], axis=0))
        kept = self._kept(uniform) if training else None
        vectors, total = [], 0.0
        for level, book in enumerate(self.codebooks()):
            logits = _logits(left, book)
            log_q = tf.nn.log_softmax(logits)
            scores = logits + gumbel[..., level, :]
            code = tf.argmax(scores, axis=-1, output_type=tf.int32)
            entry = tf.gather(book, code)
            if training:
                relaxed = tf.nn.softmax(scores / self._temperature())
                entry = with_gradient_of(entry, _times(relaxed, book))
                nats = tf.reduce_sum(tf.exp(log_q) * log_q, axis=-1)
            else:
                nats = tf.gather(log_q, code, axis=-1, batch_dims=code.shape.rank)
            left = left - entry
            if kept is not None:
                entry = kept[level] * entry
                there = kept[level][..., 0]
                nats = there * nats - (1.0 - there) * math.log(self.num_embeddings)
            vectors.append(entry)
            total = total + tf.reduce_sum(nats, axis=-1)
        z = tf.stack(vectors, axis=-2)
        return tf.reshape(z, tf.concat([lead, [self.latent_dim]], axis=0)), total

    def _kept(self, uniform) -> list | None:
        """Returns for each level whether an example keeps it, 1 or 0, `[..., batch, 1, 1]`."""
        if not self.level_dropout or self.num_levels == 1:
            return None
        drawn = tf.math.mod(uniform[..., :1, None] * _DIGITS, 1.0)
        # Below `level_dropout` the number of levels that stay is 1, 2, …, D − 1 alike.
        stay = 1.0 + tf.floor(drawn / self.level_dropout * (self.num_levels - 1))
        return [tf.cast(level < stay, tf.float32) for level in range(self.num_levels)]

    def log_prob(self, params, z):
        """Returns log q of entries `z`, −∞ of what are none, `[..., batch]`."""
        codes = self.nearest(z)
        shape = tf.concat([tf.shape(z)[:-1], [self.num_positions, self.num_levels]], axis=0)
        each = tf.reshape(codes, shape)
        left, total = self._outputs(params), 0.0
        for level, book in enumerate(self.codebooks()):
            code = each[..., level]
            log_q = tf.nn.log_softmax(_logits(left, book))
            chosen = tf.one_hot(code, self.num_embeddings)
            total = total + tf.reduce_sum(chosen * log_q, axis=(-2, -1))
            left = left - tf.gather(book, code)
        own = tf.reduce_all(tf.equal(z, self.embed(codes)), axis=-1)
        return tf.where(own, total, -float("inf"))

    def penalty(self, params):
        if not self.norm_weight or self.num_levels == 1:
            return None
        lengths = [tf.reduce_mean(tf.norm(book, axis=-1)) for book in self.codebooks()]
        pairs = zip(lengths[1:], lengths[:-1], strict=True)
        longer = [tf.maximum(1.5 * length / before, 1.0) - 1.0 for length, before in pairs]
        value = self.norm_weight * tf.reduce_mean(tf.square(tf.stack(longer)))
        return tf.zeros_like(params["z_e"][..., 0]) + value

    def _outputs(self, params):
        shape = (-1, self.num_positions, self.embedding_dim)
        return tf.reshape(params["z_e"], shape)

    def _temperature(self):
        return ops.maximum(ops.cast(schedules.at(self.temperature, self._vae()), "float32"), 1e-3)

    def get_config(self):
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "num_levels": self.num_levels,
            "temperature": schedules.serialize(self.temperature),
            "level_dropout": self.level_dropout,
            "norm_weight": self.norm_weight,
            "decay": self.decay,
            "seed": self.seed,
        }


def _logits(vectors, book):
    """Returns −‖v − e‖² of vectors `[..., d]` and entries `[K, d]`, `[..., K]`."""
    squares = tf.reduce_sum(tf.square(book), axis=-1)
    products = _times(vectors, tf.transpose(book))
    return 2.0 * products - squares - tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)


def _times(vectors, matrix):
    """Returns vectors `[..., n]` times a matrix `[n, m]`, `[..., m]`."""
    flat = tf.matmul(tf.reshape(vectors, (-1, matrix.shape[0])), matrix)
    return tf.reshape(flat, tf.concat([tf.shape(vectors)[:-1], [matrix.shape[1]]], axis=0))
