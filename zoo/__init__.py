"""The model zoo: architectures, pretrained weights and their cards.

`import zoo` and `zoo.list_models()` are cheap: TensorFlow is imported by `build` and `load`.
"""

import importlib

_NAMES = {
    "Card": "zoo.cards",
    "build": "zoo.registry",
    "card": "zoo.cards",
    "list_architectures": "zoo.registry",
    "list_classifiers": "zoo.classifiers",
    "list_models": "zoo.cards",
    "load": "zoo.registry",
    "load_classifier": "zoo.classifiers",
    "push_to_hub": "zoo.hub",
}

__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
