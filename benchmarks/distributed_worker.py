"""Workers of one training on this machine: the first one takes turns, and starts the others.

Each is kept to one core, of which TensorFlow makes a thread. The images of a step are `batch` for
each core or worker.
"""

import json
import math
import os
import subprocess
import sys
import threading

from benchmarks.cases import ALL_REDUCE, PLACES, Place

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_INDEX = "KVAE_BENCH_WORKER"  # Which worker this is; the first one has none.


def _start_others(count: int) -> list[subprocess.Popen]:
    from kvae.cli.launch import free_ports

    if _INDEX in os.environ:
        return []
    workers = [f"localhost:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": workers}, "task": task})
        if index == 0:
            os.environ["TF_CONFIG"] = config
            continue
        environment = {**os.environ, "TF_CONFIG": config, _INDEX: str(index)}
        command = [sys.executable, "-m", "benchmarks.distributed_worker", *sys.argv[1:]]
        processes.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                                          stdout=subprocess.DEVNULL))  # fmt: skip
    return processes


def _end_with_the_first() -> None:
    """Ends this process when the first worker has ended, and with it this one's input."""
    sys.stdin.read()
    os._exit(0)


def _strategy(place: Place):
    import tensorflow as tf

    if place.workers:
        from kvae import distributed

        return distributed.make_strategy("cluster")
    if not place.devices:
        return tf.distribute.get_strategy()
    devices = [tf.config.LogicalDeviceConfiguration()] * place.devices
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(place.devices)])


def _train(place: Place, name: str, batch: int, path: str, gate, strategy) -> None:
    import keras
    import numpy as np

    import kvae
    from benchmarks.keras_worker import Epochs
    from benchmarks.networks import RATE, case_of, model

    images = np.load(path)[: gate.count]
    with strategy.scope():
        vae = model(case_of(name))
        settings = {"steps_per_execution": 1} if place.step_by_step else {}
        vae.compile(keras.optimizers.Adam(RATE), **settings)
    gate.facts["bytes"] = 4 * sum(math.prod(v.shape) for v in vae.trainable_variables)
    callbacks = [] if _INDEX in os.environ else [Epochs(gate)]
    data = kvae.datasets.Dataset(images)
    vae.fit(data, batch_size=batch * place.parts, epochs=10**6, verbose=0, callbacks=callbacks)


def _all_reduce(size: int, gate, strategy) -> None:
    """Sums `size` bytes over the workers, `gate.count` times in a turn."""
    import tensorflow as tf

    values = tf.ones([max(1, size // 4)])

    @tf.function(autograph=False)
    def summed():
        def one():
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

        return strategy.run(one)

    def work():
        for _ in range(gate.count):
            summed()

    work()
    if _INDEX not in os.environ:
        gate.repeat(work)
    while True:
        work()


def _main(_, variant: str, name: str, batch: str, path: str, count: str) -> None:
    place = next(place for place in PLACES if place.name == variant)
    index = int(os.environ.get(_INDEX, 0))
    if index:
        threading.Thread(target=_end_with_the_first, daemon=True).start()
    cores = sorted(os.sched_getaffinity(0))
    others = _start_others(place.workers) if place.workers else []
    # Before TensorFlow counts the cores.
    first = index if place.workers else 0
    used = 1 if place.workers else place.cores
    os.sched_setaffinity(0, {cores[(first + i) % len(cores)] for i in range(used)})
    from benchmarks.gate import Gate

    gate = Gate(int(count), lambda: product())
    strategy = _strategy(place)
    import tensorflow as tf

    a = tf.random.normal((2048, 2048))

    def product():
        return tf.matmul(a, a).numpy()

    try:
        if name == ALL_REDUCE:
            _all_reduce(int(batch), gate, strategy)
        else:
            _train(place, name, int(batch), path, gate, strategy)
    finally:
        for process in others:
            process.kill()


if __name__ == "__main__":
    _main(*sys.argv[1:])
