"""Reads and rewrites TFLite files, without TensorFlow.

A file is read into the objects of its schema (`ai_edge_litert.schema_py_generated`), changed there
and packed again.
"""

import copy
import functools

import numpy as np

__all__ = [
    "halves",
    "join",
    "metadata",
    "operators",
    "pack",
    "precision",
    "read",
    "set_metadata",
    "split",
    "widen",
]


_SHARED = 256  # Bytes; smaller constants are not worth the search.


def _schema():
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


@functools.cache
def _names() -> dict[int, str]:
    codes = vars(_schema().BuiltinOperator)
    return {value: name for name, value in codes.items() if name.isupper()}


def read(data: bytes):
    """Returns the content of a file, a `ModelT`."""
    return _schema().ModelT.InitFromPackedBuf(data, 0)


def pack(model) -> bytes:
    """Returns a `ModelT` as the bytes of a file."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _number(code) -> int:
    # Codes up to 127 are also in the older, narrower field, so the larger of both counts.
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _name(code) -> str:
    name = _names().get(_number(code), str(_number(code)))
    return f"CUSTOM {code.customCode.decode()}" if name == "CUSTOM" else name


def operators(model) -> dict[str, int]:
    """Returns the operators in use, each with the largest version of it.

    One that is not built in is called `"CUSTOM …"`.
    """
    found: dict[str, int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            code = model.operatorCodes[operator.opcodeIndex]
            found[_name(code)] = max(found.get(_name(code), 0), code.version)
    return dict(sorted(found.items()))


def precision(model) -> str:
    """Returns `"float32"`, `"float16"` (weights), `"dynamic"` (8-bit weights) or `"int8"`."""
    types = _schema().TensorType
    found = {tensor.type for graph in model.subgraphs for tensor in graph.tensors}
    if types.INT8 in found:
        # A file that turns its float input into 8 bits computes in 8 bits.
        return "int8" if "QUANTIZE" in operators(model) else "dynamic"
    return "float16" if types.FLOAT16 in found else "float32"


def metadata(model, name: str) -> bytes | None:
    """Returns the metadata of this name, `None` where there are none."""
    for entry in model.metadata or ():
        if entry.name == name.encode():
            return bytes(model.buffers[entry.buffer].data)
    return None


def set_metadata(model, name: str, data: bytes) -> None:
    """Adds metadata of a new name."""
    buffer, entry = _schema().BufferT(), _schema().MetadataT()
    buffer.data = np.frombuffer(data, np.uint8)
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]


def halves(model) -> list[tuple]:
    """Finds the weights in 16 bits, the smallest first, for `widen`."""
    half = _schema().TensorType.FLOAT16
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            name = _name(model.operatorCodes[operator.opcodeIndex])
            tensor = graph.tensors[operator.inputs[0]] if name == "DEQUANTIZE" else None
            if tensor is not None and tensor.type == half and _values(model, tensor) is not None:
                found.append((graph, operator, tensor))
    return sorted(found, key=lambda item: len(_values(model, item[2])))


def widen(model, half: tuple, full) -> bool:
    """Replaces weights in 16 bits by the same weights in 32 bits, of the file `full`.

    Args:
        model: `ModelT`, which is changed.
        half: one of `halves(model)`.
        full: `ModelT`. The same network in 32 bits.

    Returns:
        bool: whether they were found there.
    """
    graph, operator, tensor = half
    wanted = bytes(_values(model, tensor))
    for other in (tensor for graph in full.subgraphs for tensor in graph.tensors):
        values = _values(full, other)
        if other.type != _schema().TensorType.FLOAT32 or values is None:
            continue
        if len(values) != 2 * len(wanted):
            continue
        with np.errstate(over="ignore"):
            narrow = np.frombuffer(bytes(values), np.float32).astype(np.float16)
        if narrow.tobytes() == wanted:
            buffer = _schema().BufferT()
            buffer.data = np.frombuffer(bytes(values), np.uint8)
            model.buffers.append(buffer)
            graph.tensors[operator.outputs[0]].buffer = len(model.buffers) - 1
            graph.operators = [each for each in graph.operators if each is not operator]
            model.buffers[tensor.buffer].data = None
            tensor.buffer = 0  # The empty one.
            return True
    return False


def _values(model, tensor):
    """Returns the bytes of a constant; `None` for a tensor that is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else data


