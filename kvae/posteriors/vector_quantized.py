"""The posterior that picks entries of learned codebooks."""

import keras
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.posteriors.posterior import register
from kvae.posteriors.quantizer import Quantizer, nearest, shared

__all__ = ["VectorQuantized"]

# Arguments that a configuration has where they are not these, so that files without them stay.
_OPTIONS = {"gradient": "straight_through", "cosine": False, "groups": 1, "residual": 0}


@register("vector_quantized")
class VectorQuantized(Quantizer):
    """VQ-VAE: each position of the code is the nearest of K vectors that are learned.

    `z` is `latent_dim / embedding_dim` vectors, one after another, each an entry of the codebook,
    `e = argmin_k ‖z_e − e_k‖`. As a distribution, q(z|x) is certain of its codes, see `Quantizer`.

    What pulls the encoder towards its codes (and with `ema=False` the codes towards the encoder)
    is `penalty`, added to the loss: `commitment * ‖z_e − sg(e)‖² + ‖sg(z_e) − e‖²`, summed over
    the latents. With `ema=True` codes are running means of what they stand for, updated in
    training steps. The codebook starts at outputs of the first training batch. A code that no
    output has chosen for `revive_after` steps is put on a random output of the batch.

    With `groups` each output is cut into that many parts, each with a codebook of its own: product
    quantization, K^groups entries for the price of K · groups. With `residual` each output gets
    further codes for what those before leave of it, see `Quantizer`: a decoder that adds them up
    sees the residual quantization of the paper, `Σ_s e_s`.

    Args:
        latent_dim: int or `None`, a multiple of `embedding_dim * (residual + 1)`. Set by `kvae.VAE`
            when `None`.
        num_embeddings: int. K, of each codebook. Defaults to `128`.
        embedding_dim: int. Size of the encoder's output at each position. Defaults to `8`.
        ema: bool. Defaults to `True`.
        decay: float. Weight of the past in the running means. Defaults to `0.99`.
        commitment: float. Defaults to `0.25`.
        revive_after: int or `None`. Steps; `None` leaves dead codes dead. Defaults to `100`.
        seed: int. Chooses the first codes and the revived ones. Defaults to `0`.
        gradient: str. `"straight_through"` or `"rotation"`, see `Quantizer`. Defaults to
            `"straight_through"`.
        cosine: bool. Outputs and codes are taken to length 1, so that the nearest code is that of
            the largest cosine. Defaults to `False`.
        groups: int. Divides `embedding_dim`. Defaults to `1`.
        residual: int. Codes of a position after the first. Defaults to `0`.

    Parameters: `z_e`, and `codes` with them, as those of `Quantizer`.

    Raises:
        ValueError: for numbers out of their range, and for `cosine` with `residual`: what is left
            of a vector of length 1 has another length.

    Example:

    ```python
    posterior = kvae.posteriors.VectorQuantized(num_embeddings=64, embedding_dim=4)
    vae = kvae.VAE(
        encoder, decoder, latent_dim=16, posterior=posterior, prior="uniform_codes"
    )
    vae.encode(x)["codes"]      # [n, 4], from 0 to 63
    ```

    References:
        - [van den Oord et al., Neural Discrete Representation Learning, eq. 2 and 3, and appendix
          A.1](https://arxiv.org/abs/1711.00937)
        - [Dhariwal et al., Jukebox, section 3.1](https://arxiv.org/abs/2005.00341): revival
        - [Fifty et al., Restructuring Vector Quantization with the Rotation Trick](
          https://arxiv.org/abs/2410.06424): `gradient="rotation"`
        - [Yu et al., Vector-quantized Image Modeling with Improved VQGAN, section 3.2](
          https://arxiv.org/abs/2110.04627): `cosine`
        - [Jégou et al., Product Quantization for Nearest Neighbor Search](
          https://doi.org/10.1109/TPAMI.2010.57): `groups`
        - [Lee et al., Autoregressive Image Generation using Residual Quantization, section 3.1](
          https://arxiv.org/abs/2203.01941): `residual`
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        num_embeddings: int = 128,
        embedding_dim: int = 8,
        ema: bool = True,
        decay: float = 0.99,
        commitment: float = 0.25,
        revive_after: int | None = 100,
        seed: int = 0,
        gradient: str = "straight_through",
        cosine: bool = False,
        groups: int = 1,
        residual: int = 0,
        **kwargs,
    ):
        if groups < 1 or residual < 0 or embedding_dim % groups:
            raise ValueError(
                "`groups` is at least 1 and divides `embedding_dim`, and `residual` is at least 0, "
                f"not {groups} and {residual} with embedding_dim={embedding_dim}."
            )
        super().__init__(
            latent_dim,
            num_embeddings,
            embedding_dim,
            codes_per_position=groups * (residual + 1),
            commitment=commitment,
            gradient=gradient,
            decay=decay,
            **kwargs,
        )
        if revive_after is not None and revive_after < 1:
            raise ValueError(f"`revive_after` is None or at least 1, not {revive_after}.")
        if cosine and residual:
            raise ValueError(
                "cosine=True takes vectors to length 1, and what residual codes stand for has "
                "other lengths. Use one of the two; groups=… goes with both."
            )
        self.ema, self.revive_after, self.seed = ema, revive_after, seed
        self.cosine, self.groups, self.residual = cosine, groups, residual

    @property
    def code_dim(self) -> int:
        return self.embedding_dim // self.groups

    def build_codebooks(self):
        k, d = self.num_embeddings, self.code_dim
        start = keras.initializers.RandomUniform(-1 / k, 1 / k, seed=self.seed)
        if self.ema:
            self.embeddings = self.add_kept("embeddings", (k, d), start)
        else:
            self.embeddings = self.add_weight(
                shape=self.of_codebooks((k, d)),
                initializer=start,
                name="embeddings",
                aggregation="mean",
            )
        # Running counts of the outputs of each code, and running sums of these outputs.
        self.counts = self.add_kept("counts", (k,), "ones")
        self.sums = self.add_kept("sums", (k, d), start)
        self.unused = self.add_kept("unused", (k,), "zeros")
        self.steps = self.add_weight(
            shape=(),
            initializer="zeros",
            name="steps",
            trainable=False,
            aggregation="only_first_replica",
        )

    def constrain(self, params):
        if not self.cosine:
            return params
        parts = ops.reshape(params["z_e"], (-1, self.num_positions, self.groups, self.code_dim))
        directions = tf.math.l2_normalize(parts, axis=-1)
        return {"z_e": ops.reshape(directions, (-1, *self.parameter_shapes()["z_e"]))}

    def codebooks(self):
        # A list of one keeps the gradient of a codebook sparse.
        books = [tf.convert_to_tensor(self.embeddings)]
        books = books if self.codes_per_position == 1 else tf.unstack(books[0])
        return [tf.math.l2_normalize(book, axis=-1) for book in books] if self.cosine else books

    def codes_of(self, outputs):
        books = self.codebooks()
        return self._by_stages(outputs, lambda index, _: books[index])

    def penalty(self, params):
        return self.commitments(params, of_codes=0.0 if self.ema else 1.0)

    def get_config(self):
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "ema": self.ema,
            "decay": self.decay,
            "commitment": self.commitment,
            "revive_after": self.revive_after,
            "seed": self.seed,
            **{
                name: getattr(self, name)
                for name, usual in _OPTIONS.items()
                if getattr(self, name) != usual
            },
        }

    def start(self, outputs):
        """Moves the codebooks to outputs of the first batch."""
        first = tf.equal(self.steps, 0.0)
        drawn = []

        def draw(index, targets):
            some = self._some_of(targets, index)
            # Without noise, two codes that start at the same output would stay equal.
            noise = random.normal(some.shape, self._seed(2**30, index))
            some = some + 1e-2 * tf.math.reduce_std(targets) * noise
            drawn.append(shared(some, of_first=True))
            return drawn[-1]

        self._by_stages(outputs, draw)
        for variable in (self.embeddings, self.sums):
            variable.assign(tf.where(first, self.stacked(drawn), variable))

    def learn(self, outputs, codes):
        targets = self._targets(outputs, codes)
        sums = []
        for index, stood_for in enumerate(targets):
            one_hot = tf.one_hot(codes[:, index], self.num_embeddings)
            sums.append(shared(tf.matmul(one_hot, stood_for, transpose_a=True)))
        counts = self.count(codes)
        self.sums.assign_add((1.0 - self.decay) * (self.stacked(sums) - self.sums))
        if self.ema:
            # Laplace smoothing: codes without outputs keep a finite mean.
            total = tf.reduce_sum(self.counts, axis=-1, keepdims=True)
            smooth = (self.counts + 1e-5) / (total + self.num_embeddings * 1e-5) * total
            self.embeddings.assign(self.sums / smooth[..., None])
        self.unused.assign(tf.where(counts > 0, 0.0, self.unused + 1.0))
        if self.revive_after is not None:
            dead = self.unused >= self.revive_after
            drawn = [
                shared(self._some_of(stood_for, index), of_first=True)
                for index, stood_for in enumerate(targets)
            ]
            for variable in (self.embeddings, self.sums):
                variable.assign(tf.where(dead[..., None], self.stacked(drawn), variable))
            self.counts.assign(tf.where(dead, 1.0, self.counts))
            self.unused.assign(tf.where(dead, 0.0, self.unused))
        self.steps.assign_add(1.0)

    def _by_stages(self, outputs, book_of):
        """Quantizes outputs, and what each stage leaves of them; returns the codes.

        `book_of` returns a codebook by its number and what its codes are to stand for.
        """
        codes, left = [], outputs
        for stage in range(self.stages):
            entries = []
            for targets in tf.split(left, self.groups, axis=-1):
                book = book_of(len(codes), targets)
                codes.append(nearest(book, targets))
                if stage + 1 < self.stages:
                    entries.append(tf.gather(book, codes[-1]))
            left = left - tf.concat(entries, axis=-1) if entries else None
        return tf.stack(codes, axis=-1)

    def _targets(self, outputs, codes):
        """Returns what the codes of each codebook stand for, a list of `[n, code_dim]`."""
        if self.codes_per_position == 1:
            return [outputs]
        shape = (-1, self.stages, self.embedding_dim)
        before = tf.cumsum(tf.reshape(self.entries(codes), shape), axis=1, exclusive=True)
        left = tf.reshape(outputs[:, None] - before, (-1, self.codes_per_position, self.code_dim))
        return tf.unstack(left, axis=1)

    def _seed(self, number, index):
        seed = random.fold_in(self.seed, number)
        return random.fold_in(seed, index) if index else seed

    def _some_of(self, outputs, index):
        """Returns K of the batch's outputs, chosen by the seed and the number of the step."""
        step = tf.cast(self.steps, tf.int32)
        uniform = random.uniform([self.num_embeddings], self._seed(step, index))
        rows = tf.cast(uniform * tf.cast(tf.shape(outputs)[0], tf.float32), tf.int32)
        return tf.gather(outputs, tf.minimum(rows, tf.shape(outputs)[0] - 1))
