"""What exported models can be asked: the one specification of their signatures.

`SIGNATURES` says which there are, what they take and give, and what they allow.
"""

import dataclasses

import numpy as np

__all__ = ["Call", "Signature", "TensorInfo", "fits", "matches"]


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature, as a file or a server describes it.

    Attributes:
        dtype: str. NumPy's name of the type, `"string"`, or `"type 8"` for one that NumPy has no
            array of.
        shape: tuple of int or None. `None` stands for a free dimension, such as the batch.
        tensor: str. The graph's name for it, e.g. `"StatefulPartitionedCall:0"`, where it is known.
    """

    dtype: str
    shape: tuple[int | None, ...]
    tensor: str = ""


@dataclasses.dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of an exported function, as a file or a server describes them.

    Attributes:
        inputs: dict of str to `TensorInfo`.
        outputs: dict of str to `TensorInfo`.
        optional: tuple of str. The inputs that may be left out, because they have a default.
    """

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    optional: tuple[str, ...] = ()


@dataclasses.dataclass
class Call:
    """A signature to run.

    Attributes:
        signature: str. Its name.
        inputs: dict of str to array.
    """

    signature: str
    inputs: dict[str, np.ndarray]


def matches(array: np.ndarray, info: TensorInfo) -> bool:
    """Checks whether an array has the type and the shape that an input asks for."""
    kind = "string" if array.dtype.kind in "SO" else array.dtype.name
    return kind == info.dtype and fits(array.shape, info)


def fits(shape: tuple[int, ...], info: TensorInfo) -> bool:
    """Checks whether a shape is one that an input asks for."""
    return len(shape) == len(info.shape) and all(
        want in (None, have) for want, have in zip(info.shape, shape, strict=True)
    )
