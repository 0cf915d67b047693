"""Models of several modalities: posteriors of experts, subsets, translation, files."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import kvae
from kvae import divergences, posteriors, priors
from kvae.objectives.subset_elbo import draw_subset

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 32)
IMAGES = (RNG.random((32, 4, 4, 1)) < 0.1 + 0.4 * LABELS[:, None, None, None]).astype("float32")
DATA = {"image": IMAGES, "digit": LABELS}


def networks(latent_dim=2):
    def head(units, shape):
        layers = [keras.Input((latent_dim,)), keras.layers.Dense(units)]
        return keras.Sequential([*layers, keras.layers.Reshape(shape)])

    def body(shape):
        return keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
        )

    encoders = {"image": body((4, 4, 1)), "digit": body((3,))}
    return encoders, {"image": head(16, (4, 4, 1)), "digit": head(3, (3,))}


def make(posterior="product_of_experts", joint=False, **settings):
    with kvae.random.initial_weights(0):
        encoders, decoders = networks()
        if joint:
            x = [keras.Input((4, 4, 1)), keras.Input((3,))]
            flat = keras.layers.Concatenate()([keras.layers.Flatten()(x[0]), x[1]])
            encoders["image", "digit"] = keras.Model(x, keras.layers.Dense(4, "tanh")(flat))
        vae = kvae.VAE(
            encoders=encoders,
            decoders=decoders,
            latent_dim=2,
            posterior=posterior,
            likelihood={"image": "bernoulli", "digit": "categorical:3"},
            **settings,
        )
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return make()


def experts(count=3):
    rng = np.random.default_rng(1)
    return rng.normal(size=(2, 4, count, 2)).astype("float32")


def combined(posterior, present, count=3):
    means, log_vars = experts(count)
    posterior.num_experts = count
    given = {"expert_means": tf.constant(means), "expert_log_vars": tf.constant(log_vars)}
    return posterior.given(given, np.tile(present, (4, 1))), means, np.exp(log_vars)


# Posteriors that combine experts, against what numpy and scipy say.


@pytest.mark.parametrize("present", [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0)])
def test_a_product_of_gaussians_has_the_closed_form(present):
    params, means, variances = combined(posteriors.ProductOfExperts(2), present)
    there = [index for index, is_there in enumerate(present) if is_there]
    precision = 1 + sum(1 / variances[:, i] for i in there)
    mean = sum(means[:, i] / variances[:, i] for i in there) / precision
    np.testing.assert_allclose(params["z_mean"], mean + np.zeros((4, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.exp(params["z_log_var"]), 1 / precision + np.zeros((4, 2)), rtol=1e-5
    )
    # It is proportional to the product of the densities.
    z = np.random.default_rng(2).normal(size=(5, 4, 2))
    parts = [scipy.stats.norm(means[:, i], np.sqrt(variances[:, i])).logpdf(z) for i in there]
    product = sum(parts, scipy.stats.norm.logpdf(z)).sum(axis=-1)
    log_q = posteriors.ProductOfExperts(2).log_prob(params, tf.constant(z, tf.float32))
    np.testing.assert_allclose(np.ptp(product - log_q, axis=0), 0, atol=1e-4)


def test_a_product_without_the_prior_leaves_it_out():
    posterior = posteriors.ProductOfExperts(2, prior_expert=False)
    params, means, variances = combined(posterior, (0, 1, 0))
    np.testing.assert_allclose(params["z_mean"], means[:, 1], rtol=1e-5)
    np.testing.assert_allclose(np.exp(params["z_log_var"]), variances[:, 1], rtol=1e-5)
    params, _, _ = combined(posterior, (0, 0, 0))
    np.testing.assert_allclose(params["z_mean"], 0, atol=1e-6)
    np.testing.assert_allclose(params["z_log_var"], 0, atol=1e-6)


@pytest.mark.parametrize("present", [(1, 1, 1), (1, 0, 1), (0, 1, 0)])
def test_mixtures_have_the_density_of_their_components(present):
    z = np.random.default_rng(2).normal(size=(5, 4, 2))
    there = [index for index, is_there in enumerate(present) if is_there]

    def mixed(components):
        each = [scipy.stats.norm(m, np.sqrt(v)).logpdf(z).sum(axis=-1) for m, v in components]
        return scipy.special.logsumexp(each, axis=0) - np.log(len(each))

    mixture = posteriors.MixtureOfExperts(2)
    params, means, variances = combined(mixture, present)
    truth = mixed([(means[:, i], variances[:, i]) for i in there])
    log_q = mixture.log_prob(params, tf.constant(z, tf.float32))
    np.testing.assert_allclose(log_q, truth, rtol=1e-4, atol=1e-4)

    with tf.GradientTape() as tape:  # Of E[z²] = 1/M Σ_m (mean_m² + variance_m).
        tape.watch(params["z_means"])
        squares = tf.reduce_mean(tf.square(mixture.sample(params, 4000, seed=0)), axis=0)
    slopes = tape.gradient(squares, params["z_means"])
    weights = np.array(present)[:, None] / len(there)
    np.testing.assert_allclose(slopes, 2 * weights * means, atol=0.15)

    products = posteriors.MixtureOfProducts(2)
    params, means, variances = combined(products, present)
    components = []
    for size in range(1, len(there) + 1):
        for subset in itertools.combinations(there, size):
            precision = sum(1 / variances[:, i] for i in subset)
            mean = sum(means[:, i] / variances[:, i] for i in subset) / precision
            components.append((mean, 1 / precision))
    log_q = products.log_prob(params, tf.constant(z, tf.float32))
    np.testing.assert_allclose(log_q, mixed(components), rtol=1e-4, atol=1e-4)
    draws = products.sample(params, 4000, seed=0)
    np.testing.assert_allclose(np.mean(draws, axis=0), products.mean(params), atol=0.12)


def test_experts_that_read_several_modalities_count_where_all_are_present():
    posterior = posteriors.ProductOfExperts(2, reads=[[0], [1], [0, 1]])
    with_one, means, variances = combined(posterior, (1, 0))
    precision = 1 + 1 / variances[:, 0]
    np.testing.assert_allclose(np.exp(-with_one["z_log_var"]), precision, rtol=1e-5)
    with_all, _, _ = combined(posterior, (1, 1))
    precision = 1 + (1 / variances).sum(axis=1)
    np.testing.assert_allclose(np.exp(-with_all["z_log_var"]), precision, rtol=1e-5)


def test_more_experts_than_can_be_mixed_are_refused():
    with pytest.raises(ValueError, match="at most 8 experts, not of 9"):
        combined(posteriors.MixtureOfProducts(2), (1,) * 9, count=9)


# Records.


def test_records_come_back_as_they_were(vae):
    record = vae.likelihood.record(DATA)
    assert record.shape == (32, 17) and record.dtype == np.float32
    back = vae.likelihood.split(record)
    np.testing.assert_array_equal(back["image"], IMAGES)
    np.testing.assert_array_equal(back["digit"], LABELS)
    mask = np.arange(32) % 2 == 0
    hidden = vae.likelihood.record({**DATA, "mask": {"image": mask}})
    np.testing.assert_array_equal(np.isnan(hidden[:, :16]).all(axis=1), ~mask)
    assert not np.isnan(hidden[mask]).any()
    present = vae.likelihood.present(tf.constant(hidden)).numpy()
    np.testing.assert_array_equal(present, np.stack([mask, np.ones(32, bool)], axis=1))
    tensors = vae.likelihood.record({"image": tf.constant(IMAGES)})
    np.testing.assert_array_equal(tensors, vae.likelihood.record({"image": IMAGES}))


def test_log_p_is_that_of_the_modalities_that_are_there(vae):
    z = tf.random.stateless_normal((32, 2), (0, 1))
    outputs = vae.decode_params(z)
    record = tf.constant(vae.likelihood.record(DATA))
    each = vae.likelihood.log_prob_by_modality(outputs, record)
    logits = {key: np.float64(value) for key, value in outputs.items()}
    image, digit = logits["image/logits"], logits["digit/logits"]
    log_image = (IMAGES * image - np.logaddexp(0, image)).sum(axis=(1, 2, 3))
    log_digit = scipy.special.log_softmax(digit[:, 0], axis=-1)[np.arange(32), LABELS]
    np.testing.assert_allclose(each, np.stack([log_image, log_digit], axis=1), rtol=1e-4)
    np.testing.assert_allclose(
        vae.likelihood.log_prob(outputs, record), log_image + log_digit, rtol=1e-4
    )
    alone = vae.likelihood.kept(record, np.array([[False, True]]))
    np.testing.assert_allclose(vae.likelihood.log_prob(outputs, alone), log_digit, rtol=1e-4)


# Models.


@pytest.mark.parametrize("absent", ["image", "digit"])
def test_what_stands_in_an_absent_modality_changes_nothing(vae, absent):
    other = {**DATA, absent: np.zeros_like(DATA[absent])}
    mask = {absent: np.zeros(32, bool)}
    given = {key: value for key, value in DATA.items() if key != absent}
    truth = vae.encode(given)
    for data in (DATA, other):
        found = vae.encode(data, mask=mask)
        for key, value in truth.items():
            np.testing.assert_array_equal(found[key], value)
    nothing = vae.encode(DATA, mask={key: np.zeros(32, bool) for key in DATA})
    np.testing.assert_array_equal(nothing["z_mean"], np.zeros((32, 2)))
    np.testing.assert_array_equal(nothing["z_log_var"], np.zeros((32, 2)))


@pytest.mark.default("mixture_of_products")
@pytest.mark.parametrize(
    "posterior",
    [
        *("product_of_experts", "mixture_of_experts", "mixture_of_products", "diagonal_gaussian"),
        *("joint_experts", "flow_experts"),
    ],
)
def test_models_train_translate_and_come_back_from_their_files(posterior, tmp_path, eagerly):
    objective = {"diagonal_gaussian": "elbo", "joint_experts": "telbo", "flow_experts": "jnf"}
    joint = posterior in ("joint_experts", "flow_experts")
    vae = make(posterior, joint, objective=objective.get(posterior, "subset_elbo"))
    mask = {"image": np.arange(32) % 4 > 0, "digit": np.arange(32) % 4 < 3}
    history = vae.fit(DATA, mask=mask, verbose=0, validation_data=DATA).history
    assert np.isfinite([history[key] for key in ("loss", "val_elbo", "kl")]).all()
    drawn = vae.sample(3, seed=1, output="sample")
    assert drawn["image"].shape == (3, 4, 4, 1) and set(np.asarray(drawn["digit"])) <= {0, 1, 2}
    seen = vae.translate(image=IMAGES[:4], to="digit")
    decoded = vae.reconstruct({"image": IMAGES[:4]})
    assert seen.shape == (4,) and decoded["image"].shape == (4, 4, 4, 1)
    vae.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.modalities == ("image", "digit")
    for output in ("mean", "mode"):
        found = again.translate(digit=[0, 1], to=["image", "digit"], output=output, seed=3)
        truth = vae.translate(digit=[0, 1], to=["image", "digit"], output=output, seed=3)
        for key, value in truth.items():
            np.testing.assert_array_equal(found[key], value)


def test_every_way_in_is_the_same(vae, eagerly):
    truth = vae.evaluate(DATA, batch_size=16, verbose=0)
    batches = [{key: value[i : i + 16] for key, value in DATA.items()} for i in (0, 16)]
    dataset = tf.data.Dataset.from_tensor_slices(DATA).batch(16)
    for data in (dataset, iter(batches)):
        np.testing.assert_allclose(vae.evaluate(data, verbose=0), truth, rtol=1e-5)
    assert vae.predict({"image": IMAGES[:2]}, verbose=0)["digit"].shape == (2,)
    for key, value in vae.encode(dataset).items():
        np.testing.assert_allclose(value, vae.encode(DATA)[key], rtol=1e-5, atol=1e-6)


def test_imputation_fills_an_absent_modality(vae):
    found = vae.impute({"image": IMAGES[:3]}, num_samples=10, num_imputations=2)
    assert found.value["digit"].shape == (2, 3) and set(found.value["digit"].ravel()) <= {0, 1, 2}
    np.testing.assert_array_equal(found.value["image"][0], IMAGES[:3])
    assert str(found).startswith("3 values filled in of 3 examples, 2 times")
    assert found.observed["image"].all() and not found.observed["digit"].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae: vae.fit({"imag": IMAGES}), "Unknown modality 'imag'. Did you mean 'image'"),
        (lambda vae: vae.fit(IMAGES), r"takes them as a dict, \{'image': …, 'digit': …\}"),
        (lambda vae: vae.fit({}), "has none of the modalities 'image', 'digit'"),
        (lambda vae: vae.encode({**DATA, "digit": LABELS[:3]}), "'digit' has 3 rows"),
        (lambda vae: vae.encode({"image": IMAGES[..., 0]}), "Add the channel axis"),
        (lambda vae: vae.encode({"image": IMAGES[0]}), "Add the batch axis"),
        (lambda vae: vae.fit({"image": 255 * IMAGES}), r"`x\['image'\]` has values from 0 to 255"),
        (lambda vae: vae.fit({"digit": np.eye(3)}), r"x\['digit'\].argmax\(-1\)"),
        (lambda vae: vae.fit({"digit": LABELS + 1}), r"`x\['digit'\]` has values from 1 to 3"),
        (lambda vae: vae.fit(DATA, mask=np.ones(32, bool)), "`mask` is a dict"),
        (lambda vae: vae.translate(image=IMAGES, to="digits"), "Unknown modality 'digits'"),
        (lambda vae: vae.translate(image=IMAGES, to="digit", output="draw"), "Unknown output"),
        (lambda vae: vae.translate(image=IMAGES, to="digit", output="sample"), "takes a seed"),
        (lambda vae: vae.translate(DATA, image=IMAGES, to="digit"), "not in both ways"),
    ],
)
def test_wrong_data_are_refused_in_one_line(vae, call, message):
    with pytest.raises(ValueError, match=message):
        call(vae)


def test_wrong_models_are_refused_in_one_line():
    encoders, decoders = networks()
    known = {"image": "bernoulli", "digit": "categorical:3"}

    def build(message, kind=ValueError, **changes):
        given = {"encoders": encoders, "decoders": decoders, "likelihood": known, **changes}
        with pytest.raises(kind, match=message):
            kvae.VAE(latent_dim=2, **given)

    build("`likelihood` 'image'", likelihood={"image": "bernoulli"})
    build("`decoders` 'image'", decoders={"image": decoders["image"]})
    build("`decoders` is a dict", TypeError, decoders=None)
    build("or `encoder` and `decoder` for one", encoder=encoders["image"])
    build("make the label a modality", num_classes=3)
    build("cannot be called 'mask'", encoders={"mask": encoders["image"]})
    build("begin it with keras.Input", encoders={**encoders, "image": keras.layers.Dense(3)})
    build(r"`decoders\['digit'\]` returns shape", likelihood={**known, "digit": "categorical:4"})
    build("has a likelihood of its own", likelihood=kvae.likelihoods.Bernoulli())
    sigmoid = keras.Sequential([decoders["image"], keras.layers.Activation("sigmoid")])
    build("ends in the activation 'sigmoid'", decoders={**decoders, "image": sigmoid})
    with pytest.raises(ValueError, match="compares the posteriors of single modalities"):
        make("diagonal_gaussian", objective="subset_elbo")
    with pytest.raises(ValueError, match="that one does not read all modalities"):
        make("joint_experts", objective="jmvae")
    with pytest.raises(ValueError, match="Unknown modality 'sound'"):
        make(objective=kvae.objectives.SubsetELBO({"sound": 2.0}))


# Bounds of subsets.


def test_the_loss_is_the_sum_of_the_bounds_of_subsets():
    objective = kvae.objectives.SubsetELBO({"digit": 3.0}, beta=2.0, num_samples=500)
    vae = make(objective=objective)
    present = np.ones((8, 2), bool)
    present[4:6, 0], present[6:, 1] = False, False
    record = vae.likelihood.kept(tf.constant(vae.likelihood.record(DATA)[:8]), present)
    terms = objective.terms(vae, record, record, training=False, seed=1)
    prior = priors.StandardNormal(2)
    kl_of = divergences.closed_form_kl(vae.posterior, prior)

    def bound(data, weights, beta):
        params = vae.encode_params(data)
        z = vae.posterior.sample(params, 4000, seed=5)
        each = vae.likelihood.log_prob_by_modality(vae.decode_params(z), data)
        return np.mean(each @ np.float32(weights)[:, None], axis=0)[:, 0] - beta * kl_of(params)

    np.testing.assert_allclose(terms["elbo"], bound(record, (1, 1), 1.0), atol=0.15)
    truth = bound(record, (1, 3), 2.0).numpy()
    for modality in (0, 1):
        alone = np.zeros((8, 2), bool)
        alone[:, modality] = True
        single = bound(vae.likelihood.kept(record, alone), (1, 3), 2.0).numpy()
        truth += np.where(present.all(axis=1), single, 0.0)
    np.testing.assert_allclose(-terms["loss"], truth, atol=0.4)


def test_subsets_are_drawn_of_two_or_more_but_not_all_modalities():
    present = np.repeat([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0]], 3000, axis=0)
    uniform = np.random.default_rng(0).random((9000, 5))
    found = draw_subset(tf.constant(present, tf.float32), tf.constant(uniform, tf.float32))
    of_four, of_three, of_two = np.split(found.numpy(), 3)
    for drawn, sizes in ((of_four, [2] * 6 + [3] * 4), (of_three, [2] * 3)):
        subsets, counts = np.unique(drawn, axis=0, return_counts=True)
        many = len(sizes)
        assert sorted(subsets.sum(axis=1)) == sizes
        np.testing.assert_allclose(counts / 3000, 1 / many, atol=0.04)
    assert not of_three[:, 1].any() and not of_two.any()


def test_coherence_is_the_share_of_translations_of_the_right_class(vae):
    def of_images(images):
        return np.digitize(images.mean(axis=(1, 2, 3)), [0.45, 0.55])

    same = {"image": of_images, "digit": lambda digit: digit}
    found = kvae.evaluation.coherence(vae, DATA, LABELS, same, num_draws=50, seed=2)
    assert set(found) == {"image → digit", "digit → image", "joint"}
    digits = vae.translate(image=IMAGES, to="digit", seed=2)
    assert found["image → digit"] == np.mean(np.asarray(digits) == LABELS)
    drawn = vae.sample(50, seed=2, output="mode")
    agree = of_images(np.asarray(drawn["image"])) == np.asarray(drawn["digit"])
    assert found["joint"] == np.mean(agree) and 0 < found["joint"] < 1


def test_joint_log_p_of_a_linear_model_is_that_of_the_gaussian(eagerly):
    """x_m = w_m z + b_m + noise: the product of experts is p(z|x), so every weight is p(x)."""
    rng = np.random.default_rng(3)
    scales = {"a": np.array([1.0, -0.5]), "b": np.array([0.8, 1.2])}
    shifts = {"a": np.array([0.5, -1.0]), "b": np.array([0.0, 2.0])}

    def dense(kernel, bias):
        layer = keras.layers.Dense(2)
        layer.build((None, 2))
        layer.set_weights([kernel, bias])
        return layer

    def encoder(w, b):
        x = keras.Input((2,))
        parameters = {
            "z_mean": dense(np.diag(1 / w), -b / w)(x),
            "z_log_var": dense(np.zeros((2, 2)), -2 * np.log(np.abs(w)))(x),
        }
        return keras.Model(x, parameters)

    vae = kvae.VAE(
        encoders={key: encoder(scales[key], shifts[key]) for key in scales},
        decoders={
            key: keras.Sequential([keras.Input((2,)), dense(np.diag(scales[key]), shifts[key])])
            for key in scales
        },
        latent_dim=2,
        likelihood="gaussian",
    )
    x = {key: rng.normal(size=(4, 2)) for key in scales}

    def truth(*keys):
        w = np.concatenate([np.diag(scales[key]) for key in keys], axis=1)
        mean = np.concatenate([shifts[key] for key in keys])
        normal = scipy.stats.multivariate_normal(mean, w.T @ w + np.eye(len(mean)))
        return normal.logpdf(np.concatenate([x[key] for key in keys], axis=1))

    def found(**given):
        return vae.log_prob(given, num_samples=2).value

    np.testing.assert_allclose(found(**x), truth("a", "b"), rtol=1e-4)
    np.testing.assert_allclose(found(b=x["b"]), truth("b"), rtol=1e-4)
    rest = kvae.evaluation.conditional_log_prob(vae, x, given="a", num_samples=2)
    np.testing.assert_allclose(rest.value, truth("a", "b") - truth("a"), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="given some others"):
        kvae.evaluation.conditional_log_prob(vae, x, given=["a", "b"])
