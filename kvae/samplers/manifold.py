"""Draws along the manifold that a Riemannian Hamiltonian VAE has learned."""

import numpy as np

from kvae import objectives, priors
from kvae.samplers.sampler import Sampler, register
from kvae.utils import arguments

__all__ = ["Manifold"]


@register("manifold")
class Manifold(Sampler):
    """The volume of a learned metric: draws lie where codes do, along the directions that matter.

    It is `p(z) ∝ √det G⁻¹(z) − λ^(d/2)`, with the metric G of a model that was trained with
    `kvae.objectives.RiemannianHamiltonianELBO`, and draws are made by Hamiltonian Monte Carlo from
    the model's centroids. The prior is a `kvae.priors.Manifold`. `fit` estimates its normalizing
    constant, and leaves the standard error of log p(z), in nats, as `error`; the data tell it
    nothing that the model's centroids do not.

    Args:
        num_steps: int. Steps of the chain, each accepted or not. Defaults to `100`.
        num_leaps: int. Leapfrog steps in each. Defaults to `15`.
        step_size: float. Of a leapfrog step. Defaults to `0.03`.

    Raises:
        ValueError: for numbers out of their range, and by `fit`, for a model with another objective
            or one that has not been trained.

    Example:

    ```python
    objective = kvae.objectives.RiemannianHamiltonianELBO()
    vae = kvae.VAE(encoder, decoder, latent_dim=2, objective=objective)
    vae.compile("adam")
    vae.fit(x, epochs=2)
    sampler = kvae.samplers.Manifold().fit(vae, x)
    ```

    Reference:
        - [Chadebec et al., Data Generation in Low Sample Size Setting Using Manifold Sampling and a
          Geometry-Aware VAE, section 3.3](https://arxiv.org/abs/2103.13751)
    """

    def __init__(self, num_steps: int = 100, num_leaps: int = 15, step_size: float = 0.03):
        super().__init__()
        self.num_steps = arguments.whole("num_steps", num_steps)
        self.num_leaps = arguments.whole("num_leaps", num_leaps)
        self.step_size = arguments.number("step_size", step_size)
        if self.step_size <= 0:
            raise ValueError(f"`step_size` is more than 0, not {step_size}.")
        self.error = None
        self._objective = None

    def _check(self, vae):
        super()._check(vae)
        if not isinstance(vae.objective, objectives.RiemannianHamiltonianELBO):
            raise ValueError(
                "Manifold draws by the metric that the objective 'riemannian_hamiltonian' learns, "
                f"and {vae.name} has {type(vae.objective).__name__}. Choose another sampler, e.g. "
                "'gaussian_mixture'."
            )
        if not np.any(vae.objective.matrices):
            raise ValueError(f"{vae.name} has no centroids yet: train it first.")
        self._objective = vae.objective

    def prior_of(self, codes, seed):
        metric = self._objective.metric()
        centroids, matrices = np.asarray(metric.centroids), np.asarray(metric.matrices)
        there = np.any(matrices, axis=(1, 2))  # A short training leaves places empty.
        prior = priors.Manifold(
            int(there.sum()),
            codes.shape[1],
            metric.temperature,
            metric.regularization,
            self.num_steps,
            self.num_leaps,
            self.step_size,
        )
        self.error = prior.adapt(centroids[there], matrices[there], seed)
        return prior
