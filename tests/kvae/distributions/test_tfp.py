"""Distributions of TensorFlow Probability as parts, and parts as such distributions."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

import kvae
import kvae.testing
from kvae import divergences, likelihoods, posteriors, priors
from kvae.distributions import tfp_config, tfp_draws

tfd, tfb = tfp.distributions, tfp.bijectors
KVAE = pathlib.Path(kvae.__file__).parent


@posteriors.register(package="tests")
def gaussian(z_mean, z_log_var):
    return tfd.Normal(z_mean, ops.exp(0.5 * z_log_var))


@posteriors.register(package="tests")
def laplace(loc, log_scale):
    return tfd.Laplace(loc, ops.exp(ops.clip(log_scale, -10.0, 10.0)))


@posteriors.register(package="tests", parameters={"lower": lambda d: d * (d + 1) // 2})
def triangular(loc, lower):
    factor = tfb.FillScaleTriL().forward(lower)
    return tfd.MultivariateNormalTriL(loc, factor)


@posteriors.register(package="tests")
def student(loc, log_scale):
    return tfd.StudentT(4.0, loc, ops.exp(ops.clip(log_scale, -10.0, 10.0)))


@posteriors.register(package="tests")
def two_normals(loc, logits):
    weights = tfd.Categorical(logits=ops.stack([logits, -logits], axis=-1))
    means = ops.stack([loc, loc + 1.0], axis=-1)
    return tfd.MixtureSameFamily(weights, tfd.Normal(means, 1.0), reparameterize=True)


@priors.register(package="tests")
def shifted(loc=1.0, log_scale=0.0):
    return tfd.MultivariateNormalDiag(loc, ops.exp(log_scale))


@likelihoods.register(package="tests")
def pixels(logits):
    return tfd.Bernoulli(logits=logits)


@likelihoods.register(package="tests", parameters={"logits": 4})
def grades(logits):
    return tfd.Categorical(logits=logits)


@likelihoods.register(package="tests", support=(0.0, float("inf")), whole_numbers=True)
def zeros_or_counts(logits, log_rate):
    parts = [tfd.Deterministic(ops.zeros_like(log_rate)), tfd.Poisson(log_rate=log_rate)]
    chosen = ops.stack([logits, ops.zeros_like(logits)], axis=-1)
    return tfd.Mixture(tfd.Categorical(logits=chosen), parts)


def trainable_normal(loc=(0.0, 0.0), scale=(1.0, 1.0)):
    return tfd.MultivariateNormalDiag(
        tf.Variable(loc, name="centre"), tfp.util.TransformedVariable(scale, tfb.Softplus())
    )


def mixture():
    means = tf.Variable([[-1.0, 0.0], [1.0, 1.0], [0.0, -2.0]])
    weights = tfd.Categorical(logits=tf.Variable([0.0, 1.0, 0.5]))
    return tfd.MixtureSameFamily(weights, tfd.MultivariateNormalDiag(means, [0.5, 1.0]))


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).integers(0, 2, (32, 4)).astype("float32")


@pytest.fixture(scope="module")
def make(make_encoder, make_decoder):
    """Models of rows of four numbers, with the same initial weights at every call."""

    def make(**parts):
        keras.utils.set_random_seed(3)
        encoder, decoder = make_encoder((4,)), make_decoder((4,))
        vae = kvae.VAE(encoder, decoder, latent_dim=2, **parts)
        vae.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        return vae

    return make


@pytest.fixture(scope="module")
def pair(make):
    """A model of kvae's own parts, and the same one of distributions."""
    own = make()
    vae = make(posterior=gaussian, prior=trainable_normal(), likelihood=pixels)
    for mine, its in zip(own.posterior.weights, vae.posterior.weights, strict=True):
        its.assign(mine)
    return own, vae


# Numbers.


def test_numbers_are_those_of_our_own_gaussian_and_bernoulli(pair, rows, eagerly):
    own, vae = pair

    def read(model):
        params = model.encode(rows)
        yield from params.values()
        yield from model.evaluate(rows, verbose=0, return_dict=True).values()
        yield model.log_prob(rows, num_samples=5, seed=1).value
        yield model.sample(3, seed=1)
        yield model.sample(3, seed=1, temperature=0.5)
        yield model.reconstruct(rows, seed=2)
        yield divergences.kl_per_dimension(model.posterior, model.prior)(params)

    for mine, its in zip(read(own), read(vae), strict=True):
        np.testing.assert_allclose(its, mine, rtol=1e-5, atol=1e-5)


