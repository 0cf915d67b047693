"""Training and testing a model."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kvae import distributed, random
from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.finite_loss import FiniteLoss
from kvae.datasets.dataset import Dataset
from kvae.datasets.stream import Stream
from kvae.likelihoods.scale import learn_scale
from kvae.models.fit import blocks, checks, precision
from kvae.models.fit.last_steps import LastSteps
from kvae.models.inputs import is_concrete
from kvae.utils import arguments, forks, gradients, keras_internals

__all__ = ["Training"]


class Training(keras_internals.KerasHooks):
    """The part of `kvae.VAE` that Keras trains, tests and predicts with."""

    def compile(
        self,
        optimizer="adam",
        reproducible: bool = False,
        *,
        jit_compile="auto",
        steps_per_execution="auto",
        **kwargs,
    ):
        """Configures training: an optimizer, and Keras's further arguments.

        Args:
            optimizer: str or `keras.optimizers.Optimizer`. Defaults to `"adam"`.
            reproducible: bool. Whether a training has to give the same bits on every run on the
                same machine and versions, from the same initial weights: `zoo.build` makes those of
                its `seed`, and networks of your own are made in a block of
                `kvae.random.initial_weights` (`fit` warns where they were not). `fit` then turns on
                TensorFlow's deterministic operations, for the rest of the process (an operation
                that has no such form is an error, and so is a random one of the program's own
                without a seed), and takes several steps in each call under XLA alone. Defaults to
                `False`: as fast as it goes, and equal from run to run up to rounding.
            jit_compile: bool or `"auto"`. Whether XLA compiles the steps. Defaults to `"auto"`:
                `fit` decides (see there), and otherwise as Keras does.
            steps_per_execution: int or `"auto"`. Steps in each call into the runtime, between which
                no callback is called. Defaults to `"auto"`: `fit` decides, and otherwise 1.
            **kwargs: those of Keras.

        Raises:
            ValueError: when a loss or metrics are given, which the objective defines, for several
                steps in each call that would not repeat bit for bit, and for weights in float16.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"compile() takes no `{name}`: a VAE's loss follows from its likelihood and "
                    "objective, e.g. VAE(..., likelihood='bernoulli', objective=ELBO(beta=2.0))."
                )
        several = steps_per_execution not in (1, "auto")
        if reproducible and several and jit_compile is not True:
            raise ValueError(
                "Several steps in each call drift from run to run without XLA: with "
                "reproducible=True leave out `steps_per_execution`, or give jit_compile=True."
            )
        precision.check_weights(self)
        if kwargs.get("auto_scale_loss", True):
            optimizer = precision.scaled(self, optimizer)
        self.reproducible = reproducible
        self.steps_chosen = None if steps_per_execution == "auto" else int(steps_per_execution)
        self.jit_chosen = jit_compile != "auto"
        super().compile(
            optimizer=optimizer,
            jit_compile=jit_compile,
            steps_per_execution=self.steps_chosen or 1,
            **kwargs,
        )
        self._functions.clear()
        self.forget_training_functions()
        self._prepared_for = None
        if self.trainable_variables:
            self.prepare_optimizer()

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.steps_chosen is None:
            config["steps_per_execution"] = "auto"
        if config and not self.jit_chosen:
            config["jit_compile"] = "auto"
        return {**config, "reproducible": True} if config and self.reproducible else config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def report(self) -> dict:
        """Returns what the parts report for the logs, by name, e.g. the `beta` of a schedule."""
        return {name: value for part in self._parts() for name, value in part.report().items()}

    def forget_training_functions(self) -> None:
        """Lets go of the graphs of training, so that the next step is traced anew."""
        self.train_function = None
        self._last_calls = {}  # Training functions by their number of steps.
        self._blocks = blocks.Cache()

    @property
    def metrics(self):
        return list(self._trackers.values())

    def get_metrics_result(self):
        # With the names of the logs Keras takes these, which are those of all replicas together.
        return {**super().get_metrics_result(), **self.report()}

    @property
    def metric_trackers(self) -> dict:
        """The `keras.metrics.Mean` of each quantity that is reported, by name."""
        return self._trackers

    def train_step(self, data):
        return self._track(*self.optimize(data))

    def optimize(self, data):
        """Takes one step of the optimizer on a batch.

        Returns:
            The objective's terms, each `[batch]`, and the weights `[batch]` or `None`.
        """
        x, label, target, weight = self._unpack(data)
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
        """All variables that a step of the optimizer changes."""
        own = self.objective.optimizer_variables()
        return [*self.variables, *self.optimizer.variables, *own]

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

    def test_step(self, data):
        x, label, target, weight = self._unpack(data)
        with self.guard.step(_batch(x, label, target, weight)):
            # Keyed by the number of examples seen, so evaluating twice gives the same figures and
            # validation leaves the noise of the training alone.
            seen = tf.cast(self._trackers["loss"].count, tf.int32)
            seed = self._step_seed(random.fold_in(self.seed, seen))
            model = self.conditioned_on(label)
            terms = self.objective.terms(model, x, target, training=False, seed=seed)
            terms["loss"] = self._with_regularizers(terms["loss"])
            return self._track(terms, weight)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains the model; `keras.Model.fit` with checks and an order that repeats.

        Args:
            x: array `[n, *event]`, `kvae.datasets.Dataset` or `Stream` (read while it trains),
                `tf.data.Dataset` or generator; of a conditional model `(x, labels)`, a `Dataset`
                or `Stream` with labels, or batches `((x, label),)` or `((x, label), target)`.
            y: optional array of the shape of `x`: what to reconstruct (defaults to `x`).
            batch_size: int. Defaults to `128`; not for `tf.data` and generators.
            validation_data: like `x`, or a tuple `(x, y)` or `(x, y, sample_weight)` (conditional:
                `((x, labels), y)`); `y` may be `None`.
            sample_weight: optional array `[n]` of how much each example counts, beside arrays or a
                `Dataset`. Batches have their own, `(x, y, sample_weight)`.

        Arrays are checked before the training begins, and data that come in batches in each step:
        a batch with values that the likelihood does not take changes nothing and ends the training.

        All other arguments are those of Keras. Arrays are shuffled by the model's seed and the
        number of the epoch (`keras.utils.set_random_seed` makes Keras's own shuffle repeat the
        same order every epoch). `keras.callbacks.BackupAndRestore` goes on with the order, the
        noise and the optimizer that a training had; `kvae.callbacks.Checkpoint` also survives a
        kill while it writes.

        While β or a capacity follows a schedule, losses of different epochs do not compare: give
        `EarlyStopping`, `ReduceLROnPlateau` and checkpoints `monitor="val_elbo", mode="max"`.

        A long training on data in memory runs many steps in each call into the runtime, under XLA
        where the networks are dense: `on_train_batch_end` is then called once for each call. A
        callback of your own that is called at every step makes it one step in each call, as do
        `tf.data`, generators, a `train_step` of a subclass's own, a distribution strategy and
        `run_eagerly`; `verbose=1` says so. With `compile(steps_per_execution=n)` it is n, and the
        last call of an epoch runs the steps that are left.

        Returns:
            `keras.callbacks.History` with `loss`, `elbo`, `reconstruction`, `kl`, in nats.

        Raises:
            ValueError: for a wrong shape, NaN, values outside the likelihood's support, and wrong
                labels or weights, in any batch.
            FloatingPointError: after an epoch whose loss is not finite.
        """
        forks.check()
        keras_internals.require_compiled(self, "fit")
        if x is None:
            raise ValueError(
                "`fit` takes an array `x`, a Dataset, a tf.data.Dataset or a generator."
            )
        batch_size = arguments.whole_or_none("batch_size", batch_size)
        epochs = arguments.whole("epochs", epochs, 0)
        initial_epoch = arguments.whole("initial_epoch", initial_epoch, 0)
        steps_per_epoch = arguments.whole_or_none("steps_per_epoch", steps_per_epoch)
        _refuse_class_weight(class_weight)
        if validation_split and validation_data is None:
            x, y, sample_weight, validation_data = self._split(
                x, y, sample_weight, validation_split
            )
        x, y, sample_weight = self._prepare(x, y, sample_weight, in_memory=steps_per_epoch is None)
        learn_scale(self.likelihood, x)
        self.prepare_optimizer()
        # Keras makes a list of its own kind anew, which knows what each callback overrides.
        given = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or [])
        initial_epoch = keras_internals.first_epoch(self, given, initial_epoch)
        checks.check_packages(given)
        checks.warn_of_backups(given, x)
        steps = steps_per_epoch
        if steps is None and isinstance(x, (Dataset, Stream)):
            steps = self._steps(x, batch_size or 128)
        checks.warn_of_monitors(self, given, steps and steps * (epochs - initial_epoch))
        plan = blocks.plan(self, x, batch_size or 128, epochs, steps_per_epoch, given)
        if plan.reason and verbose in (1, "auto"):
            print(
                f"{self.name}: one step in each call, because {plan.reason}. "
                "compile(steps_per_execution=…) sets another number."
            )
        last, before = None, self.train_function
        if isinstance(x, (Dataset, Stream)):
            batch_size = batch_size or 128
            steps_per_epoch = steps_per_epoch or self._steps(x, batch_size)
            if plan.steps > 1:
                x = self._blocks.begin(self, x, batch_size, plan, initial_epoch, shuffle)
                self.steps_per_execution = plan.steps
            else:
                x = self._batches(
                    x, batch_size, shuffle=shuffle, first_epoch=initial_epoch, repeat=True
                )
                last = self._last_steps(steps_per_epoch)
            batch_size, y, shuffle = None, None, False
        elif isinstance(x, (np.ndarray, tuple)):
            batch_size = batch_size or 128
        elif not isinstance(x, keras.utils.PyDataset):
            shuffle = False  # Such data comes in an order of its own, and Keras would warn.
        if validation_data is not None:
            size = kwargs.pop("validation_batch_size", None)
            size = arguments.whole_or_none("validation_batch_size", size) or 128
            validation_data = self._prepare_validation(validation_data, size)
            kwargs["validation_batch_size"] = size
        if self.reproducible:
            checks.warn_of_unseeded_weights(self)
            tf.config.experimental.enable_op_determinism()
        callbacks = [FiniteLoss(), *given, *([] if last is None else [last])]
        try:
            return super().fit(
                x=x,
                y=y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=shuffle,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                **kwargs,
            )
        finally:
            if last is not None:
                last.restore()
            if self._blocks.present is not None:
                self._blocks.end()
                self.train_function = before
                self.steps_per_execution = self.steps_chosen or 1
            for callback in given:
                if isinstance(callback, Checkpoint):
                    callback.release()

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Returns the objective's quantities on `x`, in nats; the arguments are Keras's.

        The same data, batch size and seed give the same figures.
        """
        forks.check()
        keras_internals.require_compiled(self, "evaluate")
        if kwargs.get(keras_internals.VALIDATION_IN_FIT):  # `fit` has checked the data.
            return super().evaluate(x=x, y=y, batch_size=batch_size, **kwargs)
        batch_size = arguments.whole_or_none("batch_size", batch_size)
        x, y, _ = self._prepare(x, y, kwargs.pop("sample_weight", None))
        if isinstance(x, (Dataset, Stream)):
            x, y, batch_size = self._batches(x, batch_size or 128), None, None
        return super().evaluate(x=x, y=y, batch_size=batch_size, **kwargs)

    def predict(self, x, batch_size=None, **kwargs):
        """Returns the mean reconstruction `[n, *event]` as an array; the arguments are Keras's.

        `x` is what `fit` takes; for a conditional model it has labels.
        """
        forks.check()
        batch_size = arguments.whole_or_none("batch_size", batch_size)
        x, label = self._pair(x)
        if isinstance(x, Dataset):
            x, label = x.examples, self._dataset_labels(x)
        elif isinstance(x, Stream):
            x, batch_size = self._batches(x, batch_size or 128), None
        elif isinstance(x, Iterator):
            x = self._as_tuples(x)
        if is_concrete(x):
            x = self._check_events(np.asarray(x), "x", support=False)
            label = self._labels(label, len(x))
        x = x if label is None else (x, label.numpy())
        return super().predict(x, batch_size=batch_size, **kwargs)

    def predict_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        x, label, _ = self._pair_and_target(x, y)
        label = self._labels(label)
        with self.guard.step({"x": x, "label": label}, support=False):
            return self(x if label is None else (x, label), training=False)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """Takes one step on a batch; the arguments are Keras's, x and y those of `fit`."""
        learn_scale(self.likelihood, None)  # A batch is not the data, of which it takes statistics.
        _refuse_class_weight(class_weight)
        batch = self._prepare_batch(x, y, sample_weight)
        return super().train_on_batch(*batch, return_dict=return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Evaluates one batch; the arguments are Keras's, x and y those of `evaluate`."""
        batch = self._prepare_batch(x, y, sample_weight)
        return super().test_on_batch(*batch, return_dict=return_dict)

    def predict_on_batch(self, x):
        """Returns the mean reconstruction of one batch; x is that of `predict`."""
        x, label = self._events(*self._pair(x))
        return super().predict_on_batch(x if label is None else (x, label))

    def _last_steps(self, steps: int) -> LastSteps | None:
        """What cuts the last call of each epoch short, where `steps` are no whole calls."""
        left = steps % self.steps_per_execution
        return LastSteps(steps, left, self._last_calls) if left else None

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


def _refuse_class_weight(class_weight) -> None:
    if class_weight is not None:
        raise ValueError("A VAE has no classes: use `sample_weight` to weight examples.")


def _batch(x, label, target, weight) -> dict:
    """Returns the batch for `Guard.step`; a target that is x itself is checked once."""
    y = None if target is x else target
    return {"x": x, "y": y, "label": label, "weight": weight}


def _mean_of_the_step(size, weight):
    """A function of values `[size]`: their weighted mean over the examples of a step.

    On one of several replicas it is the replica's part of that mean, because the optimizer adds the
    gradients up. Replicas may have different numbers of examples, and none.
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
