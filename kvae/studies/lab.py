"""The lab of a study: its data, cached trainings, measurements and report."""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import pathlib
import platform
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import zoo
from kvae import datasets, objectives, posteriors, priors, training
from kvae.likelihoods import get as get_likelihood
from kvae.plots.grid import draw_grid
from kvae.plots.style import styled
from kvae.studies.findings import Finding
from kvae.studies.run import Run
from kvae.studies.start import start_at_the_mean
from kvae.utils.pages import Page
from kvae.version import __version__

__all__ = ["Lab", "Scale"]


@dataclasses.dataclass(frozen=True)
class Scale:
    """The size of the experiments.

    Attributes:
        hidden: tuple. Widths of the dense networks (tanh).
        latent_dim: int.
        epochs, batch_size: int.
        learning_rate: float. Its first value, which falls by a half cosine to 2 %.
        num_samples: int. Importance samples for log p(x).
        limit: int or `None`. Examples of each split that are used, `None` for all.
        compiled: bool. Whether trainings are compiled by XLA, several steps at a time.
    """

    hidden: tuple[int, ...]
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float
    num_samples: int
    limit: int | None = None
    compiled: bool = False


SCALES = {
    "digits": Scale((128,), 8, epochs=150, batch_size=64, learning_rate=2e-3, num_samples=1000),
    "mnist": Scale((200, 200), 20, epochs=40, batch_size=128, learning_rate=1e-3, num_samples=5000),
    "sprites": Scale(
        (256, 256),
        10,
        epochs=5,
        batch_size=64,
        learning_rate=1e-3,
        num_samples=100,
        compiled=True,
    ),
}
_MOST = 50_000  # Images of a source of one's own, which are read into memory.
# A quick look at a study takes seconds; its figures mean little.
_QUICK = {"epochs": 3, "num_samples": 50, "limit": 500, "compiled": False}


