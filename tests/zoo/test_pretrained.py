"""Every model that the zoo ships: its card, its file and its figures."""

import dataclasses
import functools
import json
import time
from concurrent import futures

import h5py
import numpy as np
import pytest
from sklearn.decomposition import PCA

import kvae
import zoo
from kvae import datasets, evaluation
from kvae.evaluation import annealed_log_prob
from kvae.utils import io
from zoo import cards, markdown, publishing, training, weights
from zoo.building import RECIPES
from zoo.recipes import Recipe, config

MODELS = zoo.list_models()
VAES = [name for name in MODELS if "nll" in zoo.card(name).metrics]
# A small model of each kind; the others are their like, or larger.
FEW = (
    "conv_vae.digits",
    "dense_autoencoder.digits",
    "dense_vae.digits",
    "hvae.mnist",
    "lstm_autoencoder.digits",
    "tabular_vae.breast_cancer",
    "timeseries_vae.signals",
    "vqvae.mnist",
)
SUBSET = 400

loaded = functools.cache(zoo.load)  # Not for tests that change a model.


def test_data(name):
    try:
        return training.test_data(RECIPES[name])
    except FileNotFoundError as error:
        pytest.skip(f"data not here: {error}")


test_data.__test__ = False


def told(vae, data):
    """What a conditional model is told of the examples of its card."""
    if vae.conditions is not None:
        return vae.conditions.record(data.labels, len(data))
    return data.labels.astype("int32") if vae.conditional else None


def test_each_recipe_has_its_card():
    assert zoo.list_models(untrained=True) == zoo.list_recipes()


@pytest.mark.parametrize("name", zoo.list_models(untrained=True))
class TestEveryCard:
    def test_card_follows_its_recipe(self, name):
        card, recipe = zoo.card(name), RECIPES[name]
        assert card.name == recipe.name
        assert card.architecture == recipe.architecture
        assert json.loads(json.dumps(dict(recipe.arguments))) == card.arguments
        assert card.recipe["command"] == recipe.command
        for field in ("seed", "epochs", "batch_size", "learning_rate"):
            assert card.recipe[field] == getattr(recipe, field)
        assert card.recipe.get("mantissa_bits") == recipe.mantissa_bits
        finish = card.recipe.get("finish")
        assert (finish is None) == (recipe.finish is None)
        for field, value in dataclasses.asdict(recipe.finish).items() if finish else ():
            assert finish[field] == value
        assert card.preprocessing["binarize"] == recipe.binarize
        assert card.license and card.paper


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_file_is_the_one_of_the_card(self, name):
        card = zoo.card(name)
        path = weights.find(card)
        assert path.stat().st_size == card.weights["bytes"] < 10e6
        assert card.versions["keras"]
        assert io.sha256_file(path) == card.weights["sha256"]
        if "finish" in card.recipe:
            before, described = weights.find(card, before=True), card.recipe["finish"]["before"]
            assert before.stat().st_size == described["bytes"]
            assert io.sha256_file(before) == described["sha256"] != card.weights["sha256"]
        held = 0

        def count(_, item):
            nonlocal held
            held += getattr(item, "size", 0)

        with h5py.File(path) as file:
            file.visititems(count)
        # The states of the noise as well, of recurrent layers too; and FactorVAE's discriminator.
        surplus = held - card.cost["parameters"]
        assert surplus in (2, 6, 10) or (card.architecture == "factor_vae" and surplus > 2)

    @pytest.mark.default(*FEW)
    def test_loads(self, name):
        vae, card = loaded(name), zoo.card(name)
        assert vae.count_params() == card.cost["parameters"]
        assert list(vae.event_shape) == card.preprocessing["shape"]

    @pytest.mark.default(*FEW)
    def test_figures_have_not_drifted(self, name):
        """The first images of the test split against the card's mean over all of them."""
        vae, card, data = loaded(name), zoo.card(name), test_data(name)
        if "normal" not in card.recipe:
            assert card.dataset["sha256"]["test"] == data.sha256
        rows = min(SUBSET, len(data))
        batches = [data[:rows].examples] if vae.conditional else list(data[:rows].batches(rows))
        x, target = batches[0] if isinstance(batches[0], tuple) else (batches[0], batches[0])
        own = vae.conditioned_on(told(vae, data[:rows])) if vae.conditional else vae
        terms = vae.objective.terms(own, x, target, training=False, seed=0)
        values = np.asarray(terms["reconstruction"])
        # Exact where the split is small enough to be used whole, up to the noise of z and x.
        error = 4 * values.std() / np.sqrt(rows)
        assert abs(values.mean() - card.metrics["reconstruction"]) < error

    @pytest.mark.default(*FEW)
    def test_reconstructs_better_than_the_mean(self, name, eagerly):
        if zoo.card(name).architecture == "symbol_vae":
            pytest.skip("class numbers are no amounts, and z holds what a sentence is about")
        vae, data = loaded(name), test_data(name)[:SUBSET]
        # Against the intensities: no model can predict the noise of a binarization.
        x = data.x / np.float32(255) if data.x.dtype == np.uint8 else data.x
        label = told(vae, data)
        found = vae(data.examples) if label is None else vae((data.examples, label))
        error = np.nanmean((np.asarray(found) - x) ** 2)
        if vae.latent_dim > 2:
            assert error < 0.5 * np.nanmean((np.nanmean(x, axis=0) - x) ** 2)
            return
        # The best that linear maps to and from two numbers can do, on these very images.
        rows = x.reshape(len(x), -1)
        pca = PCA(vae.latent_dim).fit(rows)
        assert error < np.mean((pca.inverse_transform(pca.transform(rows)) - rows) ** 2)


