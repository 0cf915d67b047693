"""Configurations of models that others wrote, bounded before anything is built of them."""

import contextlib
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator

from kvae.utils import archives
from kvae.utils.terminal import printable

__all__ = ["MAX_BYTES", "check", "errors", "loads", "read_model_file", "weights_bound"]

# A configuration of kvae's own models has some ten thousand characters, and is some fifteen deep.
MAX_BYTES = 4 << 20
_MAX_DEPTH = 100
# What is built of it: layers, and the initializers, parts and dtypes of each.
_MAX_OBJECTS = 5_000
# The sum of the squares of layers in Sequential models: Keras builds such a model anew with each
# layer, and takes 15 s for one of 200.
_MAX_SQUARES = 200**2
# Variables that no file has, such as counters and the state of metrics.
_SPARE_BYTES = 1 << 20
_LONGEST_ERROR = 600


def loads(text: str | bytes, what: str) -> object:
    """Reads the JSON of a configuration and checks it.

    Args:
        text: str or bytes.
        what: str. The file's name, for errors.

    Raises:
        ValueError: if it is too large or no JSON, or as `check` does.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"{what} has {len(text)} bytes; {MAX_BYTES} are allowed.")
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{what} is no JSON: {error}.") from None
    check(config, what)
    return config


def check(config: object, what: str) -> None:
    """Checks that a model can be built of plain data without harm.

    Raises:
        ValueError: if it is nested too deeply, describes too many objects, or has control
            characters, which could steer a terminal where a name is printed.
    """
    objects, squares, level = 0, 0, [config]
    for _ in range(_MAX_DEPTH):
        children = []
        for value in level:
            if isinstance(value, dict):
                objects += "class_name" in value
                if value.get("class_name") == "Sequential":
                    inner = value.get("config")
                    layers = inner.get("layers") if isinstance(inner, dict) else None
                    squares += len(layers) ** 2 if isinstance(layers, list) else 0
                children += [*value, *value.values()]
            elif isinstance(value, list):
                children += value
            elif isinstance(value, str) and printable(value) != value:
                raise ValueError(f"{what} has control characters in {value[:40]!r}.")
        if objects > _MAX_OBJECTS:
            raise ValueError(f"{what} describes more than {_MAX_OBJECTS} objects.")
        if squares > _MAX_SQUARES:
            raise ValueError(
                f"{what} describes more layers in Sequential models than Keras builds in time. "
                "Save the model with functional ones."
            )
        level = children
        if not level:
            return
    raise ValueError(f"{what} is nested too deeply: in more than {_MAX_DEPTH} levels.")


def read_model_file(path: str | os.PathLike) -> int:
    """Checks a `.keras` file, or the folder of an unzipped one, before it is loaded.

    Returns:
        The bytes that its members have, which those of the model's variables do not exceed.

    Raises:
        ValueError: if there is none, or as `kvae.utils.archives.check_archive`, `check` and
            `kvae.utils.archives.check_hdf5` do.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        for file in files:
            with open(file, "rb") as stream:
                _check_member(stream, str(file))
        return sum(file.stat().st_size for file in files)
    if not path.is_file():
        raise ValueError("it is not there. Models on the Hugging Face Hub are read by zoo.load")
    archives.check_archive(path)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                _check_member(stream, f"{member.filename} of {path}")
        return sum(member.file_size for member in archive.infolist())


def _check_member(stream, name: str) -> None:
    kind = name.partition(" of ")[0].rpartition(".")[2]
    if kind == "json":
        loads(stream.read(MAX_BYTES + 1), name)
    elif kind == "h5":
        archives.check_hdf5(stream, name)


@contextlib.contextmanager
def weights_bound(size: int, what: str) -> Iterator[None]:
    """Lets a model be built whose variables fit into a file of weights, and none that is larger.

    Variables that this thread makes are counted before they get any memory.

    Args:
        size: int. Bytes of the file, which is not compressed.
        what: str. The file's name, for errors.

    Raises:
        ValueError: in place of the variable that is too much.
    """
    import tensorflow as tf

    left = size + _SPARE_BYTES

    def create(next_creator, **arguments):
        nonlocal left
        value = arguments["initial_value"]
        if callable(value):
            with tf.Graph().as_default():  # Nothing is computed here.
                value = value()
        value = tf.convert_to_tensor(value) if not hasattr(value, "dtype") else value
        left -= math.prod(value.shape) * tf.as_dtype(value.dtype).size
        if left < 0:
            raise ValueError(
                f"the model's variables take more than the {size} bytes of {what}: the "
                "configuration belongs to other weights, or was made to exhaust this machine"
            )
        return next_creator(**arguments)

    with tf.variable_creator_scope(create):
        yield


@contextlib.contextmanager
def errors(what: str) -> Iterator[None]:
    """Turns whatever a wrong configuration raises into one line that begins with `what`.

    Raises:
        ValueError: in place of any other error of the block.
    """
    try:
        yield
    except Exception as error:
        text = printable(" ".join(str(error).split())) or type(error).__name__
        if len(text) > _LONGEST_ERROR:
            text = f"{text[:_LONGEST_ERROR]} …"
        raise ValueError(f"{what}: {text}") from error
