"""The scale of what the encoder sees, and statistics of the data in the likelihood."""

import re
import warnings

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import export
import kvae
from kvae.likelihoods.scale import learn_scale

RNG = np.random.default_rng(0)
LOCATION = np.array([0.0, 5.0, -1e3, 1e6])
SCALE = np.array([1e-3, 1.0, 1e3, 1e6])


def table(n=200, seed=1):
    """Columns of scale 1e-3 … 1e6, driven by one factor."""
    rng = np.random.default_rng(seed)
    unit = 0.8 * rng.normal(size=(n, 1)) + 0.6 * rng.normal(size=(n, 4))
    return (LOCATION + SCALE * unit).astype("float32")


def mixed(n=100, seed=1):
    rng = np.random.default_rng(seed)
    columns = [rng.normal(1e5, 1e4, n), rng.integers(5, size=n), rng.poisson(3e4, n)]
    return np.stack([*columns, rng.integers(2, size=n)], axis=1).astype("float32")


def mixed_tabular(**options):
    columns = [("gaussian",), ("categorical", 5), ("poisson",), ("bernoulli",)]
    return kvae.likelihoods.MixedTabular(columns, **options)


def counts(largest, n=200, columns=20, seed=1):
    """Poisson counts at rates up to `largest`, and the mean of -log p at those rates."""
    rng = np.random.default_rng(seed)
    rates = np.exp(np.linspace(np.log(1e2), np.log(largest), columns))
    x = rng.poisson(rates, (n, columns))
    return x.astype("float32"), -scipy.stats.poisson.logpmf(x, rates).sum(axis=1).mean()


def first(vae, x):
    vae.compile(run_eagerly=True)
    return vae.evaluate(x, verbose=0, return_dict=True)


class TestFirstLosses:
    def test_of_256_levels(self, make_vae, eagerly):
        x = RNG.integers(256, size=(100, 8, 8, 1)).astype("float32")
        entropy = 64 * np.log(256)
        found = first(make_vae(likelihood="categorical"), x)
        assert found["kl"] < 10 and entropy - 1 < found["loss"] < 1.1 * entropy
        raw = first(make_vae(likelihood=kvae.likelihoods.Categorical(scale_input=False)), x)
        assert raw["loss"] > 1e4 * entropy  # What this is against.

    def test_of_counts_up_to_ten_million(self, make_vae, eagerly):
        x, entropy = counts(1e7)
        likelihood = kvae.likelihoods.Poisson(16.6, standardize=True)
        likelihood.adapt(x)
        found = first(make_vae(event=(20,), likelihood=likelihood), x)
        assert found["kl"] < 10 and entropy - 1 < found["loss"] < 1.3 * entropy
        # Without statistics the rates start at 1, but codes and KL are of order 1 still.
        plain = first(make_vae(event=(20,), likelihood=kvae.likelihoods.Poisson(16.6)), x)
        raw = kvae.likelihoods.Poisson(16.6, scale_input=False)
        raw = first(make_vae(event=(20,), likelihood=raw), x)
        assert plain["kl"] < 1e-6 * raw["kl"] and raw["kl"] > 1e11

    @pytest.mark.slow  # `test_log_prob_is_the_scaled_gaussians` has the units.
    @pytest.mark.parametrize("make", [kvae.likelihoods.Gaussian, kvae.likelihoods.Laplace])
    def test_of_a_table_of_all_units(self, make_vae, make):
        x = table()
        likelihood = make("global", standardize=True)
        likelihood.adapt(x)
        found = first(make_vae(event=(4,), likelihood=likelihood), x)
        # Independent columns of these scales, which is what an untrained decoder says of them.
        independent = -scipy.stats.norm(x.mean(0), x.std(0)).logpdf(x).sum(axis=1).mean()
        assert found["loss"] == pytest.approx(independent, abs=5)
        assert first(make_vae(event=(4,), likelihood=make()), x)["loss"] > 1e6


