"""The prior that is a variational autoencoder of its own."""

import keras
import tensorflow as tf
from keras import ops

from kvae.distributions.base_noise import Noise
from kvae.likelihoods.gaussian import Gaussian
from kvae.priors.prior import Prior, register

__all__ = ["TwoStage"]

_INNER = "inner_"  # Begins the names of the second VAE's base noise.


@register()
class TwoStage(Prior):
    """`p(z) = ∫ p(u) N(z; mean(u), σ²(u)) du`: a second VAE, whose data are the codes of the first.

    Draws are exact. The density is an integral; `log_prob` is the importance-sampled estimate of it
    with the second encoder, log of the mean of `num_samples` weights. That is a lower bound in
    expectation, so an ELBO and a log p(x) that are made of it are lower bounds too. Its noise is
    the same in every call, and depends on the place of z among the others alone.

    `temperature` scales the noise of u and that of z given u.

    Args:
        model: `kvae.VAE` or its config, of events `[latent_dim]`, with a `Gaussian`, a
            prior and a posterior with a density, without labels. Built.
        latent_dim: int or `None`. Size of z, that of the model's events.
        num_samples: int. Importance samples of `log_prob`. Defaults to `32`.
        seed: int. Of these samples. Defaults to `0`.

    Raises:
        ValueError: for a `model` of another kind.

    Example:

    ```python
    sampler = kvae.samplers.TwoStage().fit(vae, train)
    vae.with_prior(sampler.as_prior()).sample(10, seed=0)
    ```

    Reference:
        - [Dai & Wipf, Diagnosing and Enhancing VAE Models, section 4](
          https://arxiv.org/abs/1903.05789)
    """

    def __init__(
        self, model, latent_dim: int | None = None, num_samples: int = 32, seed: int = 0, **kwargs
    ):
        if isinstance(model, dict):
            model = keras.saving.deserialize_keras_object(model)
        event_shape = getattr(model, "event_shape", None)
        if event_shape is None or len(event_shape) != 1 or model.conditional:
            raise ValueError("`model` is a built kvae.VAE of events [latent_dim], without labels.")
        if latent_dim not in (None, event_shape[0]):
            raise ValueError(f"`model` is one of {event_shape[0]} numbers, not of {latent_dim}.")
        if model.prior is None or not model.posterior.has_density:
            raise ValueError("`model` has a prior, and a posterior with a density.")
        if model.prior.uses_posterior or not isinstance(model.likelihood, Gaussian):
            raise ValueError("`model` has a prior of its own and a Gaussian.")
        if num_samples < 1:
            raise ValueError(f"`num_samples` is at least 1, not {num_samples}.")
        super().__init__(event_shape[0], **kwargs)
        self.model, self.num_samples, self.seed = model, num_samples, seed

    def base_noise(self):
        """Returns the noise of u, whose names begin with `inner_`, and that of z given u."""
        inner = {_INNER + name: noise for name, noise in self.model.prior.base_noise().items()}
        return {**inner, "noise": Noise(self.latent_dim)}

    def transform(self, noise, temperature=1.0):
        start = len(_INNER)
        inner = {name[start:]: value for name, value in noise.items() if name.startswith(_INNER)}
        params = self.model.decode_params(self.model.prior.transform(inner, temperature))
        return params["mean"] + ops.exp(0.5 * params["log_var"]) * temperature * noise["noise"]

    def mean(self):
        """Returns the mean of z at the mean of u, `[latent_dim]`."""
        return self.model.decode_params(self.model.prior.mean()[None])["mean"][0]

    def log_prob(self, z):
        z = tf.convert_to_tensor(z)
        model, rows = self.model, tf.reshape(z, (-1, self.latent_dim))
        params = model.encode_params(rows)
        u, log_q = model.posterior.sample_and_log_prob(params, self.num_samples, seed=self.seed)
        log_p = model.likelihood.log_prob(model.decode_params(u), rows)
        weights = log_p + model.prior.log_prob(u) - log_q
        value = ops.logsumexp(weights, axis=0) - ops.log(float(self.num_samples))
        return tf.reshape(value, tf.shape(z)[:-1])

    def get_config(self):
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "num_samples": self.num_samples,
            "seed": self.seed,
        }
