"""Labels of conditional models: their checks, and the model conditioned on them."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from kvae.datasets import kinds
from kvae.datasets.dataset import Dataset
from kvae.datasets.sequences import at_full_length

__all__ = [
    "Conditioned",
    "check_label_inputs",
    "checked_label",
    "encoded_label",
    "joined",
    "label_fits",
    "label_size",
    "label_spec",
    "recognized_label",
    "split_label",
    "split_label_and_target",
    "with_mask",
]


def _of_this_graph(make):
    """Returns a property that is made once for each graph: a loop's tensors end with it."""

    def read(self):
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        key = make.__name__, graph
        if key not in self.made:
            self.made[key] = make(self)
        return self.made[key]

    return property(read, doc=make.__doc__)


class Conditioned:
    """A conditional `kvae.VAE` for known labels: p(x|z, y), p(z|y) and q(z|x, y) for one y.

    To objectives, divergences and estimators it looks like a model without labels:
    `encode_params`, `decode_params`, `prior` and `posterior` are those of the labels, everything
    else is the model's. It is light and made anew for every batch, `vae.conditioned_on(label)`.

    Args:
        vae: `kvae.VAE`, conditional.
        label: int tensor `[batch]`, or a record of conditions `[batch, columns]`, checked.
    """

    def __init__(self, vae, label):
        self._vae, self.label, self.made = vae, label, {}

    @_of_this_graph
    def prior(self):
        """p(z|y); made where it is asked for, since labels that are not known have none."""
        return None if self._vae.prior is None else self._vae.prior.conditioned_on(self.label)

    @_of_this_graph
    def posterior(self):
        prior, posterior = self.prior, self._vae.posterior
        return posterior if prior is self._vae.prior else posterior.with_prior(prior)

    def for_each_label(self) -> "Conditioned":
        """Returns the model for all labels of every row: the rows for the first label, and so on.

        Its `encode_params` takes the rows once.
        """
        return _ForEachLabel(self._vae, tf.shape(self.label)[0])

    def __getattr__(self, name):
        return getattr(self._vae, name)

    def encode_params(self, x, training: bool = False) -> dict:
        """Does what `kvae.VAE.encode_params` does, for the labels."""
        return self._vae.encode_params(x, self.label, training=training)

    def decode_params(self, z, training: bool = False) -> dict:
        """Does what `kvae.VAE.decode_params` does, for labels; z is `[..., batch, latent_dim]`."""
        return self._vae.decode_params(z, self.label, training=training)


class _ForEachLabel(Conditioned):
    """The model for all labels of every row, see `Conditioned.for_each_label`."""

    def __init__(self, vae, rows):
        super().__init__(vae, tf.repeat(tf.range(vae.num_classes), rows))

    def encode_params(self, x, training: bool = False) -> dict:
        return self._vae.encode_params(
            x, self.label, training=training, copies=self._vae.num_classes
        )


def checked_label(vae, label, rows=None, name: str = "label", unknown: bool = True):
    """Checks labels; returns them as an int32 tensor `[batch]`, `None` without classes.

    With an objective that guesses labels they may be -1, and `None` stands for as many of these as
    there are rows, unless `unknown` is False.

    Those of a model with `conditions` become a record, float32 `[batch, columns]`.
    """
    if not vae.conditional:
        if label is None:
            return None
        raise ValueError(
            f"{vae.name} is not conditional and takes no labels. Make a conditional model "
            "with kvae.VAE(..., num_classes=…) or conditions={…}."
        )
    if vae.conditions is not None:
        if label is None:
            given = ", ".join(f"{key!r}: …" for key in vae.conditions.kinds)
            raise ValueError(
                f"{vae.name} is conditional and needs its conditions, label={{{given}}}: "
                "fit((x, label)), a Dataset with labels, batches ((x, label),) or ((x, label), "
                "target), encode(x, label), sample(n, label=…). What is unknown is left out."
            )
        if _is_encoded(vae, label):
            return tf.cast(label, tf.float32)
        return vae.conditions.record(label, rows, name)
    wanted = f"one class number from 0 to {vae.num_classes - 1} for each example"
    least = -1 if unknown and vae.takes_unknown_labels else 0
    if least < 0:
        wanted += ", or -1 where it is not known"
    if label is None and least < 0 and rows is not None:
        return tf.fill([rows], -1)
    if label is None:
        raise ValueError(
            f"{vae.name} is conditional and needs labels, {wanted}: fit((x, labels)), a "
            "Dataset with labels, batches ((x, label),) or ((x, label), target), encode(x, "
            "label), sample(n, label=…)."
        )
    if not tf.is_symbolic_tensor(label):
        label = kinds.as_array(label, name, only_numbers=False)
    if _rank(label) not in (None, 1):
        raise ValueError(f"`{name}` has shape {tuple(label.shape)}; it is [n], {wanted}.")
    if not tf.as_dtype(label.dtype).is_integer:
        raise ValueError(
            f"`{name}` holds {tf.as_dtype(label.dtype).name}; it is whole numbers, {wanted}."
        )
    if isinstance(label, np.ndarray):
        if rows is not None and len(label) != rows:
            raise ValueError(f"`{name}` has {len(label)} rows for {rows} examples.")
        if label.size and not least <= label.min() <= label.max() < vae.num_classes:
            advice = ""
            if label.min() == -1 and unknown:
                advice = " With objective='semi_supervised', -1 stands for one that is not known."
            raise ValueError(
                f"`{name}` has values from {label.min()} to {label.max()}; it is {wanted}.{advice}"
            )
    return tf.cast(label, tf.int32)