def test_variables_train_and_come_back_in_safe_mode(make, rows, tmp_path, eagerly):
    given = trainable_normal(loc=(0.5, -0.5))
    vae = make(posterior=laplace, prior=given, likelihood=pixels)
    assert [w.name for w in vae.prior.trainable_weights] == ["centre_0", "Variable_1"]
    vae.fit(rows, batch_size=16, epochs=1, verbose=0)
    np.testing.assert_array_equal(given.loc, [0.5, -0.5])  # The given one is as it was.
    learned = vae.prior.distribution()
    assert np.abs(learned.loc - given.loc).min() > 1e-4
    assert np.abs(learned.stddev() - 1.0).min() > 1e-5
    vae.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again.prior.distribution().loc, learned.loc)
    for read in (
        lambda model: model.sample(3, seed=1, output="sample"),
        lambda model: model.log_prob(rows, num_samples=3).value,
        lambda model: model.encode(rows)["log_scale"],
    ):
        np.testing.assert_array_equal(read(again), read(vae))


@pytest.mark.parametrize(
    "make_given",
    [
        trainable_normal,
        mixture,
        lambda: tfd.Sample(tfd.Logistic(tf.Variable(1.0), 2.0), 2),
        lambda: tfd.TransformedDistribution(
            tfd.Sample(tfd.Normal(0.0, 1.0), [2]),
            tfb.Chain([tfb.Shift(tf.Variable([1.0, 2.0])), tfb.SinhArcsinh(0.3, 0.8)]),
        ),
        lambda: tfd.MultivariateNormalLinearOperator(
            tf.zeros(2), tf.linalg.LinearOperatorLowerTriangular([[1.0, 0.0], [0.5, 2.0]])
        ),
    ],
)
def test_a_distribution_comes_back_from_its_configuration(make_given):
    given = make_given()
    written = json.loads(json.dumps(tfp_config.config_of(given)))
    values = [tf.constant(tfp_config.array_of(one)) for one in written["variables"]]
    assert len(values) == len(given.trainable_variables)
    again = tfp_config.rebuilt(written["distribution"], values)
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_allclose(again.log_prob(z), given.log_prob(z), rtol=1e-6)
    np.testing.assert_allclose(priors.get(given).log_prob(z), given.log_prob(z), rtol=1e-6)


def test_a_configuration_names_distributions_alone():
    for name in ("os.system", "tfd.np", "tfd.kl_divergence", "tfd.__class__", "linalg.svd", "tfd."):
        with pytest.raises(ValueError, match="no distribution or bijector"):
            tfp_config.tfp_class(name)


def test_weights_of_a_prior_start_at_the_defaults_of_its_function():
    prior = priors.Distribution(shifted, latent_dim=3)
    prior.build()
    np.testing.assert_array_equal(prior.distribution().mean(), [1.0, 1.0, 1.0])
    assert [w.shape for w in prior.weights] == [(3,), (3,)]


# Contracts. Of distributions whose quantile function is slow, the slow tests have one.
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "make_given",
    [
        lambda: tfd.Sample(tfd.Laplace(tf.Variable(0.5), 1.0), [2]),
        pytest.param(trainable_normal, marks=SLOW),
        pytest.param(mixture, marks=SLOW),
        pytest.param(lambda: shifted, marks=SLOW),
        pytest.param(lambda: tfd.MultivariateNormalTriL, marks=SLOW),
    ],
)
def test_prior_keeps_its_promises(make_given):
    kvae.testing.check_prior(priors.Distribution(make_given()), xla=False)


@pytest.mark.parametrize(
    "source",
    [
        laplace,
        pytest.param(triangular, marks=SLOW),
        pytest.param(student, marks=SLOW),
        pytest.param(tfd.MultivariateNormalTriL, marks=SLOW),
        pytest.param(tfd.MultivariateNormalDiag, marks=SLOW),
    ],
)
def test_posterior_keeps_its_promises(source):
    kvae.testing.check_posterior(posteriors.Distribution(source), xla=False)


