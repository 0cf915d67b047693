"""TensorFlow Serving's gRPC API for the development server, by the official stubs."""

import concurrent.futures
import contextlib
import errno
import math
import os
import time

import numpy as np

from export.serving import addresses, stubs
from export.serving.development import requests
from export.serving.development.failures import Failure
from export.serving.development.served_model import Model
from export.serving.development.server import DevelopmentServer
from export.signatures import DECODE

__all__ = ["serve"]


@contextlib.contextmanager
def serve(rest: DevelopmentServer, host: str, port: int):
    """Serves the models of a development server by gRPC too; yields the port."""
    grpc, stub = stubs.modules()
    import tensorflow as tf

    predict, status = stub("predict_pb2"), stub("get_model_status_pb2")
    metadata, services = stub("get_model_metadata_pb2"), stub("prediction_service_pb2_grpc")
    models = stub("model_service_pb2_grpc")
    limit = rest.limits.max_bytes

    def find(spec) -> tuple[Model, int | None]:
        model = rest.models.get(spec.name)
        if model is None:
            raise Failure("NOT_FOUND", f"Servable not found for request: {spec.name}")
        if spec.HasField("version_label"):  # Labels are of TensorFlow Serving's configuration.
            text = f"Unrecognized servable version label: {spec.version_label}"
            raise Failure("INVALID_ARGUMENT", text)
        return model, spec.version.value if spec.HasField("version") else None

    def answered(function):
        def answer(self, request, context):
            left = context.time_remaining()
            limit = rest.limits.timeout
            deadline = time.monotonic() + (limit if left is None else min(left, limit))
            with rest.counted():
                try:
                    return function(request, deadline)
                except Failure as error:
                    status = getattr(grpc.StatusCode, error.code, grpc.StatusCode.UNKNOWN)
                    context.abort(status, str(error))
                except Exception as error:  # No request takes the server down.
                    failure = Failure("INTERNAL", f"{type(error).__name__}: {error}")
                    context.abort(grpc.StatusCode.INTERNAL, str(failure))

        return answer

    def run_predict(request, deadline):
        model, version = find(request.model_spec)
        name = request.model_spec.signature_name or DECODE
        signature = model.signature(name, version)
        wanted = set(request.output_filter) or set(signature.outputs)
        if unknown := sorted(wanted - set(signature.outputs)):
            names = ", ".join(signature.outputs)
            text = f"There is no output {unknown[0]!r} to filter by. There are: {names}"
            raise Failure("INVALID_ARGUMENT", text)
        columns = {key: _array(key, value, limit) for key, value in request.inputs.items()}
        inputs = requests.check(columns, signature)
        with rest.budget.taken(requests.bound(inputs, signature, limit)):
            ran, outputs = model.run(name, inputs, deadline, version)
        response = predict.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = model.name, name
        response.model_spec.version.value = ran
        for key in wanted:
            array = np.ascontiguousarray(outputs[key])
            response.outputs[key].CopyFrom(tf.make_tensor_proto(array))
        return response

    def get_metadata(request, deadline):
        model, version = find(request.model_spec)
        if set(request.metadata_field) != {"signature_def"}:
            raise Failure("INVALID_ARGUMENT", "`metadata_field` is signature_def, and nothing else")
        model.loaded(version)
        found = metadata.SignatureDefMap()
        for name, item in model.session.signatures.items():
            definition = found.signature_def[name]
            definition.method_name = "tensorflow/serving/predict"
            for infos, place in (
                (item.inputs, definition.inputs),
                (item.outputs, definition.outputs),
            ):
                for key, info in infos.items():
                    place[key].name = info.tensor
                    place[key].dtype = tf.as_dtype(info.dtype).as_datatype_enum
                    place[key].tensor_shape.CopyFrom(tf.TensorShape(info.shape).as_proto())
        response = metadata.GetModelMetadataResponse()
        response.model_spec.name = model.name
        response.model_spec.version.value = model.version
        response.metadata["signature_def"].Pack(found)
        return response

    def get_status(request, deadline):
        model, version = find(request.model_spec)
        model.loaded(version)
        response = status.GetModelStatusResponse()
        response.model_version_status.add(
            version=model.version, state=status.ModelVersionStatus.AVAILABLE
        )
        return response

    prediction_service = type(
        "PredictionService",
        (services.PredictionServiceServicer,),
        {"Predict": answered(run_predict), "GetModelMetadata": answered(get_metadata)},
    )
    model_service = type(
        "ModelService", (models.ModelServiceServicer,), {"GetModelStatus": answered(get_status)}
    )
    service = grpc.server(
        concurrent.futures.ThreadPoolExecutor(8),
        # Further calls are answered with RESOURCE_EXHAUSTED.
        maximum_concurrent_rpcs=rest.limits.max_pending,
        options=[("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)],
    )
    services.add_PredictionServiceServicer_to_server(prediction_service(), service)
    models.add_ModelServiceServicer_to_server(model_service(), service)
    host = addresses.resolved(host)
    # The port is checked before gRPC tries it and writes lines of its own to standard error.
    addresses.check(host, port, "--grpc-port")
    try:
        bound = service.add_insecure_port(addresses.joined(host, port))
    except RuntimeError:  # Somebody was faster.
        taken = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        raise addresses.refused(taken, host, port, "--grpc-port") from None
    service.start()
    try:
        yield bound
    finally:
        # Calls that were accepted are answered before their time is up.
        service.stop(rest.limits.timeout + 5.0).wait()


def _array(name: str, tensor, limit: int) -> np.ndarray:
    """Returns the array of a `TensorProto`, whose shape may promise more than its bytes hold."""
    import tensorflow as tf

    def bad(text):
        return Failure("INVALID_ARGUMENT", f"Input {name!r} is no tensor: {text}")

    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise bad("its shape is not known")
    size = math.prod(shape)
    if tensor.dtype == tf.string.as_datatype_enum:
        if len(tensor.string_val) != size:
            raise bad(f"it has {len(tensor.string_val)} strings, its shape {size}")
        return requests.byte_strings(list(tensor.string_val), shape)
    try:
        itemsize = tf.as_dtype(tensor.dtype).size or 1
        if size * itemsize > limit:
            text = f"its shape has {size * itemsize} bytes; {limit} are allowed"
            raise bad(text)
        return tf.make_ndarray(tensor)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise bad(error) from None
