"""Missing values, filled in by a variational autoencoder."""

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_is_fitted

from kvae.evaluation.rows import by_row, row_imputation
from kvae.sklearn.base import VAEEstimator, beside_shared_parameters

__all__ = ["VAEImputer"]


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, VAEEstimator):
    """Fills in missing values (NaN) by a variational autoencoder of the rows.

    It trains on incomplete rows, by the importance-weighted bound of what was observed, and returns
    the expected value of what was not. Observed values come back as they were. A column of which
    nothing was observed is kept, and gets what the untrained part of the model says, near 0.

    Args:
        architecture, latent_dim, hidden, likelihood: as for `VAETransformer`.
        event_shape, architecture_params, epochs, batch_size, learning_rate: as there.
        early_stopping, validation_fraction, n_iter_no_change: as there.
        random_state, device, verbose: as there.
        objective: as there. Defaults to `"iwae:num_samples=20"`.
        missing: str. What the encoder sees of missing values, as there. Defaults to `"zero"`.
        num_samples: int. The importance samples of each row. Defaults to `1000`.
        add_indicator: bool. Whether columns are added that say what was missing, as for
            `sklearn.impute.SimpleImputer`. Defaults to `False`.

    A fitted estimator has `indicator_`, the `sklearn.impute.MissingIndicator` or `None`.

    Example:

    ```python
    import numpy as np
    from sklearn.datasets import load_wine

    import kvae.sklearn

    x = load_wine().data
    x[::3, 0] = np.nan
    imputer = kvae.sklearn.VAEImputer(epochs=2, num_samples=100, random_state=0)
    np.isnan(imputer.fit_transform(x)).any()            # False
    ```

    Reference:
        - [Mattei & Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
          Sets](https://arxiv.org/abs/1812.02633)
    """

    @beside_shared_parameters
    def __init__(
        self,
        *,
        objective="iwae:num_samples=20",
        missing="zero",
        num_samples=1000,
        add_indicator=False,
        **shared,
    ):
        super().__init__(objective=objective, missing=missing, num_samples=num_samples, **shared)
        self.add_indicator = add_indicator

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _train(self, rows, labels=None):
        if self.missing is None:
            raise ValueError("`missing` says what the encoder sees of a gap, e.g. 'zero'.")
        super()._train(rows)
        self.indicator_ = None
        if self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False).fit(rows)

    def transform(self, X) -> np.ndarray:
        """Returns rows `[n, columns]` without gaps; a row's values do not depend on the others.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        check_is_fitted(self)
        rows = self._checked(X)
        gaps = np.isnan(rows)
        filled, some = rows.copy(), gaps.any(axis=1)
        if some.any():
            noise = {"seed": self.seed_, "num_samples": self.num_samples}
            x = self._events(rows[some])
            found = by_row(self.vae_, "impute rows", row_imputation, x, **noise)
            values = np.concatenate([part["image"] for part in found]).reshape(-1, rows.shape[1])
            filled[some] = np.where(gaps[some], values, rows[some])
        if self.indicator_ is None:
            return filled
        return np.hstack([filled, self.indicator_.transform(rows)])

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Returns the names of the columns of `transform`: those of the input and the indicators.

        Args:
            input_features: array of str or `None`. Defaults to `None`: those of `fit`.

        Raises:
            ValueError: before `fit`.
        """
        names = super().get_feature_names_out(input_features)
        if self.indicator_ is None:
            return names
        return np.concatenate([names, self.indicator_.get_feature_names_out(names)])
