"""Decoders, encoders, imputation and detection as ONNX files."""

import dataclasses
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from export import example_inputs, half_precision, modalities
from export.files import checksum
from export.runtimes import child, onnx_runtime
from export.signatures import DECODE, ENCODE, OUTPUT_SUFFIX, Call
from export.writers import metadata
from export.writers.register import FORMATS, Format
from kvae.utils import arguments, io, names, optional

if TYPE_CHECKING:
    from kvae.models.vae import VAE

__all__ = ["PARTS", "onnx"]

PARTS = {
    "decoder": DECODE,
    "encoder": ENCODE,
    **{name: name for name in ("impute", "detect", "classify", "translate")},
}


def _require() -> None:
    optional.require("tf2onnx", "onnx", "onnxruntime", purpose="Writing an ONNX file")


def onnx(
    model: "VAE",
    path: str | os.PathLike,
    part: str = "decoder",
    opset: int = 17,
    card: Any = None,
    num_samples: int = 64,
) -> pathlib.Path:
    """Writes a model's decoder or encoder as an ONNX file, or another of its functions.

    Inputs and outputs are those of `export.saved_model`, for any batch size. A decoder turns `z`
    into `image` and the likelihood's parameters, an encoder turns `image` into the posterior's
    parameters; they take an int64 `label` where the model is conditional. Sampling stays with the
    caller: `"impute"` takes the noise of its draws, `[batch, num_samples, size]`, in the place of a
    seed, and calls its output `image_imputed`. The noise of `"detect"` is that of the model's
    threshold, and in the file, so that scores are those of `kvae.detection.Detector` up to
    rounding. `"classify"` turns `image` into `probabilities`, `"translate"` any of several
    modalities (a number below -1e38 is absent) into all, whose names end in `_imputed`. The
    metadata `kvae.json` describe the file, and `kvae.sha256` is a SHA-256 of it, by which
    `export.verify` refuses a file that was altered.

    The finished file is loaded and run once in ONNX Runtime, in a process of its own, before it
    appears under its name: converters can write files that no runtime takes. It needs `tf2onnx`,
    `onnx` and `onnxruntime` (`pip install 'keras-kvae[onnx]'`). OpenVINO reads the same file.
    Networks that compute in bfloat16 compute in float32 there.

    ONNX has no errors, so rows that the model does not take (an image outside the likelihood's
    support, z that is not finite, a label that is no class) come back as NaN.

    Args:
        model: `kvae.VAE`. Built.
        path: str or path. The file, usually `*.onnx`. An older one is replaced.
        part: str. `"decoder"`, `"encoder"`, `"impute"`, `"detect"`, `"classify"` or `"translate"`,
            since an ONNX file holds one graph. Defaults to `"decoder"`.
        opset: int. The version of ONNX's operators. Defaults to `17`.
        card: optional `zoo.Card`, for the metadata.
        num_samples: int. The number of importance samples of `"impute"`. Defaults to `64`.

    Returns:
        Path of the file.

    Raises:
        ModuleNotFoundError: if one of the packages is not installed.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        OSError: if the disk is full.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: for an unknown part, one that the model cannot have, and a model that is not
            built or does not convert.

    Example:

    ```python
    path = export.onnx(zoo.load("conv_vae.digits"), "digits.onnx")
    print(export.verify(path, zoo.load("conv_vae.digits")))
    ```
    """
    from export.graphs import endpoints, given_noise

    endpoints.exportable(model)
    if part not in PARTS:
        raise names.unknown_name("part", part, PARTS)
    if model.modalities:
        modalities.check_file(model, part)
    _require()
    path, signature = pathlib.Path(path), PARTS[part]
    source = model
    if half_precision.half_type(model) == "bfloat16":
        source = half_precision.in_float32(
            model
        )  # ONNX Runtime and its converter have no bfloat16.
    if part == "impute":
        count = arguments.whole("num_samples", num_samples)
        endpoint = _renamed(given_noise.impute(source, count))
    elif part == "detect":
        endpoint = given_noise.detect(source)
    else:
        endpoint = endpoints.endpoints(source, signatures=[signature], refuse=False)[signature]
        endpoint = _renamed(endpoint) if part == "translate" else endpoint
    with io.atomic_write(path) as temporary:
        try:
            temporary.write_bytes(_convert(model, endpoint, signature, opset, card))
        except Exception as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ValueError(
                f"The {part} of {model.name!r} does not convert to ONNX (opset {opset}): {line}."
            ) from error
        _check(model, endpoint, signature, temporary, path)
    return path


