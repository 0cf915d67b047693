"""The checks, one function for each fault: figures in, `Fault` or `None` out.

A check finds a fault where the figures leave no doubt (two standard errors) *and* where it is large
enough to matter, by the bounds that stand here.
"""

import math

import numpy as np

from kvae.diagnosis import remedies
from kvae.diagnosis.fault import Fault
from kvae.diagnosis.figures import Figures
from kvae.evaluation.differences import Difference, difference
from kvae.evaluation.latents import advice
from kvae.evaluation.latents.probes import knn_probe, linear_probe
from kvae.likelihoods import Bernoulli
from kvae.posteriors import DiagonalGaussian
from kvae.utils import masks

__all__ = ["collapse", "drift", "misfit", "over_fit", "range_of_data", "sigma", "width"]

# Factors of a scale or a width, of which the best is looked for, and how the best is refined.
_FACTORS = 2.0 ** np.float64([-5, -4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5])
_FINER = 2.0 ** np.float64([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75])
_SMALL, _LARGE = math.sqrt(0.5), math.sqrt(2.0)  # Factors within these are near 1.
_FAR = 5.0  # Spreads of data and model that differ by so much are of another unit.
_SHARE = 0.01  # Of values outside of what a model takes or gives.
_COMPONENTS = 32  # The principal components in which training and test data are compared.
_MOST_TOLD = 0.55  # The share of examples whose set a classifier may guess, by chance a half.


def range_of_data(figures: Figures) -> Fault | None:
    """Data in other units than the model's: outside of the support, or far from all it makes."""
    likelihood, x = figures.model.likelihood, figures.x
    seen = np.asarray(masks.observed(x))
    fits = np.asarray(likelihood.element_in_support(np.where(seen, x, 0.0))) | ~seen
    outside = 1.0 - float(fits.mean())
    low, high, told = likelihood.support()
    values = {
        "lowest": float(x[seen].min()),
        "highest": float(x[seen].max()),
        "mean": float(x[seen].mean()),
        "deviation": float(x[seen].std()),
        "outside_of_support": outside,
    }
    facts = (
        f"The data go from {values['lowest']:.4g} to {values['highest']:.4g} (mean "
        f"{values['mean']:.4g}, standard deviation {values['deviation']:.4g})"
    )
    if outside > 0:
        return Fault(
            "wrong_range",
            "serious",
            f"{facts}; {100 * outside:.3g} % of the values are outside of the support "
            f"[{low:g}, {high:g}] of {type(likelihood).__name__}.",
            f"Give the data on the scale of the training. {told}".strip(),
            values,
        )
    if isinstance(likelihood, Bernoulli) and figures.model.posterior.has_density:
        grey = float(np.mean((x[seen] > 0) & (x[seen] < 1)))
        if grey <= _SHARE:
            return None
        return Fault(
            "grey_values",
            "note",
            f"{facts}; {100 * grey:.3g} % of the values lie between 0 and 1, of which a Bernoulli "
            "likelihood gives a loss and no probability.",
            "Binarize the data (--binarize, binarize=) where nats are to be compared, or train "
            "with a likelihood of grey values.",
            {**values, "between_0_and_1": grey},
        )
    real = math.isinf(low) and math.isinf(high) and not likelihood.discrete
    if not real:
        return None
    mean, drawn = figures.made
    own = {
        "mean_of_model": float(mean.mean()),
        "deviation_of_means": float(mean.std()),
        "drawn_deviation": float(drawn.std()),
    }
    shift = abs(values["mean"] - own["mean_of_model"])
    far = shift > 2 * max(values["deviation"], own["drawn_deviation"])
    wide = values["deviation"] > _FAR * own["drawn_deviation"]
    narrow = 0 < values["deviation"] < own["deviation_of_means"] / _FAR
    if not (far or wide or narrow):
        return None
    return Fault(
        "wrong_range",
        "serious",
        f"{facts}; what the model makes has the mean {own['mean_of_model']:.4g} and the standard "
        f"deviation {own['deviation_of_means']:.4g}, with the noise of p(x|z) "
        f"{own['drawn_deviation']:.4g}.",
        "Give the data on the scale of the training: divide images of 0 to 255 by 255, and "
        "standardise columns as then, or let the likelihood do it (standardize=True).",
        {**values, **own},
    )


