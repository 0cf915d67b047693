"""Checks requests within the graph, and refuses them in the words of the model's own errors."""

import tensorflow as tf

from export.signatures import INPUTS
from kvae.likelihoods.likelihood import MISSING_ADVICE

__all__ = ["Checks"]


class Checks:
    """Checks one request to a model.

    Each method returns its tensor, which has then been checked.

    Args:
        model: `kvae.VAE`.
        refuse: bool. Whether a request with a wrong row is an error, as a whole, since TensorFlow
            has no error of a row. `False` is for graphs that have no errors: `outputs` then gives
            NaN for wrong rows. Defaults to `True`.
    """

    def __init__(self, model, refuse: bool = True):
        self.model, self.refuse = model, refuse
        self._rows = []

    def events(self, x, name: str):
        """Checks x `[batch, *event]`: finite (or missing), and in the likelihood's support."""
        if not self.model.modalities:
            return self._events(x, name, self.model.likelihood)
        whole, end = self.model.likelihood, name.removeprefix("image")
        checked = [
            self._events(tf.reshape(own, [-1, whole.sizes[key]]), key + end, whole.likelihoods[key])
            for key, own in whole.split(x).items()
        ]
        return tf.concat(checked, axis=-1)

    def _events(self, x, name: str, likelihood):
        missing = self.model.missing is not None
        told = likelihood.filled(x) if missing else x
        lowest, highest, advice = likelihood.support()
        kind = type(likelihood).__name__

        def words():
            low, high = tf.reduce_min(told), tf.reduce_max(told)
            outside = (low < lowest) | (high > highest)
            wrong = tf.boolean_mask(told, ~likelihood.element_in_support(told))
            value = tf.concat([tf.reshape(wrong, [-1]), [0.0]], axis=0)[0]
            # `:g` is how the model's own error writes them.
            of_range = (
                f"`{name}` has values from ",
                *(_text(low), " to ", _text(high)),
                f", outside the support [{lowest:g}, {highest:g}] of {kind}. {advice}",
            )
            of_value = (
                f"`{name}` has the value ",
                _text(value),
                f"; {kind} takes {likelihood.values_taken()}",
            )
            words = tf.where(outside, tf.strings.join(of_range), tf.strings.join(of_value))
            option = "" if missing else MISSING_ADVICE
            finite = tf.reduce_all(tf.math.is_finite(told))
            return tf.where(finite, words, _not_finite(told, name, option))

        return self._checked(x, likelihood.in_support(told), words)

    def cells(self, x, valid, cells):
        """Checks what the cells of rows stand for, and returns x `[batch, columns]`.

        Args:
            x: float32 tensor `[batch, columns]`, NaN for what is missing.
            valid: bool tensor like x. Whether a cell has a meaning.
            cells: string tensor `[batch, all columns]`.
        """
        columns = self.model.schema.columns
        everything = [column.name for column in self.model.schema.all_columns]
        places = [everything.index(column.name) for column in columns]
        places = tf.constant(places, tf.int64)

        def words():
            first = tf.where(~valid)[0]
            cell = cells[first[0], places[first[1]]]
            name = tf.constant([column.name for column in columns])[first[1]]
            where = ["`cells`, row ", _text(first[0]), ", column `", name]
            return tf.strings.join([*where, "` holds `", cell, "`, which is none of its values."])

        return self.events(self._checked(x, tf.reduce_all(valid, axis=1), words), "cells")

    def latents(self, z, name: str):
        """Checks z `[batch, latent_dim]`: finite."""
        rows = tf.reduce_all(tf.math.is_finite(z), axis=-1)
        return self._checked(z, rows, lambda: _not_finite(z, name))

    def label(self, label):
        """Checks classes `[batch]`: networks would take any number for one. `None` is none."""
        if label is None:
            return None
        if self.model.conditions is not None:
            return self._conditions(label)
        last = self.model.num_classes - 1
        return self._within(label, 0, last, f"`label` is a class number from 0 to {last}")

    def _conditions(self, record):
        """Checks a record `[batch, columns]` of conditions."""
        known = self.model.conditions

        def words():
            text = tf.constant("")
            for name, part in known.split(known.fits(record)).items():
                wrong = f"`{name}` is {known.kinds[name].wanted}."
                text = tf.where(tf.reduce_all(part), text, wrong)
            return text

        return self._checked(record, tf.reduce_all(known.fits(record), axis=-1), words)

    def number(self, values, name: str):
        """Checks numbers `[batch]`, such as seeds, by the limits of the input of this name."""
        item = INPUTS[name]
        return self._within(values, item.smallest, item.largest, item.rule)

    def _within(self, values, low, high, words: str):
        """Checks that numbers `[batch]` are in a range; `words` say in which."""
        rows = (values >= tf.cast(low, values.dtype)) & (values <= tf.cast(high, values.dtype))

        def told():
            return tf.strings.join([words, ", not ", _text(tf.boolean_mask(values, ~rows)[0]), "."])

        return self._checked(values, rows, told)

    def outputs(self, values: dict) -> dict:
        """Returns outputs `[batch, …]`, floats as float32 whatever the model computes in.

        Where wrong rows are not refused, their numbers are NaN.
        """
        values = {
            name: tf.cast(value, tf.float32) if value.dtype.is_floating else value
            for name, value in values.items()
        }
        if not self._rows:
            return values
        rows = tf.reduce_all(tf.stack(self._rows), axis=0)

        def marked(value):
            if not value.dtype.is_floating:
                return value
            shape = tf.concat([tf.shape(rows), tf.ones([len(value.shape) - 1], tf.int32)], axis=0)
            return tf.where(tf.reshape(rows, shape), value, float("nan"))

        return {name: marked(value) for name, value in values.items()}

    def _checked(self, value, rows, words):
        if not self.refuse:
            self._rows.append(rows)
            return value
        valid = tf.reduce_all(rows)

        def fail():
            with tf.control_dependencies([tf.debugging.Assert(valid, [words()])]):
                return tf.identity(valid)

        # The words are only made when they are needed, so they cost valid requests nothing.
        with tf.control_dependencies([tf.cond(valid, lambda: tf.identity(valid), fail)]):
            return tf.identity(value)


def _text(number):
    shortest = number.dtype.is_floating
    return tf.strings.as_string(number, shortest=shortest)


def _not_finite(values, name: str, advice: str = ""):
    if advice:  # Of NaN, as that of `Likelihood.check` is.
        advice = tf.where(tf.reduce_any(tf.math.is_nan(values)), advice, "")
    finite = tf.reduce_all(tf.math.is_finite(values), axis=tuple(range(1, len(values.shape))))
    count = tf.reduce_sum(tf.cast(~finite, tf.int32))
    return tf.strings.join(
        [
            f"`{name}` holds NaN or infinite values in ",
            *(_text(count), " of ", _text(tf.size(finite)), " examples, first in example "),
            _text(tf.argmin(tf.cast(finite, tf.int32))),
            ". Remove or replace them.",
            advice,
        ]
    )
