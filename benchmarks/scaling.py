"""One measurement of how time and memory grow with the number of images, in a process of its own.

    python -m benchmarks.scaling KIND N FOLDER EPOCHS

KIND is `written` (makes the shards of FOLDER), `in memory` or `shards`. Images are 8 × 8 and
random, the network is small: what is measured is what data cost. Prints one line of JSON.
"""

import json
import os
import pathlib
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import kvae

_EVENT = (8, 8, 1)
_BLOCK = 10_000
_BATCH = 512


class _Seconds(keras.callbacks.Callback):
    """Measures the time of the last epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self._cpu, self._start = time.process_time(), time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self._start
        self.cpu = time.process_time() - self._cpu


def _images(n: int):
    generator = np.random.default_rng(0)
    for start in range(0, n, _BLOCK):
        yield generator.integers(0, 256, (min(_BLOCK, n - start), *_EVENT), np.uint8)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _trained(data, epochs: int) -> dict:
    encoder = keras.Sequential(
        [keras.Input(_EVENT), keras.layers.Flatten(), keras.layers.Dense(32, "relu")]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(64), keras.layers.Reshape(_EVENT)]
    )
    vae = kvae.VAE(encoder, decoder, latent_dim=2)
    # One step in each call, so that all sizes are trained in the same way.
    vae.compile("adam", steps_per_execution=1)
    clock = _Seconds()
    vae.fit(data, batch_size=_BATCH, epochs=epochs, verbose=0, callbacks=[clock])
    return {"seconds": clock.seconds, "cpu": clock.cpu}


def _main(kind: str, n: str, folder: str, epochs: str) -> None:
    n, folder = int(n), pathlib.Path(folder)
    keras.utils.set_random_seed(0)
    kvae.random.normal((1,), 0)  # TensorFlow is there before anything is measured.
    before, file_mb = _peak(), 0.0
    if kind == "written":
        cpu, start = time.process_time(), time.perf_counter()
        kvae.datasets.write_shards(_images(n), folder)
        facts = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    elif kind == "shards":
        facts = _trained(kvae.datasets.Shards(folder), int(epochs))
    else:
        facts = _trained(kvae.datasets.Dataset(np.concatenate(list(_images(n)))), int(epochs))
    if kind != "in memory":
        file_mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(json.dumps({"data": kind, "images": n, "file_mb": file_mb, "before_mb": before,
                      "mb": _peak(), **facts}))  # fmt: skip


if __name__ == "__main__":
    _main(*sys.argv[1:])
