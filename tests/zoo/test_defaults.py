"""Tests of the defaults that follow the data: likelihood, binarization and sizes."""

import numpy as np
import pytest

import kvae
import zoo
from tests.photos import reconstruct_photos
from zoo.affordable import affordable
from zoo.defaults import LEARNED, suited
from zoo.networks import filters_for
from zoo.recipes import Recipe


@pytest.mark.parametrize(
    ("event_shape", "widths", "filters"),
    [
        ((28, 28, 1), (32, 64), (32, 64)),
        ((28, 20, 1), (32, 64), (32, 64)),
        ((8, 8, 1), (32, 64), (32, 64)),
        ((64, 64, 1), (32, 32, 64, 64), (32, 32, 64, 64)),
        ((32, 32, 3), (32, 64), (32, 64, 64)),
        ((96, 96, 3), (32, 64), (32, 64, 64, 64)),
        ((96, 96, 3), (16, 8), (16, 8, 8, 8)),
        ((512, 300, 3), (32, 64), (32, 64, 64, 64, 64, 64)),
        ((4, 400, 1), (32, 64), (32, 64)),
        ((64, 1), (32, 64), (32, 64)),
        ((1000, 2), (32, 64), (32, 64, 64, 64, 64, 64)),
    ],
)
def test_the_convolutions_follow_the_size(event_shape, widths, filters):
    assert filters_for(event_shape, widths) == filters


@pytest.mark.parametrize(
    ("name", "event_shape"),
    [
        ("conv_vae", (96, 96, 3)),
        ("beta_vae", (160, 160, 3)),
        ("conv_autoencoder", (96, 96, 3)),
        ("timeseries_vae", (4000, 2)),
    ],
)
def test_large_events_do_not_make_large_models(name, event_shape):
    assert zoo.build(name, event_shape=event_shape).count_params() < 2e6


GREY = np.linspace(0.2, 0.8, 64, dtype="float32").reshape(1, 8, 8, 1).repeat(40, axis=0)
LINES = np.where(GREY > 0.5, 0.97, 0.02).astype("float32")
COLOURS = np.uint8(255 * LINES).repeat(3, axis=-1)
NUMBERS = np.random.default_rng(0).normal(5, 2, (40, 6)).astype("float32")


@pytest.mark.parametrize(
    ("architecture", "arguments", "x", "likelihood", "binarize"),
    [
        ("conv_vae", {}, COLOURS, LEARNED, None),
        ("conv_vae", {}, np.uint8(255 * GREY), LEARNED, None),
        ("conv_vae", {}, LINES, None, "dynamic"),
        ("dense_vae", {}, NUMBERS, LEARNED, None),
        ("dense_vae", {}, np.float32(NUMBERS > 5), None, "dynamic"),
        ("conv_autoencoder", {}, GREY, None, None),
        ("dense_autoencoder", {}, NUMBERS, LEARNED, None),
        ("tabular_vae", {}, NUMBERS, None, None),
        ("conv_vae", {"likelihood": "laplace"}, GREY, "laplace", None),
        ("conv_vae", {"likelihood": "bernoulli"}, GREY, "bernoulli", None),
    ],
)
def test_the_likelihood_and_the_binarization_follow_the_values(
    architecture, arguments, x, likelihood, binarize
):
    data = kvae.datasets.Dataset(x)
    recipe = Recipe(
        f"{architecture}.mine", "/mine", {**arguments, "event_shape": tuple(x.shape[1:])}
    )
    found = suited(
        recipe,
        len(data),
        lambda: data,
        intensities=x.dtype == np.uint8,
        likelihood="likelihood" not in arguments,
    )
    assert found.arguments.get("likelihood") == likelihood and found.binarize == binarize
    assert found.batch_size == 16


@pytest.mark.parametrize(
    ("count", "batch_size"), [(10, 16), (1000, 16), (1437, 32), (3000, 64), (55_000, 128)]
)
def test_few_examples_come_in_small_batches(count, batch_size):
    recipe = Recipe("dense_vae.digits", "digits", {"event_shape": (8, 8, 1)})
    found = suited(recipe, count, lambda: None, intensities=True)
    assert found.batch_size == batch_size
    # A recipe of the zoo binarizes them, so that these images of grey levels are, too.
    assert found.binarize == "dynamic" and "likelihood" not in found.arguments
    kept = suited(recipe, count, lambda: None, intensities=True, binarize=False, batch_size=False)
    assert kept == recipe


def test_an_evaluation_is_sized_to_a_time(eagerly):
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, hidden=(4,))
    data = kvae.datasets.load("digits", "test", binarize="dynamic")[:60]
    for seconds, samples, examples in ((1e9, 1000, 60), (1e-9, 50, 20)):
        found = affordable(vae, data, seconds)
        assert (found.num_samples, found.num_examples) == (samples, examples)
    autoencoder = zoo.build("dense_autoencoder", event_shape=(8, 8, 1), latent_dim=2)
    assert affordable(autoencoder, data, 1e-9).num_examples == 60  # Its figures cost little.


@pytest.mark.slow  # That σ is learned, which makes the difference, is tested above.
def test_photos_are_recognized_after_a_few_epochs():
    """With σ = 1, which stays below the mean image here, they are grey squares."""
    sizes = {"filters": (8, 16), "hidden": 32, "latent_dim": 16}
    found, mean = reconstruct_photos(12, 192, epochs=16, learning_rate=4e-3, sizes=sizes)
    assert found > mean + 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("size", "count"), [(32, 1000), (96, 800)])
def test_photos_are_recognized_with_the_defaults(size, count):
    found, mean = reconstruct_photos(size, count, epochs=25)
    assert found > mean + 6.0
