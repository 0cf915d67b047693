"""A short training, whose time counts from `fit` called to `fit` returned.

    python -m benchmarks.short CASE BATCH IMAGES.npy COUNT

A process of its own makes a model and imports what it needs, says that it is ready, trains when it
is told to, and prints the time as one line of JSON. No function has been traced in it before.
"""

import json
import os
import subprocess
import sys
import time

from benchmarks.cases import Case
from benchmarks.gate import Gate

__all__ = ["EPOCHS", "train"]

EPOCHS = 10


def train(case: Case, batch: int, path: str, gate: Gate) -> None:
    """Lets another process do the training of each turn."""
    took = None
    while True:
        command = [sys.executable, "-m", "benchmarks.short", case.name, str(batch), path]
        command.append(str(gate.count))
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        gate.wait(took)
        found, _ = child.communicate("go\n")
        took = json.loads(found.splitlines()[-1])


def _main(name: str, batch: str, path: str, count: str) -> None:
    import numpy as np

    import kvae
    from benchmarks.networks import case_of, compiled

    vae = compiled(case_of(name))
    data = kvae.datasets.Dataset(np.load(path)[: int(count) // EPOCHS])
    print("ready", flush=True)
    if sys.stdin.readline().strip() != "go":
        os._exit(0)
    cpu, start = time.process_time(), time.perf_counter()
    vae.fit(data, batch_size=int(batch), epochs=EPOCHS, verbose=0)
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps(took), flush=True)
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
