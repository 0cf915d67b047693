"""Inputs as a model would meet them, for trying its signatures out and for warming it up."""

import struct
import zlib

import numpy as np

from export import conditions, modalities
from export.signatures import (
    FILE_SUFFIX,
    INPUTS,
    UNIFORM_SUFFIX,
    Signature,
    TensorInfo,
    matches,
    specified_input,
)

__all__ = ["for_graph", "inputs", "png"]

_SEED = 20
_ENDS = ("z_end", "image_end", "image_end" + FILE_SUFFIX)


def inputs(
    signature: Signature, count: int, model=None, event_shape=None, known=None, data=None
) -> dict[str, np.ndarray]:
    """Makes `count` rows of every input of a signature.

    Images are in range, latents drawn from the prior, labels and counts in turn.

    Args:
        signature: `Signature`.
        count: int.
        model: `kvae.VAE` or `None`. Without one latents are Gaussian.
        event_shape: tuple of int or `None`. What image files hold; that of the model by default,
            else 8 by 8 pixels.
        known: optional dict of arrays. A request that the signature takes, whose images are
            repeated where there is no model to say which it takes.
        data: optional `kvae.datasets.Dataset`, whose examples and labels are repeated in place of
            made ones.
    """
    makers, known = _Makers(model, event_shape, data), known or {}

    def make(name, info):
        fits = name in known and len(known[name]) and matches(known[name], info)
        if model is None and _kind(name) in ("image", "cells", "") and fits:
            return np.resize(known[name], (count, *known[name].shape[1:]))
        return makers.make(name, info, count)

    return {name: make(name, info) for name, info in signature.inputs.items()}


def for_graph(specs, count: int, model) -> dict[str, np.ndarray]:
    """Makes `count` rows of every input of a graph.

    Args:
        specs: sequence of `tf.TensorSpec`. The inputs, whose first axis is the batch.
        count: int.
        model: `kvae.VAE`.
    """
    infos = {
        spec.name: TensorInfo(spec.dtype.name, (None, *spec.shape.as_list()[1:])) for spec in specs
    }
    return inputs(Signature(infos, {}), count, model)


