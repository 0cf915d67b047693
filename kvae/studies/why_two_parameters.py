"""Why does q(z|x) have a μ and a σ? What does each parameter of the posterior buy?"""

import numpy as np

from kvae.evaluation import active_units, frechet_distance, linear_probe
from kvae.evaluation.differences import Difference, difference, signed
from kvae.studies.classifier import Classifier, sample_count, sample_distances
from kvae.studies.lab import Lab
from kvae.studies.registry import Study, register

__all__ = ["WhyTwoParameters"]

RUNGS = {
    "Delta": ("delta", "z = μ, no KL: the ordinary autoencoder"),
    "UnitVariance": ("unit_variance", "z = μ + ε: only μ is learned, the KL is ‖μ‖²/2"),
    "PriorNoise": ("prior_noise", "z = ε: μ is dropped as well, z knows nothing of x"),
    "DiagonalGaussian": ("diagonal_gaussian", "z = μ + σ ⊙ ε: the usual two parameters"),
    "FullCovariance": ("full_covariance", "z = μ + L ε: a third channel, correlations"),
    "IAF": ("iaf", "z = f(μ + σ ⊙ ε): no Gaussian any more, an autoregressive flow"),
}
_FEW, _DRAWS = 10, 5  # Labels of each class, and how often they are drawn.
_CODES = 10_000  # Training codes for probes.


@register("why-two-parameters")
class WhyTwoParameters(Study):
    question = "Why both μ and σ: what does each parameter of the posterior buy?"

    def run(self, lab: Lab) -> None:
        runs = {name: lab.fit(name, posterior=kind) for name, (kind, _) in RUNGS.items()}
        judge = Classifier(lab.data("train", None), lab.seed)
        rows = {name: _measure(lab, run, judge) for name, run in runs.items()}
        lab.say("measured")
        fitted = _fitted_gaussian(lab, runs["Delta"], judge)
        _write(lab, runs, rows, fitted, judge)
        _pictures(lab, runs)
        _conclude(lab, runs, rows, fitted)


def _codes(lab, run, split) -> tuple[np.ndarray, np.ndarray]:
    data = lab.data(split)
    params = run.vae.encode(data.examples[:_CODES])
    return np.asarray(run.vae.posterior.mean(params)), np.asarray(data.labels[:_CODES])


def _measure(lab, run, judge) -> dict:
    train, labels = _codes(lab, run, "train")
    test, test_labels = _codes(lab, run, "test")
    few = [
        linear_probe(train, labels, test, test_labels, per_class=_FEW, seed=lab.seed + draw)
        for draw in range(_DRAWS)
    ]
    return {
        "units": active_units(test),
        "all_labels": linear_probe(train, labels, test, test_labels),
        "few_labels": np.array(few),
        "frechet": sample_distances(lab, judge, lambda n, seed: run.vae.sample(n, seed=seed)),
        "midpoints": _midpoints(lab, run, test, test_labels, judge),
    }


def _midpoints(lab, run, codes, labels, judge) -> np.ndarray:
    """Returns the judge's confidence in the middle between two test images of unlike classes."""
    rng = np.random.default_rng(lab.seed)
    pairs = rng.integers(0, len(codes), size=(4000, 2))
    pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]][:1000]
    return judge.confidence(run.vae.decode(0.5 * (codes[pairs[:, 0]] + codes[pairs[:, 1]])))


def _fitted_gaussian(lab, run, judge) -> np.ndarray:
    """Returns Fréchet distances of an autoencoder, sampled by a Gaussian fitted to its codes."""
    codes, _ = _codes(lab, run, "train")
    mean, covariance = codes.mean(axis=0), np.cov(codes, rowvar=False)

    def draw(n, seed):
        z = np.random.default_rng(seed).multivariate_normal(mean, covariance, n)
        return run.vae.decode(z.astype("float32"))

    return sample_distances(lab, judge, draw)


