"""The methods of Keras that a subclass of `kvae.VAE` may override, and how a step serves them."""

import threading

import keras
import tensorflow as tf

from kvae import random
from kvae.models.fit.data import unpacked_batch
from kvae.utils import keras_internals

__all__ = ["Hooks", "mean_of_the_step"]

# The methods that Keras calls at every step. Code of a subclass may do in them what a block of
# steps, which is one graph under XLA, does not bear.
_HOOKS = (
    "train_step",
    "optimize",
    "make_train_function",
    "compute_loss",
    "compute_metrics",
    "call",
)

_HIDING = 2**30  # The number of the seed by which conditions are hidden.


class Terms(threading.local):
    """The objective's terms of the step that is being taken; each replica has a thread."""

    present: dict | None = None


class Hooks:
    """The methods of `kvae.VAE` by which subclasses change its training, as Keras has them."""

    def own_step(self) -> str | None:
        """Returns the name of a method by which a subclass changes steps, or `None`."""
        return next(filter(self.overrides, _HOOKS), None)

    def overrides(self, name: str) -> bool:
        """Checks whether a subclass, or the model itself, has a method of this name of its own."""
        # The class that first is a Keras model and has these methods is `kvae.VAE`.
        base = next(
            kind
            for kind in reversed(type(self).__mro__)
            if issubclass(kind, Hooks) and issubclass(kind, keras.Model)
        )
        method = getattr(self, name)
        return getattr(method, "__func__", method) is not getattr(base, name)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a batch in nats, which training minimizes: one number.

        It is the weighted mean of the objective's loss over the examples, and the sum of what
        layers and regularizers have added with `add_loss`. A subclass may override it, as for any
        Keras model; `fit` and `evaluate` then report its value as `loss`, and `elbo`,
        `reconstruction` and `kl` as ever. A `keras.metrics.Metric` that the subclass makes is
        reported as well.

        A subclass may also override `train_step`, `test_step`, `compute_metrics` and `call`, and
        may call `add_loss` in `call` and in its layers. `fit` runs one step in each call where a
        method is overridden, since blocks of steps are one graph.

        In a `train_step` with a tape of your own, call it with `x` and return
        `self.get_metrics_result()`: outside of the model's own steps it draws z, and updates the
        metrics.

        Args:
            x: tensor `[batch, *event]`, for a conditional model the pair `(x, label)`.
            y: tensor `[batch, *event]`. What is to be reconstructed, x itself where `fit` was given
                no target. Defaults to `None`: x.
            y_pred: tensor `[batch, *event]`. The mean reconstruction, `self(x)`. The objective
                does not need it.
            sample_weight: tensor `[batch]` or `None`.
            training: bool. Defaults to `True`.

        Returns:
            A scalar; an override may also return one number for each example, `[batch]`.

        Raises:
            ValueError: without `x`, outside of a step.

        Example:

        ```python
        class SharpVAE(kvae.VAE):    # It pays for squared errors of the mean reconstruction, too.
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                loss = super().compute_loss(x, y, y_pred, sample_weight, training)
                return loss + 0.1 * keras.ops.mean(keras.ops.square(y - y_pred))
        ```
        """
        if self._terms.present is not None:
            return _weighted_mean(self._terms.present["loss"], sample_weight)
        if x is None:
            raise ValueError(
                "compute_loss of a VAE takes the batch `x`, for which z is drawn: "
                "compute_loss(x, y)."
            )
        data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
        x, label, y, weight = unpacked_batch(self, data)
        seed = random.as_seed(self.seed_generator if training else self.seed)
        terms = self._objective_terms(x, label, y, training=training, seed=seed)
        for name, tracker in self.metric_trackers.items():
            tracker.update_state(terms[name], sample_weight=self.metric_weight(name, terms, weight))
        return mean_of_the_step(tf.shape(x)[0], weight)(terms["loss"])

    def terms_of_the_step(self, x, label, target, weight, *, training: bool, seed) -> dict:
        """Returns the objective's terms `[batch]`, with the `loss` of `compute_loss`."""
        y_pred, inputs = None, x if label is None else (x, label)
        if self.overrides("call") or self.overrides("compute_loss"):
            # Before the terms: a call clears what layers have added to the loss in an earlier one.
            y_pred = self(inputs, training=training)
        terms = self._objective_terms(x, label, target, training=training, seed=seed)
        if not self.overrides("compute_loss"):
            return terms
        self._terms.present = terms
        try:
            loss = keras_internals.compute_loss(
                self, x=inputs, y=target, y_pred=y_pred, sample_weight=weight, training=training
            )
        finally:
            self._terms.present = None
        return {**terms, "loss": self._one_for_each(loss, tf.shape(x)[0])}

    def own_metrics(self, data, training: bool) -> dict:
        """Returns the logs of a subclass's `compute_metrics`, by name, if it has one."""
        if not self.overrides("compute_metrics"):
            return {}
        x, label, target, weight = unpacked_batch(self, data)
        inputs = x if label is None else (x, label)
        y_pred = self(inputs, training=training)
        return self.compute_metrics(inputs, target, y_pred, sample_weight=weight)

    def _objective_terms(self, x, label, target, *, training: bool, seed) -> dict:
        if training and label is not None and self.conditions is not None:
            label = self.conditions.hidden(label, random.fold_in(seed, _HIDING))
        model = self.conditioned_on(label)
        terms = self.objective.terms(model, x, target, training=training, seed=seed)
        if self.losses:  # Keras sums those that are no scalars.
            added = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in self.losses]
            terms["loss"] += tf.add_n(added)
        return terms

    def _one_for_each(self, loss, size):
        """Returns what a subclass's `compute_loss` has returned, as a loss `[batch]`."""
        loss = None if loss is None else tf.convert_to_tensor(loss)
        if loss is None or loss.shape.rank not in (0, 1):
            found = "nothing" if loss is None else f"a tensor of shape {tuple(loss.shape)}"
            raise ValueError(
                f"compute_loss of {type(self).__name__} returns {found}; it returns one number in "
                "nats, or one for each example."
            )
        loss = tf.cast(loss, tf.float32)
        return tf.fill([size], loss) if loss.shape.rank == 0 else loss


def _weighted_mean(values, weight):
    if weight is None:
        return tf.reduce_mean(values)
    return tf.reduce_sum(values * weight) / tf.maximum(tf.reduce_sum(weight), 1e-12)


def mean_of_the_step(size, weight):
    """Returns a function of values `[size]`: their weighted mean over the examples of a step.

    On one of several replicas the function gives the replica's part of that mean, because the
    optimizer adds the gradients up. Replicas may have different numbers of examples, and none.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        if weight is None:
            return tf.reduce_mean
        total = tf.reduce_sum(weight)
    else:
        weight = tf.ones([size]) if weight is None else weight
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weight))
    return lambda values: tf.reduce_sum(values * weight) / tf.maximum(total, 1e-12)
