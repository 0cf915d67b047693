"""The backends of `kvae serve`: TensorFlow Serving, its Docker image, the development server."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from export.serving import addresses, repository
from export.serving.limits import Limits

__all__ = [
    "BACKENDS",
    "check_host",
    "choose",
    "docker_command",
    "model_server_command",
    "run_command",
]

BACKENDS = ("model_server", "docker", "development")

_EXECUTABLE = "tensorflow_model_server"
# Each flag of TensorFlow Serving, and the file of the repository that it names.
_FILES = {
    "--batching_parameters_file": "batching_params.pbtxt",
    "--monitoring_config_file": "monitoring.config",
}


def choose(backend: str = "auto") -> str:
    """Returns what is there to serve with: one of `BACKENDS`, in this order.

    Args:
        backend: str. `"auto"`, or the one to insist on.

    Raises:
        FileNotFoundError: if the one that is insisted on is not there.
        ValueError: for an unknown one.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"`backend` is one of auto, {', '.join(BACKENDS)}, not {backend!r}.")
    present = {
        "model_server": lambda: shutil.which(_EXECUTABLE) is not None,
        "docker": _docker_answers,
        "development": lambda: True,
    }
    if backend == "auto":
        return next(name for name in BACKENDS if present[name]())
    if not present[backend]():
        raise FileNotFoundError(
            f"There is no {_EXECUTABLE} on the PATH. Install TensorFlow Serving, or choose another "
            "backend."
            if backend == "model_server"
            else "Docker does not answer. Start it (see `docker info`), or choose another backend."
        )
    return backend


def _docker_answers() -> bool:
    # The command alone is not enough: the daemon may not run, or refuse this user.
    if shutil.which("docker") is None:
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def check_host(backend: str, host: str) -> None:
    """Checks that a server can listen at an IP address and nowhere else.

    Raises:
        ValueError: for any but `0.0.0.0` with `model_server`, which has no option for it.
    """
    if backend == "model_server" and host != "0.0.0.0":
        raise ValueError(
            f"{_EXECUTABLE} listens at 0.0.0.0, every interface of this machine, and cannot be "
            f"kept to {host}. Allow that with --host 0.0.0.0, behind a firewall or a reverse "
            f"proxy; or listen at {host} alone with --backend docker (docker run -p "
            f"{addresses.joined(host, 8501)}:8501) or --backend development."
        )


@contextlib.contextmanager
def model_server_command(models: dict, port: int, grpc_port: int, limits: Limits):
    """Yields the command that serves these models with an installed TensorFlow Serving.

    It listens on every interface of the machine (see `check_host`).

    Args:
        models: dict of str to path. Folders of versions, by name (see `repository.find_models`).
        port: int. The port of the REST API.
        grpc_port: int.
        limits: `Limits`, of which TensorFlow Serving knows the time.
    """
    repository = _repository(models)
    with tempfile.TemporaryDirectory(prefix="kvae-serve-") as folder:
        config = pathlib.Path(folder) / "models.config"
        if repository is not None:
            # The operator may have changed it, e.g. to choose the versions to serve.
            text = (repository / "models.config").read_text("utf-8")
            config.write_text(text.replace('"/repository/', f'"{repository}/'), "utf-8")
        else:
            entries = "".join(
                f'  config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}\n'
                for name, path in models.items()
            )
            config.write_text(f"model_config_list {{\n{entries}}}\n", "utf-8")
        yield [
            _EXECUTABLE,
            f"--rest_api_port={port}",
            f"--port={grpc_port}",
            f"--model_config_file={config}",
            f"--rest_api_timeout_in_ms={round(1000 * limits.timeout)}",
            *_flags(repository, repository),
        ]


@contextlib.contextmanager
def docker_command(
    models: dict,
    host: str,
    port: int,
    grpc_port: int,
    limits: Limits,
    image: str = repository.IMAGE,
):
    """Yields the command that serves these models with the official image.

    Args:
        models: dict of str to path, as `model_server_command` takes them.
        host: str. The IP address to publish the ports on.
        port: int. The port of the REST API.
        grpc_port: int.
        limits: `Limits`.
        image: str.
    """
    repository = _repository(models)
    command = [
        "docker",
        "run",
        "--rm",
        *_confined(),
        "-p",
        f"{addresses.joined(host, port)}:8501",
        "-p",
        f"{addresses.joined(host, grpc_port)}:8500",
    ]
    timeout = f"--rest_api_timeout_in_ms={round(1000 * limits.timeout)}"
    if repository is not None:
        config = "--model_config_file=/repository/models.config"
        flags = _flags(repository, "/repository")
        yield [*command, "-v", f"{repository}:/repository:ro", image, config, timeout, *flags]
        return
    if len(models) > 1:
        raise ValueError("Only a repository, or one model of it, is served with Docker.")
    ((name, folder),) = models.items()
    volume = f"{folder}:/models/{name}:ro"
    yield [*command, "-v", volume, "-e", f"MODEL_NAME={name}", image, timeout]


def _confined() -> list[str]:
    """Returns the options of a container that can do nothing but serve."""
    # The container runs as the user who owns the models and can read them, but never as root.
    user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "65534:65534"
    return [
        f"--user={user}",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges:true",
        "--pids-limit=1024",
    ]


def _repository(models: dict) -> pathlib.Path | None:
    """Returns the repository whose models these are, all of them, where it has a configuration."""
    folder = pathlib.Path(next(iter(models.values()))).resolve().parents[1]
    whole = {name: path.resolve() for name, path in repository.models(folder).items()}
    same = whole == {name: pathlib.Path(path).resolve() for name, path in models.items()}
    return folder if same and (folder / "models.config").is_file() else None


def _flags(repository: pathlib.Path | None, root) -> list[str]:
    if repository is None:
        return []
    there = {flag: name for flag, name in _FILES.items() if (repository / name).is_file()}
    flags = [f"{flag}={root}/{name}" for flag, name in there.items()]
    return ["--enable_batching=true", *flags] if "--batching_parameters_file" in there else flags


def run_command(command: list[str]) -> int:
    """Runs a server until it ends, or until this process is told to; returns its status."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "1", **os.environ}
    process = subprocess.Popen(command, env=environment)
    # The server is in the terminal's group, so Ctrl-C reaches it by itself.
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:
                continue
            # A server that stops when it is told to has succeeded.
            return 0 if status in (-signal.SIGTERM, -signal.SIGINT, 130, 143) else status
    finally:
        signal.signal(signal.SIGTERM, previous)