def drift(figures: Figures, train: Figures) -> Fault | None:
    """Training and test data that a classifier tells apart better than by chance."""
    n = min(len(figures.x), len(train.x))
    if n < 20:
        return None
    both = np.concatenate([_rows(train.x, n, figures.seed), _rows(figures.x, n, figures.seed)])
    codes = _components(both)
    label = np.repeat([0, 1], n)
    # Half of each set to learn from: rows were put in an order of chance.
    half = np.arange(2 * n) % n < n // 2
    learn, told = (codes[half], label[half]), (codes[~half], label[~half])
    found = {
        "linear": linear_probe(*learn, *told),
        "nearest_neighbours": knn_probe(*learn, *told),
    }
    accuracy = max(found.values())
    error = math.sqrt(accuracy * (1 - accuracy) / len(told[1]))
    chance = 0.5 / math.sqrt(len(told[1]))  # The error of guesses, of which the better is taken.
    if accuracy - 0.5 <= 3 * chance or accuracy - 2 * error <= _MOST_TOLD - 0.03:
        return None
    gap = _gap(figures, train)
    return Fault(
        "drift",
        "serious" if accuracy > 0.75 else "warning",
        f"A classifier tells test from training data in {100 * accuracy:.1f} % of the cases "
        f"(± {100 * error:.1f}, by chance 50). {_gap_told(figures, gap)}",
        "Look at what differs (kvae detect finds the most unusual rows), divide the data at "
        "random, or train on newer data.",
        {"accuracy": accuracy, "standard_error": error, **found, **_gap_figures(gap)},
    )


def collapse(figures: Figures) -> Fault | None:
    """A posterior that says nothing of x, or of which many dimensions say nothing."""
    found = figures.latents
    state = found.state()
    if "collapsed" not in state:
        return None
    asked = advice.asked_for_collapse(figures.model, found)
    partly = state != "collapsed"
    values = {
        "active_units": found.active_units,
        "latent_dim": found.latent_dim,
        "rate": found.rate,
        "mutual_information": found.mutual_information,
        "mutual_information_error": found.mutual_information_error,
    }
    error = ""
    if found.mutual_information_error is not None:
        error = f" (± {found.mutual_information_error:.2g})"
    told = advice.told(found)
    return Fault(
        "partly_collapsed" if partly else "collapsed",
        "note" if partly else "serious",
        f"{told[0].upper()}{told[1:]}{error}.",
        asked or advice.against_collapse(state),
        values,
        remedies.warm_up(figures.model),
    )


def misfit(figures: Figures, train: Figures | None) -> Fault | None:
    """A prior that the codes do not follow: it has holes, or lies elsewhere.

    A density that is fitted to the codes of other examples is compared with the prior on these. The
    mean of log p_fitted(z) − log p(z) over z ~ q(z) is a lower bound of KL(q(z) ‖ p(z)), and the
    ELBO gains just that with the fitted prior.
    """
    model = figures.model
    remedy = remedies.fitted_prior(model)
    if remedy is None:
        return None
    if train is None:
        codes = figures.z[::2], figures.z[1::2]
    else:
        codes = train.z, figures.z
    sampler = remedy.sampler(len(codes[0]))
    fitted = sampler.prior_of(codes[0], figures.seed).precomputed()
    z = codes[1].astype("float32")
    gain = difference(fitted.log_prob(z), model.prior.precomputed().log_prob(z))
    rate, off = figures.latents.rate, figures.latents.state() == "off the prior"
    if not gain.exceeds(max(1.0, 0.1 * rate)):
        return None
    return Fault(
        "off_the_prior",
        "serious" if off or gain.exceeds(0.5 * rate) else "warning",
        f"A mixture of {sampler.num_components} Gaussians fitted to other codes gives these "
        f"{gain} nats more than the prior, of {rate:.3g} nats that z costs: draws from the prior "
        "are unlike the codes, and samples unlike the data.",
        "Fit a prior to the codes: kvae.samplers.GaussianMixture().fit(vae, train).model, or "
        "--sampler gmm on the command line; or train with prior='vamp' or 'flow'.",
        {"gain": gain.value, "standard_error": gain.error, "rate": rate},
        remedy,
    )


def sigma(figures: Figures) -> Fault | None:
    """A scale of p(x|z) that is not that of the errors of the reconstructions."""
    if figures.over_scales(_FACTORS[:1]) is None:
        return None
    factor, gain = _best(figures.over_scales)
    if _is_near(factor) or not gain.exceeds():
        return None
    small = factor > 1
    words = "small" if small else "large"
    told = f"{factor:.3g} times as large" if small else f"{1 / factor:.3g} times smaller"
    return Fault(
        f"sigma_too_{words}",
        _severity(factor),
        f"With a scale of p(x|z) that is {told}, the same reconstructions have {gain} nats more "
        "for each example.",
        f"σ is too {words} for the errors that the decoder makes"
        + (": noise is learned as if it were signal. " if small else ": detail is given up. ")
        + "Learn it (likelihood='gaussian:learned'), or multiply `scale` by that.",
        {"factor": factor, "gain": gain.value, "standard_error": gain.error},
        remedies.learned_scale(figures.model, factor),
    )


