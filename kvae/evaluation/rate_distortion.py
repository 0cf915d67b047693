"""Rate and distortion: what models pay for their codes, and how well these reconstruct."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from kvae import plots
from kvae.evaluation.marginal_likelihood.annealed import anneal
from kvae.evaluation.result import Result
from kvae.evaluation.terms import mean_terms
from kvae.utils.eager import evaluated_eagerly

__all__ = ["RateDistortionCurve", "rate_distortion", "rate_distortion_curve"]

_POINTS = 8
_Kind = TypeVar("_Kind", bound=Result)


def rate_distortion(
    models: Mapping[str, Any], data: Any = None, *, batch_size: int = 100, seed: int = 0
) -> Result:
    """Compares models by rate and distortion, whose sum is −ELBO.

    The rate is R = E KL(q(z|x) ‖ p(z)), the distortion D = −E log p(x|z), both in nats per
    example. Models of equal ELBO lie on a line R + D = const; where on it says how much the
    codes carry. A model at R = 0 ignores its latents, one with a small D and a large R is an
    autoencoder. β-VAEs move along the curve. Distortions compare under the same likelihood and
    on the same dataset only.

    Args:
        models: mapping from names to `kvae.VAE`, or to results: mappings with `kl` and
            `reconstruction`, as `kvae.evaluation.evaluate` and `fit`'s last epoch have them.
        data: `kvae.datasets.Dataset`. What the models are measured on; not needed for results.
        batch_size: int. Defaults to `100`.
        seed: int. Defaults to `0`.

    Returns:
        `Result`: for each name a dict of `rate`, `distortion` and `elbo`, for
        `kvae.plots.rate_distortion`.

    Raises:
        ValueError: without models, for an autoencoder (it has no rate), and for a result without
            `kl` and `reconstruction`.

    Example:

    ```python
    result = kvae.evaluation.rate_distortion({"β = 1": vae, "β = 4": other}, test)
    print(result)
    kvae.plots.rate_distortion(result, path="rate_distortion.png")
    ```

    Reference:
        - [Alemi et al., Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464)
    """
    if not isinstance(models, Mapping) or not models:
        raise ValueError("`models` maps names to models or results, e.g. {'β = 1': vae}.")
    values = {}
    for name, model in models.items():
        if isinstance(model, Mapping):
            if not {"kl", "reconstruction"} <= set(model):
                raise ValueError(f"The result {name!r} has no `kl` and `reconstruction`.")
            terms = model
        elif data is None:
            raise ValueError("Models are measured on `data`; only results need none.")
        elif not model.posterior.has_density:
            raise ValueError(
                f"{name!r} is an autoencoder: its codes are exact, so that their rate is infinite."
            )
        else:
            terms = mean_terms(model, data, batch_size=batch_size, seed=seed)
        rate, distortion = float(terms["kl"]), float(terms["reconstruction"])
        values[str(name)] = {"rate": rate, "distortion": distortion, "elbo": -rate - distortion}
    return _table(Result, "Rate and distortion", values)


def _table(kind: type, title: str, values: dict, note: str = "", **options):
    rows = [(name, *point.values()) for name, point in values.items()]
    units = "nats per example; rate KL(q(z|x) ‖ p(z)), distortion −E log p(x|z)"
    return kind(
        title, values, ("model", "rate", "distortion", "ELBO"), rows, units + note, **options
    )


class RateDistortionCurve(Result):
    """The figures of `rate_distortion_curve`, a mapping like that of `rate_distortion`.

    Attributes:
        curve: dict of arrays `[num_steps]`: `beta`, `rate`, `distortion`.
    """

    def __init__(self, *arguments, curve: dict[str, np.ndarray], **options):
        super().__init__(*arguments, **options)
        self.curve = curve


@evaluated_eagerly
def rate_distortion_curve(
    model: Any,
    data: Any,
    *,
    max_beta: float = 2.0,
    num_chains: int = 16,
    num_steps: int = 200,
    num_leapfrog: int = 10,
    batch_size: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> RateDistortionCurve:
    """Measures the rates and distortions that a trained decoder and its prior can reach.

    For every weight β of the distortion the best codes are `q_β(z|x) ∝ p(z) p(x|z)^β`, whatever
    encoder the model has; their rate R(β) = KL(q_β ‖ p) and distortion D(β) = −E log p(x|z) form a
    curve from R = 0 on. At β = 1 q_β is the true posterior, and −(R + D) is log p(x). (This β
    weighs the distortion; the β of a β-VAE, which weighs the rate, is its inverse, and trains a
    decoder of its own for each value: `kvae.training.train_over_beta`.)

    One run of annealed importance sampling from the prior passes all of them (see
    `annealed_log_prob`). The rates found are upper bounds in expectation, and more steps and more
    chains make them tighter. The model's own point, with its encoder at β = 1, lies above the
    curve by what the encoder loses.

    Args:
        model: `kvae.VAE` with a prior and latents in R^latent_dim. Autoencoders with a prior that
            was fitted to their codes are measured too; their own point is not, its rate is
            infinite.
        data: `kvae.datasets.Dataset`. A hundred examples will do: the curve is a mean.
        max_beta: float. The largest β. Defaults to `2.0`.
        num_chains, num_steps, num_leapfrog, batch_size, seed, progress: as in
            `annealed_log_prob`.

    Returns:
        `RateDistortionCurve`: for some β, and for the model itself, a dict of `rate`, `distortion`
        and `elbo`; all of the curve is in its `curve`. For `kvae.plots.rate_distortion`.

    Raises:
        ValueError: for a model without a prior or with latents elsewhere, and for `max_beta` below
            1.

    Example:

    ```python
    result = kvae.evaluation.rate_distortion_curve(vae, test[:100])
    kvae.plots.rate_distortion(result, path="rate_distortion.png")
    ```

    Reference:
        - [Huang et al., Evaluating Lossy Compression Rates of Deep Generative Models, section 4](
          https://arxiv.org/abs/2008.06653)
    """
    if model.prior is None:
        raise ValueError(
            f"{model.name} is an autoencoder without a prior, so its codes have no rate. Fit a "
            "prior to them with kvae.samplers."
        )
    data = model.as_dataset(data)
    if not 1 <= max_beta < math.inf or num_steps < 2:
        raise ValueError(
            f"`max_beta` is at least 1 and `num_steps` at least 2, not {max_beta} and {num_steps}."
        )
    # Slowly at first, where the distortion falls fastest.
    betas = max_beta * (np.arange(num_steps + 1) / num_steps) ** 3
    betas[np.argmin(np.abs(betas - 1.0))] = 1.0
    batches = anneal(
        model,
        data,
        betas,
        num_chains=num_chains,
        num_leapfrog=num_leapfrog,
        start="prior",
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        label=None,
    )
    courses = [course for _, course in batches]
    log_total, log_likelihood = np.concatenate(courses, axis=2).mean(axis=2).T
    beta, distortion = betas[1:], -log_likelihood
    curve = {"beta": beta, "rate": -beta * distortion - log_total, "distortion": distortion}
    wanted = np.geomspace(1.0 / 30, max_beta, _POINTS)
    wanted = [1.0, *wanted[np.abs(np.log(wanted)) > 0.2]]
    chosen = np.unique(np.abs(beta[:, None] - wanted).argmin(axis=0))
    values = {}
    if model.posterior.has_density:
        values |= rate_distortion({model.name: model}, data, batch_size=batch_size, seed=seed)
    for index in chosen:
        rate, distortion = float(curve["rate"][index]), float(curve["distortion"][index])
        elbo = -rate - distortion
        values[f"β = {beta[index]:.3g}"] = {"rate": rate, "distortion": distortion, "elbo": elbo}
    result = _table(
        RateDistortionCurve,
        f"Rate and distortion of the decoder of {model.name}",
        values,
        f"; β: of q ∝ p(z) p(x|z)^β, {len(data)} examples, {num_chains} chains of {num_steps} "
        "temperatures",
        curve=curve,
    )
    return with_picture(result)


def with_picture(result: _Kind) -> _Kind:
    """Gives a result with points of rate and distortion their picture, and returns it."""
    result.pictures["rate_distortion"] = (
        "Rate and distortion",
        lambda path: plots.rate_distortion(result, path=path),
    )
    return result
