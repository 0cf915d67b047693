"""Data in batches, in the functions that measure a model or are fitted to its codes."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import kvae
import zoo
from kvae import evaluation
from kvae.datasets import Dataset, Shards, kinds, write_shards

N, CLASSES = 50, 3


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tuple(values[30 * index : 30 * (index + 1)] for values in self.arrays)


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).integers(0, 2, (N, 16)).astype("float32")


@pytest.fixture(scope="module")
def labels():
    return np.arange(N) % CLASSES


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae((16,))


@pytest.fixture(scope="module")
def conditional():
    keras.utils.set_random_seed(3)
    return zoo.build("dense_vae", event_shape=(16,), latent_dim=2, hidden=(8,), num_classes=CLASSES)


@pytest.fixture(scope="module")
def streams(table, labels, tmp_path_factory):
    """The table by kinds of data, in batches of other sizes than those that are asked for."""
    folder = tmp_path_factory.mktemp("streams")
    batches = tf.data.Dataset.from_tensor_slices
    return {
        "shards": Shards(write_shards(Dataset(table, labels), folder / "shards", num_shards=2)),
        "tf.data": batches((table, labels)).batch(30),
        "dicts": batches({"image": table, "label": labels}).batch(7),
        "PyDataset": Batches(table, labels),
    }


KINDS = ["shards", "tf.data", "dicts", "PyDataset"]


@pytest.fixture(scope="module")
def truth(vae, conditional, table, labels):
    """Returns the results of the functions for arrays."""
    return {
        model.conditional: figures(model, Dataset(table, labels)) for model in (vae, conditional)
    }


def figures(model, data):
    summary = evaluation.latent_summary(model, data, seed=1)
    found = {
        "log_prob": model.log_prob(data, 6, batch_size=20, seed=1).value,
        "reconstruct": model.reconstruct(data, seed=1),
        "rate": summary.rate,
        "units": summary.variance_of_means,
        "information": summary.mutual_information,
    }
    if not model.conditional:
        sampler = kvae.samplers.GaussianMixture(num_components=2).fit(model, data, seed=1)
        found["sampler"] = sampler.log_prob(np.zeros((1, 2)))
    return found


@pytest.mark.default("dicts")
@pytest.mark.parametrize("name", KINDS)
def test_the_figures_are_those_of_arrays(name, vae, conditional, streams, truth):
    """The noise depends on the examples' places, and not on the batches in which they come."""
    for model in (vae, conditional):
        found = figures(model, streams[name])
        for key, wanted in truth[model.conditional].items():
            np.testing.assert_allclose(found[key], wanted, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.default("dicts")
@pytest.mark.parametrize("name", ["shards", "dicts"])
def test_annealed_estimates(name, vae, streams, table):
    options = {"num_chains": 2, "num_steps": 3, "batch_size": 20, "seed": 1}
    np.testing.assert_allclose(
        evaluation.annealed_log_prob(vae, streams[name], **options).value,
        evaluation.annealed_log_prob(vae, table, **options).value,
        rtol=1e-4,
    )


@pytest.fixture(scope="module")
def evaluated(conditional, table, labels):
    data = Dataset(table, labels)
    return evaluation.evaluate(
        conditional, data, num_samples=4, batch_size=20, latents=True, probes=True, train=data
    )


@pytest.mark.default("dicts")
@pytest.mark.parametrize("name", KINDS)
def test_evaluate(name, conditional, streams, evaluated, tmp_path):
    data = streams[name]
    found = evaluation.evaluate(
        conditional, data, num_samples=4, batch_size=20, latents=True, probes=True, train=data
    )
    for key in ("elbo", "reconstruction", "kl"):
        assert found[key] == pytest.approx(evaluated[key], rel=1e-5)
    # With so few samples there is no `heavy_tailed`: None, of which there is no approximation.
    assert found["nll"].pop("heavy_tailed") is evaluated["nll"].get("heavy_tailed") is None
    wanted = {key: value for key, value in evaluated["nll"].items() if key != "heavy_tailed"}
    assert found["nll"] == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    assert found["probes"] == pytest.approx(evaluated["probes"])
    assert found["latents"]["rate"] == pytest.approx(evaluated["latents"]["rate"], rel=1e-4)


@pytest.mark.slow  # `test_evaluate` above is of streams, which are harder.
def test_evaluate_takes_arrays_frames_and_pairs(vae, conditional, table, labels, evaluated):
    wanted = evaluation.evaluate(vae, Dataset(table), num_samples=2)
    for data in (table, table.tolist(), scipy.sparse.csr_matrix(table), {"image": table}):
        assert evaluation.evaluate(vae, data, num_samples=2)["elbo"] == wanted["elbo"]
    found = evaluation.evaluate(conditional, (table, labels), num_samples=4, batch_size=20)
    assert found["elbo"] == pytest.approx(evaluated["elbo"], rel=1e-6)
    with pytest.raises(ValueError, match=r"read once.*from_generator"):
        evaluation.evaluate(vae, iter([table]))


def test_targets_of_batches_are_what_is_reconstructed(vae, table):
    """A denoising model is measured against the clean data, as a Dataset with a target is."""
    noisy = np.clip(table + 0.25, 0, 1).astype("float32")
    wanted = evaluation.rate_distortion({"a": vae}, Dataset(noisy, target=table))["a"]
    pairs = tf.data.Dataset.from_tensor_slices((noisy, table)).batch(30)
    found = evaluation.rate_distortion({"a": vae}, pairs)["a"]
    assert found == pytest.approx(wanted, rel=1e-5)
    other = evaluation.rate_distortion({"a": vae}, noisy)["a"]
    assert abs(other["distortion"] - wanted["distortion"]) > 1e-3


def test_sample_quality(vae, streams, table):
    wanted = evaluation.sample_quality(vae, Dataset(table), 20, neighbors=3, train=Dataset(table))
    found = evaluation.sample_quality(
        vae, streams["shards"], 20, neighbors=3, train=streams["dicts"]
    )
    for key in ("frechet_distance", "coverage", "copying"):
        assert found[key] == pytest.approx(wanted[key], rel=1e-4)


@pytest.mark.slow  # The annealed estimates above read batches as it does.
def test_the_curve(vae, streams, table):
    options = {"num_chains": 2, "num_steps": 3, "num_leapfrog": 1}
    curves = [
        evaluation.rate_distortion_curve(vae, data, **options) for data in (table, streams["dicts"])
    ]
    np.testing.assert_allclose(curves[1].curve["rate"], curves[0].curve["rate"], rtol=1e-4)


@pytest.mark.slow  # `test_log_prob.py` has the cache.
def test_estimates_in_a_cache_go_on_with_streams(vae, streams, tmp_path, table):
    options = {"num_samples": 3, "batch_size": 20, "cache": tmp_path / "cache.npz"}
    first = vae.log_prob(streams["shards"], **options).value
    np.testing.assert_array_equal(vae.log_prob(streams["shards"], **options).value, first)
    np.testing.assert_array_equal(vae.log_prob(table, **options).value, first)  # The same data.
    with pytest.raises(ValueError, match="its data differ"):
        vae.log_prob(1 - table, **options)


def test_a_stream_is_cut_without_reading_it_whole(streams, table, labels):
    shards = streams["shards"]
    rows = np.array([41, 3, 3, 7])
    part = shards.take(rows)
    np.testing.assert_array_equal(part.x, table[rows])
    np.testing.assert_array_equal(part.labels, labels[rows])
    np.testing.assert_array_equal(shards[10:20:2].x, table[10:20:2])
    np.testing.assert_array_equal(shards.dataset(5).x, table[:5])
    np.testing.assert_array_equal(shards.dataset().x, table)
    with pytest.raises(TypeError, match="slice"):
        shards[3]


@pytest.mark.parametrize("name", KINDS)
def test_latent_monitor(name, streams, table, labels, conditional):
    wanted = kvae.callbacks.LatentMonitor(Dataset(table, labels), num_examples=10)
    found = kvae.callbacks.LatentMonitor(streams[name], num_examples=10)
    for monitor in (wanted, found):
        monitor.set_model(conditional)
        monitor.on_epoch_end(0, {})
    np.testing.assert_allclose(
        found.summary.variance_of_means, wanted.summary.variance_of_means, rtol=1e-4
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: (x, y),
        lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(30),
        lambda x, y: tf.data.Dataset.from_tensor_slices({"image": x, "label": y}).batch(30),
        lambda x, y: {"image": x, "label": y},
        lambda x, y: [(x[:30], y[:30]), (x[30:], y[30:])],
        lambda x, y: (
            (scipy.sparse.csr_matrix(x[i : i + 10]), y[i : i + 10]) for i in range(0, N, 10)
        ),
        lambda x, y: Batches(x, y),
    ],
)
def test_write_shards_takes_every_kind(make, table, labels, tmp_path):
    shards = Shards(write_shards(make(table, labels), tmp_path / "shards", num_shards=2))
    np.testing.assert_array_equal(shards.dataset().x, table)
    np.testing.assert_array_equal(shards.dataset().labels, labels)


