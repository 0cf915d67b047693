"""The Gaussian likelihood."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from kvae import random
from kvae.distributions.gaussian import gaussian_log_density
from kvae.layers.sampling import reparameterize
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.location_scale import LocationScale
from kvae.utils import masks

__all__ = ["Gaussian"]


@register("gaussian")
class Gaussian(LocationScale):
    """`p(x|z)` = Π N(x_i; mean_i, exp(log_var_i)).

    With a fixed scale σ, minus its log-probability is the *squared error* `Σ(x_i - mean_i)²`
    divided by `2σ²`, plus the constant `d/2 · log(2πσ²)` for `d` values: training on plain MSE
    means σ² = 1/2, a choice that decides how much the KL weighs.

    Args:
        variance: str. `"fixed"` (σ = `scale`), `"global"` (one learned σ that starts at `scale`),
            `"per_pixel"` (the decoder returns mean and log-variance, concatenated on the last
            axis) or `"optimal"` (σ-VAE, below). Defaults to `"fixed"`.
        scale: float. σ, or its start. Defaults to `1.0`.
        log_var_bound: float. Learned log-variances stay within ±this. Defaults to `10.0`.
        momentum: float. Weight of the past in the stored variance of `"optimal"`. Defaults to
            `0.99`.
        standardize: bool. Whether encoder and decoder see each column of x (each entry of its last
            axis) relative to its mean and standard deviation in the training data, which `fit`
            takes and the model keeps. `scale` and the bound are then in standard deviations;
            reconstructions, draws and log p(x) stay in the units of x. For data that are far from
            unit scale. Defaults to `False`.

    With `variance="optimal"`, σ² of a training step is the maximum-likelihood one: the mean squared
    error over batch, samples and event, in closed form. Minus the log-probability is then
    `d/2 · log(2πe · MSE)` on average, a loss that needs no weight between reconstruction and KL.
    The weights' gradient is that at a constant σ² (at its optimum σ² has none). A σ² that has seen
    x makes no density of x, so training's figures are a little too good, and they depend on the
    batch. Evaluation, importance samples and draws therefore use a *stored* σ², the running mean
    of those of the training steps (`scale`² before the first), which is saved with the weights: the
    density is an ordinary fixed-variance Gaussian there. With several importance samples in
    training all share one σ².

    The name `"gaussian:learned"` stands for `Gaussian("optimal", standardize=True)`: one σ that a
    training finds in a few hundred steps, whatever the scale of the data. It makes pictures of
    photos where a fixed σ of 1 gives grey squares. The names `"gaussian:global"`,
    `"gaussian:per_pixel"` and `"gaussian:optimal"` choose `variance` alone.

    Decoder output: means, of the shape of the event; twice as many channels for `"per_pixel"`.

    Example:

    ```python
    likelihood = kvae.likelihoods.get("gaussian:learned")
    likelihood = kvae.likelihoods.Gaussian("global", scale=0.1)
    table = kvae.likelihoods.Gaussian("global", standardize=True)    # of any units
    ```

    References:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, appendix C.2](
          https://arxiv.org/abs/1312.6114)
        - [Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, section 3.2](
          https://arxiv.org/abs/2006.13202): `"optimal"`
    """

    spread = "log_var"
    power = 2
    variances = (*LocationScale.variances, "optimal")
    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **LocationScale.words,
        "optimal": {"variance": "optimal"},
        "learned": {"variance": "optimal", "standardize": True},
    }

    def __init__(
        self,
        variance: str = "fixed",
        scale: float = 1.0,
        log_var_bound: float = 10.0,
        momentum: float = 0.99,
        standardize: bool = False,
        **kwargs,
    ):
        super().__init__(variance, scale, log_var_bound, standardize=standardize, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` is in [0, 1), not {momentum}.")
        self.momentum = momentum

    def build(self, outputs_shape):
        super().build(outputs_shape)
        if self.variance == "optimal":
            kept = {"shape": (), "trainable": False, "aggregation": "mean"}
            start = keras.initializers.Constant(self.scale**2)
            self.stored_variance = self.add_weight(
                initializer=start, name="stored_variance", **kept
            )
            self.steps = self.add_weight(initializer="zeros", name="steps", **kept)

    def call(self, outputs, training=False):
        if self.variance != "optimal":
            return super().call(outputs)
        if training:
            # `element_log_prob` computes the variance, which depends on x.
            return {"mean": self._in_units(outputs)}
        return {"mean": self._in_units(outputs), "log_var": self._stored_log_var(outputs)}

    def _stored_log_var(self, mean):
        log_var = ops.zeros_like(mean) + self._bounded(ops.log(self.stored_variance))
        return self._spread_in_units(log_var)

    def _optimal_log_var(self, mean, x, observed=None):
        error = x - ops.stop_gradient(mean)
        error = ops.square(error / self.data_scale if self.standardize else error)
        some = 1.0
        if observed is None:
            error = ops.mean(error)
        else:
            observed = ops.broadcast_to(observed, ops.shape(error))
            count = ops.sum(ops.cast(observed, self.dtype))
            error = ops.sum(ops.where(observed, error, 0.0)) / ops.maximum(count, 1.0)
            some = ops.minimum(count, 1.0)  # A batch without a value has no variance.
            error = ops.where(count > 0, error, self.stored_variance)
        # The first steps are averaged plainly, so that the initial value does not count.
        rate = ops.maximum(1.0 - self.momentum, 1.0 / (self.steps + 1.0))
        self.stored_variance.assign_add(rate * (error - self.stored_variance))
        self.steps.assign_add(some)
        return self._spread_in_units(self._bounded(ops.log(ops.maximum(error, 1e-30))))

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        log_var = params.get("log_var")
        if log_var is None:  # Of "optimal" in training, where the variance depends on x.
            log_var = self._stored_log_var(params["mean"])
        return tfd.Normal(params["mean"], ops.exp(0.5 * log_var))

    def element_log_prob(self, params, x):
        log_var = params.get("log_var")
        if log_var is None:
            log_var = self._optimal_log_var(params["mean"], x)
        return gaussian_log_density(params["mean"], log_var, x)

    def _of_incomplete(self, params, x):
        filled = self.filled(x)
        if "log_var" not in params:
            log_var = self._optimal_log_var(params["mean"], filled, masks.observed(x))
            params = {**params, "log_var": log_var}
        return self.element_log_prob(params, filled)

    def sample(self, params, seed):
        noise = random.normal(ops.shape(params["mean"]), seed)
        log_var = params.get("log_var")
        if log_var is None:
            log_var = self._stored_log_var(params["mean"])
        return reparameterize(params["mean"], log_var, noise)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}
