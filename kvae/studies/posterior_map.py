"""What do the posteriors of a dataset look like, and what does their plane decode to?"""

import numpy as np
from numpy.typing import ArrayLike

from kvae import plots
from kvae.evaluation import knn_probe
from kvae.evaluation.differences import Difference, difference, signed
from kvae.plots.posteriors import moments
from kvae.studies.lab import Lab
from kvae.studies.registry import Study, register

__all__ = ["PosteriorMap", "coverage"]

_DRAWS = 5000
_CODES = 10_000
_LIKELIHOODS = 2000  # Test images whose log p(x) is estimated.


def coverage(means: ArrayLike, covariances: ArrayLike, z: ArrayLike, sigmas: float = 2.0) -> float:
    """Returns the share of the points `z` within `sigmas` standard deviations of some Gaussian.

    Args:
        means: array `[n, d]`.
        covariances: array `[n, d, d]`.
        z: array `[m, d]`.
        sigmas: float. The largest Mahalanobis distance. Defaults to `2.0`.
    """
    precisions = np.linalg.inv(covariances)
    inside = []
    for some in np.array_split(z, max(1, len(z) // 50)):
        apart = some[:, None] - means
        distance = np.einsum("mni,nij,mnj->mn", apart, precisions, apart)
        inside.append(distance.min(axis=1) <= sigmas**2)
    return float(np.concatenate(inside).mean())


@register("posterior-map")
class PosteriorMap(Study):
    question = "The map of posteriors: where does each image lie, and how surely?"

    def run(self, lab: Lab) -> None:
        lab.likelihood_images = _LIKELIHOODS
        plane = lab.fit("2 latents", latent_dim=2)
        wide = lab.fit(f"{lab.scale.latent_dim} latents")
        test = lab.data("test")
        with lab.drawing("posteriors.png") as path:
            plots.posterior_map(plane.vae, test, path=path)
        means, covariances = moments(plane.vae, plane.vae.encode(test))
        labels = np.asarray(test.labels)
        known, known_labels = _codes(plane, lab.data("train"))
        z = np.asarray(plane.vae.posterior.sample(plane.vae.encode(test), seed=lab.seed))
        confused = _confusion(known, known_labels, means, labels)
        prior = np.asarray(plane.vae.prior.sample(_DRAWS, lab.seed))
        covered = coverage(means, covariances, prior)
        accuracy = {
            "mean": knn_probe(known, known_labels, means, labels),
            "draw": knn_probe(known, known_labels, z, labels),
        }
        far, far_labels = _codes(wide, lab.data("train"))
        wide_means = np.asarray(wide.vae.posterior.mean(wide.vae.encode(test)))
        accuracy["wide"] = knn_probe(far, far_labels, wide_means, labels)
        _write(lab, plane, wide, means, covariances, labels, confused, covered, accuracy)
        _conclude(lab, plane, wide, confused, covered, accuracy)


def _codes(run, data) -> tuple[np.ndarray, np.ndarray]:
    codes = run.vae.posterior.mean(run.vae.encode(data.examples[:_CODES]))
    return np.asarray(codes), np.asarray(data.labels[:_CODES])


def _confusion(known, known_labels, means, labels) -> list[tuple[float, str]]:
    """Returns pairs of classes, by the share of their test images that the neighbours mistake."""
    from sklearn.metrics import confusion_matrix
    from sklearn.neighbors import KNeighborsClassifier

    guess = KNeighborsClassifier(5).fit(known, known_labels).predict(means)
    classes = np.unique(known_labels)
    counts = confusion_matrix(labels, guess, labels=classes)
    sizes = np.maximum(counts.sum(axis=1), 1)
    pairs = [
        ((counts[i, j] + counts[j, i]) / (sizes[i] + sizes[j]), f"{classes[i]} and {classes[j]}")
        for i in range(len(classes))
        for j in range(i)
    ]
    return sorted(pairs, reverse=True)


def _write(lab, plane, wide, means, covariances, labels, confused, covered, accuracy) -> None:
    report = lab.report
    report.images(
        ("posteriors.png", "Each test image's posterior, to scale, beside the decoded plane")
    )
    report.heading("How to read it")
    report.text(
        "Each ellipse is the posterior q(z|x) of one test image: its centre is μ, its semi-axes "
        "are σ. Any z within it decodes to much the same image. The right panel decodes the same "
        "plane: where ellipses of two colours overlap, the decoder shows something between the "
        "two digits. The dashed circles hold 50 and 95 % of the prior, which is what sampling "
        "draws from."
    )
    deviations = np.sqrt(np.einsum("nii->ni", covariances))
    areas = np.pi * np.sqrt(np.linalg.det(covariances))
    report.heading("Classes")
    report.table(
        ("class", "images", "mean of μ", "mean σ", "area of an ellipse", "distance from 0"),
        [
            (
                value,
                int((labels == value).sum()),
                ", ".join(signed(m) for m in means[labels == value].mean(axis=0)),
                ", ".join(f"{s:.3f}" for s in deviations[labels == value].mean(axis=0)),
                f"{areas[labels == value].mean():.4f}",
                f"{np.linalg.norm(means[labels == value], axis=1).mean():.2f}",
            )
            for value in np.unique(labels)
        ],
    )
    report.heading("Figures")
    report.table(
        ("quantity", "value"),
        [
            ("accuracy of 5 nearest neighbours on μ, 2 latents", f"{accuracy['mean']:.3f}"),
            ("the same at a draw from q(z|x)", f"{accuracy['draw']:.3f}"),
            (f"the same on μ, {lab.scale.latent_dim} latents", f"{accuracy['wide']:.3f}"),
            ("share of the prior within 2 σ of a test image's posterior", f"{covered:.3f}"),
            ("NLL, 2 latents", _nll(plane)),
            (f"NLL, {lab.scale.latent_dim} latents", _nll(wide)),
            ("classes mistaken most often", "; ".join(f"{p} ({s:.1%})" for s, p in confused[:3])),
        ],
    )


def _nll(run) -> str:
    return f"{run.nll['nll']:.2f} ± {run.nll['standard_error']:.2f} nats"


def _conclude(lab, plane, wide, confused, covered, accuracy) -> None:
    share, pair = confused[0]
    lab.finding(
        "The digits that look alike lie on each other: 4 and 9 are mistaken most",
        pair in ("9 and 4", "4 and 9"),
        f"neighbours mistake {pair} in {share:.1%} of their images",
        [plane],
    )
    lab.finding(
        "The posteriors leave few holes: more than 90 % of the prior is within 2 σ of one",
        bool(covered > 0.9),
        f"{covered:.1%} of {_DRAWS} draws",
        [plane],
    )
    n = len(lab.data("test"))
    error = np.sqrt(sum(accuracy[name] * (1 - accuracy[name]) for name in ("mean", "wide")) / n)
    gap = Difference(accuracy["wide"] - accuracy["mean"], float(error))
    lab.finding(
        "Two latents are few: neighbours in the plane know the class less often",
        gap.exceeds(),
        f"accuracy of {lab.scale.latent_dim} latents − 2 is {signed(100 * gap.value, 1)} ± "
        f"{100 * gap.error:.1f} points",
    )
    better = difference(wide.log_prob, plane.log_prob)
    lab.finding(
        f"And they cost likelihood against {lab.scale.latent_dim}",
        better.exceeds(),
        f"log p(x) {better} nats",
    )
