"""Which discrete codes? How many of them a model uses, and what they cost under two priors."""

import math
from typing import Any

import numpy as np

from kvae import posteriors, samplers
from kvae.evaluation.differences import difference
from kvae.studies.classifier import Classifier, sample_distances
from kvae.studies.lab import Lab
from kvae.studies.registry import Study, register

__all__ = ["WhichCodes", "codes_in_use"]

# Eight codes of eight bits for each image, whatever they are made of.
POSITIONS, BITS = 8, 8
_DIM = 8  # Of the vectors that are quantized, where nothing else is said.
_STEPS = {"digits": 2000, "mnist": 5000}
_CODED = 10_000  # Training images whose codes are counted.


def _vq(**settings):
    settings = {"num_embeddings": 2**BITS, "embedding_dim": _DIM, **settings}
    return posteriors.VectorQuantized(**settings)


GRADIENT = {"ema": False, "revive_after": None}
CODES = {
    "VQ, running means, revival": (lambda: _vq(), _DIM, "the codes that no output chooses move"),
    "VQ, running means": (lambda: _vq(revive_after=None), _DIM, "as above, and dead codes stay"),
    "VQ, gradient": (lambda: _vq(**GRADIENT), _DIM, "the loss of the first paper, no revival"),
    "VQ, gradient, rotation": (
        lambda: _vq(**GRADIENT, gradient="rotation"),
        _DIM,
        "the same with the rotation trick",
    ),
    "VQ, cosine": (lambda: _vq(cosine=True), _DIM, "outputs and codes of length 1"),
    "two groups": (
        lambda: _vq(num_embeddings=2 ** (BITS // 2), groups=2),
        _DIM,
        "product quantization, two codes of four bits",
    ),
    "two stages": (
        lambda: _vq(num_embeddings=2 ** (BITS // 2), residual=1),
        2 * _DIM,
        "residual quantization, two codes of four bits",
    ),
    "FSQ": (lambda: posteriors.FiniteScalar(levels=(8, 8, 4)), 3, "8 · 8 · 4 rounded numbers"),
    "LFQ": (lambda: posteriors.LookupFree(bits=BITS), BITS, "eight signs, and the entropy term"),
    "SimVQ": (
        lambda: posteriors.SimVQ(num_embeddings=2**BITS, embedding_dim=_DIM),
        _DIM,
        "fixed codes behind a learned matrix",
    ),
}


@register("which-codes")
class WhichCodes(Study):
    question = "Which discrete codes use their codebook, and make the best model at equal bits?"

    def run(self, lab: Lab) -> None:
        lab.likelihood_images = 0  # The bound of a certain code is all there is.
        epochs = max(1, lab.scale.epochs // 2)
        judge = Classifier(lab.data("train", None), lab.seed)
        runs, rows = {}, {}
        for name, (make, size, _) in CODES.items():
            runs[name] = lab.fit(
                name,
                posterior=make(),
                prior="uniform_codes",
                latent_dim=POSITIONS * size,
                epochs=epochs,
                monitor="val_elbo",
            )
            rows[name] = _measure(lab, runs[name], judge)
        lab.say("measured")
        _picture(lab, runs, rows)
        _write(lab, epochs, rows)
        _conclude(lab, runs, rows)


def codes_in_use(codes: Any, posterior: Any) -> tuple[float, float]:
    """Returns the share of the entries that occur, and the perplexity over the number of entries.

    Of several codebooks both are means, the second a geometric one.

    Args:
        codes: int array `[n, N]`.
        posterior: `kvae.posteriors.Quantizer`.
    """
    k, depth = posterior.num_embeddings, posterior.codes_per_position
    books = np.asarray(codes).reshape(-1, depth)
    used, entropy = [], []
    for book in range(depth):
        share = np.bincount(books[:, book], minlength=k) / len(books)
        used.append(np.mean(share > 0))
        entropy.append(-np.sum(share[share > 0] * np.log(share[share > 0])))
    return float(np.mean(used)), float(math.exp(np.mean(entropy)) / k)


def _measure(lab, run, judge) -> dict[str, Any]:
    def measure():
        vae = run.vae
        # `examples` of a data set that is binarized anew in each epoch are one fixed draw, so that
        # the codes that are counted are those that the PixelCNN is fitted to.
        train = lab.data("train").examples
        codes = np.asarray(vae.encode(train[:_CODED])["codes"])
        used, perplexity = codes_in_use(codes, vae.posterior)
        steps = 200 if lab.quick else _STEPS.get(lab.dataset, _STEPS["mnist"])
        sampler = samplers.PixelCNN(steps=steps).fit(vae, train, seed=lab.seed)
        x = lab.test_images(run)
        z = vae.posterior.mean(vae.encode(x))
        return {
            "used": used,
            "perplexity": perplexity,
            "kl": -np.asarray(sampler.log_prob(z), np.float64),
            "distance": sample_distances(lab, judge, lambda n, seed: sampler.sample(n, seed=seed)),
            "samples": np.asarray(sampler.sample(14, seed=lab.seed)),
        }

    found = run.measured("codes", measure)
    reconstruction = run.terms["reconstruction"]
    return {
        **found,
        "reconstruction": reconstruction,
        "uniform": run.terms["elbo"],
        "fitted": -(reconstruction + found["kl"]),
    }


def _picture(lab, runs, rows) -> None:
    x = lab.data("test", None).examples[:14]
    lab.draw_rows(
        "reconstructions.png",
        {"test image": x, **{name: run.vae.reconstruct(x) for name, run in runs.items()}},
        "Reconstructions",
        "E[x|z] at the image's own codes",
    )
    lab.draw_rows(
        "samples.png",
        {name: row["samples"] for name, row in rows.items()},
        "Samples",
        "E[x|z] of codes that the fitted PixelCNN draws",
    )


def _write(lab, epochs, rows) -> None:
    nats = POSITIONS * BITS * math.log(2.0)
    report = lab.report
    report.heading("The same bits, made in ten ways")
    report.text(
        f"Each model tells an image by {POSITIONS} codes of {BITS} bits, {nats:.1f} nats, and is "
        f"trained for {epochs} epochs under uniform codes, in which all of them cost the same. "
        "Vectors have 8 numbers where nothing else is said."
    )
    report.table(("codes", "what they are"), [(name, text) for name, (*_, text) in CODES.items()])
    report.text(
        "In use is the share of a codebook's entries that some training image has, among "
        f"{_CODED} images at most; the perplexity weighs them by frequency. Then a PixelCNN is "
        "fitted to the codes of the training images, after the training, and the cost of the codes "
        "is that under it. Both ELBOs are true bounds, in nats per test image; the second is the "
        "model's figure. The Fréchet distance is that of samples from it, on a small classifier's "
        "features, with the spread over four seeds."
    )
    report.table(
        (
            "codes",
            "in use",
            "perplexity / K",
            "reconstruction",
            "codes, fitted",
            "ELBO, uniform codes",
            "ELBO, fitted PixelCNN",
            "Fréchet distance",
        ),
        [
            (
                name,
                f"{float(row['used']):.0%}",
                f"{float(row['perplexity']):.0%}",
                f"{row['reconstruction'].mean():.2f}",
                f"{row['kl'].mean():.2f}",
                f"{row['uniform'].mean():.2f}",
                f"{row['fitted'].mean():.2f}",
                f"{row['distance'].mean():.2f} ± {row['distance'].std():.2f}",
            )
            for name, row in rows.items()
        ],
    )
    report.images(
        ("reconstructions.png", "Reconstructions with each kind of code"),
        ("samples.png", "Samples of the fitted PixelCNN with each kind of code"),
    )
    report.text(
        "Published, on other data and with larger networks: the rotation trick takes the use of a "
        "VQGAN's codebook from 2 % to 27 % (Fifty et al.), FSQ uses about all of its codes without "
        "any further loss (Mentzer et al.), and so does SimVQ (Zhu et al.)."
    )


def _conclude(lab, runs, rows) -> None:
    def of(*names):
        return [runs[name] for name in names]

    def use(*names):
        return ", ".join(f"{name} {float(rows[name]['used']):.0%}" for name in names)

    plain, rotated = "VQ, gradient", "VQ, gradient, rotation"
    lab.finding(
        "The rotation trick brings more of the codebook into use than a straight-through gradient",
        bool(rows[rotated]["used"] > rows[plain]["used"]),
        f"in use are {use(plain, rotated)}",
        of(plain, rotated),
    )
    kept, revived = "VQ, running means", "VQ, running means, revival"
    lab.finding(
        "Revival brings dead codes back",
        bool(rows[revived]["used"] > rows[kept]["used"]),
        f"in use are {use(kept, revived)}",
        of(kept, revived),
    )
    full = "FSQ", "LFQ", "SimVQ"
    lab.finding(
        "FSQ, LFQ and SimVQ use their whole codebook",
        bool(min(float(rows[name]["used"]) for name in full) > 0.99),
        f"in use are {use(*full)}",
        of(*full),
    )
    fullest = max(rows, key=lambda name: float(rows[name]["perplexity"]))
    best = max(rows, key=lambda name: rows[name]["fitted"].mean())
    gap = difference(rows[fullest]["fitted"], rows[best]["fitted"])
    lab.finding(
        "The codes in the fullest use make the best model under the fitted prior",
        fullest == best or (None if gap.exceeds() is None else False),
        f"the highest perplexity is that of {fullest}, the best ELBO that of {best}; the first is "
        f"{gap} nats from it",
    )
    gain = difference(rows[best]["fitted"], rows[best]["uniform"])
    lab.finding(
        "What a uniform prior says of a model is far from its figure under a fitted one",
        gain.exceeds(5.0),
        f"the PixelCNN adds {gain} nats to the ELBO of {best}",
        of(best),
    )
