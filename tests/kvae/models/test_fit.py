"""Training and evaluation: the quantities are what they are said to be, for any form of data."""

from concurrent import futures

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.datasets import Dataset

KEYS = ["loss", "elbo", "reconstruction", "kl"]
N, BATCH = 50, 20  # Batches of 20, 20 and 10.


@pytest.fixture(scope="module")
def x(digits):
    return digits[:N]


def sgd():
    return keras.optimizers.SGD(1e-3)  # Quicker to trace than Adam.


def weights(vae):
    return [variable.numpy() for variable in vae.trainable_variables]


def assert_equal(vae, other, **tolerance):
    for a, b in zip(weights(vae), weights(other), strict=True):
        np.testing.assert_allclose(a, b, **(tolerance or {"rtol": 0, "atol": 0}))


def by_hand(vae, x, seed, target=None):
    """The four quantities of each example, `[n]`, in float64 from the definition."""
    target = np.asarray(x if target is None else target, np.float64)
    params = {name: value.numpy().astype(np.float64) for name, value in vae.encode(x).items()}
    mean, log_var = params["z_mean"], params["z_log_var"]
    epsilon = kvae.random.normal((1, *mean.shape), seed).numpy()[0]
    logits = vae.decoder(mean + np.exp(0.5 * log_var) * epsilon).numpy().astype(np.float64)
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    reconstruction = cross_entropy.sum(axis=(1, 2, 3))  # Over pixels; never their mean.
    kl = -0.5 * np.sum(1 + log_var - mean**2 - np.exp(log_var), axis=1)
    loss = reconstruction + vae.objective.beta * kl
    return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}


def evaluation_by_hand(vae, x, batch_size, target=None):
    starts = range(0, len(x), batch_size)
    parts = [
        by_hand(
            vae,
            x[i : i + batch_size],
            kvae.random.fold_in(vae.seed, i),
            None if target is None else target[i : i + batch_size],
        )
        for i in starts
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in KEYS}


@pytest.mark.default("20")
@pytest.mark.parametrize("batch_size", [N, BATCH])
def test_evaluate_is_the_mean_over_examples_of_sums_over_pixels(make_vae, x, batch_size):
    vae = make_vae(optimizer=sgd(), objective=kvae.objectives.ELBO(beta=2.0))
    exact = evaluation_by_hand(vae, x, batch_size)
    result = vae.evaluate(x, batch_size=batch_size, return_dict=True, verbose=0)
    assert result == {key: pytest.approx(exact[key].mean(), rel=1e-5) for key in KEYS}
    in_order = vae.evaluate(x, batch_size=batch_size, verbose=0)
    assert in_order == [result[key] for key in KEYS]  # And twice the same.


def test_evaluate_weights_examples(make_vae, x):
    vae = make_vae(eager=True, optimizer=sgd())
    weight = np.random.default_rng(0).random(N)
    exact = by_hand(vae, x, kvae.random.fold_in(0, 0))
    result = vae.evaluate(x, sample_weight=weight, return_dict=True, verbose=0)
    for key in KEYS:
        assert result[key] == pytest.approx(np.average(exact[key], weights=weight), rel=1e-5)


def test_evaluate_of_pairs_takes_the_target(make_vae, x):
    vae = make_vae(eager=True, optimizer=sgd())
    noisy = x[::-1]
    exact = evaluation_by_hand(vae, noisy, BATCH, target=x)
    forms = [
        {"x": noisy, "y": x, "batch_size": BATCH},
        {"x": Dataset(noisy, target=x), "batch_size": BATCH},
        {"x": tf.data.Dataset.from_tensor_slices((noisy, x)).batch(BATCH)},
    ]
    weighted = {"sample_weight": np.ones(N), **forms[0]}
    for form in (*forms, weighted):
        result = vae.evaluate(**form, return_dict=True, verbose=0)
        assert result == {key: pytest.approx(exact[key].mean(), rel=1e-5) for key in KEYS}


