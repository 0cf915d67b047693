"""Sample quality, rate and distortion: generators whose quality is known."""

import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
import zoo
from kvae import evaluation, plots
from kvae.datasets import Dataset
from kvae.evaluation import frechet_distance, sample_quality
from kvae.evaluation import precision_recall_density_coverage as prdc
from kvae.evaluation.samples import features
from kvae.utils import io
from kvae.utils.register import Register
from zoo import classifiers, weights


@pytest.fixture(scope="module")
def splits():
    return {name: kvae.datasets.load("digits", name) for name in kvae.datasets.SPLITS}


def generator(images):
    """What samples like a model, and gives these images."""
    return types.SimpleNamespace(
        name="generator", conditional=False, sample=lambda n, seed, output: images[:n]
    )


def test_of_new_images(splits):
    test, train = splits["test"], splits["train"]
    new = generator(splits["validation"].examples)
    found = sample_quality(new, test, 150, seed=1, train=train)
    # New images are as good as training images are.
    assert found["settings"]["features"] == "classifier of digits"
    assert found["frechet_distance"] == pytest.approx(found.reference["frechet_distance"], rel=0.5)
    for name in ("precision", "recall", "coverage"):
        assert found[name] == pytest.approx(found.reference[name], abs=0.1)
    assert abs(found["copying"] - 0.5) < 4 * found["copying_error"]


@pytest.mark.slow  # `test_neighbors.py` has them by numbers.
def test_of_copies_and_of_noise(splits):
    test, train = splits["test"], splits["train"]
    new = generator(splits["validation"].examples)
    found = sample_quality(new, test, 150, seed=1, train=train)
    copies = sample_quality(generator(train.examples), test, 150, seed=1, train=train)
    assert copies["near_copies"] == copies["copying"] == 1.0
    assert copies["median_distance"] == 0.0 < copies["median_distance_held_out"]
    np.testing.assert_array_equal(copies.neighbors.index, np.arange(150))

    noise = generator(np.random.default_rng(0).random((150, 8, 8, 1), np.float32))
    bad = sample_quality(noise, test, 150, seed=1, train=train)
    assert bad["frechet_distance"] > 10 * found["frechet_distance"]
    assert bad["coverage"] < 0.2 and bad["copying"] == 0.0


def test_figures_are_those_of_their_functions(make_vae, splits):
    vae = make_vae()
    test = kvae.datasets.load("digits", "test", binarize="static")
    found = sample_quality(vae, test, 60, seed=3, features="pixels", neighbors=3)
    rows = np.random.Generator(np.random.Philox(3)).permutation(200)[:60]
    real = test.examples[rows].reshape(60, -1)
    # Binarized data are compared with draws, not with means.
    generated = vae.sample(60, seed=3, output="sample").numpy().reshape(60, -1)
    assert set(np.unique(generated)) == {0.0, 1.0}
    assert found.to_dict() == {
        "frechet_distance": frechet_distance(real, generated),
        **prdc(real, generated, 3),
        "reference": {},
        "settings": found["settings"],
    }
    assert found.neighbors is None
    own = sample_quality(vae, test, 60, seed=3, features=lambda x: 2 * x.reshape(60, -1))
    assert own["frechet_distance"] == pytest.approx(4 * found["frechet_distance"], rel=1e-6)


def test_a_conditional_model_is_given_the_labels_of_the_data(splits):
    seen = {}

    def sample(n, seed, output, label):
        seen["label"] = label
        return splits["train"].examples[:n]

    vae = types.SimpleNamespace(name="model", conditional=True, sample=sample)
    sample_quality(vae, splits["test"], 20, seed=5, features="pixels")
    rows = np.random.Generator(np.random.Philox(5)).permutation(200)[:20]
    np.testing.assert_array_equal(seen["label"], splits["test"].labels[rows])


def test_sample_quality_refuses(splits):
    vae = generator(splits["train"].examples)
    with pytest.raises(ValueError, match="at most the 200"):
        sample_quality(vae, splits["test"], 201)
    with pytest.raises(ValueError, match="load both alike"):
        binary = kvae.datasets.load("digits", "train", binarize="static")
        sample_quality(vae, splits["test"], 50, train=binary)
    with pytest.raises(ValueError, match="Did you mean 'pixels'"):
        sample_quality(vae, splits["test"], 50, features="pixel")
    wrong = Dataset(np.random.default_rng(0).random((40, 9, 9, 1)))
    with pytest.raises(ValueError, match=r"takes images \(8, 8, 1\)"):
        sample_quality(generator(wrong.examples), wrong, 30, features="digits")


