"""kvae.evaluation.evaluate with all its parts, results as files, and the curve of a decoder."""

import json
import sys

import numpy as np
import pytest

import kvae
from kvae import evaluation, plots
from kvae.datasets import Dataset
from kvae.evaluation.terms import mean_terms


@pytest.fixture(scope="module")
def data():
    return kvae.datasets.load("digits", "train", binarize="static")[:60]


def test_everything_of_a_vae(make_vae, data, tmp_path, monkeypatch, eagerly):
    vae, train = make_vae(), kvae.datasets.load("digits", "validation", binarize="static")[:80]
    curve = evaluation.rate_distortion_curve(
        vae, data[:4], num_chains=2, num_steps=4, num_leapfrog=1
    )
    # By its name, for the package's attribute of this name is the function.
    module = sys.modules["kvae.evaluation.evaluate"]
    monkeypatch.setattr(module, "rate_distortion_curve", lambda *arguments, **options: curve)
    options = {"num_samples": 3, "seed": 2, "name": "mine"}
    plain = evaluation.evaluate(vae, data, **options)
    result = evaluation.evaluate(
        vae, data, latents=True, quality=True, probes=True, rate_distortion=True, train=train,
        **options,
    )  # fmt: skip
    assert set(plain) == {"elbo", "reconstruction", "kl", "nll"}
    assert {name: result[name] for name in plain} == dict(plain)
    own = evaluation.latent_summary(vae, data, seed=2)
    assert result["latents"]["mutual_information"] == own.mutual_information
    assert result["latents"]["kl_per_dimension"] == own.kl_per_dimension.tolist()
    assert result["latents"]["state"] == own.state()
    quality = evaluation.sample_quality(vae, data, seed=2, train=train)
    assert result["quality"]["frechet_distance"] == quality["frechet_distance"]
    codes, others = (np.asarray(vae.encode(part)["z_mean"]) for part in (train, data))
    probe = evaluation.linear_probe(codes, train.labels, others, data.labels)
    assert result["probes"]["linear"] == probe
    assert result["rate_distortion"] == curve.to_dict()
    for text in (str(result), result.to_markdown()):
        for words in ("mine on digits train", "active units", "linear probe", "β = 1", "recall"):
            assert words in text
    paths = result.write(tmp_path / "out")
    pictures = {path.stem for path in paths if path.suffix == ".png"}
    assert pictures == {
        "reconstructions", "samples", "aggregate_posterior", "kl_per_dimension",
        "training_neighbors", "rate_distortion",
    }  # fmt: skip
    assert json.loads((tmp_path / "out/result.json").read_text())["kl"] == result["kl"]
    page = (tmp_path / "out/result.md").read_text()
    assert all(f"]({name}.png)" in page for name in pictures)
    assert all(path.stat().st_size > 100 for path in paths)


def test_only_what_the_objective_reports_is_averaged(make_vae, data, eagerly):
    """FactorVAE's terms hold z itself, [samples, batch, latent_dim]: no number of an example."""
    objective = kvae.objectives.FactorVAE(discriminator_width=4, discriminator_depth=1)
    vae = make_vae(objective=objective)
    means = mean_terms(vae, data, batch_size=7)
    assert set(means) == {"loss", "elbo", "reconstruction", "kl", "total_correlation"}
    assert means["elbo"] == pytest.approx(-means["reconstruction"] - means["kl"], rel=1e-5)


def volumes(shape=(4, 6, 6, 1)):
    """A small model of volumes, and data for it."""
    import keras

    encoder = keras.Sequential([keras.Input(shape), keras.layers.Flatten()])
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(int(np.prod(shape))), keras.layers.Reshape(shape)]
    )
    vae = kvae.VAE(encoder, decoder, latent_dim=2, likelihood="gaussian", name="volumes")
    return vae, Dataset(np.random.default_rng(0).random((20, *shape)).astype("float32"))


@pytest.mark.slow  # Volumes are drawn in the test below and in `test_pictures.py`.
def test_volumes_have_pictures(tmp_path):
    vae, data = volumes()
    result = evaluation.evaluate(vae, data, num_samples=2, quality=True, train=data)
    paths = result.write(tmp_path)
    assert {path.name for path in paths} == {
        "result.json", "result.md", "reconstructions.png", "slices.png", "samples.png",
        "training_neighbors.png",
    }  # fmt: skip
    page = (tmp_path / "result.md").read_text()
    assert page.count("](") == 4 and "not drawn" not in page


def test_numbers_are_written_before_anything_is_drawn(tmp_path, eagerly):
    """The numbers stay where no picture fits the data, or where drawing fails or dies."""
    vae, data = volumes()
    result = evaluation.evaluate(vae, data, num_samples=2)
    folder = tmp_path / "out"

    def fail(path):
        assert json.loads((folder / "result.json").read_text())["nll"] == result["nll"]
        assert "elbo" in (folder / "result.md").read_text()
        raise RuntimeError("no\nfont")

    result.pictures["samples"] = ("Samples", fail)
    with pytest.warns(RuntimeWarning, match=r"samples\.png was not drawn: no font"):
        paths = result.write(folder)
    assert {path.stem for path in paths} == {"result", "reconstructions", "slices"}
    page = (folder / "result.md").read_text()
    assert "(slices.png)" in page and "](samples.png)" not in page
    assert "Samples (samples.png): not drawn. no font" in page

    def interrupted(path):
        raise KeyboardInterrupt

    result.pictures["reconstructions"] = ("", interrupted)
    with pytest.raises(KeyboardInterrupt):
        result.write(tmp_path / "stopped")
    assert json.loads((tmp_path / "stopped/result.json").read_text())["nll"] == result["nll"]

    # Five axes are no picture that anyone knows.
    unknown = evaluation.evaluate(*volumes((2, 2, 3, 3, 1)), num_samples=2)
    with pytest.warns(RuntimeWarning, match="cannot be drawn as a picture: use"):
        paths = unknown.write(tmp_path / "unknown")
    assert [path.name for path in paths] == ["result.json", "result.md"]


