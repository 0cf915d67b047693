"""Importance-weighted bounds: tighter than the ELBO, from several samples of z."""

import functools
import math

import tensorflow as tf

from kvae import schedules
from kvae.objectives import path
from kvae.objectives.objective import Objective, register
from kvae.utils import gradients, names

__all__ = ["CIWAE", "IWAE", "MIWAE", "PIWAE"]

_GRADIENT = ("reparameterization", "doubly_reparameterized")
# Far below what float32 adds to a weight of 1, far above what makes products underflow.
_SMALLEST = 1e-20


@register("iwae", variants={"dreg": {"gradient": "doubly_reparameterized"}})
class IWAE(Objective):
    """The importance-weighted bound, `E[log 1/K Σ_k p(x, z_k) / q(z_k|x)]`, in nats.

    With one sample it is the ELBO; it grows with K and tends to log p(x). The decoder is decoded at
    K latents for each example, so a step costs about K times the ELBO's decoder.

    Of a model with `missing` (`kvae.VAE(missing=…)`) it is the bound of Mattei & Frellsen on
    log p(x_obs), `E[log 1/K Σ_k p(x_obs|z_k) p(z_k) / q(z_k|x_obs)]`, which they call MIWAE; here
    `miwae` is another objective, the one of several bounds.

    `loss` holds the negative bound. Reported beside it are `iwae`, the bound of all samples, and
    `elbo`, `reconstruction` and `kl`, averages over the same samples, all of them with β = 1.

    Args:
        num_samples: int. K. Defaults to `5`.
        beta: float or schedule. Weight of log q(z|x) − log p(z) within the loss's weights, for a
            warm-up; see `kvae.objectives.ELBO`. Defaults to `1.0`.
        gradient: str. Of the posterior. `"doubly_reparameterized"` (DReG) reaches the parameters
            through z alone, with squared weights: unbiased, and its signal does not drown in
            noise as K grows. Defaults to `"reparameterization"`.

    Raises:
        ValueError: for an unknown gradient, fewer than one sample, and, with the model, for a
            posterior without importance weights (`Delta`, discrete ones) or, doubly
            reparameterised, one whose density has weights of its own (flows).

    Example:

    ```python
    objective = kvae.objectives.IWAE(num_samples=50, gradient="doubly_reparameterized")
    vae = kvae.VAE(encoder, decoder, latent_dim=2, objective=objective)
    ```

    References:
        - [Burda et al., Importance Weighted Autoencoders, eq. 8](https://arxiv.org/abs/1509.00519)
        - [Tucker et al., Doubly Reparameterized Gradient Estimators, eq. 8](
          https://arxiv.org/abs/1810.04152)
        - [Mattei & Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
          Sets, eq. 4](https://arxiv.org/abs/1812.02633): with missing values
    """

    num_groups = 1

    def __init__(
        self,
        num_samples: int = 5,
        beta: schedules.Number = 1.0,
        gradient: str = "reparameterization",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_samples < 1:
            raise ValueError(f"`num_samples` is at least 1, not {num_samples}.")
        if gradient not in _GRADIENT:
            raise names.unknown_name("gradient", gradient, _GRADIENT)
        self.num_samples, self.gradient = num_samples, gradient
        self.beta = schedules.resolve("beta", beta)

    def attach(self, vae):
        super().attach(vae)
        name = type(vae.posterior).__name__
        if not vae.posterior.has_density:
            raise ValueError(
                f"A {name} posterior has no density, so its samples have no importance weights. "
                "Use objective='elbo'."
            )
        if vae.posterior.discrete:
            raise ValueError(
                f"The z of a {name} posterior is discrete and relaxed in training; such a draw has "
                "no importance weight. Use objective='elbo'."
            )
        if self.gradient != "reparameterization":
            path.check(vae.posterior)

    def scheduled(self):
        return {"beta": self.beta}

    def metric_names(self):
        return (*super().metric_names(), "iwae")

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        posterior = vae.posterior
        if self.gradient == "reparameterization":
            draw = posterior.sample_and_log_prob
        else:
            draw = functools.partial(path.sample_and_log_prob, posterior)
        count = self.num_groups * self.num_samples
        z, log_q = draw(params, count, seed=seed, training=training)

        # The gradients of the model and of the posterior weigh the samples differently; both pass
        # through z, where the factor between them is applied.
        scaled, scale_gradient = _with_scaled_gradient(z)
        log_px = vae.likelihood.log_prob(vae.decode_params(scaled, training=training), target)
        log_pz = vae.prior.log_prob(scaled)
        beta = schedules.at(self.beta, vae)
        log_weights = tf.stop_gradient(log_px + beta * (log_pz - log_q))
        bound, of_model, of_posterior = self._weigh(self._grouped(log_weights), beta)
        of_model, of_posterior = (_flat(tf.stop_gradient(w)) for w in (of_model, of_posterior))
        of_model = tf.maximum(of_model, _SMALLEST)
        zero = scale_gradient(of_posterior / of_model)
        slope = of_model * (log_px + beta * log_pz) - of_posterior * beta * log_q
        slope = tf.reduce_sum(slope, axis=0)

        loss = -(bound + slope - tf.stop_gradient(slope) + zero)
        reconstruction = -tf.reduce_mean(log_px, axis=0)
        kl = tf.reduce_mean(log_q - log_pz, axis=0)
        iwae = _log_mean_exp(log_px + log_pz - log_q)
        return self.reported(vae, params, loss, reconstruction, kl, iwae=iwae)

    def _weigh(self, log_weights, beta):
        """Returns the bound, and the derivatives by log w that model and posterior follow.

        Args:
            log_weights: tensor `[num_groups, num_samples, batch]`.
            beta: the present weight of log q − log p(z) in them.

        Returns:
            The bound `[batch]` in nats, and twice a tensor like `log_weights`. Where the gradient
            is doubly reparameterised the last one is of the path through z alone.
        """
        weights = tf.nn.softmax(log_weights, axis=1) / self.num_groups
        bound = tf.reduce_mean(_log_mean_exp(log_weights, axis=1), axis=0)
        if self.gradient == "reparameterization":
            return bound, weights, weights
        # Tucker et al. for weights that hold (p(z) / q(z|x))^β: what log q's own gradient would
        # give, written as one through z, takes away β (w − w²).
        return bound, weights, (1 - beta) * weights + beta * self.num_groups * weights**2

    def _grouped(self, values):
        return tf.reshape(values, (self.num_groups, self.num_samples, -1))

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "beta": schedules.serialize(self.beta),
            "gradient": self.gradient,
        }


