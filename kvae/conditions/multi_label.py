"""A condition of which any number of labels may hold at the same time."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kvae.conditions.categorical import class_texts
from kvae.conditions.condition import Condition, register
from kvae.utils import names

__all__ = ["MultiLabel"]


@register("multi_label")
class MultiLabel(Condition):
    """Several labels, each of which holds or not: tags, symptoms, attributes.

    Values are vectors of 0 and 1; NaN is unknown, for one label or for all. Networks see the
    vector, and in the place of what is unknown a learned number, which starts as 1/2.

    Args:
        labels: int, or sequence of str. The number of labels, or their names in order.

    Raises:
        ValueError: for no label, and for a name that comes twice.

    Example:

    ```python
    kvae.conditions.Conditions({"tags": ("multi", 5), "signs": ("multi", ["fever", "cough"])})
    ```
    """

    whole = True

    def __init__(self, labels: int | Sequence[str], **kwargs):
        super().__init__(**kwargs)
        self.columns, self._texts = class_texts(labels, "labels", 1)
        self.width = self.columns
        known = f" ({names.shown_names(self._texts)})" if self._texts else ""
        self.wanted = f"a vector of {self.width} numbers 0 or 1{known}, NaN where it is unknown"

    def checked(self, values, name):
        if not ((values == 0) | (values == 1) | np.isnan(values)).all():
            raise ValueError(f"`{name}` has other values than 0 and 1; it is {self.wanted}.")

    def fits(self, record):
        return tf.equal(record, 0.0) | tf.equal(record, 1.0) | tf.math.is_nan(record)

    def encode(self, record):
        known = ~tf.math.is_nan(record)
        return tf.where(known, record, 0.0), known

    def example(self, rows, generator):
        return generator.integers(2, size=(rows, self.columns)).astype(float)

    def start(self):
        return np.full(self.width, 0.5, np.float32)

    def texts(self):
        return self._texts

    def parse(self, text, name):
        """Returns the vector of labels that are named or numbered, joined by `+`."""
        found = np.zeros(self.width, np.float32)
        for label in filter(None, text.split("+")):
            if label in self._texts:
                found[self._texts.index(label)] = 1
            elif label.isdecimal() and int(label) < self.width:
                found[int(label)] = 1
            else:
                raise ValueError(
                    f"`{name}` has no label {label!r}; its labels are "
                    f"{names.shown_names(self._texts or map(str, range(self.width)))}, joined by +."
                )
        return found

    def shown(self, row):
        texts = self._texts or [str(index) for index in range(self.width)]
        return "+".join(text for text, on in zip(texts, row, strict=True) if on == 1) or "none"

    def get_config(self):
        return {**super().get_config(), "labels": list(self._texts) or self.width}

    def facts(self):
        return {**super().facts(), "labels": list(self._texts) or self.width}
