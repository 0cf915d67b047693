"""Packages that are not always there, and the extras of this distribution that install them."""

import importlib
import importlib.util
import types

__all__ = ["DISTRIBUTION", "EXTRAS", "install", "installed", "load", "require"]

DISTRIBUTION = "keras-kvae"  # The name for pip. On PyPI, `kvae` is another project.

# By the name that is imported.
EXTRAS = {
    "ai_edge_litert": "tflite",
    "grpc": "serving",
    "huggingface_hub": "hub",
    "keras_tuner": "sweep",
    "narwhals": "tables",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "pyarrow": "tables",
    "tensorboard": "tensorboard",
    "tensorflow_serving": "serving",
    "tf2onnx": "onnx",
}


def install(package: str) -> str:
    """Returns the command that installs a package, by the name that is imported."""
    return f"pip install '{DISTRIBUTION}[{EXTRAS[package]}]'"


def installed(*packages: str) -> bool:
    """Checks whether all of these packages are there, without importing them."""
    return all(importlib.util.find_spec(package) is not None for package in packages)


def require(*packages: str, purpose: str) -> None:
    """Checks that packages are there, without importing them.

    Args:
        *packages: str. The names that are imported.
        purpose: str. What needs them, as the beginning of a sentence, e.g. `"A sweep"`.

    Raises:
        ModuleNotFoundError: for the first that is not, with the command that installs it.
    """
    for package in packages:
        if not installed(package):
            raise _error(package, purpose, "is not installed")


def load(module: str, purpose: str) -> types.ModuleType:
    """Imports a module of an optional package.

    Args:
        module: str. The package, or a module in it, e.g. `"grpc"`.
        purpose: str. What needs it, as the beginning of a sentence, e.g. `"A sweep"`.

    Raises:
        ModuleNotFoundError: where it cannot be imported, with the command that installs it.
    """
    package = module.partition(".")[0]
    require(package, purpose=purpose)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _error(package, purpose, f"cannot be imported ({error})") from error


def _error(package: str, purpose: str, problem: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{purpose} needs the package {package}, which {problem}: {install(package)}",
        name=package,
    )
