"""The Poincaré ball: geometry, closed forms of the normals, and the Gaussian without curvature."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from kvae import posteriors, priors
from kvae.distributions import poincare_ball as ball
from kvae.utils.interpolation import interpolate

MEAN = np.array([[0.3, -0.5]], "float32")


def params(kind, c, scale, mean=MEAN):
    spread = {"z_log_var": 2 * np.log(scale)} if kind == "wrapped_normal" else {"z_scale": scale}
    size = mean.shape[1] if kind == "wrapped_normal" else 1
    return {"z_mean": mean / np.float32(np.sqrt(c))} | {
        name: tf.fill([1, size], np.float32(value)) for name, value in spread.items()
    }


def part(module, kind, c, dim=2, **settings):
    name = "".join(word.title() for word in kind.split("_"))
    return getattr(module, name)(dim, curvature=c, **settings)


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_lengths_are_those_of_the_ball(c):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.6, 0.6, (2, 20, 2)).astype("float32") / np.float32(np.sqrt(c))

    def distance(x, y):
        inside = (1 - c * np.sum(x**2, -1)) * (1 - c * np.sum(y**2, -1))
        return np.arccosh(1 + 2 * c * np.sum((x - y) ** 2, -1) / inside) / np.sqrt(c)

    step = ball.step_to(x, y, c)
    np.testing.assert_allclose(np.linalg.norm(step, axis=-1), distance(x, y), rtol=1e-4)
    np.testing.assert_allclose(ball.step_from(x, step, c), y, atol=1e-5)
    third = np.asarray(ball.geodesic(x, y, 1 / 3, c))
    np.testing.assert_allclose(distance(x, third), distance(x, y) / 3, rtol=1e-3)
    np.testing.assert_allclose(distance(third, y), 2 * distance(x, y) / 3, rtol=1e-3)
    model = type("Model", (), {"posterior": posteriors.WrappedNormal(2, curvature=c)})
    np.testing.assert_allclose(interpolate(model, x, y, [0.0, 1 / 3, 1.0])[:, 1], third, atol=1e-6)


@pytest.mark.parametrize("kind", ["wrapped_normal", "riemannian_normal"])
@pytest.mark.parametrize("c", [0.25, 1.0])
def test_the_densities_integrate_to_1(kind, c):
    radius = (np.arange(400) + 0.5) / 400
    angle = np.arange(200) * 2 * np.pi / 200
    z = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1) / np.sqrt(c)
    area = np.repeat(radius / 400 * 2 * np.pi / 200 / c, 200)
    z = z.reshape(-1, 2).astype("float32")
    of_x = part(posteriors, kind, c).log_prob(params(kind, c, 0.5), z[:, None])[:, 0]
    for log_p in (of_x, part(priors, kind, c, scale=0.8).log_prob(z)):
        assert np.sum(area * np.exp(np.float64(log_p))) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("c, scale", [(0.5, 0.05), (1.0, 0.7), (2.0, 1.0)])
def test_normalizers_of_2_and_3_dimensions_are_the_closed_forms(c, scale):
    root, s = math.sqrt(c), np.float32(scale)
    two = 2 * math.pi * math.sqrt(math.pi / 2) * scale / root
    two *= math.exp(0.5 * c * scale**2) * math.erf(root * scale / math.sqrt(2))
    three = 2 * math.pi * math.sqrt(math.pi / 2) * scale / c * math.expm1(2 * c * scale**2)
    for dim, exact in ((2, two), (3, three)):
        log_total, quantile = ball.radii(tf.constant(s), dim, c)
        assert float(log_total) == pytest.approx(math.log(exact), abs=1e-3)
        # The mean of cosh(√c r), in closed form too, by an even grid of probabilities.
        r = np.float64(quantile((np.arange(4000, dtype="float32")[:, None] + 0.5) / 4000))
        if dim == 3:
            mean = math.exp(0.5 * c * scale**2) * (math.exp(4 * c * scale**2) - 1)
            mean /= 2 * (math.exp(2 * c * scale**2) - 1)
            assert np.mean(np.cosh(root * r)) == pytest.approx(mean, rel=5e-3)


@pytest.mark.parametrize("kind", ["wrapped_normal", "riemannian_normal"])
def test_without_curvature_they_are_gaussians(kind):
    c, scale = 1e-6, 0.8
    mean = np.array([[0.3, -0.5, 1.0]], "float32")
    given = params(kind, c, scale, mean * np.float32(np.sqrt(c)))
    posterior = part(posteriors, kind, c, 3)
    z = posterior.sample(given, 2000, seed=0)[:, 0]
    # A Euclidean unit at the centre has the length 2.
    exact = scipy.stats.multivariate_normal(mean[0], (scale / 2) ** 2)
    np.testing.assert_allclose(
        posterior.log_prob(given, z[:, None])[:, 0], exact.logpdf(z), rtol=1e-3, atol=5e-3
    )
    standard = (np.asarray(z) - mean) / (scale / 2)
    assert scipy.stats.kstest(standard[:, 1], "norm").pvalue > 1e-3
    prior = part(priors, kind, c, 3, scale=scale)
    exact = scipy.stats.multivariate_normal(np.zeros(3), (scale / 2) ** 2)
    np.testing.assert_allclose(prior.log_prob(z), exact.logpdf(z), rtol=1e-3, atol=5e-3)


def test_balls_of_two_curvatures_and_scales_that_are_too_large_are_refused(make_vae):
    with pytest.raises(ValueError, match="curvature −2 and the prior's −1. Give both the same"):
        make_vae(posterior=posteriors.WrappedNormal(curvature=2.0), prior="wrapped_normal")
    with pytest.raises(ValueError, match="in the Poincaré ball.*prior='wrapped_normal'"):
        make_vae(posterior="wrapped_normal", prior="standard_normal")
    with pytest.raises(ValueError, match="in 20 dimensions of curvature −1 has a scale of at most"):
        priors.RiemannianNormal(20, scale=1.0).build()
    with pytest.raises(ValueError, match="a positive number, not 0"):
        posteriors.RiemannianNormal(2, curvature=0)
