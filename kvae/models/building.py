"""The building of a model, which checks that its networks and parts have shapes that fit."""

import keras

from kvae.models import network_checks
from kvae.models.labels import check_label_inputs, joined, label_size
from kvae.models.modalities import warn_of_names
from kvae.utils import forks, keras_internals

__all__ = ["Building"]


class Building:
    """The methods of `kvae.VAE` that build it."""

    def build(self, input_shape):
        forks.check()
        shape = tuple(input_shape)
        if shape and isinstance(shape[0], (list, tuple)):
            shape = tuple(shape[0])  # The shapes are those of a pair (x, label).
        if len(shape) < 2 or None in shape[1:]:
            raise ValueError(
                f"Inputs have the shape (n, *event), each size of the event known, not {shape}."
            )
        self.event_shape = tuple(int(size) for size in shape[1:])
        label = keras.KerasTensor((None, label_size(self))) if self.conditional else None
        check_label_inputs(self)
        if self.conditions is not None:
            self.conditions.build(None)
        x = keras.KerasTensor((None, *self.event_shape))
        if self.missing is not None:
            x = self.missing(x, keras.KerasTensor(x.shape, "bool"))
        features = self.encoder(joined(self.encoder, x, label))
        warn_of_names(self.modalities, self.posterior(features))
        if self.prior is not None:
            self.prior.build((None, self.latent_dim))
        network_checks.check_latents(self.decoder, self.latent_shape)
        z = keras.KerasTensor((None, *self.latent_shape))
        inputs = joined(self.decoder, z, label)
        outputs = self.decoder(inputs)
        expected = self.likelihood.output_shape(self.event_shape)
        if tuple(outputs.shape[1:]) != expected:
            raise ValueError(
                f"The decoder returns shape {tuple(outputs.shape)}; "
                f"{type(self.likelihood).__name__} needs {(None, *expected)} for inputs of shape "
                f"{(None, *self.event_shape)}.{self._channels_hint(outputs.shape[1:], expected)}"
            )
        network_checks.check_ending(self.decoder, self.likelihood, inputs)
        self.likelihood(outputs)
        self.objective.prepare(self)
        for layer in (self.encoder, self.decoder, *self.parts):
            if not layer.trainable:  # Layers made since, e.g. heads, are frozen as well.
                keras_internals.set_trainable(layer, False)
        self.built = True

    def _channels_hint(self, given, expected) -> str:
        """Returns the advice for a decoder that puts the parameters of x on the first axis."""
        event, count = self.event_shape, self.likelihood.num_parameters
        if count == 1 or len(event) < 2 or tuple(given) != (event[0] * count, *event[1:]):
            return ""
        order = (1, *range(3, len(event) + 2), 2)
        return (
            " A likelihood takes the parameters of x on the last axis, whatever the data format: "
            f"end the decoder in Reshape({(event[0], count, *event[1:])}), Permute({order}), "
            f"Reshape({tuple(expected)})."
        )
