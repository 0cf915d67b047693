"""The methods `evaluate` and `predict`, and those that take one batch."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kvae.conditions.conditions import learn_conditions
from kvae.datasets.base_stream import Stream
from kvae.datasets.dataset import Dataset
from kvae.fills.mean import learn_fill
from kvae.likelihoods.scale import learn_scale
from kvae.models.fit import checks
from kvae.models.fit.data import batches_as_tuples, batches_of, prepared_batch, prepared_data
from kvae.models.inputs import checked_events, dataset_labels, event_tensors, is_concrete
from kvae.models.labels import checked_label, split_label, with_mask
from kvae.utils import arguments, forks, keras_internals

__all__ = ["Evaluate"]


class Evaluate:
    """The methods of `kvae.VAE` that test and predict on data, and train on one batch."""

    def evaluate(self, x=None, y=None, batch_size=None, mask=None, **kwargs):
        """Evaluates the objective on data, as `keras.Model.evaluate` does.

        The same data, batch size and seed of the model give the same figures.

        Args:
            x, y: data of any kind that `fit` takes.
            batch_size: int. Defaults to `128`; not for `tf.data` and generators.
            mask: as for `fit`.
            **kwargs: further arguments of `keras.Model.evaluate`, e.g. `return_dict=True`.

        Returns:
            The figures in nats, averaged over the examples: a list, or a dict by name with
            `return_dict=True`.

        Raises:
            ValueError: for a model that is not compiled, and for what `fit` refuses.
        """
        forks.check()
        keras_internals.require_compiled(self, "evaluate")
        if kwargs.get(keras_internals.VALIDATION_IN_FIT):  # `fit` has checked the data.
            return super().evaluate(x=x, y=y, batch_size=batch_size, **kwargs)
        batch_size = arguments.whole_or_none("batch_size", batch_size)
        x = with_mask(x, mask)
        x, y, _ = prepared_data(self, x, y, kwargs.pop("sample_weight", None))
        if isinstance(x, (Dataset, Stream)):
            x, y, batch_size = batches_of(self, x, batch_size or 128), None, None
        return super().evaluate(x=x, y=y, batch_size=batch_size, **kwargs)

    def predict(self, x, batch_size=None, **kwargs) -> np.ndarray:
        """Returns the mean reconstructions of data, as `keras.Model.predict` does.

        Args:
            x: data of any kind that `fit` takes; for a conditional model with labels.
            batch_size: int. Defaults to Keras's; not for `tf.data` and generators.
            **kwargs: further arguments of `keras.Model.predict`.

        Returns:
            Array `[n, *event]`, on the scale of the data.

        Raises:
            ValueError: for a wrong shape, NaN, and a missing, wrong or superfluous label.
        """
        forks.check()
        batch_size = arguments.whole_or_none("batch_size", batch_size)
        x, label = split_label(self, x)
        if isinstance(x, Dataset):
            x, label = x.examples, dataset_labels(self, x)
        elif isinstance(x, Stream):
            x, batch_size = batches_of(self, x, batch_size or 128), None
        elif isinstance(x, Iterator):
            x = batches_as_tuples(self, x)
        if is_concrete(x):
            x = checked_events(self, np.asarray(x), "x", support=False)
            label = checked_label(self, label, len(x))
            present = tf.distribute.get_strategy()
            alone = self.distribute_strategy is present and not tf.distribute.has_strategy()
            if alone and kwargs.get("steps") is None:
                kwargs.pop("steps", None)
                found = _predict_arrays(self, x, label, batch_size, **kwargs)
                return self.by_modality(found)
        x = x if label is None else (x, label.numpy())
        return self.by_modality(super().predict(x, batch_size=batch_size, **kwargs))

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """Takes one step of the optimizer on a batch, as `keras.Model.train_on_batch` does.

        Args:
            x, y, sample_weight: arrays, as for `fit`.
            class_weight: has to be `None`.
            return_dict: bool. Whether a dict is returned. Defaults to `False`.

        Returns:
            The means of the logs in nats since the metrics were reset, a list or a dict by name.

        Raises:
            ValueError: for what `fit` refuses, and for data in batches.
        """
        learn_scale(self.likelihood, None)  # A batch is not the data, of which it takes statistics.
        learn_fill(self, None)
        learn_conditions(self, None)
        self.forget_measured()
        checks.refuse_class_weight(class_weight)
        batch = prepared_batch(self, x, y, sample_weight)
        return super().train_on_batch(*batch, return_dict=return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Evaluates the objective on one batch, as `keras.Model.test_on_batch` does.

        Arguments, results and errors are those of `train_on_batch`.
        """
        batch = prepared_batch(self, x, y, sample_weight)
        return super().test_on_batch(*batch, return_dict=return_dict)

    def predict_on_batch(self, x) -> np.ndarray:
        """Returns the mean reconstructions `[n, *event]` of one batch.

        Args:
            x: array `[n, *event]`, or a pair `(x, label)` for a conditional model.

        Raises:
            ValueError: for what `predict` refuses, and for data in batches.
        """
        x, label = event_tensors(self, *split_label(self, x))
        return self.by_modality(super().predict_on_batch(x if label is None else (x, label)))


def _predict_arrays(model, x, label, batch_size, verbose="auto", callbacks=None):
    """Does what `keras.Model.predict` does, without a `tf.data` pipeline.

    To make one takes a tenth of a second at each call.
    """
    batch_size = batch_size or 32
    starts = range(0, len(x), batch_size)
    if not isinstance(callbacks, keras.callbacks.CallbackList) and (callbacks or verbose != 0):
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=1,
            steps=len(starts),
            model=model,
        )
    predict = _predicting(model)
    model.stop_predicting = False
    if callbacks:
        callbacks.on_predict_begin()
    outputs, at_once = [], model.steps_per_execution
    for first in range(0, len(starts), at_once):
        if callbacks:
            callbacks.on_predict_batch_begin(first)
        batches = []
        for start in starts[first : first + at_once]:
            rows = slice(start, start + batch_size)
            batch = tf.constant(x[rows])
            batches.append((batch if label is None else (batch, label[rows]),))
        outputs.append(predict(batches))
        if callbacks:
            callbacks.on_predict_batch_end(first + len(batches) - 1, {"outputs": outputs[-1]})
        if model.stop_predicting:
            break
    if callbacks:
        callbacks.on_predict_end()
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)


def _predicting(model):
    """Returns the function from the batches of a call to their predictions.

    Keras's own looks its arguments up among its graphs, which takes longer than a small model, and
    checks their values, which `predict` has checked.
    """
    changed = map(model.overrides, ("call", "predict_step", "make_predict_function"))
    if any(changed) or model.steps_per_execution > 1 or model.jit_compile:
        model.make_predict_function()
        return model.predict_function

    def predicted(x, label):
        return model(x if label is None else (x, label), training=False)

    def of_one(batches):
        x, label = batches[0][0] if isinstance(batches[0][0], tuple) else (batches[0][0], None)
        return model.run_compiled("predict", predicted, (x, label)).numpy()

    return of_one
