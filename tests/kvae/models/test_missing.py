"""Missing values: against closed forms, and against what stands at hidden places."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import datasets, fills
from kvae.utils import masks

RNG = np.random.default_rng(0)
D, L, SIGMA = 5, 2, 0.6
W = RNG.normal(size=(L, D))
B = RNG.normal(size=D)
N = 12
X = (RNG.normal(size=(N, L)) @ W + B + SIGMA * RNG.normal(size=(N, D))).astype("float32")
MASK = RNG.random((N, D)) < 0.6
MASK[0], MASK[1] = False, True
HIDDEN = np.where(MASK, X, np.float32("nan"))


def exact(x, mask):
    """Mean and covariance of z given the observed values, log p of these, E and Cov of all x."""
    w, r = W[:, mask], x[mask] - B[mask]
    precision = np.eye(L) + w @ w.T / SIGMA**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ w @ r / SIGMA**2
    spread = w.T @ w + SIGMA**2 * np.eye(mask.sum())
    sign, log_det = np.linalg.slogdet(spread) if mask.any() else (1, 0.0)
    square = r @ np.linalg.solve(spread, r) if mask.any() else 0.0
    log_p = -0.5 * (square + log_det + mask.sum() * np.log(2 * np.pi))
    of_x = W.T @ covariance @ W + SIGMA**2 * np.eye(D)
    return mean, covariance, log_p, mean @ W + B, of_x


EXACT = [exact(x.astype(float), m) for x, m in zip(X, MASK, strict=True)]


class TruePosterior(keras.layers.Layer):
    """The exact posterior of factor analysis, of x and its mask."""

    def call(self, inputs):
        x, mask = inputs[:, :D], inputs[:, D:]
        w = tf.constant(W, tf.float32)
        weighted = mask[:, None, :] * w
        precision = tf.eye(L) + weighted @ tf.transpose(w) / SIGMA**2
        covariance = tf.linalg.inv(precision)
        right = tf.linalg.matvec(weighted, x - tf.constant(B, tf.float32)) / SIGMA**2
        factor = tf.linalg.cholesky(covariance)
        log_var = 2.0 * tf.math.log(tf.linalg.diag_part(factor))
        return {
            "z_mean": tf.linalg.matvec(covariance, right),
            "z_log_var": log_var,
            "z_lower": factor[:, 1, :1],
        }

    def compute_output_spec(self, inputs):
        shapes = {"z_mean": L, "z_log_var": L, "z_lower": 1}
        return {name: keras.KerasTensor((None, size)) for name, size in shapes.items()}


def linear_decoder():
    decoder = keras.Sequential([keras.Input((L,)), keras.layers.Dense(D)])
    decoder.layers[0].set_weights([W, B])
    return decoder


@pytest.fixture(scope="module")
def factor_analysis():
    inputs = keras.Input((2 * D,))
    vae = kvae.VAE(
        keras.Model(inputs, TruePosterior()(inputs)),
        linear_decoder(),
        latent_dim=L,
        posterior="full_covariance",
        likelihood=kvae.likelihoods.Gaussian(scale=SIGMA),
        objective="iwae",
        missing="zero:mask",
    )
    vae.compile("adam", run_eagerly=True)
    return vae


def test_log_prob_is_that_of_the_observed_values(factor_analysis):
    found = factor_analysis.log_prob(HIDDEN, num_samples=10)
    wanted = [e[2] for e in EXACT]
    assert found.value[0] == wanted[0] == 0.0
    np.testing.assert_allclose(found.value, wanted, atol=1e-3)
    np.testing.assert_allclose(found.effective_sample_size, 10, rtol=1e-4)


def test_the_bounds_are_of_the_observed_values(factor_analysis):
    """With the true posterior all bounds are tight: ELBO, and IWAE as Mattei & Frellsen have it."""
    terms = factor_analysis.objective.terms(
        factor_analysis, tf.constant(HIDDEN), tf.constant(HIDDEN), training=True, seed=1
    )
    wanted = [e[2] for e in EXACT]
    np.testing.assert_allclose(terms["iwae"], wanted, atol=1e-3)
    np.testing.assert_allclose(terms["elbo"], wanted, atol=1e-3)


def test_encode_gives_the_exact_posterior(factor_analysis):
    params = factor_analysis.encode(X, mask=MASK)
    np.testing.assert_allclose(params["z_mean"], [e[0] for e in EXACT], atol=1e-4)
    assert np.all(params["z_mean"][0] == 0) and np.all(params["z_log_var"][0] == 0)


def test_single_imputation_is_the_conditional_mean(factor_analysis):
    found = factor_analysis.impute(X, MASK, num_samples=4000, max_rows=8000)
    wanted, spread = np.array([e[3] for e in EXACT]), np.sqrt([np.diag(e[4]) for e in EXACT])
    error = np.abs(found.value - wanted)[~MASK]
    assert (error < 5 * spread[~MASK] / np.sqrt(4000)).all()
    assert found.value[MASK].tobytes() == X[MASK].tobytes()
    assert np.array_equal(found.observed, MASK)
    np.testing.assert_allclose(found.effective_sample_size, 4000, rtol=1e-3)


def test_multiple_imputations_are_draws_of_the_conditional(factor_analysis):
    row = 2
    assert (~MASK[row]).sum() >= 2
    found = factor_analysis.impute(
        np.repeat(HIDDEN[row : row + 1], 200, axis=0), num_samples=300, num_imputations=5, seed=3
    )
    assert found.value.shape == (5, 200, D)
    assert (found.value[:, :, MASK[row]] == X[row, MASK[row]]).all()
    draws = found.value[:, :, ~MASK[row]].reshape(1000, -1)
    gaps = np.ix_(~MASK[row], ~MASK[row])
    mean, covariance = EXACT[row][3][~MASK[row]], EXACT[row][4][gaps]
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(axis=0) - mean) < 5 * deviation / np.sqrt(1000)).all()
    np.testing.assert_allclose(
        np.cov(draws.T), covariance, atol=0.25 * float(np.max(deviation) ** 2)
    )


def test_weights_correct_a_posterior_that_is_wrong():
    """An encoder that knows nothing proposes from N(2, 1.5 I); the weights make it right."""
    features = keras.Sequential([keras.Input((D,)), keras.layers.Dense(2 * L)])
    features.layers[0].set_weights([np.zeros((D, 2 * L)), np.repeat([2.0, np.log(1.5)], L)])
    inputs = keras.Input((D,))
    out = features(inputs)
    vae = kvae.VAE(
        keras.Model(inputs, {"z_mean": out[:, :L], "z_log_var": out[:, L:]}),
        linear_decoder(),
        latent_dim=L,
        likelihood=kvae.likelihoods.Gaussian(scale=SIGMA),
        missing="mean",
    )
    vae.compile("adam", run_eagerly=True)
    rows = slice(0, 4)
    found = vae.impute(X[rows], MASK[rows], num_samples=4000, batch_size=4, max_rows=16_000)
    again = vae.impute(X[rows], MASK[rows], num_samples=4000, batch_size=4)  # In four lots.
    size = found.effective_sample_size[:, None]
    wanted, spread = np.array([e[3] for e in EXACT]), np.sqrt([np.diag(e[4]) for e in EXACT])
    for one in (found, again):
        error = np.abs(one.value - wanted[rows]) * np.sqrt(size)
        assert (error < 6 * spread[rows])[~MASK[rows]].all()
    with pytest.warns(UserWarning, match="effective sample size"):  # Of few samples.
        value = vae.log_prob(HIDDEN[rows], num_samples=20).value
    assert value[0] == 0.0


# What stands at hidden places.


def build(missing, event=(D,), likelihood="gaussian", **settings):
    likelihood = kvae.likelihoods.get(likelihood)
    fill = fills.get(missing)
    keras.utils.set_random_seed(1)
    shape = event if fill is None else fill.input_shape(event)
    size = int(np.prod(likelihood.output_shape(event)))
    encoder = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(8, "tanh")]
    )
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(size),
            keras.layers.Reshape(likelihood.output_shape(event)),
        ]
    )
    vae = kvae.VAE(encoder, decoder, 2, likelihood=likelihood, missing=fill, **settings)
    vae.compile("adam", run_eagerly=True)
    return vae


@pytest.mark.default("elbo", "dreg")
@pytest.mark.parametrize("objective", ["elbo", "dreg", "wae"])
def test_hidden_values_influence_nothing_and_gradients_are_finite(objective):
    vae = build("learned:mask", objective=objective)
    found = []
    for value in (0.0, 1e30, -np.inf, np.nan):
        x = tf.constant(masks.hide(np.where(MASK, X, np.float32(value)), MASK))
        with tf.GradientTape() as tape:
            terms = vae.objective.terms(vae, x, x, training=True, seed=1)
            loss = tf.reduce_sum(terms["loss"])
        gradients = tape.gradient(loss, vae.trainable_variables)
        found.append([loss, *(g for g in gradients if g is not None)])
    for values in found:
        assert all(np.isfinite(value).all() for value in values)
        assert all(np.array_equal(a, b) for a, b in zip(values, found[0], strict=True))
    with tf.GradientTape() as tape:  # Nothing at all was observed.
        x = tf.fill((3, D), np.float32("nan"))
        loss = tf.reduce_sum(vae.objective.terms(vae, x, x, training=True, seed=1)["elbo"])
    gradients = [g for g in tape.gradient(loss, vae.trainable_variables) if g is not None]
    assert float(loss) == 0.0 and all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    "missing",
    ["mean:mask", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zero", "learned"))],
)
def test_training_evaluation_and_files(missing, tmp_path):
    vae = build(missing)
    vae.fit(np.where(MASK, X, np.float32(1e30)), mask=MASK, batch_size=4, verbose=0)
    of_mask = vae.evaluate(X, mask=MASK, verbose=0)
    assert np.isfinite(of_mask).all()
    assert of_mask == vae.evaluate(HIDDEN, verbose=0)
    assert of_mask == vae.evaluate(datasets.Dataset(X, mask=MASK), verbose=0)
    value = vae.encode(X, mask=MASK)["z_mean"]
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    assert loaded.missing.get_config() == vae.missing.get_config()
    assert np.array_equal(loaded.encode(HIDDEN)["z_mean"], value)
    assert np.array_equal(vae.encoder_model()(HIDDEN)["z_mean"][1:], value[1:])
    assert np.isfinite(loaded.reconstruct(HIDDEN)).all()


def test_what_the_encoder_sees():
    x, observed = tf.constant(HIDDEN[2:3]), MASK[2:3]
    gaussian = kvae.likelihoods.Gaussian(standardize=True)
    vae = build("mean:mask", likelihood=gaussian)
    gaussian.take_missing()
    gaussian.adapt(HIDDEN)
    location = np.nanmean(HIDDEN[1:], axis=0)
    np.testing.assert_allclose(gaussian.data_location, location, rtol=1e-5)
    np.testing.assert_allclose(gaussian.data_scale, np.nanstd(HIDDEN[1:], axis=0), rtol=1e-5)
    vae.missing.adapt(gaussian, HIDDEN)
    seen = vae.missing.seen(gaussian, x, masks.observed(x))
    assert seen.shape == (1, 2 * D)
    np.testing.assert_array_equal(seen[:, D:], observed.astype("float32"))
    np.testing.assert_allclose(seen[:, :D][~observed], 0.0, atol=1e-6)  # The means, standardized.
    vae = build("mean")
    vae.missing.adapt(vae.likelihood, datasets.Dataset(X, mask=MASK))
    seen = vae.missing.seen(vae.likelihood, x, masks.observed(x))
    np.testing.assert_allclose(seen[~observed], location[~observed[0]], rtol=1e-5)
    assert np.array_equal(seen[observed], X[2:3][observed])


def test_the_optimal_variance_is_that_of_the_observed_values():
    gaussian = kvae.likelihoods.Gaussian("optimal")
    gaussian.take_missing()
    params = gaussian(tf.zeros((N, D)), training=True)
    log_p = gaussian.log_prob(params, HIDDEN)
    error = float(np.nanmean(HIDDEN.astype(float) ** 2))
    np.testing.assert_allclose(gaussian.stored_variance, error, rtol=1e-5)
    np.testing.assert_allclose(
        -np.sum(log_p), MASK.sum() / 2 * np.log(2 * np.pi * np.e * error), rtol=1e-5
    )
    gaussian.log_prob(params, np.full_like(X, np.nan))
    np.testing.assert_allclose(gaussian.stored_variance, error, rtol=1e-5)


def test_every_way_in():
    vae = build("zero")
    wanted = vae.evaluate(HIDDEN, batch_size=4, verbose=0)
    log_prob = vae.log_prob(HIDDEN, num_samples=9).value
    pairs = tf.data.Dataset.from_tensor_slices({"x": X, "mask": MASK}).batch(4)
    for batches in (
        pairs,
        pairs.map(lambda pair: tf.where(pair["mask"], pair["x"], np.nan)),
        list(pairs.as_numpy_iterator()),
    ):
        for function, result in (
            (lambda x: vae.evaluate(x, verbose=0), wanted),
            (lambda x: vae.log_prob(x, num_samples=9).value, log_prob),
        ):
            given = iter(batches) if isinstance(batches, list) else batches
            np.testing.assert_allclose(function(given), result, rtol=1e-5)
    given = {"x": X.tolist(), "mask": MASK.tolist()}
    np.testing.assert_array_equal(vae.log_prob(given, num_samples=9).value, log_prob)
    vae.fit(pairs, validation_data={"x": X, "mask": MASK}, verbose=0)


def test_datasets_carry_a_mask_through_draws_and_noise():
    x = RNG.random((6, 4, 4, 1)).astype("float32")
    mask = RNG.random((6, 4, 4, 1)) < 0.5
    nan = np.where(mask, x, np.float32("nan"))
    for data in (
        datasets.Dataset(nan, mask=mask, binarize="static"),
        datasets.Dataset(nan, mask=mask, binarize="dynamic"),
        datasets.Dataset(nan, noise=0.1),
    ):
        batch = next(iter(data.batches(6)))
        for values in batch if isinstance(batch, tuple) else (batch,):
            assert np.array_equal(masks.observed(values), mask)
        assert np.array_equal(masks.observed(data[2:].examples), mask[2:])
    pixels = datasets.Dataset((255 * x).astype("uint8"), mask=mask)
    assert np.array_equal(np.isnan(pixels.examples), ~mask)
    assert pixels.sha256 != datasets.Dataset((255 * x).astype("uint8")).sha256
    assert np.array_equal(pixels.masked(mask[::-1]).mask, mask & mask[::-1])


TABLE = [("gaussian",), ("bernoulli",), ("categorical", 4), ("poisson",), ("categorical", 3)]


@pytest.mark.parametrize(
    "likelihood",
    [
        kvae.likelihoods.MixedTabular(TABLE),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("bernoulli", "categorical:4", "poisson", "discretized_logistic")
        ),
    ],
)
def test_imputed_values_are_values_of_x(likelihood):
    vae = build("zero", likelihood=likelihood)
    x = np.asarray(vae.sample(6, seed=1, output="sample"))
    filled = vae.impute(x, MASK[:6], num_samples=20)
    assert filled.value[MASK[:6]].tobytes() == x[MASK[:6]].tobytes()
    assert np.all(vae.likelihood.in_support(filled.value))
    several = vae.impute(x, MASK[:6], num_samples=20, num_imputations=2)
    assert np.all([vae.likelihood.in_support(one) for one in several.value])
    assert np.array_equal(np.asarray(several), several.value)


def test_a_class_is_the_most_probable_one():
    """One z is certain of class 0, and one halves between 1 and 2: class 0 is the most probable."""
    likelihood = kvae.likelihoods.Categorical(3)
    one = likelihood.averaged({"logits": np.log(np.float32([[1.0, 1e-9, 1e-9]]))})
    two = likelihood.averaged({"logits": np.log(np.float32([[1e-9, 0.4, 0.6]]))})
    average = {"probabilities": 0.5 * (one["probabilities"] + two["probabilities"])}
    assert likelihood.point(average) == 0


def test_a_model_of_complete_data_takes_gaps():
    plain = build(None, seed=4)
    value = plain.log_prob(X, num_samples=9).value
    vae = plain.with_missing("zero")
    assert vae.decoder is plain.decoder and vae.missing is not None and plain.missing is None
    np.testing.assert_allclose(vae.log_prob(X, num_samples=9).value, value, rtol=1e-6)
    assert vae.log_prob(HIDDEN, num_samples=9).value[0] == 0.0
    with pytest.raises(ValueError, match="option `missing`"):
        plain.log_prob(HIDDEN)
    assert "missing" not in plain.get_config() and "missing" in vae.get_config()
    assert vae.with_prior("standard_normal").missing is vae.missing


# Refusals.


def test_refusals():
    plain = build(None)
    for call in (plain.fit, plain.evaluate, plain.encode, plain.log_prob):
        with pytest.raises(ValueError, match=r"NaN.*kvae\.VAE the option `missing`"):
            call(HIDDEN)
    with pytest.raises(ValueError, match="option `missing`"):
        plain.fit(tf.data.Dataset.from_tensor_slices(HIDDEN).batch(4), verbose=0)
    pixels = datasets.Dataset(np.zeros(X.shape, "uint8"), mask=MASK)
    with pytest.raises(ValueError, match="mask of what was observed.*option `missing`"):
        plain.fit(pixels, verbose=0)
    with pytest.raises(ValueError, match="takes no missing values"):
        plain.impute(HIDDEN)
    vae = build("zero")
    with pytest.raises(ValueError, match="infinite"):
        vae.fit(np.where(MASK, X, np.float32("inf")))
    nothing = np.zeros_like(MASK)
    for given in ((X * np.float32("nan"), None), (X, nothing), (pixels.take([0]), None)):
        with pytest.raises(ValueError, match="No value of the .* examples was observed"):
            vae.fit(given[0], mask=given[1], verbose=0)
    for mask, words in (
        (MASK.astype(int), r"mask\.astype\(bool\)"),
        (MASK[:, :3], r"`mask` has shape \(12, 3\) and `x` \(12, 5\)"),
        (MASK[:4], "one bool for each value"),
    ):
        with pytest.raises(ValueError, match=words):
            vae.encode(X, mask=mask)
    with pytest.raises(ValueError, match="stand in its batches"):
        vae.fit(tf.data.Dataset.from_tensor_slices(X).batch(4), mask=MASK)
    with pytest.raises(ValueError, match="unknown fill|fill"):
        build("zeros")
    with pytest.raises(ValueError, match="last axis"):
        kvae.VAE(
            keras.Sequential([keras.Input((D,)), keras.layers.Dense(4)]),
            linear_decoder(),
            2,
            likelihood="gaussian",
            missing="zero:mask",
        )

    class Coupled(kvae.likelihoods.Gaussian):
        def log_prob(self, params, x):
            return super().log_prob(params, x)

    with pytest.raises(ValueError, match="Coupled has a `log_prob` of its own"):
        build("zero", likelihood=Coupled())
    with pytest.raises(ValueError, match="adapt"):
        build("mean").fit(tf.data.Dataset.from_tensor_slices(HIDDEN).batch(4))
