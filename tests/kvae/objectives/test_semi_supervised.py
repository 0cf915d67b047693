"""Few labels: the sum over unknown ones, the classifier, and what a trained model says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
import zoo
from kvae import objectives, random

N, CLASSES, ALPHA = 6, 3, 2.5
EVENT = (6,)


@pytest.fixture(scope="module")
def x():
    return (np.random.default_rng(0).random((N, *EVENT)) < 0.5).astype("float32")


def build(objective=None, **parts):
    objective = objective or objectives.SemiSupervised(alpha=ALPHA, hidden=(5,))
    parts = {"latent_dim": 2, "hidden": (4,), "num_classes": CLASSES, **parts}
    return zoo.build("m2_vae", event_shape=EVENT, objective=objective, **parts)


def terms(vae, label, x, seed=7, training=False):
    model = vae.conditioned_on(np.asarray(label))
    found = vae.objective.terms(model, x, x, training=training, seed=random.as_seed(seed))
    return {name: value.numpy().astype("float64") for name, value in found.items()}


def own_terms(vae, label, x, seed=7):
    """What the bound says for given labels, without the objective that guesses."""
    model = vae.conditioned_on(np.full(N, label))
    found = vae.objective.bound.terms(model, x, x, training=False, seed=random.as_seed(seed))
    return {name: value.numpy().astype("float64") for name, value in found.items()}


def make(posterior="diagonal_gaussian", prior="standard_normal", bound="elbo", **parts):
    objective = objectives.SemiSupervised(alpha=ALPHA, bound=bound, hidden=(5,))
    return build(objective, posterior=posterior, prior=prior, **parts)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"prior": "class_conditional", "bound": "iwae:num_samples=3"},
        {"posterior": "iaf", "bound": kvae.objectives.ELBO(beta=0.5, num_samples=2)},
        {
            "posterior": "gumbel_softmax:num_categories=2",
            "prior": "uniform_categorical:num_categories=2",
        },
        {"posterior": "power_spherical", "prior": "uniform_sphere", "missing": "zero:mask"},
    ],
    ids=["plain", "class_conditional-iwae", "iaf-beta", "gumbel", "sphere-missing"],
)
@pytest.mark.default("class_conditional-iwae")
def test_an_unknown_label_is_the_sum_over_labels(parts, x):
    if "missing" in parts:
        x = np.where(np.arange(x.size).reshape(x.shape) % 4, x, np.nan).astype("float32")
    vae = make(**parts)
    q = np.asarray(vae.predict_proba(x), np.float64)
    assert np.ptp(q) > 0.01  # A uniform q would hide which label is which.
    each = [own_terms(vae, label, x) for label in range(CLASSES)]
    log_q, log_p = np.log(q), np.log(1 / CLASSES)
    found = terms(vae, np.full(N, -1), x)
    loss = sum(q[:, y] * (each[y]["loss"] - log_p + log_q[:, y]) for y in range(CLASSES))
    elbo = sum(q[:, y] * (each[y]["elbo"] + log_p - log_q[:, y]) for y in range(CLASSES))
    np.testing.assert_allclose(found["loss"], loss, rtol=2e-5)
    np.testing.assert_allclose(found["elbo"], elbo, rtol=2e-5)
    np.testing.assert_allclose(found["elbo"], -found["kl"] - found["reconstruction"], rtol=2e-5)


def test_a_known_label_is_the_conditional_bound_and_the_classifier(x):
    given = (0.2, 0.5, 0.3)
    vae = build(objectives.SemiSupervised(alpha=ALPHA, class_probabilities=given, hidden=(5,)))
    label = np.array([0, 1, 2, 2, 1, 1])
    rows = np.arange(N)
    bound = np.stack([own_terms(vae, y, x)["loss"] for y in range(CLASSES)])[label, rows]
    q = np.asarray(vae.predict_proba(x), np.float64)
    found = terms(vae, label, x)
    expected = bound - np.log(given)[label] - ALPHA * np.log(q[rows, label])
    np.testing.assert_allclose(found["loss"], expected, rtol=2e-5)
    np.testing.assert_array_equal(found["accuracy"], q.argmax(1) == label)
    # Rows stand for themselves: some known labels change nothing for the others.
    mixed = terms(vae, np.where(rows < 3, label, -1), x)
    unknown = terms(vae, np.full(N, -1), x)
    np.testing.assert_allclose(mixed["loss"][:3], expected[:3], rtol=2e-5)
    np.testing.assert_allclose(mixed["loss"][3:], unknown["loss"][3:], rtol=2e-5)
    np.testing.assert_array_equal(mixed["known"], rows < 3)


def test_gradients_are_those_of_the_brute_force(x):
    vae, x = make(prior="class_conditional"), tf.constant(x)
    label = np.array([0, -1, 2, -1, -1, 1])
    seed = random.as_seed(3)

    def by_hand():
        log_q = vae.objective.classify(vae, x)
        own = tf.one_hot(label, CLASSES)
        known = tf.constant(label >= 0)[:, None]
        weight = tf.where(known, own, tf.exp(log_q))
        loss = -ALPHA * tf.reduce_sum(own * log_q, axis=1)
        for y in range(CLASSES):
            model = vae.conditioned_on(np.full(N, y))
            found = vae.objective.bound.terms(model, x, x, training=True, seed=seed)["loss"]
            cost = np.log(CLASSES) + tf.where(known, 0.0, log_q)[:, y]
            loss += weight[:, y] * (found + cost)
        return loss

    def loss():
        model = vae.conditioned_on(label)
        return vae.objective.terms(model, x, x, training=True, seed=seed)["loss"]

    found = []
    for function in (by_hand, loss):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(function())
        found.append(map(tf.convert_to_tensor, tape.gradient(value, vae.trainable_variables)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_what_does_not_depend_on_the_label_is_computed_once(x):
    rows = []

    @keras.saving.register_keras_serializable("tests")
    class Counting(keras.layers.Layer):
        def call(self, values):
            rows.append(values.shape[0])
            return values

    image, label = keras.Input(EVENT), keras.Input((CLASSES,))
    seen = Counting()(keras.layers.Dense(4)(image))
    features = Counting()(keras.layers.Concatenate()([seen, label]))
    decoder = build().decoder
    encoder = keras.Model([image, label], features)
    vae = kvae.VAE(
        encoder, decoder, 2, num_classes=CLASSES, objective="semi_supervised:hidden=(5,)"
    )
    rows.clear()
    terms(vae, np.full(N, -1), x)
    assert rows == [N, CLASSES * N]


@pytest.fixture(scope="module")
def trained(x):
    vae = build()
    vae.compile("sgd", run_eagerly=True)
    # The second batch has no labelled row.
    logs = vae.fit((x, [0, 1, 2, -1, -1, -1]), batch_size=3, epochs=1, shuffle=False, verbose=0)
    assert set(logs.history) == {"loss", "elbo", "reconstruction", "kl", "accuracy"}
    return vae


def test_a_training_without_any_label_is_told(trained, x):
    for data in (x, (x, np.full(N, -1)), kvae.datasets.Dataset(x)):
        with pytest.warns(UserWarning, match=r"None of the 6 examples .* fit\(\(x, labels\)\)"):
            trained.fit(data, epochs=0, verbose=0)


def test_accuracy_counts_the_labelled_rows_alone(trained, x, eagerly):
    guess = trained.classify(x)
    label = np.where(np.arange(N) < 4, guess, -1)
    label[0] = (guess[0] + 1) % CLASSES
    logs = trained.evaluate((x, label), batch_size=3, return_dict=True, verbose=0)
    assert logs["accuracy"] == pytest.approx(3 / 4)
    found = kvae.evaluation.evaluate(trained, (x, label), num_samples=2)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert "accuracy" not in kvae.evaluation.evaluate(trained, x, num_samples=2)


@pytest.mark.slow  # tests/kvae/models has them; rows without labels are above.
def test_every_way_of_giving_data(trained, x, eagerly):
    label = np.array([0, -1, 2, -1, 1, -1])

    def evaluated(data):
        return trained.evaluate(data, return_dict=True, verbose=0, batch_size=3)["loss"]

    def batches(*parts):
        return ((tuple(part[i : i + 3] for part in parts),) for i in (0, 3))

    expected = evaluated((x, label))
    assert evaluated(batches(x, label)) == pytest.approx(expected, rel=1e-6)  # A generator.
    assert evaluated(kvae.datasets.Dataset(x, label)) == pytest.approx(expected, rel=1e-6)
    unknown = evaluated((x, np.full(N, -1)))
    assert unknown != pytest.approx(expected, rel=1e-3)
    assert evaluated(x) == pytest.approx(unknown, rel=1e-6)
    assert evaluated(kvae.datasets.Dataset(x)) == pytest.approx(unknown, rel=1e-6)
    plain = tf.data.Dataset.from_tensor_slices(x).batch(3)
    assert evaluated(plain) == pytest.approx(unknown, rel=1e-6)


def test_methods_guess_what_is_not_known(trained, x):
    guess = trained.classify(x)
    np.testing.assert_array_equal(
        trained.reconstruct(x), trained.reconstruct(x, np.where(np.arange(N) < 2, guess, -1))
    )
    np.testing.assert_array_equal(trained.encode(x)["z_mean"], trained.encode(x, guess)["z_mean"])
    np.testing.assert_allclose(
        trained.predict(x, verbose=0), trained.reconstruct(x, guess), rtol=1e-5
    )
    drawn = np.asarray(trained.sample(40, seed=1))
    assert len(np.unique(drawn.round(5), axis=0)) > CLASSES
    with pytest.raises(ValueError, match="from 0 to 2"):
        trained.sample(2, label=-1)
    with pytest.raises(ValueError, match="needs labels"):
        trained.decode(np.zeros((2, 2), "float32"))


def test_log_prob_is_the_sum_over_labels(trained, x):
    # The noise of each label is its own: errors of the terms are independent.
    seeds = [random.fold_in(random.as_seed(0), y) for y in range(CLASSES)]
    each = [trained.log_prob(x, 50, label=np.full(N, y), seed=s) for y, s in enumerate(seeds)]
    terms = np.stack([one.value for one in each]) - np.log(CLASSES)
    found = trained.log_prob(x, 50)
    np.testing.assert_allclose(found.value, np.logaddexp.reduce(terms, axis=0), rtol=1e-6)
    errors = np.exp(terms - found.value) * [one.monte_carlo_error for one in each]
    np.testing.assert_allclose(found.monte_carlo_error, np.linalg.norm(errors, axis=0), rtol=1e-5)
    assert found.summary()["num_examples"] == N


def test_saved_with_its_classifier(trained, x, tmp_path, eagerly):
    image = keras.Input(EVENT)
    own = keras.Model(image, keras.layers.Dense(CLASSES)(image))
    for vae in (trained, build(objectives.SemiSupervised(own, alpha=2.0))):
        vae.save(tmp_path / "model.keras")
        loaded = kvae.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict_proba(x), vae.predict_proba(x))
        assert loaded.objective.alpha == vae.objective.alpha


def test_refused(make_vae):
    with pytest.raises(ValueError, match="no classes"):
        make_vae(objective="semi_supervised")
    with pytest.raises(ValueError, match="`alpha` is a finite number"):
        objectives.SemiSupervised(alpha=-1.0)
    with pytest.raises(ValueError, match="of each row by itself"):
        objectives.SemiSupervised(bound="factor_vae")
    with pytest.raises(ValueError, match="of each row by itself"):
        objectives.SemiSupervised(bound=kvae.objectives.ELBO(free_bits=1.0))
    with pytest.raises(ValueError, match="sum to 1"):
        objectives.SemiSupervised(class_probabilities=[0.5, 0.2])
    with pytest.raises(ValueError, match="3 numbers for 4 classes"):
        build(objectives.SemiSupervised(class_probabilities=[0.5, 0.2, 0.3]), num_classes=4)
    with pytest.raises(ValueError, match="returns logits"):
        build(objectives.SemiSupervised(keras.layers.Dense(2)))
    plain = build("elbo")
    with pytest.raises(ValueError, match="-1 stands for one that is not known"):
        plain.encode(np.zeros((2, *EVENT), "float32"), [0, -1])
    with pytest.raises(ValueError, match="has no classifier"):
        plain.predict_proba(np.zeros((2, *EVENT), "float32"))
    with pytest.raises(ValueError, match="from -2 to 1"):
        build().encode(np.zeros((2, *EVENT), "float32"), [1, -2])


def test_few_labels():
    data = kvae.datasets.Dataset(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
    few = kvae.datasets.few_labels(data, 3, seed=1, repeat=4)
    known = few.labels >= 0
    assert len(few) == 20 + 3 * 6 and known.sum() == 4 * 6
    np.testing.assert_array_equal(few.labels[known], (few.x[known][:, 0] // 2) % 2)
    assert few.weights.sum() == pytest.approx(20)
    np.testing.assert_allclose(few.weights[known], 0.25)
    again, other = (kvae.datasets.few_labels(data, 3, seed=s) for s in (1, 2))
    assert set(np.unique(few.x[known][:, 0])) == set(again.x[again.labels >= 0][:, 0])
    assert (again.labels != other.labels).any()
    with pytest.raises(ValueError, match="has 10 examples"):
        kvae.datasets.few_labels(data, 11)
    with pytest.raises(ValueError, match="no labels"):
        kvae.datasets.few_labels(kvae.datasets.Dataset(data.x), 1)
