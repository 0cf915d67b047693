"""The interface of every sampler, and the codes that they are fitted to."""

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.models import VAE
from kvae.models.inputs import in_batches, latent_tensors
from kvae.parts import resolve
from kvae.priors.prior import Prior
from kvae.utils import arguments
from kvae.utils.register import Register

__all__ = ["REGISTER", "Sampler", "aggregate_codes", "get", "names", "register"]


class Sampler:
    """A density of the latents that is estimated ex post, from the codes of a trained model.

    A VAE samples badly where its aggregate posterior `q(z) = E_x q(z|x)` is not its prior, and an
    autoencoder has no prior at all. A sampler fits p(z) to q(z), and leaves the networks as they
    are. The result is a `kvae.priors.Prior`. The VAE with that prior, `model`, shares the networks,
    and saves, evaluates and exports like any other.

    ```python
    sampler = kvae.samplers.GaussianMixture(num_components=10).fit(autoencoder, train)
    sampler.sample(16, seed=0)                      # [16, *event]
    sampler.model.save("autoencoder_that_samples.keras")
    ```

    A new sampler defines `prior_of`, and says in `spaces` where the codes may lie.

    Reference:
        - [Ghosh et al., From Variational to Deterministic Autoencoders, section 4](
          https://arxiv.org/abs/1903.12436): ex-post density estimation
    """

    spaces = ("real",)  # The spaces of the posteriors that it works with.
    takes_labels = False  # True where it works with conditional models.

    def __init__(self):
        self._model: VAE | None = None

    def prior_of(self, codes: np.ndarray, seed: int):
        """Returns the prior that fits codes, float64 `[n, latent_dim]`, built."""
        raise NotImplementedError

    def fit(self, vae, data, *, num_samples: int = 1, seed: int = 0, batch_size: int = 1024):
        """Fits the density to the aggregate posterior of `data`.

        Args:
            vae: `kvae.VAE`, trained. It stays as it is.
            data: array `[n, *event]` or other data that `vae.encode` takes: the training data.
            num_samples: int. The number of codes that are drawn from q(z|x) for each example; an
                autoencoder has one. Defaults to `1`.
            seed: int. The same seed gives the same density. Defaults to `0`.
            batch_size: int. The number of examples that are encoded at once. Defaults to `1024`.

        Returns:
            The sampler.

        Raises:
            ValueError: for a conditional model, whose aggregate posterior is another one for each
                label, for latents in a space that the sampler does not know, and for too few
                examples.
        """
        self._check(vae)
        codes = aggregate_codes(
            vae, data, num_samples=num_samples, seed=seed, batch_size=batch_size
        )
        prior = self.prior_of(codes, seed)
        self._model = vae.with_prior(prior, objective="elbo")
        return self

    @property
    def model(self) -> VAE:
        """The `kvae.VAE` with the fitted prior, whose objective is the plain ELBO."""
        if self._model is None:
            raise ValueError(f"{type(self).__name__} is not fitted: call fit(vae, data) first.")
        return self._model

    def as_prior(self) -> Prior:
        """Returns the fitted density as a `kvae.priors.Prior`, e.g. for `vae.with_prior`."""
        return self.model.prior

    def sample(self, n: int, seed=None, output: str = "mean", **options) -> tf.Tensor:
        """Generates `n` examples, `[n, *event]`; arguments as those of `kvae.VAE.sample`."""
        return self.model.sample(n, seed=seed, output=output, **options)

    def log_prob(self, z, batch_size: int = 1024):
        """Returns log p(z) in nats under the fitted density: `[n, latent_dim]` to `[n]`.

        Raises:
            ValueError: before `fit`, and for a wrong shape or NaN.
        """
        prior = self.as_prior().precomputed()
        z, _ = latent_tensors(self.model, z)
        return in_batches(prior.log_prob, (z,), batch_size)

    def _check(self, vae) -> None:
        if vae.conditional and not self.takes_labels:
            raise ValueError(
                f"{vae.name} is conditional, and {type(self).__name__} fits one density to the "
                "codes of all labels, which is that of none. Sample from its prior, "
                "vae.sample(n, label=…)."
            )
        if vae.posterior.space not in self.spaces:
            raise ValueError(
                f"{type(self).__name__} fits densities on "
                f"{' or '.join(_SPACES[space] for space in self.spaces)}, and "
                f"{type(vae.posterior).__name__} puts z elsewhere."
            )


REGISTER = Register("sampler", group="kvae.samplers")
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Sampler:
    """Returns a sampler from its name, with its default arguments, or a sampler as it is."""
    return resolve(REGISTER, identifier, Sampler)


_SPACES = {
    "ball": "the Poincaré ball",
    "codes": "the entries of codebooks",
    "real": "R^latent_dim",
    "sphere": "the unit sphere",
}


def aggregate_codes(
    vae, data, *, num_samples: int = 1, seed: int = 0, batch_size: int = 1024
) -> np.ndarray:
    """Draws from the aggregate posterior: codes z ~ q(z|x) of every example.

    Args:
        vae: `kvae.VAE`.
        data: array `[n, *event]` or other data that `vae.encode` takes.
        num_samples: int. The number of codes for each example. Those of an autoencoder are all the
            same, so that there is one. Defaults to `1`.
        seed: int. Defaults to `0`.
        batch_size: int. The number of examples that are encoded at once. Defaults to `1024`.

    Returns:
        float64 array `[num_samples * n, latent_dim]`.
    """
    num_samples = arguments.whole("num_samples", num_samples)
    params = vae.encode_data(data, batch_size=batch_size)[0]
    if not vae.posterior.has_density:
        return np.asarray(vae.posterior.mean(params), np.float64)
    z = vae.posterior.sample(params, num_samples, seed=random.as_seed(seed))
    return np.asarray(z, np.float64).reshape(-1, vae.latent_dim)