@register("miwae")
class MIWAE(IWAE):
    """The average of M importance-weighted bounds of K samples each.

    `1/M Σ_m log 1/K Σ_k p(x, z_mk) / q(z_mk|x)`, in expectation over the samples. Averaging keeps
    the gradient of the posterior strong where a single bound of M·K samples weakens it; the bound
    itself is that of K samples.

    Args:
        num_groups: int. M. Defaults to `2`.
        num_samples: int. K. Defaults to `5`.
        **settings: `beta` and `gradient` of `IWAE`.

    Measured:
        - digits: NLL 22.87 ± 0.23 nats, `python -m benchmarks.methods --method objective=miwae`

    Reference:
        - [Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, section 4](
          https://arxiv.org/abs/1802.04537)
    """

    def __init__(self, num_groups: int = 2, num_samples: int = 5, **settings):
        super().__init__(num_samples, **settings)
        if num_groups < 1:
            raise ValueError(f"`num_groups` is at least 1, not {num_groups}.")
        self.num_groups = num_groups

    def get_config(self):
        return {**super().get_config(), "num_groups": self.num_groups}


@register("piwae")
class PIWAE(MIWAE):
    """Two bounds of the same samples: M·K of them for the model, M times K for the posterior.

    The model follows the tightest bound, `log 1/(M K) Σ_mk p(x, z_mk) / q(z_mk|x)`, whose value is
    the loss; the posterior follows `MIWAE`,
    whose gradient is less noisy. What the prior takes from the encoder (`kvae.priors.Vamp`) belongs
    to the model here.

    Args:
        num_groups: int. M. Defaults to `2`.
        num_samples: int. K. Defaults to `5`.
        **settings: `beta` and `gradient` of `IWAE`.

    Measured:
        - digits: NLL 22.83 ± 0.23 nats, `python -m benchmarks.methods --method objective=piwae`

    Reference:
        - [Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, section 4](
          https://arxiv.org/abs/1802.04537)
    """

    def _weigh(self, log_weights, beta):
        _, _, of_posterior = super()._weigh(log_weights, beta)
        all_samples = _flat(log_weights)
        weights = tf.reshape(tf.nn.softmax(all_samples, axis=0), tf.shape(log_weights))
        return _log_mean_exp(all_samples), weights, of_posterior


