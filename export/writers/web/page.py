"""Writes the page: its files, the model's, and what the page must know of the latents."""

import importlib.resources
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from export.runtimes import litert
from export.signatures import DECODE, ENCODE, SIGNATURES
from export.writers.register import FORMATS, Format
from export.writers.tflite.writer import tflite
from export.writers.web import answers, conditions, litert_js
from export.writers.web.plane import numbers, plane
from kvae.utils import io

if TYPE_CHECKING:
    from kvae.models.vae import VAE

__all__ = ["describe", "web"]

_FILES = (
    "index.html",
    "style.css",
    "main.js",
    "network.js",
    "latents.js",
    "labels.js",
    "conditions.js",
    "plane.js",
    "pictures.js",
    "drawing.js",
    "gaps.js",
    "meter.js",
    "noise.js",
)
_SEEDS = 500
_NUMBERS = 400_000  # At most, of the codes of data and of seeds each: about 4 MB of text.
_FEWEST = 20
_SPACES = ("real", "sphere")
_MEAN = "z_mean"  # The output of an encoder that the page shows.
_PRECISIONS = ("float32", "float16")


def web(
    model: "VAE",
    directory: str | os.PathLike,
    data: Any = None,
    title: str | None = None,
    precision: str = "float32",
    points: int = 2000,
) -> pathlib.Path:
    """Writes a static page that runs a model's decoder in the browser, and its encoder.

    Drag over the latent plane and the image follows; see samples by their seeds, walk between two
    points, draw a digit and see it encoded and decoded. Choose the class of a conditional model, or
    set its conditions, each of which may be unknown. Mark an area of a drawing as missing, and see
    it filled in; a meter shows how unusual the drawing is, beside the normal images of the model's
    threshold, or the first images of `data` where it has none. The plane is z itself where it has
    two dimensions, and else the two principal components of the codes of `data`. The page computes
    on WebGPU, or in WebAssembly where there is none, with LiteRT.js, which is downloaded once into
    a cache (12 MB) and of which the 10 MB that run are copied beside the page: the page asks no
    other host for anything.

    Any web server can serve the folder, e.g. `python -m http.server -b 127.0.0.1 -d DIRECTORY`. A
    page that is opened as a file cannot load its parts.

    Args:
        model: `kvae.VAE` for images: events of shape `[height, width, 1]` or `[height, width, 3]`.
        directory: str or path. The folder. Older files of the same names in it are replaced.
        data: optional `kvae.datasets.Dataset`, usually the test set. Its codes are shown behind the
            plane, and the plane is fitted to them. Defaults to `None`: the plane is that of draws
            from the prior.
        title: str. Heading of the page. Defaults to the model's name.
        precision: str. The precision of both files, `"float32"` or `"float16"`. Defaults to
            `"float32"`.
        points: int. How many examples of `data` are encoded, at most; fewer where z has more than
            200 numbers, so that the page stays small. Defaults to `2000`.

    Returns:
        Path of `index.html`.

    Raises:
        ConnectionError: if LiteRT.js is not in the cache and cannot be downloaded.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: for a model that is not built, not of images, or without codes to show (no
            `data` and no prior); for what `export.tflite` refuses.

    Warns:
        UserWarning: for a model that cannot fill gaps or judge drawings with TFLite's operators.

    Example:

    ```python
    vae = zoo.load("conv_vae.digits")
    export.web(vae, "page", kvae.datasets.load("digits", "test"))
    ```
    """
    from export.graphs import endpoints

    endpoints.exportable(model)
    shape = tuple(model.event_shape)
    if model.modalities:
        raise ValueError(
            f"The page shows one kind of image, and {model.name!r} has several modalities: export "
            "a SavedModel and use `kvae serve`."
        )
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(
            f"The page shows images of shape (height, width, 1) or (height, width, 3), and the "
            f"events of {model.name!r} have shape {shape}."
        )
    if precision not in _PRECISIONS:
        raise ValueError(f"`precision` of a page is 'float32' or 'float16', not {precision!r}.")
    folder = io.writable_folder(directory, "write the page")
    (folder / "litert").mkdir(exist_ok=True)
    facts = describe(model, data, points)
    facts["title"] = title or model.name
    litert_js.copy(folder / "litert")
    # The page holds draws from the prior, and needs no network to make them.
    tflite(model, folder / "decoder.tflite", precision, prior=False)
    facts["impute"] = facts["meter"] = None
    if facts["encoder"]:
        tflite(model, folder / "encoder.tflite", precision, parts="encoder")
        facts |= answers.write_answers(model, folder / "answers.tflite", data)
    with io.atomic_write(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(facts, separators=(",", ":")), "utf-8")
    static = importlib.resources.files("export.writers.web") / "static"
    for name in _FILES:
        with io.atomic_write(folder / name) as temporary:
            temporary.write_bytes((static / name).read_bytes())
    return folder / "index.html"