def test_fit_reports_the_same_quantities_as_evaluate(make_vae, x):
    vae = make_vae(optimizer=keras.optimizers.SGD(0.0), eager=True)
    noise = keras.random.SeedGenerator(vae.seed)
    history = vae.fit(x, batch_size=N, shuffle=False, epochs=2, verbose=0).history
    for epoch in range(2):
        exact = by_hand(vae, x, kvae.random.as_seed(noise))
        for key in KEYS:
            assert history[key][epoch] == pytest.approx(exact[key].mean(), rel=1e-5)
    assert history["loss"][0] != history["loss"][1]


def test_validation_is_evaluate_and_leaves_the_training_alone(make_vae, digits, x):
    validated, alone = (make_vae(optimizer=sgd(), eager=True) for _ in range(2))
    history = validated.fit(
        x[:BATCH],
        batch_size=BATCH,
        epochs=2,
        validation_data=digits[:12],
        validation_batch_size=8,
        verbose=0,
    ).history
    alone.fit(x[:BATCH], batch_size=BATCH, epochs=2, verbose=0)
    assert_equal(validated, alone)
    assert sorted(history) == sorted(KEYS + ["val_" + key for key in KEYS])
    result = validated.evaluate(digits[:12], batch_size=8, return_dict=True, verbose=0)
    assert {key: history["val_" + key][-1] for key in KEYS} == result


def test_one_step_follows_the_gradient_of_the_mean_loss(make_vae, x):
    vae, reference = make_vae(optimizer=keras.optimizers.SGD(0.01)), make_vae()
    seed = kvae.random.as_seed(keras.random.SeedGenerator(0))
    with tf.GradientTape() as tape:
        terms = reference.objective.terms(reference, x, x, training=True, seed=seed)
        loss = tf.reduce_sum(terms["loss"]) / N
    variables = reference.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(0.01 * gradient)
    vae.train_on_batch(x)
    assert_equal(vae, reference, rtol=1e-4, atol=1e-6)


def test_weights_of_zero_leave_examples_out(make_vae, x):
    weighted, fewer = (make_vae(optimizer=keras.optimizers.SGD(0.01), eager=True) for _ in range(2))
    # The examples left out come last, so that the others keep their noise.
    weight = np.concatenate([np.full(30, 3.0), np.zeros(20)])
    history = weighted.fit(x, sample_weight=weight, shuffle=False, verbose=0).history
    expected = fewer.fit(x[:30], shuffle=False, verbose=0).history
    assert_equal(weighted, fewer, rtol=1e-4, atol=1e-6)
    for key in KEYS:
        assert history[key] == pytest.approx(expected[key], rel=1e-5)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, pairs=True):
        super().__init__()
        self.x, self.pairs = x, pairs

    def __len__(self):
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index):
        batch = self.x[index * BATCH : (index + 1) * BATCH]
        return (batch, batch) if self.pairs else (batch,)


def generator(x):
    while True:
        for index in range(3):
            yield (x[index * BATCH : (index + 1) * BATCH],)


FORMS = {
    "list": lambda x: {"x": x.tolist(), "batch_size": BATCH},
    "tensor": lambda x: {"x": tf.constant(x), "batch_size": BATCH},
    "array and target": lambda x: {"x": x, "y": x.copy(), "batch_size": BATCH},
    "weighted": lambda x: {"x": x, "sample_weight": np.ones(N), "batch_size": BATCH},
    "Dataset": lambda x: {"x": Dataset(x), "batch_size": BATCH},
    "tf.data": lambda x: {"x": tf.data.Dataset.from_tensor_slices(x).batch(BATCH)},
    "tf.data pairs": lambda x: {"x": tf.data.Dataset.from_tensor_slices((x, x)).batch(BATCH)},
    "PyDataset": lambda x: {"x": Batches(x, pairs=False)},
    "PyDataset pairs": lambda x: {"x": Batches(x)},
    "generator": lambda x: {"x": generator(x), "steps_per_epoch": 3},
}


