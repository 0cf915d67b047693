"""`kvae serve MODEL`."""

import contextlib
import os
import pathlib
import tempfile

from kvae.cli import checks, common
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.terminal import say


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise ValueError
    return value


_port.__name__ = "port from 0 (a free one) to 65535"


def add_arguments(parser) -> None:
    from export.serving.backends import BACKENDS
    from export.serving.repository import IMAGE

    parser.add_argument(
        "model",
        metavar="MODEL",
        type=checks.servable,
        help="A zoo name, a .keras file, a model repository or a folder of SavedModel versions.",
    )
    common.add_import(parser)
    parser.add_argument(
        "--name",
        default=Unset("its own"),
        help="Call the model by this name in requests.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="Listen on this address. 0.0.0.0 is every interface, and the "
        "only address that tensorflow_model_server knows.",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8501,
        help="Answer REST calls on this port.",
    )
    parser.add_argument(
        "--grpc-port",
        type=_port,
        default=8500,
        help="Answer gRPC calls on this port.",
    )
    parser.add_argument(
        "--no-grpc",
        action="store_true",
        help="Answer REST calls only. For the development server.",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", *BACKENDS),
        default="auto",
        help="Serve with this program; auto is TensorFlow Serving on the PATH, else its Docker "
        "image, else a server for development.",
    )
    parser.add_argument("--image", default=IMAGE, help="Run this Docker image.")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=common.positive_number,
        default=30.0,
        help="Give up on a request after this time.",
    )
    parser.add_argument(
        "--max-request-mb",
        metavar="MB",
        type=common.positive_number,
        default=64.0,
        help="Refuse larger requests. For the development server.",
    )
    parser.add_argument(
        "--no-batching",
        action="store_true",
        help="Run requests one by one, not those together that wait at the same time. For the "
        "development server.",
    )


@command(
    "serve",
    add_arguments,
    "kvae serve conv_vae.mnist",
    "kvae serve models --host 0.0.0.0 --port 8501",
)
def run(arguments) -> int:
    """Answers REST and gRPC calls with TensorFlow Serving, or with a server for development.

    The command prints the addresses and serves until it is interrupted.
    """
    from export.serving import addresses, backends, stubs
    from export.serving.limits import Limits

    # Before the model is loaded, which takes longer.
    backend = backends.choose(arguments.backend)
    grpc = backend != "development" or (not arguments.no_grpc and stubs.installed())
    host = addresses.resolved(arguments.host)
    backends.check_host(backend, host)
    if backend != "docker":  # Its daemon may be on another machine.
        addresses.check(host, arguments.port)
        if grpc:
            addresses.check(host, arguments.grpc_port, "--grpc-port")
    limits = Limits(arguments.timeout, max_bytes=round(1e6 * arguments.max_request_mb))
    with _models(arguments) as models:
        if backend == "development":
            return _development(arguments, models, host, limits, grpc)
        if backend == "docker":
            manager = backends.docker_command(
                models, host, arguments.port, arguments.grpc_port, limits, arguments.image
            )
        else:
            manager = backends.model_server_command(
                models, arguments.port, arguments.grpc_port, limits
            )
        with manager as command:
            say(" ".join(command), flush=True)
            address = addresses.joined(host, arguments.port)
            for name in models:
                say(f"{name}: http://{address}/v1/models/{name}:predict")
            say(f"grpc://{addresses.joined(host, arguments.grpc_port)}", flush=True)
            if addresses.everywhere(host):
                say(addresses.OPEN, flush=True)
            return backends.run_command(command)


@contextlib.contextmanager
def _models(arguments):
    """The folders of versions to serve: those at the path, or one made of the model."""
    from export.serving import repository

    path = pathlib.Path(arguments.model)
    if path.is_dir():
        yield repository.find_models(path, arguments.name)
        return
    model = common.load_model(arguments.model)
    import export

    name = arguments.name or common.stem(arguments.model)
    common.tell(f"Exporting {name} …")
    with tempfile.TemporaryDirectory(prefix="kvae-serve-") as folder:
        os.chmod(folder, 0o755)  # A server in a container may be another user.
        export.publish(model, folder, name, verify=False)
        yield repository.find_models(folder)


def _development(arguments, models, host: str, limits, grpc: bool) -> int:
    from export.serving import stubs
    from export.serving.development.run import run

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if grpc:
        common.quiet_tensorflow()  # The stubs import it.
    elif not arguments.no_grpc:
        say(f"REST only; for gRPC: {stubs.NEEDS}")
    grpc_port = arguments.grpc_port if grpc else None
    batching = not arguments.no_batching
    return run(models, host, arguments.port, grpc_port, limits, batching)