@pytest.mark.parametrize(
    "source",
    [
        tfd.Laplace,
        pytest.param(pixels, marks=SLOW),
        pytest.param(grades, marks=SLOW),
    ],
)
def test_likelihood_keeps_its_promises(source):
    kvae.testing.check_likelihood(likelihoods.Distribution(source), xla=False)


@pytest.mark.parametrize(
    "source, low, high, whole",
    [
        (tfd.Laplace, -np.inf, np.inf, False),
        (tfd.Poisson, 0.0, np.inf, True),
        (tfd.Beta, 2.0**-126, 1.0 - 2.0**-24, False),
        (grades, 0.0, 3.0, True),
        (zeros_or_counts, 0.0, np.inf, True),
    ],
)
def test_support_is_that_of_the_distribution(source, low, high, whole):
    likelihood = likelihoods.Distribution(source)
    assert likelihood.support()[:2] == (low, high) and likelihood.whole_numbers == whole


def test_discrete_values_are_known_whatever_their_type():
    """TFP gives counts as float32, too."""
    register = likelihoods.register
    unknown = register(package="tests")(_of_ten("of_ten"))
    with pytest.raises(ValueError, match="Which numbers a Binomial has is not known here"):
        likelihoods.Distribution(unknown)
    ends = {"package": "tests", "support": (0.0, 10.0)}
    known = register(**ends, whole_numbers=True)(_of_ten("counts_of_ten"))
    assert likelihoods.Distribution(known).discrete
    rounded = likelihoods.Distribution(register(**ends)(_of_ten("levels_of_ten")))
    assert rounded.discrete and not rounded.whole_numbers
    mixture = likelihoods.Distribution(zeros_or_counts)
    assert mixture.discrete and not likelihoods.Distribution(tfd.Laplace).discrete


def _of_ten(name):
    def function(logits):
        return tfd.Binomial(10.0, logits=logits)

    function.__name__ = name
    return function


def test_parameters_of_a_likelihood_stand_one_after_the_other():
    likelihood = likelihoods.Distribution(zeros_or_counts)
    outputs = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    params = likelihood(outputs)
    np.testing.assert_array_equal(params["log_rate"], outputs[:, 3:])
    x = np.float32([[0.0, 1.0, 2.0]] * 5)
    share = 1 / (1 + np.exp(-outputs[:, :3]))
    poisson = tfd.Poisson(log_rate=outputs[:, 3:]).prob(x)
    by_hand = np.log(share * (x == 0) + (1 - share) * poisson).sum(axis=1)
    np.testing.assert_allclose(likelihood.log_prob(params, x), by_hand, rtol=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        tfd.Gamma([2.0, 0.5], 1.0),
        pytest.param(
            tfd.TransformedDistribution(tfd.Beta([2.0, 3.0], 1.0), tfb.Scale(2.0)), marks=SLOW
        ),
        tfd.MixtureSameFamily(
            tfd.Categorical(logits=[[0.0, 1.0], [2.0, 0.0]]),
            tfd.Laplace([[0.0, 2.0], [1.0, -3.0]], 0.5),
        ),
        mixture(),
        tfd.Sample(tfd.Gumbel([0.0, 1.0, 2.0], 1.0), [2]),
    ],
)
def test_draws_from_base_noise_have_the_moments_of_the_distribution(given):
    if given.event_shape.rank == 0:
        given = tfd.Independent(given, 1)
    lead = given.batch_shape.as_list()
    rng = np.random.default_rng(0)
    noise = {
        name: rng.normal(size=(20000, *lead, one.size))
        if one.distribution == "normal"
        else rng.random((20000, *lead, one.size))
        for name, one in tfp_draws.noise_of(given).items()
    }
    noise = {name: tf.constant(value, tf.float32) for name, value in noise.items()}
    z = tfp_draws.transformed(given, noise)
    error = z.numpy().std(axis=0) / np.sqrt(20000)
    assert (np.abs(z.numpy().mean(axis=0) - given.mean()) < 5 * error).all()
    np.testing.assert_allclose(z.numpy().std(axis=0), given.stddev(), rtol=0.05)