def test_a_result_is_a_mapping_a_table_json_and_markdown(tmp_path):
    values = {"rate": 1.23456, "name": "a|b"}
    result = evaluation.Result("Title", values, ("figure", "value"), list(values.items()), "note")
    assert dict(result) == values and len(result) == 2
    assert str(result).splitlines() == [
        *("Title", "note", ""),
        *("figure  value", "------  -----", "rate    1.235", "name    a|b"),
    ]
    assert json.loads(result.to_json(tmp_path / "r.json")) == {
        "title": "Title",
        "note": "note",
        **values,
    }
    assert (tmp_path / "r.json").read_text() == result.to_json()
    assert "| rate | 1.235 |" in result.to_markdown(tmp_path / "r.md")
    assert r"a\|b" in (tmp_path / "r.md").read_text()


# Features.


@pytest.mark.default("digits")
@pytest.mark.parametrize("name", zoo.list_classifiers())
def test_a_shipped_classifier_is_what_its_card_says(name):
    card = classifiers.classifier_card(name)
    assert card.weights["bytes"] == weights.find(card).stat().st_size < 1e6
    try:
        data = kvae.datasets.load(name, "test")
    except FileNotFoundError as error:
        pytest.skip(f"data not here: {error}")
    assert data.sha256 == card.dataset["sha256"]["test"]
    data = data[:2000]
    model = zoo.load_classifier(name)
    outputs = model.predict(data.examples, batch_size=500, verbose=0)
    accuracy = np.mean(outputs["logits"].argmax(axis=1) == data.labels)
    error = np.sqrt(card.metrics["accuracy"] * (1 - card.metrics["accuracy"]) / len(data))
    assert abs(accuracy - card.metrics["accuracy"]) < 4 * error
    np.testing.assert_array_equal(
        evaluation.classifier_features(name)(data.examples[:500]), outputs["features"][:500]
    )


@pytest.mark.slow  # A process; `test_plugins.py` tests entry points.
def test_a_fresh_process_finds_the_classifier_of_the_data(run_python):
    """By the entry point of the group kvae.features; the evaluation itself imports no zoo."""
    run_python(
        "import sys, types, kvae\n"
        "test, train = (kvae.datasets.load('digits', split) for split in ('test', 'train'))\n"
        "sample = lambda n, seed, output: train.examples[:n]\n"
        "vae = types.SimpleNamespace(name='generator', conditional=False, sample=sample)\n"
        "import kvae.evaluation\n"
        "assert 'zoo' not in sys.modules\n"
        "found = kvae.evaluation.sample_quality(vae, test, 20)\n"
        "assert found['settings']['features'] == 'classifier of digits', found['settings']"
    )


def test_features_of_ones_own_have_a_name(splits, monkeypatch):
    monkeypatch.setattr(features, "_FEATURES", Register("features"))

    @evaluation.register_features("digits")
    def features_of_rows():
        def mean_of_rows(images):
            return np.mean(images, axis=(2, 3))

        return mean_of_rows

    assert evaluation.registered_features() == ["digits"]
    vae, test = generator(splits["train"].examples), splits["test"]
    found = sample_quality(vae, test, 20)
    assert found["settings"]["features"] == "mean_of_rows"
    same = sample_quality(vae, test, 20, features=features_of_rows())
    assert found["frechet_distance"] == same["frechet_distance"]


def test_classifiers_are_known():
    assert zoo.list_classifiers() == ["digits", "mnist"]
    assert not any("classifier" in name for name in zoo.list_models())
    with pytest.raises(ValueError, match="'mnist'"):
        zoo.load_classifier("mnits")