def test_write_shards_of_an_array_keeps_its_rows(table, tmp_path):
    """An array is no iterable of blocks: its rows are examples."""
    images = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 4, 1)
    shards = Shards(write_shards(images, tmp_path / "images", num_shards=2))
    np.testing.assert_array_equal(shards.dataset().x, images)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["x"] = table
        shards = Shards(write_shards(file["x"], tmp_path / "table", num_shards=2))
    np.testing.assert_array_equal(shards.dataset().x, table)


def test_pictures_starts_and_features(vae, table, streams):
    masked = np.ma.array(table, mask=table > 0)
    rows = kvae.plots.checked.as_events(vae, scipy.sparse.csr_matrix(table))
    np.testing.assert_array_equal(rows, table)
    prior = kvae.priors.Vamp(2, initial=scipy.sparse.csr_matrix(table))
    kvae.VAE(vae.encoder, vae.decoder, latent_dim=2, prior=prior)
    for call, message in {
        lambda: kvae.plots.latent_scatter(vae, masked): "masked",
        lambda: kvae.plots.latent_scatter(vae, streams["tf.data"]): r"gives batches.*next\(iter",
        lambda: kvae.plots.latent_scatter(vae, streams["shards"]): r"`dataset\(\)`",
        lambda: evaluation.frechet_distance(masked, table): "masked",
        lambda: evaluation.training_neighbors(masked, table, table): "masked",
        lambda: evaluation.linear_probe(masked, table[:, 0], table, table[:, 0]): "masked",
        lambda: kvae.callbacks.LatentMonitor(masked): "masked",
        lambda: kinds.as_array(streams["shards"]): r"`dataset\(\)`",
    }.items():
        with pytest.raises(ValueError, match=message):
            call()


