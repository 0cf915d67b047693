"""Estimates that go on where they were interrupted."""

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from kvae.utils import io, locks
from kvae.version import __version__

__all__ = ["BatchCache", "data_fingerprint", "weights_fingerprint"]

# Least seconds between two writes, so that fast batches are not slowed down by them.
_EVERY = 5.0


class BatchCache:
    """A file with the rows of the batches that are finished, named by what they depend on.

    It is written whole beside its place and renamed: a process killed at any moment leaves the last
    one, at most five seconds old. The file is locked (see `kvae.utils.locks.Lock`) until `close`,
    so that no two estimates write it.

    Args:
        path: str, path or `None`. The file; it need not exist. `None` keeps the rows in memory.
        keys: dict of str. What the rows are computed from, e.g. `{"weights": …, "data": …}`.
        names: the names of the arrays.

    Raises:
        BlockingIOError: if another process, or another thread, computes the same estimate.
        ValueError: for a file with other keys, and for one that is damaged.
    """

    def __init__(self, path: str | os.PathLike | None, keys: dict[str, str], names: Iterable[str]):
        self.path = None if path is None else pathlib.Path(path)
        self.keys = {**keys, "version": __version__}
        self.rows = {name: [] for name in names}
        self.done = 0
        self._written = 0
        self._time = time.monotonic()
        if self.path is not None and self.path.is_dir():
            raise ValueError(f"{self.path} is a folder: give a file as `cache`.")
        self._lock = None
        if self.path is None:
            return
        # Before the first batch, and not after it.
        io.writable_folder(self.path.parent, f"write {self.path}")
        self._lock = locks.Lock(self.path, "an estimate")
        self._lock.acquire()
        try:
            if self.path.exists():
                self._read()
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> None:
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                keys = json.loads(str(stored["keys"]))
                rows = {name: stored[name] for name in self.rows}
            if len({len(values) for values in rows.values()}) != 1:
                raise ValueError("its arrays differ in length")
        except io.DAMAGED as error:
            raise ValueError(
                f"{self.path} is not a whole cache of estimates ({error}): it was truncated or "
                "altered. Delete it, or give another `cache`."
            ) from None
        other = sorted(key for key in {*keys, *self.keys} if keys.get(key) != self.keys.get(key))
        if other:
            raise ValueError(
                f"{self.path} is the cache of another estimate: its {', '.join(other)} differ. "
                "Delete it, or give another `cache`."
            )
        self.rows = {name: [values] for name, values in rows.items()}
        self.done = self._written = len(next(iter(rows.values())))

    def add(self, **rows) -> None:
        """Adds the rows of a finished batch."""
        for name, values in rows.items():
            self.rows[name].append(values)
        self.done += len(values)
        if time.monotonic() - self._time > _EVERY:
            self.write()

    def write(self) -> None:
        """Writes the rows that are not in the file yet."""
        if self.path is not None and self.done > self._written:
            with io.atomic_write(self.path) as temporary, open(temporary, "wb") as file:
                np.savez(file, keys=json.dumps(self.keys), **self.arrays())
            self._written = self.done
        self._time = time.monotonic()

    def close(self) -> None:
        """Writes the rows that are not in the file yet, and unlocks it."""
        try:
            self.write()
        finally:
            if self._lock is not None:
                self._lock.release()

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(parts) for name, parts in self.rows.items()}


def data_fingerprint(*arrays) -> str:
    """Returns the SHA-256 of arrays, their types and shapes; an array may be missing (`None`)."""
    digest = hashlib.sha256()
    for values in arrays:
        if values is None:
            digest.update(b"none")
            continue
        values = np.ascontiguousarray(values)
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.data)
    return digest.hexdigest()


def weights_fingerprint(model: Any) -> str:
    """Returns the SHA-256 of a model's configuration and weights, without its layers' names.

    Keras numbers the names by the layers that were built before in the process.
    """
    from kvae.utils import keras_internals

    try:
        config = json.dumps(model.get_config(), sort_keys=True, default=str)
    except NotImplementedError:  # A network of the user's without a configuration.
        config = ""
    for index, layer in enumerate(keras_internals.flat_layers(model)):
        config = config.replace(json.dumps(layer.name), f'"#{index}"')
    # The state of the training's noise does not belong to the model.
    weights = [v.numpy() for v in model.variables if "seed_generator" not in v.name]
    return data_fingerprint(np.frombuffer(config.encode(), np.uint8), *weights)
