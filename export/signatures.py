"""The one specification of what exported models can be asked.

`SIGNATURES` says which signatures there are, what each takes and returns, and which models lack it;
`INPUTS` says which type, shape, default and limits an input has. Graphs, warm-up requests, the
server, the client, verification and the documentation read them here. Nothing in this module needs
TensorFlow.
"""

import dataclasses
import math

import numpy as np

__all__ = [
    "BATCH_SIZES",
    "DECODE",
    "ENCODE",
    "EVENTS",
    "FILE_SUFFIX",
    "INPUTS",
    "OUTPUT_SUFFIX",
    "PREPROCESSING",
    "PRIOR",
    "SIGNATURES",
    "UNIFORM_SUFFIX",
    "WARMUP_BATCH_SIZES",
    "Call",
    "Input",
    "Output",
    "Signature",
    "Specification",
    "TensorInfo",
    "fits",
    "input_names",
    "left_out",
    "matches",
    "specified_input",
]

# The signature that TensorFlow Serving runs when a request names none.
DECODE = "serving_default"
ENCODE = "encode"
# TFLite files alone have this one, since they draw no random numbers: base noise to z.
PRIOR = "prior"
# Inputs that are one for each modality of a model of several (`export.modalities`).
EVENTS = ("image", "image_start", "image_end", "mask")

# The ending of the names of a prior's uniform noise, on [0, 1); other noise is N(0, 1).
UNIFORM_SUFFIX = "uniform"

# What ends the name of an output in an ONNX file that has an input of this name.
OUTPUT_SUFFIX = "_imputed"

# How clients may send images: as the model takes them, as intensities, or as files.
PREPROCESSING = ("float32", "uint8", "png")
# An input of image files is called so: `image_bytes`.
FILE_SUFFIX = "_bytes"

# The batch sizes to which TensorFlow Serving fills merged requests up. The last is the largest.
BATCH_SIZES = (1, 4, 16, 64, 256)
# The rows of the requests with which a server warms each signature up.
WARMUP_BATCH_SIZES = (1, 8)


@dataclasses.dataclass(frozen=True)
class Input:
    """The specification of an input, which has one value for each row of a request.

    Attributes:
        kind: str. `"image"`, `"mask"`, `"cells"`, `"latents"`, `"label"`, `"condition"`,
            `"modality"`, `"seed"` or `"number"`.
        meaning: str. For the documentation.
        dtype: str. NumPy's name of the type.
        shape: tuple of str. The sizes after the batch: `"latent_dim"`, for those of `latent_shape`,
            `"event"` for the sizes of an event, or a number.
        default: float or `None`. The value where a request leaves the input out; `None` where it
            may not.
        smallest, largest: float. The limits of what a graph accepts.
        rule: str. The limits in words, as errors begin.
        example: float or `None`. A value to try the signature out with.
    """

    kind: str
    meaning: str
    dtype: str = "float32"
    shape: tuple[str, ...] = ()
    default: float | None = None
    smallest: float = -math.inf
    largest: float = math.inf
    rule: str = ""
    example: float | None = None

    @property
    def optional(self) -> bool:
        """Checks whether a request may leave the input out."""
        return self.default is not None


def _latents(meaning: str) -> Input:
    return Input("latents", meaning, shape=("latent_dim",))


def _image(meaning: str) -> Input:
    return Input("image", meaning, shape=("event",))


def _count(meaning: str, default: int, largest: int, name: str, example: int) -> Input:
    rule = f"`{name}` is a whole number from 1 to {largest}"
    return Input("number", meaning, "int64", (), default, 1, largest, rule, example)


INPUTS = {
    "z": _latents("latents"),
    "z_start": _latents("where the way begins"),
    "z_end": _latents("where the way ends"),
    "image": _image("events; intensities or files where the model was exported for them"),
    "image_start": _image("the image where the way begins"),
    "image_end": _image("the image where the way ends"),
    "guess": _image("what the encoder of a page sees in the gaps of the image"),
    "mask": Input(
        "mask",
        "True where a value of the image was observed, of a model that takes missing values",
        "bool",
        ("event",),
    ),
    "cells": Input(
        "cells",
        "the cells of rows of a table, texts in the order of its columns; empty ones are missing",
        "string",
        ("columns",),
    ),
    "label": Input("label", "the class of each row, of a conditional model", "int64", smallest=0),
    "seed": Input(
        "seed",
        "a seed for each row",
        "int64",
        smallest=0,
        largest=2**62 - 1,
        rule="A seed is an integer from 0 to 2**62 - 1",
    ),
    "temperature": Input(
        "number",
        "the factor of the noise",
        default=1.0,
        smallest=0.0,
        largest=float(np.finfo(np.float32).max),
        rule="`temperature` is a finite number of at least 0",
        example=1.0,
    ),
    "steps": _count("the number of points on the way, both ends included", 8, 64, "steps", 5),
    "num_samples": _count("the number of importance samples", 64, 1000, "num_samples", 20),
}


