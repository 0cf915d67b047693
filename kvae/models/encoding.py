"""The way from x to the parameters of q(z|x), on tensors: input, encoder and posterior."""

import functools

import tensorflow as tf

from kvae.models.labels import encoded_label, joined
from kvae.utils import keras_internals, masks

__all__ = ["Encoding"]


class Encoding:
    """The methods of `kvae.VAE` from x to the posterior's parameters, for graphs."""

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """The shape of what the encoder sees of an event: `event_shape`, or that with the mask."""
        shape = self.event_shape
        return tuple(shape if self.missing is None else self.missing.input_shape(shape))

    def seen(self, x, observed=None) -> tf.Tensor:
        """Returns what the encoder sees of x; the arguments are those of `encode_params`."""
        if self.missing is None:
            return self.likelihood.encoder_input(x)
        observed = masks.observed(x) if observed is None else observed
        return self.missing.seen(self.likelihood, x, observed)

    def encode_params(
        self, x, label=None, training: bool = False, observed=None, copies: int = 1
    ) -> dict[str, tf.Tensor]:
        """Returns the posterior's parameters for a batch of tensors, without any checks.

        Args:
            x: tensor `[batch, *event]`, on the scale of the data; of a model with `missing` with
                NaN where nothing was observed. Where nothing of an example was, the parameters are
                those of the prior, if the posterior can be it (`Posterior.params_of`).
            label: for a conditional model int `[batch]`, or float32 `[batch, num_classes]`; with
                `conditions` what their `record` returns.
            training: bool. Whether layers such as dropout act as in training. Defaults to `False`.
            observed: bool tensor `[batch, *event]`. The mask, for platforms without NaN. Defaults
                to `None`: x has it.
            copies: int. How many times x is encoded, one time after the other: `label` has so many
                times the rows of x. What does not depend on the label is computed once. Defaults to
                `1`.

        Returns:
            dict of tensors, e.g. `{"z_mean": [batch, latent_dim], …}`.
        """
        x = tf.convert_to_tensor(x)
        if self.missing is not None and observed is None:
            observed = masks.observed(x)
        seen = self.seen(x, observed)
        features = _encoded(self.encoder, seen, encoded_label(self, label), copies, training)
        params = self.posterior(features, training=training)
        if self.missing is None:
            return params
        observed = _repeated(observed, copies)
        known = self.posterior.params_of(self.prior)
        return {
            name: tf.where(masks.some(observed, value.shape.rank), value, known[name])
            if name in known
            else value
            for name, value in params.items()
        }


def _repeated(values, copies: int):
    """Returns the rows of a tensor `copies` times, one time after the other."""
    return values if copies == 1 else tf.tile(values, [copies, *[1] * (values.shape.rank - 1)])


def _encoded(encoder, x, label, copies: int, training: bool):
    """Runs an encoder on several copies of the same rows, each with other labels.

    Layers of a functional network that come before the label joins in are run on the rows alone:
    the convolutions of the zoo's networks, for one.

    Args:
        encoder: keras.Model.
        x: tensor `[batch, …]`. What the encoder sees.
        label: tensor `[copies * batch, label_size]` or `None`.
        copies: int.
        training: bool.

    Returns:
        The features `[copies * batch, …]`.
    """
    inputs = joined(encoder, x, label)
    if copies == 1:
        return encoder(inputs, training=training)
    repeat = functools.partial(_repeated, copies=copies)
    if isinstance(inputs, list) and keras_internals.is_functional(encoder):
        return keras_internals.call_on_copies(encoder, x, label, repeat, training)
    if not isinstance(inputs, list):  # It does not see the label.
        return tf.nest.map_structure(repeat, encoder(x, training=training))
    return encoder([repeat(x), label], training=training)
