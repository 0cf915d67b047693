"""Binary cross-entropy or mean squared error? Each is a likelihood, with its own constants."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kvae import likelihoods
from kvae.evaluation import latent_summary, linear_probe
from kvae.evaluation.differences import Difference, difference, signed
from kvae.likelihoods import Likelihood
from kvae.models import VAE
from kvae.studies.lab import Lab
from kvae.studies.registry import Study, register

__all__ = ["BernoulliOrMSE", "Binned", "sharpness"]

LIKELIHOODS = {
    "Bernoulli (BCE)": (lambda: likelihoods.Bernoulli(), "binary cross-entropy"),
    "Gaussian, σ = 1 (MSE)": (
        lambda: likelihoods.Gaussian(scale=1.0),
        "½ squared error + ½ log 2π for each pixel",
    ),
    "Gaussian, σ = 0.1": (
        lambda: likelihoods.Gaussian(scale=0.1),
        "50 times the squared error − 1.38 for each pixel",
    ),
    "Gaussian, one learned σ": (
        lambda: likelihoods.Gaussian("global", scale=0.3),
        "the weight of the squared error is learned",
    ),
    "Gaussian, optimal σ": (
        lambda: likelihoods.Gaussian("optimal", scale=0.3),
        "½ log of the mean squared error for each pixel",
    ),
    "Gaussian, σ of each pixel": (
        lambda: likelihoods.Gaussian("per_pixel", log_var_bound=8.0),
        "the decoder weighs each pixel's squared error",
    ),
    "continuous Bernoulli": (
        lambda: likelihoods.ContinuousBernoulli(),
        "binary cross-entropy − log C(λ)",
    ),
}
_LEVELS = {"digits": 17, "mnist": 256}
_IMAGES, _SAMPLES = 1000, 200
_PROBE = 10_000
_MARGIN = 0.03  # Accuracies that differ by less count as equal.


@register("bernoulli-or-mse")
class BernoulliOrMSE(Study):
    question = "Binary cross-entropy or mean squared error?"

    def run(self, lab: Lab) -> None:
        epochs = max(1, lab.scale.epochs // 2)
        runs, rows = {}, {}
        for name, (make, _) in LIKELIHOODS.items():
            runs[name] = lab.fit(
                name, likelihood=make(), binarize=None, epochs=epochs, at_the_mean=True
            )
        levels = _LEVELS.get(lab.dataset, 256)
        for name, run in runs.items():
            rows[name] = _measure(lab, run, levels)
        lab.say("measured")
        _picture(lab, runs)
        _write(lab, epochs, runs, rows, levels)
        _conclude(lab, runs, rows)


def sharpness(images: ArrayLike) -> np.ndarray:
    """Returns the mean absolute difference of neighbouring pixels, `[n]`, of images in [0, 1]."""
    images = np.clip(np.asarray(images, np.float64), 0.0, 1.0)
    across, down = (np.abs(np.diff(images, axis=axis)) for axis in (2, 1))
    total = across.sum(axis=(1, 2, 3)) + down.sum(axis=(1, 2, 3))
    return total / (across[0].size + down[0].size)


class Binned(Likelihood):
    """The probability of the grey level that a value stands for: a density's mass on its bin.

    The bins of `levels` equal steps from 0 to 1 have their borders half way between the levels.
    What a Gaussian puts below 0 and above 1 goes to the first and to the last, or is lost. The
    Bernoulli's numbers are not a density of grey values; divided by their integral, they are
    those of the continuous Bernoulli.

    Args:
        base: `Gaussian`, `Bernoulli` or `ContinuousBernoulli`, as it was trained.
        levels: int. Grey levels, 256 for 8 bits.
        tails: bool. Whether black and white have a Gaussian's mass outside of all bins, too: else
            the probabilities of the levels sum to less than 1. Defaults to `True`.
    """

    def __init__(self, base: Likelihood, levels: int, tails: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.base, self.levels, self.tails = base, levels, tails
        self.num_parameters = base.num_parameters

    def call(self, outputs: Any) -> dict[str, Any]:
        return self.base(outputs)

    def mean(self, params: dict[str, Any]) -> Any:
        return self.base.mean(params)

    def support(self) -> Any:
        return 0.0, 1.0, "Divide images of 0–255 by 255."

    def element_log_prob(self, params: dict[str, Any], x: Any) -> Any:
        half = 0.5 / (self.levels - 1)
        if "logits" in params:
            low, high = ops.maximum(x - half, 0.0), ops.minimum(x + half, 1.0)
            return _continuous_bernoulli_mass(params["logits"], low, high)
        from tensorflow_probability import distributions as tfd

        # In units of a level; Quantized's bins are (y − 1, y], and hold the tails at the ends.
        top = self.levels - 1
        scale = ops.exp(0.5 * params["log_var"]) * top
        density = tfd.Normal(params["mean"] * top - 0.5, scale)
        ends = (0.0, float(top)) if self.tails else ()
        return tfd.QuantizedDistribution(density, *ends).log_prob(ops.round(x * top))


def _continuous_bernoulli_mass(logits, low, high):
    """Returns the logarithm of `∫ exp(l t) dt / ∫₀¹ exp(l t) dt` from `low` to `high`."""
    # A negative l is mirrored; near 0 the density is uniform.
    falling = logits < 0
    low, high = ops.where(falling, 1.0 - high, low), ops.where(falling, 1.0 - low, high)
    slope = ops.maximum(ops.abs(logits), 1e-3)
    return (
        slope * (high - 1.0)
        + ops.log(-ops.expm1(-slope * (high - low)))
        - ops.log(-ops.expm1(-slope))
    )


def _measure(lab, run, levels) -> dict:
    x = lab.test_images(run)
    some = x[:_IMAGES]
    params = run.vae.encode(some)
    found = np.asarray(run.vae.decode(params["z_mean"]))
    summary = latent_summary(run.vae, some, seed=lab.seed)
    codes = [
        np.asarray(run.vae.encode(lab.data(split, None).examples[:_PROBE])["z_mean"])
        for split in ("train", "test")
    ]
    labels = [lab.data(split, None).labels[:_PROBE] for split in ("train", "test")]
    return {
        "own": run.terms["elbo"],
        "squared": np.mean((found - some) ** 2, axis=tuple(range(1, some.ndim))),
        "sharpness": sharpness(found).mean() / sharpness(some).mean(),
        "rate": summary.rate,
        "units": summary.active_units,
        "probe": linear_probe(codes[0], labels[0], codes[1], labels[1]),
        "binned": _binned_log_prob(lab, run, some, levels, tails=True),
        "inside": _binned_log_prob(lab, run, some, levels, tails=False),
        "sigma": _sigma(run, params),
    }


def _binned_log_prob(lab, run, x, levels, tails) -> np.ndarray:
    """Estimates log P of the images' grey levels, `[n]`, in nats, by importance sampling."""

    def measure():
        vae = run.vae
        model = VAE(
            vae.encoder,
            vae.decoder,
            vae.latent_dim,
            vae.posterior,
            likelihood=Binned(vae.likelihood, levels, tails),
        )
        samples = min(_SAMPLES, lab.scale.num_samples)
        return {"value": run.estimate(model, x, samples).value}

    gaussian = isinstance(run.vae.likelihood, likelihoods.Gaussian)
    name = "binned" if tails or not gaussian else "inside"
    return run.measured(f"{name}_{levels}", measure)["value"]