def split_label(vae, x):
    """Splits `(x, label)`, or a dict of both; what is neither has no label.

    x becomes one of the kinds that models work with, see `kvae.datasets.kinds`. A model without
    classes ignores the label of a dict, where its name says that it is one.
    """
    label = None
    if vae.modalities and not isinstance(x, tuple):
        return _events(vae, x, "x"), None
    if isinstance(x, Mapping):
        named = {} if vae.conditions is None else vae.conditions.entries(x)
        x, label = kinds.entries({key: value for key, value in x.items() if key not in named})
        label = (named or label) if vae.conditional else None
    elif isinstance(x, tuple):
        if len(x) != 2:
            raise ValueError(f"Data with labels are a pair (x, label), not {len(x)} arrays.")
        x, label = x
    return _events(vae, x, "x"), label


def _events(vae, x, name: str):
    """Returns data of any kind, sequences at the length of the model's events."""
    if vae.modalities:
        return _records(vae, x, name)
    if vae.missing is not None and len(vae.event_shape or ()) == 2 and not kinds.gives_batches(x):
        x = at_full_length(x, vae.event_shape, name)
        if not isinstance(x, Dataset):
            return at_full_length(kinds.recognize(x, name), vae.event_shape, name)
    return kinds.recognize(x, name)


def _records(vae, x, name: str):
    """Returns what a model of several modalities is given as records, or in batches."""
    if isinstance(x, Mapping):
        return vae.likelihood.record(x, name)
    found = kinds.recognize(x, name)
    if isinstance(found, Dataset) or kinds.gives_batches(found):
        return found
    if tuple(found.shape[1:]) != (vae.likelihood.columns,):
        entries = ", ".join(f"{key!r}: …" for key in vae.modalities)
        raise ValueError(
            f"`{name}` has shape {tuple(found.shape)}; {vae.name} has several modalities and takes "
            f"them as a dict, {{{entries}}}, of which any may be left out."
        )
    return found


def with_mask(x, mask):
    """Returns data in which NaN stands where a mask beside them says that nothing was observed.

    Args:
        x: what methods of a model take: arrays, pairs `(x, label)`, dicts, a `Dataset`.
        mask: bool array of the shape of x, or `None`, for which x is returned as it is.

    Raises:
        ValueError: for data in batches, and for a mask of another type or shape.
    """
    if mask is None:
        return x
    if isinstance(x, tuple):
        return with_mask(x[0], mask), *x[1:]
    if isinstance(x, Mapping):
        return {**x, "mask": mask}
    x = kinds.recognize(x)
    if kinds.gives_batches(x):
        raise ValueError(
            f"The masks of a {type(x).__name__} stand in its batches: give batches "
            '{"x": x, "mask": mask}, or NaN in x, and leave out `mask`.'
        )
    return x.masked(mask) if isinstance(x, Dataset) else kinds.hidden(x, mask)


