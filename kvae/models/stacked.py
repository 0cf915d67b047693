"""One model of two, of which the second is a model of the first one's codes."""

import keras
from keras import layers

from kvae.likelihoods.scale import EncoderInput
from kvae.models.inputs import require_built
from kvae.models.labels import joined, label_size
from kvae.models.vae import VAE
from kvae.objectives.semi_supervised import SemiSupervised

__all__ = ["MeanOf", "stacked"]


@keras.saving.register_keras_serializable(package="kvae")
class MeanOf(layers.Layer):
    """The mean of the distribution that a network's outputs describe.

    Args:
        part: `kvae.posteriors.Posterior` or `kvae.likelihoods.Likelihood`, or its config.
    """

    def __init__(self, part, **kwargs):
        super().__init__(**kwargs)
        self.part = keras.saving.deserialize_keras_object(part) if isinstance(part, dict) else part

    def call(self, outputs):
        return self.part.mean(self.part(outputs))

    def get_config(self):
        return {**super().get_config(), "part": keras.saving.serialize_keras_object(self.part)}


def stacked(first: VAE, second: VAE) -> VAE:
    """Returns one model of x, of a model of x and a model of its codes, which share its weights.

    Both are trained already, one after the other. The encoder is that of `first`, up to the mean of
    q(z|x), and then that of `second`; the decoder is that of `second`, up to the mean of p(z|u),
    and then that of `first`. So the noise of z is left out, and log p(x) is that of the model that
    is returned. If `second` guesses labels, so does the stacked model, by copies of the first
    encoder and of its classifier: with an M1 and an M2 it is the M1+M2 of Kingma et al. It
    predicts, samples, saves and is exported like any model, and may be trained further as a whole.

    Args:
        first: `kvae.VAE` of x, without labels.
        second: `kvae.VAE` of events `[first.latent_dim]` or `[*first.latent_shape]`, the means
            `first.encode(x)`, with labels or without.

    Returns:
        `kvae.VAE` with the codes and the prior of `second`, built and not compiled.

    Raises:
        ValueError: for models that do not fit together.

    Example:

    ```python
    digits = kvae.datasets.few_labels(kvae.datasets.load("digits", "train"), 10, repeat=5)
    first = zoo.load("dense_vae.digits")
    codes = first.encode(digits.examples)["z_mean"]
    second = zoo.build("m2_vae", event_shape=(16,), latent_dim=8, likelihood="gaussian:learned")
    second.compile("adam")
    second.fit((codes, digits.labels), sample_weight=digits.weights, epochs=1)
    vae = kvae.stacked(first, second)
    vae.predict_proba(digits.examples[:5])
    ```

    Reference:
        - [Kingma et al., Semi-supervised Learning with Deep Generative Models, section 3.3](
          https://arxiv.org/abs/1406.5298)
    """
    require_built(first)
    require_built(second)
    if first.conditional or first.missing is not None or second.missing is not None:
        raise ValueError("`first` takes no labels, and neither model takes missing values.")
    if second.event_shape not in (first.latent_shape, (first.latent_dim,)):
        raise ValueError(
            f"`second` takes events of shape {second.event_shape}, and the codes of `first` have "
            f"{first.latent_shape}."
        )
    if second.prior is not None and second.prior.uses_posterior:
        raise ValueError(
            f"The {type(second.prior).__name__} prior of `second` is made of examples of its own; "
            "give it another, e.g. prior='standard_normal'."
        )
    label = keras.Input((label_size(second),), name="label") if second.conditional else None
    x, z = keras.Input(first.event_shape, name="image"), keras.Input(second.latent_shape, name="z")
    code = MeanOf(first.posterior, name="code")(_first(first.encoder, x.shape[1:])(x))
    if len(second.event_shape) > 1:
        code = layers.Reshape(second.event_shape, name="code_grid")(code)
    seen = EncoderInput(_copy(second.likelihood), name="seen")(code)

    def model(network, inputs, values, *last):
        outputs = network(joined(network, values, label))
        for layer in last:
            outputs = layer(outputs)
        return keras.Model(joined(network, inputs, label), outputs, name=network.name)

    last = [MeanOf(second.likelihood, name="code"), _first(first.decoder, first.latent_shape)]
    if first.latent_shape != second.event_shape:
        last.insert(1, layers.Reshape(first.latent_shape, name="grid"))
    return VAE(
        model(second.encoder, x, seen),
        model(second.decoder, z, z, *last),
        latent_shape=second.latent_shape,
        posterior=second.posterior,
        prior=second.prior,
        likelihood=first.likelihood,
        objective=_objective(second, x, seen),
        num_classes=second.num_classes,
        conditions=second.conditions,
        seed=second.seed,
        name="stacked",
    )


def _copy(part):
    """Returns a part of its own: a file holds what two networks share once, and does not load."""
    save, load = keras.saving.serialize_keras_object, keras.saving.deserialize_keras_object
    copy = load(save(part))
    copy.set_weights(part.get_weights())
    return copy


def _first(network, shape) -> keras.Model:
    """Returns a network of the first model by a name that the second one's does not have."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, network(inputs), name=f"first_{network.name}")


def _objective(second: VAE, x, seen):
    """Returns an objective with the settings of the second model's, whose classifier takes x."""
    config = second.objective.get_config()
    if isinstance(second.objective, SemiSupervised):
        own = keras.Model(x, second.objective.classifier(seen), name="classifier")
        config = {**config, "classifier": _copy(own)}
    return type(second.objective).from_config(config)
