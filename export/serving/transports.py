"""The transports of a client's calls: TensorFlow Serving's REST and gRPC APIs."""

import base64
import http.client
import json
import time
import urllib.parse

import numpy as np

from export.serving import stubs
from export.signatures import Signature, TensorInfo

__all__ = ["Grpc", "Rest", "ServingError"]

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    411: "INVALID_ARGUMENT",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_NAMES = {"float": "float32", "double": "float64", "half": "float16"}


class ServingError(RuntimeError):
    """An error that the server answered, or that it did not answer.

    Attributes:
        code: str. `"INVALID_ARGUMENT"`, `"NOT_FOUND"`, `"UNAVAILABLE"`, `"DEADLINE_EXCEEDED"` or
            another of the canonical codes.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


def _dtype(name: str) -> str:
    name = name.removeprefix("DT_").lower()
    return _NAMES.get(name, name)


class Rest:
    """TensorFlow Serving's JSON, by the standard library."""

    def __init__(self, url, model: str, version: int | None):
        self._secure = url.scheme == "https"
        self._host, self._port = url.hostname, url.port or (443 if self._secure else 8501)
        self._path = f"{url.path.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._path += f"/versions/{version}"

    def close(self) -> None:
        pass  # A connection for each call, so that threads share nothing.

    def signatures(self, deadline) -> dict[str, Signature]:
        content = self._call(deadline, "GET", "/metadata")
        definitions = content["metadata"]["signature_def"]["signature_def"]

        def tensors(infos):
            found = {}
            for name, info in infos.items():
                sizes = [int(dim["size"]) for dim in info["tensor_shape"].get("dim", ())]
                shape = tuple(None if size < 0 else size for size in sizes)
                found[name] = TensorInfo(_dtype(info["dtype"]), shape)
            return found

        return {
            name: Signature(tensors(item.get("inputs", {})), tensors(item.get("outputs", {})))
            for name, item in definitions.items()
            if not name.startswith("__")
        }

    def status(self, deadline) -> dict[int, str]:
        states = self._call(deadline, "GET", "")["model_version_status"]
        return {int(item["version"]): item["state"] for item in states}

    def predict(self, deadline, signature, arrays, found) -> dict[str, np.ndarray]:
        inputs = {
            name: [{"b64": base64.b64encode(item).decode()} for item in array]
            if array.dtype == object and array.ndim == 1
            else [[item.decode() for item in row] for row in array]
            if array.dtype == object
            else array.tolist()
            for name, array in arrays.items()
        }
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        outputs = self._call(deadline, "POST", ":predict", body)["outputs"]
        if len(found.outputs) == 1:  # The server leaves out the name of an only output.
            outputs = {next(iter(found.outputs)): outputs}
        return {
            name: np.array(
                value, None if found.outputs[name].dtype == "string" else found.outputs[name].dtype
            )
            for name, value in outputs.items()
        }

    def _call(self, deadline, method: str, path: str, body: bytes | None = None) -> dict:
        left = max(deadline - time.monotonic(), 1e-3)
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=left)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        where = f"{self._host}:{self._port}"
        try:
            try:
                connection.request(method, self._path + path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # It may have refused a large body, and said so.
            response = connection.getresponse()
            data = response.read()
        except TimeoutError:
            raise ServingError("DEADLINE_EXCEEDED", f"{where} did not answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ServingError("UNAVAILABLE", f"{where} cannot be reached: {text}") from None
        finally:
            connection.close()
        try:
            content = json.loads(data)
        except ValueError:
            content = {"error": data[:200].decode(errors="replace").strip() or response.reason}
        if not isinstance(content, dict):
            content = {"error": "the answer is no JSON object"}
        if response.status != 200 or "error" in content:
            code = _CODES.get(response.status, "INTERNAL")
            raise ServingError(code, str(content.get("error", response.reason)))
        return content


class Grpc:
    """TensorFlow Serving's protocol buffers, by the official stubs."""

    def __init__(self, url, model: str, version: int | None):
        self._grpc, stub = stubs.modules()
        self._predict, self._metadata = stub("predict_pb2"), stub("get_model_metadata_pb2")
        self._status = stub("get_model_status_pb2")
        self._model, self._version = model, version
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        where = f"{url.hostname}:{url.port or 8500}"
        if url.scheme == "grpcs":
            credentials = self._grpc.ssl_channel_credentials()
            self._channel = self._grpc.secure_channel(where, credentials, options)
        else:
            self._channel = self._grpc.insecure_channel(where, options)
        self._models = stub("model_service_pb2_grpc").ModelServiceStub(self._channel)
        self._service = stub("prediction_service_pb2_grpc").PredictionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def signatures(self, deadline) -> dict[str, Signature]:
        import tensorflow as tf

        request = self._fill(self._metadata.GetModelMetadataRequest())
        request.metadata_field.append("signature_def")
        response = self._call(deadline, self._service.GetModelMetadata, request)
        definitions = self._metadata.SignatureDefMap()
        response.metadata["signature_def"].Unpack(definitions)

        def tensors(infos):
            found = {}
            for name, info in infos.items():
                sizes = [dim.size for dim in info.tensor_shape.dim]
                shape = tuple(None if size < 0 else size for size in sizes)
                found[name] = TensorInfo(tf.as_dtype(info.dtype).name, shape)
            return found

        return {
            name: Signature(tensors(item.inputs), tensors(item.outputs))
            for name, item in definitions.signature_def.items()
            if not name.startswith("__")
        }

    def status(self, deadline) -> dict[int, str]:
        request = self._fill(self._status.GetModelStatusRequest())
        response = self._call(deadline, self._models.GetModelStatus, request)
        names = self._status.ModelVersionStatus.State.Name
        return {item.version: names(item.state) for item in response.model_version_status}

    def predict(self, deadline, signature, arrays, found) -> dict[str, np.ndarray]:
        import tensorflow as tf

        request = self._fill(self._predict.PredictRequest())
        request.model_spec.signature_name = signature
        for name, array in arrays.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array, found.inputs[name].dtype))
        response = self._call(deadline, self._service.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def _fill(self, request):
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        return request

    def _call(self, deadline, method, request):
        try:
            return method(request, timeout=max(deadline - time.monotonic(), 1e-3))
        except self._grpc.RpcError as error:
            raise ServingError(error.code().name, error.details() or "no details") from None