@pytest.mark.parametrize("name", VAES)
@pytest.mark.default("dense_vae.digits")
def test_log_prob_agrees_with_the_card(name):
    vae, card, data = loaded(name), zoo.card(name), test_data(name)
    nll = card.metrics["nll"]
    samples = min(200, nll["num_samples"])
    estimate = vae.log_prob(data[:100], num_samples=samples).summary()
    assert set(nll) >= {"nll", "standard_error", "num_samples"}
    # Fewer samples bias the estimate upwards, by less than a nat for most of these.
    bound = 4 * np.hypot(estimate["standard_error"], nll["standard_error"]) + 1.0
    assert abs(estimate["nll"] - nll["nll"]) < bound
    assert nll["nll"] < -card.metrics["elbo"]


@pytest.mark.slow  # The tests of kvae.evaluation have closed forms.
@pytest.mark.parametrize("name", ["conv_vae.digits", "dense_vae.digits"])
def test_annealed_and_plain_importance_sampling_agree(name):
    """Two estimators of the same log p(x), of which one owes little to the posterior."""
    vae, x = loaded(name), test_data(name).examples[:8]
    plain = vae.log_prob(x, num_samples=5000)
    annealed = annealed_log_prob(vae, x, num_steps=100, num_chains=8)
    error = np.hypot(plain.monte_carlo_error, annealed.monte_carlo_error)
    assert error.max() < 0.25
    assert (np.abs(plain.value - annealed.value) < 5 * error).all()
    assert abs(np.mean(plain.value - annealed.value)) < 0.06


@pytest.mark.slow  # tests/kvae/models/test_log_prob.py has the short one.
def test_same_bits_in_another_process(run_python, capsys):
    code = (
        "import hashlib, numpy, zoo\n"
        f"for name in {[name for name in VAES if 'conv' in name]!r}:\n"
        "    x = numpy.asarray(zoo.load(name).sample(4, seed=1))\n"
        "    print(name, x.shape, hashlib.sha256(x.tobytes()).hexdigest())"
    )
    elsewhere = run_python(code).stdout
    assert "conv_vae.mnist (4, 28, 28, 1)" in elsewhere
    exec(code, {})
    assert capsys.readouterr().out == elsewhere


def test_dense_vae_reaches_its_bar():
    """At most 88 nats: one stochastic layer, 50 latents, 5,000 importance samples."""
    card = zoo.card("dense_vae.mnist")
    assert zoo.load(card.name).latent_dim == 50
    assert card.metrics["nll"]["num_samples"] == 5000
    assert card.metrics["nll"]["nll"] <= 88.0


