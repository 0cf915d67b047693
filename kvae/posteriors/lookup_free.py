"""The posterior of the signs of the encoder's output."""

import numpy as np
import tensorflow as tf
from keras import ops

from kvae.posteriors.posterior import register
from kvae.posteriors.quantizer import Quantizer
from kvae.utils import arguments

__all__ = ["LookupFree"]


@register("lookup_free")
class LookupFree(Quantizer):
    """LFQ: a code is the signs of d numbers, `z_i = sign(z_e,i)`, so that K = 2^d.

    Nothing draws codes into use by itself, which is what the
    entropy term of the penalty is for,

    `penalty = entropy_weight * Σ (E H[q(c|x)] − diversity * H[E q(c|x)]) + commitment * ‖z_e − z‖²`

    in nats, with the sum over positions and the means over the batch and the positions. There
    q(c|x) is the softmax of `−‖z_e − c‖² / temperature` over all c in {−1, 1}^d, which is a product
    of sigmoids of `4 z_e,i / temperature`. The first entropy makes each output certain of its code,
    the second, which is at most log K, makes all codes equally frequent. The term is in the loss
    and not in the ELBO; as a function of the whole batch it depends on its size, and replicas of a
    strategy have each their own.

    With `residual` the entries of the s-th further code are `±2^−s`, and the terms of the penalty
    are those of all codes, each of what those before it leave.

    Args:
        latent_dim: int or `None`, a multiple of `bits * (residual + 1)`. Set by `kvae.VAE` when
            `None`.
        bits: int. d, at most 16. Defaults to `8`.
        entropy_weight: float. Defaults to `0.1`.
        diversity: float. Weight of the second entropy. Defaults to `1.0`.
        temperature: float. Defaults to `1.0`.
        commitment: float. Defaults to `0.25`.
        gradient: str. `"straight_through"` or `"rotation"`, see `Quantizer`. Defaults to
            `"straight_through"`.
        decay: float. Weight of the past in the codes' running frequencies. Defaults to `0.99`.
        residual: int. Codes of a position after the first, see `Quantizer`. Defaults to `0`.

    Parameters: `z_e`, and `codes` with them, as those of `Quantizer`. The first number is the
    lowest bit of a code.

    Raises:
        ValueError: for numbers out of their range, and a `latent_dim` that is no multiple of
            `bits`.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=32, posterior="lookup_free:bits=8", prior="pixel_cnn"
    )
    ```

    Measured:
        - digits: ELBO −31.23 nats under a PixelCNN, 64 % of the codes in use,
          `kvae study which-codes --dataset digits`

    Reference:
        - [Yu et al., Language Model Beats Diffusion: Tokenizer is Key to Visual Generation, section
          3.1, eq. 5](https://arxiv.org/abs/2310.05737)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        bits: int = 8,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        temperature: float = 1.0,
        commitment: float = 0.25,
        gradient: str = "straight_through",
        decay: float = 0.99,
        residual: int = 0,
        **kwargs,
    ):
        self.residual = arguments.whole("residual", residual, 0)
        if not 1 <= bits <= 16:
            raise ValueError(f"`bits` is from 1 to 16, not {bits}.")
        if not (entropy_weight >= 0 and diversity >= 0 and temperature > 0):
            raise ValueError(
                "`entropy_weight` and `diversity` are at least 0 and `temperature` is more than 0, "
                f"not {entropy_weight}, {diversity} and {temperature}."
            )
        super().__init__(
            latent_dim,
            2**bits,
            bits,
            codes_per_position=self.residual + 1,
            commitment=commitment,
            gradient=gradient,
            decay=decay,
            **kwargs,
        )
        self.bits, self.entropy_weight = bits, entropy_weight
        self.diversity, self.temperature = diversity, temperature

    def codebooks(self):
        signs = 2.0 * self._digits - 1.0
        return [tf.constant(signs * 0.5**index, tf.float32) for index in range(self.residual + 1)]

    def chosen(self, vectors, index):
        digits = tf.cast(vectors > 0, tf.int32)
        return tf.reduce_sum(digits * 2 ** np.arange(self.bits, dtype="int32"), axis=-1)

    def penalty(self, params):
        total = super().penalty(params)
        if not self.entropy_weight:
            return total
        left, _ = self.left(params)
        for index, outputs in enumerate(tf.unstack(left, axis=2)):
            each, mean = self.entropies(outputs, 0.5**index)
            entropy = ops.sum(each, axis=-1) - self.diversity * self.num_positions * mean
            entropy = self.entropy_weight * entropy
            total = entropy if total is None else total + entropy
        return total

    def entropies(self, outputs, size: float = 1.0):
        """Returns H[q(c|x)] of each position, `[batch, num_positions]`, and H[E q(c|x)], in nats.

        Args:
            outputs: tensor `[batch, num_positions * bits]`, or with an axis for each.
            size: float. The entries are plus and minus this. Defaults to `1.0`.
        """
        logits = ops.reshape(outputs, (-1, self.bits)) * (4.0 * size / self.temperature)
        one, zero = -ops.softplus(-logits), -ops.softplus(logits)  # log q of each digit
        each = -ops.sum(ops.exp(one) * one + ops.exp(zero) * zero, axis=-1)
        digits = tf.constant(self._digits.T, tf.float32)
        mean = ops.mean(ops.exp(tf.matmul(one, digits) + tf.matmul(zero, 1.0 - digits)), axis=0)
        total = -ops.sum(mean * ops.log(ops.maximum(mean, 1e-30)))
        return ops.reshape(each, (-1, self.num_positions)), total

    @property
    def _digits(self):
        """The binary digits of all codes, `[K, bits]`."""
        return (np.arange(self.num_embeddings)[:, None] >> np.arange(self.bits)) & 1

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "entropy_weight": self.entropy_weight,
            "diversity": self.diversity,
            "temperature": self.temperature,
            "commitment": self.commitment,
            "gradient": self.gradient,
            "decay": self.decay,
            **({"residual": self.residual} if self.residual else {}),
        }
