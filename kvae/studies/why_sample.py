"""Why draw z from q(z|x) instead of taking its mean, and how many draws does it take?"""

import warnings

import keras
import numpy as np
import tensorflow as tf

from kvae import objectives, random
from kvae.evaluation.differences import difference, signed
from kvae.models import VAE
from kvae.plots import style
from kvae.studies.draws import expectation_gap, gradient_noise, second_order_gap
from kvae.studies.lab import Lab
from kvae.studies.registry import Study, register
from kvae.studies.run import Run

__all__ = [
    "WhySample",
    "with_fitted_prior",
]

_SAMPLES = (1, 5, 50)
_LIKELIHOODS = 2000  # Test images whose log p(x) is estimated.
_IMAGES, _DRAWS = 1000, 200  # For the gap between E[f(z)] and f(E[z]).
_NOISE_SAMPLES, _REPEATS, _BATCH = (1, 2, 5, 10, 20, 50), 60, 128


@register("why-sample")
class WhySample(Study):
    question = "Why sample z? The mean would be simpler, and one sample is little"

    def run(self, lab: Lab) -> None:
        epochs = lab.scale.epochs
        lab.likelihood_images = _LIKELIHOODS
        runs = {"sampled, L = 1": lab.fit("sampled, L = 1")}
        for num in _SAMPLES[1:]:
            name = f"L = {num}, equal compute"
            runs[name] = lab.fit(
                name,
                objective=objectives.ELBO(num_samples=num),
                epochs=max(1, round(epochs / num)),
            )
        name = f"L = {_SAMPLES[1]}, equal epochs"
        runs[name] = lab.fit(name, objective=objectives.ELBO(num_samples=_SAMPLES[1]))
        mean_only = lab.fit("mean only", posterior="delta")
        fitted = with_fitted_prior(lab, mean_only)
        sampled = runs["sampled, L = 1"]
        x, params, gap, second = _gap(lab, sampled)
        noise, estimators = _noise(lab, sampled, x)
        at_mean = _reconstruction_at_mean(lab, sampled)
        lab.say("measured")
        _write(lab, runs, mean_only, fitted, at_mean, gap, second, noise, estimators)
        _conclude(lab, runs, mean_only, fitted, at_mean, gap, second, noise)


def with_fitted_prior(lab: Lab, run: Run) -> Run:
    """Makes a likelihood model out of an autoencoder: a Gaussian fitted to its codes is the prior.

    The decoder stays; its latents are scaled and rotated so that the fitted Gaussian becomes
    N(0, I). The posterior, which only serves to estimate log p(x) and cannot change it, is a
    Gaussian around the code, of the width with the best bound on the validation split.
    """
    vae = run.vae
    codes = np.asarray(vae.encode(lab.data("train").examples)["z_mean"], np.float64)
    mean = codes.mean(axis=0)
    # Codes may have dead dimensions: those keep a little width.
    covariance = np.cov(codes, rowvar=False) + 1e-4 * np.var(codes) * np.eye(vae.latent_dim)
    factor = np.linalg.cholesky(covariance)
    inverse = np.linalg.inv(factor)

    def dense(kernel, bias, name):
        constant = keras.initializers.Constant
        return keras.layers.Dense(
            len(bias),
            kernel_initializer=constant(kernel),
            bias_initializer=constant(bias),
            name=name,
        )

    def build(log_var):
        image = keras.Input(vae.event_shape)
        code = vae.posterior(vae.encoder(image))["z_mean"]
        white = dense(inverse.T, -inverse @ mean, "whiten")(code)
        width = dense(np.zeros((vae.latent_dim,) * 2), np.full(vae.latent_dim, log_var), "width")
        z = keras.Input((vae.latent_dim,))
        outputs = vae.decoder(dense(factor.T, mean, "unwhiten")(z))
        return VAE(
            keras.Model(image, {"z_mean": white, "z_log_var": width(white)}),
            keras.Model(z, outputs),
            latent_dim=vae.latent_dim,
            likelihood=type(vae.likelihood).from_config(vae.likelihood.get_config()),
            seed=lab.seed,
        )

    x = lab.data("validation").examples[:300]
    with warnings.catch_warnings():  # A few samples suffice, since they only choose a width.
        warnings.simplefilter("ignore")
        bounds = {
            log_var: build(log_var).log_prob(x, num_samples=20, seed=lab.seed).value.mean()
            for log_var in (-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0)
        }
    best = max(bounds, key=bounds.get)
    return Run(
        lab,
        "mean only, Gaussian fitted to its codes",
        run.folder / "fitted",
        build(best),
        history=run.history,
        seconds=run.seconds,
        binarize=run.binarize,
    )


def _reconstruction_at_mean(lab, run) -> np.ndarray:
    """Returns −log p(x|E[z]) on the test split in nats, `[n]`."""

    def measure():
        x = lab.test_images(run)
        parts = []
        for first in range(0, len(x), 500):
            batch = tf.constant(x[first : first + 500])
            z = run.vae.posterior.mean(run.vae.encode_params(batch))
            parts.append(-run.vae.likelihood.log_prob(run.vae.decode_params(z), batch))
        return {"value": np.concatenate(parts)}

    return run.measured("at_mean", measure)["value"]