def split_label_and_target(vae, x, y):
    """Returns x, its label and its target, the last two or `None`.

    For a conditional model class numbers in the place of the target, as in `(x, label)` batches
    of TensorFlow Datasets, are the labels: no target has one number for each example.
    """
    x, label = split_label(vae, x)
    if vae.conditions is not None and label is None and isinstance(y, Mapping):
        return x, y, None
    y = None if y is None else _events(vae, y, "y")
    if vae.conditional and label is None and _are_classes(y):
        label, y = y, None
    return x, label, y


def recognized_label(vae, label, x):
    """Returns labels of any kind as one tensor or array, for a call of Keras beside x."""
    if vae.conditions is not None:
        return checked_label(vae, label, getattr(x, "shape", [None])[0])
    return kinds.recognize(label, "label")


def label_size(vae) -> int:
    """Returns how many numbers networks see of the label of a conditional model."""
    return vae.num_classes if vae.conditions is None else vae.conditions.size


def label_spec(vae, rows: int | None = None) -> tf.TensorSpec:
    """Returns the shape and the dtype of checked labels."""
    if vae.conditions is None:
        return tf.TensorSpec((rows,), tf.int32, name="label")
    return tf.TensorSpec((rows, vae.conditions.columns), tf.float32, name="label")


def label_fits(vae, label):
    """Returns a bool tensor of the shape of the labels, False for those that the model has not."""
    if vae.conditions is not None:
        return vae.conditions.fits(label)
    least = -1 if vae.takes_unknown_labels else 0
    return (label >= least) & (label < vae.num_classes)


def encoded_label(vae, label):
    """Returns what networks see of labels: one-hot vectors `[batch, num_classes]` of classes.

    Such vectors stay as they are, and so do conditions that have been encoded; records of
    conditions are encoded, see `Conditions.encode`.
    """
    if not vae.conditional or label is None:
        return checked_label(vae, label)
    if vae.conditions is not None:
        return label if _is_encoded(vae, label) else vae.conditions.encode(label)
    label = tf.convert_to_tensor(label)
    return label if label.dtype.is_floating else tf.one_hot(label, vae.num_classes)


def check_label_inputs(vae) -> None:
    """Refuses networks that do not fit `num_classes`, once both are built."""
    used = vae.prior is not None and vae.prior.conditional
    for name in ("encoder", "decoder"):
        inputs = _declared(getattr(vae, name))
        used = used or len(inputs) == 2
        if len(inputs) > 2:
            raise ValueError(f"The {name} takes {len(inputs)} inputs; it is one, or two.")
        if len(inputs) < 2:
            continue
        if not vae.conditional:
            raise ValueError(
                f"The {name} takes two inputs, of which the second is a label: give `num_classes` "
                "or `conditions`."
            )
        if tuple(inputs[1].shape[1:]) != (label_size(vae),):
            what = "one-hot labels" if vae.conditions is None else "these conditions"
            raise ValueError(
                f"The second input of the {name} has shape {tuple(inputs[1].shape)}; {what} have "
                f"{(None, label_size(vae))}."
            )
    if vae.conditional and not used:
        if vae.conditions is not None:
            raise ValueError(
                "With `conditions` an encoder or a decoder of two inputs has to depend on them, "
                f"[x, conditions] or [z, conditions], of which the second has shape "
                f"{(None, label_size(vae))}."
            )
        raise ValueError(
            "With `num_classes` something has to depend on the label: an encoder or a decoder "
            "of two inputs, [x, one-hot label] or [z, one-hot label], or the prior "
            "'class_conditional'."
        )


def _is_encoded(vae, label) -> bool:
    """Checks whether labels are what `Conditions.encode` returns, as exports of networks take it.

    Bare values of a single condition, `[n]`, may be as many as its encoding has numbers. Where a
    record has as many columns, encoding changes nothing that is known of it.
    """
    size = vae.conditions.size
    held = tf.is_tensor(label) or isinstance(label, np.ndarray)
    held = held and _rank(label) == 2 and label.shape[-1] == size
    return held and size != vae.conditions.columns


def _are_classes(y) -> bool:
    """Checks whether `y` holds one whole number for each example, and so no events."""
    return hasattr(y, "dtype") and tf.as_dtype(y.dtype).is_integer and _rank(y) == 1


def _rank(values) -> int | None:
    return tf.TensorShape(values.shape).rank


def joined(network, values, label):
    """Returns what the network is called on: `values` alone, or with the encoded labels."""
    return [values, label] if len(_declared(network)) == 2 else values


def _declared(network) -> list:
    return getattr(network, "inputs", None) or [None]
