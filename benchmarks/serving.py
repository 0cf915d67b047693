"""Servers under load: `kvae serve`, the C++ runtime without one, TensorFlow Serving, Flask.

`python -m benchmarks.serving FOLDER` exports the dense case into a repository of models.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import numpy as np

from benchmarks import load
from benchmarks.cases import BATCHING, FLASK, RUNTIME, SIGNATURES, TF_SERVING
from benchmarks.runner import peers_python

__all__ = ["SERVERS", "measure"]

_ROOT = pathlib.Path(__file__).parents[1]
_PATH = "/v1/models/dense:predict"
_REQUESTS = 32  # Different ones, so that an answer to another one is noticed.
_PER = 1000  # What is kept is the seconds of so many requests.


def measure(clients, rounds: int, seconds: float, say, until: float) -> list[dict]:
    """Measures all servers, which take turns.

    Args:
        clients: list of int. How many ask at once.
        rounds: int.
        seconds: float. Of a turn.
        say: callable. Is told what begins.
        until: float. After two rounds no other begins when `time.monotonic()` is past it.

    Returns:
        For each signature and number of clients a dict of `case`, `batch` (the clients),
        `measured`, as `Turns.run` returns it, with `p50` and `p99` in milliseconds, and `failures`.
        `wrong` counts the answers that were lost, were refused, or differ from those given alone.
    """
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "benchmarks.serving", str(folder)]
        subprocess.run(command, cwd=_ROOT, env=_environment(), check=True, capture_output=True)
        servers, failures = {}, {}
        for name, start in SERVERS.items():
            say(f"serving: {name}")
            try:
                servers[name] = stack.enter_context(start(folder))
            except (OSError, RuntimeError) as error:
                failures[name] = str(error)
        found = [
            {"case": f"serving {signature}", "batch": count, "failures": failures, "wrong": 0,
             "measured": {name: _empty() for name in servers}}
            for signature in SIGNATURES
            for count in clients
        ]  # fmt: skip
        bodies = {signature: _bodies(signature) for signature in SIGNATURES}
        alone = {}
        for name, server in servers.items():
            for signature in SIGNATURES:  # This warms it up as well.
                alone[name, signature] = server.alone(bodies[signature])
                server.run(bodies[signature], max(clients), seconds)
        for number in range(rounds):
            if number >= 2 and time.monotonic() > until:
                break
            names = list(servers)
            names = names[number % len(names) :] + names[: number % len(names)]
            for facts in found:
                signature = facts["case"].removeprefix("serving ")
                say(f"{facts['case']}, {facts['batch']} clients, round {number + 1}")
                for name in names:
                    seen = servers[name].run(bodies[signature], facts["batch"], seconds)
                    _add(facts["measured"][name], seen)
                    facts["wrong"] += seen.lost + _wrong(seen, alone[name, signature])
    return found


def _empty() -> dict:
    return {"seconds": [], "cpu": [], "p50": [], "p99": [], "gflops": [], "count": _PER, "mb": 0.0}


def _add(measured: dict, seen: load.Found) -> None:
    milliseconds = np.sort(seen.latencies) * 1e3
    took = _PER * seen.seconds / max(1, len(milliseconds))
    measured["seconds"].append(took)
    measured["cpu"].append(took)  # Of a server and its clients there is no time but that.
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        measured[name].append(float(np.quantile(milliseconds, part)) if len(milliseconds) else 0.0)


def _bodies(signature: str) -> list[bytes]:
    images = np.random.default_rng(0).random((_REQUESTS, 28, 28, 1)).round(3)
    found = []
    for number, image in enumerate(images):
        inputs = {} if signature == "generate" else {"image": [image.tolist()]}
        inputs |= {} if signature == "encode" else {"seed": [number]}
        found.append(json.dumps({"signature_name": signature, "inputs": inputs}).encode())
    return found


def _wrong(seen: load.Found, alone: list) -> int:
    """Returns how many answers differ from those that were given alone by more than rounding."""
    count = 0
    for (number, status, body), times in seen.answers.items():
        if status != 200 or not _same(_outputs(body), alone[number]):
            count += times
    return count


def _outputs(body: bytes) -> dict:
    outputs = json.loads(body)["outputs"]
    # An only output goes without its name.
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    return {name: np.array(value) for name, value in outputs.items()}


def _same(outputs: dict, others: dict) -> bool:
    return outputs.keys() == others.keys() and all(
        outputs[name].shape == others[name].shape
        and np.allclose(outputs[name], others[name], rtol=1e-5, atol=1e-4)
        for name in outputs
    )


class _Http:
    def __init__(self, host: str, port: int):
        self._address = host, port

    def _requests(self, bodies) -> list[bytes]:
        return [load.request(self._address[0], _PATH, body) for body in bodies]

    def alone(self, bodies) -> list[dict]:
        found = []
        for request in self._requests(bodies):
            ((_, status, body),) = load.run(self._address, [request], 1, 0.0).answers
            if status != 200:
                raise RuntimeError(f"status {status}: {body[:200].decode(errors='replace')}")
            found.append(_outputs(body))
        return found

    def run(self, bodies, clients: int, seconds: float) -> load.Found:
        return load.run(self._address, self._requests(bodies), clients, seconds)


class _Runtime:
    """The C++ runtime in this process; a client is a thread."""

    def __init__(self, folder: pathlib.Path):
        from export.runtimes import c_api

        self._session = c_api.Session(folder / "models" / "dense" / "1")

    def _inputs(self, body: bytes) -> tuple[str, dict]:
        content = json.loads(body)
        wanted = self._session.signatures[content["signature_name"]].inputs
        inputs = content["inputs"].items()
        arrays = {name: np.array(value, wanted[name].dtype) for name, value in inputs}
        return content["signature_name"], arrays

    def alone(self, bodies) -> list[dict]:
        return [self._session.run(*self._inputs(body)) for body in bodies]

    def run(self, bodies, clients: int, seconds: float) -> load.Found:
        calls, found, lock = [self._inputs(body) for body in bodies], load.Found(), threading.Lock()
        start = time.perf_counter()

        def client(number: int) -> None:
            latencies = []
            while time.perf_counter() - start < seconds or not latencies:
                began = time.perf_counter()
                self._session.run(*calls[number % len(calls)])
                latencies.append(time.perf_counter() - began)
                number += 1
            with lock:
                found.latencies += latencies

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.seconds = time.perf_counter() - start
        return found

    def close(self) -> None:
        self._session.close()


@contextlib.contextmanager
def _process(command: list[str], http: tuple[str, int] | None = None):
    """Starts a server, which says where it listens where `http` does not."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=_ROOT, env=_environment(), text=True,
                                   stdout=subprocess.PIPE, stderr=errors)  # fmt: skip
        try:
            while http is None:
                line = process.stdout.readline()
                if not line:
                    errors.seek(0)
                    said = errors.read().decode(errors="replace").strip().splitlines()
                    raise RuntimeError(said[-1] if said else "it ended without a word")
                if match := re.search(r"http://([\d.]+):(\d+)", line):
                    http = match[1], int(match[2])
            _drain(process)
            _ready(process, http)
            yield _Http(*http)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _drain(process) -> None:
    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()


