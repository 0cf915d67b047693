"""The mixture of Gaussians, for real numbers of several modes."""

import math

from keras import ops

from kvae import random
from kvae.distributions.gaussian import gaussian_log_density
from kvae.layers.sampling import reparameterize
from kvae.likelihoods.likelihood import per_value, register
from kvae.likelihoods.scale import Standardized

__all__ = ["GaussianMixture"]

_UPHILL = 50  # Steps to a maximum of the density.


@register("gaussian_mixture")
class GaussianMixture(Standardized):
    """`p(x|z)` = Π Σ_m w_im N(x_i; mean_im, exp(log_var_im)), with weights w = softmax(logits).

    Each value of x has a mixture of its own. It is a density, exact for any number of modes: CTGAN
    and TVAE normalize a column by the modes of a mixture that was fitted before, and lose the
    likelihood of x by it.

    Args:
        num_components: int. M, at least 1. Defaults to `5`.
        log_var_bound: float. Log-variances stay within ±this. Defaults to `10.0`.
        standardize: bool. Whether encoder and decoder see each column of x relative to its mean and
            standard deviation in the training data, as by `Gaussian`. Defaults to `False`.

    Decoder output: 3 M numbers for each value of x: its M logits, then its M means (relative to
    starts that are spread evenly from −1.5 to 1.5, so that a decoder which returns zeros does not
    give M equal components), then its M log-variances.

    `mode` is the highest of the maxima that lie uphill from the components' means, by a fixed
    number of steps: the mode of a mixture has no closed form.

    Raises:
        ValueError: for an argument out of range.

    Example:

    ```python
    likelihood = kvae.likelihoods.GaussianMixture(num_components=3)
    likelihood.output_shape((7,))     # (63,)
    ```

    References:
        - [Bishop, Mixture Density Networks](https://publications.aston.ac.uk/id/eprint/373/)
        - Carreira-Perpiñán, Mode-finding for mixtures of Gaussian distributions, IEEE PAMI 22
          (2000): the steps of `mode`.
    """

    decoder_outputs = "logits, means and log-variances"

    def __init__(
        self,
        num_components: int = 5,
        log_var_bound: float = 10.0,
        standardize: bool = False,
        **kwargs,
    ):
        super().__init__(standardize=standardize, **kwargs)
        if not num_components >= 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        if not 0 < log_var_bound < math.inf:
            raise ValueError(f"`log_var_bound` is positive, not {log_var_bound}.")
        self.num_components, self.log_var_bound = int(num_components), log_var_bound
        self.num_parameters = 3 * self.num_components

    def call(self, outputs):
        logits, mean, log_var = ops.split(per_value(outputs, self.num_parameters), 3, axis=-1)
        count = self.num_components
        mean = mean + 3.0 * ((ops.arange(count, dtype=self.dtype) + 0.5) / count - 0.5)
        log_var = ops.clip(log_var, -self.log_var_bound, self.log_var_bound)
        if self.standardize:
            scale = self.data_scale[:, None]
            mean = mean * scale + self.data_location[:, None]
            log_var = log_var + 2.0 * ops.log(scale)
        return {"logits": logits, "mean": mean, "log_var": log_var}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=params["logits"]),
            tfd.Normal(params["mean"], ops.exp(0.5 * params["log_var"])),
        )

    def element_log_prob(self, params, x):
        return ops.logsumexp(self._log_joint(params, x[..., None]), axis=-1)[..., 0]

    def _log_joint(self, params, x):
        """Returns log w_m N(x; m) of each value at several points, `[..., points, M]`."""
        parts = gaussian_log_density(
            params["mean"][..., None, :], params["log_var"][..., None, :], x[..., None]
        )
        weights = params["logits"] - ops.logsumexp(params["logits"], axis=-1, keepdims=True)
        return weights[..., None, :] + parts

    def mean(self, params):
        # Keras's softmax would warn if there is a single component.
        logits = params["logits"]
        weights = ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))
        return ops.sum(weights * params["mean"], axis=-1)

    def mode(self, params):
        # From each component's mean uphill: the density of a mixture does not fall where x moves to
        # the mean of the components' means by their shares and precisions.
        def uphill(_, x):
            joint = self._log_joint(params, x) - params["log_var"][..., None, :]
            share = ops.exp(joint - ops.logsumexp(joint, axis=-1, keepdims=True))
            return ops.sum(share * params["mean"][..., None, :], axis=-1)

        x = ops.fori_loop(0, _UPHILL, uphill, params["mean"])
        best = ops.argmax(ops.logsumexp(self._log_joint(params, x), axis=-1), axis=-1)
        return self._of_component(x, best)

    def _of_component(self, values, component):
        chosen = ops.one_hot(component, self.num_components, dtype=self.dtype)
        return ops.sum(chosen * values, axis=-1)

    def sample(self, params, seed):
        which, where = random.split(seed)
        logits = params["logits"]
        component = ops.argmax(logits + random.gumbel(ops.shape(logits), which), axis=-1)
        mean, log_var = (
            self._of_component(params[name], component) for name in ("mean", "log_var")
        )
        return reparameterize(mean, log_var, random.normal(ops.shape(mean), where))

    def support(self):
        return -math.inf, math.inf, ""

    def get_config(self):
        own = {"num_components": self.num_components, "log_var_bound": self.log_var_bound}
        return {**super().get_config(), **own}
