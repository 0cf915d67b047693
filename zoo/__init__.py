"""The model zoo: architectures, pretrained weights and their cards.

`import zoo` and `zoo.list_models()` are cheap: TensorFlow is imported by `build` and `load`.
"""

from kvae.utils.exports import attach_stub

# The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
