"""A model as the development server runs it: its newest version, and the requests that wait."""

import collections
import concurrent.futures
import contextlib
import os
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
# Sessions run beside each other; of a second one loops over rows gain, such as those of `score`.
_THREADS = min(2, os.cpu_count() or 1)


class _Waiting:
    """A request that waits for its turn."""

    def __init__(self, name: str, inputs: dict[str, np.ndarray], deadline: float, version):
        self.name, self.inputs, self.deadline, self.version = name, inputs, deadline, version
        self.rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
        self.future = concurrent.futures.Future()

    def alike(self, signature: Signature | None) -> tuple | None:
        """Returns what requests have in common that may run as one; `None` for one that may not."""
        if signature is None or not 0 < self.rows <= _ROWS:
            return None
        infos = [*signature.inputs.values(), *signature.outputs.values()]
        # The steps of an interpolation are as many as the longest one of a batch has.
        free = any(None in info.shape[1:] for info in signature.outputs.values())
        if free or any(info.shape[:1] != (None,) for info in infos):
            return None
        shapes = sorted((name, array.shape[1:]) for name, array in self.inputs.items())
        return self.name, self.version, *shapes


class Model:
    """A model's newest version, loaded, and the threads that run it.

    Args:
        name: str.
        folder: path. Of its versions.
        max_pending: int. Requests that may wait.
        batching: bool. Whether requests that wait at the same time run as one, up to 64 rows. A
            row's answer does not depend on the others, and a wrong request is refused alone.
            Defaults to `True`.
    """

    def __init__(self, name: str, folder: pathlib.Path, max_pending: int, batching: bool = True):
        self.name, self.folder, self.batching = name, folder, batching
        self.version, self.session, self.error = 0, None, ""
        self._failed = None
        self._places = threading.BoundedSemaphore(max_pending)
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._uses = collections.Counter()  # The runs of each session that have not ended.
        self._worker = concurrent.futures.ThreadPoolExecutor(
            _THREADS, thread_name_prefix=f"run-{name}"
        )

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
        with self._lock:
            old, self.session, self.version, self.error = self.session, session, newest, ""
            idle = old is not None and not self._uses[old]
        if idle:
            old.close()

    @contextlib.contextmanager
    def _using(self, version: int | None):
        """Yields the session and its version; one that was replaced is closed by its last user."""
        with self._lock:
            session, number = self.loaded(version), self.version
            self._uses[session] += 1
        try:
            yield session, number
        finally:
            with self._lock:
                self._uses[session] -= 1
                last = not self._uses[session]
                if last:
                    del self._uses[session]
                last = last and session is not self.session
            if last:
                session.close()

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
        request = _Waiting(name, inputs, deadline, version)
        future = request.future
        future.add_done_callback(lambda _: self._places.release())
        self._waiting.append(request)
        try:
            self._worker.submit(self._run_next)
        except RuntimeError:  # It has been shut down.
            future.cancel()
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

    def _run_next(self) -> None:
        """Runs the request that waits longest, and those that may run with it."""
        requests = self._taken()
        if not requests:  # They ran with others.
            return
        try:
            found = self._together(requests)
        except c_api.SessionError:
            found = None  # One of them is wrong. Alone, only that one is refused.
        except BaseException as error:
            for request in requests:
                request.future.set_exception(error)
            return
        if found is not None:
            for request, answer in zip(requests, found, strict=True):
                request.future.set_result(answer)
            return
        for request in requests:
            try:
                request.future.set_result(self._run(request))
            except BaseException as error:
                request.future.set_exception(error)

    def _taken(self) -> list[_Waiting]:
        """Returns requests to run now, and marks them as running."""
        found, others, rows, common = [], [], 0, None
        with self._lock:
            signatures = {} if self.session is None else self.session.signatures
            while self._waiting and (common is not None or not found):
                request = self._waiting.popleft()
                kind = request.alike(signatures.get(request.name)) if self.batching else None
                if found and (kind != common or rows + request.rows > _ROWS):
                    others.append(request)
                elif request.future.set_running_or_notify_cancel():
                    common, rows = kind, rows + request.rows
                    found.append(request)
            self._waiting.extendleft(reversed(others))
        return found

    def _together(self, requests: list[_Waiting]) -> list[tuple[int, dict]] | None:
        """Runs requests as one; returns the answer to each, or `None` where that cannot be."""
        if len(requests) == 1:
            return None
        first = requests[0]
        inputs = {
            name: np.concatenate(
                [_for_each(request.inputs[name], request.rows) for request in requests]
            )
            for name in first.inputs
        }
        with self._using(first.version) as (session, version):
            outputs = session.run(first.name, inputs)
        total = sum(request.rows for request in requests)
        if any(array.shape[:1] != (total,) for array in outputs.values()):
            return None
        answers, start = [], 0
        for request in requests:
            end = start + request.rows
            answers.append((version, {name: array[start:end] for name, array in outputs.items()}))
            start = end
        return answers

    def _run(self, request: _Waiting) -> tuple[int, dict]:
        with self._using(request.version) as (session, version):
            return version, self._in_parts(session, request)

    def _in_parts(self, session, request: _Waiting) -> dict[str, np.ndarray]:
        name, inputs = request.name, request.inputs
        optional, outputs = (), {}
        if name in session.signatures:
            optional, outputs = session.signatures[name].optional, session.signatures[name].outputs
        # The parts of an interpolation could differ in their numbers of steps.
        free = any(None in info.shape[1:] for info in outputs.values())
        if request.rows <= _ROWS or free:
            return session.run(name, inputs)
        parts = []
        for start in range(0, request.rows, _ROWS):
            if time.monotonic() > request.deadline:
                raise late()
            part = {
                key: array if len(array) == 1 and key in optional else array[start : start + _ROWS]
                for key, array in inputs.items()
            }
            parts.append(session.run(name, part))
        return {key: np.concatenate([part[key] for part in parts]) for key in outputs}

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)
        while self._waiting:
            self._waiting.popleft().future.cancel()
        if self.session is not None:
            self.session.close()
            self.session = None


def _for_each(array: np.ndarray, rows: int) -> np.ndarray:
    """Returns one value for each row, of one for each or one for all."""
    return array if len(array) == rows else np.repeat(array, rows, axis=0)
