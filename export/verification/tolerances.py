"""The largest differences that are allowed between a runtime's numbers and the model's."""

import numpy as np

__all__ = ["OWN_ERROR", "TOLERANCES", "effective_sample_sizes", "rounding"]

# The largest difference from the model that is accepted, by precision. Eight-bit files are lossy on
# purpose: their bounds (of images in [0, 1]) catch broken files, not small losses of quality.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "dynamic": 0.1, "int8": 0.25}
# Runtimes round half precision at different places: some compute in 32 bits between two layers, or
# everywhere. Two of them may differ by this many times what rounding does to the model itself, and
# by this many units in the last place more.
_TIMES, _UNITS_MORE = 3.0, 2.0
# What they may differ by, in units in the last place, where nobody knows what rounding does.
_UNITS_UNKNOWN = 16.0
# The rounding of an effective sample size, which is made of sums of tens of numbers in float32.
_ROUNDING = 1e-6
# The share of the error of log p(x) that is not common to all log-weights of a row, and does not
# cancel. In float32 it is the rounding of a sum over the pixels, here 17 units in the last place.
OWN_ERROR = 0.2


def rounding(unit: float, wanted: dict, precise: dict | None) -> dict[str, float]:
    """Returns by how much runtimes may differ in each output, for the rounding of half precision.

    An output that rounding does not change, such as the draws of a prior, may not differ for it.

    Args:
        unit: float. The relative error of rounding one number.
        wanted: dict of arrays. The model's outputs.
        precise: dict of arrays or `None`. Those of the model in float32, where they are known.
    """
    allowed = {}
    for name, array in wanted.items() if unit else ():
        last_place = unit * max(1.0, float(np.abs(array).max(initial=0.0)))
        if precise is None:
            allowed[name] = _UNITS_UNKNOWN * last_place
        elif difference := float(
            np.abs(np.subtract(array, precise[name], dtype="f8")).max(initial=0.0)
        ):
            allowed[name] = _TIMES * difference + _UNITS_MORE * last_place
    return allowed


def effective_sample_sizes(have, want, error_of_logs) -> np.ndarray:
    """Returns how far two effective sample sizes of a row may lie apart, as their log-weights do.

    Log-weights that differ by at most d change (Σw)² / Σw² at most by the factor exp(4d). Where
    one weight has nearly all of the sum, they change less: the others together are at most
    e = ESS - 1 of the largest, at most e·exp(2d) of it afterwards, and (1 + e·exp(2d))² bounds what
    they make the ESS.

    Args:
        have, want: arrays `[batch]`.
        error_of_logs: array `[batch]`. The d of each row.
    """
    low = np.minimum(have, want).astype(np.float64)
    with np.errstate(over="ignore"):
        factor = np.exp(2.0 * error_of_logs.astype(np.float64))
        others = np.maximum(low - 1.0, 0.0) + _ROUNDING
        high = np.minimum(low * factor**2, (1.0 + others * factor) ** 2)
    return high - low + _ROUNDING * np.abs(low)