# Data that no method takes.


def test_batches_without_an_end_and_without_a_batch(vae, table):
    endless = tf.data.Dataset.from_tensor_slices(table).batch(8).repeat()
    with pytest.raises(ValueError, match=r"without an end.*take"):
        vae.encode(endless)
    with pytest.raises(ValueError, match="gives no batch"):
        vae.encode(iter([]))
    for way in (vae.train_on_batch, vae.test_on_batch, vae.predict_on_batch):
        with pytest.raises(ValueError, match=r"a \w*Dataset"):
            way(endless)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda x: tf.data.Dataset.from_tensor_slices(x), r"dataset.batch\(128\)"),
        (lambda x: np.moveaxis(np.concatenate([x] * 3, -1), -1, 1), r"np.moveaxis\(x, 1, -1\)"),
        (
            lambda x: np.concatenate([x] * 3, -1).reshape(len(x), -1),
            r"x.reshape\(\(-1, 8, 8, 3\)\)",
        ),
    ],
)
def test_data_that_nearly_fits(make, message, make_vae, digits):
    vae = make_vae((8, 8, 3) if "batch" not in message else (8, 8, 1), optimizer="sgd")
    for way in (vae.encode, lambda x: vae.fit(x, verbose=0)):
        with pytest.raises(ValueError, match=message):
            way(make(digits))
    if "moveaxis" in message:  # What is advised works.
        vae.encode(np.moveaxis(make(digits), 1, -1))


def test_latents_in_batches_are_refused(vae):
    with pytest.raises(ValueError, match=r"`z` is an array \(n, 2\), not the batches"):
        vae.decode(iter([np.zeros((3, 2))]))
