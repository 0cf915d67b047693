"""Reads the signatures of a SavedModel without TensorFlow.

A SavedModel is a protocol buffer. The few fields that describe its signatures are declared here
once more (numbers and types as in TensorFlow's `saved_model.proto` and `meta_graph.proto`), and
`protobuf` skips everything else.
"""

import functools
import os
import pathlib

from export.signatures import Signature, TensorInfo

__all__ = ["DTYPES", "messages", "parse_meta_graph", "read_signatures"]

# The part of TensorFlow's DataType enumeration that NumPy can hold; strings are bytes.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}


@functools.cache
def messages() -> dict:
    """Builds the message classes. Our own pool, since TensorFlow registers the full ones.

    `SavedModel` and `MetaGraph` are the part of theirs that is read here; `PredictionLog` is one
    of a request to `Predict`, which is what TensorFlow Serving warms up with.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="kvae_saved_model.proto", package="kvae_saved_model", syntax="proto3"
    )

    def add(name, fields, parent=None):
        message = (parent.nested_type if parent else file.message_type).add(name=name)
        for key, number, kind, repeated in fields:
            item = message.field.add(
                name=key,
                number=number,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )
            if isinstance(kind, str):
                item.type, item.type_name = field.TYPE_MESSAGE, f".kvae_saved_model.{kind}"
            else:
                item.type = kind
        return message

    def add_map(parent, key, value):
        name = key.title().replace("_", "") + "Entry"
        fields = [("key", 1, field.TYPE_STRING, False), ("value", 2, value, False)]
        add(name, fields, parent).options.map_entry = True
        return f"{parent.name}.{name}"

    add("Dim", [("size", 1, field.TYPE_INT64, False)])
    add("Shape", [("dim", 2, "Dim", True)])
    add(
        "TensorInfo",
        [
            ("name", 1, field.TYPE_STRING, False),
            ("dtype", 2, field.TYPE_INT32, False),
            ("tensor_shape", 3, "Shape", False),
        ],
    )
    add(
        "Tensor",
        [
            ("dtype", 1, field.TYPE_INT32, False),
            ("tensor_shape", 2, "Shape", False),
            ("tensor_content", 4, field.TYPE_BYTES, False),
            ("string_val", 8, field.TYPE_BYTES, True),
        ],
    )

    def add_map_field(message, key, number, value):
        message.field.add(
            name=key,
            number=number,
            label=field.LABEL_REPEATED,
            type=field.TYPE_MESSAGE,
            type_name=f".kvae_saved_model.{add_map(message, key, value)}",
        )

    signature = add("SignatureDef", [])
    for number, key in ((1, "inputs"), (2, "outputs")):
        add_map_field(signature, key, number, "TensorInfo")
    add_map_field(signature, "defaults", 4, "Tensor")
    names = [("name", 1, field.TYPE_STRING, False), ("signature_name", 3, field.TYPE_STRING, False)]
    add("ModelSpec", names)
    request = add("PredictRequest", [("model_spec", 1, "ModelSpec", False)])
    add_map_field(request, "inputs", 2, "Tensor")
    add("PredictLog", [("request", 1, "PredictRequest", False)])
    add("PredictionLog", [("predict_log", 6, "PredictLog", False)])
    add("MetaInfo", [("tags", 4, field.TYPE_STRING, True)])
    graph = add("MetaGraph", [("meta_info_def", 1, "MetaInfo", False)])
    add_map_field(graph, "signature_def", 5, "SignatureDef")
    add("SavedModel", [("meta_graphs", 2, "MetaGraph", True)])

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"kvae_saved_model.{name}")
        )
        for name in ("MetaGraph", "PredictionLog", "SavedModel")
    }


def _tensor_info(proto) -> TensorInfo:
    shape = [dim.size if dim.size >= 0 else None for dim in proto.tensor_shape.dim]
    return TensorInfo(DTYPES.get(proto.dtype, f"type {proto.dtype}"), tuple(shape), proto.name)


def _signatures(meta_graph) -> dict[str, Signature]:
    return {
        name: Signature(
            {key: _tensor_info(info) for key, info in sorted(signature.inputs.items())},
            {key: _tensor_info(info) for key, info in sorted(signature.outputs.items())},
            tuple(sorted(signature.defaults)),
        )
        for name, signature in sorted(meta_graph.signature_def.items())
        # The loader's own entries (`__saved_model_init_op`) are not for callers.
        if not name.startswith("__")
    }


def parse_meta_graph(data: bytes) -> dict[str, Signature]:
    """Returns the signatures of a serialized `MetaGraphDef`, by name."""
    return _signatures(messages()["MetaGraph"].FromString(data))


def read_signatures(path: str | os.PathLike) -> dict[str, Signature]:
    """Returns the signatures of a SavedModel folder, by name.

    Args:
        path: str or path. The version folder, the one that holds `saved_model.pb`.

    Raises:
        FileNotFoundError: if there is no `saved_model.pb`.
        ValueError: if it cannot be read, or offers no signature for serving.

    Example:

    ```python
    read_signatures("serving/digits/1")["serving_default"].inputs["z"].shape  # (None, 2)
    ```
    """
    from google.protobuf.message import DecodeError

    file = pathlib.Path(path) / "saved_model.pb"
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} holds no saved_model.pb, so it is not a SavedModel. Give the version folder "
            "that export.saved_model returned."
        )
    try:
        graphs = messages()["SavedModel"].FromString(file.read_bytes()).meta_graphs
    except DecodeError:
        raise ValueError(
            f"{file} is damaged or was cut off: it does not parse. Export the model again."
        ) from None
    for graph in graphs:
        if "serve" in graph.meta_info_def.tags:
            found = _signatures(graph)
            if found:
                return found
    raise ValueError(
        f"{file} offers no signature for serving (it is empty or was saved without any). "
        "Export the model again."
    )