# KL divergences.


def test_kl_is_tfps_where_it_knows_one_and_estimated_otherwise(make, rows):
    vae = make(posterior=laplace, prior=tfd.Sample(tfd.Laplace(0.5, 2.0), 2))
    params = vae.encode(rows)
    closed_form = divergences.closed_form_kl(vae.posterior, vae.prior)(params)
    b = np.exp(params["log_scale"])
    away = np.abs(params["loc"] - 0.5)
    by_hand = np.log(2.0 / b) - 1 + (b * np.exp(-away / b) + away) / 2
    np.testing.assert_allclose(closed_form, by_hand.sum(axis=1), rtol=1e-5)
    by_tfp = tfd.kl_divergence(
        vae.posterior_distribution(rows), tfd.Independent(tfd.Laplace([0.5, 0.5], 2.0), 1)
    )
    np.testing.assert_allclose(closed_form, by_tfp, rtol=1e-5)
    z, log_q = vae.posterior.sample_and_log_prob(params, 2000, seed=1)
    estimate = tf.reduce_mean(log_q - vae.prior.log_prob(z), axis=0)
    np.testing.assert_allclose(closed_form, estimate, atol=0.1)
    for posterior, prior in (
        (vae.posterior, priors.Distribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2))),
        (posteriors.get("laplace"), priors.Distribution(mixture())),
        (posteriors.get("iaf"), vae.prior),
    ):
        posterior.latent_dim = 2
        assert divergences.closed_form_kl(posterior, prior) is None
    assert np.isfinite(list(vae.evaluate(rows, verbose=0, return_dict=True).values())).all()


def test_kl_of_dependent_gaussians_is_that_of_tfp():
    posterior, prior = posteriors.FullCovariance(2), priors.Distribution(trainable_normal())
    values = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    params = posterior.constrain(
        {"z_mean": values[:, :2], "z_log_var": values[:, 2:4], "z_lower": values[:, 4:]}
    )
    own = divergences.closed_form_kl(posterior, priors.StandardNormal(2))(params)
    its = divergences.closed_form_kl(posterior, prior)
    np.testing.assert_allclose(its(params), own, rtol=1e-5)
    assert divergences.kl_per_dimension(posterior, prior) is None


def test_kl_to_the_prior_of_each_label_is_that_of_gaussians():
    rng = np.random.default_rng(0)
    prior = priors.ClassConditional(num_classes=3, latent_dim=2)
    prior.build()
    prior.means.assign(rng.normal(size=(3, 2)))
    values = rng.normal(size=(2, 5, 2)).astype("float32")
    params = dict(zip(("z_mean", "z_log_var"), values, strict=True))
    labels = np.int32([0, 1, 2, 1, 0])

    def kl(posterior, labels):
        return divergences.closed_form_kl(posterior, prior.conditioned_on(labels))(params)

    truth = kl(posteriors.DiagonalGaussian(2), labels)
    posterior = posteriors.Distribution(gaussian, latent_dim=2)
    np.testing.assert_allclose(kl(posterior, labels), truth, rtol=1e-5)
    in_a_graph = tf.function(lambda labels: kl(posterior, labels))
    np.testing.assert_allclose(in_a_graph(labels), truth, rtol=1e-5)


def test_bits_are_free_in_each_dimension_where_the_kl_is_a_sum(make):
    free = {"posterior": gaussian, "objective": kvae.objectives.ELBO(free_bits=0.1)}
    assert make(prior=trainable_normal(), **free).built
    with pytest.raises(ValueError, match="GaussianMixture is no sum over latent dimensions"):
        make(prior="gaussian_mixture", **free)


