"""Training on several devices and machines, by TensorFlow's own strategies.

| place | strategy | who starts the processes |
|---|---|---|
| `"gpus"` | `MirroredStrategy`: all GPUs of this machine | one process |
| `"cluster"` | `MultiWorkerMirroredStrategy` | whoever sets `TF_CONFIG`: Kubernetes, `kvae train` |
| `"slurm"` | the same | `srun` |
"""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING

from kvae.utils import names

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "PLACES",
    "agree",
    "is_chief",
    "is_multi_worker",
    "make_strategy",
    "num_workers",
    "slurm_config",
]

PLACES = ("gpus", "cluster", "slurm")
_PORT = 29500


def make_strategy(place: str) -> tf.distribute.Strategy:
    """Makes the strategy in whose `scope()` a model is built and compiled.

    Processes on several machines have to call it before TensorFlow computes anything. It waits
    until all of them have called it.

    Args:
        place: str. `"gpus"`, `"cluster"` or `"slurm"`: see the table of this module.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ValueError: for another place, or where the environment does not say who the workers are.

    Example:

    ```python
    strategy = kvae.distributed.make_strategy("gpus")
    with strategy.scope():
        vae = zoo.build("conv_vae")
        vae.compile("adam")
    vae.fit(data, batch_size=512)  # The batch of all replicas together.
    ```
    """
    import tensorflow as tf

    if place not in PLACES:
        raise names.unknown_name("place", place, PLACES)
    if place == "gpus":
        return tf.distribute.MirroredStrategy()
    if place == "slurm":
        os.environ["TF_CONFIG"] = json.dumps(slurm_config())
    try:
        known = bool(json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"])
    except (KeyError, TypeError, json.JSONDecodeError):
        known = False
    if not known:
        raise ValueError(
            "TF_CONFIG names no workers. Set it to a JSON object like "
            '{"cluster": {"worker": ["host0:29500", "host1:29500"]}, '
            '"task": {"type": "worker", "index": 0}}, or start the workers on this machine with '
            "`kvae train --distributed 2`."
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def slurm_config() -> dict:
    """Returns the value of `TF_CONFIG` for a task that `srun` started, from its environment.

    Raises:
        ValueError: outside of a job step of Slurm.
    """
    import tensorflow as tf

    try:
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        # Slurm gives each task its GPUs; the resolver must not, and cannot count less than one.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_PORT, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"This is no task of a Slurm job step ({error}). Start it with srun."
        ) from None
    workers = resolver.cluster_spec().as_dict()["worker"]
    return {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": resolver.get_task_info()[1]},
    }


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that hold the replicas."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", [None]))


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Checks whether several processes hold the replicas."""
    return num_workers(strategy) > 1


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Checks whether this process is the one that writes files for all of them."""
    return not is_multi_worker(strategy) or strategy.cluster_resolver.task_id == 0


def agree(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Checks whether a flag is true in any of the processes, all of which have to call this.

    Args:
        strategy: `tf.distribute.Strategy`.
        flag: bool. The flag of this process.
    """
    if not is_multi_worker(strategy):
        return flag
    import tensorflow as tf

    return float(_count(strategy)(tf.constant(float(flag)))) > 0


@functools.cache
def _count(strategy):
    """Returns a graph of the sum over all replicas; eagerly a strategy warns of its overhead."""
    import tensorflow as tf

    return tf.function(
        lambda flag: strategy.reduce(
            tf.distribute.ReduceOp.SUM, strategy.run(lambda: flag), axis=None
        )
    )
