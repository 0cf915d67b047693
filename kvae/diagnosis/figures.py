"""The figures of a model and its data that the checks share; each is computed once."""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.evaluation.latents.summary import LatentSummary, latent_summary
from kvae.evaluation.marginal_likelihood.importance import weighted_draws

__all__ = ["Figures", "scaled_spread"]

_BATCH = 500
_ACTIVE = 0.01  # The least variance of the means of a dimension that says something of x.
# Logarithms of spreads among the parameters of a likelihood: how often each is that of the scale.
_SPREADS = {"log_var": 2.0, "log_scale": 1.0}


def scaled_spread(params: dict, factor: float) -> dict | None:
    """Returns parameters of p(x|z) whose scale is multiplied; `None` where there is none.

    Args:
        params: dict. Of a likelihood with a `mean` and a logarithm of its scale.
        factor: float.
    """
    for name, power in _SPREADS.items():
        if name in params and "mean" in params:
            return {**params, name: params[name] + power * float(np.log(factor))}
    return None


@dataclasses.dataclass(frozen=True)
class Figures:
    """The figures of a model for some data.

    Args:
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset`, of as many examples as are looked at.
        seed: int.
        num_samples: int. Draws of z for each example. Defaults to `8`.
    """

    model: Any
    data: Any
    seed: int
    num_samples: int = 8

    def batches(self):
        """Yields x and labels, a seed, and what is drawn: z, parameters of p(x|z), log-ratios."""
        model, first = self.model, 0
        for x, label in model.event_rows(self.data, batch_size=_BATCH, support=False):
            seed = random.fold_in(random.as_seed(self.seed), first)
            first += len(x)
            given = model.conditioned_on(label)
            yield x, given, given.encode_params(x), seed

    @functools.cached_property
    def x(self) -> np.ndarray:
        """The examples, `[n, *event]`."""
        rows = self.model.event_rows(self.data, batch_size=_BATCH, support=False)
        return np.concatenate([np.asarray(x) for x, _ in rows])

    @functools.cached_property
    def _drawn(self) -> dict[str, np.ndarray]:
        found: dict[str, list] = {"bound": [], "z": []}
        for x, given, params, seed in self.batches():
            if given.posterior.has_density:
                z, decoded, log_px, log_ratio = weighted_draws(
                    given, given.prior, x, params, self.num_samples, seed
                )
                log_px = log_px + log_ratio
            else:
                z = given.posterior.mean(params)[None]
                decoded = given.decode_params(z)
                log_px = given.likelihood.log_prob(decoded, x)
            found["bound"].append(tf.reduce_mean(log_px, axis=0))
            found["z"].append(z[0])
        return {
            name: np.concatenate([np.asarray(part, np.float64) for part in parts])
            for name, parts in found.items()
        }

    @property
    def bound(self) -> np.ndarray:
        """The ELBO of each example, `[n]` in nats; log p(x|z) of its code for an autoencoder."""
        return self._drawn["bound"]

    @property
    def z(self) -> np.ndarray:
        """A code of each example, `[n, latent_dim]`."""
        return self._drawn["z"]

    @functools.cached_property
    def made(self) -> tuple[np.ndarray, np.ndarray]:
        """E[x|z] and a draw from p(x|z), for z of the prior or, without one, of the codes."""
        means, draws = [], []
        for x, given, params, seed in self.batches():
            if given.prior is None or given.posterior.space != "real":
                z = given.posterior.mean(params)
            else:
                z = given.prior.sample(len(x), random.fold_in(seed, 2))
            decoded = given.decode_params(z)
            means.append(np.asarray(given.likelihood.mean(decoded)))
            draws.append(np.asarray(given.likelihood.sample(decoded, random.fold_in(seed, 1))))
        return np.concatenate(means), np.concatenate(draws)

    @functools.cached_property
    def latents(self) -> LatentSummary:
        return latent_summary(self.model, self.data, seed=self.seed)

    def over_scales(self, factors) -> np.ndarray | None:
        """Returns E_q log p(x|z) with the scale of p(x|z) multiplied, `[factors, n]`.

        It is `None` for a likelihood without a scale.
        """
        found = []
        for x, given, params, seed in self.batches():
            posterior = given.posterior
            if posterior.has_density:
                z = posterior.sample(params, self.num_samples, seed=seed)
            else:
                z = posterior.mean(params)[None]
            decoded = given.decode_params(z)
            own = []
            for factor in factors:
                scaled = scaled_spread(decoded, factor)
                if scaled is None:
                    return None
                own.append(tf.reduce_mean(given.likelihood.log_prob(scaled, x), axis=0))
            found.append(np.stack([np.asarray(one, np.float64) for one in own]))
        return np.concatenate(found, axis=1)

    def over_widths(self, factors) -> np.ndarray:
        """Returns the ELBO with the standard deviations of a Gaussian q(z|x) multiplied.

        Those of dimensions that say something of x are. The others are as wide as the prior, and
        the more of them there are, the more nats it would cost to change them as well.
        """
        active = self.latents.variance_of_means > _ACTIVE
        active = active if active.any() else np.ones_like(active)
        found = []
        for x, given, params, seed in self.batches():
            own = []
            for factor in factors:
                shift = np.where(active, 2 * np.log(factor), 0.0).astype("float32")
                changed = {**params, "z_log_var": params["z_log_var"] + shift}
                _, _, log_px, log_ratio = weighted_draws(
                    given, given.prior, x, changed, self.num_samples, seed
                )
                own.append(np.asarray(tf.reduce_mean(log_px + log_ratio, axis=0), np.float64))
            found.append(np.stack(own))
        return np.concatenate(found, axis=1)