def _ready(process, http: tuple[str, int], patience: float = 180.0) -> None:
    """Waits until a server answers anything."""
    end = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://{http[0]}:{http[1]}/v1/models/dense", timeout=5)
            return
        except urllib.error.HTTPError as error:
            if error.code != 503:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError("it did not answer")


def _environment() -> dict:
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}


def _kvae(*options: str):
    def start(folder: pathlib.Path):
        command = [sys.executable, "-m", "kvae", "serve", str(folder), "--backend", "development"]
        return _process([*command, "--port", "0", "--no-grpc", *options])

    return start


def _official(folder: pathlib.Path):
    from export.serving import backends

    backend = backends.choose()
    if backend == "development":
        raise RuntimeError("there is no tensorflow_model_server, and Docker does not answer")
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        port, grpc_port = one.getsockname()[1], other.getsockname()[1]
    host = "0.0.0.0" if backend == "model_server" else "127.0.0.1"
    command = [sys.executable, "-m", "kvae", "serve", str(folder), "--backend", backend]
    command += ["--host", host, "--port", str(port), "--grpc-port", str(grpc_port)]
    return _process(command, ("127.0.0.1", port))


def _flask(folder: pathlib.Path):
    python = peers_python()
    code = "import flask, sysconfig; print(sysconfig.get_path('purelib'))"
    found = python and subprocess.run([python, "-c", code], capture_output=True, text=True).stdout
    if not found:
        raise RuntimeError("Flask is not installed (make bench installs it)")
    return _process([sys.executable, "-m", "benchmarks.flask_server", found.strip()])


def _runtime(folder: pathlib.Path):
    return contextlib.closing(_Runtime(folder))


SERVERS = {
    "kvae": _kvae(),
    BATCHING: _kvae("--no-batching"),
    RUNTIME: _runtime,
    TF_SERVING: _official,
    FLASK: _flask,
}


def _main(folder: str) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import export
    from benchmarks import networks
    from benchmarks.cases import CASES

    export.publish(networks.model(CASES[0]), folder, "dense", verify=False)


if __name__ == "__main__":
    _main(*sys.argv[1:])
