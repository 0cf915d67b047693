"""Estimators of scikit-learn on variational autoencoders of tables.

They take rows `[n, columns]`, fit in pipelines, searches and column transformers, and pickle; a
fitted one has its model as `vae_`, which saves, samples and is exported like any other.

- `base`: the parameters and the training that all share.
- `transformer`: codes of rows, and rows of codes.
- `density`: log p(x), and new rows.
- `outlier_detector`: unusual rows, by `kvae.detection`.
- `imputer`: missing values filled in.
- `classifier`: classes, from few labels.
"""

from kvae.utils.exports import attach_stub

# The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
