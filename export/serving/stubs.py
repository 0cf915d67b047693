"""TensorFlow Serving's official gRPC stubs, which the client and the development server use."""

import importlib

from kvae.utils import optional

__all__ = ["NEEDS", "installed", "modules"]

NEEDS = optional.install("grpc")


def installed() -> bool:
    """Checks whether the packages are there, without importing them."""
    return optional.installed("grpc", "tensorflow_serving")


def modules():
    """Imports the package `grpc`, and returns it with a function that imports a stub by name.

    Raises:
        ModuleNotFoundError: with what to install.
    """
    grpc = optional.load("grpc", purpose="gRPC")
    optional.load("tensorflow_serving.apis.prediction_service_pb2_grpc", purpose="gRPC")
    return grpc, lambda name: importlib.import_module(f"tensorflow_serving.apis.{name}")
