"""Products of posteriors and of priors, and the JointVAE's capacity for each part."""

import types

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

import export
import kvae
import kvae.testing
from kvae import divergences, posteriors, priors
from kvae.objectives import JointVAE
from kvae.utils.interpolation import interpolate


def mixed(**objective):
    """Two Gaussian latents, and two variables of three classes."""
    return {
        "latent_dim": 8,
        "posterior": posteriors.Product(
            {
                "style": "diagonal_gaussian",
                "kind": posteriors.GumbelSoftmax(latent_dim=6, num_categories=3),
            }
        ),
        "prior": priors.Product(
            [priors.StandardNormal(2), priors.UniformCategorical(3, latent_dim=6)]
        ),
        **objective,
    }


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae(**mixed(objective=JointVAE(2.0, {"style": 0.1, "kind": 100.0})))


def test_densities_and_divergences_are_those_of_the_parts_together(vae, digits, eagerly):
    params = vae.encode(digits[:5])
    assert set(params) == {"style_z_mean", "style_z_log_var", "kind_z_logits"}
    z, log_q = vae.posterior.sample_and_log_prob(params, 3, seed=1)
    z = z.numpy()
    np.testing.assert_array_equal(z[..., 2:].reshape(3, 5, 2, 3).sum(axis=-1), 1.0)
    np.testing.assert_array_equal(vae.posterior.sample(params, 3, seed=1), z)
    mean, deviation = params["style_z_mean"], np.exp(0.5 * params["style_z_log_var"])
    log_classes = scipy.special.log_softmax(params["kind_z_logits"], axis=-1)
    exact = scipy.stats.norm(mean, deviation).logpdf(z[..., :2]).sum(axis=-1)
    exact = exact + np.sum(z[..., 2:] * log_classes.reshape(5, 6), axis=-1)
    of_tfp = vae.posterior.distribution(params).log_prob(z)
    for found in (log_q, vae.posterior.log_prob(params, z), of_tfp):
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    log_p = scipy.stats.norm.logpdf(z[..., :2]).sum(axis=-1) - 2 * np.log(3)
    np.testing.assert_allclose(vae.prior.log_prob(z), log_p, rtol=1e-5)
    np.testing.assert_allclose(vae.prior.distribution().log_prob(z), log_p, rtol=1e-5)
    kl = divergences.closed_form_kl(vae.posterior, vae.prior)(params)
    style = 0.5 * np.sum(mean**2 + deviation**2 - 1 - 2 * np.log(deviation), axis=-1)
    kind = 2 * np.log(3) + np.sum(np.exp(log_classes) * log_classes, axis=(1, 2))
    np.testing.assert_allclose(kl, style + kind, rtol=1e-4, atol=1e-5)
    assert divergences.kl_per_dimension(vae.posterior, vae.prior) is None
    classes = scipy.special.softmax(params["kind_z_logits"], axis=-1).reshape(5, 6)
    np.testing.assert_allclose(
        vae.posterior.mean(params), np.concatenate([mean, classes], axis=-1), rtol=1e-5
    )
    drawn = vae.prior.sample(4, seed=2).numpy()
    np.testing.assert_array_equal(drawn[:, 2:].reshape(4, 2, 3).sum(axis=-1), 1.0)


def test_the_capacity_of_each_part(vae, digits):
    terms = vae.objective.terms(vae, digits, digits, training=True, seed=0)
    style, kind = np.mean(terms["kl_style"]), np.mean(terms["kl_kind"])
    np.testing.assert_allclose(terms["kl"], terms["kl_style"] + terms["kl_kind"], rtol=1e-4)
    cost = np.mean(terms["loss"] - terms["reconstruction"])
    # Two variables of three classes hold 2 log 3 nats at most, however large the capacity is.
    expected = 2.0 * (abs(style - 0.1) + abs(kind - 2 * np.log(3)))
    np.testing.assert_allclose(cost, expected, rtol=1e-4)
    assert vae.objective.metric_names()[-2:] == ("kl_style", "kl_kind")


def test_a_standard_normal_prior_is_one_of_each_part_s_size():
    posterior = posteriors.Product([posteriors.Laplace(1), posteriors.FullCovariance(2)])
    pairs = posterior.pairs(priors.StandardNormal(3))
    assert [(part.latent_dim, prior.latent_dim) for part, prior in pairs] == [(1, 1), (2, 2)]


def test_each_part_is_interpolated_in_its_own_space():
    posterior = posteriors.Product([posteriors.PowerSpherical(2), posteriors.WrappedNormal(1)])
    model = types.SimpleNamespace(posterior=posterior)
    ends = np.float32([[1.0, 0.0, 0.0]]), np.float32([[0.0, 1.0, np.tanh(1.0)]])
    half = interpolate(model, *ends, [0.5])[0, 0]
    # Half of the arc, and half of a distance of 2 from the centre of the ball.
    np.testing.assert_allclose(half, [0.5**0.5, 0.5**0.5, np.tanh(0.5)], rtol=1e-5)


