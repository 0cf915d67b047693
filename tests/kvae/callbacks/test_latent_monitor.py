"""kvae.callbacks.LatentMonitor: figures in logs and TensorBoard's files, warnings, exact resume."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.callbacks import Checkpoint
from kvae.callbacks.summaries import SummaryWriter
from kvae.evaluation import latent_summary
from kvae.schedules import Linear


def fit(vae, x, monitor, epochs=2, **options):
    options = {"batch_size": 32, "verbose": 0, "callbacks": [monitor], **options}
    return vae.fit(x, epochs=epochs, **options).history


def events(folder):
    """What TensorBoard would read: `{(tag, step): value}`."""
    found = {}
    for path in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = getattr(value, kind)
    return found


@pytest.mark.filterwarnings("error::UserWarning")
def test_logs_and_files_hold_the_summary(make_vae, digits, tmp_path):
    objective = kvae.objectives.ELBO(beta=Linear(0.0, 1.0, 4))
    vae = make_vae(objective=objective, optimizer="sgd", eager=True, latent_dim=3)
    monitor = kvae.callbacks.LatentMonitor(digits, seed=3, log_dir=tmp_path)
    history = fit(vae, digits, monitor, epochs=3)
    names = {"rate", "active_units", "mutual_information", "aggregate_kl"}
    names.add("total_correlation")
    each = {"kl_z0", "kl_z1", "kl_z2"}
    assert set(history) == {"loss", "elbo", "reconstruction", "kl", "beta"} | names | each
    assert {len(values) for values in history.values()} == {3}
    last = latent_summary(vae, digits, seed=3)
    assert monitor.summary.scalars() == last.scalars()
    assert {name: history[name][-1] for name in names | each} == last.scalars()
    written = events(tmp_path)
    for epoch in range(3):
        for name in (*names, *each, "beta"):
            assert written["latent/" + name, epoch] == pytest.approx(history[name][epoch], rel=1e-6)
    assert history["beta"] == [0.5, 1.0, 1.0]
    histogram = written["latent/kl_per_dimension", 2]
    assert histogram.num == sum(histogram.bucket) == 3
    assert histogram.sum == pytest.approx(last.kl_per_dimension.sum())
    assert histogram.sum_squares == pytest.approx(np.square(last.kl_per_dimension).sum())
    assert histogram.max == histogram.bucket_limit[-1] == last.kl_per_dimension.max()
    assert written["latent/variance_of_means", 0].num == 3


@pytest.mark.slow
def test_every_second_epoch_some_examples_and_shorter_logs(make_vae, digits, tmp_path):
    vae = make_vae(optimizer="sgd", eager=True)
    monitor = kvae.callbacks.LatentMonitor(
        kvae.datasets.Dataset(digits),
        num_examples=22,
        every=2,
        per_dimension=False,
        log_dir=tmp_path,
    )
    history = fit(vae, kvae.datasets.Dataset(digits), monitor, epochs=3)
    assert len(history["rate"]) == 1 and "kl_z0" not in history
    assert ("latent/kl_z0", 1) in events(tmp_path)
    # From the first row to the last one at even distances: data is often sorted.
    np.testing.assert_array_equal(monitor._data.x, digits[::3])


@pytest.fixture
def train(make_vae, digits, tmp_path):
    def train(folder, epochs, watched=True, saved=True):
        vae = make_vae(optimizer=keras.optimizers.SGD(1e-3), eager=True)
        checkpoint = Checkpoint(tmp_path / folder, every_seconds=0.0)
        first = checkpoint.restore(vae) if saved else 0
        monitors = [kvae.callbacks.LatentMonitor(digits)] if watched else []
        callbacks = [*monitors, checkpoint] if saved else monitors
        fit(vae, digits, None, epochs, initial_epoch=first, callbacks=callbacks)
        return vae, checkpoint.history

    return train


def assert_same(vae, other):
    for a, b in zip(vae.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_training_is_left_as_it_is(train):
    watched, alone = (train("unused", 2, watched, saved=False)[0] for watched in (True, False))
    assert_same(watched, alone)


@pytest.mark.slow  # Three trainings.
def test_a_training_that_resumes_has_the_logs_of_a_whole_one(train):
    whole, history = train("whole", 2)
    train("halves", 1)
    resumed, joined = train("halves", 2)
    assert_same(whole, resumed)
    assert joined == history and len(history["mutual_information"]) == 2


def test_a_conditional_model_takes_its_labels(make_vae, digits):
    labels = np.arange(len(digits)) % 3
    vae = make_vae(prior="class_conditional", num_classes=3, optimizer="sgd", eager=True)
    pair = kvae.callbacks.LatentMonitor((digits, labels), num_examples=30)
    dataset = kvae.callbacks.LatentMonitor(kvae.datasets.Dataset(digits, labels), num_examples=30)
    fit(vae, (digits, labels), None, epochs=1, callbacks=[pair, dataset])
    assert pair.summary.scalars() == dataset.summary.scalars()
    rows = np.linspace(0, len(digits) - 1, 30).astype(int)
    expected = latent_summary(vae, digits[rows], label=labels[rows])
    assert pair.summary.scalars() == expected.scalars()


def test_an_autoencoder_has_active_units_alone(make_vae, digits):
    vae = make_vae(posterior="delta", prior=None, optimizer="sgd", eager=True)
    monitor = kvae.callbacks.LatentMonitor(digits, patience=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(vae, digits, monitor)
    assert history["active_units"] == [2.0, 2.0]
    assert set(history) == {"loss", "reconstruction", "active_units"}


# Warnings.


def heard(vae, x, epochs=1, **settings):
    monitor = kvae.callbacks.LatentMonitor(x, **{"patience": 1, **settings})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(vae, x, monitor, epochs)
    return [str(entry.message) for entry in caught if "posterior" in str(entry.message)]


def test_a_collapse_is_said_once_with_what_to_try(make_vae, digits):
    vae = make_vae(posterior="prior_noise", optimizer="sgd", eager=True)
    (message,) = heard(vae, digits, epochs=3)
    assert "has collapsed (after epoch 1, on 64 examples)" in message
    assert "0 of 2 latent dimensions are active, the KL is 0 nats" in message
    assert "mutual information of x and z" in message
    for advice in ("schedules.Linear", "free_bits", "decoder"):
        assert advice in message


def test_a_collapse_has_to_last_or_to_be_there_at_the_end(make_vae, digits):
    def vae():
        return make_vae(posterior="prior_noise", optimizer="sgd", eager=True)

    (message,) = heard(vae(), digits[:16], epochs=3, patience=3)
    assert "after epoch 3" in message
    (message,) = heard(vae(), digits[:16], patience=3)
    assert "at the end of the training" in message


@pytest.mark.slow  # Eight epochs.
def test_a_large_beta_is_told_apart(make_vae, digits):
    vae = make_vae(objective=kvae.objectives.ELBO(beta=100.0), eager=True)
    vae.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    messages = heard(vae, digits, epochs=8)
    assert all("With beta = 100 the loss pays 100 nats" in m for m in messages)
    assert any("has collapsed" in message for message in messages)
    assert not any("free_bits" in message for message in messages)


@pytest.mark.slow
def test_a_partial_collapse_and_a_capacity(linear_gaussian):
    """Two units that say something, and three that the encoder holds at the prior."""
    x = linear_gaussian.draw(64, seed=0)

    def vae(objective="elbo"):
        inputs = keras.Input((6,))
        exact = linear_gaussian.vae().encoder
        pad = keras.layers.ZeroPadding1D((0, 3))
        params = {
            name: keras.layers.Reshape((5,))(pad(keras.layers.Reshape((2, 1))(value)))
            for name, value in exact(inputs).items()
        }
        z = keras.Input((5,))
        decoder = keras.Model(z, keras.layers.Dense(6)(z))
        vae = kvae.VAE(
            keras.Model(inputs, params), decoder, 5, likelihood="gaussian", objective=objective
        )
        vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
        return vae

    (message,) = heard(vae(), x)
    assert "has partly collapsed" in message and "2 of 5 latent dimensions are active" in message
    assert "smaller `latent_dim`" in message and "free_bits" in message
    (message,) = heard(vae(kvae.objectives.ELBO(beta=10.0, capacity=1.0)), x)
    assert "its capacity is 1 nats" in message and "beta" not in message
    # A capacity far above what there is has not been reached: that is no wish of the objective.
    (message,) = heard(vae(kvae.objectives.ELBO(beta=10.0, capacity=20.0)), x)
    assert "smaller `latent_dim`" in message


def test_a_healthy_posterior_gives_no_warning(linear_gaussian):
    x = linear_gaussian.draw(64, seed=0)
    vae = linear_gaussian.vae()
    vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    assert heard(vae, x, epochs=2) == []
    assert len(heard(vae, x, min_kl=5.0)) == 1  # The KL is about 1.4 nats.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_examples": 1}, "`num_examples` is at least 2"),
        ({"every": 0}, "`every` is at least 1"),
        ({"patience": 0}, "`patience` is at least 1"),
        ({"min_kl": float("nan")}, "`min_kl` is at least 0"),
    ],
)
def test_bad_settings(digits, settings, message):
    with pytest.raises(ValueError, match=message):
        kvae.callbacks.LatentMonitor(digits, **settings)


def test_bad_data(digits):
    for data in (digits[:1], tf.data.Dataset.from_tensors(digits[:1])):
        with pytest.raises(ValueError, match="an array .n, .event.*at least two examples, not"):
            kvae.callbacks.LatentMonitor(data)
    with pytest.raises(ValueError, match=r"shape \[n, \*event\] with n > 0, not \(5,\)"):
        kvae.callbacks.LatentMonitor(np.zeros(5))


def test_a_full_disk_is_said_in_one_line(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = SummaryWriter(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(OSError, match="The disk of .* is full .*, and the curves for"):
            for step in range(100):
                writer.scalars({"loss": 1.0}, step)
                writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
