"""The steps of `fit`, `evaluate` and `predict`: what happens to one batch."""

import keras
import tensorflow as tf

from kvae import distributed, random
from kvae.models.fit.blocks import Cache
from kvae.models.fit.data import unpacked_batch
from kvae.models.labels import checked_label, split_label_and_target
from kvae.utils import forks, gradients

__all__ = ["TrainStep"]


# The methods by which a subclass of `kvae.VAE` takes steps of its own.
_STEP = ("train_step", "optimize", "make_train_function")


class TrainStep:
    """The methods of `kvae.VAE` that take a step: the loss, its gradient, the update, the logs."""

    @classmethod
    def own_step(cls) -> str | None:
        """Returns the name of the method by which a subclass takes steps of its own, or `None`."""
        replaced = (name for name in _STEP if getattr(cls, name) is not getattr(TrainStep, name))
        return next(replaced, None)

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """Takes one step of the optimizer, and returns the means of the logs so far, in nats."""
        return self._track(*self.optimize(data))

    def optimize(self, data) -> tuple[dict[str, tf.Tensor], tf.Tensor | None]:
        """Takes one step of the optimizer on a batch.

        Args:
            data: a batch as Keras hands it to `train_step`: `(x,)`, `(x, y)` or `(x, y, weight)`,
                where x is `[batch, *event]`, for a conditional model the pair `(x, label)`.

        Returns:
            The objective's terms by name, each `[batch]` in nats, and the weights `[batch]` of the
            examples or `None`.

        Raises:
            ValueError: for a wrong shape. Values that do not fit end the step before it begins.
        """
        x, label, target, weight = unpacked_batch(self, data)
        with self.guard.step(_batch(x, label, target, weight), state=self._state):
            seed = self._step_seed(random.as_seed(self.seed_generator))
            mean = _mean_of_the_step(tf.shape(x)[0], weight)
            with tf.GradientTape() as tape:
                model = self.conditioned_on(label)
                terms = self.objective.terms(model, x, target, training=True, seed=seed)
                terms["loss"] = self._with_regularizers(terms["loss"])
                scaled = self.optimizer.scale_loss(mean(terms["loss"]))
            variables = self.trainable_variables
            gradients.apply(self.optimizer, tape.gradient(scaled, variables), variables)
            self.objective.update(self.conditioned_on(label), x, target, terms, seed=seed)
        return terms, weight

    def _state(self) -> list:
        """Returns all variables that a step of the optimizer changes."""
        own = self.objective.optimizer_variables()
        return [*self.variables, *self.optimizer.variables, *own]

    def test_step(self, data) -> dict[str, tf.Tensor]:
        """Evaluates the objective on a batch, and returns the means of the logs so far, in nats."""
        x, label, target, weight = unpacked_batch(self, data)
        with self.guard.step(_batch(x, label, target, weight)):
            # Keyed by the number of examples seen, so evaluating twice gives the same figures and
            # validation leaves the noise of the training alone.
            seen = tf.cast(self._trackers["loss"].count, tf.int32)
            seed = self._step_seed(random.fold_in(self.seed, seen))
            model = self.conditioned_on(label)
            terms = self.objective.terms(model, x, target, training=False, seed=seed)
            terms["loss"] = self._with_regularizers(terms["loss"])
            return self._track(terms, weight)

    def predict_step(self, data) -> tf.Tensor:
        """Returns the mean reconstructions of a batch, `[batch, *event]`."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        x, label, _ = split_label_and_target(self, x, y)
        label = checked_label(self, label)
        with self.guard.step({"x": x, "label": label}, support=False):
            return self(x if label is None else (x, label), training=False)

    def _step_seed(self, seed):
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            seed = random.fold_in(seed, context.replica_id_in_sync_group)
        return seed

    def _with_regularizers(self, loss):
        return loss + tf.add_n(self.losses) if self.losses else loss

    def _track(self, terms, weight):
        for name, tracker in self._trackers.items():
            tracker.update_state(terms[name], sample_weight=weight)
        logs = {name: tracker.result() for name, tracker in self._trackers.items()}
        logs = {**logs, **self.report()}
        if distributed.is_multi_worker(tf.distribute.get_strategy()):
            # Keras averages the logs of several workers over their first axis.
            logs = {name: tf.reshape(tf.cast(v, tf.float32), [1]) for name, v in logs.items()}
        return logs

    def report(self) -> dict:
        """Returns what the parts report for the logs, by name, e.g. the `beta` of a schedule."""
        return {name: value for part in self.parts for name, value in part.report().items()}

    @property
    def metrics(self):
        return list(self._trackers.values())

    def get_metrics_result(self):
        # Where the names are those of the logs, Keras takes these: they are of all replicas.
        return {**super().get_metrics_result(), **self.report()}

    @property
    def metric_trackers(self) -> dict:
        """The `keras.metrics.Mean` of each quantity that is reported, by name."""
        return self._trackers

    def make_train_function(self, force=False):
        forks.check()
        if self._blocks.present is None:
            self.prepare_optimizer()
            if self.train_function is None or force:
                super().make_train_function(force=force)
                self.train_function = self.guard.watched(self.train_function)
            return self.train_function
        # Keras has made its iterator over an epoch: evaluation has a number of its own.
        self.steps_per_execution = self.steps_chosen or 1
        self.train_function = self._blocks.present
        return self.train_function

    def make_test_function(self, force=False):
        forks.check()
        if self.test_function is None or force:
            super().make_test_function(force=force)
            self.test_function = self.guard.watched(self.test_function)
        return self.test_function

    def make_predict_function(self, force=False):
        forks.check()
        if self.predict_function is None or force:
            super().make_predict_function(force=force)
            self.predict_function = self.guard.watched(self.predict_function)
        return self.predict_function

    def forget_training_functions(self) -> None:
        """Drops the graphs of training, so that the next step is traced anew."""
        self.train_function = None
        self._last_calls = {}  # Training functions by their number of steps.
        self._blocks = Cache()


def _batch(x, label, target, weight) -> dict:
    """Returns the batch for `Guard.step`; a target that is x itself is checked once."""
    y = None if target is x else target
    return {"x": x, "y": y, "label": label, "weight": weight}


def _mean_of_the_step(size, weight):
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