def describe(model, data=None, points: int = 2000) -> dict:
    """Returns what the page must know of a model: its latents as plain numbers.

    Args:
        model: `kvae.VAE`. Built.
        data: optional `kvae.datasets.Dataset`. Defaults to `None`.
        points: int. As in `web`. Defaults to `2000`.

    Returns:
        dict, ready for JSON:

        - `summary`, a sentence that says what the model is;
        - `event_shape`, `latent_dim`, `num_classes` (or `None`), `space` (`"real"` or `"sphere"`);
        - `class_names` (or `None`), those of the data's labels;
        - `conditions` (or `None`), by their names: the facts of `kvae.conditions.Conditions`, the
          value to `start` with, and the ends `least` and `most` of the slider of a number;
        - `names` of the inputs and outputs of the networks;
        - `plane`, with its `centre` `[latent_dim]`, two orthonormal `axes` and the `extent` that it
          shows around the centre;
        - `spread`, the standard deviation of each dimension;
        - `points` (or `None`), with the mean codes `z` of the data and their `labels` (or `None`),
          with conditions the values of the first that is a class;
        - `seeds` (or `None`), the z that the signature `generate` gives for the seeds 0, 1, … (for
          each class of a conditional model);
        - `encoder`, whether the page can encode images;
        - `fill`, the part of the frame that the drawing of a typical image of the data fills.
    """
    seeds = _seeds(model)
    points = _affordable(points, model.latent_dim)
    told = conditions.told(model, data)
    codes = None if data is None else _codes(model, data.examples[:points], told, points)
    labels, class_names = conditions.classes(model, data, told)
    if model.posterior.space not in _SPACES:
        raise ValueError(
            f"The page moves z continuously, but the z of {model.name!r} is "
            f"{model.posterior.space}."
        )
    (latents,), (image,) = SIGNATURES[DECODE].inputs, SIGNATURES[ENCODE].inputs
    known = codes
    if known is None:
        if seeds is None:
            raise ValueError(
                f"{model.name!r} has no prior to draw from: give `data`, so that the page has "
                "codes to show."
            )
        known = seeds.reshape(-1, model.latent_dim)
    return {
        "summary": _summary(model),
        "event_shape": [int(size) for size in model.event_shape],
        "latent_dim": int(model.latent_dim),
        "num_classes": None if model.num_classes is None else int(model.num_classes),
        "class_names": class_names,
        "conditions": conditions.facts(model, told),
        "names": {"latents": latents, "image": image, "label": "label", "mean": _MEAN},
        "space": model.posterior.space,
        "plane": plane(known),
        "spread": numbers(known.std(axis=0)),
        "points": None
        if codes is None
        else {
            "name": f"{data.name} {data.split}",
            "z": numbers(codes),
            "labels": None if labels is None else [int(label) for label in labels[:points]],
        },
        "seeds": None if seeds is None else numbers(seeds),
        "encoder": _encodes(model),
        "fill": None if data is None else _fill(data.examples[:points]),
    }