def join(models):
    """Puts the signatures of several files into one, each with its graphs and weights.

    Args:
        models: list of `ModelT`, whose signatures have different names. The first one is changed
            and returned.
    """
    first, *others = models
    for other in others:
        codes, buffers = len(first.operatorCodes), len(first.buffers)
        graphs = len(first.subgraphs)
        first.operatorCodes += other.operatorCodes
        first.buffers += other.buffers
        for graph in other.subgraphs:
            for tensor in graph.tensors:
                # Buffer 0 is the empty one, which tensors without content share.
                tensor.buffer = tensor.buffer and tensor.buffer + buffers
            for operator in graph.operators or ():
                operator.opcodeIndex += codes
                for options in (operator.builtinOptions, operator.builtinOptions2):
                    # Operators that run another graph name it by its number.
                    for key, value in vars(options).items() if options else ():
                        if key.endswith("SubgraphIndex"):
                            setattr(options, key, value + graphs)
        first.subgraphs += other.subgraphs
        for signature in other.signatureDefs:
            signature.subgraphIndex += graphs
        first.signatureDefs = [*first.signatureDefs, *other.signatureDefs]
    _share_weights(first)
    return first


def _share_weights(model) -> None:
    """Keeps weights once that several graphs hold, such as those of a decoder."""
    places: dict[bytes, int] = {}
    moved = {}
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data) >= _SHARED:
            moved[index] = places.setdefault(bytes(buffer.data), index)
            if moved[index] != index:
                buffer.data = None
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = moved.get(tensor.buffer, tensor.buffer)


def split(model, name: str, version: int) -> int:
    """Takes the activations out of operators of one name into operators of their own.

    Args:
        model: `ModelT`, which is changed.
        name: str. An operator whose options name the activation, e.g. `"TRANSPOSE_CONV"`.
        version: int. The largest that knows of no activation; the next one adds it. Operators of
            one name share the largest version that one of them needs, so all of them get this one.

    Returns:
        int: how many were taken out.
    """
    schema = _schema()
    kinds = schema.ActivationFunctionType
    apart = {
        getattr(kinds, kind): getattr(schema.BuiltinOperator, kind)
        for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "TANH")
    }
    count = 0
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators or ():
            operators.append(operator)
            code = model.operatorCodes[operator.opcodeIndex]
            activation = getattr(operator.builtinOptions, "fusedActivationFunction", kinds.NONE)
            if _name(code) != name or activation not in {kinds.NONE, *apart}:
                continue
            if code.version == version + 1:
                operator.opcodeIndex = _code(model, _number(code), version)
            if activation == kinds.NONE:
                continue
            operator.builtinOptions.fusedActivationFunction = kinds.NONE
            after = schema.OperatorT()
            after.opcodeIndex = _code(model, apart[activation], 1)
            after.outputs = operator.outputs
            # The tensor between both has the same shape and, in eight bits, the same scale.
            between = copy.copy(graph.tensors[operator.outputs[0]])
            between.name = between.name + b"/before_activation"
            graph.tensors.append(between)
            index = np.array([len(graph.tensors) - 1], np.int32)
            operator.outputs, after.inputs = index, index
            operators.append(after)
            count += 1
        graph.operators = operators
    return count


def _code(model, number: int, version: int) -> int:
    """Finds or adds the entry of an operator."""
    for index, code in enumerate(model.operatorCodes):
        if _number(code) == number and code.version == version:
            return index
    code = _schema().OperatorCodeT()
    code.builtinCode, code.version = number, version
    code.deprecatedBuiltinCode = min(number, 127)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
