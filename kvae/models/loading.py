"""Loading of model files, with advice where a path is no model file."""

import os
import pathlib
import re
from typing import cast

import keras

from kvae.models.vae import VAE
from kvae.utils import configs, forks

__all__ = ["load_model"]

_SUFFIX = ".keras"
# Keras names what is not registered in an error that holds the whole configuration.
_UNKNOWN = re.compile(r"Could not locate (class|function) '([^']+)'")
# `keras.Model.save(path, zipped=False)` writes this file into a folder.
_FOLDER = "config.json"


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
                raise ValueError(
                    f"it names {name[2]!r}, which is not registered. Give custom_objects="
                    f"{{{name[2]!r}: …}}, or register it with "
                    "keras.saving.register_keras_serializable"
                ) from error


def _check(path: pathlib.Path) -> None:
    """Refuses what is no model file, by its name and before it is opened."""
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {path}. Check the path.")
    if path.is_dir():
        if (path / _FOLDER).is_file():
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