@pytest.mark.parametrize("variance", ["fixed", "global", "per_pixel", "optimal"])
def test_log_prob_is_the_scaled_gaussians(variance):
    """In the units of x: the log-determinant of the scale is part of it."""
    likelihood = kvae.likelihoods.Gaussian(variance, scale=0.5, standardize=True)
    x = table()
    likelihood.adapt(x)
    mean, deviation = x.astype(np.float64).mean(0), x.astype(np.float64).std(0)
    np.testing.assert_allclose(likelihood.data_scale, deviation, rtol=1e-5)
    outputs = RNG.normal(size=(200, 8 if variance == "per_pixel" else 4)).astype("float32")
    params = likelihood(outputs)
    sigma = np.exp(0.5 * outputs[:, 4:]) if variance == "per_pixel" else 0.5
    expected = scipy.stats.norm(mean + deviation * outputs[:, :4], deviation * sigma).logpdf(x)
    np.testing.assert_allclose(likelihood.log_prob(params, x), expected.sum(1), rtol=1e-4)
    np.testing.assert_allclose(
        likelihood.mean(params), mean + deviation * outputs[:, :4], rtol=1e-3
    )
    draws = np.asarray(
        likelihood.sample({k: v[:1].numpy().repeat(4000, 0) for k, v in params.items()}, 1)
    )
    unit = (draws - mean) / deviation
    spread = np.broadcast_to(sigma, (200, 4))[0]
    np.testing.assert_allclose(unit.mean(0), outputs[0, :4], atol=0.1)
    np.testing.assert_allclose(unit.std(0), spread, rtol=0.1)