def _renamed(endpoint):
    """Gives outputs other names than inputs, since no two names of an ONNX graph are the same."""
    inputs = {spec.name for spec in endpoint.inputs}

    def function(*tensors):
        found = endpoint.function(*tensors)
        return {name + OUTPUT_SUFFIX * (name in inputs): value for name, value in found.items()}

    return dataclasses.replace(endpoint, function=function)


def _select(graph, node, *_, **__):
    """Converts a choice between two tensors for numbers of any kind, NaN included."""
    kinds, shapes = node.output_dtypes, node.output_shapes
    graph.remove_node(node.name)
    graph.make_node(
        "Where", node.input, outputs=node.output, name=node.name, dtypes=kinds, shapes=shapes
    )


def _log1p(graph, node, *_, **__):
    """Converts log(1 + x), as which the encoders of tables see counts."""
    options = {"dtypes": node.output_dtypes, "shapes": node.output_shapes}
    graph.remove_node(node.name)
    more = graph.make_node("Add", [node.input[0], _number(graph, 1.0)], **options)
    graph.make_node("Log", more.output, outputs=node.output, name=node.name, **options)


def _expm1(graph, node, *_, **__):
    """Converts e^x − 1 = 2 sinh(x/2) e^(x/2), which is as exact near 0."""
    options = {"dtypes": node.output_dtypes, "shapes": node.output_shapes}
    graph.remove_node(node.name)
    # Below -80 it is -1 in float32, and not the product of infinity and 0.
    bounded = graph.make_node("Max", [node.input[0], _number(graph, -80.0)], **options)
    half = graph.make_node("Mul", [bounded.output[0], _number(graph, 0.5)], **options)
    sinh = graph.make_node("Sinh", half.output, **options)
    twice = graph.make_node("Mul", [sinh.output[0], _number(graph, 2.0)], **options)
    factors = [twice.output[0], graph.make_node("Exp", half.output, **options).output[0]]
    graph.make_node("Mul", factors, outputs=node.output, name=node.name, **options)


def _number(graph, value: float) -> str:
    from tf2onnx.utils import make_name

    return graph.make_const(make_name("number"), np.float32(value)).output[0]


def _convert(model, endpoint, signature: str, opset: int, card) -> bytes:
    import tensorflow as tf
    import tf2onnx

    # The converter writes "a or b" as m·a + (1 − m)·b unless it sees NaN coming.
    # NaN is what is missing of x, or unknown of conditions.
    takes_nan = model.missing is not None or model.conditions is not None
    handlers = {"Log1p": (_log1p, []), "Expm1": (_expm1, [])}
    if takes_nan:
        handlers["SelectV2"] = (_select, [])
    content, _ = tf2onnx.convert.from_function(
        tf.function(endpoint.function, autograph=False),
        input_signature=endpoint.inputs,
        opset=opset,
        custom_op_handlers=handlers,
    )
    facts = {**metadata.describe(model, card), "signature": signature, "checksum": checksum.NAME}
    for key, value in (
        (onnx_runtime.METADATA, json.dumps(facts)),
        (checksum.NAME, checksum.PLACEHOLDER),
    ):
        entry = content.metadata_props.add()
        entry.key, entry.value = key, value
    return checksum.embed(content.SerializeToString())


def _check(model, endpoint, signature: str, file: pathlib.Path, path: pathlib.Path) -> None:
    rows = 3
    call = Call(signature, example_inputs.for_graph(endpoint.inputs, rows, model))
    answer = child.request("export.runtimes.onnx_runtime", file, [call], timeout=300.0)
    problem = answer.failure or answer.load_error
    if not problem:
        problem = answer.results[0].error
    if not problem:
        found = answer.results[0].outputs
        if not all(len(a) == rows and np.isfinite(a).all() for a in found.values()):
            problem = "what it returns is not finite or has another shape"
    if problem:
        raise ValueError(
            f"The ONNX file of {model.name!r} does not run, so {path} was not written: {problem}."
        )


FORMATS.add(
    "onnx",
    Format(
        "ONNX",
        onnx,
        "{name}.onnx",
        ("part", "card", "num_samples"),
        values={"part": tuple(PARTS)},
        require=_require,
    ),
)
