"""A model as the development server runs it: its newest version, in a thread of its own."""

import concurrent.futures
import pathlib
import threading
import time

import numpy as np

from export.runtimes import c_api
from export.serving.development.failures import Failure, late
from export.signatures import Signature

__all__ = ["Model"]

# The rows that are run at once. Between two such parts a request whose time is up is dropped.
_ROWS = 64


class Model:
    """A model's newest version, loaded, and the thread that runs it."""

    def __init__(self, name: str, folder: pathlib.Path, max_pending: int):
        self.name, self.folder = name, folder
        self.version, self.session, self.error = 0, None, ""
        self._failed = None
        self._places = threading.BoundedSemaphore(max_pending)
        # One thread runs the session; the kernels use all cores.
        self._worker = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"run-{name}")

    def refresh(self) -> None:
        """Loads the newest version where it is newer than the loaded one."""
        from export.files import versions

        newest = max(versions.versions(self.folder), default=0)
        if newest in (self.version, self._failed) or not newest:
            return
        try:
            versions.check(self.folder / str(newest))
            session = c_api.Session(self.folder / str(newest))
        except (c_api.SessionError, OSError, ValueError) as error:
            self.error, self._failed = f"version {newest}: {error}", newest
            return
        # The worker replaces the session, so that no request runs in the one that is closed.
        self._worker.submit(self._replace, newest, session).result()

    def _replace(self, version, session) -> None:
        old, self.session, self.version, self.error = self.session, session, version, ""
        if old is not None:
            old.close()

    def loaded(self, version: int | None = None):
        if self.session is None or version not in (None, self.version):
            wanted = "Latest" if version is None else f"Specific({version})"
            why = f" ({self.error})" if self.error else ""
            raise Failure("NOT_FOUND", f"Servable not found for request: {wanted} {self.name}{why}")
        return self.session

    def signature(self, name: str, version: int | None = None) -> Signature:
        available = self.loaded(version).signatures
        if name not in available:
            known = ", ".join(available)
            raise Failure("INVALID_ARGUMENT", f"There is no signature {name!r}. There are: {known}")
        return available[name]

    def run(
        self,
        name: str,
        inputs: dict[str, np.ndarray],
        deadline: float,
        version: int | None = None,
    ) -> tuple[int, dict]:
        """Runs a signature when its turn comes, within the deadline.

        Returns:
            The version that ran, and its outputs.
        """
        if not self._places.acquire(blocking=False):
            text = "Too many requests are waiting. Try again later."
            raise Failure("RESOURCE_EXHAUSTED", text, 429)
        try:
            future = self._worker.submit(self._run, name, inputs, deadline, version)
        except RuntimeError:
            self._places.release()
            raise Failure("UNAVAILABLE", "The server is stopping.") from None
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise late() from None
        except concurrent.futures.CancelledError:
            raise Failure("UNAVAILABLE", "The server is stopping.") from None
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", str(error)) from None
        except c_api.SessionError as error:
            raise Failure(error.code, (error.message or error.code).splitlines()[0]) from None

    def _run(self, name, inputs, deadline, version) -> tuple[int, dict]:
        session = self.loaded(version)
        optional, outputs = (), {}
        if name in session.signatures:
            optional, outputs = session.signatures[name].optional, session.signatures[name].outputs
        rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
        # The parts of an interpolation could differ in their numbers of steps.
        free = any(None in info.shape[1:] for info in outputs.values())
        if rows <= _ROWS or free:
            return self.version, session.run(name, inputs)
        parts = []
        for start in range(0, rows, _ROWS):
            if time.monotonic() > deadline:
                raise late()
            part = {
                key: array if len(array) == 1 and key in optional else array[start : start + _ROWS]
                for key, array in inputs.items()
            }
            parts.append(session.run(name, part))
        return self.version, {key: np.concatenate([part[key] for part in parts]) for key in outputs}

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)
        if self.session is not None:
            self.session.close()
            self.session = None