def test_a_model_gives_its_distributions_back(pair, rows):
    for vae in pair:
        params = vae.encode(rows[:3])
        kl = tfd.kl_divergence(vae.posterior_distribution(rows[:3]), vae.prior_distribution())
        by_kvae = divergences.closed_form_kl(vae.posterior, vae.prior)(params)
        np.testing.assert_allclose(kl, by_kvae, rtol=1e-5)
        z = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(z)
            log_p = vae.likelihood_distribution(z).log_prob(rows[:3])
        assert log_p.shape == (2, 3) and np.abs(tape.gradient(log_p, z)).min() > 0
        by_kvae = vae.likelihood.log_prob(vae.decode_params(z), rows[:3])
        np.testing.assert_allclose(log_p, by_kvae, rtol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(4, 3\), the model takes \(n, 2\)"):
        vae.likelihood_distribution(np.zeros((4, 3)))
    with pytest.raises(NotImplementedError, match="no distribution that is the one of a Flow"):
        posteriors.get("iaf").distribution({})


# Bad input.


@pytest.mark.parametrize(
    "module, given, told",
    [
        (priors, tfd.Normal(np.zeros(2), 1.0), "a distribution of float64.*float32"),
        (priors, tfd.Normal([[0.0, 0.0]], 1.0), r"batch shape \(1, 2\)"),
        (priors, tfd.Dirichlet([1.0, 1.0]), "Dirichlet cannot make z of base noise"),
        (priors, tfd.Uniform, "register a function"),
        (priors, lambda loc: tfd.Normal(loc, 1.0), "not registered"),
        (posteriors, tfd.Normal([0.0, 0.0], 1.0), "does not depend on x. Give its class"),
        (posteriors, tfd.Bernoulli, "have no gradient"),
        (posteriors, two_normals, "have no gradient in all parameters"),
        (posteriors, tfd.MixtureSameFamily, "register a function"),
        (likelihoods, tfd.Normal(0.0, 1.0), "does not depend on z. Give its class"),
        (likelihoods, tfd.Categorical, "register a function"),
        (likelihoods, tfd.Binomial, "cannot be found|Which numbers a Binomial has"),
    ],
)
def test_what_is_no_part_is_told_so(module, given, told):
    with pytest.raises((ValueError, TypeError), match=told):
        part = module.get(given)
        part.latent_dim = 2
        part.build() if module is priors else part.build((None, 3))


def test_pairs_whose_kl_is_infinite_are_refused(make):
    with pytest.raises(ValueError, match="Distribution at 0 and above: their KL divergence is inf"):
        make(prior=tfd.Gamma([2.0, 2.0], 1.0))
    positive = posteriors.register(package="tests")(_positive)
    assert make(posterior=positive, prior=tfd.Gamma([2.0, 2.0], 1.0)).built
    assert make(posterior=positive).built  # A part of the reals.


def _positive(loc, log_scale):
    return tfd.LogNormal(loc, ops.exp(log_scale))


def test_functions_that_cannot_be_families_are_refused():
    with pytest.raises(ValueError, match="parameter of one 'scale'. Known: loc"):
        posteriors.register(package="tests", parameters={"scale": 1})(_named("one"))
    with pytest.raises(TypeError, match=r"without \* and \*\*"):
        posteriors.register(package="tests")(lambda *parameters: None)
    with pytest.raises(TypeError, match="settings of functions"):
        priors.register(package="tests", parameters={})(priors.StandardNormal)
    anew = priors.register(package="tests")(lambda: tfd.Normal(tf.Variable([0.0, 0.0]), 1.0))
    with pytest.raises(ValueError, match="anew whenever it is called"):
        priors.Distribution(anew, latent_dim=2).build()


def _named(name):
    def function(loc):
        return tfd.Normal(loc, 1.0)

    function.__name__ = name
    return function


def test_tfp_is_imported_where_it_is_used():
    """`import kvae`, `kvae.VAE` and their like take no time for it."""
    for path in KVAE.rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(("import tensorflow_prob", "from tensorflow_prob")), path


@pytest.mark.slow  # Converters take seconds; that draws work in graphs is tested above.
def test_exports_draw_as_the_model_does(pair, tmp_path):
    import export

    _, vae = pair
    path = export.saved_model(vae, tmp_path / "saved", signatures=["encode", "generate", "score"])
    report = export.verify(path, vae, batch_sizes=(3,))
    assert report, report
    report = export.verify(export.tflite(vae, tmp_path / "model.tflite"), vae, batch_sizes=(1,))
    assert report, report
    student = vae.with_prior(tfd.Independent(tfd.StudentT(3.0, [0.0, 0.0], 1.0), 1))
    with pytest.raises(ValueError, match="does not convert to TFLite's built-in operators"):
        export.tflite(student, tmp_path / "student.tflite")
