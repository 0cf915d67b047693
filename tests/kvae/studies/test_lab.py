"""kvae.studies.lab: trainings and measurements are made once, and the report tells them."""

import numpy as np
import pytest
from PIL import Image

import kvae
from kvae.studies.lab import Lab

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def make(cache, folder, said=None):
    say = (lambda line: None) if said is None else said.append
    lab = Lab("a-study", "Is it so?", quick=True, folder=folder, cache=cache, say=say)
    lab.scale = kvae.studies.lab.dataclasses.replace(lab.scale, epochs=1, limit=100, num_samples=5)
    return lab


def test_a_second_lab_finds_what_the_first_one_made(cache, tmp_path):
    said = []
    first = make(cache, tmp_path, said).fit("model")
    figures = first.nll, first.terms["kl"], first.log_prob
    assert first.nll["num_examples"] == len(first.log_prob) == 100
    assert any("trained" in line for line in said)
    again, said = make(cache, tmp_path, said := []), said
    second = again.fit("another name")
    for a, b in zip(first.vae.get_weights(), second.vae.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert second.history == first.history and not said  # Nothing was trained.
    assert second.nll == figures[0]
    np.testing.assert_array_equal(second.terms["kl"], figures[1])
    other = again.fit("other", posterior="unit_variance")  # Another model is another training.
    assert other.folder != second.folder and said
    wide = again.fit("wide", posterior=kvae.posteriors.DiagonalGaussian(log_var_bound=5.0))
    assert wide.folder != second.folder
    same = again.fit("same", objective=kvae.objectives.ELBO(beta=1.0))  # Defaults, written out.
    assert same.folder == second.folder


def test_terms_and_log_prob_are_those_of_the_model(cache, tmp_path):
    run = make(cache, tmp_path).fit("model")
    x = run.lab.test_images(run)
    np.testing.assert_allclose(
        run.log_prob, run.vae.log_prob(x, num_samples=5).value, rtol=1e-4, atol=1e-3
    )
    params = run.vae.encode(x)
    kl = kvae.divergences.closed_form_kl(run.vae.posterior, run.vae.prior)(params)
    np.testing.assert_allclose(run.terms["kl"], kl, rtol=1e-4, atol=1e-4)


def test_rows_of_images(cache, tmp_path):
    lab = make(cache, tmp_path / "out")
    rows = {"white": np.ones((3, 4, 4, 1)), "grey": np.full((3, 4, 4, 1), 0.5)}
    lab.draw_rows("rows.png", rows, "Rows", "of images", value_range=(0.0, 1.0))
    with Image.open(tmp_path / "out" / "rows.png") as picture:
        levels, counts = np.unique(picture.convert("L"), return_counts=True)
    # Images of 160 × 160 pixels; letters have a few grey ones of their own.
    assert 0 <= dict(zip(levels, counts, strict=True))[128] - 3 * 160**2 < 100


def test_report(cache, tmp_path):
    lab = make(cache, tmp_path / "out")
    lab.finding("It is so.", True, "1 > 0")
    lab.report.heading("Table")
    folder = lab.write()
    for name in ("README.md", "index.html"):
        page = (folder / name).read_text()
        assert page.index("It is so") < page.index("Table")
        assert "kvae study a-study --dataset digits --quick" in page


def test_unknown_names():
    with pytest.raises(ValueError, match="Unknown dataset 'minst'.*'mnist'"):
        Lab("a-study", "Is it so?", dataset="minst")
    with pytest.raises(ValueError, match="Unknown study 'why-sampel'.*'why-sample'"):
        kvae.studies.get("why-sampel")


def test_names_of_inner_layers_make_no_other_training(cache, tmp_path):
    """They count up in a process, whatever was made before."""
    from kvae.studies.lab import _facts

    first = _facts(kvae.posteriors.get("iaf"))
    kvae.posteriors.DiagonalGaussian()
    second = _facts(kvae.posteriors.get("iaf"))
    assert first == second
    assert first != _facts(kvae.posteriors.get("real_nvp"))
    # The name of a type is no layer's name.
    assert _facts(kvae.likelihoods.Bernoulli(dtype="float64")) != _facts(
        kvae.likelihoods.Bernoulli(dtype="float32")
    )
    assert first != _facts(kvae.posteriors.Flow(base="laplace"))


def test_dominated_counts_the_images_with_few_effective_samples(cache, tmp_path):
    lab = make(cache, tmp_path)
    lab.scale = kvae.studies.lab.dataclasses.replace(lab.scale, num_samples=12)
    run = lab.fit("model")
    estimate = run.vae.log_prob(lab.test_images(run), num_samples=12)
    share = np.mean(estimate.effective_sample_size < 5.0)
    assert 0 < share < 1 and run.dominated == pytest.approx(share, abs=0.02)