def _summary(model) -> str:
    """Says what the model is to someone who has never heard of it."""
    height, width, channels = model.event_shape
    kind = "an autoencoder" if model.posterior.deterministic else "a variational autoencoder"
    given = " and a class" if model.num_classes is not None else ""
    if model.conditions is not None:
        given = f" and what it is told ({', '.join(model.conditions.kinds)})"
    colour = "colour" if channels == 3 else "grey"
    count = "one number, z," if model.latent_dim == 1 else f"{model.latent_dim} numbers, z,"
    return (
        f"This is {kind}. Its decoder turns {count}{given} into a {colour} image of {height} × "
        f"{width} pixels, here in your browser: move z, and see what it makes of it."
    )


def _fill(images) -> float:
    """Returns the part of the frame that the drawing of a typical image fills: 20/28 for MNIST."""
    drawn = images.max(axis=-1) > 0.1 * images.max()
    heights, widths = drawn.any(axis=2), drawn.any(axis=1)

    def extents(rows):
        return rows.shape[1] - rows.argmax(axis=1) - rows[:, ::-1].argmax(axis=1)

    shares = np.maximum(extents(heights) / heights.shape[1], extents(widths) / widths.shape[1])
    return float(f"{np.median(shares):.4g}")


def _affordable(rows: int, size: int) -> int:
    """Returns how many rows of so many numbers the page can hold."""
    return min(rows, max(_NUMBERS // size, _FEWEST))


def _codes(model, examples, told, points: int) -> np.ndarray:
    label = None if told is None else told[:points]
    params, _ = model.encode_data(examples, label)
    codes = np.asarray(model.conditioned_on(label).posterior.mean(params), np.float32)
    return codes.reshape(len(examples), -1)


def _encodes(model) -> bool:
    """Checks whether the encoder's `z_mean` is the posterior's mean, which is not so for flows."""
    if model.likelihood.whole_numbers:
        return False  # The page reads intensities from 0 to 1, which such an encoder never saw.
    # Every likelihood of images takes zeros and ones.
    noise = np.random.default_rng(0).integers(2, size=(2, *model.event_shape)).astype(np.float32)
    label = np.zeros(2, int) if model.conditional else None
    if model.conditions is not None:
        label = model.conditions.unknown_record(2)
    params, _ = model.encode_data(noise, label)
    if _MEAN not in params:
        return False
    mean = np.asarray(model.conditioned_on(label).posterior.mean(params))
    shown = np.asarray(params[_MEAN])
    return mean.shape == shown.shape and np.allclose(mean, shown, atol=1e-6)


def _seeds(model) -> np.ndarray | None:
    """Draws from the prior, `[seeds, latent_dim]` or `[classes, seeds, latent_dim]`."""
    import tensorflow as tf

    from export.graphs import endpoints

    if model.prior is None:
        return None
    seeds = _affordable(_SEEDS, model.latent_dim * (model.num_classes or 1))
    generate = endpoints.endpoints(model, signatures=["generate"])["generate"]
    function = tf.function(generate.function, autograph=False)

    def drawn(label: int) -> np.ndarray:
        values = {"seed": tf.range(seeds, dtype=tf.int64), **generate.defaults, "label": label}
        rows = [
            tf.broadcast_to(tf.cast(values[spec.name], spec.dtype), [seeds, *spec.shape[1:]])
            for spec in generate.inputs
        ]
        return np.asarray(model.as_vectors(function(*rows)["z"]))

    if model.num_classes is None:
        return drawn(0)
    return np.stack([drawn(label) for label in range(model.num_classes)])


FORMATS.add(
    "web",
    Format(
        "web page",
        web,
        "page/{name}",
        ("precision", "data", "title"),
        values={"precision": _PRECISIONS},
        verified=False,
        require=litert.require,
        advice="python -m http.server --bind 127.0.0.1 --directory {folder} shows it at "
        "http://localhost:8000",
    ),
)
