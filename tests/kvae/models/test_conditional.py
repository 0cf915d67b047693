"""Conditional models: labels go in everywhere, and p(x|y) is what closed forms say it is."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from keras import layers
from keras.initializers import Constant

import kvae
from kvae import divergences
from kvae.datasets import Dataset
from kvae.models.fit.data import prepared_validation
from kvae.priors import ClassConditional

K, D = 3, 2


@pytest.fixture(scope="session")
def make_conditional(make_vae):
    """`make_conditional(both=True, **parts)`: networks that see the label, or one of them."""

    def make(event=(8, 8, 1), encoder=True, decoder=True, latent_dim=D, **parts):
        keras.utils.set_random_seed(4)
        x, y = keras.Input(event), keras.Input((K,))
        features = layers.Flatten()(x)
        if encoder:
            features = layers.Concatenate()([features, y])
        features = layers.Dense(16, "relu")(features)
        z = keras.Input((latent_dim,))
        hidden = layers.Concatenate()([z, y]) if decoder else z
        out = layers.Reshape(event)(layers.Dense(int(np.prod(event)))(hidden))
        return make_vae(
            encoder=keras.Model([x, y] if encoder else x, features),
            decoder=keras.Model([z, y] if decoder else z, out),
            num_classes=K,
            latent_dim=latent_dim,
            event=event,
            **parts,
        )

    return make


@pytest.fixture(scope="module")
def labels():
    return np.arange(64) % K


@pytest.fixture(scope="module")
def vae(make_conditional):
    """Not trained in any test."""
    vae = make_conditional(prior="class_conditional", optimizer="adam", eager=True)
    rng = np.random.default_rng(0)
    vae.prior.means.assign(rng.normal(size=(K, D)))
    vae.prior.raw_log_vars.assign(0.5 * rng.normal(size=(K, D)))
    return vae


def moments(vae, label):
    mean, log_var = np.float64(vae.prior.means), np.float64(vae.prior.log_vars)
    return mean[label], np.exp(log_var[label])


# The prior of a class.


def test_prior_of_each_label_is_that_of_scipy(vae):
    label = np.array([2, 0, 0, 1])
    mean, var = moments(vae, label)
    prior = vae.prior.conditioned_on(label)
    z = np.random.default_rng(1).normal(size=(5, 4, D)).astype("float32")
    truth = scipy.stats.norm(mean, np.sqrt(var)).logpdf(z).sum(axis=-1)
    np.testing.assert_allclose(prior.log_prob(z), truth, rtol=1e-5)
    np.testing.assert_allclose(prior.mean(), mean, rtol=1e-6)
    noise = kvae.random.normal([5, 4, D], 0)
    drawn = mean + np.sqrt(var) * noise
    np.testing.assert_allclose(prior.transform({"noise": noise}), drawn, rtol=1e-5, atol=1e-6)
    flat = prior.transform({"noise": tf.reshape(noise, (20, D))})
    np.testing.assert_allclose(tf.reshape(flat, noise.shape), drawn, rtol=1e-5, atol=1e-6)


def test_closed_form_kl_is_that_of_tfp_and_of_monte_carlo(vae):
    label = np.array([0, 1, 2])
    rng = np.random.default_rng(2)
    params = {
        name: tf.constant(rng.normal(size=(3, D)), tf.float32) for name in ("z_mean", "z_log_var")
    }
    given = vae.conditioned_on(label)
    mean, var = moments(vae, label)
    normal = tfp.distributions.MultivariateNormalDiag
    q = normal(params["z_mean"], tf.exp(0.5 * params["z_log_var"]))
    p = normal(mean.astype("float32"), np.sqrt(var).astype("float32"))
    kl = divergences.closed_form_kl(given.posterior, given.prior)(params)
    np.testing.assert_allclose(kl, q.kl_divergence(p), rtol=1e-4)
    z, log_q = given.posterior.sample_and_log_prob(params, 20_000, seed=0)
    log_ratio = np.float64(log_q - given.prior.log_prob(z))
    error = log_ratio.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(log_ratio.mean(axis=0) - kl) < 5 * error).all()
    each = divergences.kl_per_dimension(given.posterior, given.prior)(params)
    np.testing.assert_allclose(np.sum(each, axis=-1), kl, rtol=1e-5)


def test_extreme_priors_stay_finite(make_conditional, digits, labels):
    vae = make_conditional(prior="class_conditional", optimizer="sgd", eager=True)
    for extreme in (-1e4, 1e4):
        vae.prior.raw_log_vars.assign(np.full((K, D), extreme))
        values = vae.evaluate((digits, labels), verbose=0, return_dict=True)
        assert all(np.isfinite(value) for value in values.values())
        assert np.isfinite(vae.sample(3, label=0, seed=0)).all()


# The model.


def linear_gaussian_of_classes(linear_gaussian, **parts):
    """`p(z|y) = N(m_y, v_y)`, `p(x|z, y) = N(W z + b + c_y, s²)`: everything is Gaussian."""
    base, rng = linear_gaussian, np.random.default_rng(7)
    d, latent_dim = base.w.shape
    c, m = rng.normal(size=(K, d)), rng.normal(size=(K, latent_dim))
    v = np.exp(rng.normal(size=(K, latent_dim)))
    x, y, z = keras.Input((d,)), keras.Input((K,)), keras.Input((latent_dim,))
    # The exact posterior, whose columns of W are orthogonal, up to some widening.
    precision = np.sum(base.w**2, axis=0) / base.s**2
    variance = 1 / (1 / v + precision)

    def dense(units, kernel, bias, inputs):
        return layers.Dense(
            units, kernel_initializer=Constant(kernel), bias_initializer=Constant(bias)
        )(inputs)

    gain = dense(latent_dim, base.w / base.s**2, -base.w.T @ base.b / base.s**2, x)
    offset = dense(latent_dim, m / v - c @ base.w / base.s**2, np.zeros(latent_dim), y)
    log_var = dense(latent_dim, np.log(variance), np.zeros(latent_dim), y)
    total = layers.Add()([gain, offset])
    mean = layers.Multiply()([total, dense(latent_dim, variance, np.zeros(latent_dim), y)])
    outputs = layers.Add()([dense(d, base.w.T, base.b, z), dense(d, c, np.zeros(d), y)])
    vae = kvae.VAE(
        keras.Model([x, y], {"z_mean": mean, "z_log_var": log_var}),
        keras.Model([z, y], outputs),
        latent_dim=latent_dim,
        likelihood=kvae.likelihoods.Gaussian(scale=base.s),
        prior="class_conditional",
        num_classes=K,
        **parts,
    )
    vae.prior.means.assign(m)
    vae.prior.raw_log_vars.assign(np.log(v))
    marginal = [
        scipy.stats.multivariate_normal(
            base.w @ m[k] + base.b + c[k], base.w @ np.diag(v[k]) @ base.w.T + base.s**2 * np.eye(d)
        )
        for k in range(K)
    ]
    return vae, marginal


def test_log_prob_given_the_label_is_exact(linear_gaussian):
    """q(z|x, y) is the true posterior: every weight is p(x|y), and so is the ELBO on average."""
    vae, marginal = linear_gaussian_of_classes(linear_gaussian)
    rng = np.random.default_rng(0)
    label = np.array([2, 0, 1, 1, 0])
    x = np.stack([marginal[k].rvs(random_state=rng) for k in label]).astype("float32")
    truth = np.array([marginal[k].logpdf(row) for k, row in zip(label, x, strict=True)])
    for batch_size in (2, 5):
        estimate = vae.log_prob(x, num_samples=7, batch_size=batch_size, label=label)
        np.testing.assert_allclose(estimate.value, truth, rtol=1e-4)
    np.testing.assert_allclose(vae.log_prob(Dataset(x, label), 7).value, truth, rtol=1e-4)
    assert np.abs(vae.log_prob(x, 7, label=(label + 1) % K).value - truth).min() > 0.01
    terms = vae.objective.terms(vae.conditioned_on(label), x, x, training=False, seed=0)
    path = kvae.objectives.ELBO(num_samples=9, kl="monte_carlo").terms(
        vae.conditioned_on(label), x, x, training=False, seed=0
    )
    np.testing.assert_allclose(path["elbo"], truth, rtol=1e-4)  # log p − log q is constant.
    assert (np.abs(terms["elbo"] - truth) < 10).all()
    result = kvae.evaluation.evaluate(vae, Dataset(x, label), num_samples=7)
    assert result["nll"]["nll"] == pytest.approx(-truth.mean(), rel=1e-4)
    draws = np.float64(vae.sample(20_000, label=1, seed=0, output="sample"))
    error = draws.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(draws.mean(axis=0) - marginal[1].mean) < 5 * error).all()


def test_labels_matter_where_networks_see_them(vae, digits, labels, eagerly):
    x, y = digits[:6], labels[:6]
    other = (y + 1) % K
    for f in (
        lambda y: vae.encode(x, y)["z_mean"],
        lambda y: vae.decode(np.zeros((6, D)), y),
        lambda y: vae.reconstruct(x, y),
        lambda y: vae.predict((x, y), verbose=0),
        lambda y: vae.sample(6, label=y, seed=1),
        lambda y: vae.log_prob(x, 5, label=y).value,
        lambda y: vae.evaluate((x, y), verbose=0),
    ):
        here, there = np.asarray(f(y)), np.asarray(f(other))
        assert np.abs(here - there).max() > 1e-3
        mixed = np.asarray(f(np.where(np.arange(6) < 3, y, other)))
        if here.ndim > 1:  # Row by row: no row takes its neighbour's label.
            np.testing.assert_allclose(mixed[:3], here[:3], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(mixed[3:], there[3:], rtol=1e-5, atol=1e-6)


def test_every_way_in_agrees(vae, digits, labels):
    data = Dataset(digits, labels)
    np.testing.assert_array_equal(vae.encode(data)["z_mean"], vae.encode(digits, labels)["z_mean"])
    np.testing.assert_allclose(
        vae.encode(digits, labels, batch_size=10)["z_mean"], vae.encode(data)["z_mean"], rtol=1e-4
    )
    means = [
        vae((digits, labels)),
        vae.predict((digits, labels), verbose=0),
        vae.predict(data, verbose=0),
        vae.reconstruct(digits, labels),
        vae.reconstruct(data),
        vae.decode(vae.encode(data)["z_mean"], labels),
    ]
    for mean in means[1:]:
        np.testing.assert_allclose(mean, means[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        vae.sample(4, label=2, seed=3), vae.sample(4, label=np.full(4, 2), seed=3)
    )
    graph = tf.function(lambda n, label: vae.sample(n, label=label, seed=3), autograph=False)
    np.testing.assert_allclose(graph(tf.constant(4), 2), vae.sample(4, label=2, seed=3), rtol=1e-5)


def ways_to_train(x, y):
    def batches(with_target):
        for i in range(0, len(x), 16):
            pair = (x[i : i + 16], y[i : i + 16])
            yield (pair, pair[0]) if with_target else (pair,)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return ((x[16 * index : 16 * index + 16], y[16 * index : 16 * index + 16]),)

    slices = tf.data.Dataset.from_tensor_slices
    return {
        "pair": ((x, y), {}),
        "pair and target": ((x, y), {"y": x}),
        "weights": ((x, y), {"sample_weight": np.ones(len(x))}),
        "Dataset": (Dataset(x, y), {}),
        "tf.data": (slices(((x, y),)).batch(16), {"batch_size": None}),
        "tf.data and target": (slices(((x, y), x)).batch(16), {"batch_size": None}),
        "generator": (batches(False), {"batch_size": None}),
        "generator and target": (batches(True), {"batch_size": None}),
        "PyDataset": (Batches(), {"batch_size": None}),
    }


def weights_after(make_conditional, data, **more):
    vae = make_conditional(
        optimizer="sgd", eager=True, objective=kvae.objectives.ELBO(num_samples=2)
    )
    vae.fit(data, **{"batch_size": 16, "shuffle": False, "verbose": 0, **more})
    return vae.get_weights()


@pytest.fixture(scope="module")
def trained_with_labels(make_conditional, digits, labels):
    return weights_after(make_conditional, Dataset(digits[:32], labels[:32]))


@pytest.mark.default("pair", "tf.data and target")
@pytest.mark.parametrize("way", ways_to_train(np.zeros((1, 1)), np.zeros(1)))
def test_labels_come_with_the_data(make_conditional, digits, labels, trained_with_labels, way):
    data, more = ways_to_train(digits[:32], labels[:32])[way]
    found = weights_after(make_conditional, data, **more)
    for here, there in zip(found, trained_with_labels, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-7)


@pytest.mark.slow  # `test_kinds.py` validates and evaluates with labels.
def test_validation_and_evaluation_take_labels_in_every_form(vae, digits, labels):
    x, y = digits[:20], labels[:20]
    truth = vae.evaluate(Dataset(x, y), verbose=0, batch_size=20)
    forms = [
        (x, y),
        ((x, y), x),
        Dataset(x, y),
        tf.data.Dataset.from_tensor_slices(((x, y),)).batch(20),
    ]
    for form in forms:
        whole = prepared_validation(vae, form, 20)
        data = whole if isinstance(whole, tf.data.Dataset) else Dataset(*whole[0], target=whole[1])
        np.testing.assert_allclose(vae.evaluate(data, verbose=0, batch_size=20), truth, rtol=1e-5)
    np.testing.assert_allclose(vae.evaluate((x, y), batch_size=20, verbose=0), truth, rtol=1e-5)


@pytest.mark.slow  # `test_kinds.py` validates and splits with labels.
def test_fit_validates_and_splits_with_labels(make_conditional, digits, labels):
    history = {}
    for name, more in {
        "pair": {"validation_data": (digits[48:], labels[48:])},
        "Dataset": {"validation_data": Dataset(digits[48:], labels[48:])},
        "split": {"validation_split": 0.25},
    }.items():
        vae = make_conditional(optimizer="sgd", eager=True)
        x = (digits, labels) if name == "split" else (digits[:48], labels[:48])
        history[name] = vae.fit(x, verbose=0, **more).history["val_loss"]
    np.testing.assert_allclose(history["pair"], history["Dataset"], rtol=1e-6)
    np.testing.assert_allclose(history["pair"], history["split"], rtol=1e-6)


PARTS = {
    "class_conditional": {"prior": "class_conditional"},
    "standard_normal": {"prior": "standard_normal"},
    "gaussian_mixture": {"prior": "gaussian_mixture"},
    "flow": {"prior": "flow"},
    "vamp": {"prior": lambda: kvae.priors.Vamp(4)},
    "prior_noise": {"posterior": "prior_noise", "prior": "class_conditional"},
    "autoencoder": {"posterior": "delta", "prior": None},
    "full_covariance": {"posterior": "full_covariance", "prior": "class_conditional"},
    "free bits": {
        "prior": "class_conditional",
        "objective": lambda: kvae.objectives.ELBO(free_bits=0.2),
    },
}


@pytest.mark.slow  # `test_combinations.py` trains and saves such a model.
@pytest.mark.parametrize("case", PARTS)
def test_trains_samples_and_comes_back(make_conditional, digits, labels, tmp_path, eagerly, case):
    parts = {name: part() if callable(part) else part for name, part in PARTS[case].items()}
    vae = make_conditional(optimizer="adam", eager=True, **parts)
    x, y = digits[:32], labels[:32]
    history = vae.fit((x, y), batch_size=16, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    if case == "prior_noise":
        assert history["kl"] == [0.0]
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.num_classes == K and loaded.conditional

    def read(model):
        yield from model.encode(x[:5], y[:5]).values()
        yield model.reconstruct(x[:5], y[:5], seed=1)
        if case != "autoencoder":
            yield model.sample(4, label=[0, 1, 2, 0], seed=1)
            yield model.log_prob(x[:5], 10, label=y[:5]).value
        model.run_eagerly = True
        model.fit((x, y), batch_size=16, verbose=0)
        yield from model.get_weights()

    for here, there in zip(read(vae), read(loaded), strict=True):
        assert np.isfinite(here).all()
        np.testing.assert_array_equal(here, there)


def test_one_network_may_ignore_the_label(make_conditional, digits, labels):
    for networks in ({"encoder": False}, {"decoder": False}):
        vae = make_conditional(optimizer="sgd", eager=True, **networks)
        assert np.isfinite(vae.train_on_batch((digits, labels))).all()
    only_prior = make_conditional(encoder=False, decoder=False, prior="class_conditional")
    assert only_prior.sample(2, label=1, seed=0).shape == (2, 8, 8, 1)


def test_networks_stand_alone_with_one_hot_labels(vae, digits, labels, tmp_path):
    one_hot = tf.one_hot(labels, K)
    encoder, decoder = vae.encoder_model(), vae.decoder_model()
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    z = vae.encode(digits, labels)["z_mean"]
    for model in (encoder, loaded):
        np.testing.assert_allclose(
            model([tf.constant(digits), one_hot])["z_mean"], z, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(
        decoder([z, one_hot])["logits"], vae.decode_params(z, labels)["logits"], rtol=1e-5
    )


@pytest.mark.slow  # `test_checkpoint.py` resumes; labels are part of the data.
def test_a_training_resumes_to_the_bit(make_conditional, digits, labels, tmp_path):
    data = Dataset(digits, labels)

    def train(folder, epochs):
        vae = make_conditional(prior="class_conditional", optimizer="adam", eager=True)
        checkpoint = kvae.callbacks.Checkpoint(tmp_path / folder, every_seconds=0.0)
        first = checkpoint.restore(vae)
        vae.fit(
            data, epochs=epochs, initial_epoch=first, verbose=0, callbacks=[checkpoint],
            batch_size=32,
        )  # fmt: skip
        return vae.get_weights()

    train("stopped", 1)
    for here, there in zip(train("stopped", 2), train("whole", 2), strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.default("graph")
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
@pytest.mark.slow
def test_compiled_training_is_the_eager_one(make_conditional, digits, labels, jit):
    weights = []
    for more in ({"run_eagerly": True}, {"jit_compile": jit}):
        vae = make_conditional(prior="class_conditional")
        vae.compile(keras.optimizers.SGD(0.01), **more)
        vae.fit((digits, labels), batch_size=32, verbose=0)
        weights.append(vae.get_weights())
    for here, there in zip(*weights, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-5)


# Errors.


@pytest.mark.parametrize(
    "label, message",
    [
        (None, "is conditional and needs labels, one class number from 0 to 2"),
        (np.zeros(6), "holds float64; it is whole numbers"),
        (np.zeros(6, bool), "holds bool"),
        (["a"] * 6, "holds string"),
        (np.zeros((6, 1), int), r"has shape \(6, 1\); it is \[n\]"),
        (np.zeros(5, int), "has 5 rows for 6 examples"),
        (np.full(6, 3), "has values from 3 to 3; it is one class number from 0 to 2"),
        (np.full(6, -1), "has values from -1 to -1"),
    ],
)
def test_a_wrong_label(vae, digits, label, message):
    x, z = digits[:6], np.zeros((6, D))
    for call in (
        lambda: vae.encode(x, label),
        lambda: vae.decode(z, label),
        lambda: vae.reconstruct(x, label),
        lambda: vae.sample(6, label=label),
        lambda: vae.log_prob(x, 5, label=label),
        lambda: vae.predict((x, label), verbose=0),
        lambda: vae.fit((x, label), verbose=0),
        lambda: vae.evaluate((x, label), verbose=0),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_data_without_labels_or_with_them_in_the_wrong_place(vae, digits, labels):
    for data in (digits, Dataset(digits), tf.data.Dataset.from_tensors(digits)):
        with pytest.raises(ValueError, match="needs labels"):
            vae.fit(data, verbose=0)
    with pytest.raises(ValueError, match="needs labels"):
        vae.fit(digits, digits, verbose=0)
    with pytest.raises(ValueError, match=r"Labels of a Dataset are its own"):
        vae.fit((Dataset(digits), labels), verbose=0)
    with pytest.raises(ValueError, match="Dataset.labels. has values from 0 to 9"):
        vae.fit(Dataset(digits, np.arange(64) % 10), verbose=0)
    with pytest.raises(ValueError, match="needs labels"):
        vae(digits)
    with pytest.raises(ValueError, match="has no labels"):
        Dataset(digits).batches(labels=True)


def test_a_label_for_a_model_without_classes(make_vae, digits, labels):
    vae = make_vae(optimizer="sgd", eager=True)
    assert vae.conditioned_on(None) is vae and not vae.conditional
    for call in (
        lambda: vae.encode(digits, labels),
        lambda: vae.decode(np.zeros((64, 2)), labels),
        lambda: vae.sample(3, label=1),
        lambda: vae.log_prob(digits, 2, label=labels),
        lambda: vae.fit((digits, labels), verbose=0),
        lambda: vae.predict((digits, labels), verbose=0),
        lambda: vae((digits, labels)),
        lambda: vae.conditioned_on(labels),
    ):
        with pytest.raises(ValueError, match="is not conditional and takes no labels"):
            call()
    # A Dataset's labels are for others to use.
    assert np.isfinite(vae.fit(Dataset(digits, labels), verbose=0).history["loss"]).all()


def test_parts_and_networks_that_do_not_fit(make_vae, make_conditional):
    with pytest.raises(ValueError, match="this model has no classes: give .*num_classes"):
        make_vae(prior="class_conditional")
    with pytest.raises(ValueError, match="num_classes=4, the model 3"):
        make_conditional(prior=ClassConditional(4))
    with pytest.raises(ValueError, match="something has to depend on the label"):
        make_vae(num_classes=K)
    two = make_conditional()
    with pytest.raises(ValueError, match="The encoder takes two inputs.* give `num_classes`"):
        make_vae(encoder=two.encoder)
    with pytest.raises(ValueError, match=r"second input of the decoder has shape \(None, 3\)"):
        make_vae(decoder=two.decoder, num_classes=5)
    with pytest.raises(ValueError, match="`num_classes` is None or at least 1, not 0"):
        make_vae(num_classes=0)
    with pytest.raises(ValueError, match=r"prior.conditioned_on\(label\)"):
        make_conditional(prior="class_conditional").prior.log_prob(np.zeros((1, D)))
