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

from kvae.utils.exports import attach_stub

# The names stand in __init__.pyi. No module of this package is called like a function: importing it
# would hide the function.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
