"""The logs of a step on several workers."""

import tensorflow as tf

from kvae.models.fit.worker_logs import WorkerLogs


def mean_over_workers(logs):
    """What Keras does with the logs of a step: each is a mean over its first axis."""
    return {
        name: tf.reduce_mean(tf.stack([value, value + 2.0]), axis=(0, 1))
        for name, value in logs.items()
    }


def test_logs_of_a_step_travel_as_one_tensor_and_come_apart():
    logs, sent = WorkerLogs(), []

    @tf.function(autograph=False)
    def train(x):
        found = logs.joined({"loss": x, "beta": tf.constant(3, tf.int32)})
        sent.append(found)
        return mean_over_workers(found)

    @tf.function(autograph=False)
    def test(x):
        return mean_over_workers(logs.joined({"elbo": -x}))

    trained, tested = logs.split(train), logs.split(test)
    for _ in range(2):  # The second call traces nothing; each function keeps its own names.
        found = trained(tf.constant(1.0))
        assert {name: float(value) for name, value in found.items()} == {"loss": 2.0, "beta": 4.0}
        assert {name: float(value) for name, value in tested(tf.constant(1.0)).items()} == {
            "elbo": 0.0
        }
    assert [value.shape for value in sent[0].values()] == [(1, 2)] and len(sent) == 1
    # In a step of one's own each has its name and its first axis.
    alone = logs.joined({"loss": tf.constant(1.0), "beta": tf.constant(3)})
    assert {name: value.numpy().tolist() for name, value in alone.items()} == {
        "loss": [1.0],
        "beta": [3.0],
    }
