"""Runs the development server until it is told to stop."""

import contextlib
import os
import signal
import threading
from collections.abc import Mapping

from export.serving import addresses
from export.serving.development import grpc_api
from export.serving.development.server import DevelopmentServer
from export.serving.limits import Limits
from kvae.utils.terminal import say

__all__ = ["NOTICE", "run"]

NOTICE = "development server, without TLS and metrics; use TensorFlow Serving in production"


def run(
    models: Mapping[str, str | os.PathLike],
    host: str = "127.0.0.1",
    port: int = 8501,
    grpc_port: int | None = None,
    limits: Limits | None = None,
    batching: bool = True,
) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit status.

    Args:
        models: dict of str to path. Folders of versions, by name.
        host: str.
        port: int. The port of the REST API.
        grpc_port: int or `None`. The port of the gRPC API, which needs `grpcio` and
            `tensorflow-serving-api`. Defaults to `None`: no gRPC.
        limits: `Limits`.
        batching: bool. Whether requests that wait at the same time run as one. Defaults to `True`.
    """
    stop = threading.Event()

    def told(number, _):
        if stop.is_set():  # A second signal ends the server at once.
            os._exit(128 + number)
        stop.set()

    previous = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                DevelopmentServer(models, host, port, limits, batching=batching)
            )
            for model in server.models.values():
                say(f"{model.name}: version {model.version}")
                say(f"  {server.url}/v1/models/{model.name}:predict")
            if grpc_port is not None:
                bound = stack.enter_context(grpc_api.serve(server, host, grpc_port))
                print(f"  grpc://{addresses.joined(server.server_address[0], bound)}")
            if addresses.everywhere(server.server_address[0]):
                print(f"  {addresses.OPEN}")
            print(f"({NOTICE}; stop with Ctrl-C)", flush=True)
            # The wait is short: a signal that another thread receives does not wake this one.
            while not stop.wait(0.2):
                pass
            print("stopping", flush=True)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0