def test_the_optimal_variance_is_that_of_standardised_errors():
    likelihood, plain = (
        kvae.likelihoods.Gaussian("optimal", standardize=standardize)
        for standardize in (True, False)
    )
    x, outputs = table(), RNG.normal(size=(200, 4)).astype("float32")
    likelihood.adapt(x)
    unit = np.asarray(likelihood.encoder_input(x))
    own = likelihood.log_prob(likelihood(outputs, training=True), x)
    other = plain.log_prob(plain(outputs, training=True), unit)
    determinant = np.log(np.asarray(likelihood.data_scale, np.float64)).sum()
    np.testing.assert_allclose(own, other - determinant, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(likelihood.stored_variance, plain.stored_variance, rtol=1e-4)


def test_a_linear_model_of_any_units_knows_log_p_of_x(linear_gaussian, eagerly):
    """p(x) is a Gaussian in closed form; in other units it is that Gaussian, moved and scaled."""
    scale = 10.0 ** np.arange(-3, 3)
    location = 20.0 * scale * RNG.normal(size=6)
    vae = linear_gaussian.vae()
    own = kvae.VAE(
        vae.encoder, vae.decoder, vae.latent_dim,
        likelihood=kvae.likelihoods.Gaussian(scale=linear_gaussian.s, standardize=True),
    )  # fmt: skip
    for weight, value in (("data_location", location), ("data_scale", scale)):
        getattr(own.likelihood, weight).assign(value)
    unit = linear_gaussian.draw(20, seed=2)
    x = (location + scale * unit).astype("float32")
    unit = (x.astype(np.float64) - location) / scale  # As float32 rounds x.
    expected = linear_gaussian.log_prob(unit) - np.log(scale).sum()
    found = own.log_prob(x, num_samples=20)  # The posterior is exact: no spread of the samples.
    np.testing.assert_allclose(found.value, expected, atol=0.02)
    np.testing.assert_allclose(
        own.reconstruct(x), location + scale * vae.reconstruct(unit), rtol=1e-4, atol=1e-2
    )


LIKELIHOODS = {
    "gaussian": (lambda: kvae.likelihoods.Gaussian("global", standardize=True), table),
    "laplace": (lambda: kvae.likelihoods.Laplace(standardize=True), table),
    "categorical": (
        lambda: kvae.likelihoods.Categorical(256),
        lambda: RNG.integers(256, size=(60, 4)).astype("float32"),
    ),
    "poisson": (lambda: kvae.likelihoods.Poisson(), lambda: counts(1e3, columns=4)[0]),
    "standardised poisson": (
        lambda: kvae.likelihoods.Poisson(16.6, standardize=True),
        lambda: counts(1e7, columns=4)[0],
    ),
    "mixed_tabular": (lambda: mixed_tabular(standardize=True), mixed),
}


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", LIKELIHOODS)
class TestEveryWay:
    def test_the_encoder_sees_unit_scale_and_back(self, case):
        make, data = LIKELIHOODS[case]
        likelihood, x = make(), data()
        if getattr(likelihood, "standardize", False):
            likelihood.adapt(x)
        seen = np.asarray(likelihood.encoder_input(tf.constant(x)))
        assert seen.shape == x.shape and seen.dtype == np.float32
        assert np.abs(seen.mean(axis=0)).max() < 8 and seen.std(axis=0).max() < 1.5
        back = np.asarray(likelihood.from_encoder_input(seen))
        np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-4)

    @pytest.mark.default("standardised poisson")
    def test_all_ways_into_the_encoder_are_one(self, case, make_vae, tmp_path):
        make, data = LIKELIHOODS[case]
        x = data()
        vae = make_vae(event=(4,), likelihood=make(), prior=kvae.priors.Vamp(3, initial=x))
        assert not vae.likelihood.needs_data  # `initial` has been the training data.
        seen = np.asarray(vae.likelihood.encoder_input(x[:7]))
        expected = vae.posterior(vae.encoder(seen))
        mean = np.asarray(expected["z_mean"])

        def same(found):
            np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-5)

        same(vae.encode(x[:7])["z_mean"])
        same(vae.encode_params(tf.constant(x[:7]))["z_mean"])
        encoder = vae.encoder_model()
        same(encoder(x[:7])["z_mean"])
        encoder.save(tmp_path / "encoder.keras")
        same(keras.saving.load_model(tmp_path / "encoder.keras")(x[:7])["z_mean"])
        vae.save(tmp_path / "model.keras")
        again = kvae.load_model(tmp_path / "model.keras")
        same(again.encode(x[:7])["z_mean"])
        np.testing.assert_array_equal(
            again.log_prob(x[:5], num_samples=3).value, vae.log_prob(x[:5], num_samples=3).value
        )
        # A mixture of the posteriors of what are rows of the data at the start.
        rows = np.asarray(vae.prior.pseudo_inputs)
        distance = np.abs(rows[:, None] - x).max(axis=2) / np.abs(x).max()
        assert distance.min(axis=1).max() < 1e-5
        z = np.asarray(vae.sample(2, seed=0, output="sample"))
        assert z.shape == (2, 4) and np.isfinite(z).all()


@pytest.mark.default("standardised poisson")
@pytest.mark.parametrize("case", ["standardised poisson", "mixed_tabular"])
def test_exports_see_the_same(case, make_vae, tmp_path):
    make, data = LIKELIHOODS[case]
    x = data()
    vae = make_vae(event=(4,), likelihood=make())
    vae.likelihood.adapt(x)
    path = export.saved_model(vae, tmp_path / "saved", signatures=["encode"])
    loaded = tf.saved_model.load(str(path)).signatures
    found = loaded["encode"](image=tf.constant(x))["z_mean"]
    np.testing.assert_allclose(found, vae.encode(x)["z_mean"], rtol=1e-4, atol=1e-4)
    file = export.tflite(vae, tmp_path / "m.tflite")
    assert export.verify(file, vae).ok


