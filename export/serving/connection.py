"""The connection of a client with a server: requests that are checked, and sent until answered."""

import random
import time
import urllib.parse

import numpy as np

from export import modalities
from export.conditions import sent_values
from export.serving.arrays import as_input, as_rows
from export.serving.transports import Grpc, Rest, ServingError
from export.signatures import FILE_SUFFIX, INPUTS, Signature, specified_input

__all__ = ["Connection"]

# The errors after which the same request may succeed. Every signature is a function of its inputs,
# so asking twice does no harm.
_TRANSIENT = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class Connection:
    """The base of `export.Client`, with the requests and checks of which its methods are made."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        timeout: float = 30.0,
        attempts: int = 8,
    ):
        if "://" not in address:
            address = f"http://{address}"
        url = urllib.parse.urlsplit(address)
        kinds = {"http": Rest, "https": Rest, "grpc": Grpc, "grpcs": Grpc}
        if url.scheme not in kinds or not url.hostname:
            raise ValueError(
                f"{address!r} is no address of a server. Write http://host:8501 or grpc://host:8500."
            )
        if timeout <= 0 or attempts < 1:
            raise ValueError("`timeout` is positive, and `attempts` is at least 1.")
        self.model, self.version = model, version
        self.timeout, self.attempts = timeout, attempts
        self._transport = kinds[url.scheme](url, model, version)
        self._known: dict[str, Signature] = {}

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def _run(self, signature: str, inputs: dict, deadline: float) -> dict[str, np.ndarray]:
        found = self._signature(signature, deadline)
        if set(inputs) - set(found.inputs):
            raise ValueError(
                f"Signature {signature!r} takes the inputs {', '.join(found.inputs)}, "
                f"not {', '.join(sorted(inputs))}."
            )
        arrays = {name: as_input(name, value, found.inputs[name]) for name, value in inputs.items()}
        if len({len(array) for array in arrays.values()}) > 1:
            rows = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
            raise ValueError(f"The inputs differ in their numbers of rows: {rows}.")
        try:
            return self._retry(deadline, self._transport.predict, signature, arrays, found)
        except ServingError as error:
            if error.code in ("INVALID_ARGUMENT", "NOT_FOUND"):
                self._known = {}  # Another version may be served by now.
            raise

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _retry(self, deadline: float, function, *arguments):
        pause = 0.1
        for attempt in range(1, self.attempts + 1):
            if time.monotonic() >= deadline:
                raise ServingError("DEADLINE_EXCEEDED", "the call's time is up")
            try:
                return function(deadline, *arguments)
            except ServingError as error:
                # Half of the pause is random, so that clients do not all come back at once.
                wait = pause * random.uniform(0.5, 1.0)
                late = time.monotonic() + wait >= deadline
                if error.code not in _TRANSIENT or attempt == self.attempts or late:
                    raise
            time.sleep(wait)
            pause = min(2 * pause, 2.0)

    def _signature(self, name: str | None, deadline: float) -> Signature | None:
        if not self._known or (name is not None and name not in self._known):
            self._known = self._retry(deadline, self._transport.signatures)
        if name is None:
            return None
        if name not in self._known:
            known = ", ".join(sorted(self._known))
            raise ValueError(f"The model {self.model!r} has no signature {name!r}: {known}.")
        return self._known[name]

    def _events(self, outputs: dict, name: str = "image"):
        """Returns the events among outputs, a dict of those of several modalities."""
        return modalities.events_among(outputs, self._known, name)

    def _ask(self, signature: str, inputs: dict, label, timeout, optional=None) -> dict:
        deadline = self._deadline(timeout)
        known = self._signature(signature, deadline).inputs
        # A model that takes image files names its inputs so; a single file is one row.
        own = modalities.taken(inputs, self._known)
        inputs = own | {
            name + FILE_SUFFIX * (name + FILE_SUFFIX in known): [value]
            if isinstance(value, bytes)
            else value
            for name, value in inputs.items()
        }
        rows = len(next(iter(inputs.values())))
        # All inputs are sent, since a server that merges requests wants them alike.
        for name, value in (optional or {}).items():
            if name in known:
                inputs[name] = as_rows(value, rows)
            elif not np.all(np.asarray(value) == INPUTS[name].default):
                raise ValueError(f"The model {self.model!r} was exported without {name!r}.")
        told = [name for name in known if specified_input(name) is None and name not in own]
        labelled = ("label" in known and "label" not in own) or bool(told)
        if labelled != (label is not None):
            what = "needs a" if labelled else "takes no"
            raise ValueError(f"The model {self.model!r} {what} `label`.")
        if told:
            inputs.update(sent_values(label, {name: known[name] for name in told}, rows))
        elif label is not None:
            inputs["label"] = as_rows(label, rows)
        return self._run(signature, inputs, deadline)
