"""The method `fit`: it checks, plans the steps, and calls Keras's own `fit`."""

import keras
import numpy as np
import tensorflow as tf

from kvae.callbacks import Checkpoint, FiniteLoss
from kvae.conditions.conditions import learn_conditions
from kvae.datasets.base_stream import Stream
from kvae.datasets.dataset import Dataset
from kvae.fills.mean import learn_fill
from kvae.likelihoods.scale import learn_scale
from kvae.models.fit import checks
from kvae.models.fit.data import (
    batches_of,
    prepared_data,
    prepared_validation,
    split_for_validation,
    steps_of,
)
from kvae.models.fit.last_steps import LastSteps
from kvae.models.fit.plan import plan_steps
from kvae.models.fit.skips import SkippedSteps
from kvae.models.labels import with_mask
from kvae.utils import arguments, forks, keras_internals

__all__ = ["Fit"]


class Fit:
    """The method of `kvae.VAE` that trains on data."""

    @checks.one_at_a_time
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
        mask=None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains the model as `keras.Model.fit` does, with checks and an order that repeats.

        Arrays are checked before the training begins, and data that come in batches are checked in
        each step: a batch with values that the likelihood does not take changes nothing, and ends
        the training.

        Arrays are shuffled by the model's seed and the number of the epoch (Keras's own shuffle
        repeats one order after `keras.utils.set_random_seed`). `keras.callbacks.BackupAndRestore`
        goes on with the order, the noise and the optimizer that a training had;
        `kvae.callbacks.Checkpoint` also survives a kill while it writes.

        While β or a capacity follows a schedule, losses of different epochs do not compare: give
        `EarlyStopping`, `ReduceLROnPlateau` and checkpoints `monitor="val_elbo", mode="max"`.

        A call into the runtime has many steps where this gives the same bits on every run: in long
        trainings of dense networks, under XLA, and in all trainings with convolutions. Then
        `on_train_batch_end` is called once for each call. A call has one step where a callback of
        your own is called at every step, and ends at the steps of `ModelCheckpoint(save_freq=n)`.
        TensorBoard, MLflow and Weights & Biases that log by the epoch leave the steps together.
        With a `train_step` of a subclass's own, a distribution strategy and `run_eagerly` Keras
        runs the steps. Except with `verbose=0` the reason is printed. With
        `compile(steps_per_execution=n)` a call has n steps, and the last one of an epoch those that
        are left.

        Args:
            x: array `[n, *event]`, `kvae.datasets.Dataset` or `Stream` (which is read while the
                model trains), `tf.data.Dataset` or generator. For a conditional model it is
                `(x, labels)`, a `Dataset` or `Stream` with labels, or batches `((x, label),)` or
                `((x, label), target)`.
            y: array of the shape of `x`, which is to be reconstructed. Defaults to `None`: `x`.
            batch_size: int. Defaults to `128`; not for `tf.data` and generators.
            epochs: int. The epoch to end with. Defaults to `1`.
            verbose: as in `keras.Model.fit`. Defaults to `"auto"`.
            callbacks: list of `keras.callbacks.Callback`.
            validation_split: float. The share of the last rows of arrays that is validated on.
                Defaults to `0.0`.
            validation_data: like `x`, or a tuple `(x, y)` or `(x, y, sample_weight)` (conditional:
                `((x, labels), y)`), where `y` may be `None`.
            shuffle: bool. Whether arrays and a `Dataset` are shuffled. Defaults to `True`.
            class_weight: has to be `None`.
            sample_weight: array `[n]`. The weights of the examples, for arrays and a `Dataset`.
                Batches have weights of their own, `(x, y, sample_weight)`.
            initial_epoch: int. The epoch to begin with. Defaults to `0`.
            steps_per_epoch: int. The number of steps in an epoch, as in `keras.Model.fit`. Defaults
                to `None`: all batches of the data.
            mask: bool array of the shape of x, True where its values were observed, of a model with
                `missing`; batches and validation data have it as `{"x": x, "mask": mask}`, and NaN
                in x says the same. Defaults to `None`.
            **kwargs: further arguments of `keras.Model.fit`.

        Returns:
            `keras.callbacks.History` with `loss`, `elbo`, `reconstruction` and `kl`, in nats.

        Raises:
            ValueError: for a wrong shape, NaN, values outside the likelihood's support, and wrong
                labels or weights, in any batch.
            FloatingPointError: after an epoch whose loss is not finite.
            RuntimeError: while another thread trains the model.

        Example:

        ```python
        train, validation = (kvae.datasets.load("digits", name) for name in ("train", "validation"))
        vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2)
        vae.compile("adam")
        history = vae.fit(train, validation_data=validation, epochs=2, verbose=0).history
        history["val_elbo"]     # nats per image, a value for each epoch
        ```
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
        checks.refuse_class_weight(class_weight)
        x = with_mask(x, mask)
        if validation_split and validation_data is None:
            x, y, sample_weight, validation_data = split_for_validation(
                self, x, y, sample_weight, validation_split
            )
        x, y, sample_weight = prepared_data(
            self, x, y, sample_weight, in_memory=steps_per_epoch is None
        )
        if self.schema is None and isinstance(x, Dataset) and x.schema and x.schema.columns:
            self.schema = x.schema  # That of a table, whose numbers mean little without it.
        checks.refuse_unobserved(self, x)
        checks.warn_of_no_labels(self, x)
        learn_scale(self.likelihood, x)
        learn_fill(self, x)
        learn_conditions(self, x)
        self.forget_measured()
        self.prepare_optimizer()
        # Keras makes a list of its own kind anew, which knows what each callback overrides.
        given = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or [])
        initial_epoch = keras_internals.first_epoch(self, given, initial_epoch)
        checks.check_packages(given)
        checks.warn_of_backups(given, x)
        steps = steps_per_epoch
        if steps is None:
            steps = steps_of(self, x, batch_size or 128)
        checks.warn_of_monitors(self, given, steps and steps * (epochs - initial_epoch))
        plan = plan_steps(self, x, batch_size or 128, epochs, steps_per_epoch, given)
        if plan.reason and verbose:
            print(
                f"{self.name}: one step in each call, which takes longer, because {plan.reason}. "
                "compile(steps_per_execution=n) makes it n steps, with one call of the callbacks."
            )
        if validation_data is not None:
            size = kwargs.pop("validation_batch_size", None)
            size = arguments.whole_or_none("validation_batch_size", size) or 128
            validation_data = prepared_validation(self, validation_data, size)
            kwargs["validation_batch_size"] = size
        if self.reproducible:
            checks.warn_of_unseeded_weights(self)
            tf.config.experimental.enable_op_determinism()
        last, before = None, self.train_function
        if plan.steps:
            self.steps_per_execution = plan.steps
        if isinstance(x, Dataset) and plan.steps:
            x = self._blocks.begin(self, x, batch_size or 128, plan, initial_epoch, shuffle)
            batch_size, steps_per_epoch, shuffle = None, steps, False
        elif isinstance(x, (Dataset, Stream)):
            order = {"shuffle": shuffle, "first_epoch": initial_epoch, "repeat": True}
            x = batches_of(self, x, batch_size or 128, **order)
            batch_size, steps_per_epoch, shuffle = None, steps, False
            last = None if plan.steps else self._last_steps(steps)
        elif isinstance(x, (np.ndarray, tuple)):
            batch_size = batch_size or 128
        elif not isinstance(x, keras.utils.PyDataset):
            shuffle = False  # Such data comes in an order of its own, and Keras would warn.
            known = isinstance(x, tf.data.Dataset) and steps_of(self, x, 0)
            if plan.steps and known and known == steps:
                # To end an iterator after each epoch may take as long as the epoch did.
                x, steps_per_epoch = x.repeat(), steps
        if plan.steps and self._blocks.present is None:
            self._blocks.begin_batches(self, plan, steps_per_epoch)
        own = [FiniteLoss(), *([] if self.skips is None else [SkippedSteps(self.skips)])]
        callbacks = [*own, *given, *([] if last is None else [last])]
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

    def _last_steps(self, steps: int) -> LastSteps | None:
        """Returns the callback that cuts the last call of an epoch short, if one is needed."""
        left = steps % self.steps_per_execution
        return LastSteps(steps, left, self._last_calls) if left else None
