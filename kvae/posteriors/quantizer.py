"""The base of posteriors whose z is made of entries of codebooks."""

import math

import tensorflow as tf
from keras import ops

from kvae.distributions.rotation import rotated
from kvae.distributions.straight_through import with_gradient_of
from kvae.parts import to_write
from kvae.posteriors.posterior import Posterior
from kvae.utils import names

__all__ = ["Quantizer"]

_GRADIENTS = ("straight_through", "rotation")


class Quantizer(Posterior):
    """Posteriors that are certain of their codes: `z` is entries of codebooks, one after another.

    The encoder's output `z_e` is `num_positions` vectors of `embedding_dim` numbers. Each gets
    `codes_per_position` codes, numbers from 0 to K − 1, and each code is an entry of `code_dim`
    numbers of a codebook; the positions share their codebooks. As a distribution q(z|x) is certain
    of its codes: log q = 0, and the KL to `UniformCodes` is the constant N log K of the N codes, so
    the ELBO is `log p(x|z) − N log K` and importance samples of log p(x) all give that same bound.

    With residual codes a position has further ones, each for what those before leave of the output,
    `r_s = z_e − Σ_{t<s} e_t`. All entries stand in z one after another, so that codes can be told
    from any z; a decoder adds those of a position up, as `vqvae` in the zoo does. The gradient goes
    to `z_e` through the first of them, and the commitment is to each of the sums.

    A new one gives `codebooks`, where it searches in a way of its own, `chosen` or `codes_of`, and
    where it learns from the outputs themselves, `learn`. `penalty` has a commitment of the encoder
    to its codes.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        num_embeddings: int. K.
        embedding_dim: int. Numbers of the encoder's output at each position.
        codes_per_position: int. Defaults to `1`.
        commitment: float. Weight of `‖z_e − sg(e)‖²`, summed over the latents. Defaults to `0`.
        gradient: str. What the encoder gets of the decoder's gradient at `z`:
            `"straight_through"` a copy, `"rotation"` what the rotation of `z_e` onto `e` and the
            ratio of their lengths make of it (`kvae.distributions.rotation`). Defaults to
            `"straight_through"`.
        decay: float. Weight of the past in the codes' running frequencies. Defaults to `0.99`.

    Parameters: `z_e`, `[batch, num_positions * embedding_dim]`. Features of that size are taken as
    they are (a convolutional encoder ends in a map of `embedding_dim` channels); others go through
    a dense head. Encoding returns `codes` with them, int32 `[batch, N]`.

    In the logs: `perplexity`, exp of the entropy of the codes' running frequencies, from 1 (one
    code does it all) to K; of several codebooks the geometric mean.

    Raises:
        ValueError: for numbers out of their range, a `latent_dim` of no whole number of positions,
            and an unknown `gradient`.
    """

    space = "codes"
    any_size = True
    discrete = True
    deterministic = True

    def __init__(
        self,
        latent_dim: int | None = None,
        num_embeddings: int = 128,
        embedding_dim: int = 8,
        codes_per_position: int = 1,
        commitment: float = 0.0,
        gradient: str = "straight_through",
        decay: float = 0.99,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if num_embeddings < 2 or embedding_dim < 1:
            raise ValueError(
                "`num_embeddings` is at least 2 and `embedding_dim` at least 1, not "
                f"{num_embeddings} and {embedding_dim}."
            )
        if not 0 <= decay < 1 or not commitment >= 0:
            raise ValueError(
                f"`decay` is in [0, 1) and `commitment` at least 0, not {decay} and {commitment}."
            )
        if gradient not in _GRADIENTS:
            raise names.unknown_name("gradient", gradient, _GRADIENTS)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.codes_per_position, self.commitment = codes_per_position, commitment
        self.gradient, self.decay = gradient, decay

    # A subclass defines these.

    @to_write
    def codebooks(self):
        """Returns the codebooks: a list of `codes_per_position` tensors `[K, code_dim]`."""
        raise NotImplementedError

    def chosen(self, vectors, index: int):
        """Returns the codes of vectors `[n, code_dim]` in a codebook, int32 `[n]`.

        By default those of the nearest entries.

        Args:
            vectors: tensor `[n, code_dim]`.
            index: int. The number of the codebook.
        """
        return nearest(self.codebooks()[index], vectors)

    def codes_of(self, outputs):
        """Returns the codes of outputs `[n, embedding_dim]`, int32 `[n, codes_per_position]`.

        By default each is for what those before leave of the output.
        """
        codes = [self.chosen(outputs, 0)]
        books = self.codebooks() if self.codes_per_position > 1 else []
        for index, book in enumerate(books[:-1], start=1):
            outputs = outputs - tf.gather(book, codes[-1])
            codes.append(self.chosen(outputs, index))
        return tf.stack(codes, axis=-1)

    def start(self, outputs) -> None:
        """Prepares the codebooks for outputs `[n, embedding_dim]` of a training step."""

    def learn(self, outputs, codes) -> None:
        """Learns from outputs `[n, embedding_dim]` of a training step and their codes."""
        self.count(codes)

    # These follow from them.

    @property
    def code_dim(self) -> int:
        """The size of an entry, of which z has one for each code."""
        return self.embedding_dim

    @property
    def num_positions(self) -> int:
        """The places that have codes, e.g. the points of a grid."""
        size = self.codes_per_position * self.code_dim
        if self.latent_dim % size:
            what = f"embedding_dim={size}"
            if size != self.embedding_dim:
                what = f"{size}, the size of the {self.codes_per_position} codes of a position"
            raise ValueError(
                f"latent_dim={self.latent_dim} is no multiple of {what}: z is one code after "
                "another."
            )
        return self.latent_dim // size

    @property
    def num_codes(self) -> int:
        """N, the codes of one example."""
        return self.num_positions * self.codes_per_position

    @property
    def stages(self) -> int:
        """The vectors of `embedding_dim` that z has at each position; several add up to one."""
        return self.codes_per_position * self.code_dim // self.embedding_dim

    def parameter_shapes(self):
        return {"z_e": (self.num_positions * self.embedding_dim,)}

    def build(self, features_shape):
        if self.built:  # A second codebook would be another model.
            return
        size = self.parameter_shapes()["z_e"]
        plain = not isinstance(features_shape, dict)
        plain = plain and not isinstance(features_shape[0], (list, tuple))
        if plain and math.prod(features_shape[1:]) == size[0]:
            features_shape = {"z_e": (None, *size)}
        super().build(features_shape)
        self.build_codebooks()

    def build_codebooks(self) -> None:
        """Makes the variables. By default the running frequencies of the codes alone."""
        self.counts = self.add_kept("counts", (self.num_embeddings,), "ones")

    def add_kept(self, name, shape, initializer):
        """Makes a variable that training assigns, with an axis of codebooks where it has several.

        Args:
            name: str.
            shape: tuple of int. Its shape for one codebook.
            initializer: of Keras.
        """
        return self.add_weight(
            shape=self.of_codebooks(shape),
            initializer=initializer,
            name=name,
            trainable=False,
            aggregation="only_first_replica",
        )

    def of_codebooks(self, shape) -> tuple[int, ...]:
        """Returns the shape of a variable that has `shape` for one codebook."""
        return shape if self.codes_per_position == 1 else (self.codes_per_position, *shape)

    def stacked(self, values):
        """Returns a list with a tensor for each codebook as the value of such a variable."""
        return values[0] if self.codes_per_position == 1 else tf.stack(values)

    def call(self, features, training=False):
        if not isinstance(features, (dict, list, tuple)) and not self.heads:
            features = {"z_e": ops.reshape(features, (-1, *self.parameter_shapes()["z_e"]))}
        params = super().call(features)
        outputs = tf.reshape(tf.stop_gradient(params["z_e"]), (-1, self.embedding_dim))
        if training:
            self.start(outputs)
        codes = self.codes_of(outputs)
        if training:
            self.learn(outputs, codes)
        return {**params, "codes": tf.reshape(codes, (-1, self.num_codes))}

    def codes(self, params):
        """Returns the codes of `x`, int32 `[batch, N]`."""
        return params["codes"]

    def nearest(self, z):
        """Returns the codes whose entries are nearest to any `z`: int32 `[..., N]`."""
        vectors = tf.reshape(z, (-1, self.codes_per_position, self.code_dim))
        each = [self.chosen(one, index) for index, one in enumerate(tf.unstack(vectors, axis=1))]
        codes = tf.stack(each, axis=-1)
        return tf.reshape(codes, tf.concat([tf.shape(z)[:-1], [self.num_codes]], axis=0))

    def embed(self, codes):
        """Returns the entries of the codebooks: ints `[..., N]` to `z` `[..., latent_dim]`."""
        entries = self.entries(tf.reshape(codes, (-1, self.codes_per_position)))
        lead = tf.shape(codes)[:-1]
        return tf.reshape(entries, tf.concat([lead, [self.latent_dim]], axis=0))

    def entries(self, codes):
        """Returns the entries of `[n, codes_per_position]`, one axis of `code_dim` more."""
        books = enumerate(self.codebooks())
        return tf.stack([tf.gather(book, codes[:, index]) for index, book in books], axis=1)

    def transform(self, params, noise):
        z = self.embed(params["codes"])
        return with_gradient_of(z, self.carrier(params["z_e"], z))

    def carrier(self, z_e, z):
        """Returns what has the gradient of z, `[batch, latent_dim]`, as a function of `z_e`."""
        if self.stages > 1:
            stages = self.by_stage(z)
            first = self._carrier(z_e, tf.reshape(stages[:, :, 0], tf.shape(z_e)))
            first = tf.reshape(first, (-1, self.num_positions, 1, self.embedding_dim))
            stages = tf.concat([first, tf.stop_gradient(stages[:, :, 1:])], axis=2)
            return tf.reshape(stages, (-1, self.latent_dim))
        return self._carrier(z_e, z)

    def _carrier(self, z_e, z):
        if self.gradient == "straight_through":
            return z_e
        shape = (-1, self.num_positions, self.code_dim)
        return tf.reshape(rotated(tf.reshape(z_e, shape), tf.reshape(z, shape)), tf.shape(z))

    def by_stage(self, z):
        """Returns z as `[batch, num_positions, stages, embedding_dim]`."""
        return tf.reshape(z, (-1, self.num_positions, self.stages, self.embedding_dim))

    def left(self, params) -> tuple:
        """Returns what each stage stands for, and its entries; both as `by_stage` has them.

        The first has the gradient of the encoder, the second that of the codebooks.
        """
        entries = self.by_stage(self.embed(params["codes"]))
        z_e = tf.reshape(params["z_e"], (-1, self.num_positions, 1, self.embedding_dim))
        if self.stages > 1:
            z_e = z_e - tf.stop_gradient(tf.cumsum(entries, axis=2, exclusive=True))
        return z_e, entries

    def mean(self, params):
        """Returns the codes' entries, `[batch, latent_dim]`."""
        return self.embed(params["codes"])

    def average(self):
        """Returns the average entry at each position, `[latent_dim]`."""
        average = ops.concatenate([ops.mean(book, axis=0) for book in self.codebooks()])
        return ops.tile(average, self.num_positions)

    def log_prob(self, params, z):
        """Returns log q: 0 of the codes of `x`, −∞ of all others, `[..., batch]`."""
        own = ops.all(ops.equal(z, self.embed(params["codes"])), axis=-1)
        return ops.where(own, 0.0, -math.inf)

    def penalty(self, params):
        return self.commitments(params) if self.commitment else None

    def commitments(self, params, of_codes: float = 0.0):
        """Returns `commitment * ‖r − sg(e)‖²`, and `of_codes` times `‖sg(r) − e‖²`, `[batch]`."""
        left, entries = self.left(params)
        pull = self.commitment * ops.square(left - tf.stop_gradient(entries))
        if of_codes:  # Each codebook is pulled to what it stands for.
            pull = pull + of_codes * ops.square(tf.stop_gradient(left) - entries)
        return ops.sum(ops.reshape(pull, (-1, self.latent_dim)), axis=-1)

    def count(self, codes):
        """Moves the running frequencies on by a step's codes; returns its counts `[…, K]`."""
        counts = [
            shared(tf.reduce_sum(tf.one_hot(chosen, self.num_embeddings), axis=0))
            for chosen in tf.unstack(codes, axis=-1)
        ]
        self.counts.assign_add((1.0 - self.decay) * (self.stacked(counts) - self.counts))
        return self.stacked(counts)

    def perplexity(self):
        """Returns exp of the entropy of the codes' running frequencies, from 1 to K."""
        share = self.counts / ops.sum(self.counts, axis=-1, keepdims=True)
        return ops.exp(ops.mean(-ops.sum(share * ops.log(share + 1e-10), axis=-1)))

    def report(self):
        return {"perplexity": self.perplexity()} if self.built else {}


def nearest(codebook, vectors):
    """Returns the number of the entry of `[K, d]` nearest to each of `[n, d]`, int32 `[n]`."""
    codebook = tf.convert_to_tensor(codebook)
    # Centred codes, because the squares of codes far from 0 would cancel below.
    centre = ops.mean(codebook, axis=0)
    codebook, vectors = codebook - centre, vectors - centre
    # ‖z‖² is the same for all entries.
    distance = ops.sum(ops.square(codebook), axis=-1) - 2.0 * tf.matmul(
        vectors, codebook, transpose_b=True
    )
    return tf.argmin(distance, axis=-1, output_type=tf.int32)


def shared(values, of_first: bool = False):
    """Returns the sum over the replicas of a strategy, or the values of the first one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    if of_first:
        first = tf.equal(context.replica_id_in_sync_group, 0)
        values = tf.where(first, values, tf.zeros_like(values))
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
