"""What does the KL term compare? The posterior with the prior, image by image."""

import math

import keras
import numpy as np

import kvae
from kvae.evaluation import importance_log_prob, latent_summary
from kvae.layers.sampling import reparameterize
from kvae.plots.posteriors import ellipses, moments
from kvae.studies.classifier import Classifier, sample_count, sample_distances
from kvae.studies.findings import Difference, difference, signed

__all__ = ["MistakenNoise", "Study", "gaussian_kl", "honest"]

_BETAS = (0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 10.0)
_IMAGES = 2000
_DRAWN = 60


def gaussian_kl(mean, covariance) -> float:
    """Returns KL(N(mean, covariance) ‖ N(0, I)) in nats: `mean` `[d]`, `covariance` `[d, d]`."""
    log_det = np.linalg.slogdet(covariance)[1]
    return float(0.5 * (np.trace(covariance) + mean @ mean - len(mean) - log_det))


@keras.saving.register_keras_serializable(package="kvae_study")
class MistakenNoise(kvae.DiagonalGaussian):
    """The mistake `z = μ + log(0.5 σ) ε`, with the KL of N(μ, σ²) all the same.

    The noise is 0 at σ = 2: the model can buy a code without noise at the price of a wide one.
    """

    def transform(self, params, noise):
        return params["z_mean"] + (math.log(0.5) + 0.5 * params["z_log_var"]) * noise


@keras.saving.register_keras_serializable(package="kvae_study")
class HonestNoise(MistakenNoise):
    """The same draws with the density that they have: N(μ, log(0.5 σ)²)."""

    def constrain(self, params):
        scale = math.log(0.5) + 0.5 * super().constrain(params)["z_log_var"]
        smallest = 1e-3  # Of a point there is no density.
        spread = keras.ops.maximum(keras.ops.abs(scale), smallest)
        return {**params, "z_log_var": 2.0 * keras.ops.log(spread)}

    def transform(self, params, noise):
        return reparameterize(params["z_mean"], params["z_log_var"], noise)


def honest(vae):
    """Returns the model whose posterior is what a `MistakenNoise` really draws from."""
    posterior = HonestNoise(vae.latent_dim)
    copy = kvae.VAE(vae.encoder, vae.decoder, vae.latent_dim, posterior, likelihood=vae.likelihood)
    posterior.set_weights(vae.posterior.get_weights())
    return copy