class TestBadFiles:
    @pytest.fixture
    def copy(self, tmp_path, monkeypatch):
        """A zoo of one model in a folder of its own."""
        name = "dense_vae.digits"
        source = weights.find(zoo.card(name))
        (tmp_path / "weights").mkdir()
        path = tmp_path / "weights" / source.name
        path.write_bytes(source.read_bytes())
        monkeypatch.setattr(weights, "_FOLDER", path.parent)
        monkeypatch.setenv("KVAE_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.delenv("KVAE_WEIGHTS_URL", raising=False)
        return name, path

    def test_truncated(self, copy):
        name, path = copy
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="truncated or altered"):
            zoo.load(name)

    @pytest.mark.parametrize("position", [0, 1000, -1])
    def test_one_bit_flipped(self, copy, position):
        name, path = copy
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match="truncated or altered"):
            zoo.load(name)

    def test_missing(self, copy):
        name, path = copy
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"kvae train --recipe {name}"):
            zoo.load(name)

    def test_downloaded_once_into_the_cache(self, copy, tmp_path, monkeypatch):
        name, path = copy
        served = tmp_path / "served"
        served.mkdir()
        path.rename(served / path.name)
        monkeypatch.setenv("KVAE_WEIGHTS_URL", served.as_uri())
        first = zoo.load(name).get_weights()
        (served / path.name).unlink()
        for one, other in zip(first, zoo.load(name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_who_wants_it_at_the_same_time_waits_and_does_not_download_it_again(
        self, copy, tmp_path, monkeypatch
    ):
        name, path = copy
        card, downloads, download = zoo.card(name), [], weights._download
        served = tmp_path / "served"
        served.mkdir()
        path.rename(served / path.name)
        monkeypatch.setenv("KVAE_WEIGHTS_URL", served.as_uri())

        def slow(*arguments):
            downloads.append(arguments)
            time.sleep(0.3)
            download(*arguments)

        monkeypatch.setattr(weights, "_download", slow)
        with futures.ThreadPoolExecutor(3) as pool:
            found = set(pool.map(weights.find, [card] * 3))
        assert len(downloads) == 1 and found == set((tmp_path / "cache").iterdir())

    def test_altered_download_is_not_kept(self, copy, tmp_path, monkeypatch):
        name, path = copy
        served = tmp_path / "served"
        served.mkdir()
        (served / path.name).write_bytes(path.read_bytes() + b"!")
        path.unlink()
        monkeypatch.setenv("KVAE_WEIGHTS_URL", served.as_uri())
        with pytest.raises(ValueError, match="truncated or altered"):
            zoo.load(name)
        assert not list((tmp_path / "cache").iterdir())

    def test_address_has_to_be_http(self, copy, monkeypatch):
        name, path = copy
        path.unlink()
        monkeypatch.setenv("KVAE_WEIGHTS_URL", "ftp://example.org")
        with pytest.raises(ValueError, match="http"):
            zoo.load(name)


def test_unknown_names_show_the_nearest():
    for call in (zoo.load, zoo.card):
        with pytest.raises(ValueError, match="Did you mean 'dense_vae.mnist'"):
            call("dense_vae.mnits")
    with pytest.raises(ValueError, match="recipe"):
        RECIPES["dense_vae.nope"]


def test_patterns():
    assert zoo.list_models("*.digits") == [name for name in MODELS if name.endswith(".digits")]
    assert zoo.list_models("conv_vae") == [name for name in MODELS if "conv_vae" in name]
    assert zoo.list_models("nothing") == []


def test_damaged_card(tmp_path):
    path = tmp_path / "card.json"
    for text in ("{", "[]", '{"name": "x"}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="no model card"):
            cards.Card.read(path)


@pytest.mark.slow  # `test_registry.py` has the card, `test_procedure.py` the going on.
def test_retraining_a_recipe(tmp_path, eagerly):
    """A short training writes weights and a card that load; a second one finds it finished."""
    recipe = dataclasses.replace(RECIPES["dense_vae.digits"], epochs=2, num_samples=5)
    model, checkpoint = training.train(recipe, tmp_path / "run", verbose=0, limit=128)
    metrics = training.measure(recipe, model)
    card = publishing.publish(recipe, model, checkpoint, metrics, tmp_path)
    assert cards.Card.read(tmp_path / "cards" / "dense_vae.digits.json") == card
    assert card.recipe["best_epoch"] in (1, 2)
    bare = zoo.build(card.architecture, **card.arguments)
    bare.load_weights(tmp_path / "weights" / card.weights["file"])
    x = kvae.datasets.load("digits", "test").examples[:5]
    np.testing.assert_array_equal(bare.reconstruct(x), model.reconstruct(x))
    again, _ = training.train(recipe, tmp_path / "run", verbose=0, limit=128)
    np.testing.assert_array_equal(again.reconstruct(x), model.reconstruct(x))
    with pytest.raises(ValueError, match="another training"):
        training.train(dataclasses.replace(recipe, seed=9), tmp_path / "run", verbose=0)


@pytest.mark.slow
def test_a_recipe_of_sprites(tmp_path, monkeypatch):
    """A few steps: the best weights by validation loss, and scores of disentanglement."""
    few = {split: datasets.Sprites().rows(split)[:16] for split in datasets.SPLITS}
    images = {s: datasets.Sprites().render(datasets.Sprites().factors(r)) for s, r in few.items()}

    def load(name, split, binarize=None, seed=0):
        assert name == "sprites" and binarize is None
        return datasets.Dataset(images[split], name=name, split=split, seed=seed)

    monkeypatch.setattr(datasets, "load", load)
    sizes = dict(num_train=60, num_test=30, num_groups=20, group_size=4)
    monkeypatch.setattr(
        training, "disentanglement", lambda *a, **k: evaluation.disentanglement(*a, **k, **sizes)
    )
    recipe = RECIPES["beta_tcvae.sprites"]
    small = {**recipe.arguments, "filters": (4, 4, 4, 4), "hidden": 16}
    recipe = dataclasses.replace(recipe, arguments=small, epochs=2, batch_size=8, num_samples=2)
    model, checkpoint = training.train(recipe, tmp_path / "run", verbose=0)
    losses = checkpoint.history["val_loss"]
    assert checkpoint.best == min(losses) and len(losses) == 2
    metrics = training.measure(recipe, model)
    assert 0 <= metrics["mig"] <= 1 and metrics["nll"]["num_samples"] == 2
    card = publishing.publish(recipe, model, checkpoint, metrics, tmp_path)
    score = metrics["factor_vae_score"]
    assert card.metrics["factor_vae_score"] == score and card.headline.startswith(
        f"FactorVAE score {score:.3f}"
    )
    assert "NLL" in markdown.facts(card) and "MIG" in card.headline


@pytest.mark.slow
def test_a_recipes_sampler_fits_the_prior_of_the_card(tmp_path):
    arguments = {"event_shape": (8, 8, 1), "latent_dim": 2, "hidden": (8,)}
    arguments["prior"] = config(kvae.priors.GaussianMixture(covariance="full", name="prior"))
    recipe = Recipe(
        "dense_vae.fitted",
        "digits",
        arguments,
        epochs=1,
        sampler="gaussian_mixture",
    )
    model, checkpoint = training.train(recipe, tmp_path / "run", verbose=0, limit=128)
    codes = kvae.samplers.aggregate_codes(model, training.data_of(recipe, "train")[:128])
    normal = kvae.priors.StandardNormal(latent_dim=2)
    fits = [np.mean(prior.log_prob(np.float32(codes))) for prior in (model.prior, normal)]
    assert fits[0] > fits[1] + 0.1
    card = publishing.publish(recipe, model, checkpoint, {}, tmp_path)
    assert card.recipe["sampler"] == "gaussian_mixture"
    again = zoo.build(card.architecture, **card.arguments)
    again.load_weights(tmp_path / "weights" / card.weights["file"])
    np.testing.assert_array_equal(again.sample(3, seed=0), model.sample(3, seed=0))
