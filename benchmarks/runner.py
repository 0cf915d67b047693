"""Makes the workers of a case ready, and lets them take turns."""

import contextlib
import json
import math
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

__all__ = ["DEVICE", "Failure", "Turns", "peers_python"]

DEVICE = "KVAE_BENCH_DEVICE"  # The variable that names PyTorch's device, the CPU by default.

_ROOT = pathlib.Path(__file__).parents[1]
_ON_TORCH = ("pythae", "torch")


class Failure(Exception):
    """A worker that could not be made ready, or stopped; the message is its last line."""


def peers_python() -> str | None:
    """Returns the interpreter that has PyTorch (`make bench` makes it), or `None`."""
    path = os.environ.get("KVAE_BENCH_PEERS") or str(_ROOT / ".venv-bench/bin/python")
    return path if pathlib.Path(path).exists() else None


class _Worker:
    def __init__(self, kind: str, variant: str, name: str, batch: int, images, count):
        self.variant = variant
        module, python = "benchmarks.keras_worker", sys.executable
        if variant.startswith(_ON_TORCH):
            module, python = "benchmarks.torch_worker", peers_python()
            if python is None:
                raise Failure("PyTorch and pythae are not installed (make bench installs them)")
        if kind == "workers":
            module = "benchmarks.distributed_worker"
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [python, "-m", module, kind, variant, name, str(batch), str(images), str(count)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._answers: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def answer(self, seconds: float) -> dict:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise Failure(f"no answer in {seconds:.0f} seconds") from None
        if line is None:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise Failure(said[-1] if said else "it ended without a word")
        return json.loads(line)

    def ask(self, word: str, seconds: float = 120.0) -> dict:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        return self.answer(seconds)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


class Turns:
    """The workers of one case, ready to take turns.

    Args:
        kind: `"train"`, `"infer"` or `"workers"`.
        name: str. Of the case.
        batch: int.
        counts: dict. Of each variant the images (or what is counted) of a turn.
        images: path of the uint8 images, an `.npy` file.
        ready: float. Seconds that a worker may take to be ready: tracing, compiling, warming up.

    Attributes:
        failures: dict. The message of each variant that could not be made ready.
    """

    def __init__(self, kind, name, batch, counts, images, ready: float = 240.0):
        self.failures: dict[str, str] = {}
        self._workers: list[_Worker] = []
        for variant, count in counts.items():
            try:
                self._workers.append(_Worker(kind, variant, name, batch, images, count))
            except Failure as failure:
                self.failures[variant] = str(failure)
        for worker in list(self._workers):
            self._try(worker, lambda worker: worker.answer(ready))
        for worker in list(self._workers):  # One turn that does not count.
            self._try(worker, lambda worker: worker.ask("go"))

    def run(self, rounds: int, until: float = math.inf) -> dict:
        """Lets each variant have `rounds` turns, in an order that moves on by one each round.

        After two rounds no other begins when the time (`time.monotonic`) is past `until`.

        Returns:
            dict of what was measured by variant: lists `seconds` and `cpu`, `count`, `mb`, and
            `gflops` of its own products of matrices.
        """
        found = {w.variant: {"seconds": [], "cpu": [], "gflops": []} for w in self._workers}
        for number in range(rounds):
            if number >= 2 and time.monotonic() > until:
                break
            shift = number % max(1, len(self._workers))
            for worker in self._workers[shift:] + self._workers[:shift]:
                self._try(worker, lambda worker: self._turn(worker, found[worker.variant]))
        for worker in list(self._workers):
            self._try(worker, lambda worker: found[worker.variant].update(worker.ask("memory")))
        return {name: facts for name, facts in found.items() if name not in self.failures}

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def _turn(self, worker: _Worker, found: dict) -> None:
        found["gflops"].append(worker.ask("sgemm")["gflops"])
        answer = worker.ask("go")
        found["seconds"].append(answer["seconds"])
        found["cpu"].append(answer["cpu"])
        found["count"] = answer["count"]

    def _try(self, worker: _Worker, action) -> None:
        try:
            action(worker)
        except Failure as failure:
            self.failures[worker.variant] = str(failure)
            self._workers.remove(worker)
            worker.stop()
