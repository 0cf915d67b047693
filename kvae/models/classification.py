"""The classes of examples, by the classifier of an objective that guesses labels."""

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.models.inputs import concatenated
from kvae.models.labels import with_mask

__all__ = ["Classification"]


class Classification:
    """The methods of `kvae.VAE` about labels that are not known."""

    @property
    def takes_unknown_labels(self) -> bool:
        """True where a label may be -1, which stands for one that is not known."""
        return self.num_classes is not None and self.objective.takes_unknown_labels

    def check_classifier(self) -> None:
        """Raises a `ValueError` for a model whose objective has no classifier."""
        if not self.takes_unknown_labels:
            raise ValueError(
                f"{self.name} has no classifier: train a conditional model with "
                "objective='semi_supervised', e.g. zoo.build('m2_vae', …)."
            )

    def predict_proba(self, x, batch_size: int | str = "auto", mask=None) -> tf.Tensor:
        """Returns the probabilities q(y|x) of the classes, by the classifier of the objective.

        Args:
            x, batch_size, mask: as in `encode`; labels of the data have no influence.

        Returns:
            Tensor `[n, num_classes]`.

        Raises:
            ValueError: for a model whose objective has no classifier; for a wrong shape and NaN.

        Example:

        ```python
        data = kvae.datasets.load("digits", "train")
        labels = np.where(np.arange(len(data)) < 100, data.labels, -1)
        vae = zoo.build("m2_vae", event_shape=(8, 8, 1), latent_dim=8)
        vae.compile("adam")
        vae.fit((data.examples, labels), epochs=1)
        print(vae.predict_proba(data.examples[:5]).shape)     # (5, 10)
        ```
        """
        self.check_classifier()
        found = [
            self._in_batches("probabilities of classes", self._proba, (events,), batch_size)
            for events, _ in self.event_batches(with_mask(x, mask), guess=False)
        ]
        return concatenated(found)

    def classify(self, x, batch_size: int | str = "auto", mask=None) -> np.ndarray:
        """Returns the most probable class of each example, int `[n]`; see `predict_proba`."""
        return np.argmax(self.predict_proba(x, batch_size, mask), axis=-1)

    def _proba(self, x):
        return tf.exp(self.objective.classify(self, x))

    def guessed(self, x, label):
        """Returns labels, of which those that are not known are the classifier's.

        Args:
            x: tensor `[n, *event]`.
            label: int tensor `[n]`, or `None` for a model without labels.
        """
        if not self.takes_unknown_labels:
            return label
        return self._in_batches("guessed labels", self._guessed, (x, label), "auto")

    def _guessed(self, x, label):
        found = tf.argmax(self.objective.classify(self, x), axis=-1, output_type=tf.int32)
        return tf.where(label < 0, found, label)

    def drawn_labels(self, n, seed):
        """Returns `n` labels that are drawn from p(y), int32 `[n]`."""
        log_p = self.objective.log_class_probabilities(self.num_classes)
        noise = random.gumbel([n, self.num_classes], random.fold_in(seed, 1))
        return tf.argmax(log_p + noise, axis=-1, output_type=tf.int32)