class Lab:
    """The setting of one study.

    Args:
        study: str. The study's name.
        question: str. The study's question, the title of its report.
        dataset: str. One of `kvae.datasets.names()`, of images, or the name of `source`. Defaults
            to `"digits"`.
        quick: bool. A few epochs on a few examples. Defaults to `False`.
        seed: int. The seed of weights, noise, data order and measurements. Defaults to `0`.
        folder: path. The folder of the report. Defaults to `None`: `studies/STUDY-DATASET`.
        cache: path. The folder that keeps trained models and measurements; a study that is started
            again goes on where it was, and studies share equal trainings.
        say: callable. It is given lines of text about the progress. Defaults to `print`.
        source: optional `kvae.datasets.Source`. Images of your own, with labels, in place of a
            named dataset.

    Attributes:
        scale: `Scale`.
        likelihood_images: int or `None`. The number of test images, from the first on, for which
            log p(x) is estimated. A study sets it when the estimate takes long, and to 0 when it
            makes none. Defaults to `None`: all of them.
        report: `kvae.utils.pages.Page`. The report's body; `write` puts the conclusion before it.
    """

    def __init__(
        self,
        study: str,
        question: str,
        dataset: str = "digits",
        quick: bool = False,
        seed: int = 0,
        folder: str | os.PathLike | None = None,
        cache: str | os.PathLike = "runs/studies",
        say: Callable[[str], object] = print,
        source: datasets.Source | None = None,
    ):
        if source is None:
            datasets.info(dataset)  # An unknown name is refused here.
        elif len(source.event_shape) != 3 or not source.intensities:
            raise ValueError(f"Studies are made on images of bytes, and {source.path} holds none.")
        elif not source.schema.class_names:
            raise ValueError(
                f"Studies judge models by labels, and {source.path} has none: put the images into "
                "a subfolder for each class."
            )
        self.source = source
        self.study, self.question, self.dataset = study, question, dataset
        self.quick, self.seed, self.say = quick, seed, say
        self.scale = SCALES.get(dataset, SCALES["digits"])
        if quick:
            self.scale = dataclasses.replace(self.scale, **_QUICK)
        self.folder = pathlib.Path(folder or f"studies/{study}-{dataset}")
        self.cache = pathlib.Path(cache)
        self.report = Page(question)
        self.findings: list[Finding] = []
        self.runs: list[Run] = []
        self.likelihood_images: int | None = None
        self._start = time.monotonic()

    @property
    def command(self) -> str:
        data = f"--dataset {self.dataset}"
        if self.source is not None:
            data = f"--data {shlex.quote(self.source.path.name)}"
        parts = [f"kvae study {self.study} {data}"]
        parts += ["--quick"] if self.quick else []
        parts += [f"--seed {self.seed}"] if self.seed else []
        return " ".join(parts)

    # Data.

    @functools.cache  # noqa: B019 - one lab lives as long as its process.
    def data(self, split: str, binarize: str | None = "dynamic") -> datasets.Dataset:
        """Returns a split as a `kvae.datasets.Dataset`, with labels."""
        if self.source is None:
            data = datasets.load(self.dataset, split, binarize=binarize, seed=self.seed)
        else:
            data = self.source.split(split, binarize=binarize, seed=self.seed)[:_MOST]
        return data if self.scale.limit is None else data[: self.scale.limit]

    def test_images(self, run: Run) -> np.ndarray:
        """Returns the test set as `run`'s model takes it: one fixed binary draw, or intensities."""
        return self.data("test", run.binarize).examples

    # Trainings.

    def fit(
        self,
        name: str,
        *,
        posterior: Any = "diagonal_gaussian",
        prior: Any = "standard_normal",
        likelihood: Any = "bernoulli",
        objective: Any = "elbo",
        binarize: str | None = "dynamic",
        latent_dim: int | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        monitor: str = "val_loss",
        at_the_mean: bool = False,
        may_collapse: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> Run:
        """Trains a dense VAE with `model.fit`, or loads it when it was trained before.

        Args:
            name: str. The model's name in tables and plots.
            posterior, prior, likelihood, objective: parts, or their names, as for `kvae.VAE`.
            binarize: str or `None`. The binarization of the data. Defaults to `"dynamic"`.
            latent_dim, epochs: int. Values that replace the scale's. Default to `None`.
            seed: int. Of the weights and the noise. Defaults to `None`, the lab's.
            monitor: str. The figure that chooses the best epoch, `"val_loss"` or `"val_elbo"`.
                Defaults to `"val_loss"`.
            at_the_mean: bool. Whether the decoder starts at the mean image, see
                `start_at_the_mean`. Defaults to `False`.
            may_collapse: bool. Whether a collapse of the posterior is a result of the study, and
                no reason to conclude nothing. Defaults to `False`.
            callbacks: further Keras callbacks, which are not called when the training is loaded.

        Returns:
            `Run`.
        """
        scale = self.scale
        seed = self.seed if seed is None else seed
        parts = {
            "posterior": posteriors.get(posterior),
            "prior": priors.get(prior),
            "likelihood": get_likelihood(likelihood),
            "objective": objectives.get(objective),
        }
        settings = {
            "dataset": self.dataset,
            "binarize": binarize,
            "limit": scale.limit,
            "hidden": scale.hidden,
            "latent_dim": latent_dim or scale.latent_dim,
            "epochs": epochs or scale.epochs,
            "batch_size": scale.batch_size,
            "learning_rate": scale.learning_rate,
            "seed": seed,
            **({} if self.source is None else {"sha256": self.data("train", binarize).sha256}),
            "parts": {kind: _facts(part) for kind, part in parts.items()},
            # Only where it is so: trainings that are cached keep their fingerprints.
            **({"at_the_mean": True} if at_the_mean else {}),
        }
        fingerprint = hashlib.sha256(
            json.dumps(settings, sort_keys=True, default=repr).encode()
        ).hexdigest()
        folder = self.cache / f"{self.dataset}-{fingerprint[:16]}"
        train, validation = self.data("train", binarize), self.data("validation", binarize)
        vae = zoo.build(
            "dense_vae",
            event_shape=train.event_shape,
            latent_dim=settings["latent_dim"],
            hidden=scale.hidden,
            seed=seed,
            **parts,
        )
        if at_the_mean:
            start_at_the_mean(vae, train.examples)
        fast = {"jit_compile": True, "steps_per_execution": 25} if scale.compiled else {}
        trained = training.train(
            vae,
            train,
            training.Settings(
                epochs=settings["epochs"],
                batch_size=scale.batch_size,
                learning_rate=scale.learning_rate,
                final_rate=0.02,
                monitor=monitor,
                compile=fast,
            ),
            validation_data=validation,
            directory=folder,
            fingerprint=fingerprint,
            callbacks=callbacks,
        )
        if trained.epochs_run:
            self.say(f"{name}: trained in {trained.seconds:.0f} s")
        run = Run(
            self,
            name,
            folder,
            vae,
            history=trained.history,
            seconds=trained.seconds,
            binarize=binarize,
            may_collapse=may_collapse,
        )
        self.runs.append(run)
        return run

    # The report.

    def drawing(self, name: str) -> AbstractContextManager[pathlib.Path]:
        """Gives a block the path of a picture of the report; its `name` ends in `.png`.

        A picture that cannot be drawn is a warning, and a line in the report in its place.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.report.drawing(self.folder / name)

    def draw_rows(self, name: str, rows: dict, title: str, subtitle: str, **options) -> None:
        """Draws a picture of the report with a row of images for each name.

        Args:
            name: str. The file's, ends in `.png`.
            rows: dict of arrays `[n, *event]`, n being the same for all.
            title, subtitle: str. Of the picture.
            **options: further arguments of `kvae.plots.grid.draw_grid`.
        """

        @styled
        def draw(path):
            images = [np.asarray(row) for row in rows.values()]
            grid = draw_grid(np.concatenate(images), len(images), len(images[0]), **options)
            grid.label_rows(list(rows))
            grid.finish(title, subtitle, path)

        with self.drawing(name) as path:
            draw(path)

    def finding(
        self, claim: str, holds: bool | None, evidence: str, of: Sequence[Run] | None = None
    ) -> Finding:
        """Adds a finding, the verdict of the figures on a claim, to the report's conclusion.

        Nothing is concluded from quick trainings, and from a run that has collapsed.

        Args:
            claim, holds, evidence: as in `Finding`.
            of: sequence of `Run`. Those that the claim rests on. Defaults to `None`: all of them.
        """
        refused = self.refusal(self.runs if of is None else of)
        found = Finding(claim, None if refused else holds, evidence, refused)
        self.findings.append(found)
        return found

    def refusal(self, runs: Sequence[Run]) -> str:
        """Returns why nothing may be concluded from these runs; empty where it may."""
        if self.quick:
            return "the trainings were too short"
        return "; ".join(dict.fromkeys(run.fault for run in runs if run.fault))

    @property
    def warning(self) -> str:
        """Returns the warning that stands before the findings, or an empty text."""
        if self.quick:
            return (
                f"A quick run, of {self.scale.epochs} epochs on {self.scale.limit} images, is too "
                "short for a conclusion. It shows what the study looks at; leave out --quick for "
                "its verdicts."
            )
        faults = dict.fromkeys(found.refused for found in self.findings if found.refused)
        return "" if not faults else f"Nothing is concluded where {'; '.join(faults)}."

    def write(self) -> pathlib.Path:
        """Writes `README.md` and `index.html` with the conclusion first; returns the folder."""
        report = Page(self.question, f"Made by: {self.command}")
        report.heading("Conclusion")
        if self.warning:
            report.text(self.warning)
        report.items(*(str(found) for found in self.findings))
        report.extend(self.report)
        report.heading("How this was made")
        scale = self.scale
        images, likelihood = len(self.data("test")), ""
        if self.likelihood_images is not None:
            images = min(self.likelihood_images, images)
        if images:
            likelihood = (
                f"; log p(x) by {scale.num_samples} importance samples for {images} test images, "
                "in nats per image"
            )
        report.code(self.command)
        report.text(
            f"Dense networks of {' and '.join(map(str, scale.hidden))} tanh units, "
            f"{scale.latent_dim} latents and {scale.epochs} epochs of Adam unless said otherwise, "
            f"batches of {scale.batch_size}, the learning rate falling from "
            f"{scale.learning_rate:g} by a half cosine; weights of the best epoch by validation "
            f"loss{likelihood}. Data: {self.data('train').name}, SHA-256 of the training images "
            f"{self.data('train').sha256[:16]}…, "
            f"{len(self.data('train'))} training and {len(self.data('test'))} test images. "
            f"kvae {__version__}, Keras {keras.__version__}, TensorFlow {tf.__version__}, "
            f"{os.cpu_count()} CPU cores ({platform.machine()})."
        )
        report.write(self.folder / "index.html")
        report.write(self.folder / "README.md")
        return self.folder


def _facts(part) -> dict:
    """Returns what tells a part from others: its class, and settings that are not defaults.

    So the cache outlives new settings, and names, which count up in a process, stay out.
    """
    if part is None:
        return {}
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(type(part)).parameters.items()
    }
    kept = {
        key: _nameless(value)
        for key, value in part.get_config().items()
        if key in defaults and key != "latent_dim" and value != defaults[key]
    }
    return {"class": type(part).__name__, **kept}


def _nameless(value):
    """Returns a configuration without the names of layers; those of dtypes stay."""
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":
            return value
        return {key: _nameless(inner) for key, inner in value.items() if key != "name"}
    return [_nameless(inner) for inner in value] if isinstance(value, (list, tuple)) else value