def _write(lab, runs, rows, fitted, judge) -> None:
    report = lab.report
    report.heading("The ladder")
    report.text(
        "Equal networks, equal training; each rung changes the posterior and nothing else. "
        "The encoder has one more dense head for each parameter."
    )
    report.table(("posterior", "what it is"), [(name, text) for name, (_, text) in RUNGS.items()])
    report.heading("Bounds and likelihoods")
    report.text(
        "Nats per image on the test split, with the standard error over the images. Reconstruction "
        "is −E log p(x|z) under the posterior, ELBO = −reconstruction − KL, and NLL −log p(x) by "
        "importance sampling. Delta is a point: it has neither an ELBO nor a likelihood. For "
        "PriorNoise they come from the prior itself."
    )
    table = []
    for name, run in runs.items():
        terms = run.terms
        density = run.vae.posterior.has_density
        nll = f"{run.nll['nll']:.2f} ± {run.nll['standard_error']:.2f}" if density else "—"
        table.append(
            (
                name,
                f"{terms['reconstruction'].mean():.2f}",
                f"{terms['kl'].mean():.2f}" if density else "—",
                f"{terms['elbo'].mean():.2f}" if density else "—",
                nll,
                f"{run.seconds:.0f}",
            )
        )
    report.table(("posterior", "reconstruction", "KL", "ELBO", "NLL", "training, seconds"), table)
    report.heading("What the latents know, and what the prior generates")
    floor = frechet_distance(
        judge.features(lab.data("train", None).examples[: sample_count(lab)]),
        judge.features(lab.data("test", None).examples[: sample_count(lab)]),
    )
    report.text(
        "Active units are latents whose posterior mean varies over the test images (variance above "
        "0.01). The probe is the test accuracy of a logistic regression on posterior means, with "
        f"{min(_CODES, len(lab.data('train')))} labels and with {_FEW} of each class (mean and "
        f"standard deviation of {_DRAWS} draws). The Fréchet distance is that of "
        f"{sample_count(lab)} prior samples to as many test images, on the hidden layer of a "
        f"classifier (accuracy {judge.accuracy(lab.data('test', None)):.3f}) trained for this "
        f"report, not on Inception features; training images have {floor:.2f}. Delta's samples are "
        "decoded draws from N(0, I), which plays no part in its training; the last row fits a "
        "Gaussian to its codes afterwards. Midpoints give the classifier's confidence in the "
        "decoded middle between two test images of unlike classes."
    )
    table = [
        (
            name,
            row["units"],
            f"{row['all_labels']:.3f}",
            f"{row['few_labels'].mean():.3f} ± {row['few_labels'].std(ddof=1):.3f}",
            f"{row['frechet'].mean():.2f} ± {row['frechet'].std(ddof=1):.2f}",
            f"{row['midpoints'].mean():.3f}",
        )
        for name, row in rows.items()
    ]
    table.append(
        ("Delta, fitted", "", "", "", f"{fitted.mean():.2f} ± {fitted.std(ddof=1):.2f}", "")
    )
    report.table(
        (
            "posterior",
            f"active of {lab.scale.latent_dim}",
            "probe, all labels",
            "probe, few labels",
            "Fréchet distance",
            "confidence at midpoints",
        ),
        table,
    )


def _pictures(lab, runs) -> None:
    n = 14
    lab.draw_rows(
        "samples.png",
        {name: run.vae.sample(n, seed=lab.seed) for name, run in runs.items()},
        "Prior samples",
        "E[x|z] for equal draws of z from N(0, I)",
    )
    x = lab.data("test").examples[:n]
    lab.draw_rows(
        "reconstructions.png",
        {"test image": x, **{name: run.vae.reconstruct(x) for name, run in runs.items()}},
        "Reconstructions",
        "E[x|z] at the posterior mean",
    )
    lab.report.images(
        ("samples.png", "Prior samples of each rung"),
        ("reconstructions.png", "Test images and their reconstructions"),
    )


