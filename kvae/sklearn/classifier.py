"""Classes of rows, from few labels."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from kvae.objectives import SemiSupervised
from kvae.sklearn.base import VAEEstimator, beside_shared_parameters

__all__ = ["VAEClassifier"]

_UNKNOWN = -1


class VAEClassifier(ClassifierMixin, VAEEstimator):
    """Classifies rows by a semi-supervised variational autoencoder, of which few need labels.

    The label -1 says that the class of a row is not known, as for `sklearn.semi_supervised`. Such
    rows teach the model p(x) as the sum over all classes. Classes may be texts, in an array of
    objects if some are -1.

    Args:
        architecture, latent_dim, hidden, likelihood, missing: as for `VAETransformer`.
        event_shape, architecture_params, epochs, batch_size, learning_rate: as there.
        early_stopping, validation_fraction, n_iter_no_change, num_samples: as there.
        random_state, device, verbose: as there.
        alpha: float or `None`. The weight of the classifier's cross-entropy for each labelled row.
            Defaults to `None`: the number of all rows for each labelled one. The paper has a tenth
            of it, for trainings of more steps.
        classifier_hidden: tuple of int. The widths of the classifier's hidden layers. Defaults to
            `(64,)`.
        objective: `kvae.objectives.SemiSupervised` or `None`. Replaces the one that `alpha` and
            `classifier_hidden` make. Defaults to `None`.

    A fitted estimator has `classes_`, the classes in the order of their probabilities, and
    `alpha_`, the weight.

    Example:

    ```python
    import numpy as np
    from sklearn.datasets import load_wine

    import kvae.sklearn

    x, y = load_wine(return_X_y=True)
    few = np.where(np.arange(len(y)) % 10 == 0, y, -1)      # every tenth label
    classifier = kvae.sklearn.VAEClassifier(epochs=2, random_state=0).fit(x, few)
    classifier.predict_proba(x).shape                       # (178, 3)
    classifier.score(x, y)
    ```

    Reference:
        - [Kingma et al., Semi-supervised Learning with Deep Generative Models](
          https://arxiv.org/abs/1406.5298)
    """

    @beside_shared_parameters
    def __init__(self, *, alpha=None, classifier_hidden=(64,), objective=None, **shared):
        super().__init__(objective=objective, **shared)
        self.alpha = alpha
        self.classifier_hidden = classifier_hidden

    def fit(self, X, y):
        """Trains a model, which is `vae_` then.

        Args:
            X: array or frame `[n, columns]`.
            y: array `[n]` of classes, -1 for those that are not known.

        Returns:
            The estimator.

        Raises:
            ValueError: for rows, classes and parameters that do not go together.
        """
        rows, labels = self._checked(X, y, reset=True)
        known = labels != _UNKNOWN if labels.dtype.kind not in "US" else np.ones(len(rows), bool)
        if not known.any():
            raise ValueError("y has no known class: all of its labels are -1.")
        check_classification_targets(labels[known])
        self.classes_, found = np.unique(labels[known], return_inverse=True)
        self.alpha_ = self.alpha
        if self.alpha is None:
            self.alpha_ = len(rows) / len(found)
        numbers = np.full(len(rows), _UNKNOWN)
        numbers[known] = found
        self._train(rows, numbers)
        return self

    def _build(self, columns, **parts):
        objective = self.objective
        if objective is None:
            objective = SemiSupervised(alpha=self.alpha_, hidden=self.classifier_hidden)
        parts |= {"num_classes": len(self.classes_), "objective": objective}
        return super()._build(columns, **parts)

    def predict_proba(self, X) -> np.ndarray:
        """Returns the probabilities q(y|x) of the classes, float64 `[n, classes]`.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        x = self._events_of_fitted(X)
        return np.asarray(self.vae_.predict_proba(x), np.float64)

    def predict(self, X) -> np.ndarray:
        """Returns the most probable class of each row, `[n]`.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        found = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[found]