@dataclasses.dataclass(frozen=True)
class Output:
    """The specification of an output.

    Attributes:
        shape: tuple of str. The sizes after the batch: `"latent_dim"`, `"event"`, `"steps"`,
            `"num_classes"`.
        row_exact: bool. Whether a row of it has the same bits whatever rows it is batched with.
    """

    shape: tuple[str, ...] = ()
    row_exact: bool = False


@dataclasses.dataclass(frozen=True)
class Specification:
    """The specification of a signature: its inputs and its outputs.

    Attributes:
        summary: str. What it computes.
        inputs: tuple of str. Names in `INPUTS`; a conditional model takes a `label` as well, or
            its conditions by name (`export.conditions`).
        outputs: dict of str to `Output`.
        parameters: str. The part whose parameters are outputs too, e.g. `"likelihood"`.
        needs: tuple of str. What a model has to have: `"prior"`, `"density"`, `"missing"`,
            `"calibration"`, `"classifier"`, `"modalities"`, `"one_kind"`.
        through_codes: bool. Whether it decodes what it has encoded, so that its images carry the
            rounding of their codes.
        labelled: bool. Whether that of a conditional model takes a label.
    """

    summary: str
    inputs: tuple[str, ...]
    outputs: dict[str, Output]
    parameters: str = ""
    needs: tuple[str, ...] = ()
    through_codes: bool = False
    labelled: bool = True


_IMAGE = Output(("event",))
_CELLS = Output(("columns",), row_exact=True)
_PATH = {"image": Output(("steps", "event")), "z": Output(("steps", "latent_dim"))}

SIGNATURES = {
    DECODE: Specification("the mean of p(x\\|z)", ("z",), {"image": _IMAGE}, "likelihood"),
    ENCODE: Specification("the parameters of q(z\\|x)", ("image",), {}, "posterior"),
    "reconstruct": Specification(
        "the image, through the posterior mean",
        ("image",),
        {"image": _IMAGE},
        needs=("one_kind",),
        through_codes=True,
    ),
    "embed": Specification(
        "the posterior mean", ("image",), {"embedding": Output(("latent_dim",))}
    ),
    "generate": Specification(
        "a draw from the prior, and its image",
        ("seed", "temperature"),
        {"image": _IMAGE, "z": Output(("latent_dim",), row_exact=True)},
        needs=("prior",),
    ),
    "interpolate": Specification(
        "the way from one latent to another", ("z_start", "z_end", "steps"), _PATH
    ),
    "interpolate_images": Specification(
        "the way from one image to another, by their posterior means",
        ("image_start", "image_end", "steps"),
        _PATH,
        through_codes=True,
    ),
    "score": Specification(
        "estimates of log p(x), in nats",
        ("image", "seed", "num_samples"),
        {name: Output(row_exact=True) for name in ("elbo", "log_prob", "effective_sample_size")},
        needs=("density",),
    ),
    "impute": Specification(
        "the image with what was not observed filled in, and log p of what was, in nats",
        ("image", "mask", "seed", "num_samples"),
        {
            "image": Output(("event",), row_exact=True),
            **{name: Output(row_exact=True) for name in ("log_prob", "effective_sample_size")},
        },
        needs=("density", "missing"),
    ),
    "detect": Specification(
        "how unusual the image is, by the threshold that the model keeps, and where",
        ("image",),
        {
            **{name: Output(row_exact=True) for name in ("score", "p_value", "is_anomaly")},
            "map": Output(("event",), row_exact=True),
        },
        needs=("calibration",),
    ),
    "encode_table": Specification(
        "the parameters of q(z\\|x) of rows as the table has them",
        ("cells",),
        {},
        "posterior",
        needs=("columns",),
    ),
    "generate_table": Specification(
        "a row as the table has them, drawn from the prior and p(x\\|z)",
        ("seed", "temperature"),
        {"cells": _CELLS, "z": Output(("latent_dim",), row_exact=True)},
        needs=("prior", "columns"),
    ),
    "impute_table": Specification(
        "rows as the table has them, their empty cells filled in, and log p of the others, in nats",
        ("cells", "seed", "num_samples"),
        {
            "cells": _CELLS,
            **{name: Output(row_exact=True) for name in ("log_prob", "effective_sample_size")},
        },
        needs=("density", "missing", "columns"),
    ),
    "classify": Specification(
        "the probabilities of the classes, q(y\\|x)",
        ("image",),
        {"probabilities": Output(("num_classes",))},
        needs=("classifier",),
        labelled=False,
    ),
    "translate": Specification(
        "all modalities of which any are given, through the posterior mean",
        ("image",),
        {"image": _IMAGE},
        needs=("modalities",),
        through_codes=True,
        labelled=False,
    ),
}


