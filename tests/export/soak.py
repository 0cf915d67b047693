"""A soak of the development server: `python tests/export/soak.py [REPOSITORY] --seconds 600`.

Clients ask at the machine's limit, rightly and wrongly, at once. Right answers are compared with
those that were given alone; wrong requests are refused; the server's memory, threads and files stay
what they are; and what was accepted is answered when it is told to stop.
"""

import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "dense_vae.digits"
MAX_BYTES = 1_000_000
SEEDS = 24
BUSY = (429, 503)


class Soak:
    """Clients of one server.

    Args:
        host, port, model: the server, and a model of it that has a prior.
        pid: int. The server's process.
    """

    def __init__(self, host: str, port: int, model: str, pid: int):
        self.host, self.port, self.pid = host, port, pid
        self.path = f"/v1/models/{model}:predict"
        self.done = collections.Counter()
        self.latencies, self.errors, self.sizes = [], [], []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        answers = [self.ask({"seed": [seed]}, "generate")[1]["outputs"] for seed in range(SEEDS)]
        self.z = np.concatenate([answer["z"] for answer in answers])
        self.image = np.concatenate([answer["image"] for answer in answers])
        self.wrong = [
            b"",
            b"{",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b'{"inputs": [[NaN, 1]]}',
            b'{"inputs": [[1e999, 1]]}',
            b'{"inputs": [["' + b"x" * 100_000 + b'", "y"]' + b', ["", ""]' * 1_000 + b"]}",
            b'{"instances": [[1], [1, 2]]}',
            b'{"inputs": {"z": [[]]}}',
            b'{"inputs": {"y": [[1, 2]]}}',
            b'{"inputs": [' + b"9" * 5000 + b"]}",
            b'{"signature_name": "nope", "inputs": [[1, 2]]}',
            b'{"signature_name": "generate", "inputs": {"seed": [1.5]}}',
        ]
        ends = {"z_start": self.z[:1].repeat(3000, 0).round(2).tolist()}
        ends["z_end"], ends["steps"] = ends["z_start"], [64] * 3000
        self.large = json.dumps({"signature_name": "interpolate", "inputs": ends}).encode()

    def send(self, body, path=None, timeout=30.0):
        """A request by a connection of its own: the status and the JSON of the answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", path or self.path, body)  # It may be refused meanwhile.
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def ask(self, inputs: dict, signature: str):
        return self.send(json.dumps({"signature_name": signature, "inputs": inputs}).encode())

    # What clients do. Each returns what happened, or raises AssertionError.

    def generate(self, rng):
        seeds = [rng.randrange(SEEDS) for _ in range(rng.choice((1, 2, 7, 70)))]
        status, answer = self.ask({"seed": seeds}, "generate")
        if status in BUSY:
            return "busy"
        assert status == 200, (status, answer)
        # The bits of the latents, and images up to the rounding of a batched product.
        assert np.array_equal(answer["outputs"]["z"], self.z[seeds]), "mixed-up latents"
        assert np.allclose(answer["outputs"]["image"], self.image[seeds], atol=1e-5), "mixed-up"
        return "generate"

    def decode(self, rng):
        rows = [rng.randrange(SEEDS) for _ in range(rng.choice((1, 3, 16)))]
        body = json.dumps({"instances": [{"z": self.z[row].tolist()} for row in rows]})
        status, answer = self.send(body)
        if status in BUSY:
            return "busy"
        assert status == 200, (status, answer)
        images = [row["image"] for row in answer["predictions"]]
        assert np.allclose(images, self.image[rows], atol=1e-5), "mixed-up images"
        return "decode"

    def malformed(self, rng):
        body = rng.choice(self.wrong)
        if rng.random() < 0.3:
            body = bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
        status, answer = self.send(body)
        assert status in (400, *BUSY) and set(answer) == {"error"}, (status, body[:60], answer)
        return "malformed"

    def huge(self, rng):
        if rng.random() < 0.5:
            status, answer = self.send(self.large)
        else:
            status, answer = self.send(b"[" + b"0," * (MAX_BYTES // 2 + 10) + b"0]")
        assert status in (413, *BUSY), (status, answer)
        return "huge"

    def broken_off(self, rng):
        body = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{" % self.path.encode()
        with socket.create_connection((self.host, self.port), timeout=10) as connection:
            connection.sendall(body[: rng.randrange(len(body))])
        return "broken off"

    def crowd(self, rng):
        """Many connections that say nothing, for a moment."""
        with contextlib.ExitStack() as stack:
            for _ in range(rng.randrange(40)):
                address = self.host, self.port
                try:
                    stack.enter_context(socket.create_connection(address, timeout=10))
                except TimeoutError:  # The queue at the door is full, which is a bound, too.
                    return "kept_out"
            time.sleep(0.05)
        return "crowd"

    ACTIONS = ("generate",) * 8 + ("decode",) * 8 + ("malformed",) * 4 + ("huge", "broken_off")

    def client(self, number: int) -> None:
        rng = random.Random(number)
        while not self._stop.is_set():
            action = "crowd" if rng.random() < 0.005 else rng.choice(self.ACTIONS)
            start = time.monotonic()
            try:
                kind = getattr(self, action)(rng)
            except ConnectionError:
                # With a full backlog, or when a large request was refused while it was sent.
                kind = "reset"
            except Exception as error:
                kind = "error"
                with self._lock:
                    self.errors.append(f"{action}: {type(error).__name__}: {str(error)[:300]}")
            with self._lock:
                self.done[kind] += 1
                if kind in ("generate", "decode"):
                    self.latencies.append(time.monotonic() - start)

    def watch(self) -> None:
        while not self._stop.wait(0.5):
            self.sizes.append(self.size())

    def size(self) -> tuple[float, int, int]:
        """The server's memory in MB, its threads and its open files."""
        try:
            status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0.0, 0, 0
        memory = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
        files = len(os.listdir(f"/proc/{self.pid}/fd"))
        return memory, int(re.search(r"Threads:\s+(\d+)", status)[1]), files

    def run(self, seconds: float, clients: int = 16) -> dict:
        """Asks for so long; returns what happened."""
        threads = [threading.Thread(target=self.client, args=(i,)) for i in range(clients)]
        threads.append(threading.Thread(target=self.watch))
        start = time.monotonic()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._stop.set()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
        # Connections that were left without a word go when their time is up.
        status, _ = self.ask({"seed": [1]}, "generate")
        if status != 200:
            self.errors.append(f"after it: status {status}")
        return {"seconds": took, **self.report(took)}

    def report(self, took: float) -> dict:
        memory = [size[0] for size in self.sizes]
        third = max(1, len(memory) // 3)
        latencies = sorted(self.latencies) or [float("nan")]
        return {
            "requests": sum(self.done.values()),
            "requests per second": round(sum(self.done.values()) / took, 1),
            "kinds": dict(self.done.most_common()),
            "median ms": round(1e3 * statistics.median(latencies), 1),
            "99 % ms": round(1e3 * latencies[int(0.99 * (len(latencies) - 1))], 1),
            # Of the second third and the last one: the first one fills caches.
            "memory MB": [
                round(statistics.median(part), 1)
                for part in (memory[third : 2 * third] or [0.0], memory[-third:] or [0.0])
            ],
            "largest memory MB": round(max(memory, default=0.0), 1),
            "most threads": max((size[1] for size in self.sizes), default=0),
            "most files": max((size[2] for size in self.sizes), default=0),
            "errors": self.errors[:10],
        }

    def stop(self, process, requests: int = 8) -> list:
        """Tells the server to stop while requests are on their way; returns their statuses."""
        sent = threading.Barrier(requests + 1)
        body = json.dumps({"signature_name": "generate", "inputs": {"seed": list(range(64))}})
        statuses = []

        def one():
            connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
            connection.request("POST", self.path, body)
            sent.wait()
            try:
                statuses.append(connection.getresponse().status)
            except (OSError, http.client.HTTPException) as error:
                statuses.append(repr(error))
            connection.close()

        threads = [threading.Thread(target=one) for _ in range(requests)]
        for thread in threads:
            thread.start()
        sent.wait()
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        return statuses


def start(repository) -> tuple[subprocess.Popen, str, int]:
    """Starts a server; returns its process, host and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "export.serving.development", str(repository), "--port", "0"]
        + ["--max-bytes", str(MAX_BYTES), "--timeout", "20"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if found := re.search(r"http://([\d.]+):(\d+)", line):
            return process, found[1], int(found[2])
    raise RuntimeError("The server did not start.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", nargs="?", help="default: one is made of " + MODEL)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = arguments.repository or folder
        if arguments.repository is None:
            command = [sys.executable, "-m", "kvae", "export", MODEL, "--format", "repository"]
            subprocess.run([*command, "--no-verify", repository], check=True, cwd=ROOT)
        name = min(path.name for path in pathlib.Path(repository, "models").iterdir())
        process, host, port = start(repository)
        soak = Soak(host, port, name, process.pid)
        found = soak.run(arguments.seconds, arguments.clients)
        found["answers while it stopped"] = soak.stop(process)
        found["exit status"] = process.wait(60)
    print(json.dumps(found, indent=2))
    before, after = found["memory MB"]
    fine = (
        not found["errors"]
        and after <= 1.1 * before + 20
        and set(found["answers while it stopped"]) == {200}
        and found["exit status"] == 0
    )
    print("fine" if fine else "NOT fine")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
