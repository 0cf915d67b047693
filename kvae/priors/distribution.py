"""A distribution of TensorFlow Probability as a prior."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from kvae.distributions import tfp_config, tfp_draws
from kvae.distributions.tfp_families import Family, declare
from kvae.priors.prior import REGISTER, Prior, register

__all__ = ["Distribution"]


@register()
class Distribution(Prior):
    """`p(z) = d(z; θ)`, with d a distribution of TFP whose variables θ train with the model.

    TFP is TensorFlow Probability. `kvae.VAE(prior=…)` takes what `source` takes, and makes
    this part of it.

    - A distribution. Its `tf.Variable`s and `tfp.util.TransformedVariable`s become weights of the
      model, which start at the values that they had: they train, and they are saved and loaded with
      it. The objects that were given stay as they are; `distribution()` has the trained values.
    - A function from parameters to a distribution, decorated with `kvae.priors.register`. Each
      argument is a weight with `latent_dim` numbers, or as many as `register(parameters=…)`
      says for it, and starts at the argument's default, or at 0.
    - A class of TFP, e.g. `tfd.MultivariateNormalTriL`. Its parameters and their ranges are those
      that TFP knows; the weights are the parameters before the bijector and start at 0.

    The density is TFP's. Draws are made of base noise as those of all priors are: the distribution
    is normal, has a quantile function, or is made of such ones by bijectors, `Independent`,
    `Sample` and `MixtureSameFamily`. The KL is that of `tfd.kl_divergence` where TFP or
    `tfd.RegisterKL` knows it for the pair, and estimated otherwise.

    Args:
        source: a distribution of TFP over `[latent_dim]`, without a batch shape other than
            `[latent_dim]`; a registered function; or a class of TFP.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Raises:
        TypeError: for a distribution that no file can hold, because functions or classes of other
            packages are part of it, and for a function that is not registered.
        ValueError: for another shape than `[latent_dim]` or another dtype than float32, and for a
            distribution whose draws cannot be made of base noise.

    Example:

    ```python
    import tensorflow as tf
    import tensorflow_probability as tfp

    loc = tf.Variable(tf.zeros(2))
    scale = tfp.util.TransformedVariable(tf.ones(2), tfp.bijectors.Softplus())
    vae = kvae.VAE(
        encoder, decoder, latent_dim=2,
        prior=tfp.distributions.MultivariateNormalDiag(loc, scale),
    )
    vae.prior.distribution().stddev()     # that of the model's weights
    ```

    Reference:
        - [Dillon et al., TensorFlow Distributions](https://arxiv.org/abs/1711.10604)
    """

    declare = staticmethod(declare)

    def __init__(self, source, latent_dim: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.family, self._config = None, None
        if tfp_config.is_of_tfp(source):
            source = tfp_config.config_of(source)
        if isinstance(source, Mapping) and "variables" in source:
            self._config = dict(source)
        else:
            self.family = Family(source)
        if self._config is not None and self.latent_dim is None:
            with tf.init_scope():
                made = self._made(self._starts())
            shape = (*made.batch_shape, *made.event_shape)
            self.latent_dim = int(shape[-1]) if shape else None
        self._values: list = []
        self._known: dict = {}

    def build(self, input_shape=None):
        if self.built:  # A reloaded one has been built by Keras before its model builds it.
            return
        with tf.init_scope():
            tfp_draws.noise_of(self.distribution())  # Errors come before any weight is made.
        for name, start, trainable in self._starting():
            self._values.append(
                self.add_weight(
                    shape=start.shape,
                    initializer=keras.initializers.Constant(start),
                    trainable=trainable,
                    dtype=start.dtype.name,
                    name=name,
                )
            )
        self.built = True

    def _starting(self):
        """Yields the name, the first value and whether it trains of each weight."""
        if self._config is not None:
            for index, variable in enumerate(self._config["variables"]):
                name = "".join(c if c.isalnum() or c in "_-" else "_" for c in variable["name"])
                start = tfp_config.array_of(variable)
                yield f"{name}_{index}", start, variable.get("trainable", True)
            return
        for name, start in self.family.zeros(self.latent_dim).items():
            yield name, np.asarray(start)[0], True

    def _starts(self) -> list:
        return [tf.constant(start) for _, start, _ in self._starting()]

    def _made(self, values: list):
        if self._config is not None:
            return tfp_config.rebuilt(self._config["distribution"], values)
        params = dict(zip(self.family.shapes(self.latent_dim), values, strict=True))
        return self.family(params, self.latent_dim)

    def distribution(self):
        if not self.built and self.latent_dim is None:
            raise ValueError("The prior needs its `latent_dim` before it has a distribution.")
        values = [tf.convert_to_tensor(weight) for weight in self._values]
        made = self._made(values if self.built else self._starts())
        return tfp_draws.shaped(made, self.latent_dim, 0, f"prior={self._title(made)}")

    def _title(self, made) -> str:
        return self.family.name if self.family is not None else type(made).__name__.lstrip("_")

    def _fact(self, name: str, function):
        """Returns what is true of the distribution whatever its weights are."""
        if name not in self._known:
            with tf.init_scope():
                self._known[name] = function(self.distribution())
        return self._known[name]

    @property
    def space(self):
        if self.latent_dim is None:
            return "real"
        return self._fact("space", tfp_draws.space_of)

    @property
    def factorized(self):
        return self._fact("factorized", lambda own: tfp_draws.factors(own) is not None)

    def base_noise(self):
        return self._fact("noise", tfp_draws.noise_of)

    def transform(self, noise, temperature=1.0):
        return tfp_draws.transformed(self.distribution(), noise, temperature)

    def log_prob(self, z):
        return tfp_draws.log_prob(self.distribution(), z)

    def mean(self):
        return tfp_draws.mean_of(self.distribution())

    def get_config(self):
        source = self._config if self.family is None else self.family.get_config()
        return {**super().get_config(), "source": source}


REGISTER.of_distributions = Distribution