@pytest.fixture(scope="module")
def trained_on_an_array(make_vae, x):
    vae = make_vae(optimizer=sgd())  # Compiled, as the forms are not.
    return vae, vae.fit(x, batch_size=BATCH, epochs=2, shuffle=False, verbose=0).history


@pytest.mark.default("tf.data pairs", "generator")
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_data_trains_the_same(make_vae, x, trained_on_an_array, form):
    reference, history = trained_on_an_array
    vae = make_vae(optimizer=sgd(), eager=True)
    result = vae.fit(**FORMS[form](x), epochs=2, shuffle=False, verbose=0).history
    assert int(vae.optimizer.iterations) == 6
    assert_equal(vae, reference, rtol=1e-5, atol=1e-7)
    for key in KEYS:
        assert result[key] == pytest.approx(history[key], rel=1e-5)


@pytest.mark.filterwarnings("error::UserWarning")
def test_data_with_an_order_of_its_own_is_not_said_to_be_shuffled(make_vae, x):
    make_vae(eager=True, optimizer=sgd()).fit(**FORMS["tf.data"](x), verbose=0)


@pytest.mark.slow  # `test_dataset.py` has the order of the data.
def test_shuffling_is_that_of_the_dataset(make_vae, x):
    array, dataset, other = (make_vae(eager=True, optimizer=sgd(), seed=3) for _ in range(3))
    array.fit(x, batch_size=BATCH, epochs=2, verbose=0)
    dataset.fit(Dataset(x, seed=3), batch_size=BATCH, epochs=2, verbose=0)
    other.fit(Dataset(x, seed=4), batch_size=BATCH, epochs=2, verbose=0)
    assert_equal(array, dataset)
    assert not np.array_equal(weights(array)[0], weights(other)[0])


@pytest.mark.slow  # `test_kinds.py` has a split.
def test_validation_split_takes_the_last_rows(make_vae, x):
    split, explicit = make_vae(eager=True, optimizer=sgd()), make_vae(eager=True, optimizer=sgd())
    first = split.fit(x, y=x, validation_split=0.2, batch_size=BATCH, verbose=0).history
    second = explicit.fit(x[:40], validation_data=(x[40:], x[40:]), batch_size=BATCH, verbose=0)
    assert_equal(split, explicit)
    assert first == second.history
    with pytest.raises(ValueError, match="validation_split=1.0 leaves nothing"):
        split.fit(x, validation_split=1.0, verbose=0)
    with pytest.raises(ValueError, match="needs arrays"):
        split.fit(Batches(x), validation_split=0.2, verbose=0)


@pytest.mark.slow  # `test_conditional.py` trains on such a Dataset.
def test_labels_of_a_dataset_are_never_a_target(make_vae, x, trained_on_an_array):
    vae = make_vae(eager=True, optimizer=sgd())
    vae.fit(Dataset(x, np.arange(N)), batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    assert_equal(vae, trained_on_an_array[0], rtol=1e-5, atol=1e-7)


def test_weighted_validation(make_vae, digits, x):
    vae = make_vae(eager=True, optimizer=sgd())
    weight = np.linspace(0.0, 2.0, 30)
    for validation in ((digits[:30], digits[:30], weight), (digits[:30], None, weight)):
        history = vae.fit(x[:8], validation_data=validation, verbose=0).history
        exact = evaluation_by_hand(vae, digits[:30], 30)
        for key in KEYS:
            mean = np.average(exact[key], weights=weight)
            assert history["val_" + key] == [pytest.approx(mean, rel=1e-5)]


def test_another_thread_that_trains_the_model_is_told(make_vae, x):
    vae, told = make_vae(optimizer=sgd(), eager=True), []

    def train_it_too(epoch, logs):
        with futures.ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError) as error:
            pool.submit(vae.fit, x, verbose=0).result()
        told.append(str(error.value))

    once = keras.callbacks.LambdaCallback(on_epoch_begin=train_it_too)
    assert len(vae.fit(x, batch_size=N, verbose=0, callbacks=[once]).history["loss"]) == 1
    assert len(told) == 1 and "is being trained by another thread" in told[0]
