"""kvae.studies.lab: trainings and measurements are made once, and the report tells them."""

import numpy as np
import pytest
from PIL import Image

import kvae
import zoo
from kvae.studies.bernoulli_or_mse import LIKELIHOODS
from kvae.studies.lab import Lab
from kvae.studies.start import start_at_the_mean

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
        assert page.index("too short") < page.index("It is so") < page.index("Table")
        assert "kvae study a-study --dataset digits --quick" in page


def with_kl(run, kl):
    """Gives a run other figures than it has."""
    run.terms = {"kl": np.full(4, kl)}
    return run


def test_nothing_is_concluded_from_a_collapsed_run(cache, tmp_path):
    lab = make(cache, tmp_path / "out")
    lab.quick = False
    healthy, collapsed = (with_kl(lab.fit(name), kl) for name, kl in (("good", 3.0), ("bad", 0.02)))
    lab.finding("It is so", True, "2 > 1", of=[healthy])
    lab.finding("It is so as well", True, "3 > 1", of=[healthy, collapsed])
    lab.finding("It is always so", True, "4 > 1")  # Which rests on all runs.
    assert [found.holds for found in lab.findings] == [True, None, None]
    why = "because the posterior of bad has collapsed (KL 0.02 nats)"
    assert str(lab.findings[1]) == f"No conclusion, {why}: It is so as well (3 > 1)."
    page = (lab.write() / "README.md").read_text()
    assert page.index("Nothing is concluded where") < page.index("It is so")
    assert "- Supported: It is so (" in page and page.count("- No conclusion") == 2


def test_a_collapse_that_is_asked_for_or_has_no_rate_is_no_fault(cache, tmp_path):
    lab = make(cache, tmp_path)
    lab.quick = False
    asked = with_kl(lab.fit("asked for", may_collapse=True), 0.0)
    others = [with_kl(lab.fit(p, posterior=p), 0.0) for p in ("prior_noise", "delta")]
    assert lab.finding("It is so", False, "1 < 2", of=[asked, *others]).holds is False
    assert not lab.warning


def test_a_quick_run_says_so_before_its_findings_and_concludes_nothing(cache, tmp_path):
    lab = make(cache, tmp_path / "out")
    found = lab.finding("It is so", True, "2 > 1", of=[with_kl(lab.fit("good"), 3.0)])
    assert found.holds is None and "the trainings were too short" in str(found)
    page = (lab.write() / "README.md").read_text()
    assert page.index("A quick run, of 1 epochs on 100 images, is too short") < page.index("It is")


def test_the_decoder_starts_at_the_mean_image(cache, tmp_path):
    """So that no density pushes all units of its last hidden layer the same way."""
    images = kvae.datasets.load("digits", "train", binarize=None).examples
    for make_likelihood, _ in LIKELIHOODS.values():
        vae = zoo.build(
            "dense_vae", event_shape=(8, 8, 1), latent_dim=2, likelihood=make_likelihood()
        )
        start_at_the_mean(vae, images)
        mean = vae.decode(np.zeros((1, 2), "float32"))[0]
        # 1 / 40 is the mean of a continuous Bernoulli at the bound of its logits.
        np.testing.assert_allclose(mean, np.maximum(images.mean(axis=0), 0.0), atol=0.026)


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
    bounded = kvae.posteriors.DiagonalGaussian(log_var_bound=5.0)
    assert _facts(bounded) != _facts(kvae.posteriors.DiagonalGaussian())


@pytest.mark.filterwarnings("error")
def test_dominated_counts_the_images_with_few_effective_samples(cache, tmp_path, eagerly):
    lab = make(cache, tmp_path, said := [])
    lab.scale = kvae.studies.lab.dataclasses.replace(lab.scale, num_samples=12)
    run = lab.fit("model")
    with pytest.warns(UserWarning, match="a few samples decide"):
        estimate = run.vae.log_prob(lab.test_images(run), num_samples=12)
    share = np.mean(estimate.effective_sample_size < 5.0)
    assert 0.1 < share < 1 and run.dominated == pytest.approx(share, abs=0.02)
    # A study says it in a line, and does not warn of what nobody can change.
    assert any("model: a few samples decide log p(x) of" in line for line in said)