class TestAdapting:
    def test_fit_does_it_once_and_an_own_call_again(self, make_vae, eagerly):
        x = table()
        vae = make_vae(event=(4,), likelihood=kvae.likelihoods.Gaussian(standardize=True))
        assert vae.likelihood.needs_data
        vae.compile(run_eagerly=True)
        vae.fit(x, batch_size=100, verbose=0)
        np.testing.assert_allclose(vae.likelihood.data_location, x.mean(0), rtol=1e-3, atol=1e-4)
        before = vae.likelihood.data_scale.numpy()
        vae.fit(1.5 * x, batch_size=100, verbose=0)
        np.testing.assert_array_equal(vae.likelihood.data_scale, before)
        vae.likelihood.adapt(1.5 * x)
        np.testing.assert_allclose(vae.likelihood.data_scale, 1.5 * before, rtol=1e-4)
        assert not any("data_" in weight.name for weight in vae.trainable_variables)

    def test_all_kinds_of_data_give_the_same(self):
        x = table(1000)
        batches = tf.data.Dataset.from_tensor_slices(x).batch(64)
        kinds = (x, x.tolist(), kvae.datasets.Dataset(x), batches, batches.map(lambda x: (x, x)))
        for data in kinds:
            likelihood = kvae.likelihoods.Gaussian(standardize=True)
            likelihood.adapt(data)
            exact = x.astype(np.float64)
            np.testing.assert_allclose(
                likelihood.data_location, exact.mean(0), rtol=1e-6, atol=1e-9
            )
            np.testing.assert_allclose(likelihood.data_scale, exact.std(0), rtol=1e-5)

    def test_images_have_statistics_of_each_channel(self, make_vae):
        x = RNG.normal([0.0, 100.0], [1.0, 7.0], (50, 4, 4, 2)).astype("float32")
        likelihood = kvae.likelihoods.Gaussian("per_pixel", standardize=True)
        vae = make_vae(event=(4, 4, 2), likelihood=likelihood)
        vae.likelihood.adapt(x)
        np.testing.assert_allclose(likelihood.data_location, [0.0, 100.0], atol=0.7)
        np.testing.assert_allclose(likelihood.data_scale, [1.0, 7.0], rtol=0.1)

    def test_a_column_without_spread_stays_finite(self, make_vae):
        x = table()
        x[:, 1], x[:, 3] = 7.0, 0.0
        vae = make_vae(event=(4,), likelihood=kvae.likelihoods.Gaussian(standardize=True))
        vae.likelihood.adapt(x)
        np.testing.assert_array_equal(vae.likelihood.data_scale.numpy()[[1, 3]], 1.0)
        assert np.isfinite(first(vae, x)["loss"])

    def test_batches_without_statistics_are_refused(self, make_vae):
        x = table()
        vae = make_vae(event=(4,), likelihood=kvae.likelihoods.Gaussian(standardize=True))
        vae.compile(run_eagerly=True)
        batches = tf.data.Dataset.from_tensor_slices(x).batch(100)
        with pytest.raises(ValueError, match=r"Call model.likelihood.adapt\(data\) before"):
            vae.fit(batches, verbose=0)
        with pytest.raises(ValueError, match=r"Call model.likelihood.adapt\(data\) before"):
            vae.train_on_batch(x)
        vae.likelihood.adapt(batches)
        assert np.isfinite(vae.fit(batches, verbose=0).history["loss"]).all()

    @pytest.mark.parametrize(
        ("likelihood", "data", "message"),
        [
            (kvae.likelihoods.Bernoulli, np.ones((2, 3)), "Bernoulli takes no statistics"),
            (kvae.likelihoods.Gaussian, np.ones((2, 3)), "Gaussian takes no statistics"),
            (
                lambda: kvae.likelihoods.Gaussian(standardize=True),
                np.array([[1.0, np.nan]]),
                "NaN or infinite",
            ),
            (lambda: kvae.likelihoods.Gaussian(standardize=True), np.ones((0, 3)), "no data"),
            (
                lambda: kvae.likelihoods.Gaussian(standardize=2),
                None,
                "`standardize` is True or False",
            ),
            (lambda: kvae.likelihoods.Poisson(scale_input="no"), None, "`scale_input` is True or"),
            (
                lambda: kvae.likelihoods.Poisson(standardize=True, scale_input=False),
                None,
                "leave `scale_input`",
            ),
        ],
    )
    def test_what_cannot_be_is_refused(self, likelihood, data, message):
        with pytest.raises(ValueError, match=message):
            likelihood().adapt(data)