def png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 pixels `[height, width, channels]` of 1, 3 or 4 channels as a PNG file."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(name: bytes, data: bytes) -> bytes:
        content = name + data
        return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))

    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels, np.uint8))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class _Makers:
    def __init__(self, model, event_shape, data=None):
        self.model, self.data = model, data
        self.event_shape = tuple(event_shape or getattr(model, "event_shape", None) or (8, 8, 1))

    def make(self, name: str, info: TensorInfo, count: int) -> np.ndarray:
        # The two ends of an interpolation get different draws.
        rng = np.random.default_rng(_SEED + (name in _ENDS))
        kind = _kind(name)
        if self.model is not None and self.model.modalities:
            own = self._modalities(count, rng)
            end = next((e for e in ("_start", "_end") if name.endswith(e)), "")
            if name.removesuffix(end) in own:
                return own[name.removesuffix(end)]
        told = getattr(self.model, "conditions", None)
        if told is not None and name in told.kinds:
            return conditions.values_of(self.model, self._own_labels(count))[name]
        if kind == "image":
            return self._images(info, count, rng)
        if kind == "mask":
            return (rng.random(_shape(info, count)) < 0.5).astype(info.dtype)
        if kind == "cells":
            return self._cells(count, rng)
        if kind == "latents":
            return self._latents(info, count, rng)
        if kind == "label":
            return self._labels(info, count)
        integer = np.dtype(info.dtype).kind in "iu"
        if kind == "seed" and integer:
            # Large seeds too, where the type has room for them, since both halves of a seed count.
            largest = min(np.iinfo(info.dtype).max, INPUTS[name].largest)
            return rng.integers(largest, size=count).astype(info.dtype)
        if kind == "number" and integer:
            # The work for a row grows with its number, so the numbers are small.
            return (np.arange(count) % INPUTS[name].example + 1).astype(info.dtype)
        if kind == "number":
            return np.linspace(1.0, 0.5, count).astype(info.dtype)
        if name.endswith(UNIFORM_SUFFIX):
            return rng.random(_shape(info, count)).astype(info.dtype)
        return self._anything(info, count, rng)

    def _cells(self, count, rng):
        """Returns rows that the model draws as the table has them, an array of bytes."""
        if self.model is None:
            raise ValueError("The cells of a table are known to its model alone.")
        rows = self.model.schema.rows(self._drawn(count, rng))
        return np.array([[cell.encode() for cell in row] for row in rows], "S")

    def _modalities(self, count, rng):
        """Returns rows that the model draws, of which each modality is absent in turn."""
        record = self._drawn(count, rng) if self.data is None else None
        if record is None:
            record = self.data.examples[rng.permutation(count) % len(self.data)]
        own = modalities.values_of(self.model, record)
        for place, values in enumerate(own.values()):
            values[1 + place :: len(own) + 1] = modalities.UNKNOWN
        return own

    def _images(self, info, count, rng):
        if info.dtype == "string":
            return np.array([png(image) for image in self._bytes(count, self.event_shape, rng)])
        shape = _shape(info, count)
        if info.dtype == "uint8":
            return self._bytes(count, shape[1:], rng)
        if self.data is not None:
            rows = rng.permutation(count) % len(self.data)
            return self.data.examples[rows].astype(info.dtype)
        if self.model is None:  # Zeros and ones, which nearly all likelihoods take.
            return rng.integers(2, size=shape).astype(info.dtype)
        if self._intensities():
            return rng.random(shape).astype(info.dtype)
        return self._drawn(count, rng).astype(info.dtype)

    def _bytes(self, count, shape, rng):
        if self.data is not None and self.data.x.dtype == np.uint8 and self.data.binarize is None:
            return self.data.x[rng.permutation(count) % len(self.data)]
        if self._intensities() or not self.model.likelihood.whole_numbers:
            return rng.integers(256, size=(count, *shape), dtype=np.uint8)
        return np.clip(self._drawn(count, rng), 0, 255).astype(np.uint8)

    def _intensities(self) -> bool:
        """Checks whether the model takes any numbers from 0 to 1."""
        if self.model is None:
            return True
        likelihood = self.model.likelihood
        return likelihood.support()[:2] == (0.0, 1.0) and not likelihood.whole_numbers

    def _drawn(self, count, rng):
        """Draws x from the model: what its likelihood takes, whatever that is."""
        z_info = TensorInfo("float32", (None, *self.model.latent_shape))
        label, z = self._own_labels(count), self.model.as_vectors(self._latents(z_info, count, rng))
        params = self.model.conditioned_on(label).decode_params(z)
        return np.asarray(self.model.likelihood.sample(params, seed=_SEED))

    def _labels(self, info, count):
        told = getattr(self.model, "conditions", None)
        if told is not None:  # TFLite files take them as networks see them.
            return told.encode(self._own_labels(count)).numpy()
        one_hot = len(info.shape) == 2  # As TFLite files take them.
        classes = getattr(self.model, "num_classes", None) or (info.shape[1] if one_hot else 2)
        drawn = np.random.default_rng(_SEED + 1).integers(classes, size=count)
        if self.data is not None and self.data.has_labels:  # Those of the images.
            rows = np.random.default_rng(_SEED).permutation(count) % len(self.data)
            drawn = self.data.labels[rows]
        return (np.eye(classes)[drawn] if one_hot else drawn).astype(info.dtype)

    def _own_labels(self, count):
        if not self.model.conditional:
            return None
        if self.model.conditions is not None:
            if self.data is None or not self.data.has_labels:
                return self.model.conditions.examples(count, _SEED)
            rows = np.random.default_rng(_SEED).permutation(count) % len(self.data)
            return self.model.conditions.record(self.data.take(rows).labels)
        return self._labels(TensorInfo("int32", (None,)), count)

    def _latents(self, info, count, rng):
        model = self.model
        if model is None:
            return self._anything(info, count, rng)
        given = model.conditioned_on(self._own_labels(count))
        if model.prior is not None:
            z = given.prior.sample(count, int(rng.integers(2**31)))
            return np.asarray(model.on_grid(z), info.dtype)
        if not self._intensities():
            return self._anything(info, count, rng)
        images = rng.random((count, *model.event_shape)).astype("float32")
        return np.asarray(model.on_grid(given.posterior.mean(given.encode_params(images))))

    def _anything(self, info, count, rng):
        shape = _shape(info, count)
        if np.dtype(info.dtype).kind == "f":
            return rng.normal(size=shape).astype(info.dtype)
        return rng.integers(2, size=shape).astype(info.dtype)


def _kind(name: str) -> str:
    """Returns what an input is by its name; nothing for those of other tools."""
    known = specified_input(name)
    return known.kind if known else ""


def _shape(info, count) -> tuple[int, ...]:
    return (count, *(8 if size is None else size for size in info.shape[1:]))