def width(figures: Figures) -> Fault | None:
    """A posterior that is wider or narrower than the ELBO would have it."""
    model = figures.model
    if type(model.posterior) is not DiagonalGaussian or model.prior is None:
        return None
    beta = advice.weight_of_kl(model)
    factor, gain = _best(figures.over_widths)
    if not gain.exceeds((0.1 if _is_near(factor) else 0.02) * figures.latents.rate):
        return None
    wide = factor < 1
    much = "much" if wide else "little"
    return Fault(
        "over_regularised" if wide else "under_regularised",
        _severity(factor),
        f"With deviations of q(z|x) {factor:.3g} times as large, in the dimensions that say "
        f"something of x, the ELBO is higher by {gain} nats; "
        f"the weight of the KL in the loss is {beta:.4g}.",
        f"The training pays too {much} for what z says of x. Train with beta = 1 where samples and "
        "log p(x) matter; let a warm-up end before the training does.",
        {"factor": factor, "gain": gain.value, "standard_error": gain.error, "beta": beta},
        remedies.unit_beta(model) if beta != 1 else None,
    )


def over_fit(figures: Figures, train: Figures) -> Fault | None:
    """A model that gives its training data far more than data it has not seen."""
    gap = _gap(figures, train)
    spread = float(np.std(figures.bound, ddof=1))
    size = gap.value / max(spread, 1e-12)
    if not (gap.exceeds() and size > 0.3):
        return None
    return Fault(
        "over_fitted",
        "serious" if size > 1 else "warning",
        f"{_gap_told(figures, gap)} That is {size:.2g} standard deviations of the examples.",
        "Stop earlier (EarlyStopping on val_elbo, or kvae train, which keeps the best epoch), take "
        "smaller networks, weight decay or dropout, or give more data.",
        {**_gap_figures(gap), "standard_deviations": size},
    )


def _best(over) -> tuple[float, Difference]:
    """Returns the factor with the most nats, and its gain over the factor 1.

    Args:
        over: callable. From factors to nats `[factors, n]`, with the same noise at each call.
    """
    found = over(_FACTORS)
    one = found[len(_FACTORS) // 2]
    best = int(np.argmax(found.mean(axis=1)))
    factor, gain = float(_FACTORS[best]), difference(found[best], one)
    if _is_near(factor):
        return factor, gain
    finer = over(factor * _FINER)
    best = int(np.argmax(finer.mean(axis=1)))
    if finer[best].mean() > one.mean() + gain.value:
        factor, gain = float(factor * _FINER[best]), difference(finer[best], one)
    return factor, gain


def _is_near(factor: float) -> bool:
    return _SMALL * 0.999 <= factor <= _LARGE * 1.001


def _severity(factor: float) -> str:
    return "warning" if 0.5 < factor < 2 else "serious"


def _gap(figures: Figures, train: Figures) -> Difference:
    sets = train.bound, figures.bound
    error = math.sqrt(sum(np.var(one, ddof=1) / len(one) for one in sets))
    return Difference(float(sets[0].mean() - sets[1].mean()), float(error))


def _gap_told(figures: Figures, gap: Difference) -> str:
    name = "ELBO" if figures.model.posterior.has_density else "log p(x|z)"
    return f"The {name} of training data is {gap} nats above that of test data."


def _gap_figures(gap: Difference) -> dict:
    return {"gap": gap.value, "gap_error": gap.error}


def _rows(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Returns n rows in an order of chance, flat, with means where nothing was observed."""
    order = np.random.default_rng(seed).permutation(len(x))[:n]
    return x[order].reshape(n, -1).astype(np.float64)


def _components(rows: np.ndarray) -> np.ndarray:
    """Returns rows in their principal components, whose scales say nothing here."""
    from sklearn.decomposition import PCA

    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0.0).sum(axis=0) / count
    rows = np.where(known, rows, mean)
    most = min(_COMPONENTS, rows.shape[1], len(rows) - 1)
    return PCA(most, svd_solver="randomized", random_state=0).fit_transform(rows)
