"""Anomaly detection: which rows are unlike the normal ones, how sure that is, and where.

A `Detector` scores rows by a trained model, in nats. Its `fit` sets the threshold by normal rows
that the model was not trained on, so that the stated share of normal rows is flagged and no more.
The model keeps this calibration: in its .keras file, and in the signature `detect` of its exports.

- `scores`: what is measured of a row.
- `calibration`: from a score to a p-value and a verdict.
- `detector`: both of them with a model.
"""

from kvae.utils.exports import attach_stub

# The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