class Study:
    question = "What does the KL term compare: the posterior with the prior, or μ with σ?"

    def run(self, lab) -> None:
        epochs = max(1, lab.scale.epochs * 3 // 8)
        judge = Classifier(lab.data("train", None), lab.seed)
        pixels = int(np.prod(lab.data("train").event_shape))
        latents = lab.scale.latent_dim
        runs = {
            f"β = {beta:g}": lab.fit(f"β = {beta:g}", objective=kvae.ELBO(beta=beta), epochs=epochs)
            for beta in _BETAS
        }
        averaged = {
            "pixels and latents averaged": pixels / latents,
            "pixels averaged, latents summed": float(pixels),
        }
        mistakes = {
            name: lab.fit(name, objective=kvae.ELBO(beta=beta), epochs=epochs)
            for name, beta in averaged.items()
        }
        wrong = lab.fit("z = μ + log(0.5 σ) ε", posterior=MistakenNoise(), epochs=epochs)
        rows = {name: _measure(lab, run, judge) for name, run in {**runs, **mistakes}.items()}
        truth = {
            "usual": _log_prob(lab, runs["β = 1"], runs["β = 1"].vae),
            "wrong": _log_prob(lab, wrong, honest(wrong.vae)),
        }
        plane = lab.fit("2 latents", latent_dim=2)
        lab.say("measured")
        _picture(lab, plane)
        _write(lab, epochs, runs, rows, averaged, wrong, truth)
        _conclude(lab, runs, rows, averaged, wrong, truth)


def _measure(lab, run, judge) -> dict:
    x = lab.test_images(run)[:_IMAGES]
    summary = latent_summary(run.vae, x, seed=lab.seed)
    params = run.vae.encode(x)
    means = np.asarray(params["z_mean"], np.float64)
    variances = np.exp(np.asarray(params["z_log_var"], np.float64))
    matched = np.cov(means, rowvar=False) + np.diag(variances.mean(axis=0))
    return {
        "reconstruction": run.terms["reconstruction"],
        "kl": run.terms["kl"],
        "elbo": run.terms["elbo"],
        "rate": summary.rate,
        "mutual_information": summary.mutual_information,
        "aggregate_kl": summary.aggregate_kl,
        "matched_kl": gaussian_kl(means.mean(axis=0), matched),
        "units": summary.active_units,
        "sigma": float(np.sqrt(variances).mean()),
        "frechet": sample_distances(lab, judge, lambda n, seed: run.vae.sample(n, seed=seed)),
    }


def _log_prob(lab, run, vae) -> np.ndarray:
    """log p(x) of the first test images, `[n]`, in nats; `vae` has the weights of `run`."""
    x = lab.test_images(run)[: sample_count(lab)]

    def measure():
        samples = min(1000, lab.scale.num_samples)
        estimate = importance_log_prob(vae, x, num_samples=samples, seed=lab.seed)
        return {"value": estimate.value}

    return run.measured("some_log_prob", measure)["value"]


def _picture(lab, run) -> None:
    from kvae.plots import style

    @style.styled
    def draw():
        from matplotlib.collections import EllipseCollection
        from matplotlib.patches import Circle

        test = lab.data("test")
        means, covariances = moments(run.vae, run.vae.encode(test.images))
        aggregate = np.cov(means, rowvar=False) + covariances.mean(axis=0)
        figure = style.new_figure(11.0, 5.4)
        left, right = figure.subplots(1, 2)
        half = 1.05 * float(np.abs(means[:_DRAWN]).max()) + 0.5

        def collect(ax, centres, matrices, **look):
            widths, heights, angles = ellipses(matrices)
            ax.add_collection(
                EllipseCollection(
                    widths,
                    heights,
                    angles,
                    units="xy",
                    offsets=centres,
                    offset_transform=ax.transData,
                    **look,
                )
            )

        prior = {"facecolors": "none", "edgecolors": style.MUTED, "linestyles": "--"}
        collect(
            left,
            means[:_DRAWN],
            covariances[:_DRAWN],
            facecolors=style.TRAIN,
            edgecolors=style.TRAIN,
            alpha=0.35,
        )
        left.add_patch(Circle((0, 0), 1.0, fill=False, ls="--", ec=style.MUTED, lw=1.4))
        style.add_title(
            left,
            "What the KL compares",
            f"{_DRAWN} posteriors q(z|x), one for each image, 1 σ; dashed: the prior, 1 σ",
            820,
        )
        right.scatter(*means.T, s=3, color=style.TRAIN, alpha=0.4, linewidths=0)
        collect(
            right,
            means.mean(axis=0)[None],
            aggregate[None],
            facecolors="none",
            edgecolors=style.VALIDATION,
            linewidths=2.0,
        )
        collect(right, np.zeros((1, 2)), np.eye(2)[None], linewidths=1.4, **prior)
        style.add_title(
            right,
            "What comes to match the prior",
            "all test images' μ; orange: 1 σ of the aggregate posterior's moments; dashed: prior",
            820,
        )
        for ax in (left, right):
            ax.set(xlim=(-half, half), ylim=(-half, half), xlabel="z[0]", ylabel="z[1]")
            ax.set_aspect("equal")
            ax.grid(True, linewidth=0.4)
        style.save(figure, lab.picture("posteriors_and_prior.png"))

    draw()


def _write(lab, epochs, runs, rows, averaged, wrong, truth) -> None:
    report = lab.report
    report.images(
        ("posteriors_and_prior.png", "Single posteriors, and their aggregate, over the prior")
    )
    report.heading("In short")
    report.text(
        "KL(q(z|x) ‖ p(z)) sets the whole posterior of one image, μ and σ together, against the "
        "prior N(0, I): ½ Σ (σ² + μ² − 1 − log σ²). It does not compare μ with σ. It is the number "
        "of nats by which knowing x narrows down z. Its average over images, the rate, is exactly "
        "the mutual information of x and z plus the KL between the aggregate posterior (the "
        "average of all q(z|x)) and the prior. The first part is what the code is for; only the "
        "second is a mismatch with what sampling draws from."
    )
    report.heading("The weight of the KL")
    report.text(
        f"Models with β from 0 to 10, {epochs} epochs each. Reconstruction, KL and ELBO: nats per "
        f"test image, with β = 1 in the ELBO. The decomposition is of {_IMAGES} test images at "
        "most: the mutual information by the mixture of their posteriors, without bias for exactly "
        "these images and never above the logarithm of their number; the last but two columns: the "
        "aggregate's KL as rate − mutual information, and that of a Gaussian with the aggregate's "
        "moments in closed form, which is at most as large. Fréchet distance: of prior samples, on "
        "a small classifier's features."
    )
    columns = (
        "model",
        "reconstruction",
        "KL (rate)",
        "ELBO",
        "mutual information",
        "aggregate KL",
        "of its moments",
        "active",
        "mean σ",
        "Fréchet distance",
    )
    report.table(columns, [_row(name, rows[name]) for name in runs])
    report.heading("Two mistakes")
    report.text(
        "Averages where there should be sums. A loss that averages the cross-entropy over P pixels "
        "and the KL over D latents is, times P, the sum of the cross-entropy and P / D times the "
        "KL: a β of P / D, and of P where the KL is summed."
    )
    report.table(
        ("what is averaged", "equivalent β", *columns[1:]),
        [(name, f"{beta:g}", *_row(name, rows[name])[1:]) for name, beta in averaged.items()],
    )
    report.text(
        "A formula of σ that is not σ. With z = μ + log(0.5 σ) ε and the KL of N(μ, σ²) unchanged, "
        "the noise vanishes at σ = 2, where the KL is 0.81 nats for a dimension: precision at a "
        "flat price. What the model reports as its ELBO is then no bound. Its true log p(x), by "
        "importance sampling with the density that the draws really have:"
    )
    own = wrong.terms
    usual = runs["β = 1"]
    n = len(truth["wrong"])
    report.table(
        ("model", "reported ELBO", "true log p(x)"),
        [
            (
                "z = μ + σ ε",
                f"{usual.terms['elbo'][:n].mean():.2f}",
                f"{truth['usual'].mean():.2f}",
            ),
            (wrong.name, f"{own['elbo'][:n].mean():.2f}", f"{truth['wrong'].mean():.2f}"),
        ],
    )


def _row(name, row) -> tuple:
    return (
        name,
        f"{row['reconstruction'].mean():.2f}",
        f"{row['kl'].mean():.2f}",
        f"{row['elbo'].mean():.2f}",
        f"{row['mutual_information']:.2f}",
        f"{row['aggregate_kl']:.2f}",
        f"{row['matched_kl']:.2f}",
        row["units"],
        f"{row['sigma']:.3f}",
        f"{row['frechet'].mean():.2f} ± {row['frechet'].std(ddof=1):.2f}",
    )


def _conclude(lab, runs, rows, averaged, wrong, truth) -> None:
    one = rows["β = 1"]
    share = one["mutual_information"] / one["rate"]
    ceiling = math.log(min(_IMAGES, len(lab.data("test"))))
    lab.finding(
        "Single posteriors are far from the prior and their aggregate is near: the KL is mostly "
        "information about x",
        # An estimate at its ceiling says "at least".
        bool(share > 0.5) if share > 0.5 or one["mutual_information"] < ceiling - 0.5 else None,
        f"at β = 1 the rate is {one['rate']:.2f} nats, of which {one['mutual_information']:.2f} "
        f"(by an estimate that cannot exceed {ceiling:.2f}) are mutual information; the "
        f"aggregate's moments are {one['matched_kl']:.2f} nats from the prior",
    )
    gap = _minus(rows["β = 0"]["frechet"], one["frechet"])
    lab.finding(
        "Without the KL the model does not generate",
        gap.exceeds(),
        f"Fréchet distance of β = 0 − β = 1 is {gap}; the aggregate is "
        f"{rows['β = 0']['aggregate_kl']:.1f} nats from the prior instead of "
        f"{one['aggregate_kl']:.1f}",
    )
    order = [rows[name] for name in runs]
    rates = np.array([row["kl"].mean() for row in order])
    distortions = np.array([row["reconstruction"].mean() for row in order])
    lab.finding(
        "β trades reconstruction for rate, all the way",
        bool((np.diff(rates) < 0.05).all() and (np.diff(distortions) > -0.05).all()),
        f"from β = 0 to 10 the rate falls from {rates[0]:.1f} to {rates[-1]:.1f} nats and the "
        f"reconstruction term rises from {distortions[0]:.1f} to {distortions[-1]:.1f}",
    )
    best = max(runs, key=lambda name: rows[name]["elbo"].mean())
    second = difference(one["elbo"], rows["β = 0.5"]["elbo"])
    third = difference(one["elbo"], rows["β = 2"]["elbo"])
    lab.finding(
        "The bound on log p(x) is best where the KL has the weight 1",
        best == "β = 1",
        f"the best ELBO is that of {best}; β = 1 is {second} nats above β = 0.5 and {third} above "
        "β = 2",
    )
    lab.finding(
        "A large β switches latents off",
        bool(rows["β = 10"]["units"] < one["units"]),
        f"{rows['β = 10']['units']} of {lab.scale.latent_dim} are active at β = 10, {one['units']} "
        "at β = 1",
    )
    name = "pixels and latents averaged"
    loss = difference(one["elbo"], rows[name]["elbo"])
    lab.finding(
        "Averaging over pixels and latents instead of summing loses nats of the bound",
        loss.exceeds(),
        f"it is β = {averaged[name]:g}: {loss} nats of ELBO lost, {rows[name]['units']} active "
        "latents",
    )
    above = difference(wrong.terms["elbo"][: len(truth["wrong"])], truth["wrong"])
    lab.finding(
        f"With {wrong.name} the reported ELBO is no bound: it is above the true log p(x)",
        above.exceeds(),
        f"by {above} nats",
    )
    worse = difference(truth["usual"], truth["wrong"])
    lab.finding(
        "And the model is worse",
        worse.exceeds(),
        f"log p(x) of z = μ + σ ε is {signed(worse.value)} ± {worse.error:.2f} nats above its",
    )


def _minus(first, second) -> Difference:
    error = np.hypot(first.std(ddof=1), second.std(ddof=1))
    return Difference(float(first.mean() - second.mean()), float(error))
