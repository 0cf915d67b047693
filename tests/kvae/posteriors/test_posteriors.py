"""kvae.posteriors: densities against TensorFlow Probability and SciPy, draws, errors."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import parts, posteriors
from kvae.posteriors import Delta, DiagonalGaussian


def gaussian(n=5, d=3, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, n, d)).astype("float32")
    return {"z_mean": tf.constant(values[0]), "z_log_var": tf.constant(values[1])}


@pytest.mark.parametrize("num_samples", [None, 4])
def test_log_prob_is_that_of_tfp_and_scipy(num_samples):
    posterior, params = DiagonalGaussian(3), gaussian()
    z = posterior.sample(params, num_samples, seed=1)
    log_q = posterior.log_prob(params, z)
    scale = np.exp(0.5 * params["z_log_var"])
    by_tfp = tfp.distributions.MultivariateNormalDiag(params["z_mean"], scale).log_prob(z)
    by_scipy = scipy.stats.norm(params["z_mean"], scale).logpdf(z).sum(axis=-1)
    assert log_q.shape == ((5,) if num_samples is None else (num_samples, 5))
    np.testing.assert_allclose(log_q, by_tfp, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_q, by_scipy, rtol=1e-5, atol=1e-5)


def test_draws_have_the_posterior_s_moments():
    posterior, params, n = DiagonalGaussian(3), gaussian(), 20_000
    z = posterior.sample(params, n, seed=2).numpy()
    sigma = np.exp(0.5 * params["z_log_var"].numpy())
    np.testing.assert_array_equal(posterior.mean(params), params["z_mean"])
    assert (np.abs(z.mean(axis=0) - params["z_mean"]) < 5 * sigma / np.sqrt(n)).all()
    assert (np.abs(z.var(axis=0) - sigma**2) < 5 * sigma**2 * np.sqrt(2 / n)).all()


@pytest.mark.parametrize("num_samples", [None, 4])
def test_sample_and_log_prob_belong_together(num_samples):
    posterior, params = DiagonalGaussian(3), gaussian()
    z, log_q = posterior.sample_and_log_prob(params, num_samples, seed=1)
    np.testing.assert_array_equal(z, posterior.sample(params, num_samples, seed=1))
    np.testing.assert_array_equal(log_q, posterior.log_prob(params, z))
    assert not np.array_equal(z, posterior.sample(params, num_samples, seed=2))


def test_transform_is_the_reparameterisation():
    posterior, params = DiagonalGaussian(3), gaussian()
    noise = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    exact = params["z_mean"] + np.exp(0.5 * params["z_log_var"]) * noise
    np.testing.assert_allclose(posterior.transform(params, {"noise": noise}), exact, rtol=1e-6)
    np.testing.assert_allclose(
        posterior.transform(params, {"noise": np.zeros_like(noise)}), params["z_mean"], rtol=1e-6
    )


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_the_bound_keeps_extreme_log_variances_finite(extreme):
    posterior = DiagonalGaussian(2, log_var_bound=12.0)
    raw = {"z_mean": tf.zeros((1, 2)), "z_log_var": tf.fill((1, 2), extreme)}
    params = posterior(raw)
    np.testing.assert_allclose(params["z_log_var"], np.full((1, 2), 12.0 * np.sign(extreme)))
    z, log_q = posterior.sample_and_log_prob(params, 10, seed=1)
    assert np.isfinite(z).all() and np.isfinite(log_q).all()


@pytest.mark.parametrize("shape", [(7,), (4, 4, 3)])
@pytest.mark.parametrize(
    "posterior, names",
    [(DiagonalGaussian(2), {"z_mean", "z_log_var"}), (Delta(2), {"z_mean"})],
    ids=["gaussian", "delta"],
)
def test_features_of_any_shape_go_through_one_dense_head_for_each_parameter(
    posterior, names, shape
):
    posterior = posterior.from_config(posterior.get_config())
    features = np.random.default_rng(0).normal(size=(5, *shape)).astype("float32")
    params = posterior(features)
    assert set(params) == names
    kernels = {variable.path.split("/")[-2]: variable for variable in posterior.weights[::2]}
    for name in names:
        exact = features.reshape(5, -1) @ kernels[name].numpy()
        np.testing.assert_allclose(params[name], exact, rtol=1e-4, atol=1e-5)


def test_parameters_pass_by_name_and_by_order():
    raw = {name: value.numpy() for name, value in gaussian().items()}
    for features in ({**raw, "other": np.zeros((5, 1))}, [raw["z_mean"], raw["z_log_var"]]):
        posterior = DiagonalGaussian(3)
        params = posterior(features)
        assert set(params) == {"z_mean", "z_log_var"} and not posterior.weights
        np.testing.assert_array_equal(params["z_mean"], raw["z_mean"])
        np.testing.assert_array_equal(params["z_log_var"], raw["z_log_var"])


@pytest.mark.parametrize(
    "features, message",
    [
        ({"z_mean": np.zeros((5, 3))}, "needs 'z_log_var'"),
        ({"z_mean": np.zeros((5, 3)), "z_log_var": np.zeros((5, 2))}, r"\(5, 2\).*\(None, 3\)"),
        ([np.zeros((5, 3))] * 3, r"3 tensors.*\['z_mean', 'z_log_var'\]"),
    ],
)
def test_refuses_parameters_that_do_not_fit(features, message):
    with pytest.raises(ValueError, match=message):
        DiagonalGaussian(3)(features)


def test_needs_its_size_before_it_is_built():
    with pytest.raises(ValueError, match="latent_dim"):
        DiagonalGaussian()(np.zeros((5, 3)))


@pytest.mark.parametrize(
    "part, attributes",
    [
        (DiagonalGaussian(3, log_var_bound=7.0), {"latent_dim": 3, "log_var_bound": 7.0}),
        (
            Delta(4, activation="relu", l1=0.5, l2=0.25),
            {"latent_dim": 4, "activation": keras.activations.relu, "l1": 0.5, "l2": 0.25},
        ),
    ],
)
def test_config_round_trip(part, attributes):
    for copy in (
        type(part).from_config(part.get_config()),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part)),
        posteriors.get(keras.saving.serialize_keras_object(part)),
    ):
        assert type(copy) is type(part)
        assert {name: getattr(copy, name) for name in attributes} == attributes


# Delta.


def test_delta_is_a_point():
    posterior = Delta(3)
    params = posterior({"z_mean": gaussian()["z_mean"]})
    np.testing.assert_array_equal(posterior.mean(params), params["z_mean"])
    np.testing.assert_array_equal(posterior.sample(params, seed=1), params["z_mean"])
    copies = posterior.sample(params, 4, seed=1)
    np.testing.assert_array_equal(copies, np.stack([params["z_mean"]] * 4))
    with pytest.raises(ValueError, match="no density"):
        posterior.log_prob(params, params["z_mean"])
    assert not posterior.has_density


def test_delta_penalty():
    params = {"z_mean": tf.constant([[1.0, -2.0, 3.0], [0.0, 0.5, 0.0]])}
    assert Delta(3).penalty(params) is None
    np.testing.assert_allclose(Delta(3, l1=0.1).penalty(params), [0.6, 0.05], rtol=1e-6)
    np.testing.assert_allclose(Delta(3, l2=0.5).penalty(params), [7.0, 0.125], rtol=1e-6)
    np.testing.assert_allclose(Delta(3, l1=0.1, l2=0.5).penalty(params), [7.6, 0.175], rtol=1e-6)


def test_delta_activation():
    params = Delta(3, activation="relu")({"z_mean": tf.constant([[1.0, -2.0, 0.0]])})
    np.testing.assert_array_equal(params["z_mean"], [[1.0, 0.0, 0.0]])


@pytest.mark.parametrize("penalty", [{"l1": -1.0}, {"l2": -0.5}])
def test_delta_refuses_negative_penalties(penalty):
    with pytest.raises(ValueError, match="at least 0"):
        Delta(2, **penalty)


# Names.


def test_get():
    assert isinstance(posteriors.get("diagonal_gaussian"), DiagonalGaussian)
    assert isinstance(posteriors.get("delta"), Delta)
    part = Delta(2)
    assert posteriors.get(part) is part


def test_get_refuses_unknown_names_and_other_objects():
    with pytest.raises(ValueError, match="Unknown posterior 'diagonal_gausian'.*'diagonal_gauss"):
        posteriors.get("diagonal_gausian")
    with pytest.raises(TypeError, match="`posterior` is a Posterior.*'delta'"):
        posteriors.get(keras.layers.Dense(2))


def test_parts_compute_in_float32_under_mixed_precision(policy):
    policy("mixed_float16")
    posterior = DiagonalGaussian(3)
    assert isinstance(posterior, parts.Part)
    params = posterior(np.ones((2, 4), "float16"))
    assert {value.dtype for value in params.values()} == {tf.float32}
    assert {variable.dtype for variable in posterior.weights} == {"float32"}
