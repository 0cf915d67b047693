"""The VampPrior: a mixture of the posteriors of trainable inputs."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.datasets import kinds
from kvae.distributions.base_noise import Noise
from kvae.distributions.gaussian import component_at
from kvae.priors.mixture import COMPONENT
from kvae.priors.prior import Prior, register
from kvae.utils import gradients

__all__ = ["Vamp"]


@register("vamp")
class Vamp(Prior):
    """`p(z) = Σ_k w_k q(z|u_k)`: the posteriors of K trainable pseudo-inputs, mixed.

    The prior with the best ELBO is the average of the posteriors of all data. This one is the same
    average over a few inputs, which are trained like weights. Prior and posterior share the
    encoder, so the prior follows the posteriors. No closed-form KL is known; it is estimated by
    Monte Carlo.

    It works with every posterior that has a density, on whatever space that puts `z`. Pseudo-inputs
    have the shape of an example and stay within the range of the likelihood's support: where a step
    of the optimizer leaves it they count as the nearest end, and only a gradient that leads back is
    let through. They are trained on the scale on which the encoder sees x. The encoder sees them as
    at inference (no dropout, batch statistics of its own).

    In a conditional model, whose encoder sees labels, the pseudo-inputs carry the classes in turn,
    or conditions that are unknown, and p(z) is the same for all labels.

    The weights of the model hold the pseudo-inputs; `initial` is no part of its configuration.
    `temperature` scales the distance of a draw to the mean of its component (on a sphere it does
    nothing), and leaves the weights.

    Args:
        num_components: int. K. Defaults to `500`.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        initial: optional array `[n, *event]` or `kvae.datasets.Dataset` with n at least K, from
            which the pseudo-inputs start: K different rows, chosen by `seed`. Defaults to `None`:
            noise, uniform on the support where that is finite, otherwise Gaussian. A likelihood
            that standardizes takes its statistics from these data, unless it has some.
        learn_weights: bool. Whether the weights w are trained; else they are 1/K. Defaults to
            `False`.
        seed: int. Chooses the initial pseudo-inputs. Defaults to `0`.

    Raises:
        ValueError: for a posterior without a density, or one that is drawn from the prior
            (`PriorNoise`); and when the model is built, for an `initial` of another shape, with
            fewer rows or with values outside the support.

    Example:

    ```python
    data = kvae.datasets.load("digits", "train")
    prior = kvae.priors.Vamp(num_components=50, initial=data)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, prior=prior)
    ```

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior, eq. 9](https://arxiv.org/abs/1705.07120)
    """

    uses_posterior = True
    only_at_first = ("initial",)

    def __init__(
        self,
        num_components: int = 500,
        latent_dim: int | None = None,
        initial=None,
        learn_weights: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if num_components < 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        self.num_components = num_components
        self.learn_weights = learn_weights
        self.seed = seed
        # The data stand behind a function, so that Keras does not track them.
        self._initial = lambda: initial
        self._vae = lambda: None

    @property
    def space(self):
        """The space into which the posterior puts z; `None` until the model is known."""
        vae = self._vae()
        return None if vae is None else vae.posterior.space

    def attach(self, vae):
        if self.built and self._vae() is not vae:
            raise ValueError(
                "This Vamp prior belongs to another model, whose encoder it uses. Make a new one."
            )
        if not vae.posterior.has_density:
            raise ValueError(
                f"Vamp is a mixture of posterior densities, and a "
                f"{type(vae.posterior).__name__} posterior has none. Choose another prior, or a "
                "posterior such as 'diagonal_gaussian'."
            )
        if not vae.posterior.tractable:
            raise ValueError(
                "Vamp asks each component for the density of every z, which this "
                f"{type(vae.posterior).__name__} knows at its own draws only. Use invertible flows "
                "('iaf', 'real_nvp', 'maf')."
            )
        if vae.posterior.space == "codes":
            raise ValueError(
                f"A mixture of a few {type(vae.posterior).__name__} posteriors gives hardly any "
                "sequence of codes a probability. Use prior='uniform_codes'."
            )
        self._vae = lambda: vae

    def build(self, input_shape=None):
        if self.built:
            return
        model = self._model()
        if self._initial() is not None and model.likelihood.needs_data:
            model.likelihood.adapt(self._initial())
        shape = (self.num_components, *model.event_shape)
        self.raw_pseudo_inputs = self.add_weight(
            shape=shape, initializer=self._start, name="pseudo_inputs"
        )
        if self.learn_weights:
            self.raw_logits = self.add_weight(shape=shape[:1], initializer="zeros", name="logits")
        self._initial = lambda: None
        self.built = True

    def get_build_config(self):
        return None  # Keras does not build a reloaded prior: its model does, which knows the shape.

    @property
    def pseudo_inputs(self):
        """The pseudo-inputs u within the support, `[num_components, *event]`."""
        likelihood = self._model().likelihood
        low, high, _ = likelihood.support()
        raw = tf.convert_to_tensor(self.raw_pseudo_inputs)
        return _within(likelihood.from_encoder_input(raw), low, high)

    @property
    def logits(self):
        """Logarithms of the weights w, up to a constant, `[num_components]`."""
        if self.learn_weights:
            return tf.convert_to_tensor(self.raw_logits)
        return tf.zeros([self.num_components])

    def precompute(self):
        vae = self._model()
        label = None
        if vae.conditions is not None:
            label = vae.conditions.unknown_record(self.num_components)
        elif vae.conditional:
            label = tf.range(self.num_components) % vae.num_classes
        return {"params": vae.encode_params(self.pseudo_inputs, label), "logits": self.logits}

    def precomputed(self, tensors=None):
        tensors = self.precompute() if tensors is None else tensors
        return _PosteriorMixture(self._model().posterior, **tensors)

    def base_noise(self):
        return _base_noise(self._model().posterior)

    def transform(self, noise, temperature=1.0):
        return self.precomputed().transform(noise, temperature)

    def mean(self):
        return self.precomputed().mean()

    def log_prob(self, z):
        return self.precomputed().log_prob(z)

    def get_config(self):
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "learn_weights": self.learn_weights,
            "seed": self.seed,
        }

    def _model(self):
        vae = self._vae()
        if vae is None:
            raise ValueError(
                "A Vamp prior works within a model, whose encoder it uses: kvae.VAE(..., prior=…)."
            )
        return vae

    def _start(self, shape, dtype=None):
        initial, likelihood = self._initial(), self._model().likelihood
        if initial is None:
            low, high, _ = likelihood.support()
            if math.isfinite(low) and math.isfinite(high):
                start = low + (high - low) * random.uniform(shape, self.seed, dtype)
            else:
                start = random.normal(shape, self.seed, dtype)
                if likelihood.standardize:  # Whose weights an initializer must not read.
                    return start
                start = tf.clip_by_value(likelihood.from_encoder_input(start), low, high)
            return likelihood.encoder_input(start)
        initial = kinds.as_array(getattr(initial, "examples", initial), "initial")
        if initial.shape[1:] != tuple(shape[1:]) or len(initial) < shape[0]:
            raise ValueError(
                f"`initial` has shape {initial.shape}; {shape[0]} pseudo-inputs take (n, "
                f"{', '.join(map(str, shape[1:]))}) with n at least {shape[0]}."
            )
        likelihood.check(initial, "initial")
        order = np.argsort(random.uniform([len(initial)], self.seed), kind="stable")
        return likelihood.encoder_input(tf.cast(initial[np.sort(order[: shape[0]])], dtype))


class _PosteriorMixture(Prior):
    """A mixture of posteriors whose parameters, each `[K, ...]`, are known."""

    def __init__(self, posterior, params, logits):
        super().__init__(posterior.latent_dim)
        # These stand behind a function, so that Keras does not track them.
        self._known = lambda: (posterior, params, logits)
        self.space = posterior.space

    def base_noise(self):
        return _base_noise(self._known()[0])

    def transform(self, noise, temperature=1.0):
        posterior, params, logits = self._known()
        chosen, _ = component_at(logits, noise[COMPONENT])
        index = tf.argmax(chosen, axis=-1)
        own = {name: tf.gather(value, index) for name, value in params.items()}
        z = posterior.transform(own, {k: v for k, v in noise.items() if k != COMPONENT})
        plain = isinstance(temperature, (int, float)) and temperature == 1.0
        if plain or self.space != "real":
            return z
        # Scaling the noise would not do, because it need not be centred at zero. The temperature
        # may be a tensor, and one of 1 must leave the bits as they are.
        mean = posterior.mean(own)
        return tf.where(tf.equal(temperature, 1.0), z, mean + temperature * (z - mean))

    def mean(self):
        posterior, params, logits = self._known()
        return tf.tensordot(tf.nn.softmax(logits), posterior.mean(params), 1)

    def distribution(self):
        from tensorflow_probability import distributions as tfd

        posterior, params, logits = self._known()
        components = posterior.distribution(params)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), components)

    def log_prob(self, z):
        posterior, params, logits = self._known()
        each = posterior.cross_log_prob(params, z)
        return ops.logsumexp(tf.nn.log_softmax(logits) + each, axis=-1)


def _base_noise(posterior) -> dict[str, Noise]:
    return {**posterior.base_noise(), COMPONENT: Noise(1, "uniform")}


def _within(values, low: float, high: float):
    """Clips `values`; a gradient that leads back into the range passes unchanged."""
    return tf.reshape(_clip(tf.reshape(values, [-1]), low, high), values.shape)


@gradients.custom_gradient((None,), (), ())
def _clip(values, low, high):
    def gradient(upstream):
        # An optimizer steps against the gradient.
        leaves = ((values <= low) & (upstream > 0)) | ((values >= high) & (upstream < 0))
        return tf.where(leaves, tf.zeros_like(upstream), upstream), None, None

    return tf.clip_by_value(values, low, high), gradient