def _gap(lab, run):
    x = tf.constant(lab.test_images(run)[:_IMAGES])
    params = run.vae.encode_params(x)

    def measure():
        found = {"gap": [], "second": []}
        for first in range(0, len(x), 100):
            rows = slice(first, first + 100)
            some = {name: value[rows] for name, value in params.items()}
            seed = random.fold_in(lab.seed, first)
            found["gap"].append(expectation_gap(run.vae, some, x[rows], _DRAWS, seed))
            found["second"].append(second_order_gap(run.vae, some, x[rows]))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    values = run.measured("gap", measure)
    return x, params, values["gap"], values["second"]


def _noise(lab, run, x):
    """Measures the gradient's variance for several numbers of samples and several estimators."""
    x = x[:_BATCH]

    def measure():
        return {
            "by_samples": [
                gradient_noise(run.vae, objectives.ELBO(num_samples=num), x, _REPEATS, lab.seed)
                for num in _NOISE_SAMPLES
            ],
            "by_estimator": [
                gradient_noise(run.vae, objectives.ELBO(**settings), x, _REPEATS, lab.seed)
                for settings in ({"kl": "analytic"}, {"kl": "monte_carlo"}, {"gradient": "path"})
            ],
        }

    values = run.measured("gradient_noise", measure)
    names = ("KL in closed form", "KL by Monte Carlo", "path gradient")
    return values["by_samples"], dict(zip(names, values["by_estimator"], strict=True))


def _slope(noise) -> float:
    """Returns the slope of the variance against L, both in logarithms."""
    return float(np.polyfit(np.log(_NOISE_SAMPLES), np.log(noise), 1)[0])


def _nll(run) -> str:
    return f"{run.nll['nll']:.2f} ± {run.nll['standard_error']:.2f}"


def _write(lab, runs, mean_only, fitted, at_mean, gap, second, noise, estimators) -> None:
    report = lab.report
    report.heading("In short")
    report.text(
        "The decoder's log-likelihood f(z) = log p(x|z) is curved. Around the best code it falls "
        "off in every direction, so its average over a cloud of codes is below its value at the "
        "middle of the cloud: E[f(z)] is not f(E[z]). The bound on log p(x) holds the average. A "
        "model trained at the middle alone never learns what lies around it, and nothing tells "
        "it where the codes of other images are."
    )
    report.heading("Models")
    report.text(
        "All figures are nats per image on the test split, ± the standard error over the images. "
        "“At the mean” is −log p(x|E[z]), the error of a reconstruction; NLL is −log p(x) by "
        "importance sampling. “Equal compute” means as many decoder evaluations as L = 1 has in "
        "all its epochs, hence fewer epochs. The model trained on the mean only (Delta) defines no "
        "likelihood; in the last row a Gaussian is fitted to its codes afterwards and taken as its "
        "prior, which makes it a model of x."
    )
    table = []
    for name, run in runs.items():
        own = f"{at_mean.mean():.2f}" if run is runs["sampled, L = 1"] else ""
        terms = run.terms
        table.append(
            (
                name,
                len(run.history["loss"]),
                f"{run.seconds:.0f}",
                own,
                f"{terms['reconstruction'].mean():.2f}",
                f"{terms['kl'].mean():.2f}",
                f"{terms['elbo'].mean():.2f}",
                _nll(run),
            )
        )
    epochs, seconds = len(mean_only.history["loss"]), f"{mean_only.seconds:.0f}"
    reconstruction = f"{mean_only.terms['reconstruction'].mean():.2f}"
    table.append(("mean only", epochs, seconds, reconstruction, "—", "—", "—", "—"))
    terms = fitted.terms
    table.append(
        (
            fitted.name,
            epochs,
            seconds,
            reconstruction,
            f"{terms['reconstruction'].mean():.2f}",
            f"{terms['kl'].mean():.2f}",
            f"{terms['elbo'].mean():.2f}",
            _nll(fitted),
        )
    )
    columns = ("trained", "epochs", "seconds", "at the mean", "E[−log p(x|z)]", "KL", "ELBO", "NLL")
    report.table(columns, table)
    report.heading("E[f(z)] and f(E[z])")
    report.text(
        f"For {len(gap)} test images and the model with L = 1: E[log p(x|z)] over {_DRAWS} draws "
        "from q(z|x), less log p(x|E[z]). The second-order estimate is ½ Σ σ² ∂²f/∂z², with the "
        "second derivatives by automatic differentiation: the gap is the posterior's variance "
        "times the decoder's curvature."
    )
    report.table(
        ("", "mean, nats", "standard deviation", "share of images below 0"),
        [
            (name, signed(values.mean()), f"{values.std(ddof=1):.2f}", f"{(values < 0).mean():.3f}")
            for name, values in (("measured gap", gap), ("second-order estimate", second))
        ],
    )
    report.heading("How many samples?")
    report.text(
        f"Variance of the encoder's gradient (summed over its weights) on one batch of {_BATCH} "
        f"images, over {_REPEATS} draws of the noise, at the trained model. Against L it falls "
        f"with the power {_slope(noise):.2f}. The images of a batch average their noise already: "
        "that is why one sample for each will do."
    )
    report.table(
        ("L", "variance", "variance × L / that of L = 1"),
        [
            (num, f"{value:.4g}", f"{num * value / noise[0]:.2f}")
            for num, value in zip(_NOISE_SAMPLES, noise, strict=True)
        ],
    )
    report.text("With one sample, by the way in which the KL and its gradient are estimated:")
    report.table(
        ("estimator", "variance"), [(name, f"{value:.4g}") for name, value in estimators.items()]
    )
    _plot(lab, gap, second, noise)