@pytest.mark.slow
def test_training_a_classifier_repeats_and_writes_its_card(tmp_path, monkeypatch):
    monkeypatch.setitem(
        classifiers._RECIPES, "digits", {"epochs": 15, "batch_size": 32, "learning_rate": 3e-3}
    )
    first, second = (
        classifiers.train_classifier("digits", tmp_path / part, limit=600) for part in "ab"
    )
    path = tmp_path / "a" / "weights" / "classifier.digits.weights.h5"
    assert first.weights["sha256"] == io.sha256_file(path)
    model = classifiers.build_classifier((8, 8, 1), 10)
    model.load_weights(path)
    weights_a = model.get_weights()
    model.load_weights(tmp_path / "b" / "weights" / path.name)
    for a, b in zip(weights_a, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.metrics == second.metrics and first.metrics["accuracy"] > 0.5


def test_inception_is_given_what_it_expects(monkeypatch):
    seen = {}

    def network(**options):
        seen.update(options)
        return lambda x, training: tf.reduce_mean(x, axis=(1, 2))

    monkeypatch.setattr(keras.applications, "InceptionV3", network)
    inception = evaluation.inception_features(weights="file.h5", batch_size=2)
    assert seen == {
        "include_top": False,
        "pooling": "avg",
        "weights": "file.h5",
        "input_shape": (299, 299, 3),
    }
    levels = np.array([0.0, 0.25, 1.0], np.float32)[:, None, None, None]
    found = inception(np.broadcast_to(levels, (3, 8, 8, 1)))  # Grey, in two batches.
    np.testing.assert_allclose(found, np.repeat([[-1.0], [-0.5], [1.0]], 3, axis=1), atol=1e-6)
    with pytest.raises(ValueError, match="1 or 3"):
        inception(np.zeros((2, 8, 8, 2)))

    def offline(**options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    with pytest.raises(FileNotFoundError, match="URL fetch failure.*notop.h5"):
        evaluation.inception_features()


# Rate and distortion.


def test_rate_and_distortion_of_a_linear_gaussian_model(linear_gaussian):
    x = linear_gaussian.draw(300, seed=1)
    vae, data = linear_gaussian.vae(), Dataset(x)
    result = evaluation.rate_distortion(
        {"exact": vae, "known": {"kl": 1, "reconstruction": 2}}, data
    )
    assert result["known"] == {"rate": 1.0, "distortion": 2.0, "elbo": -3.0}
    point, var = result["exact"], linear_gaussian.variance
    mean = (x - linear_gaussian.b) @ linear_gaussian.a.T
    rate = 0.5 * np.mean(np.sum(mean**2 + var - 1 - np.log(var), axis=1))
    assert point["rate"] == pytest.approx(rate, rel=1e-5)
    # With the exact posterior the two make up −log p(x); one draw of z for each example.
    total = -linear_gaussian.log_prob(x).mean()
    assert point["rate"] + point["distortion"] == pytest.approx(total, abs=0.3)
    assert point["elbo"] == -point["rate"] - point["distortion"]


def test_rate_distortion_refuses(make_vae, digits):
    with pytest.raises(ValueError, match="names"):
        evaluation.rate_distortion({})
    with pytest.raises(ValueError, match="'a' has no `kl`"):
        evaluation.rate_distortion({"a": {"elbo": 1.0}})
    with pytest.raises(ValueError, match="measured on `data`"):
        evaluation.rate_distortion({"a": make_vae()})
    with pytest.raises(ValueError, match="infinite"):
        autoencoder = make_vae(posterior="delta", prior=None)
        evaluation.rate_distortion({"a": autoencoder}, Dataset(digits))


# Pictures.


def test_the_plot_of_rate_and_distortion_has_the_models_where_they_are(tmp_path):
    result = evaluation.rate_distortion(
        {"a": {"kl": 3.0, "reconstruction": 90.0}, "b": {"kl": 12.0, "reconstruction": 70.0}}
    )
    (ax,) = plots.rate_distortion(result, path=tmp_path / "rd.png").axes
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[3, 90], [12, 70]])
    assert [text.get_text() for text in ax.texts][:2] == ["a", "b"]
    lines = [line.get_slope() for line in ax.lines]
    assert lines and set(lines) == {-1.0}
    assert (tmp_path / "rd.png").stat().st_size > 0


def test_the_plot_of_neighbours_shows_the_nearest_pairs(splits):
    train, generated = splits["train"].examples, splits["validation"].examples[:30].copy()
    generated[17] = train[5]
    found = evaluation.training_neighbors(generated, train, splits["test"].examples)
    figure = plots.training_neighbors(generated, splits["train"], found, n=4)
    histogram, pairs = figure.axes
    heights = [patch.get_height() for patch in histogram.patches]
    assert sum(heights) == pytest.approx(2.0)  # Two distributions.
    shown = np.asarray(pairs.images[0].get_array())
    assert shown.shape == (17, 4 * 8 + 3)
    np.testing.assert_array_equal(shown[:8, :8], train[5, :, :, 0])  # The copy, and its original.
    np.testing.assert_array_equal(shown[9:, :8], train[5, :, :, 0])
    second = np.argsort(found.generated)[1]
    np.testing.assert_array_equal(shown[9:, 9:17], train[found.index[second], :, :, 0])
    with pytest.raises(ValueError, match="not of 29"):
        plots.training_neighbors(generated[1:], splits["train"], found)
