"""kvae.studies.posterior_map and plots.posterior_map: geometry to scale."""

import re

import matplotlib.collections
import numpy as np
import pytest

import kvae
import zoo
from kvae.plots.posteriors import ellipses, moments
from kvae.studies.posterior_map import coverage


def test_axes_and_angles_are_those_of_the_covariance():
    angle = np.radians(30.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = turn @ np.diag([4.0, 0.25]) @ turn.T
    widths, heights, angles = ellipses(covariance[None], sigmas=2.0)
    np.testing.assert_allclose([widths[0], heights[0]], [8.0, 2.0])
    assert angles[0] % 180 == pytest.approx(30.0)


@pytest.mark.parametrize("name", ["diagonal_gaussian", "full_covariance", "low_rank", "laplace"])
def test_moments_are_those_of_many_draws(name, make_vae, digits):
    vae = make_vae(posterior=name)
    params = vae.encode(digits[:4])
    means, covariances = moments(vae, params)
    z = np.asarray(vae.posterior.sample(params, 20_000, seed=3))
    exact = np.stack([np.cov(z[:, i], rowvar=False) for i in range(4)])
    scale = 256 if name == "laplace" else 20_000  # No closed form: drawn themselves.
    np.testing.assert_allclose(covariances, exact, atol=8 * exact.max() / np.sqrt(scale))
    np.testing.assert_allclose(means, z.mean(axis=0), atol=8 * np.sqrt(exact.max() / scale))


def test_drawn_to_scale(make_vae, digits):
    vae = make_vae()
    figure = kvae.plots.posterior_map(vae, digits[:7], np.arange(7) % 2, n=4, sigmas=2.0)
    left, right = figure.axes
    drawn = next(
        c for c in left.collections if isinstance(c, matplotlib.collections.EllipseCollection)
    )
    params = vae.encode(digits[:7])
    sigma = np.exp(0.5 * params["z_log_var"].numpy())
    order = np.argsort(drawn.get_offsets()[:, 0])
    expected = np.argsort(params["z_mean"][:, 0])
    sizes = np.stack([drawn.get_widths(), drawn.get_heights()], axis=-1)[order]
    np.testing.assert_allclose(
        np.sort(sizes, axis=-1), np.sort(4 * sigma[expected], axis=-1), rtol=1e-5
    )
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
    # The picture's first row is the top of the plane, its cells centred on what they decode.
    (low, high), (bottom, top) = right.get_xlim(), right.get_ylim()
    corner = [[low + (high - low) / 8, top - (top - bottom) / 8]]
    image = right.images[0].get_array()
    np.testing.assert_allclose(
        image[:8, :8], np.clip(vae.decode(np.float32(corner))[0, ..., 0], 0, 1), atol=1e-5
    )


def test_what_is_drawn_is_what_is_said(make_vae, digits, tmp_path, eagerly):
    figure = kvae.plots.posterior_map(make_vae(), digits[:7], path=tmp_path / "map.png")
    left, right = figure.axes
    assert (tmp_path / "map.png").stat().st_size > 10_000
    radii = sorted(circle.get_radius() for circle in left.patches)
    np.testing.assert_allclose(1 - np.exp(-np.square(radii) / 2), [0.5, 0.95])
    assert "50 and 95 % of the prior" in left.texts[0].get_text()
    assert right.images[0].get_array().shape == (128, 128)  # 16 × 16 images of 8 × 8.
    other = make_vae(prior="gaussian_mixture")
    left, _ = kvae.plots.posterior_map(other, digits[:7], n=2).axes
    assert not left.patches and "prior" not in left.texts[0].get_text()


def test_the_plane_of_a_conditional_model_is_that_of_a_class(digits):
    vae = zoo.build(
        "dense_vae", event_shape=(8, 8, 1), num_classes=10, latent_dim=2, hidden=(8,), seed=1
    )
    labels = np.arange(7)
    figure = kvae.plots.posterior_map(vae, digits[:7], labels, label=3, n=4)
    left, right = figure.axes
    (drawn,) = (
        c for c in left.collections if isinstance(c, matplotlib.collections.EllipseCollection)
    )
    means = np.asarray(vae.encode(digits[:7], labels)["z_mean"])
    np.testing.assert_allclose(np.sort(drawn.get_offsets(), axis=0), np.sort(means, axis=0), 1e-5)
    (low, high), (bottom, top) = right.get_xlim(), right.get_ylim()
    corner = np.float32([[low + (high - low) / 8, top - (top - bottom) / 8]])
    three, four = (np.asarray(vae.decode(corner, [label]))[0, ..., 0] for label in (3, 4))
    shown = right.images[0].get_array()[:8, :8]
    np.testing.assert_allclose(shown, three, atol=1e-5)
    assert np.abs(shown - four).max() > 1e-3
    assert "decoded as 3" in right.get_title(loc="left")
    with pytest.raises(ValueError, match="its plane shows one class: say which by `label`"):
        kvae.plots.posterior_map(vae, digits[:7], labels)


def test_refuses(make_vae, digits):
    with pytest.raises(ValueError, match="two latent dimensions.*has 3"):
        kvae.plots.posterior_map(make_vae(latent_dim=3), digits)
    with pytest.raises(ValueError, match="points without a spread"):
        kvae.plots.posterior_map(make_vae(posterior="delta"), digits)
    with pytest.raises(ValueError, match="`n` is a whole number of at least 2"):
        kvae.plots.posterior_map(make_vae(), digits, n=1)


def test_coverage():
    means = np.array([[0.0, 0.0], [10.0, 0.0]])
    covariances = np.stack([np.eye(2), np.diag([1.0, 4.0])])
    z = np.array([[1.9, 0.0], [0.0, 2.1], [10.0, 3.9], [12.1, 0.0]])
    assert coverage(means, covariances, z) == 0.5
    prior = np.random.default_rng(0).normal(size=(4000, 2))  # Of N(0, I) within 2 σ: 1 − e⁻².
    assert coverage(means[:1], covariances[:1], prior) == pytest.approx(1 - np.exp(-2), abs=0.02)


@pytest.mark.slow  # As the other studies; `test_register.py` runs a small one.
def test_posterior_map(run_study, eagerly):
    findings, page = run_study("posterior-map")
    assert len(findings) == 4 and "posteriors.png" in page
    covered = float(re.search(r"2 σ of a test image's posterior \| ([\d.]+)", page)[1])
    assert findings[1]["holds"] == (covered > 0.9)
