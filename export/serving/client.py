"""A client of TensorFlow Serving for the models that this package exports, by REST or gRPC."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from export import modalities
from export.serving.answers import (
    Detected,
    Generated,
    Imputed,
    ImputedRows,
    Interpolated,
    Rows,
    Score,
    bytes_of,
    texts_of,
)
from export.serving.arrays import seeds_of
from export.serving.connection import Connection
from export.serving.transports import ServingError
from export.signatures import DECODE, ENCODE, INPUTS

__all__ = ["Client", "ServingError"]

_STEPS, _SAMPLES = int(INPUTS["steps"].default), int(INPUTS["num_samples"].default)
_TEMPERATURE = INPUTS["temperature"].default

# Events, the contents of image files, or modalities by name.
Images = ArrayLike | bytes | Sequence[bytes] | Mapping[str, ArrayLike]
# Classes, or conditions by name.
Labels = int | Sequence[int] | np.ndarray | Mapping[str, ArrayLike] | None


class Client(Connection):
    """Asks one model of a TensorFlow Serving server, or of `kvae serve`.

    The client checks inputs against the server's description of the model, and casts them to the
    types that it takes. While a server is starting, overloaded or unreachable, a request is sent
    again, with growing pauses, until it is answered or its time is up. Threads may share a client.

    Args:
        address: str. `http://host:8501`, `https://…` for REST (a bare `host:port` is HTTP);
            `grpc://host:8500` or `grpcs://…` for gRPC, which needs the packages `grpcio` and
            `tensorflow-serving-api`, and sends arrays in a fraction of the bytes.
        model: str. Its name on the server.
        version: int. Defaults to `None`: the one that is served.
        timeout: float. Seconds for each call with all its attempts. Defaults to `30`.
        attempts: int. The most attempts at one call. Defaults to `8`.

    Raises:
        ModuleNotFoundError: for gRPC without its packages.
        ValueError: for an address of another kind.

    Example:

    ```python
    client = export.Client("http://localhost:8501", "digits")
    image, z = client.generate([1, 2, 3])
    client.reconstruct(image)
    ```
    """

    def __enter__(self) -> "Client":
        return self

    # A method for each signature of `export.signatures`.

    def encode(
        self, image: Images, label: Labels = None, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the posterior's parameters, e.g. `z_mean` and `z_log_var`, `[batch, …]`.

        Args:
            image: `[batch, *event]`; PNG or JPEG files, as bytes or a list of them, where the model
                was exported with `preprocessing="png"`; of a model of several modalities a dict of
                them, of which any may be left out. NaN is absent.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._ask(ENCODE, {"image": image}, label, timeout)

    def decode(
        self, z: ArrayLike, label: Labels = None, timeout: float | None = None
    ) -> np.ndarray:
        """Returns the mean of p(x|z), `[batch, *event]`.

        Of several modalities this and the methods below return a dict by name in its place.

        Args:
            z: `[batch, latent_dim]`.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._events(self._ask(DECODE, {"z": z}, label, timeout))

    def reconstruct(
        self, image: Images, label: Labels = None, timeout: float | None = None
    ) -> np.ndarray:
        """Returns images encoded to the posterior mean and decoded again, `[batch, *event]`.

        Args:
            image: as `encode` takes it.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._ask("reconstruct", {"image": image}, label, timeout)["image"]

    def embed(
        self, image: Images, label: Labels = None, timeout: float | None = None
    ) -> np.ndarray:
        """Returns the posterior means, `[batch, latent_dim]`.

        Args:
            image: as `encode` takes it.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._ask("embed", {"image": image}, label, timeout)["embedding"]

    def generate(
        self,
        seed: int | Sequence[int],
        label: Labels = None,
        temperature: float | Sequence[float] = _TEMPERATURE,
        timeout: float | None = None,
    ) -> Generated:
        """Draws an image for each seed. The same seed gives the same image on every server.

        Args:
            seed: int or `[batch]`, from 0 to 2**62 - 1.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            temperature: float or `[batch]`, at least 0. Scales the noise. Defaults to `1.0`.
            timeout: float. Seconds. Defaults to the client's.
        """
        inputs = {"seed": np.atleast_1d(seed)}
        optional = {"temperature": temperature}
        outputs = self._ask("generate", inputs, label, timeout, optional)
        return Generated(self._events(outputs), outputs["z"])

    def interpolate(
        self,
        z_start: ArrayLike,
        z_end: ArrayLike,
        steps: int = _STEPS,
        label: Labels = None,
        timeout: float | None = None,
    ) -> Interpolated:
        """Returns the way from each `z_start` to its `z_end`.

        Args:
            z_start: `[batch, latent_dim]`.
            z_end: `[batch, latent_dim]`.
            steps: int. Points on the way, both ends included, at most 64. Defaults to `8`.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        inputs = {"z_start": z_start, "z_end": z_end}
        outputs = self._ask("interpolate", inputs, label, timeout, {"steps": steps})
        return Interpolated(self._events(outputs), outputs["z"])

    def interpolate_images(
        self,
        image_start: Images,
        image_end: Images,
        steps: int = _STEPS,
        label: Labels = None,
        timeout: float | None = None,
    ) -> Interpolated:
        """Returns the way from each `image_start` to its `image_end`, by their posterior means.

        Args:
            image_start: as `encode` takes it.
            image_end: as `encode` takes it.
            steps: int. Points on the way, both ends included, at most 64. Defaults to `8`.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        inputs = {"image_start": image_start, "image_end": image_end}
        outputs = self._ask("interpolate_images", inputs, label, timeout, {"steps": steps})
        return Interpolated(self._events(outputs), outputs["z"])

    def score(
        self,
        image: Images,
        seed: int | Sequence[int] = 0,
        num_samples: int = _SAMPLES,
        label: Labels = None,
        timeout: float | None = None,
    ) -> Score:
        """Estimates log p(x) of each image, in nats.

        Args:
            image: as `encode` takes it.
            seed: int or `[batch]`. One integer stands for itself and its successors, so that rows
                are independent. Defaults to `0`.
            num_samples: int. Importance samples for each image, at most 1000. Defaults to `64`.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        inputs = {"image": image, "seed": seeds_of(seed, image)}
        outputs = self._ask("score", inputs, label, timeout, {"num_samples": num_samples})
        return Score(outputs["elbo"], outputs["log_prob"], outputs["effective_sample_size"])

    def impute(
        self,
        image: Images,
        mask: np.ndarray | Mapping[str, np.ndarray] | None = None,
        seed: int | Sequence[int] = 0,
        num_samples: int = _SAMPLES,
        label: Labels = None,
        timeout: float | None = None,
    ) -> Imputed:
        """Fills in what was not observed of each image.

        Args:
            image: as `encode` takes it; what stands where nothing was observed has no influence.
            mask: bool array `[batch, *event]`, True where a value was observed; of a model of
                several modalities a dict of them, or of bools for each row. Defaults to `None`, for
                such a model alone: what was not given is filled in.
            seed, num_samples, label, timeout: as of `score`.
        """
        inputs = {"image": image, "seed": seeds_of(seed, image)}
        if mask is not None:
            inputs["mask"] = mask
        outputs = self._ask("impute", inputs, label, timeout, {"num_samples": num_samples})
        found = self._events(outputs)
        return Imputed(found, outputs["log_prob"], outputs["effective_sample_size"])

    def detect(self, image: Images, label: Labels = None, timeout: float | None = None) -> Detected:
        """Judges how unusual each image is, by the threshold that the model keeps.

        Args:
            image: as `encode` takes it.
            label: int, `[batch]` or dict of conditions, of a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        outputs = self._ask("detect", {"image": image}, label, timeout)
        outputs["map"] = self._events(outputs, "map")
        return Detected(**{name: outputs[name] for name in Detected.__annotations__})

    def encode_table(
        self, cells: Sequence[Sequence], label: Labels = None, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the posterior's parameters of rows as the table has them.

        Args:
            cells: rows of texts or numbers, in the order of the table's columns; `None` and empty
                texts are missing.
            label: int or `[batch]`. The classes, for a conditional model. Defaults to `None`.
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._ask("encode_table", {"cells": bytes_of(cells)}, label, timeout)

    def generate_table(
        self,
        seed: int | Sequence[int],
        label: Labels = None,
        temperature: float | Sequence[float] = _TEMPERATURE,
        timeout: float | None = None,
    ) -> Rows:
        """Draws a row of a table for each seed. The same seed gives the same row on every server.

        Args:
            seed, label, temperature, timeout: as of `generate`.
        """
        inputs = {"seed": np.atleast_1d(seed)}
        optional = {"temperature": temperature}
        outputs = self._ask("generate_table", inputs, label, timeout, optional)
        return Rows(texts_of(outputs["cells"]), outputs["z"])

    def impute_table(
        self,
        cells: Sequence[Sequence],
        seed: int | Sequence[int] = 0,
        num_samples: int = _SAMPLES,
        label: Labels = None,
        timeout: float | None = None,
    ) -> ImputedRows:
        """Fills the empty cells of rows of a table; all others come back as they were.

        Args:
            cells: as of `encode_table`.
            seed, num_samples, label, timeout: as of `score`.
        """
        cells = bytes_of(cells)
        seeds = seed + np.arange(len(cells)) if np.ndim(seed) == 0 else np.asarray(seed)
        inputs, optional = {"cells": cells, "seed": seeds}, {"num_samples": num_samples}
        outputs = self._ask("impute_table", inputs, label, timeout, optional)
        found = texts_of(outputs["cells"])
        return ImputedRows(found, outputs["log_prob"], outputs["effective_sample_size"])

    def classify(self, image: Images, timeout: float | None = None) -> np.ndarray:
        """Returns the probabilities of the classes, `[batch, num_classes]`.

        Args:
            image: as `encode` takes it.
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._ask("classify", {"image": image}, None, timeout)["probabilities"]

    def translate(
        self,
        image: Mapping[str, ArrayLike],
        to: str | Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Returns modalities of which others are given, `[batch, *shape]`, or a dict of them.

        Args:
            image: dict of modalities, as `encode` takes it.
            to: str or list of str. The modalities to return. Defaults to `None`: all.
            timeout: float. Seconds. Defaults to the client's.
        """
        found = self._events(self._ask("translate", {"image": image}, None, timeout))
        return modalities.chosen(found, to)

    # What these methods are made of.

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Runs any signature of the model.

        Args:
            signature: str. Its name.
            inputs: dict of str to array.
            timeout: float. Seconds. Defaults to the client's.

        Returns:
            dict of str to array: the outputs.

        Raises:
            ServingError: with what the server said, or that it did not answer in time.
            ValueError: if the inputs do not fit the signature.
        """
        return self._run(signature, inputs, self._deadline(timeout))

    def signatures(self, timeout: float | None = None) -> dict[str, tuple[str, ...]]:
        """Returns the names of the inputs of every signature.

        Args:
            timeout: float. Seconds. Defaults to the client's.
        """
        self._signature(None, self._deadline(timeout))
        return {name: tuple(item.inputs) for name, item in self._known.items()}

    def status(self, timeout: float | None = None) -> dict[int, str]:
        """Returns the state of each version that the server knows, e.g. `{1: "AVAILABLE"}`.

        Args:
            timeout: float. Seconds. Defaults to the client's.
        """
        return self._retry(self._deadline(timeout), self._transport.status)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Waits until the model is served.

        Args:
            timeout: float. Seconds to wait at most. Defaults to `60`.

        Raises:
            ServingError: if it is not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                states = self._transport.status(deadline)
                if "AVAILABLE" in states.values():
                    return
                last = f"its versions are {states}"
            except ServingError as error:
                if error.code not in ("UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED"):
                    raise
                last = str(error)
            if time.monotonic() + 0.2 > deadline:
                raise ServingError(
                    "DEADLINE_EXCEEDED", f"{self.model!r} is not served after {timeout:g} s: {last}"
                )
            time.sleep(0.2)