def _sigma(run, params) -> str:
    """Returns the Gaussian's standard deviation: one number, or the quartiles over pixels."""
    outputs = run.vae.decode_params(params["z_mean"])
    if "log_var" not in outputs:
        return ""
    low, middle, high = np.quantile(np.exp(0.5 * outputs["log_var"].numpy()), (0.25, 0.5, 0.75))
    return f"{middle:.3f}" if high - low < 1e-6 else f"{low:.3f} to {high:.3f}"


def _picture(lab, runs) -> None:
    n, shown = 14, {"value_range": (0.0, 1.0)}  # A Gaussian's mean may leave the range.
    x = lab.data("test", None).examples[:n]
    lab.draw_rows(
        "reconstructions.png",
        {"test image": x, **{name: run.vae.reconstruct(x) for name, run in runs.items()}},
        "Reconstructions",
        "E[x|z] at the posterior mean",
        **shown,
    )
    lab.draw_rows(
        "samples.png",
        {name: run.vae.sample(n, seed=lab.seed) for name, run in runs.items()},
        "Prior samples",
        "E[x|z] for equal draws of z",
        **shown,
    )


def _write(lab, epochs, runs, rows, levels) -> None:
    pixels = int(np.prod(lab.data("test").event_shape))
    report = lab.report
    report.heading("In short")
    report.text(
        "Neither is a matter of taste: each is minus the logarithm of a likelihood p(x|z), up to "
        "constants. Binary cross-entropy is that of a Bernoulli, exact for binary pixels. The "
        "squared error, summed over pixels and divided by 2 σ², is that of a Gaussian, up to "
        "½ log 2πσ² for each pixel. Taking “MSE” without a σ takes σ = 1, which for pixels between "
        "0 and 1 is a very wide Gaussian: it is the KL that then weighs too much, as with a β of "
        "1 / σ² for the true σ. Without the ½ it takes σ² = ½, and a mean over the "
        f"{pixels} pixels instead of a sum takes σ² = {pixels / 2:g}."
    )
    report.table(
        ("likelihood", "its loss for grey values"),
        [(name, text) for name, (_, text) in LIKELIHOODS.items()],
    )
    report.heading("The same data, a common footing")
    report.text(
        f"The models see grey images, for {epochs} epochs each. The last bias of each decoder "
        "starts where the mean of p(x|z) is the mean image. From zero the continuous Bernoulli, "
        "whose density has no upper bound where a pixel is always black, drives all units of the "
        "last hidden layer into saturation, so that nothing of z comes through: the posterior "
        "collapses. The losses themselves cannot be "
        "compared: densities depend on the unit of x, and the cross-entropy of grey values is not "
        f"a density at all. The probability of the {levels} grey levels that the images have can "
        f"be compared: each density's mass on the bins, by {_SAMPLES} importance samples for "
        f"{_IMAGES} test images at most (for the Bernoulli, its numbers divided by their "
        "integral). The mass that a Gaussian puts below 0 and above 1 is lost in the column “lost "
        "outside”, which compares the densities as they are; in the other it goes to black and "
        "white, which flatters a wide Gaussian when most pixels are one of the two. When σ is "
        "small, a few samples decide, and the estimate is too low rather than too high. Squared "
        "error and PSNR are those of the reconstruction at the posterior mean. The probe is the "
        "accuracy of a logistic regression on posterior means. Sharpness is the mean difference of "
        "neighbouring pixels in the reconstructions, as a share of that in the images."
    )
    report.table(
        (
            "likelihood",
            "own ELBO (incomparable)",
            "squared error of a pixel",
            "PSNR, dB",
            "sharpness",
            "KL",
            "active",
            "probe",
            "σ",
            "−log P, lost outside",
            "−log P of grey levels",
            "bits per pixel",
        ),
        [
            (
                name,
                f"{row['own'].mean():.2f}",
                f"{row['squared'].mean():.5f}",
                f"{-10 * np.log10(row['squared'].mean()):.2f}",
                f"{row['sharpness']:.2f}",
                f"{row['rate']:.2f}",
                row["units"],
                f"{row['probe']:.3f}",
                row["sigma"],
                f"{-row['inside'].mean():.2f}",
                f"{-row['binned'].mean():.2f}",
                f"{-row['binned'].mean() / pixels / np.log(2):.3f}",
            )
            for name, row in rows.items()
        ],
    )
    report.images(
        ("reconstructions.png", "Reconstructions with each likelihood"),
        ("samples.png", "Prior samples with each likelihood"),
    )