def _plot(lab, gap, second, noise) -> None:
    @style.styled
    def draw(path):
        figure = style.new_figure(9.0, 3.9)
        left, right = figure.subplots(1, 2)
        low, high = np.quantile(np.concatenate([gap, second]), [0.002, 0.998])
        left.plot([low, high], [low, high], color=style.FAINT, linewidth=1)
        left.scatter(second, gap, s=5, color=style.TRAIN, alpha=0.5, linewidths=0)
        left.set(
            xlim=(low, high),
            ylim=(low, high),
            xlabel="½ Σ σ² ∂²f/∂z², nats",
            ylabel="E[f(z)] − f(E[z]), nats",
        )
        style.add_title(left, "Each test image's gap", "measured, against second order", 560)
        samples = np.array(_NOISE_SAMPLES, float)
        right.loglog(samples, noise[0] / samples, color=style.FAINT, linewidth=1.5, label="1 / L")
        right.loglog(samples, noise, "o-", color=style.TRAIN, markersize=4, label="measured")
        right.set(xlabel="L, samples of z for each image", ylabel="variance of the gradient")
        right.legend(frameon=False)
        style.add_title(right, "Noise of the gradient", f"slope {_slope(noise):.2f}", 560)
        style.save(figure, path)

    with lab.drawing("gap_and_noise.png") as path:
        draw(path)
    lab.report.images(
        ("gap_and_noise.png", "The gap of each image, and the gradient's noise against L")
    )


def _conclude(lab, runs, mean_only, fitted, at_mean, gap, second, noise) -> None:
    sampled = runs["sampled, L = 1"]
    found = difference(gap, np.zeros_like(gap))
    below = found.exceeds()
    lab.finding(
        "f(E[z]) overstates: the average of log p(x|z) over the posterior is lower than at its "
        "mean",
        None if below is None else not below,
        f"E[f(z)] − f(E[z]) = {found} nats, below 0 for {100 * (gap < 0).mean():.1f} % of the "
        "images",
        [sampled],
    )
    ratio = second.mean() / gap.mean()
    lab.finding(
        "The gap is the posterior's variance times the curvature: to second order it is explained "
        "within a quarter",
        bool(0.75 <= ratio <= 1.25),
        f"½ Σ σ² ∂²f/∂z² is {signed(second.mean())} nats of {signed(gap.mean())}, a ratio of "
        f"{ratio:.2f}; correlation over the images {np.corrcoef(gap, second)[0, 1]:.2f}",
        [sampled],
    )
    worse = difference(at_mean, mean_only.terms["reconstruction"])
    lab.finding(
        "Training on the mean alone reconstructs better",
        worse.exceeds(),
        f"at the mean, the sampled model pays {worse} nats more",
        [sampled, mean_only],
    )
    better = difference(sampled.log_prob, fitted.log_prob)
    lab.finding(
        "But it makes a worse model of the data, even with a prior fitted to its codes",
        # An estimate that is too low proves nothing.
        None if better.exceeds() and fitted.dominated > 0.1 else better.exceeds(),
        f"log p(x) of the sampled model − the mean-only one = {better} nats; the latter is a lower "
        f"bound, as {fitted.dominated:.0%} of its images have fewer than 5 effective samples",
        [sampled, fitted],
    )
    slope = _slope(noise)
    lab.finding(
        "The gradient's variance falls as 1 / L",
        bool(-1.15 <= slope <= -0.85),
        f"its power of L is {slope:.2f}",
        [sampled],
    )
    many = runs[f"L = {_SAMPLES[1]}, equal epochs"]
    more = difference(many.log_prob, sampled.log_prob)
    lab.finding(
        f"More samples at equal epochs make a better model (L = {_SAMPLES[1]})",
        more.exceeds(),
        f"log p(x) {more} nats, for {_SAMPLES[1]} times the decoder's work",
        [many, sampled],
    )
    for num in _SAMPLES[1:]:
        few = runs[f"L = {num}, equal compute"]
        less = difference(sampled.log_prob, few.log_prob)
        lab.finding(
            f"At equal compute one sample is better than {num}: the steps are worth more",
            less.exceeds(),
            f"log p(x) of L = 1 − L = {num} is {less} nats",
            [sampled, few],
        )