def input_names(signature: str, labels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Returns the inputs of a signature in their order, those that may be left out at the end.

    Args:
        signature: str. Its name.
        labels: tuple of str. The inputs of a conditional model's label. Defaults to `()`.
    """
    given = SIGNATURES[signature].inputs
    required = tuple(name for name in given if not INPUTS[name].optional)
    optional = tuple(name for name in given if INPUTS[name].optional)
    return required + labels * SIGNATURES[signature].labelled + optional


def specified_input(name: str) -> Input | None:
    """Returns what is specified of an input, whose images may be files; `None` for other inputs."""
    return INPUTS.get(name.removesuffix(FILE_SUFFIX))


def left_out(model) -> dict[str, str]:
    """Returns the signatures that a model cannot have, with the reasons."""
    lacking = {}
    if model.prior is None:
        lacking["prior"] = "the model is an autoencoder without a prior, so it does not sample"
    if not model.posterior.has_density:
        lacking["density"] = (
            f"the model is an autoencoder ({type(model.posterior).__name__} posterior), which "
            "defines no log p(x)"
        )
    if model.missing is None:
        lacking["missing"] = "the model takes no missing values (kvae.VAE(missing=…))"
    columns = () if model.schema is None else model.schema.columns
    if not columns or model.event_shape != (len(columns),):
        lacking["columns"] = "the model knows no columns of a table (vae.schema)"
    if model.calibration is None:
        lacking["calibration"] = "the model keeps no threshold (kvae.detection.Detector(…).fit(…))"
    if model.modalities:
        lacking["one_kind"] = "the model has several modalities, which `translate` reconstructs"
    else:
        lacking["modalities"] = "the model has one kind of data (kvae.VAE(encoders={…}))"
    if not model.takes_unknown_labels:
        lacking["classifier"] = "the model has no classifier (objective='semi_supervised')"
    return {
        name: lacking[next(need for need in item.needs if need in lacking)]
        for name, item in SIGNATURES.items()
        if lacking.keys() & set(item.needs)
    }


# The signatures as a file or a server describes them, which may be those of another tool.


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature, as a file or a server describes it.

    Attributes:
        dtype: str. NumPy's name of the type, `"string"`, or `"type 8"` for one that NumPy has no
            array of.
        shape: tuple of int or None. `None` stands for a free dimension, such as the batch.
        tensor: str. The graph's name for it, e.g. `"StatefulPartitionedCall:0"`, where it is known.
    """

    dtype: str
    shape: tuple[int | None, ...]
    tensor: str = ""


@dataclasses.dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of an exported function, as a file or a server describes them.

    Attributes:
        inputs: dict of str to `TensorInfo`.
        outputs: dict of str to `TensorInfo`.
        optional: tuple of str. The inputs that may be left out, because they have a default.
    """

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    optional: tuple[str, ...] = ()


@dataclasses.dataclass
class Call:
    """A signature to run.

    Attributes:
        signature: str. Its name.
        inputs: dict of str to array.
    """

    signature: str
    inputs: dict[str, np.ndarray]


def matches(array: np.ndarray, info: TensorInfo) -> bool:
    """Checks whether an array has the type and the shape that an input asks for."""
    kind = "string" if array.dtype.kind in "SO" else array.dtype.name
    return kind == info.dtype and fits(array.shape, info)


def fits(shape: tuple[int, ...], info: TensorInfo) -> bool:
    """Checks whether a shape is one that an input asks for."""
    return len(shape) == len(info.shape) and all(
        want in (None, have) for want, have in zip(info.shape, shape, strict=True)
    )
