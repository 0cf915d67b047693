"""One call that measures a model on a dataset."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvae import plots
from kvae.datasets.dataset import Dataset
from kvae.evaluation.latents.probes import knn_probe, linear_probe
from kvae.evaluation.latents.summary import LatentSummary, latent_summary
from kvae.evaluation.marginal_likelihood.log_prob import LogProb
from kvae.evaluation.rate_distortion import rate_distortion_curve
from kvae.evaluation.result import Result
from kvae.evaluation.samples.quality import SampleQuality, sample_quality
from kvae.evaluation.terms import mean_terms
from kvae.likelihoods import Bernoulli
from kvae.utils.eager import evaluated_eagerly

__all__ = ["Evaluation", "evaluate", "figure_rows"]

# The most examples that are measured: the cost of the latents grows with their square, and every
# example of the curve takes seconds.
_LATENTS, _PROBES, _CURVE = 5000, 10_000, 100


class Evaluation(Result):
    """The result of `evaluate`: a mapping that prints as tables and writes a page with pictures.

    Attributes:
        log_prob: `LogProb` or `None`. The estimates of each example.
        latents: `LatentSummary` or `None`.
        quality: `SampleQuality` or `None`.
    """

    def __init__(
        self,
        *arguments,
        log_prob: LogProb | None = None,
        latents: LatentSummary | None = None,
        quality: SampleQuality | None = None,
        **options,
    ):
        super().__init__(*arguments, **options)
        self.log_prob, self.latents, self.quality = log_prob, latents, quality


@evaluated_eagerly
def evaluate(
    model: Any,
    data: Any,
    *,
    num_samples: int = 100,
    batch_size: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    cache: str | os.PathLike | None = None,
    latents: bool = False,
    quality: bool = False,
    probes: bool = False,
    rate_distortion: bool = False,
    train: Any = None,
    name: str | None = None,
) -> Evaluation:
    """Measures a model: its objective's terms, log p(x) or the reconstruction error, and more.

    Args:
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset` or other data that `fit` takes, with labels for a conditional
            model. A `Stream` or `tf.data.Dataset` is read batch by batch, several times.
        num_samples: int. Importance samples for each example. Defaults to `100`.
        batch_size: int. Examples at once. Defaults to `100`.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples of log p(x).
        cache: optional path. Keeps finished batches of log p(x), see `importance_log_prob`.
        latents: bool. Whether to measure the latents (`latent_summary`, of 5000 examples at most).
        quality: bool. Whether to measure samples (`sample_quality`).
        probes: bool. Whether classifiers find the labels in the codes (`linear_probe`,
            `knn_probe`); takes `train`, of which 10,000 examples at most are used, and labels.
        rate_distortion: bool. Whether to measure the curve of the decoder
            (`rate_distortion_curve`, of the first 100 examples).
        train: data as above, or `None`. What the model was trained on: the reference of the
            samples, for which all of it is read into memory, and what the probes learn from.
        name: str or `None`. What to call the model. Defaults to `None`: its own name.

    Returns:
        `Evaluation`, a mapping. `elbo`, `reconstruction` and `kl` in nats per example (β = 1); of
        an autoencoder, which has no prior, `reconstruction` alone. For a VAE also `nll`, the dict
        of `LogProb.summary`; not for vector-quantized codes, of which all importance samples give
        the ELBO. With an objective that guesses labels the `accuracy` of its classifier, where
        labels are known. For an autoencoder `mse` and, with a Bernoulli likelihood,
        `bce_per_pixel` and its `bce_standard_error` over the examples, all at the code's
        reconstruction. The dicts `latents`, `quality`, `probes` and `rate_distortion` are there
        when they were asked for.

    Raises:
        ValueError: for probes without labels or without `train`, and for the reasons of the single
            functions.

    Example:

    ```python
    test, train = (kvae.datasets.load("digits", split) for split in ("test", "train"))
    result = kvae.evaluation.evaluate(vae, test, num_samples=500, latents=True)
    result["nll"]["nll"]
    print(result)
    result.write("evaluation")      # result.json, result.md and pictures
    ```
    """
    data = model.as_dataset(data)
    train = None if train is None else model.as_dataset(train)
    if probes and not (train is not None and train.has_labels and data.has_labels):
        raise ValueError("Probes learn the labels of `train` and are tested on those of `data`.")
    if probes and model.conditions is not None:
        raise ValueError(
            f"Probes learn classes, and labels of {model.name} are conditions: give one of them "
            "to kvae.evaluation.linear_probe, with the codes."
        )
    terms = mean_terms(model, data, batch_size=batch_size, seed=seed)
    # An autoencoder has no prior, of which the other two are.
    kept = ("elbo", "reconstruction", "kl") if model.prior is not None else ("reconstruction",)
    if model.takes_unknown_labels and "accuracy" in terms:
        kept += ("accuracy",)
    values = {key: terms[key] for key in kept}
    pixels = int(np.prod(data.event_shape))
    log_prob, summary, samples, parts = None, None, None, []
    if not model.posterior.deterministic:
        log_prob = model.log_prob(
            data,
            num_samples=num_samples,
            batch_size=batch_size,
            seed=seed,
            progress=progress,
            cache=cache,
        )
        values["nll"] = log_prob.summary()
    elif not model.posterior.has_density:
        values["mse"] = terms["squared_error"] / pixels
        if isinstance(model.likelihood, Bernoulli):
            values["bce_per_pixel"] = values["reconstruction"] / pixels
            values["bce_standard_error"] = terms["standard_error"] / pixels
    rows = figure_rows(values)
    if latents:
        summary = latent_summary(model, data[:_LATENTS], seed=seed)
        parts.append(_latents(model, data, summary))
        values["latents"] = parts[-1].to_dict()
    if quality:
        samples = sample_quality(model, data, seed=seed, train=train)
        parts.append(samples)
        values["quality"] = samples.to_dict()
    if probes:
        parts.append(_probes(model, data, train, seed))
        values["probes"] = parts[-1].to_dict()
    if rate_distortion:
        parts.append(rate_distortion_curve(model, data[:_CURVE], seed=seed))
        values["rate_distortion"] = parts[-1].to_dict()
    binarize = "" if data.binarize is None else f", {data.binarize} binarization"
    return Evaluation(
        f"{name or model.name} on {data.name} {data.split}",
        values,
        ("quantity", "value", ""),
        rows,
        f"{len(data)} examples{binarize}, seed {seed}",
        parts=parts,
        pictures=_pictures(model, data, seed),
        log_prob=log_prob,
        latents=summary,
        quality=samples,
    )


def figure_rows(values: Mapping) -> list[tuple[str, str, str]]:
    """Returns the figures of an evaluation or a card as rows of a table."""
    rows = []
    for name, value in values.items():
        if name == "nll":
            rows.append(
                (
                    name,
                    f"{value['nll']:.3f}",
                    f"± {value['standard_error']:.3f} (examples), "
                    f"± {value['monte_carlo_error']:.3f} (samples); {value['num_samples']} samples "
                    f"× {value['num_examples']} examples",
                )
            )
        elif name == "bce_per_pixel" and "bce_standard_error" in values:
            error = f"± {values['bce_standard_error']:.5f} (examples)"
            rows.append((name, f"{value:.5f}", error))
        elif isinstance(value, float) and name != "bce_standard_error":
            digits = 5 if name in ("bce_per_pixel", "mse") else 3
            unit = "of the rows with a label" if name == "accuracy" else ""
            unit = "nats" if name in ("elbo", "reconstruction", "kl") else unit
            rows.append((name, f"{value:.{digits}f}", unit))
    return rows


def _latents(model, data, summary) -> Result:
    """Returns the figures of a `LatentSummary` as a `Result`."""
    arrays = ("kl_per_dimension", "marginal_kl_per_dimension", "variance_of_means")
    found = {name: getattr(summary, name) for name in arrays}
    values = {
        "state": summary.state(),
        **summary.scalars(per_dimension=False),
        "num_examples": summary.num_examples,
        **{name: array.tolist() for name, array in found.items() if array is not None},
    }
    n = summary.num_examples
    rows = [
        ("active units", f"{summary.active_units} of {summary.latent_dim}", "Var(E[z_i|x]) > 0.01"),
        ("state", summary.state(), ""),
    ]
    if summary.rate is not None:
        rows.append(("rate", f"{summary.rate:.3f}", "nats, KL(q(z|x) ‖ p(z))"))
    if summary.mutual_information is not None:
        most = f"nats, I(x; z) of {n} examples, at most log {n} = {np.log(n):.2f}"
        error = f"{summary.mutual_information:.3f} ± {summary.mutual_information_error:.3f}"
        rows.append(("mutual information", error, most))
        rows.append(("aggregate KL", f"{summary.aggregate_kl:.3f}", "nats, KL(q(z) ‖ p(z))"))
    if summary.total_correlation is not None:
        correlation = f"{summary.total_correlation:.3f}"
        rows.append(("total correlation", correlation, "nats, KL(q(z) ‖ Π q(z_i))"))

    def shown():
        return data if isinstance(data, Dataset) else data[:_LATENTS]

    pictures = {
        "aggregate_posterior": (
            "Codes of all examples, and draws from the prior",
            lambda path: plots.aggregate_posterior(model, shown(), path),
        )
    }
    if found["kl_per_dimension"] is not None or found["marginal_kl_per_dimension"] is not None:
        pictures["kl_per_dimension"] = (
            "The KL of each latent dimension",
            lambda path: plots.kl_per_dimension(summary, path),
        )
    return Result("Latents", values, ("quantity", "value", ""), rows, pictures=pictures)


def _probes(model, data, train, seed: int) -> Result:
    """Measures how well classifiers find the labels in the mean codes."""
    train = train[:_PROBES]
    if not isinstance(data, Dataset):
        data = data[:_PROBES]
    sets = []
    for part in (train, data):
        codes = np.asarray(model.posterior.mean(model.encode_data(part)[0]))
        sets += [codes, part.labels]
    values = {"linear": linear_probe(*sets, seed=seed), "knn": knn_probe(*sets, seed=seed)}
    _, counts = np.unique(data.labels, return_counts=True)
    values["chance"] = float(counts.max() / counts.sum())
    rows = [
        ("linear probe", values["linear"], "logistic regression"),
        ("k-NN probe", values["knn"], "5 neighbours"),
        ("chance", values["chance"], "the most frequent class"),
    ]
    note = f"accuracy on {len(data)} codes, of classifiers of {len(train)} codes of {train.split}"
    return Result("Labels in the codes", values, ("probe", "accuracy", ""), rows, note)


def _pictures(model, data, seed: int) -> dict:
    shown = data[:10] if model.conditional else data[:10].examples
    pictures = {
        "reconstructions": (
            "Examples and their reconstructions",
            lambda path: plots.reconstructions(model, shown[:10], path=path),
        )
    }
    if len(model.event_shape) == 4:
        pictures["slices"] = (
            "Slices of volumes and of their reconstructions",
            lambda path: plots.slices(model, shown[:3], path=path),
        )
    if model.prior is not None:
        pictures["samples"] = (
            "Samples",
            lambda path: plots.samples(model, seed=seed, path=path),
        )
    return pictures
