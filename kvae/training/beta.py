"""The β-VAE, trained for several values of β."""

from kvae import random
from kvae.evaluation.rate_distortion import rate_distortion
from kvae.evaluation.result import Result
from kvae.evaluation.terms import mean_terms
from kvae.models import VAE
from kvae.objectives import ELBO
from kvae.training import procedure
from kvae.training.procedure import Settings

__all__ = ["train_over_beta", "trained_with_beta"]


def train_over_beta(
    build, betas, train, data, *, epochs: int, batch_size: int = 128, seed: int = 0, progress=None
) -> Result:
    """Trains one architecture for several β of the β-VAE, and compares rates and distortions.

    Args:
        build: function of `objective` that returns a new `kvae.VAE` with it, e.g.
            `lambda objective: zoo.build("dense_vae", objective=objective)`.
        betas: sequence of float. The weights of the KL.
        train: `kvae.datasets.Dataset` to train on.
        data: `kvae.datasets.Dataset` to measure on.
        epochs: int. The number of epochs for each β.
        batch_size: int. Defaults to `128`.
        seed: int. Seeds the initial weights, which are the same for all, and the evaluation.
            Defaults to `0`.
        progress: optional callable, called with the number of finished trainings.

    Returns:
        `Result` like that of `kvae.evaluation.rate_distortion`, with the names `"β = …"`.

    Raises:
        ValueError: without betas.

    Example:

    ```python
    result = kvae.training.train_over_beta(
        lambda objective: zoo.build("dense_vae", event_shape=(8, 8, 1), objective=objective),
        (0.25, 1.0, 4.0), train, test, epochs=50,
    )
    ```

    Reference:
        - [Alemi et al., Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464)
    """
    values = {}
    for beta in betas:
        vae = trained_with_beta(build, beta, train, epochs=epochs, batch_size=batch_size, seed=seed)
        values[f"β = {beta:g}"] = mean_terms(vae, data, seed=seed)
        if progress is not None:
            progress(len(values))
    return rate_distortion(values)


def trained_with_beta(build, beta: float, data, *, epochs: int, batch_size: int, seed: int) -> VAE:
    """Returns a new model with the objective of a β-VAE, trained at a constant learning rate.

    Args:
        build: function of `objective` that returns a new `kvae.VAE`.
        beta: float. The weight of the KL divergence.
        data: `kvae.datasets.Dataset` to train on.
        epochs, batch_size: int.
        seed: int. Seeds the initial weights.
    """
    with random.initial_weights(seed):
        vae = build(objective=ELBO(beta=beta))
    settings = Settings(epochs=epochs, batch_size=batch_size, final_rate=1.0, monitor=None)
    procedure.train(vae, data, settings)
    return vae
