"""The networks of a model with the parts that read them, as functional models of Keras."""

import keras
import tensorflow as tf

from kvae.likelihoods.scale import EncoderInput
from kvae.models.labels import joined, label_size

__all__ = ["NetworkModels"]


class NetworkModels:
    """The methods of `kvae.VAE` that return its networks as models of Keras."""

    def encoder_model(self) -> keras.Model:
        """Returns a functional model from `x` to the posterior's parameters, sharing weights.

        It saves and loads alone, like any Keras model. Of a conditional model it takes a pair: the
        labels are one-hot, `[batch, num_classes]`, or what `conditions.encode` returns. NaN is what
        it is to the model, but for examples of which nothing was observed: the network's guess
        takes the place of the prior.
        """
        image = keras.Input(self.event_shape, name="image")
        x = tf.zeros((1, *self.event_shape))
        unchanged = self.missing is None and self.likelihood.encoder_input(x) is x
        seen = image if unchanged else EncoderInput(self.likelihood, self.missing)(image)
        return self._model_of(self.encoder, self.posterior, image, "encoder_model", seen)

    def decoder_model(self) -> keras.Model:
        """Returns a functional model from `z` to the likelihood's parameters, sharing weights.

        Of a conditional model it takes a pair, as `encoder_model` does.
        """
        z = keras.Input(self.latent_shape, name="z")
        return self._model_of(self.decoder, self.likelihood, z, "decoder_model", z)

    def _model_of(self, network, part, values, name, seen) -> keras.Model:
        """Returns a model of a network and a part; the network gets `seen`, and not `values`."""
        label = keras.Input((label_size(self),), name="label") if self.conditional else None
        outputs = part(network(joined(network, seen, label)))
        if part is self.posterior:  # On the grid of z.
            outputs = {
                name: keras.layers.Reshape(self.latent_shape, name=f"{name}_grid")(value)
                if tuple(value.shape[1:]) == (self.latent_dim,) and len(self.latent_shape) > 1
                else value
                for name, value in outputs.items()
            }
        return keras.Model(joined(network, values, label), outputs, name=name)