class TestWarning:
    def warned(self, make_vae, likelihood, x, fit=False):
        vae = make_vae(event=x.shape[1:], likelihood=likelihood)
        vae.compile("sgd", run_eagerly=True)
        vae.optimizer.learning_rate = 0.0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if fit:
                vae.fit(x, batch_size=len(x), verbose=0)
            else:  # What `fit` calls.
                learn_scale(vae.likelihood, x)
        return [str(w.message) for w in caught if "unit scale" in str(w.message)]

    def test_has_the_numbers(self, make_vae):
        x = table()
        (text,) = self.warned(make_vae, kvae.likelihoods.Gaussian(), x, fit=True)
        assert f"column 3 with mean {x[:, 3].astype(float).mean():.4g}" in text
        assert "2 are" in text and "standardize=True" in text
        loss = float(re.search(r"expected at about ([\d.e+]+) nats", text)[1])
        exact = 0.5 * (x.astype(float) ** 2).sum(1).mean() + 2 * np.log(2 * np.pi)
        assert loss == pytest.approx(exact, rel=0.01)

    @pytest.mark.parametrize(
        ("likelihood", "scale", "column"),
        [
            (lambda: kvae.likelihoods.Laplace(), 1e3, 0),
            (lambda: kvae.likelihoods.Gaussian("global"), 1e-3, 0),
            (lambda: mixed_tabular(), None, 0),
        ],
    )
    def test_comes_for_other_likelihoods(self, make_vae, likelihood, scale, column):
        x = mixed() if scale is None else RNG.normal(0, scale, (50, 4)).astype("float32")
        (text,) = self.warned(make_vae, likelihood(), x)
        assert "standardize=True" in text and (scale is not None or "column 0" in text)

    def test_comes_for_counts_beyond_the_largest_rate(self, make_vae):
        x, _ = counts(1e6)
        (text,) = self.warned(make_vae, kvae.likelihoods.Poisson(), x)
        assert "Rates end at exp(log_rate_bound) = 22,026" in text

    @pytest.mark.parametrize(
        ("likelihood", "data"),
        [
            (lambda: kvae.likelihoods.Gaussian(), lambda: RNG.normal(2, 3, (50, 4))),
            (lambda: kvae.likelihoods.Gaussian(), lambda: RNG.random((50, 4))),
            (lambda: kvae.likelihoods.Gaussian(standardize=True), table),
            (lambda: mixed_tabular(standardize=True), mixed),
            (lambda: kvae.likelihoods.Poisson(), lambda: RNG.poisson(20, (50, 4))),
            (lambda: kvae.likelihoods.Categorical(), lambda: RNG.integers(256, size=(50, 4))),
        ],
    )
    def test_stays_away_where_nothing_is_wrong(self, make_vae, likelihood, data):
        if likelihood().__class__ is kvae.likelihoods.MixedTabular:
            x = data()
            x[:, 2] = RNG.poisson(2e4, len(x))  # Within the rates.
        else:
            x = np.asarray(data(), "float32")
        assert not self.warned(make_vae, likelihood(), x)


def test_files_from_before_hold_encoders_of_x_as_it_is():
    columns = [("gaussian",), ("categorical", 5), ("poisson",), ("bernoulli",)]
    for kind, arguments in (
        (kvae.likelihoods.Categorical, {"num_classes": 4}),
        (kvae.likelihoods.Poisson, {}),
        (kvae.likelihoods.MixedTabular, {"columns": columns}),
    ):
        likelihood = kind(**arguments)
        config = likelihood.get_config()
        assert config.pop("scale_input") is True
        config.pop("standardize", None)
        old = type(likelihood).from_config(config)
        x = tf.constant([[3.0, 1.0, 2.0, 1.0]])
        assert old.encoder_input(x) is x
        assert likelihood.encoder_input(x) is not x