@register("ciwae")
class CIWAE(IWAE):
    """A convex combination of the ELBO and the importance-weighted bound, of the same samples.

    With the weights `w_k = p(x, z_k) / q(z_k|x)` it is
    `β 1/K Σ_k log w_k + (1 − β) log 1/K Σ_k w_k`.

    Args:
        num_samples: int. K. Defaults to `5`.
        elbo_weight: float from 0 (the bound of `IWAE`) to 1 (the ELBO). Called β in the paper.
            Defaults to `0.5`.
        **settings: `beta` and `gradient` of `IWAE`.

    Reference:
        - [Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, section 4](
          https://arxiv.org/abs/1802.04537)
    """

    def __init__(self, num_samples: int = 5, elbo_weight: float = 0.5, **settings):
        super().__init__(num_samples, **settings)
        if not 0.0 <= elbo_weight <= 1.0:
            raise ValueError(f"`elbo_weight` is between 0 and 1, not {elbo_weight!r}.")
        self.elbo_weight = elbo_weight

    def _weigh(self, log_weights, beta):
        bound, of_model, of_posterior = super()._weigh(log_weights, beta)
        elbo = tf.reduce_mean(log_weights, axis=(0, 1))
        # The path derivative of a plain average has the average's own weights.
        equal = tf.ones_like(of_model) / self.num_samples
        share = self.elbo_weight
        return tuple(
            share * a + (1 - share) * b
            for a, b in ((elbo, bound), (equal, of_model), (equal, of_posterior))
        )

    def get_config(self):
        return {**super().get_config(), "elbo_weight": self.elbo_weight}


def _flat(values):
    """`[num_groups, num_samples, batch]` to `[num_groups * num_samples, batch]`."""
    return tf.reshape(values, (values.shape[0] * values.shape[1], -1))


def _log_mean_exp(values, axis: int = 0):
    return tf.reduce_logsumexp(values, axis=axis) - math.log(values.shape[axis])


def _with_scaled_gradient(z):
    """Returns `z`, and a function that sets by what its gradient is multiplied.

    The factor `[num_samples, batch]` is known only after what is computed from `z`, so it comes
    with the gradients. `z` is returned with two zeros beside it, and the function returns a term
    `[batch]` for the loss, which is zero. Its derivatives by those zeros are the factor and 1, both
    times whatever weight the loss has got, which their ratio takes out again.
    """
    zeros = tf.zeros_like(z[..., 0])
    scaled, zero, unit = _carrying(z, zeros, zeros)

    def scale(factor):
        return tf.reduce_sum(zero * tf.stop_gradient(factor) + unit, axis=0)

    return tf.ensure_shape(scaled, z.shape), scale


@gradients.custom_gradient((None, None, None), (None, None), (None, None))
def _carrying(z, zero, unit):
    def gradient(upstream, factor, weight):
        # A loss of weight zero has no gradient in z; only the loss has a factor.
        factor = tf.where(weight == 0.0, tf.ones_like(factor), factor / weight)
        return upstream * factor[..., None], None, None

    return (tf.identity(z), tf.identity(zero), tf.identity(unit)), gradient
