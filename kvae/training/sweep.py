"""Searches over hyper-parameters by Keras Tuner, as points of rate and distortion."""

import contextlib
import functools
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from kvae.evaluation.rate_distortion import rate_distortion, with_picture
from kvae.evaluation.result import Result
from kvae.evaluation.terms import mean_terms
from kvae.training.beta import trained_with_beta
from kvae.utils import io, locks, names, optional, seals
from kvae.utils.differences import differences

__all__ = ["SEARCHES", "sweep"]

SEARCHES = {"grid": "GridSearch", "random": "RandomSearch", "bayesian": "BayesianOptimization"}


def sweep(
    build,
    betas,
    latent_dims,
    train,
    data,
    *,
    epochs: int,
    folder,
    search: str = "grid",
    trials: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    progress=None,
    fingerprint: Mapping[str, Any] | None = None,
) -> Result:
    """Trains an architecture for several β and sizes of z, and compares rates and distortions.

    Keras Tuner (`pip install 'keras-kvae[sweep]'`) chooses the next trial and keeps the results in
    `folder`: a sweep that was interrupted and is started again goes on after the last finished
    trial. The search is for the greatest ELBO, in which the KL has the weight 1 whatever β is; all
    points are returned.

    Args:
        build: function of `objective` and `latent_dim`, which returns a new `kvae.VAE`, e.g.
            `lambda **settings: zoo.build("dense_vae", **settings)`.
        betas: sequence of float. The weights of the KL.
        latent_dims: sequence of int. The sizes of z.
        train: `kvae.datasets.Dataset` to train on.
        data: `kvae.datasets.Dataset` to measure on: validation data.
        epochs: int. The number of epochs of each trial.
        folder: path. A folder for this sweep alone.
        search: `"grid"` (all pairs), `"random"` or `"bayesian"`. Defaults to `"grid"`.
        trials: int. The largest number of trials. Defaults to `None`: as many as there are pairs.
        batch_size: int. Defaults to `128`.
        seed: int. Seeds the search, the initial weights (which are the same for the same
            `latent_dim`), and the evaluation. Defaults to `0`.
        progress: optional callable, called with the number of finished trials.
        fingerprint: optional mapping of what JSON can hold. Facts of the models and the data; a
            folder in which they, or the epochs, the batches or the seed, were others is refused.

    Returns:
        `Result` like that of `kvae.evaluation.rate_distortion`, with the names `"β = …, z …"`. Its
        `write` writes the figures and a picture.

    Raises:
        BlockingIOError: if another sweep runs in the folder (see `kvae.utils.locks.Lock`).
        ModuleNotFoundError: without Keras Tuner.
        OSError: if the disk is full.
        ValueError: for an unknown search, without values, and for the folder of another sweep.

    Example:

    ```python
    result = kvae.training.sweep(
        lambda **settings: zoo.build("dense_vae", event_shape=(8, 8, 1), **settings),
        (0.5, 1.0, 2.0), (2, 8), train, validation, epochs=50, folder="sweeps/mine",
    )
    result.write("sweeps/mine")
    ```

    References:
        - [Alemi et al., Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464)
        - [O'Malley et al., Keras Tuner](https://github.com/keras-team/keras-tuner)
    """
    betas, latent_dims = sorted(set(map(float, betas))), sorted(set(map(int, latent_dims)))
    if not betas or not latent_dims:
        raise ValueError("`betas` and `latent_dims` have one value each at least.")
    if search not in SEARCHES:
        raise names.unknown_name("search", search, SEARCHES)
    keras_tuner = optional.load("keras_tuner", purpose="A sweep")
    folder = io.writable_folder(folder)
    space = keras_tuner.HyperParameters()
    space.Choice("beta", betas)
    space.Choice("latent_dim", latent_dims)

    class Tuner(getattr(keras_tuner, SEARCHES[search])):
        def run_trial(self, trial, *_, **__):
            chosen = trial.hyperparameters
            try:
                vae = trained_with_beta(
                    functools.partial(build, latent_dim=chosen.get("latent_dim")),
                    chosen.get("beta"),
                    train,
                    epochs=epochs,
                    batch_size=batch_size,
                    seed=seed,
                )
            except ValueError as error:  # After other errors it tries again.
                raise keras_tuner.errors.FatalValueError(str(error)) from error
            terms = mean_terms(vae, data, seed=seed)
            kl, reconstruction = float(terms["kl"]), float(terms["reconstruction"])
            return {"elbo": -kl - reconstruction, "kl": kl, "reconstruction": reconstruction}

        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            if progress is not None:
                progress(len(self.oracle.end_order))

    full = io.disk_errors(folder, "the sweep stopped; start it again to go on")
    with (
        locks.Lock(folder, "a sweep"),
        full,
        io.utf8_path(folder) as place,
        contextlib.redirect_stdout(sys.stderr),  # Its progress is no result.
    ):
        _claim(
            pathlib.Path(folder),
            {**(fingerprint or {}), "epochs": epochs, "batch_size": batch_size, "seed": seed},
        )
        tuner = Tuner(
            hyperparameters=space,
            objective=keras_tuner.Objective("elbo", "max"),
            max_trials=trials or len(betas) * len(latent_dims),
            seed=seed,
            directory=str(place),
            project_name="trials",
            overwrite=False,
            max_consecutive_failed_trials=1,
        )
        tuner.search(verbose=0)
    points = {}
    for trial in tuner.oracle.trials.values():
        if trial.status != "COMPLETED":
            continue
        found = {name: trial.metrics.get_last_value(name) for name in ("kl", "reconstruction")}
        chosen = trial.hyperparameters
        points[chosen.get("beta"), chosen.get("latent_dim")] = found
    result = rate_distortion(
        {f"β = {beta:g}, z {size}": points[beta, size] for beta, size in sorted(points)}
    )
    return with_picture(result)


def _claim(folder: pathlib.Path, facts: Mapping) -> None:
    """Writes what all trials of a folder have in common, or compares it with what is there."""
    path, facts = folder / "sweep.json", json.loads(json.dumps(facts))
    if path.exists():
        found = differences(seals.unsealed(path.read_text("utf-8")), facts)
        if found:
            raise ValueError(
                f"{folder} holds another sweep, with {'; '.join(found)}. Choose another folder or "
                "delete it."
            )
        return
    with io.atomic_write(path) as temporary:
        temporary.write_text(seals.sealed(facts), "utf-8")
