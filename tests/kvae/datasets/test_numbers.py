"""Datasets of bytes that are no intensities: class numbers and counts, for whole-number models."""

import numpy as np
import pytest
import scipy.special

import kvae
from kvae.datasets import Dataset, from_array, train_validation_split


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(3.0, size=(40, 6)).astype("uint8")


def test_numbers_stay_as_they_are_everywhere(counts):
    data = Dataset(counts, intensities=False)
    whole = [data, data[10:], from_array(counts, intensities=False)]
    whole += list(train_validation_split(data, 0.25, seed=1))
    assert [len(part) for part in whole] == [40, 30, 40, 30, 10]
    for part in whole:
        assert not part.intensities and part.x.dtype == np.uint8
        np.testing.assert_array_equal(part.examples, part.x.astype("float32"))
    seen = np.concatenate([batch.numpy() for batch in data.batches(16)])
    np.testing.assert_array_equal(seen, counts)
    np.testing.assert_allclose(Dataset(counts).examples, counts / 255.0, rtol=1e-6)


def test_a_split_keeps_the_noise_of_a_denoising_autoencoder(digits):
    for part in train_validation_split(Dataset(digits, noise=0.5), 0.25):
        assert part.noise == 0.5


@pytest.mark.default("event1")
@pytest.mark.parametrize("event", [(6,), (2, 3, 1)])
def test_a_poisson_model_sees_the_counts(make_vae, counts, event):
    """Against p(x|z) by hand: rate 1 everywhere, as the decoder's last layer is zero."""
    data = Dataset(counts.reshape(-1, *event), intensities=False)
    vae = make_vae(event, likelihood=kvae.likelihoods.Poisson(), optimizer="sgd", eager=True)
    for weight in vae.decoder.weights:
        weight.assign(np.zeros(weight.shape))
    exact = np.mean(np.sum(1.0 + scipy.special.gammaln(counts + 1.0), axis=-1))
    result = vae.evaluate(data, verbose=0, return_dict=True)
    assert result["reconstruction"] == pytest.approx(exact, rel=1e-5)
    assert np.isfinite(vae.fit(data, verbose=0).history["loss"]).all()
    assert vae.log_prob(data[:3], 5).value.shape == (3,)


@pytest.mark.default("categorical")
@pytest.mark.parametrize(
    "likelihood, x, message",
    [
        (kvae.likelihoods.Poisson(), np.full((4, 6), 2), "Poisson takes whole numbers"),
        (
            kvae.likelihoods.Categorical(8),
            np.full((4, 2, 3), 7),
            "Categorical takes whole",
        ),
        (
            kvae.likelihoods.MixedTabular([("categorical", 4)] * 6),
            np.full((4, 6), 3),
            "takes whole numbers",
        ),
    ],
    ids=["poisson", "categorical", "mixed_tabular"],
)
def test_bytes_divided_by_255_are_no_whole_numbers(make_vae, likelihood, x, message):
    x = x.astype("uint8")
    vae = make_vae(x.shape[1:], likelihood=likelihood, optimizer="sgd", eager=True)
    for call in (vae.fit, vae.evaluate):
        with pytest.raises(ValueError, match=rf"{message}.*Dataset\(..., intensities=False\)"):
            call(Dataset(x), verbose=0)
        assert call(Dataset(x, intensities=False), verbose=0)
        assert call(x, verbose=0)  # An array has always meant its own numbers.


def test_numbers_outside_the_support_are_found(make_vae):
    x = np.zeros((4, 2, 3), "uint8")
    x[2, 1, 1] = 9
    vae = make_vae((2, 3), likelihood=kvae.likelihoods.Categorical(8), optimizer="sgd", eager=True)
    with pytest.raises(ValueError, match=r"from 0 to 9, outside the support \[0, 7\]"):
        vae.fit(Dataset(x, intensities=False), verbose=0)
    levels = make_vae(
        (2, 3), likelihood=kvae.likelihoods.DiscretizedLogistic(17), optimizer="sgd", eager=True
    )
    with pytest.raises(ValueError, match="the 17 levels k/16 only"):
        levels.fit(Dataset(x), verbose=0)
    exact = kvae.likelihoods.DiscretizedLogistic(256)
    fine = make_vae((2, 3), likelihood=exact, optimizer="sgd", eager=True)
    assert np.isfinite(fine.fit(Dataset(x), verbose=0).history["loss"]).all()


def test_binarization_and_noise_are_for_intensities(counts):
    for more in ({"binarize": "static"}, {"noise": 0.1}):
        with pytest.raises(ValueError, match="for intensities"):
            Dataset(counts, intensities=False, **more)
