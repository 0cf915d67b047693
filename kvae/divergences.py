"""Closed-form KL divergences between posteriors and priors, registered by their classes."""

from collections.abc import Callable

from keras import ops

from kvae.posteriors import Delta, DiagonalGaussian
from kvae.priors import StandardNormal

__all__ = ["closed_form_kl", "register_kl"]

_CLOSED_FORMS: dict[tuple[type, type], Callable] = {}


def register_kl(posterior: type, prior: type):
    """Registers `function(posterior, params, prior) -> [batch]` (nats) for a pair of classes.

    Example:

    ```python
    @kvae.divergences.register_kl(MyPosterior, kvae.priors.StandardNormal)
    def _(posterior, params, prior):
        return 0.5 * ops.sum(ops.square(params["z_mean"]), axis=-1)
    ```
    """

    def register(function):
        _CLOSED_FORMS[posterior, prior] = function
        return function

    return register


def closed_form_kl(posterior, prior) -> Callable | None:
    """Returns `params -> KL(q(z|x) ‖ p(z))` in nats, `[batch]`, or `None` where none is known.

    A posterior without a density (`Delta`) has a KL of 0 by convention, whatever the prior.
    """
    for posterior_class in type(posterior).__mro__:
        for prior_class in type(prior).__mro__:
            function = _CLOSED_FORMS.get((posterior_class, prior_class))
            if function is not None:
                return lambda params: function(posterior, params, prior)
    return None


@register_kl(DiagonalGaussian, StandardNormal)
def _(posterior, params, prior):
    # Auto-Encoding Variational Bayes, appendix B, with the opposite sign.
    z_mean, z_log_var = params["z_mean"], params["z_log_var"]
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - 1.0 - z_log_var, axis=-1)


@register_kl(Delta, object)
def _(posterior, params, prior):
    return ops.zeros_like(params["z_mean"][..., 0])
