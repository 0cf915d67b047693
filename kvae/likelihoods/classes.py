"""What the likelihoods of class numbers share."""

from keras import ops

from kvae.likelihoods.scale import ScaledInput

__all__ = ["OfClasses"]


class OfClasses(ScaledInput):
    """The base of likelihoods whose x are the class numbers 0 … `num_classes` - 1.

    Args:
        num_classes: int. K, at least 2.
        scale_input: bool. Whether the encoder sees the class numbers as levels from -1 to 1.
            Defaults to `True`.

    Raises:
        ValueError: for `num_classes` below 2.
    """

    whole_numbers = True

    def __init__(self, num_classes: int, scale_input: bool = True, **kwargs):
        super().__init__(scale_input, **kwargs)
        if not num_classes >= 2:
            raise ValueError(f"`num_classes` is at least 2, not {num_classes}.")
        self.num_classes = int(num_classes)

    def encoder_input(self, x):
        return ops.cast(x, self.dtype) * self._step - 1.0 if self.scale_input else x

    def from_encoder_input(self, values):
        return (values + 1.0) / self._step if self.scale_input else values

    @property
    def _step(self) -> float:
        return 2.0 / (self.num_classes - 1)

    def support(self):
        last = self.num_classes - 1
        return 0.0, float(last), f"Give class numbers 0, 1, …, {last}."

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}