def _conclude(lab, runs, rows) -> None:
    mse, bce = rows["Gaussian, σ = 1 (MSE)"], rows["Bernoulli (BCE)"]
    learned, optimal = rows["Gaussian, one learned σ"], rows["Gaussian, optimal σ"]

    def of(*names):
        return [runs[name] for name in names]

    widths = "Gaussian, one learned σ", "Gaussian, σ = 1 (MSE)"
    gap = difference(mse["squared"], bce["squared"])
    lab.finding(
        "Trained on MSE (σ = 1) a VAE reconstructs worse than on BCE, even in squared error",
        gap.exceeds(),
        f"MSE's squared error − BCE's is {signed(gap.value, 5)} ± {gap.error:.5f} a pixel, at "
        f"{mse['rate']:.2f} nats of KL against {bce['rate']:.2f}",
        of("Gaussian, σ = 1 (MSE)", "Bernoulli (BCE)"),
    )
    lab.finding(
        "The reason is σ: with σ = 1 the KL crowds out the latents",
        bool(mse["units"] < learned["units"] and mse["rate"] < learned["rate"]),
        f"{mse['units']} active latents and {mse['rate']:.2f} nats at σ = 1, {learned['units']} "
        f"and {learned['rate']:.2f} with the learned σ = {learned['sigma']}",
        of(*widths),
    )
    for column, words in (
        ("inside", ""),
        ("binned", ", also where its mass outside [0, 1] counts for black and white"),
    ):
        gap = difference(learned[column], mse[column])
        lab.finding(
            f"A learned σ makes a better model of the grey levels than σ = 1{words}",
            gap.exceeds(),
            f"by {gap} nats per image",
            of(*widths),
        )
    gap = difference(learned["binned"], optimal["binned"])
    better = gap.exceeds()
    lab.finding(
        "The optimal σ of the batch makes as good a model as a learned one",
        None if better is None else not better,
        f"log P of learned − optimal is {gap} nats, σ {learned['sigma']} and {optimal['sigma']}",
        of("Gaussian, one learned σ", "Gaussian, optimal σ"),
    )
    bernoullis = of("continuous Bernoulli", "Bernoulli (BCE)")
    exact = rows["continuous Bernoulli"]
    gap = difference(exact["binned"], bce["binned"])
    lab.finding(
        "BCE on grey values lacks a constant that matters: with it (continuous Bernoulli) the "
        "model of the grey levels is better",
        gap.exceeds(),
        f"log P {gap} nats per image",
        bernoullis,
    )
    gap = difference(bce["squared"], exact["squared"])
    lab.finding(
        "With that constant the reconstructions are better, too",
        gap.exceeds(),
        f"BCE's squared error − the continuous Bernoulli's is {signed(gap.value, 5)} ± "
        f"{gap.error:.5f} a pixel, at {bce['rate']:.2f} and {exact['rate']:.2f} nats of KL",
        bernoullis,
    )
    best = max(rows, key=lambda name: rows[name]["binned"].mean())
    others = {name: row for name, row in rows.items() if name != best}
    runner = max(others, key=lambda name: others[name]["binned"].mean())
    gap = difference(rows[best]["binned"], rows[runner]["binned"])
    pixel = "Gaussian, σ of each pixel"
    lab.finding(
        "The best density of the grey levels is that with a σ for each pixel",
        gap.exceeds() if best == pixel else False,
        f"best is {best}, {gap} nats before {runner}",
    )
    n = min(_PROBE, len(lab.data("test")))
    a, b = bce["probe"], learned["probe"]
    gap = b - a
    error = float(np.sqrt((a * (1 - a) + b * (1 - b)) / n))
    within = Difference(_MARGIN - abs(gap), error).exceeds()
    lab.finding(
        "For the latents the likelihood hardly matters once its σ is learned: accuracies differ "
        f"by less than {100 * _MARGIN:g} points",
        within,
        f"probe accuracy of the learned σ − BCE is {signed(100 * gap, 1)} ± {100 * error:.1f} "
        "points",
        of("Gaussian, one learned σ", "Bernoulli (BCE)"),
    )
