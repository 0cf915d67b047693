"""The interface of what an encoder sees in the place of values that were not observed."""

from collections.abc import Mapping
from typing import Any, ClassVar

from keras import ops

from kvae.parts import Part, PartRegister, resolve, to_write
from kvae.utils import keras_internals, masks

__all__ = ["REGISTER", "Fill", "get", "names", "register"]


class Fill(Part):
    """A fill gives the encoder something to see in the place of values that were not observed.

    A model with a fill, `kvae.VAE(..., missing=…)`, takes NaN in x for "not observed". Its encoder
    sees `value` there, on its own scale: after `Likelihood.encoder_input`, so that 0 is the mean of
    a column that the likelihood standardizes.

    Where the encoder has layers that take Keras's mask, such as `LSTM` and `GRU`, and events are
    sequences `(steps, channels)`, the steps after the last one of which something was observed are
    masked, so that these layers do not see them. Gaps before that are steps like others.

    A new fill gives `value`, and `adapt` if that depends on the data.

    Args:
        mask: bool. Whether the encoder also sees which values were observed: as further entries of
            the last axis, 1 for observed and 0 for missing. An encoder of events `(h, w, c)` then
            takes inputs `(h, w, 2c)`. Defaults to `False`.

    Reference:
        - [Nazábal et al., Handling Incomplete Heterogeneous Data using VAEs](
          https://arxiv.org/abs/1807.03653): zeros in the encoder, and a likelihood of what was
          observed.
    """

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mask": {"mask": True}}

    def __init__(self, mask: bool = False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(mask, bool):
            raise ValueError(f"`mask` is True or False, not {mask!r}.")
        self.mask = mask
        self.masks_steps = False  # Whether the encoder takes Keras's mask.

    def attach(self, vae):
        self.masks_steps = keras_internals.takes_step_mask(vae.encoder)

    @to_write
    def value(self):
        """Returns what stands for missing values, a number or a tensor `[*event]`."""
        raise NotImplementedError

    def call(self, values, observed):
        """Returns what the encoder is called on, `[batch, *input_shape(event)]`.

        Args:
            values: tensor `[batch, *event]`. x on the encoder's scale, with any numbers where
                nothing was observed.
            observed: bool tensor `[batch, *event]`.
        """
        seen = ops.where(observed, values, self.value())
        if self.mask:
            seen = ops.concatenate([seen, ops.cast(observed, seen.dtype)], axis=-1)
        if self.masks_steps and len(observed.shape) == 3:
            keras_internals.set_step_mask(seen, masks.until_last(observed))
        return seen

    def seen(self, likelihood, x, observed):
        """Returns what the encoder sees of x.

        Args:
            likelihood: `kvae.likelihoods.Likelihood` of the model.
            x: float32 tensor `[batch, *event]`, with NaN or any numbers where nothing was observed.
            observed: bool tensor `[batch, *event]`.
        """
        return self(likelihood.encoder_input(likelihood.filled(x, observed)), observed)

    def build(self, *_):
        self.built = True

    def compute_output_shape(self, values_shape, *_):
        return (values_shape[0], *self.input_shape(values_shape[1:]))

    def input_shape(self, event_shape) -> tuple[int, ...]:
        """Returns the shape of the encoder's inputs for events of `event_shape`."""
        shape = tuple(event_shape)
        return (*shape[:-1], 2 * shape[-1]) if self.mask else shape

    def event_shape(self, input_shape) -> tuple[int, ...]:
        """Returns the shape of events for encoder inputs of `input_shape`.

        Raises:
            ValueError: for inputs without room for the mask.
        """
        shape = tuple(input_shape)
        if not self.mask:
            return shape
        if shape[-1] % 2:
            raise ValueError(
                f"With {type(self).__name__}(mask=True) the encoder takes x and its mask beside "
                f"one another on the last axis, and {shape[-1]} entries are no pairs."
            )
        return (*shape[:-1], shape[-1] // 2)

    @property
    def needs_data(self) -> bool:
        """Returns whether `adapt` still has to be called before the training."""
        return False

    def adapt(self, likelihood, data) -> None:
        """Takes what it needs from a training set. `fit` calls it unless it has been called before.

        Args:
            likelihood: `kvae.likelihoods.Likelihood` of the model.
            data: array `[n, *event]`, `kvae.datasets.Dataset`, `Stream`, or batches that end.
        """

    def get_config(self):
        return {**super().get_config(), "mask": self.mask}


REGISTER = PartRegister("fill", Fill)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Fill | None:
    """Returns a fill from its name, its config or itself; `None` stands for none."""
    return None if identifier is None else resolve(REGISTER, identifier, Fill)
