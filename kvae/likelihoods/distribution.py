"""A distribution of TensorFlow Probability as a likelihood."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from kvae.distributions import tfp_config, tfp_draws
from kvae.distributions.tfp_families import Family, count, declare
from kvae.likelihoods.likelihood import REGISTER, Likelihood, per_value, register

__all__ = ["Distribution"]

# The support of discrete distributions, which TFP does not tell.
_WHOLE = {
    "Bernoulli": (0.0, 1.0),
    "Geometric": (0.0, math.inf),
    "NegativeBinomial": (0.0, math.inf),
    "Poisson": (0.0, math.inf),
}


@register()
class Distribution(Likelihood):
    """`p(x|z) = Π_i d(x_i; f_i(z))`, with d a distribution of TFP and f the decoder.

    TFP is TensorFlow Probability. `kvae.VAE(likelihood=…)` takes what `source` takes, and makes
    this part of it.

    - A function from parameters to a distribution of single numbers (or `Independent` of them),
      decorated with `kvae.likelihoods.register`. Each argument is a parameter of the shape of x, or
      with as many further numbers for each value of x, on a last axis, as
      `register(parameters=…)` says for it. Parameters are any real numbers; the function brings
      them into their range.
    - A class of TFP, e.g. `tfd.Poisson` or `tfd.StudentT`. Its parameters and the bijectors into
      their ranges are those that TFP knows. Where there is a bijector, the name of what the decoder
      gives begins with `raw_`.

    The decoder returns all parameters on its last axis, those of the first argument first.

    The support is that of the distribution at outputs of 0, by the bijector that TFP knows for it,
    and whole numbers for `Bernoulli`, `Geometric`, `NegativeBinomial`, `Poisson` and `Categorical`;
    of others say it: `register(support=(0, float("inf")), whole_numbers=True)`.

    Args:
        source: a registered function, or a class of TFP.

    Raises:
        TypeError: for a function that is not registered, and for a distribution that depends on no
            parameters.
        ValueError: for a distribution of vectors, of float64, or without a density at outputs of 0;
            from `mean` and `mode`, where TFP does not know them.

    Example:

    ```python
    from tensorflow_probability import distributions as tfd

    @kvae.likelihoods.register(package="my_package", parameters={"logits": 4})
    def grades(logits):
        return tfd.Categorical(logits=logits)

    @kvae.likelihoods.register(package="my_package")
    def peaked(loc):
        return tfd.Laplace(loc, scale=0.1)

    vae = kvae.VAE(encoder, decoder, latent_dim=2, likelihood=peaked)
    ```

    Reference:
        - [Dillon et al., TensorFlow Distributions](https://arxiv.org/abs/1711.10604)
    """

    declare = staticmethod(declare)

    def __init__(self, source, **kwargs):
        super().__init__(**kwargs)
        if tfp_config.is_of_tfp(source):
            raise TypeError(
                f"`likelihood` is one {type(source).__name__.lstrip('_')} of TensorFlow "
                "Probability, which does not depend on z. Give its class, or a function from "
                "parameters to a distribution that @kvae.likelihoods.register decorates."
            )
        self.family = Family(source)
        shapes = self.family.shapes(None)
        self.num_parameters = sum(map(count, shapes.values()))
        self.decoder_outputs = f"parameters of {self.family.name}, which may be any numbers"
        with tf.init_scope():
            made = self.element_distribution(self.family.zeros(None))
            self.whole_numbers, self._support = self._found_support(made)
            self._discrete = self.whole_numbers or _is_discrete(made)

    @property
    def discrete(self):
        return self._discrete

    def _found_support(self, made):
        """Returns whether x holds whole numbers, and the smallest and the largest one."""
        settings, kind = self.family.settings, type(made).__name__.lstrip("_")
        whole = settings.get("whole_numbers", False) or kind in _WHOLE or kind == "Categorical"
        ends = settings.get("support") or _WHOLE.get(kind)
        if kind == "Categorical" and ends is None:
            ends = 0.0, float(made.logits_parameter().shape[-1] - 1)
        if ends is None and (made.dtype.is_integer or _is_discrete(made)):
            raise ValueError(
                f"Which numbers a {kind} has is not known here: register a function that returns "
                "it, with support=(smallest, largest) and whole_numbers=True."
            )
        if ends is None:
            ends = tfp_draws.range_of(made)
            # A density may be infinite at the ends, which are then left out.
            for index, towards in ((0, math.inf), (1, -math.inf)):
                if math.isfinite(ends[index]) and not _finite(made, ends[index]):
                    inside = _next_to(ends[index], towards)
                    ends = (inside, ends[1]) if index == 0 else (ends[0], inside)
        return bool(whole), (float(ends[0]), float(ends[1]))

    def call(self, outputs):
        params, start = {}, 0
        values = outputs.shape[-1] // self.num_parameters
        for name, shape in self.family.shapes(None).items():
            size = count(shape)
            part = outputs[..., start : start + values * size]
            start += values * size
            if shape:
                part = per_value(part, size)
                part = ops.reshape(part, (-1, *part.shape[1:-1], *shape))
            params[name] = part
        return params

    def element_distribution(self, params):
        made = self.family(params, None)
        title = f"likelihood={self.family.name}"
        while type(made).__name__.lstrip("_") == "Independent":
            made = made.distribution
        return tfp_draws.single(made, title)

    def element_log_prob(self, params, x):
        made = self.element_distribution(params)
        x = ops.cast(ops.round(x), made.dtype) if made.dtype.is_integer else x
        return ops.cast(made.log_prob(x), self.dtype)

    def mean(self, params):
        made = self.element_distribution(params)
        if type(made).__name__ == "Categorical":
            probabilities = made.probs_parameter()
            classes = ops.arange(probabilities.shape[-1], dtype=self.dtype)
            return ops.sum(probabilities * classes, axis=-1)
        return self._known_by_tfp(made, "mean")

    def mode(self, params):
        return self._known_by_tfp(self.element_distribution(params), "mode")

    def _known_by_tfp(self, made, what: str):
        try:
            return ops.cast(getattr(made, what)(), self.dtype)
        except NotImplementedError:
            raise ValueError(
                f"TFP does not know the {what} of {type(made).__name__.lstrip('_')}, which "
                f"likelihood={self.family.name} is made of. Use output='sample', or a subclass of "
                f"kvae.likelihoods.Distribution with a method `{what}`."
            ) from None

    def sample(self, params, seed):
        return tfp_draws.element_draws(self.element_distribution(params), seed)

    def support(self):
        return (*self._support, f"They are those of {self.family.name}.")

    def get_config(self):
        return {**super().get_config(), "source": self.family.get_config()}


def _is_discrete(made) -> bool:
    """Returns whether a distribution is of discrete values, whatever their type.

    TFP has no bijector onto these, nor onto mixtures, of which the components tell.
    """
    inside = getattr(made, "components", None) or [
        getattr(made, name)
        for name in ("components_distribution", "distribution")
        if hasattr(made, name)
    ]
    if inside and type(made).__name__.lstrip("_") != "QuantizedDistribution":
        return any(map(_is_discrete, inside))
    try:
        return made.experimental_default_event_space_bijector() is None
    except (NotImplementedError, ValueError, TypeError):
        return False


def _next_to(value: float, towards: float) -> float:
    """Returns the nearest other float32, of those that processors do not take for 0."""
    if value == 0.0:
        return math.copysign(float(np.finfo(np.float32).tiny), towards)
    return float(np.nextafter(np.float32(value), np.float32(towards)))


def _finite(made, value: float) -> bool:
    return bool(tf.reduce_all(tf.math.is_finite(made.log_prob(value))))


REGISTER.of_distributions = Distribution
