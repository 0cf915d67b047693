"""The posterior that picks entries of a learned codebook."""

import math

import keras
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.distributions.straight_through import with_gradient_of
from kvae.posteriors.posterior import Posterior, register

__all__ = ["VectorQuantized"]


@register("vector_quantized")
class VectorQuantized(Posterior):
    """VQ-VAE: each position of the code is the nearest of K vectors that are learned.

    `z` is `latent_dim / embedding_dim` vectors, one after another, each an entry of the codebook;
    gradients pass straight through to the encoder's output `z_e`. As a distribution, q(z|x) is
    certain of its codes: log q = 0, and the KL to `UniformCodes` is the constant N log K, so the
    ELBO is `log p(x|z) − N log K` and importance samples of log p(x) all give that same bound.

    What pulls the encoder towards its codes (and with `ema=False` the codes towards the encoder)
    is `penalty`, added to the loss: `commitment * ‖z_e − sg(e)‖² + ‖sg(z_e) − e‖²`, summed over
    the latents. With `ema=True` codes are running means of what they stand for, updated in
    training steps. The codebook starts at outputs of the first training batch. A code that no
    output has chosen for `revive_after` steps is put on a random output of the batch.

    Args:
        latent_dim: int or `None`, a multiple of `embedding_dim`. Set by `kvae.VAE` when `None`.
        num_embeddings: int. K. Defaults to `128`.
        embedding_dim: int. Size of a code. Defaults to `8`.
        ema: bool. Defaults to `True`.
        decay: float. Weight of the past in the running means. Defaults to `0.99`.
        commitment: float. Defaults to `0.25`.
        revive_after: int or `None`. Steps; `None` leaves dead codes dead. Defaults to `100`.
        seed: int. Chooses the first codes and the revived ones. Defaults to `0`.

    Parameters: `z_e`, `[batch, latent_dim]`. Features of that size are taken as they are (a
    convolutional encoder ends in a map of `embedding_dim` channels); others go through a dense
    head. Encoding returns `codes` with them, int32 `[batch, latent_dim / embedding_dim]`.

    In the logs: `perplexity`, exp of the entropy of the codes' running frequencies, from 1 (one
    code does it all) to K.

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
    """

    space = "codes"
    discrete = True
    deterministic = True

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
        if revive_after is not None and revive_after < 1:
            raise ValueError(f"`revive_after` is None or at least 1, not {revive_after}.")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.ema, self.decay, self.commitment = ema, decay, commitment
        self.revive_after, self.seed = revive_after, seed

    @property
    def num_positions(self) -> int:
        """N, the codes of one example."""
        if self.latent_dim % self.embedding_dim:
            raise ValueError(
                f"latent_dim={self.latent_dim} is no multiple of embedding_dim="
                f"{self.embedding_dim}: z is one code after another."
            )
        return self.latent_dim // self.embedding_dim

    def parameter_shapes(self):
        return {"z_e": (self.num_positions * self.embedding_dim,)}

    def build(self, features_shape):
        if self.built:  # A second codebook would be another model.
            return
        plain = not isinstance(features_shape, dict)
        plain = plain and not isinstance(features_shape[0], (list, tuple))
        if plain and math.prod(features_shape[1:]) == self.latent_dim:
            features_shape = {"z_e": (None, *self.parameter_shapes()["z_e"])}
        super().build(features_shape)
        k, d = self.num_embeddings, self.embedding_dim
        start = keras.initializers.RandomUniform(-1 / k, 1 / k, seed=self.seed)
        kept = {"trainable": False, "aggregation": "only_first_replica"}
        codebook = kept if self.ema else {"aggregation": "mean"}
        self.embeddings = self.add_weight(
            shape=(k, d), initializer=start, name="embeddings", **codebook
        )
        # Running counts of the outputs of each code, and running sums of these outputs.
        self.counts = self.add_weight(shape=(k,), initializer="ones", name="counts", **kept)
        self.sums = self.add_weight(shape=(k, d), initializer=start, name="sums", **kept)
        self.unused = self.add_weight(shape=(k,), initializer="zeros", name="unused", **kept)
        self.steps = self.add_weight(shape=(), initializer="zeros", name="steps", **kept)

    def call(self, features, training=False):
        if not isinstance(features, (dict, list, tuple)) and not self.heads:
            features = {"z_e": ops.reshape(features, (-1, self.latent_dim))}
        params = super().call(features)
        outputs = tf.reshape(tf.stop_gradient(params["z_e"]), (-1, self.embedding_dim))
        if training:
            self._start(outputs)
        codes = self._nearest(outputs)
        if training:
            self._update(outputs, codes)
        return {**params, "codes": tf.reshape(codes, (-1, self.num_positions))}

    def codes(self, params):
        """Returns the codes of `x`, int32 `[batch, N]`."""
        return params["codes"]

    def nearest(self, z):
        """Returns the codes nearest to any `z` `[..., latent_dim]`, int32 `[..., N]`."""
        codes = self._nearest(tf.reshape(z, (-1, self.embedding_dim)))
        return tf.reshape(codes, tf.concat([tf.shape(z)[:-1], [self.num_positions]], axis=0))

    def transform(self, params, noise):
        quantized = self.embed(params["codes"])
        return with_gradient_of(quantized, params["z_e"])

    def embed(self, codes):
        """Returns the entries of the codebook: ints `[..., N]` to `z` `[..., latent_dim]`."""
        vectors = tf.gather(tf.convert_to_tensor(self.embeddings), codes)
        lead = tf.shape(codes)[:-1]
        return tf.reshape(vectors, tf.concat([lead, [self.latent_dim]], axis=0))

    def mean(self, params):
        """Returns the codes' vectors, `[batch, latent_dim]`."""
        return self.embed(params["codes"])

    def log_prob(self, params, z):
        """Returns log q: 0 of the codes of `x`, −∞ of all others, `[..., batch]`."""
        own = ops.all(ops.equal(z, self.embed(params["codes"])), axis=-1)
        return ops.where(own, 0.0, -math.inf)

    def penalty(self, params):
        z_e, quantized = params["z_e"], self.embed(params["codes"])
        pull = self.commitment * ops.square(z_e - tf.stop_gradient(quantized))
        if not self.ema:
            pull = pull + ops.square(tf.stop_gradient(z_e) - quantized)
        return ops.sum(pull, axis=-1)

    def perplexity(self):
        """Returns exp of the entropy of the codes' running frequencies, from 1 to K."""
        share = self.counts / ops.sum(self.counts)
        return ops.exp(-ops.sum(share * ops.log(share + 1e-10)))

    def report(self):
        return {"perplexity": self.perplexity()} if self.built else {}

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
        }

    def _nearest(self, outputs):
        """Returns the number of the entry nearest to each of `outputs` `[n, embedding_dim]`."""
        codebook = tf.convert_to_tensor(self.embeddings)
        # Centred codes, because the squares of codes far from 0 would cancel below.
        centre = ops.mean(codebook, axis=0)
        codebook, outputs = codebook - centre, outputs - centre
        # ‖z‖² is the same for all entries.
        distance = ops.sum(ops.square(codebook), axis=-1) - 2.0 * tf.matmul(
            outputs, codebook, transpose_b=True
        )
        return tf.argmin(distance, axis=-1, output_type=tf.int32)

    def _some_of(self, outputs):
        """Returns K of the batch's outputs, chosen by the seed and the number of the step."""
        step = tf.cast(self.steps, tf.int32)
        uniform = random.uniform([self.num_embeddings], random.fold_in(self.seed, step))
        rows = tf.cast(uniform * tf.cast(tf.shape(outputs)[0], tf.float32), tf.int32)
        return tf.gather(outputs, tf.minimum(rows, tf.shape(outputs)[0] - 1))

    def _start(self, outputs) -> None:
        """Moves the codebook to outputs of the first batch."""
        first = tf.equal(self.steps, 0.0)
        drawn = self._some_of(outputs)
        # Without noise, two codes that start at the same output would stay equal.
        noise = random.normal(drawn.shape, random.fold_in(self.seed, 2**30))
        drawn = self._shared(drawn + 1e-2 * tf.math.reduce_std(outputs) * noise, of_first=True)
        for variable in (self.embeddings, self.sums):
            variable.assign(tf.where(first, drawn, variable))

    def _update(self, outputs, codes) -> None:
        one_hot = tf.one_hot(codes, self.num_embeddings)
        counts = self._shared(tf.reduce_sum(one_hot, axis=0))
        sums = self._shared(tf.matmul(one_hot, outputs, transpose_a=True))
        rate = 1.0 - self.decay
        self.counts.assign_add(rate * (counts - self.counts))
        self.sums.assign_add(rate * (sums - self.sums))
        if self.ema:
            # Laplace smoothing: codes without outputs keep a finite mean.
            total = tf.reduce_sum(self.counts)
            smooth = (self.counts + 1e-5) / (total + self.num_embeddings * 1e-5) * total
            self.embeddings.assign(self.sums / smooth[:, None])
        self.unused.assign(tf.where(counts > 0, 0.0, self.unused + 1.0))
        if self.revive_after is not None:
            dead = self.unused >= self.revive_after
            drawn = self._shared(self._some_of(outputs), of_first=True)
            for variable in (self.embeddings, self.sums):
                variable.assign(tf.where(dead[:, None], drawn, variable))
            self.counts.assign(tf.where(dead, 1.0, self.counts))
            self.unused.assign(tf.where(dead, 0.0, self.unused))
        self.steps.assign_add(1.0)

    @staticmethod
    def _shared(values, of_first: bool = False):
        """Returns the sum over the replicas of a strategy, or the values of the first one."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return values
        if of_first:
            first = tf.equal(context.replica_id_in_sync_group, 0)
            values = tf.where(first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
