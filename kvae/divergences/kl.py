"""Closed-form KL divergences between posteriors and priors, registered by their classes.

They are the first term of eq. 3 of Auto-Encoding Variational Bayes; eq. 10 is that equation with
the closed form for `DiagonalGaussian` and `StandardNormal`. Where none is known, the objective
averages log q(z|x) − log p(z) over its samples (eq. 6).
"""

import math
from collections.abc import Callable

import tensorflow as tf
from keras import ops

from kvae import priors
from kvae.distributions.gaussian import gaussian_kl
from kvae.divergences.tfp import kl_of_tfp
from kvae.posteriors import (
    Delta,
    DiagonalGaussian,
    FullCovariance,
    GumbelSoftmax,
    HierarchicalExperts,
    Ladder,
    LocationScale,
    LowRank,
    PriorNoise,
    Product,
    Quantizer,
    Spherical,
    UnitVariance,
)
from kvae.posteriors.posterior import check_space
from kvae.priors import (
    ClassConditional,
    StandardNormal,
    UniformCategorical,
    UniformCodes,
    UniformSphere,
)

__all__ = [
    "closed_form_kl",
    "kl_of_groups",
    "kl_per_dimension",
    "marginal_kl_per_dimension",
    "register_kl",
]

# The function, and whether it returns one KL for each latent dimension.
_CLOSED_FORMS: dict[tuple[type, type], tuple[Callable, bool]] = {}


def register_kl(posterior: type, prior: type, per_dimension: bool = False):
    """Registers `function(posterior, params, prior) -> [batch]` (nats) for a pair of classes.

    With `per_dimension` the function returns `[batch, latent_dim]`, terms whose sum is the KL.

    Example:

    ```python
    class MyPosterior(kvae.posteriors.UnitVariance):
        pass

    @kvae.divergences.register_kl(MyPosterior, kvae.priors.StandardNormal)
    def _(posterior, params, prior):
        return 0.5 * ops.sum(ops.square(params["z_mean"]), axis=-1)
    ```
    """

    def register(function):
        _CLOSED_FORMS[posterior, prior] = function, per_dimension
        return function

    return register


def closed_form_kl(posterior, prior) -> Callable | None:
    """Returns `params -> KL(q(z|x) ‖ p(z))` in nats, `[batch]`, or `None` where none is known.

    A posterior without a density (`Delta`) has a KL of 0 by convention, whatever the prior.

    Raises:
        ValueError: where the two put z into different spaces, so that the KL is infinite.
    """
    check_space(posterior, prior)
    function, per_dimension = _find(posterior, prior)
    if function is None:
        return None
    if per_dimension:
        return lambda params: ops.sum(function(posterior, params, prior), axis=-1)
    return lambda params: function(posterior, params, prior)


def kl_per_dimension(posterior, prior) -> Callable | None:
    """Returns `params -> [batch, latent_dim]` in nats, whose sum is the KL; `None` if it is no sum.

    The KL is a sum over dimensions where both distributions are products over them.
    """
    check_space(posterior, prior)
    function, per_dimension = _find(posterior, prior)
    if not per_dimension:
        return None
    return lambda params: function(posterior, params, prior)


def kl_of_groups(posterior, prior) -> Callable | None:
    """Returns `(params, z) -> [..., batch, groups]`: the KL of each group given those above.

    In nats. It is for ladders and hierarchies of experts, whose KL as a whole has no closed form:
    that is the mean of their sum over draws of z. `None` for other pairs.
    """
    if isinstance(posterior, HierarchicalExperts) and posterior.is_of(prior):
        return posterior.kl_of_groups
    if isinstance(posterior, Ladder) and isinstance(prior, priors.Ladder):
        return posterior.kl_of_groups
    return None


def marginal_kl_per_dimension(posterior, prior) -> Callable | None:
    """Returns `params -> KL(q(z_i|x) ‖ p(z_i))` of each coordinate alone, `[batch, latent_dim]`.

    Where the KL is a sum over dimensions these are its terms. For a Gaussian with correlations
    their sum is less than the KL, by the total correlation of q(z|x). `None` for other pairs.
    """
    exact = kl_per_dimension(posterior, prior)
    gaussian = isinstance(posterior, (FullCovariance, LowRank)) and isinstance(
        prior, StandardNormal
    )
    if exact is not None or not gaussian:
        return exact

    def kl(params):
        variance = tf.linalg.diag_part(posterior.covariance(params))
        return 0.5 * (variance + ops.square(params["z_mean"]) - 1.0 - ops.log(variance))

    return kl


