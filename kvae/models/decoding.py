"""The way from z to the parameters of p(x|z), on tensors: decoder and likelihood."""

import tensorflow as tf

from kvae.layers import top_down
from kvae.models.labels import encoded_label, joined, label_size

__all__ = ["Decoding"]


class Decoding:
    """The method of `kvae.VAE` from z to the likelihood's parameters, for graphs."""

    def decode_params(self, z, label=None, training: bool = False) -> dict[str, tf.Tensor]:
        """Returns the likelihood's parameters for a batch of latents, without any checks.

        Args:
            z: tensor `[..., batch, latent_dim]`, vectors whatever `latent_shape` is.
            label: as in `encode_params`: the labels of the batch, whatever axes precede it.
            training: bool. As in `encode_params`. Defaults to `False`.

        Returns:
            dict of tensors `[..., batch, *event]`, e.g. `{"logits": …}`; some likelihoods have
            parameters of other shapes.
        """
        z = tf.convert_to_tensor(z, tf.float32)
        lead = tf.shape(z)[:-1]
        known = encoded_label(self, label)
        if known is not None and z.shape.rank != 2:
            size = label_size(self)
            known = tf.broadcast_to(known, tf.concat([lead, [size]], axis=0))
            known = tf.reshape(known, (-1, size))
        rows = top_down.carried(z, tf.reshape(z, (-1, *self.latent_shape)))
        outputs = self.decoder(joined(self.decoder, rows, known), training=training)
        params = self.likelihood(outputs, training=training)
        if z.shape.rank == 2:
            return params
        return {
            name: tf.reshape(value, tf.concat([lead, tf.shape(value)[1:]], axis=0))
            for name, value in params.items()
        }
