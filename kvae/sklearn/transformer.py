"""Rows to codes and back."""

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from kvae.sklearn.base import VAEEstimator

__all__ = ["VAETransformer"]


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, VAEEstimator):
    """Reduces the columns of a table to the codes of a variational autoencoder.

    Args:
        architecture: str or callable. A name in `zoo.list_architectures()`, or a function that
            takes what `zoo.build` takes after the name, and returns a `kvae.VAE`. Defaults to
            `"dense_vae"`.
        latent_dim: int. The size of a code. Defaults to `2`.
        hidden: tuple of int or `None`. The widths of the encoder's hidden layers; the decoder
            mirrors them. Give `None` for an architecture that has no such argument. Defaults to
            `(64,)`.
        likelihood: str, `kvae.likelihoods.Likelihood` or `None`, which is the architecture's own.
            Defaults to `"gaussian:learned"`, which standardizes the columns inside the model;
            `"bernoulli"` suits zeros and ones.
        objective: str, `kvae.objectives.Objective` or `None`, which is the architecture's own.
            Defaults to `None`.
        missing: str or `None`. With `"zero"`, `"mean"` or `"learned"` NaN was not observed, as for
            `kvae.VAE`. Defaults to `None`: NaN is an error.
        event_shape: tuple or `None`. The shape that a row gets, e.g. `(28, 28, 1)` for an
            architecture of images. Defaults to `None`: `(columns,)`.
        architecture_params: dict or `None`. Further arguments of `zoo.build`, such as
            `{"prior": "vamp:50"}`. Defaults to `None`.
        epochs: int. Defaults to `100`.
        batch_size: int. Defaults to `64`.
        learning_rate: float. That of Adam. Defaults to `0.001`.
        early_stopping: bool. Whether the training ends when the ELBO of held-out rows has not risen
            for a while, with the weights of its best epoch. Defaults to `False`.
        validation_fraction: float. The share of rows that early stopping holds out. Defaults to
            `0.1`.
        n_iter_no_change: int. The number of epochs that early stopping waits. Defaults to `10`.
        num_samples: int. The samples of z by which log p of a row is estimated. Defaults to `64`.
        random_state: int, `numpy.random.RandomState` or `None`. With an int the weights, the
            training and all estimates repeat. Defaults to `None`.
        device: str or `None`. Where the model is made and trained, e.g. `"cpu"` or `"gpu:0"`.
            Defaults to `None`: TensorFlow's choice.
        verbose: int. As for `kvae.VAE.fit`. Defaults to `0`.

    A fitted estimator has `vae_`, the trained `kvae.VAE`, `history_`, its figures for each epoch,
    `n_iter_`, their number, and `seed_`.

    Example:

    ```python
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    import kvae.sklearn

    x, y = load_wine(return_X_y=True)
    codes = kvae.sklearn.VAETransformer(latent_dim=4, epochs=2, random_state=0)
    make_pipeline(codes, LogisticRegression()).fit(x, y).score(x, y)
    codes.inverse_transform(codes.fit_transform(x)).shape       # (178, 13)
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def transform(self, X) -> np.ndarray:
        """Returns the posterior's means of rows `[n, columns]`, `[n, latent_dim]`.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        check_is_fitted(self)
        rows = self._checked(X)
        params = self.vae_.encode_data(self._events(rows))[0]
        return np.asarray(self.vae_.posterior.mean(params), rows.dtype)

    def inverse_transform(self, X) -> np.ndarray:
        """Returns the rows `[n, columns]` that codes `[n, latent_dim]` stand for: E[x|z].

        Raises:
            ValueError: for codes of another size, and before `fit`.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=[np.float64, np.float32])
        rows = self.vae_.decode(z.astype(np.float32))
        return np.asarray(rows, z.dtype).reshape(len(z), -1)

    @property
    def _n_features_out(self) -> int:
        return self.vae_.latent_dim
