"""A condition of which one of several classes holds."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kvae.conditions.condition import Condition, register
from kvae.utils import names

__all__ = ["Categorical", "class_texts"]


def class_texts(classes, what: str, least: int) -> tuple[int, tuple[str, ...]]:
    """Returns the number of classes and their names (or none), of a number or of names.

    Args:
        classes: int or sequence of str.
        what: str. The name of the argument, for errors.
        least: int. The least number of classes.

    Raises:
        ValueError: for fewer than `least`, names that are not texts, and one that comes twice.
    """
    texts = ()
    if isinstance(classes, (list, tuple)):
        texts = tuple(classes)
        if not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f"`{what}` is a number of classes or a list of their names.")
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            raise ValueError(f"`{what}` has the name {twice[0]!r} twice.")
        classes = len(texts)
    if isinstance(classes, bool) or int(classes) != classes or classes < least:
        raise ValueError(f"`{what}` is at least {least}, not {classes}.")
    return int(classes), texts


@register("categorical")
class Categorical(Condition):
    """One of several classes: a digit, a make, a shape.

    Values are class numbers from 0, or names where the classes have some; −1 is unknown. Networks
    see a one-hot vector, and in its place a learned one where the class is unknown.

    Args:
        classes: int, or sequence of str. The number of classes, or their names in order.

    Raises:
        ValueError: for fewer than two classes, and for a name that comes twice.

    Example:

    ```python
    kvae.conditions.Conditions({"digit": 10, "shape": ["square", "ellipse", "heart"]})
    ```
    """

    whole, unknown = True, -1.0

    def __init__(self, classes: int | Sequence[str], **kwargs):
        super().__init__(**kwargs)
        self.width, self._texts = class_texts(classes, "classes", 2)
        known = f"one of {names.shown_names(self._texts)}, or " if self._texts else ""
        self.wanted = f"{known}a class number from 0 to {self.width - 1}, or -1 where it is unknown"

    def checked(self, values, name):
        values = np.where(np.isnan(values), -1, values)
        if (values != np.floor(values)).any():
            raise ValueError(f"`{name}` holds numbers that are not whole; it is {self.wanted}.")
        if values.size and not -1 <= values.min() <= values.max() < self.width:
            raise ValueError(
                f"`{name}` has values from {values.min():g} to {values.max():g}; it is "
                f"{self.wanted}."
            )

    def fits(self, record):
        whole = tf.equal(record, tf.floor(record))
        return (whole & (record >= -1) & (record < self.width)) | tf.math.is_nan(record)

    def encode(self, record):
        number = tf.where(record >= 0, record, -1.0)[..., 0]  # NaN is unknown, too.
        one_hot = tf.one_hot(tf.cast(number, tf.int32), self.width)
        return one_hot, tf.broadcast_to(record >= 0, tf.shape(one_hot))

    def example(self, rows, generator):
        return generator.integers(self.width, size=rows).astype(float)

    def is_unknown(self, row):
        return not row[0] >= 0

    def texts(self):
        return self._texts

    def parse(self, text, name):
        if text in self._texts:
            return self._texts.index(text)
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"`{name}` is {text!r}; it is {self.wanted}.") from None

    def shown(self, row):
        return self._texts[int(row[0])] if self._texts else str(int(row[0]))

    def get_config(self):
        return {**super().get_config(), "classes": list(self._texts) or self.width}

    def facts(self):
        return {**super().facts(), "classes": list(self._texts) or self.width}
