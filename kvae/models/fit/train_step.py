"""The steps of `fit`, `evaluate` and `predict`: what happens to one batch."""

import keras
import tensorflow as tf

from kvae import distributed, random
from kvae.models.fit import fused_adam
from kvae.models.fit.cache import Cache
from kvae.models.fit.data import unpacked_batch
from kvae.models.fit.hooks import Hooks, mean_of_the_step
from kvae.models.labels import checked_label, split_label_and_target
from kvae.utils import forks, gradients, keras_internals

__all__ = ["TrainStep"]


class TrainStep(Hooks):
    """The methods of `kvae.VAE` that take a step: the loss, its gradient, the update, the logs."""

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """Takes one step of the optimizer, and returns the means of the logs so far, in nats.

        A subclass may override it: `super().train_step(data)` is the whole step, and `optimize` is
        the step without the logs. See `compute_loss` for a loss of your own and for an example.

        Args:
            data: a batch, see `optimize`.
        """
        terms, weight = self.optimize(data)
        return self._track(terms, weight, data, training=True)

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
            mean = mean_of_the_step(tf.shape(x)[0], weight)
            before = [] if self.skips is None else self.skips.kept(self)
            with tf.GradientTape() as tape:
                batch = x, label, target, weight
                terms = self.terms_of_the_step(*batch, training=True, seed=seed)
                scaled = self.optimizer.scale_loss(mean(terms["loss"]))
            variables = self.trainable_variables
            # Blocks of steps and XLA fuse the update by themselves. A strategy has neither.
            fused = self.optimizer if tf.distribute.has_strategy() else None
            found = tape.gradient(scaled, variables)

            def step():
                with fused_adam.adam(fused):
                    gradients.apply(self.optimizer, found, variables)
                self.objective.update(self.conditioned_on(label), x, target, terms, seed=seed)

            if self.skips is None:
                step()
            else:
                self.skips.step_or_not(self, found, step, before)
        return terms, weight

    def batch_fits(self, data) -> tf.Tensor:
        """Checks a batch as a step does before it begins; returns a bool scalar."""
        return self.guard.fits(_batch(*unpacked_batch(self, data)))

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
            terms = self.terms_of_the_step(x, label, target, weight, training=False, seed=seed)
            return self._track(terms, weight, data, training=False)

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

    def _track(self, terms, weight, data, training: bool):
        for name, tracker in self._trackers.items():
            tracker.update_state(terms[name], sample_weight=self.metric_weight(name, terms, weight))
        logs = {**self.results(), **self.report(), **self.own_metrics(data, training)}
        if distributed.is_multi_worker(tf.distribute.get_strategy()):
            return self._worker_logs.joined(logs)
        return logs

    def metric_weight(self, name: str, terms: dict, weight):
        """Returns by what the examples count in the mean of a metric, `[batch]`; `None`: alike."""
        counted = self.objective.counted(name, terms)
        return weight if counted is None else counted if weight is None else counted * weight

    def report(self) -> dict:
        """Returns what the parts report for the logs, by name, e.g. the `beta` of a schedule."""
        skipped = {} if self.skips is None else self.skips.report()
        of_parts = (part.report() for part in self.parts)
        return {**skipped, **{name: value for each in of_parts for name, value in each.items()}}

    @property
    def metrics(self):
        # Those that a subclass or a layer has made follow, but for names that are the objective's.
        others = keras_internals.metrics_of_layers(self)
        others = [metric for metric in others if metric.name not in self._trackers]
        return [*self._trackers.values(), *others]

    def reset_metrics(self) -> None:
        """Sets all metrics back, those that a subclass leaves out of its `metrics` as well."""
        super().reset_metrics()
        for metric in keras_internals.metrics_of_layers(self):
            metric.reset_state()

    def results(self) -> dict:
        """Returns the present results of all metrics, by name."""
        found = {}
        for metric in self.metrics:
            result = metric.result()
            found.update(result if isinstance(result, dict) else {metric.name: result})
        return found

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
                self.train_function = self._whole("train_step", self.train_function)
            return self.train_function
        # Keras has made its iterator over an epoch: evaluation has a number of its own.
        self.steps_per_execution = self.steps_chosen or 1
        self.train_function = self._blocks.present
        return self.train_function

    def make_test_function(self, force=False):
        forks.check()
        if self.test_function is None or force:
            super().make_test_function(force=force)
            self.test_function = self._whole("test_step", self.test_function)
        return self.test_function

    def _whole(self, step: str, function):
        """Returns a function of Keras's that raises what was found, and whose logs are whole."""
        function = self.guard.watched(function)
        if not distributed.is_multi_worker(self.distribute_strategy) or self.overrides(step):
            return function
        return self._worker_logs.split(function)

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
