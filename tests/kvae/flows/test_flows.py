"""kvae.flows: log-determinants against the autodiff Jacobian, inverses, densities that sum to 1."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import flows
from kvae.posteriors import Flow

CASES = [(name, d) for name in flows.REGISTER for d in (1, 2, 5) if (name, d) != ("real_nvp", 1)]


def make(name, d, seed=0, reverse=False, scale=1.0):
    """A flow far from the identity: `(flow, params, z)` with random weights, 4 examples."""
    flow = flows.get(name)
    flow.latent_dim, flow.reverse = d, reverse
    flow.build()
    rng = np.random.default_rng(seed)
    for weight in flow.weights:
        weight.assign(scale * rng.normal(size=weight.shape) / np.sqrt(max(1, weight.shape[0])))
    params = {
        key: tf.constant(scale * rng.normal(size=(4, *shape)), tf.float32)
        for key, shape in flow.parameter_shapes().items()
    }
    return flow, params, tf.constant(rng.normal(size=(4, d)), tf.float32)


def jacobian(function, z):
    with tf.GradientTape() as tape:
        tape.watch(z)
        moved, _ = function(z)
    return tape.batch_jacobian(moved, z).numpy()


@pytest.mark.default("iaf-2", "planar-5", "real_nvp-5", "sylvester-5")
@pytest.mark.parametrize("name, d", CASES)
def test_log_determinant_is_that_of_the_autodiff_jacobian(name, d):
    flow, params, z = make(name, d, reverse=d == 5, scale=1.5)
    directions = [flow.forward] + ([flow.inverse] if flow.invertible else [])
    for direction in directions:
        found = direction(params, z)[1]
        sign, exact = np.linalg.slogdet(
            np.float64(jacobian(lambda z, direction=direction: direction(params, z), z))
        )
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-4)
        assert (sign > 0).all() and np.abs(exact).max() > 0.05


@pytest.mark.parametrize("name, d", [case for case in CASES if flows.get(case[0]).invertible])
def test_inverse_undoes_forward(name, d):
    flow, params, z = make(name, d, seed=1)
    there, log_det = flow.forward(params, tf.stack([z, 2 * z]))
    back, other = flow.inverse(params, there)
    np.testing.assert_allclose(back, tf.stack([z, 2 * z]), rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(other, -log_det, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["iaf", "maf"])
def test_each_coordinate_depends_on_those_before_it_alone(name, reverse):
    flow, params, z = make(name, 5, reverse=reverse)
    matrix = jacobian(lambda z: flow.parallel(params, z), z)
    order = slice(None, None, -1) if reverse else slice(None)
    matrix = matrix[:, order, order]
    assert not np.triu(matrix, 1).any()
    assert (np.abs(matrix[(slice(None), *np.tril_indices(5))]) > 0).all()  # On every one of them.


def test_coupling_leaves_one_half():
    for reverse in (False, True):
        flow, params, z = make("real_nvp", 5, reverse=reverse)
        moved = flow.forward(params, z)[0]
        kept = np.all(moved == z, axis=0)
        np.testing.assert_array_equal(kept, np.array([True, True, True, False, False]) != reverse)


@pytest.mark.parametrize("name", ["iaf", "real_nvp"])
def test_context_reaches_what_it_may(name):
    flow, params, z = make(name, 4)
    other = {"context": params["context"] + 1.0}
    changed = np.any(flow.forward(params, z)[0] != flow.forward(other, z)[0], axis=0)
    np.testing.assert_array_equal(
        changed, [True] * 4 if name == "iaf" else [False] * 2 + [True] * 2
    )


def test_planar_can_be_inverted_whatever_its_parameters():
    """In one dimension that is: strictly increasing."""
    flow = flows.Planar(1)
    rng = np.random.default_rng(0)
    params = {
        key: tf.constant(5 * rng.normal(size=(200, 1)), tf.float32) for key in ("u", "w", "b")
    }
    z = tf.tile(tf.linspace(-4.0, 4.0, 200)[:, None, None], (1, 200, 1))
    moved, log_det = flow.forward(params, z)
    assert (np.diff(moved[..., 0].numpy(), axis=0) > -1e-6).all()
    identity, none = flow.forward({**params, "u": tf.zeros((200, 1))}, z)
    np.testing.assert_allclose(identity, z, atol=1e-5)
    np.testing.assert_allclose(none, np.zeros((200, 200)), atol=1e-5)


def features(n=3, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype("float32")


def bent(posterior, d):
    """A flow posterior with random weights, and its parameters for three examples."""
    posterior.latent_dim = d
    posterior(features())  # Builds it.
    rng = np.random.default_rng(1)
    for weight in posterior.weights:
        weight.assign(0.7 * rng.normal(size=weight.shape) / np.sqrt(weight.shape[0]))
    return posterior, posterior(features())


@pytest.mark.parametrize("name", ["iaf", "planar", "real_nvp", "sylvester"])
def test_a_posterior_s_density_integrates_to_one(name):
    """Importance sampling of ∫ q dz = 1 with draws from a wide Gaussian, or of ∫ p dz over q."""
    posterior, params = bent(Flow(flows=name, num_flows=2), 2)
    z, log_q = posterior.sample_and_log_prob(params, 40_000, seed=1)
    # E_q[p / q] = 1 for a density p that q covers: a narrow Gaussian where q is dense.
    centre = np.median(z, axis=0)
    width = 0.3 * (np.quantile(z, 0.75, axis=0) - np.quantile(z, 0.25, axis=0))
    log_p = -0.5 * np.sum(((z - centre) / width) ** 2 + np.log(2 * np.pi * width**2), axis=-1)
    ratio = np.exp(np.float64(log_p) - log_q)
    error = ratio.std(axis=0) / 200
    assert (np.abs(ratio.mean(axis=0) - 1) < 5 * error).all() and error.max() < 0.05


@pytest.mark.parametrize("base", ["diagonal_gaussian", "full_covariance", "laplace", "student_t"])
def test_log_prob_at_a_draw_is_what_came_with_it(base):
    posterior, params = bent(Flow(base=base, flows=["iaf", "real_nvp"]), 3)
    z, log_q = posterior.sample_and_log_prob(params, 5, seed=1)
    np.testing.assert_array_equal(z, posterior.sample(params, 5, seed=1))
    np.testing.assert_allclose(posterior.log_prob(params, z), log_q, rtol=1e-3, atol=1e-3)


def test_flows_start_near_their_base():
    keras.utils.set_random_seed(0)
    posterior = Flow(latent_dim=4, flows="real_nvp")
    params = posterior(features())
    own = {name: params[name] for name in ("z_mean", "z_log_var")}
    z, base = posterior.sample(params, 100, seed=1), posterior.base.sample(own, 100, seed=1)
    assert np.abs(z - base).mean() < 0.1 * np.std(base)


def test_prior_against_its_own_draws():
    prior = kvae.priors.Flow(2, num_flows=2)
    prior.build()
    rng = np.random.default_rng(0)
    for weight in prior.weights:
        weight.assign(rng.normal(size=weight.shape) / np.sqrt(weight.shape[0]))
    z = prior.sample(20_000, 1)
    # The density at a draw is that of its noise over the Jacobian's determinant.
    noise = kvae.random.normal([5, 2], 3)
    matrix = jacobian(lambda e: (prior.transform({"noise": e}), None), noise)
    exact = -0.5 * np.sum(noise**2 + np.log(2 * np.pi), axis=-1) - np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(
        prior.log_prob(prior.transform({"noise": noise})), exact, rtol=1e-3, atol=1e-3
    )
    # And it integrates to one: on a grid that holds nearly all draws.
    low, high = np.quantile(z, [0, 1], axis=0) + [[-2], [2]]
    axes = [np.linspace(a, b, 400) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype("float32")
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    total = np.exp(np.float64(prior.log_prob(grid.reshape(-1, 2)))).sum() * cell
    assert total == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["iaf", "planar", "real_nvp", "sylvester"])
def test_config_round_trip(name):
    posterior = kvae.posteriors.get(name)
    posterior.latent_dim = 4
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(posterior))
    assert copy.get_config() == posterior.get_config()
    assert [flow.reverse for flow in copy.flows] == [False, True, False, True]
    assert copy.parameter_shapes() == posterior.parameter_shapes()


def test_what_cannot_be():
    for base in ("delta", "prior_noise", "power_spherical"):
        with pytest.raises(ValueError, match="A flow cannot bend a"):
            Flow(base=base)
    posterior, params = bent(Flow(flows="planar"), 2)
    with pytest.raises(ValueError, match="Planar has no inverse in closed form.*'iaf'"):
        posterior.log_prob(params, np.zeros((3, 2), "float32"))
    with pytest.raises(ValueError, match="Unknown flow 'plannar'.*'planar'"):
        Flow(flows="plannar")
    with pytest.raises(ValueError, match="A prior has no x.*Planar"):
        kvae.priors.Flow(flows="planar")
    with pytest.raises(ValueError, match="context_dim=0"):
        kvae.priors.Flow(flows=[flows.InverseAutoregressive()])
    with pytest.raises(ValueError, match="share one context"):
        Flow(flows=[flows.RealNVP(context_dim=3), flows.RealNVP(context_dim=4)])
    with pytest.raises(ValueError, match="latent_dim is at least 2"):
        flows.RealNVP(1).build()
    with pytest.raises(ValueError, match="`num_ortho` is at most latent_dim=2"):
        flows.Sylvester(2, num_ortho=3).parameter_shapes()
    with pytest.raises(ValueError, match="path gradient"):
        kvae.VAE(
            *[keras.Sequential([keras.Input((2,))])] * 2,
            2,
            "iaf",
            objective=kvae.objectives.ELBO(gradient="path"),
        )
