"""The VAE/GAN: likeness is judged in the features of a discriminator that learns beside it."""

import keras
import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.distributions.straight_through import with_gradient_of
from kvae.objectives.adversarial import OfExamples, dense_discriminator
from kvae.objectives.objective import register

__all__ = ["VAEGAN"]

# In the place of 0 in a schedule, where γ is divided by: times a gradient it is nothing in float32.
_LEAST = 1e-20


@register("vaegan")
class VAEGAN(OfExamples):
    """VAE/GAN: `KL(q(z|x) ‖ p(z)) + ½‖D_l(x) − D_l(x̃)‖² − log D(x̃) − log D(x_p)`.

    D is the probability that a discriminator gives to an image being data, and D_l what its l-th
    layer makes of it. `x̃` is the reconstruction, the mean of p(x|z), and `x_p` the decoding of a
    draw from the prior. What is alike in D_l need not be so pixel by pixel, so that images may be
    sharp. The parts of the loss reach whom they do in the paper's algorithm 1:

    - the encoder learns by the KL and the features;
    - the decoder by γ times the features, and by deceiving the discriminator;
    - the discriminator, after each step of the model, by telling x from x̃ and x_p.

    In the logs `features` is `½‖D_l(x) − D_l(x̃)‖²` and `adversarial` the sum of both `−log D`, in
    nats, which the paper has as `log(1 − D)`: that one hardly has a gradient where the
    discriminator is right. The features are those of a network that changes, and no density of x:
    the loss bounds no likelihood. `elbo`, `reconstruction` and `kl` are reported as of any model.

    Args:
        gamma: float of at least 1e-20, or schedule (`kvae.schedules`), which may be 0 for a while.
            Weight of the features for the decoder; the smaller it is, the more it learns from the
            discriminator's verdict. Defaults to `1.0`.
        feature_layer: str or `None`. The name of the layer of a discriminator that is given whose
            output is D_l. Defaults to `None`: the last layer but one.
        **settings: of `kvae.objectives.OfExamples`. Where no `discriminator` of layers from x to a
            logit is given, it has `discriminator_depth` convolutions of stride 2 with 32, 64, …
            filters, the last of which is D_l, and a dense layer of `discriminator_width` units
            before the logit, 256 of them; for events that are no images dense layers alone.

    Raises:
        ValueError: for settings out of range, a layer that the discriminator has not, one whose
            layers are not known, an autoregressive likelihood, and a model without a prior and one
            with missing values.

    Example:

    ```python
    objective = kvae.objectives.VAEGAN(gamma=0.1)
    vae = kvae.VAE(
        encoder, decoder, latent_dim=16, likelihood="gaussian", objective=objective
    )
    ```

    Reference:
        - [Larsen et al., Autoencoding beyond Pixels Using a Learned Similarity Metric, eq. 8 and
          algorithm 1](https://arxiv.org/abs/1512.09300)
    """

    def __init__(
        self,
        gamma: schedules.Number = 1.0,
        feature_layer: str | None = None,
        **settings,
    ):
        super().__init__(**settings)
        self.gamma = schedules.resolve("gamma", gamma)
        if not schedules.is_schedule(self.gamma) and self.gamma < _LEAST:
            raise ValueError(
                f"`gamma` is at least {_LEAST:g}, not {self.gamma}: at 0 nothing of x reaches the "
                "decoder."
            )
        if feature_layer is not None and self._given is None:
            raise ValueError("`feature_layer` is one of a discriminator that is given.")
        self.feature_layer = feature_layer

    def attach(self, vae):
        super().attach(vae)
        if vae.prior is None:
            raise ValueError(
                "VAEGAN decodes draws from the prior, and this model has none. Give it one, e.g. "
                "prior='standard_normal'."
            )

    def convolutions(self, inputs, seed):
        x = self.halved(inputs, 32, 5, seed)
        last = seed + self.discriminator_depth
        return dense_discriminator(tuple(x.shape[1:]), self.discriminator_width, 1, last)(x)

    def network(self, vae):
        network = super().network(vae)
        if not network.built:
            network.build((None, *self.discriminator_shape(vae)))
        if not getattr(network, "inputs", None):
            raise ValueError(
                f"VAEGAN reads a layer of its discriminator, and {network.name} is a "
                f"{type(network).__name__}, which does not say how its layers are connected. Make "
                "a keras.Sequential or a functional keras.Model."
            )
        names = [layer.name for layer in network.layers]
        if len(names) < 2 or self.feature_layer not in (None, *names[:-1]):
            raise ValueError(
                f"The discriminator has the layers {names}, and `feature_layer` is "
                f"{self.feature_layer!r}: give the name of one of them that comes before the logit."
            )
        layer = network.get_layer(self.feature_layer or names[-2])
        return keras.Model(network.inputs, [layer.output, network.outputs[0]])

    def metric_names(self):
        return (*super().metric_names(), "features")

    def scheduled(self):
        return {"gamma": self.gamma}

    def terms(self, vae, x, target, *, training, seed):
        gamma = ops.maximum(ops.cast(schedules.at(self.gamma, vae), "float32"), _LEAST)
        params = vae.encode_params(x, training=training)
        z, kl = self.draw(vae, params, seed=seed, training=training)
        # The gradient of the features is γ times itself in the decoder, and whole beyond it.
        outputs = vae.decode_params(with_gradient_of(z, z / gamma), training=training)
        reconstruction = -ops.mean(vae.likelihood.log_prob(outputs, target), axis=0)
        decoded = vae.likelihood.mean(outputs)
        features, _ = self.discriminator(with_gradient_of(decoded, gamma * decoded))
        known, _ = self.discriminator(target)
        axes = range(2, len(features.shape))
        off = 0.5 * ops.mean(ops.sum(ops.square(features - known), axis=tuple(axes)), axis=0)
        drawn = vae.prior.sample(tf.shape(z)[1], random.fold_in(seed, 1))
        both = tf.stack([tf.stop_gradient(z[0]), tf.stop_gradient(drawn)])
        made = vae.likelihood.mean(vae.decode_params(both, training=training))
        _, logits = self.discriminator(made)
        adversarial = ops.sum(ops.softplus(-logits), axis=0)
        loss = kl + off + adversarial
        more = {"features": off, "adversarial": adversarial, "made": made}
        return self.reported(vae, params, loss, reconstruction, kl, **more)

    def cost(self, vae, params, z, kl, *, seed):
        return kl, {}  # `terms` has the whole loss.

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": schedules.serialize(self.gamma),
            "feature_layer": self.feature_layer,
            **self.discriminator_config(),
        }
