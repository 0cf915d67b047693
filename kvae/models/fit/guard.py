"""Checks of batches inside the step, before anything is learnt from them."""

import contextlib
import itertools
import weakref

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from kvae.models.inputs import check_values
from kvae.models.labels import label_fits, label_spec

__all__ = ["Guard"]

_NAMES = ("x", "y", "label", "weight")
_guards: "weakref.WeakValueDictionary[int, Guard]" = weakref.WeakValueDictionary()
_numbers = itertools.count()


class Guard:
    """Checks the batches of a model inside the graphs of its steps.

    Most data give no batch before it is needed: `tf.data`, generators, `PyDataset`, streams. So
    `step` puts a cheap test in front of what a step does. Only where that fails is Python called
    with the batch, to raise the error that an array of these values gets. Nothing else of the step
    has run then: weights, optimizer and metrics are as they were.

    A program that XLA has compiled cannot stop. There values that do not fit are kept, what their
    step and all later ones do to the weights and the optimizer is taken back, and the function that
    `watched` returns raises the error when the call is over.

    Args:
        vae: `kvae.VAE`.
    """

    def __init__(self, vae):
        self._vae = vae
        self._number = next(_numbers)
        _guards[self._number] = self
        self._on = True
        self._error = None
        self._kept: dict = {}

    @contextlib.contextmanager
    def off(self):
        """Within the block nothing is checked, because the data have been checked as a whole."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    @contextlib.contextmanager
    def step(self, batch: dict, support: bool = True, state=None):
        """Lets the operations of the block run only if the batch fits.

        Args:
            batch: dict of tensors `x` `[n, *event]`, `y` `[n, *event]`, `label` `[n]` and `weight`
                `[n]`, of which all but `x` may be `None`.
            support: bool. Whether what is to be reconstructed has to lie in the likelihood's
                support. Defaults to `True`; otherwise it only has to be finite.
            state: optional callable that returns the list of `keras.Variable` that the block
                changes and that are to stay as they are, should the batch not fit.

        Raises:
            ValueError: when it runs eagerly, for a batch that does not fit.
        """
        batch = {name: value for name, value in batch.items() if value is not None}
        if not self._on or (_in_xla() and not self._kept):
            yield
        elif _in_xla():
            self._keep(batch, support)
            with self._undone([] if state is None else state()):
                yield
        else:
            with tf.control_dependencies([self._test(batch, support)]):
                yield

    def _test(self, batch: dict, support: bool):
        """Returns what has to be computed before the step may run; raises when it runs eagerly."""
        context = tf.distribute.get_replica_context()
        alone = context is None or context.num_replicas_in_sync == 1
        fits = self._all_fit(batch, support, alone)
        if not alone:  # All replicas stop, or none: they would wait for each other.
            wrong = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~fits, tf.float32))
            fits = wrong < 0.5

        if tf.executing_eagerly():
            if not fits:
                self.refuse({name: value.numpy() for name, value in batch.items()}, support)
            return fits

        def refuse():
            present = [name in batch for name in _NAMES]
            # Double precision holds values that are too large for float32.
            values = [tf.cast(batch.get(name, []), tf.float64) for name in _NAMES]
            return _refuse_in_graph(self._number, support, present, *values)

        return tf.cond(fits, lambda: tf.constant(True), refuse)

    def fits(self, batch: dict) -> tf.Tensor:
        """Returns a bool scalar, whether a batch fits; the argument is that of `step`."""
        present = {name: value for name, value in batch.items() if value is not None}
        return self._all_fit(present, True, True)

    def _all_fit(self, batch: dict, support: bool, alone: bool) -> tf.Tensor:
        # Data come from the host: a test there need not wait for an accelerator.
        with tf.device("CPU:0") if alone else contextlib.nullcontext():
            tests = map(tf.reduce_all, self._tests(batch, support, by_ends=alone).values())
            return tf.reduce_all(tf.stack([*tests, *_lengths(batch)]))

    def watched(self, function):
        """Returns a function of Keras's that raises what was found in the batches of its call."""
        self._make_room()

        def run(*arguments):
            self._error = None
            try:
                results = function(*arguments)
            except tf.errors.OpError:
                if self._error is None:
                    raise
                error, self._error = self._error, None
                raise error from None
            self._raise_kept()
            return results

        return run

    def _tests(self, batch: dict, support: bool, by_ends: bool = False) -> dict:
        """Returns bool tensors by name, all true where the values of the batch fit.

        With `by_ends` intervals are tested at the least and the largest value alone, which is half
        the work. It needs a minimum and a maximum of NaN to be NaN, as they are on a CPU without
        XLA.
        """
        likelihood = self._vae.likelihood
        if self._vae.missing is not None:
            filled = {name: likelihood.filled(batch[name]) for name in ("x", "y") if name in batch}
            batch = {**batch, **filled}
        tests = {
            "x": (lambda x: tf.math.is_finite(tf.cast(x, tf.float32)), True),
            "label": (lambda label: label_fits(self._vae, label), False),
            "weight": (lambda weight: (weight >= 0) & tf.math.is_finite(weight), False),
        }
        if support:
            of_support = likelihood.element_in_support, likelihood.takes_an_interval
            tests["y" if "y" in batch else "x"] = of_support
        results = {}
        for name, values in batch.items():
            test, interval = tests[name]
            if interval and by_ends:
                ends = tf.stack([tf.reduce_min(values), tf.reduce_max(values)])
                results[name] = test(ends) | tf.equal(tf.size(values), 0)
            else:
                results[name] = test(values)
        return results

    def refuse(self, batch: dict, support: bool):
        """Raises the error that says what is wrong with a batch, and remembers it.

        Args:
            batch: dict of arrays, with the keys that `step` takes.
            support: bool. As in `step`.

        Raises:
            ValueError: always.
        """
        if "label" in batch:
            batch["label"] = batch["label"].astype(label_spec(self._vae).dtype.as_numpy_dtype)
        try:
            check_values(self._vae, **batch, support=support)
            raise ValueError(
                "Another replica was given a batch that does not fit; its own error says why."
            )
        except ValueError as error:
            self._error = error
            raise

    # Under XLA.

    def _make_room(self) -> None:
        """Makes the variables in which values are kept, since steps cannot make variables."""
        vae = self._vae
        if self._kept or not vae.jit_compile or not vae.built:
            return
        if vae.distribute_strategy.num_replicas_in_sync > 1:
            return
        event, label = [1, *vae.event_shape], label_spec(vae, 1)
        first = {
            "x": tf.zeros(event),
            "y": tf.zeros(event),
            "label": tf.zeros(label.shape, label.dtype),
            "weight": tf.zeros([1]),
            "present": tf.zeros([4], tf.bool),
            "support": False,
            "wrong": False,
        }
        self._kept = {
            name: tf.Variable(value, trainable=False, name=f"kept_{name}")
            for name, value in first.items()
        }

    def _keep(self, batch: dict, support: bool) -> None:
        """Keeps one example of values that do not fit, if none is kept yet."""
        tests = self._tests(batch, support)
        before = self._kept["wrong"].read_value()
        wrong = before | ~tf.reduce_all(tf.stack([*map(tf.reduce_all, tests.values())]))
        kept = {name: self._kept[name].read_value() for name in (*batch, "present", "support")}

        def found():
            values = {name: self._worst(name, batch[name], fits) for name, fits in tests.items()}
            values["present"] = tf.constant([name in batch for name in _NAMES])
            return {**values, "support": tf.constant(support)}

        found = tf.cond(wrong & ~before, found, lambda: kept)
        for name, value in {**found, "wrong": wrong}.items():
            self._kept[name].assign(value)

    def _worst(self, name: str, values, fits):
        """Returns one example `[1, ...]`: of each place the largest value that does not fit."""
        values = tf.cast(values, self._kept[name].dtype)
        # NaN may get lost here: -inf, or the smallest integer, does not fit either.
        least = values.dtype.min if name == "label" else -float("inf")
        worst = tf.reduce_max(tf.where(fits, least, values), axis=0, keepdims=True)
        return tf.where(tf.reduce_all(fits, axis=0, keepdims=True), values[:1], worst)

    @contextlib.contextmanager
    def _undone(self, variables: list):
        """Takes back what the block does to the variables, once a batch has not fitted."""
        before = [tf.identity(variable.value) for variable in variables]
        yield
        wrong = self._kept["wrong"].read_value()
        for variable, old in zip(variables, before, strict=True):
            variable.assign(tf.where(wrong, old, variable.value))

    def _raise_kept(self) -> None:
        if not self._kept or not self._kept["wrong"].numpy():
            return
        self._kept["wrong"].assign(False)
        kept = {name: value.numpy() for name, value in self._kept.items()}
        batch = {
            name: kept[name] for name, there in zip(_NAMES, kept["present"], strict=True) if there
        }
        self.refuse(batch, bool(kept["support"]))


@tf.function(
    input_signature=[
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([], tf.bool),
        tf.TensorSpec([len(_NAMES)], tf.bool),
        *[tf.TensorSpec(None, tf.float64)] * len(_NAMES),
    ],
    autograph=False,
)
def _refuse_in_graph(number, support, present, *values):
    """Calls `Guard.refuse` of the guard of this number, from any graph.

    TensorFlow keeps each function that it is to call for the life of the process, with all that the
    function refers to. This one refers to no model and to no graph, and is traced once.
    """

    def refuse(number, support, present, *values):
        batch = {
            name: value for name, there, value in zip(_NAMES, present, values, strict=True) if there
        }
        _guards[int(number)].refuse(batch, bool(support))

    return tf.numpy_function(refuse, [number, support, present, *values], tf.bool)


def _lengths(batch: dict) -> list:
    """Returns bool scalars, whether labels and weights are as many as the examples."""
    n = tf.shape(batch["x"])[0]
    return [
        tf.equal(tf.shape(batch[name])[0], n) for name in ("y", "label", "weight") if name in batch
    ]


def _in_xla() -> bool:
    """Checks whether what is traced now is to be compiled by XLA."""
    if tf.executing_eagerly():
        return False
    # TensorFlow says so nowhere in public.
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