def test_a_likelihood_of_ones_own_says_how_x_enters(make_vae):
    class Doubled(kvae.likelihoods.Bernoulli):
        def encoder_input(self, x):
            return 2.0 * x

        def from_encoder_input(self, values):
            return 0.5 * values

    x = RNG.random((3, 8, 8, 1), np.float32)
    plain, vae = make_vae(), make_vae(likelihood=Doubled())
    expected = plain.encode(2.0 * x)["z_mean"]
    np.testing.assert_array_equal(vae.encode(x)["z_mean"], expected)
    np.testing.assert_allclose(vae.encoder_model()(x)["z_mean"], expected, rtol=1e-6)


def test_pseudo_inputs_train_on_the_encoders_scale(make_vae):
    """A step of 1e-3 would not move counts of ten thousands, nor a column of scale 1e6."""
    x = table()
    likelihood = kvae.likelihoods.Gaussian(standardize=True)
    vae = make_vae(event=(4,), likelihood=likelihood, prior=kvae.priors.Vamp(5, initial=x))
    unit = np.asarray(vae.prior.raw_pseudo_inputs)
    assert np.abs(unit).max() < 5
    before = np.asarray(vae.prior.pseudo_inputs)
    vae.prior.raw_pseudo_inputs.assign(unit + 0.1)
    moved = (np.asarray(vae.prior.pseudo_inputs) - before) / likelihood.data_scale.numpy()
    np.testing.assert_allclose(moved, 0.1, atol=0.01)
    # Without rows of data they are noise of that scale, whatever the statistics become.
    vae = make_vae(
        event=(4,),
        likelihood=kvae.likelihoods.Gaussian(standardize=True),
        prior=kvae.priors.Vamp(50),
    )
    vae.likelihood.adapt(x)
    unit = np.asarray(vae.likelihood.encoder_input(vae.prior.pseudo_inputs))
    assert 0.8 < unit.std() < 1.2


def test_large_counts_keep_their_digits():
    likelihood = kvae.likelihoods.Poisson(16.6)
    x = np.round(np.exp(np.linspace(np.log(16), np.log(1.5e7), 40)))
    for d in (-2.0, -1e-3, 0.0, 1e-4, 0.5):
        log_rate = np.minimum(np.log(x) + d, 16.6).astype("float32")
        found = likelihood.element_log_prob({"log_rate": log_rate}, x.astype("float32"))
        exact = scipy.stats.poisson.logpmf(x, np.exp(log_rate.astype(np.float64)))
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=0.01)


def test_draws_at_large_rates_are_the_inverse_of_the_distribution_function():
    likelihood = kvae.likelihoods.Poisson(16.6)
    for rate in (9.9e4, 1.1e5, 1e7):
        params = {"log_rate": np.full(2000, np.log(rate), "float32")}
        draws = np.asarray(likelihood.sample(params, 5))
        noise = np.asarray(kvae.random.open_uniform((2000,), 5), np.float64)
        exact = scipy.stats.poisson.ppf(noise, np.asarray(likelihood.mean(params), np.float64))
        assert np.abs(draws - exact).max() <= 1 and np.mean(draws != exact) < 0.01


@pytest.mark.slow  # Its density without a training is tested above.
def test_a_table_of_all_units_trains_to_its_density(make_vae):
    """Nats in the units of x: the best Gaussian of it, whatever the units are."""
    x = table(400)
    keras.utils.set_random_seed(0)
    vae = make_vae(
        event=(4,), likelihood=kvae.likelihoods.Gaussian("global", scale=0.6, standardize=True)
    )
    vae.compile(keras.optimizers.Adam(0.01))
    vae.fit(x, epochs=40, batch_size=50, verbose=0)
    unit = scipy.stats.multivariate_normal(np.zeros(4), 0.64 + 0.36 * np.eye(4))
    entropy = unit.entropy() + np.log(SCALE).sum()
    found = vae.log_prob(table(200, seed=9), num_samples=20).value
    assert -found.mean() == pytest.approx(entropy, abs=0.6)
