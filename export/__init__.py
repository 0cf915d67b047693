"""Exporters of `kvae` models, and the check that what they wrote runs elsewhere.

```python
export.saved_model(model, "serving/digits")          # a version for TensorFlow Serving
export.publish(model, "repository", "digits")        # all that TensorFlow Serving needs to run it
export.tflite(model, "digits.tflite", "float16")     # a decoder for phones and browsers
export.web(model, "page", dataset)                   # a page that runs in the browser
print(export.verify("serving/digits", model))        # the same numbers outside Python?
print(export.profile("digits.tflite", model, test))  # size, latency, error, nats
```

`import export` does not import TensorFlow; the functions do.
"""

import importlib

__all__ = [
    "Client",
    "Profile",
    "Publication",
    "Report",
    "Row",
    "ServingError",
    "onnx",
    "profile",
    "publish",
    "saved_model",
    "tflite",
    "verify",
    "web",
]

# The modules are not called like the functions: importing one would hide the other.
_HOMES = {
    "Client": "export.client",
    "Profile": "export.profiling",
    "Publication": "export.repository",
    "Report": "export.report",
    "Row": "export.report",
    "ServingError": "export.client",
    "onnx": "export.onnx_models",
    "profile": "export.profiling",
    "publish": "export.repository",
    "saved_model": "export.saved_models",
    "tflite": "export.lite",
    "verify": "export.verification",
    "web": "export.browser.page",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
