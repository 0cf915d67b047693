"""The density of rows, and new rows."""

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from kvae.sklearn.base import VAEEstimator

__all__ = ["VAEDensity"]


class VAEDensity(DensityMixin, VAEEstimator):
    """Estimates the density of rows by a variational autoencoder, and draws new ones.

    Args:
        architecture, latent_dim, hidden, likelihood, objective, missing: as for `VAETransformer`.
        event_shape, architecture_params, epochs, batch_size, learning_rate: as there.
        early_stopping, validation_fraction, n_iter_no_change, num_samples: as there.
        random_state, device, verbose: as there.

    Example:

    ```python
    from sklearn.datasets import load_wine

    import kvae.sklearn

    x = load_wine().data
    density = kvae.sklearn.VAEDensity(epochs=2, random_state=0).fit(x)
    density.score_samples(x).mean()                     # log p(x) in nats
    density.sample(5, random_state=1).shape             # (5, 13)
    ```

    Reference:
        - [Burda et al., Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519)
    """

    score = VAEEstimator.score  # In the place of DensityMixin's, which returns nothing.

    def score_samples(self, X) -> np.ndarray:
        """Returns log p(x) of rows in nats, float64 `[n]`, by importance sampling.

        The estimate is too low rather than too high, and rises with `num_samples`. A row has the
        same one alone and among others. With `missing` it is that of what was observed.

        Raises:
            ValueError: for rows that the model does not take, for an autoencoder, which has no
                density, and before `fit`.
        """
        return self._log_prob(X)

    def sample(self, n_samples=1, random_state=None) -> np.ndarray:
        """Returns new rows, float32 `[n_samples, columns]`.

        Args:
            n_samples: int. Defaults to `1`.
            random_state: int, `numpy.random.RandomState` or `None`. Defaults to `None`: other rows
                at each call.

        Raises:
            ValueError: before `fit`.
        """
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        rows = self.vae_.sample(n_samples, seed=seed, output="sample")
        return np.asarray(rows).reshape(len(rows), -1)