def _conclude(lab, runs, rows, fitted) -> None:
    def reconstruction(name):
        return runs[name].terms["reconstruction"]

    def of(*names):
        return [runs[name] for name in names]

    def spread(values) -> Difference:
        return Difference(float(values.mean()), float(values.std(ddof=1)))

    def minus(first, second) -> Difference:
        a, b = spread(first), spread(second)
        return Difference(a.value - b.value, float(np.hypot(a.error, b.error)))

    gap = difference(reconstruction("DiagonalGaussian"), reconstruction("Delta"))
    lab.finding(
        "The deterministic autoencoder reconstructs better than the VAE",
        gap.exceeds(),
        f"DiagonalGaussian pays {gap} nats per image more than Delta",
        of("DiagonalGaussian", "Delta"),
    )
    gap = difference(runs["DiagonalGaussian"].log_prob, runs["UnitVariance"].log_prob)
    lab.finding(
        "σ buys likelihood: with μ alone the model is worse",
        gap.exceeds(),
        f"log p(x) of DiagonalGaussian − UnitVariance = {gap} nats",
        of("DiagonalGaussian", "UnitVariance"),
    )
    gap = difference(runs["UnitVariance"].log_prob, runs["PriorNoise"].log_prob)
    lab.finding(
        "Without μ nothing is left: z says nothing of x and the decoder draws one average",
        bool(gap.exceeds()) and rows["PriorNoise"]["units"] == 0,
        f"KL {runs['PriorNoise'].terms['kl'].mean():.2f}, {rows['PriorNoise']['units']} active "
        f"units, log p(x) of UnitVariance − PriorNoise = {gap} nats",
        of("UnitVariance", "PriorNoise"),
    )
    elbo = difference(runs["FullCovariance"].terms["elbo"], runs["DiagonalGaussian"].terms["elbo"])
    lab.finding(
        "A third channel of parameters (covariances) tightens the bound",
        elbo.exceeds(),
        f"ELBO of FullCovariance − DiagonalGaussian = {elbo} nats",
        of("FullCovariance", "DiagonalGaussian"),
    )
    gap = difference(runs["FullCovariance"].log_prob, runs["DiagonalGaussian"].log_prob)
    lab.finding(
        "It also makes a better model, and not only a tighter bound",
        gap.exceeds(),
        f"log p(x) of FullCovariance − DiagonalGaussian = {gap} nats",
        of("FullCovariance", "DiagonalGaussian"),
    )
    elbo = difference(runs["IAF"].terms["elbo"], runs["DiagonalGaussian"].terms["elbo"])
    gap = difference(runs["IAF"].log_prob, runs["DiagonalGaussian"].log_prob)
    lab.finding(
        "A posterior that is no Gaussian (IAF) makes a better model than a diagonal one",
        gap.exceeds(),
        f"log p(x) {gap} nats, ELBO {elbo} nats",
        of("IAF", "DiagonalGaussian"),
    )
    gap = minus(rows["Delta"]["frechet"], rows["DiagonalGaussian"]["frechet"])
    lab.finding(
        "The autoencoder does not generate: decoded draws from N(0, I) are further from the data",
        gap.exceeds(),
        f"Fréchet distance of Delta − DiagonalGaussian = {gap}",
        of("Delta", "DiagonalGaussian"),
    )
    gap = minus(fitted, rows["DiagonalGaussian"]["frechet"])
    lab.finding(
        "Nor does it with a Gaussian fitted to its codes afterwards",
        gap.exceeds(),
        f"Fréchet distance of the fitted Delta − DiagonalGaussian = {gap}",
        of("Delta", "DiagonalGaussian"),
    )
    few = rows["DiagonalGaussian"]["few_labels"] - rows["Delta"]["few_labels"]
    gap = Difference(float(few.mean()), float(few.std(ddof=1) / np.sqrt(len(few))))
    lab.finding(
        f"With few labels ({_FEW} of each class) the VAE's codes classify better",
        gap.exceeds(),
        f"accuracy of DiagonalGaussian − Delta = {signed(100 * gap.value, 1)} ± "
        f"{100 * gap.error:.1f} points",
        of("Delta", "DiagonalGaussian"),
    )
    n = len(lab.data("test"))
    a, b = rows["DiagonalGaussian"]["all_labels"], rows["Delta"]["all_labels"]
    gap = Difference(a - b, float(np.sqrt((a * (1 - a) + b * (1 - b)) / n)))
    lab.finding(
        "With many labels too",
        gap.exceeds(),
        f"accuracy of DiagonalGaussian − Delta = {signed(100 * gap.value, 1)} ± "
        f"{100 * gap.error:.1f} points",
        of("Delta", "DiagonalGaussian"),
    )
    gap = difference(rows["DiagonalGaussian"]["midpoints"], rows["Delta"]["midpoints"])
    lab.finding(
        "Half way between two images the VAE decodes something more like a digit",
        gap.exceeds(),
        f"the classifier's confidence, DiagonalGaussian − Delta = "
        f"{signed(gap.value, 3)} ± {gap.error:.3f}",
        of("Delta", "DiagonalGaussian"),
    )
