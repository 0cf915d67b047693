"""The regularized autoencoder: a deterministic autoencoder whose decoder is kept smooth."""

import keras
import tensorflow as tf

from kvae import random, schedules
from kvae.objectives.bound import Bound
from kvae.objectives.objective import register
from kvae.utils import keras_internals, names

__all__ = ["RAE"]

_REGULARIZERS = ("l2", "gradient_penalty", "spectral_norm", "none")


@register("rae")
class RAE(Bound):
    """The regularized autoencoder: `−log p(x|z) + β ½‖z‖² + λ L_REG` for `z = E(x)`.

    What the noise of a VAE does for the decoder, an explicit regularizer does here. L_REG, in the
    logs as `regularizer`, is by the name of `regularizer`

    - `"l2"`: `‖θ‖²`, the sum of squares of the decoder's trainable weights;
    - `"gradient_penalty"`: `½‖∂D(z)/∂z‖²`, half the sum of squares of the Jacobian of the mean of
      p(x|z) at the code. One random projection for each example estimates it without a bias: of
      `v` of independent signs, `E_v ‖vᵀ ∂D/∂z‖²` is that sum;
    - `"spectral_norm"`: 0. The layers of the decoder keep their spectral norm at 1, by Keras's
      `SpectralNormalization`; `kvae.layers.spectrally_normalized` makes such a decoder;
    - `"none"`: 0, an autoencoder with small codes.

    The paper's `‖x − D(z)‖²` is, up to a constant, that of a Gaussian likelihood with
    `scale=1/√2`. There is no prior while it trains (`prior=None`); one is fitted to the codes
    afterwards, by `kvae.samplers`.

    Args:
        regularizer: str. Defaults to `"l2"`.
        beta: float or schedule (`kvae.schedules`). Weight of `½‖z‖²`. Defaults to `1e-4`.
        lambda_: float or schedule. Weight of the regularizer. Defaults to `1e-7`.
        **settings: of `kvae.objectives.Bound`.

    Raises:
        ValueError: for an unknown regularizer, settings out of range, a posterior with noise,
            `"gradient_penalty"` with an autoregressive likelihood, and `"spectral_norm"` with a
            decoder that has no such layer.

    Example:

    ```python
    objective = kvae.objectives.RAE("gradient_penalty", beta=1e-2, lambda_=1e-3)
    vae = kvae.VAE(
        encoder, decoder, latent_dim=16, posterior="delta", prior=None,
        likelihood=kvae.likelihoods.Gaussian(scale=0.5**0.5), objective=objective,
    )
    vae.compile("adam")
    vae.fit(x, epochs=2)
    sampler = kvae.samplers.GaussianMixture(num_components=10).fit(vae, x)
    sampler.sample(16, seed=0)
    ```

    Reference:
        - [Ghosh et al., From Variational to Deterministic Autoencoders, section 3](
          https://arxiv.org/abs/1903.12436)
    """

    words = {name: {"regularizer": name} for name in _REGULARIZERS}

    def __init__(
        self,
        regularizer: str = "l2",
        beta: schedules.Number = 1e-4,
        lambda_: schedules.Number = 1e-7,
        **settings,
    ):
        super().__init__(**settings)
        if regularizer not in _REGULARIZERS:
            raise names.unknown_name("regularizer", regularizer, _REGULARIZERS)
        self.regularizer = regularizer
        self.beta = schedules.resolve("beta", beta)
        self.lambda_ = schedules.resolve("lambda_", lambda_)

    def attach(self, vae):
        super().attach(vae)
        if vae.posterior.has_density:
            raise ValueError(
                f"RAE regularizes codes without noise, and those of a "
                f"{type(vae.posterior).__name__} posterior have some. Use posterior='delta'."
            )
        if self.regularizer == "gradient_penalty" and vae.likelihood.autoregressive:
            raise ValueError(
                "RAE with 'gradient_penalty' differentiates the mean of p(x|z), which has no "
                f"gradient with {type(vae.likelihood).__name__}. Use another regularizer, e.g. "
                "'l2'."
            )
        layers = keras_internals.flat_layers(vae.decoder)
        if self.regularizer == "spectral_norm" and not any(
            isinstance(layer, keras.layers.SpectralNormalization) for layer in layers
        ):
            raise ValueError(
                "RAE with 'spectral_norm' takes a decoder of spectrally normalized layers, and "
                "this one has none. Give decoder=kvae.layers.spectrally_normalized(decoder)."
            )

    def metric_names(self):
        return (*super().metric_names(), "regularizer")

    def scheduled(self):
        return {"beta": self.beta, "lambda_": self.lambda_}

    def terms(self, vae, x, target, *, training, seed):
        terms = super().terms(vae, x, target, training=training, seed=seed)
        if self.regularizer == "gradient_penalty":
            value = self._gradient_penalty(vae, terms.pop("z"), seed, training)
            terms["loss"] += schedules.at(self.lambda_, vae) * value
            terms["regularizer"] = value
        return terms

    def cost(self, vae, params, z, kl, *, seed):
        small = 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(z), axis=-1), axis=0)
        cost = schedules.at(self.beta, vae) * small
        if self.regularizer == "gradient_penalty":
            return cost, {"z": z[0]}  # `terms` knows whether the decoder is in training.
        if self.regularizer == "l2":
            weights = [tf.reduce_sum(tf.square(w)) for w in vae.decoder.trainable_variables]
            penalty = tf.add_n(weights) if weights else 0.0
            value = tf.fill(tf.shape(small), penalty)
        else:
            value = tf.zeros_like(small)
        return cost + schedules.at(self.lambda_, vae) * value, {"regularizer": value}

    def _gradient_penalty(self, vae, z, seed, training):
        """Estimates half the sum of squares of the Jacobian at `z`, `[batch]`."""
        with tf.GradientTape() as tape:
            tape.watch(z)
            mean = vae.likelihood.mean(vae.decode_params(z, training=training))
            signs = tf.sign(random.uniform(tf.shape(mean), random.fold_in(seed, 1)) - 0.5)
            projected = tf.reduce_sum(signs * mean)
        return 0.5 * tf.reduce_sum(tf.square(tape.gradient(projected, z)), axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "regularizer": self.regularizer,
            "beta": schedules.serialize(self.beta),
            "lambda_": schedules.serialize(self.lambda_),
        }