def test_a_part_may_have_the_name_of_a_setting():
    objective = JointVAE(30.0, {"gamma": 1.0, "capacity": 2.0})
    for name, value in (("gamma", 7.0), ("capacity_gamma", 0.5), ("capacity_capacity", 3.0)):
        objective.set_scheduled(name, value)
    assert (objective.gamma, objective.capacity) == (7.0, {"gamma": 0.5, "capacity": 3.0})
    with pytest.raises(ValueError, match="Unknown setting 'capacity'"):
        objective.set_scheduled("capacity", 1.0)


def test_it_trains_is_saved_and_comes_back(make_vae, digits, tmp_path, eagerly):
    line = kvae.schedules.Linear(0.0, 4.0, steps=4)
    objective = JointVAE(capacity={"style": line, "kind": 1.0})
    vae = make_vae(optimizer="adam", eager=True, **mixed(objective=objective))
    history = vae.fit(digits[:32], batch_size=16, epochs=1, verbose=0).history
    assert history["capacity_style"] == [2.0]
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    assert loaded.objective.get_config() == objective.get_config()
    assert list(loaded.posterior.parts) == ["style", "kind"]
    for model_of in (
        lambda model: model.reconstruct(digits[:4]),
        lambda model: model.sample(4, seed=1),
        lambda model: model.log_prob(digits[:4], num_samples=5).value,
    ):
        np.testing.assert_array_equal(model_of(vae), model_of(loaded))


@pytest.mark.slow  # A posterior and a prior of the library have each check by default.
def test_products_on_real_numbers_keep_the_promises_of_parts():
    posterior = posteriors.Product([posteriors.FullCovariance(2), "laplace"])
    kvae.testing.check_posterior(posterior, latent_dim=3)
    kvae.testing.check_posterior(
        posteriors.Product([posteriors.DiagonalGaussian(1), "iaf"]),
        latent_dim=3,
        prior=priors.Product([priors.StandardNormal(1), priors.GaussianMixture(2)]),
    )
    prior = priors.Product([priors.GaussianMixture(2, latent_dim=1), "standard_normal"])
    kvae.testing.check_prior(prior, latent_dim=2)
    posterior = posteriors.Product([posteriors.FullCovariance(1), "laplace"])
    kvae.testing.check_objective(JointVAE(), posterior=posterior)


@pytest.mark.slow  # An export of each kind of latent space is in tests/export.
def test_it_is_exported(vae, tmp_path):
    path = export.saved_model(vae, tmp_path / "model", signatures=["encode", "generate", "score"])
    report = export.verify(path, vae, batch_sizes=(3,))
    assert report.ok, str(report)


@pytest.mark.slow  # A pair of every other kind.
def test_parts_of_any_kind(make_vae, digits):
    for first, second in (
        (
            (posteriors.GumbelSoftmax(4, num_categories=2), priors.UniformCategorical(2, 4)),
            (posteriors.DiagonalGaussian(), priors.Vamp(3)),
        ),
        (
            (posteriors.VectorQuantized(4, 5, 2), priors.UniformCodes(4)),
            (posteriors.PowerSpherical(), priors.UniformSphere()),
        ),
    ):
        parts = {
            "posterior": posteriors.Product([first[0], second[0]]),
            "prior": priors.Product([first[1], second[1]]),
        }
        vae = make_vae(latent_dim=8, optimizer="adam", eager=True, **parts)
        vae.fit(digits[:16], batch_size=8, verbose=0)
        assert np.isfinite(vae.log_prob(digits[:4], num_samples=5).value).all()
        assert vae.sample(3, seed=0).shape == (3, 8, 8, 1)


def test_wrong_parts(make_vae):
    with pytest.raises(ValueError, match="two or more posteriors with different names"):
        posteriors.Product(["laplace"])
    with pytest.raises(ValueError, match="letters and digits, not 'a_b'"):
        priors.Product({"a_b": "standard_normal", "c": "flow"})
    with pytest.raises(ValueError, match="a Delta posterior has none"):
        posteriors.Product(["delta", "laplace"])
    with pytest.raises(ValueError, match="latent_dim {'0': 3, '1': 4}, which is to be 8"):
        posteriors.Product([posteriors.Laplace(3), posteriors.Laplace(4)], latent_dim=8)
    with pytest.raises(ValueError, match=r"the sizes \(2, 6\), those of the prior \(1, 7\)"):
        wrong = [priors.StandardNormal(1), priors.UniformCategorical(7, latent_dim=7)]
        make_vae(**{**mixed(), "prior": priors.Product(wrong)})
    with pytest.raises(ValueError, match="part 1 among one-hot vectors, StandardNormal anywhere"):
        make_vae(**{**mixed(), "prior": "standard_normal"})
    with pytest.raises(ValueError, match=r"\['digit', 'style'\], .*\['kind', 'style'\]"):
        make_vae(**mixed(objective=JointVAE(capacity={"style": 1.0, "digit": 1.0})))
    with pytest.raises(ValueError, match="IAF|Flow"):
        keras.utils.set_random_seed(0)
        make_vae(
            latent_dim=4,
            posterior=posteriors.Product([posteriors.Flow(2, flows="planar"), "laplace"]),
            objective="joint_vae",
        )