def _find(posterior, prior) -> tuple[Callable | None, bool]:
    if isinstance(posterior, PriorNoise) and posterior.draws_from(prior):
        return (
            lambda posterior, params, prior: params["batch"] * ops.zeros((1, posterior.latent_dim)),
            True,
        )
    if isinstance(posterior, Product) and (pairs := posterior.pairs(prior)) is not None:
        return _of_parts([_find(*pair) for pair in pairs], pairs)
    if isinstance(posterior, Quantizer) and not posterior.deterministic:
        return None, False  # A sum over all sequences of codes.
    for posterior_class in type(posterior).__mro__:
        for prior_class in type(prior).__mro__:
            if (posterior_class, prior_class) in _CLOSED_FORMS:
                return _CLOSED_FORMS[posterior_class, prior_class]
    return kl_of_tfp(posterior, prior)


def _of_parts(found, pairs) -> tuple[Callable | None, bool]:
    """Returns the KL of products: the sum of those of their parts, where all are known."""
    if any(function is None for function, _ in found):
        return None, False
    per_dimension = all(each for _, each in found)

    def kl(posterior, params, prior):
        terms = [
            function(own, params, prior)
            for (function, _), (own, prior), params in zip(
                found, pairs, posterior.of(params), strict=True
            )
        ]
        if per_dimension:
            return ops.concatenate(terms, axis=-1)
        return sum(
            ops.sum(term, axis=-1) if each else term
            for term, (_, each) in zip(terms, found, strict=True)
        )

    return kl, per_dimension


@register_kl(DiagonalGaussian, StandardNormal, per_dimension=True)
def _(posterior, params, prior):
    # Auto-Encoding Variational Bayes, eq. 10 and appendix B, with the opposite sign.
    z_mean, z_log_var = params["z_mean"], params["z_log_var"]
    return 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - 1.0 - z_log_var)


@register_kl(DiagonalGaussian, ClassConditional, per_dimension=True)
def _(posterior, params, prior):
    return gaussian_kl(params["z_mean"], params["z_log_var"], *prior.parameters())


@register_kl(UnitVariance, StandardNormal, per_dimension=True)
def _(posterior, params, prior):
    return 0.5 * ops.square(params["z_mean"])


@register_kl(FullCovariance, StandardNormal)
def _(posterior, params, prior):
    z_mean, z_log_var = params["z_mean"], params["z_log_var"]
    trace = ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - 1.0 - z_log_var, axis=-1)
    if "z_lower" in params:
        trace = trace + ops.sum(ops.square(params["z_lower"]), axis=-1)
    return 0.5 * trace


@register_kl(LowRank, StandardNormal)
def _(posterior, params, prior):
    trace = ops.sum(ops.square(params["z_factor"]), axis=(-2, -1))
    moments = ops.exp(params["z_log_var"]) + ops.square(params["z_mean"]) - 1.0
    return 0.5 * (ops.sum(moments, axis=-1) + trace - posterior.log_det_covariance(params))


@register_kl(LocationScale, StandardNormal, per_dimension=True)
def _(posterior, params, prior):
    # Cross-entropy with N(0, I), which depends on the second moments alone, minus the entropy.
    z_mean, z_log_scale = params["z_mean"], params["z_log_scale"]
    second = ops.square(z_mean) + ops.exp(2 * z_log_scale) * posterior.second_moment(params)
    entropy = posterior.entropy(params) + z_log_scale
    return 0.5 * (second + math.log(2 * math.pi)) - entropy


@register_kl(GumbelSoftmax, UniformCategorical)
def _(posterior, params, prior):
    variables = posterior.latent_dim // posterior.num_categories
    return variables * math.log(posterior.num_categories) - posterior.entropy(params)


@register_kl(Quantizer, UniformCodes)
def _(posterior, params, prior):
    # q is deterministic, and p uniform over K^N codes.
    nats = posterior.num_codes * math.log(posterior.num_embeddings)
    return ops.zeros_like(params["z_e"][..., 0]) + nats


@register_kl(Spherical, UniformSphere)
def _(posterior, params, prior):
    return prior.log_area() - posterior.entropy(params)


@register_kl(Delta, object, per_dimension=True)
def _(posterior, params, prior):
    return ops.zeros_like(params["z_mean"])
