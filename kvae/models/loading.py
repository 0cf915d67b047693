"""Loading of model files, with advice where a path is no model file."""

import json
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import cast

import keras

from kvae.models.vae import VAE
from kvae.utils import configs, forks

__all__ = ["load_model"]

_SUFFIX = ".keras"
# Keras names what is not registered in an error that holds the whole configuration.
_UNKNOWN = re.compile(r"Could not locate (class|function) '([^']+)'")
# The member of a file, and the file in a folder, that holds the configuration.
_CONFIG = "config.json"
_SHOWN = 3  # Names in an error.


def load_model(path, custom_objects=None, *, compile: bool = True, safe_mode: bool = True) -> VAE:
    """Loads a `.keras` file with a `kvae.VAE`, when its checksums are right.

    What the file costs is bounded before it is paid: its members, its configuration, and variables
    that are larger than its weights (see `kvae.utils.configs`).

    `keras.saving.load_model` does the same once this library's classes are registered, which they
    are when Keras was imported before `kvae`, or after any of its classes was used.

    Args:
        path: str or path.
        custom_objects: optional dict. Classes and functions of your own that the file names, e.g.
            `{"MyLayer": MyLayer}`, where they are not registered with
            `keras.saving.register_keras_serializable`.
        compile: bool. Whether the model is compiled as it was when it was saved. Defaults to
            `True`.
        safe_mode: bool. Whether code in the file is refused, which `Lambda` layers have. Give
            `False` only for files whose author you trust. Defaults to `True`.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there is no such file.
        RuntimeError: in a process that was forked after TensorFlow had been used.
        ValueError: if it was cut off or altered, was made to exhaust the machine, or is no model
            file; the message says what it is.

    Example:

    ```python
    vae.save("mine.keras")
    vae = kvae.load_model("mine.keras")
    ```
    """
    forks.check()
    place = pathlib.Path(path)
    if "://" not in os.fspath(path):
        _check(place)
    elif os.fspath(path).startswith("hf://"):
        raise ValueError(f"{path} is on the Hugging Face Hub: load it with zoo.load({path!r}).")
    with configs.errors(f"{path} is no model file that Keras can load"):
        with configs.weights_bound(configs.read_model_file(path), str(path)):
            try:
                model = keras.saving.load_model(
                    os.fspath(path),
                    custom_objects=custom_objects,
                    compile=compile,
                    safe_mode=safe_mode,
                )
                return cast(VAE, model)  # Or another Keras model, where the file holds one.
            except Exception as error:
                name = _UNKNOWN.search(str(error))
                if name is None:
                    raise
                found = _unknown(place, custom_objects or {}) or {name[2]: ""}
                raise ValueError(_advice(found)) from error


def _unknown(path: pathlib.Path, custom_objects: Mapping) -> dict[str, str]:
    """Returns the classes and functions that a model file names and nobody knows, with modules."""
    if path.is_dir():
        text = (path / _CONFIG).read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_CONFIG)
    found: dict[str, str] = {}

    def search(value) -> None:
        if isinstance(value, dict):
            name, registered = value.get("class_name"), value.get("registered_name")
            module = str(value.get("module") or "")
            if name == "function":  # Its module is not told.
                name = registered = value.get("config")
            if isinstance(name, str) and isinstance(registered, str):
                builtin = module.partition(".")[0] == "keras" or (
                    module == "builtins" and hasattr(keras.activations, name)
                )
                known = keras.saving.get_registered_object(registered, custom_objects)
                if not builtin and known is None:
                    found[name] = "" if module == "builtins" else module
            for each in value.values():
                search(each)
        elif isinstance(value, list):
            for each in value:
                search(each)

    search(json.loads(text))
    return found


def _advice(unknown: Mapping[str, str]) -> str:
    """Returns what is said of classes and functions that are not known: their names, a remedy."""
    listed = list(unknown)
    shown = ", ".join(map(repr, listed[:_SHOWN])) + (" and others" if listed[_SHOWN:] else "")
    modules = sorted({module for module in unknown.values() if module not in ("", "__main__")})
    where = f" of {modules[0]}" if modules else ""
    return (
        f"it names {shown}{where}, not known here. Import the module that defines and registers "
        "what is missing (keras.saving.register_keras_serializable), or give custom_objects="
        f"{{{listed[0]!r}: {listed[0]}}}; to a command of kvae, give --import "
        f"{modules[0] if modules else 'MODULE'}"
    )


def _check(path: pathlib.Path) -> None:
    """Refuses what is no model file, by its name and before it is opened."""
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {path}. Check the path.")
    if path.is_dir():
        if (path / _CONFIG).is_file():
            return
        if any(path.glob("saved_model.pb")) or any(path.glob("*/saved_model.pb")):
            raise ValueError(
                f"{path} is a SavedModel: it has been exported to be run, e.g. with export.Client "
                "or tf.saved_model.load, and is no model to train. Load the .keras file."
            )
        raise ValueError(f"{path} is a folder, not a model file. Give the path of a .keras file.")
    name = path.name.lower()
    if name.endswith(".weights.h5"):
        raise ValueError(
            f"{path} holds weights alone: make the model as it was made, then call "
            f"model.load_weights({str(path)!r})."
        )
    if name.endswith((".h5", ".hdf5")):
        raise ValueError(
            f"{path} is of Keras's older HDF5 format, in which no kvae.VAE is saved. Save the "
            "model as .keras; load other models with keras.saving.load_model."
        )
    if not name.endswith(_SUFFIX):
        raise ValueError(
            f"{path} is no model file: the name of one ends in {_SUFFIX}. Give it that name if it "
            "was written by model.save."
        )
