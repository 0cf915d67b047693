"""TensorFlow Serving's official gRPC stubs, which the client and the development server use."""

import importlib
import importlib.util

__all__ = ["NEEDS", "installed", "modules"]

NEEDS = "pip install grpcio && pip install --no-deps tensorflow-serving-api"


def installed() -> bool:
    """Checks whether the packages are there, without importing them."""
    return all(importlib.util.find_spec(name) for name in ("grpc", "tensorflow_serving"))


def modules():
    """Imports the package `grpc`, and returns it with a function that imports a stub by name.

    Raises:
        ImportError: with what to install.
    """
    try:
        grpc = importlib.import_module("grpc")
        importlib.import_module("tensorflow_serving.apis.prediction_service_pb2_grpc")
    except ImportError as error:
        raise ImportError(
            f"gRPC needs the packages grpcio and tensorflow-serving-api ({error}): {NEEDS}"
        ) from None
    return grpc, lambda name: importlib.import_module(f"tensorflow_serving.apis.{name}")