def test_an_autoencoder_has_less(make_vae, data, tmp_path, eagerly):
    vae = make_vae(posterior="delta", prior=None)
    result = evaluation.evaluate(vae, data, latents=True)
    assert set(result["latents"]) == {"state", "active_units", "num_examples", "variance_of_means"}
    drawn = {path.stem for path in result.plots(tmp_path, suffix=".svg")}
    assert drawn == {"reconstructions", "aggregate_posterior"}
    for measure in ("quality", "rate_distortion"):
        with pytest.raises(ValueError, match="without a prior"):
            evaluation.evaluate(vae, data, **{measure: True})
    with pytest.raises(ValueError, match="Probes"):
        evaluation.evaluate(vae, data, probes=True)


@pytest.mark.slow  # Both measures have tests of their own.
def test_an_autoencoder_with_a_prior_that_is_fitted_to_its_codes(make_vae, data, eagerly):
    vae = make_vae(posterior="delta", prior=None)
    other = kvae.samplers.GaussianMixture(2).fit(vae, data).model
    result = evaluation.evaluate(other, data, quality=True)
    assert np.isfinite(result["quality"]["frechet_distance"]) and "nll" not in result
    curve = evaluation.rate_distortion_curve(
        other, data[:3], num_chains=2, num_steps=3, num_leapfrog=1
    )
    assert other.name not in curve  # Its own codes are exact.


def test_codes_that_are_certain_have_a_bound_and_no_estimate(make_vae, data, eagerly):
    vae = make_vae(
        latent_dim=4,
        posterior=kvae.posteriors.VectorQuantized(num_embeddings=5, embedding_dim=2),
        prior="uniform_codes",
    )
    result = evaluation.evaluate(vae, data)
    assert set(result) == {"elbo", "reconstruction", "kl"}
    # Importance samples would say the same, with an error of zero.
    samples = vae.log_prob(data, num_samples=3)
    np.testing.assert_allclose(samples.summary()["nll"], -result["elbo"], rtol=1e-5)
    np.testing.assert_allclose(samples.monte_carlo_error, 0.0, atol=1e-5)


def test_the_curve_of_a_linear_decoder_is_known(linear_gaussian, eagerly):
    """q_β is Gaussian, with the precision I + β WᵀW / s²."""
    x, vae = linear_gaussian.draw(40, 0), linear_gaussian.vae(shift=0.3)
    result = evaluation.rate_distortion_curve(
        vae, Dataset(x), num_chains=300, num_steps=60, num_leapfrog=5, seed=1
    )
    w, s = linear_gaussian.w, linear_gaussian.s
    curve = result.curve
    for index in (9, 24, int(np.argmin(np.abs(curve["beta"] - 1.0))), 59):
        beta = curve["beta"][index]
        covariance = np.linalg.inv(np.eye(2) + beta * w.T @ w / s**2)
        means = (x - linear_gaussian.b) @ w @ covariance * beta / s**2
        squares = np.mean(np.sum(means**2, axis=1)) + np.trace(covariance)
        rate = 0.5 * (squares - 2 - np.linalg.slogdet(covariance)[1])
        left = np.mean(np.sum((x - linear_gaussian.b - means @ w.T) ** 2, axis=1))
        left = (left + np.trace(w @ covariance @ w.T)) / s**2
        distortion = 0.5 * left + 3 * np.log(2 * np.pi * s**2)
        assert curve["rate"][index] == pytest.approx(rate, abs=0.05)
        assert curve["distortion"][index] == pytest.approx(distortion, abs=0.1)
    assert result["β = 1"]["elbo"] == pytest.approx(linear_gaussian.log_prob(x).mean(), abs=0.05)
    own = evaluation.rate_distortion({vae.name: vae}, Dataset(x), seed=1)
    assert result[vae.name] == own[vae.name]
    assert result[vae.name]["elbo"] < result["β = 1"]["elbo"]  # The encoder is off.
    (ax,) = plots.rate_distortion(result).axes
    assert len(ax.lines[0].get_xdata()) > 10


def test_what_the_curve_refuses(make_vae, data, linear_gaussian):
    with pytest.raises(ValueError, match="max_beta"):
        evaluation.rate_distortion_curve(make_vae(), data, max_beta=0.5)
    with pytest.raises(ValueError, match="num_chains"):
        evaluation.rate_distortion_curve(make_vae(), data, num_chains=0)
    sphere = make_vae(latent_dim=3, posterior="power_spherical", prior="uniform_sphere")
    with pytest.raises(ValueError, match="Hamiltonian"):
        evaluation.rate_distortion_curve(sphere, data)


def test_pictures_of_latents(make_vae, digits):
    vae = make_vae(latent_dim=1)
    (ax,) = plots.aggregate_posterior(vae, digits, n=30).axes
    assert len(ax.containers) == 2  # Histograms of the codes and of the prior.
    (ax,) = plots.aggregate_posterior(make_vae(latent_dim=4), digits, n=30).axes
    assert [len(cloud.get_offsets()) for cloud in ax.collections] == [30, 30]
    summary = evaluation.latent_summary(make_vae(latent_dim=4), digits)
    (ax,) = plots.kl_per_dimension(summary).axes
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, np.sort(summary.kl_per_dimension)[::-1])
    none = evaluation.latent_summary(make_vae(posterior="delta", prior=None), digits)
    with pytest.raises(ValueError, match="no KL"):
        plots.kl_per_dimension(none)
