"""A server for development: TensorFlow Serving's predict API over the C++ runtime."""
