"""The cells of a table, as texts, in the graph of a model: to its numbers, and from them."""

import numpy as np
import tensorflow as tf

from kvae.datasets.schema import MISSING

__all__ = ["TableCells"]

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_MOMENT = r"\d{4}-(0[1-9]|1[0-2])-\d{2}([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?)?"


class TableCells:
    """Turns the texts of a table's cells into the numbers of a model, and back, in a graph.

    `kvae.datasets.Column.code` and `Column.text` do the same in Python.

    Args:
        schema: `kvae.datasets.Schema` with columns.
    """

    def __init__(self, schema):
        self._all, self._columns = schema.all_columns, schema.columns

    def numbers(self, cells):
        """Returns x, and which cells have a meaning.

        Args:
            cells: string tensor `[batch, all columns]`.

        Returns:
            Float32 `[batch, columns]`, NaN where a cell is empty, or says NA, NaN, null, None or ?;
            and bool `[batch, columns]`.
        """
        cells = tf.strings.strip(cells)
        places = {column.name: place for place, column in enumerate(self._all)}
        known = [self._number(column, cells[:, places[column.name]]) for column in self._columns]
        return tuple(tf.stack(parts, axis=1) for parts in zip(*known, strict=True))

    def missing(self, cells, x):
        """Returns which cells were not observed: bool `[batch, all columns]`.

        Args:
            cells: string tensor `[batch, all columns]`.
            x: what `numbers` makes of them.
        """
        places = {column.name: place for place, column in enumerate(self._columns)}
        found = [
            _says_nothing(tf.strings.strip(cells[:, place]))
            if column.kind == "constant"
            else tf.math.is_nan(x[:, places[column.name]])
            for place, column in enumerate(self._all)
        ]
        return tf.stack(found, axis=1)

    def _number(self, column, cells):
        gone = _says_nothing(cells)
        if column.categories:
            same = cells[:, None] == tf.constant(column.categories)
            found = tf.reduce_any(same, axis=1, keepdims=True)
            lower = [category.lower() for category in column.categories]
            if len(set(lower)) == len(lower):
                own = tf.strings.lower(cells, "utf-8")[:, None] == tf.constant(lower)
                same = tf.where(found, same, own)
            valid = tf.reduce_any(same, axis=1)
            value = tf.cast(tf.argmax(tf.cast(same, tf.int32), axis=1), tf.float32)
            gone = gone & ~found[:, 0]  # A category may be called "none".
        elif column.origin:
            valid = tf.strings.regex_full_match(cells, _MOMENT)
            cells = tf.where(valid, cells, "1970-01-01")
            # There is no 31 June: its number is that of 1 July.
            valid &= self._day(self._day_number(cells)) == tf.strings.substr(cells, 0, 10)
            value = self._days(column, cells)
        else:
            valid = tf.strings.regex_full_match(cells, _NUMBER)
            value = tf.strings.to_number(tf.where(valid, cells, "0"))
        return tf.where(gone, np.float32(np.nan), value), valid | gone

    def _days(self, column, cells):
        """Returns dates `[batch]` as days from the origin."""
        length = tf.strings.length(cells)
        whole = tf.where(
            length == 10, cells + "T00:00:00", tf.where(length == 16, cells + ":00", cells)
        )

        days = self._day_number(cells)
        rest = tf.strings.substr(whole, 17, -1)
        seconds = tf.strings.to_number(rest, tf.float64)
        seconds += tf.cast(3600 * _part(whole, 11, 2) + 60 * _part(whole, 14, 2), tf.float64)
        origin = (np.datetime64(column.origin, "us") - np.datetime64(0, "us")) / np.timedelta64(
            1, "D"
        )
        return tf.cast(tf.cast(days, tf.float64) - origin + seconds / 86400, tf.float32)

    def _day_number(self, cells):
        """Returns the days from 1970, int64, of dates of the Gregorian calendar."""
        year, month, day = _part(cells, 0, 4), _part(cells, 5, 2), _part(cells, 8, 2)
        year -= tf.cast(month <= 2, tf.int64)  # A year begins in March here.
        of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
        return 365 * year + year // 4 - year // 100 + year // 400 + of_year - 719468

    def texts(self, x):
        """Returns the cells of rows: float32 `[batch, columns]` to string `[batch, all]`."""
        places = {column.name: place for place, column in enumerate(self._columns)}
        found = []
        for column in self._all:
            if column.kind == "constant":
                found.append(tf.fill(tf.shape(x)[:1], column.text(0.0)))
            else:
                found.append(self._text(column, x[:, places[column.name]]))
        return tf.stack(found, axis=1)

    def _text(self, column, value):
        gone = tf.math.is_nan(value)
        value = tf.cast(tf.where(gone, 0.0, value), tf.float64)
        if column.is_whole:
            value = tf.round(value)
        if column.low is not None and column.high is not None:
            low, high = (tf.constant(end, tf.float64) for end in (column.low, column.high))
            value = tf.clip_by_value(value, low, high)
        if column.categories:
            text = tf.gather(tf.constant(column.categories), tf.cast(value, tf.int32))
        elif column.origin:
            text = self._date(column, value)
        elif column.is_whole:
            text = tf.strings.as_string(tf.cast(value, tf.int64))
        else:
            text = tf.strings.as_string(value, shortest=True)
        return tf.where(gone, "", text)

    def _date(self, column, days):
        """Returns the text of dates, `[batch]` days from the origin."""
        origin = (np.datetime64(column.origin, "s") - np.datetime64(0, "s")).astype(np.int64)
        seconds = int(origin) + tf.cast(tf.round(days * 86400.0), tf.int64)
        if column.dtype == "Date":
            seconds += 43200  # The nearest day.
        days, rest = seconds // 86400, seconds % 86400
        text = self._day(days)
        if column.dtype == "Date":
            return text
        clock = [_padded(rest // 3600), _padded(rest // 60 % 60), _padded(rest % 60)]
        return tf.strings.join([text, tf.strings.join(clock, ":")], " ")

    def _day(self, number):
        """Returns the dates that stand so many days after 1 January 1970, as texts."""
        days = number + 719468
        era = days // 146097
        of_era = days - 146097 * era
        years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
        of_year = of_era - (365 * years + years // 4 - years // 100)
        moon = (5 * of_year + 2) // 153
        day = of_year - (153 * moon + 2) // 5 + 1
        month = (moon + 2) % 12 + 1
        year = years + 400 * era + tf.cast(month <= 2, tf.int64)
        return tf.strings.join([_padded(year, 4), _padded(month), _padded(day)], "-")


def _says_nothing(cells):
    return tf.reduce_any(tf.strings.lower(cells)[:, None] == tf.constant(MISSING), axis=1)


def _part(cells, start: int, size: int):
    """Returns the whole numbers that stand in a part of each cell."""
    return tf.strings.to_number(tf.strings.substr(cells, start, size), tf.int64)


def _padded(number, width: int = 2):
    return tf.strings.as_string(number, width=width, fill="0")
