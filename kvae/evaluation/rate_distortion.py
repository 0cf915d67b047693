"""What models pay for their codes, and what they get for it."""

from collections.abc import Mapping

from kvae.evaluation.evaluate import mean_terms
from kvae.evaluation.result import Result

__all__ = ["rate_distortion"]


def rate_distortion(models, data=None, *, batch_size: int = 100, seed: int = 0) -> Result:
    """Compares models by rate and distortion, whose sum is −ELBO.

    The rate is R = E KL(q(z|x) ‖ p(z)), the distortion D = −E log p(x|z), both in nats per example.
    Models of equal ELBO lie on a line R + D = const; where on it says how much the codes carry. A
    model at R = 0 ignores its latents, one with a small D and a large R is an autoencoder. β-VAEs
    move along the curve. Distortions compare under one likelihood and one data set only.

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
    rows = [(name, *point.values()) for name, point in values.items()]
    return Result(
        "Rate and distortion",
        values,
        ("model", "rate", "distortion", "ELBO"),
        rows,
        "nats per example; rate KL(q(z|x) ‖ p(z)), distortion −E log p(x|z)",
    )
