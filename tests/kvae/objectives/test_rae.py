"""The regularized autoencoder: each regularizer against its definition, and a prior afterwards."""

import types

import keras
import numpy as np
import pytest

import kvae

AUTOENCODER = {"posterior": "delta", "prior": None}


def test_the_loss_with_the_weights_of_the_decoder(make_vae, digits):
    objective = kvae.objectives.RAE("l2", beta=0.5, lambda_=0.25)
    vae = make_vae(objective=objective, **AUTOENCODER)
    terms = objective.terms(vae, digits, digits, training=False, seed=0)
    z = vae.encode(digits)["z_mean"].numpy()
    squares = sum(np.sum(np.square(w)) for w in vae.decoder.get_weights())
    np.testing.assert_allclose(terms["regularizer"], np.full(64, squares), rtol=1e-5)
    expected = terms["reconstruction"] + 0.25 * (z**2).sum(axis=1) + 0.25 * squares
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)


def test_the_gradient_penalty_is_half_the_square_of_the_jacobian(make_vae, digits):
    objective = kvae.objectives.RAE("gradient_penalty", beta=0.0, lambda_=2.0)
    vae = make_vae(objective=objective, **AUTOENCODER)
    x = np.repeat(digits[:2], 400, axis=0)  # Each row has a projection of its own.
    z = vae.encode(digits[:2])["z_mean"].numpy()
    steps = 0.01 * np.eye(2, dtype="float32")
    slopes = [(vae.decode(z + step) - vae.decode(z - step)) / 0.02 for step in steps]
    exact = 0.5 * np.sum(np.square(slopes), axis=(0, 2, 3, 4))
    terms = objective.terms(vae, x, x, training=True, seed=1)
    estimates = terms["regularizer"].numpy().reshape(2, 400)
    error = estimates.std(axis=1, ddof=1) / 20
    assert (np.abs(estimates.mean(axis=1) - exact) < 4 * error).all()
    assert (error < 0.1 * exact).all()
    expected = terms["reconstruction"] + 2.0 * terms["regularizer"]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-6)


class Doubled(keras.layers.Layer):
    """A layer that doubles its inputs in training alone."""

    def call(self, x, training=False):
        return (2.0 if training else 1.0) * x


def test_the_gradient_penalty_is_that_of_the_decoder_as_it_trains(make_vae, digits):
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            Doubled(),
            keras.layers.Dense(64),
            keras.layers.Reshape((8, 8, 1)),
        ]
    )
    objective = kvae.objectives.RAE("gradient_penalty")
    vae = make_vae(objective=objective, decoder=decoder, likelihood="gaussian", **AUTOENCODER)
    told = {"seed": 1, "x": digits[:4], "target": digits[:4]}
    in_training, at_rest = (
        objective.terms(vae, training=training, **told)["regularizer"] for training in (True, False)
    )
    np.testing.assert_allclose(in_training, 4.0 * at_rest, rtol=1e-5)


def test_spectral_norms_of_the_decoder_stay_at_one(make_vae, make_decoder, digits):
    decoder = kvae.layers.spectrally_normalized(make_decoder(), power_iterations=20)
    again = kvae.layers.spectrally_normalized(decoder)  # Nothing is wrapped twice.
    for network in (decoder, again):
        kinds = [type(layer).__name__ for layer in network.layers]
        assert kinds == ["SpectralNormalization", "SpectralNormalization", "Reshape"]
    parts = {"decoder": decoder, "objective": "rae:spectral_norm", **AUTOENCODER}
    vae = make_vae(optimizer=keras.optimizers.SGD(1e-4), eager=True, **parts)
    vae.train_on_batch(digits)
    norms = [np.linalg.norm(layer.layer.kernel, 2) for layer in vae.decoder.layers[:2]]
    np.testing.assert_allclose(norms, 1.0, rtol=0.02)


def test_networks_inside_are_normalized_and_kernels_out_of_reach_refused():
    layers = keras.layers
    inside = keras.Sequential([keras.Input((4,)), layers.Dense(5)])
    network = keras.Sequential([keras.Input((2,)), layers.Dense(4), inside])
    copy = kvae.layers.spectrally_normalized(network)
    for layer in (copy.layers[0], copy.layers[1].layers[0]):
        assert isinstance(layer, layers.SpectralNormalization)
    network = keras.Sequential([keras.Input((5, 2)), layers.SimpleRNN(3), layers.Dense(2)])
    with pytest.raises(ValueError, match="has kernels inside.*wraps a layer with one kernel"):
        kvae.layers.spectrally_normalized(network)


def test_a_prior_is_fitted_to_its_codes(make_vae, digits):
    vae = make_vae(objective="rae", **AUTOENCODER)
    assert vae.objective.metric_names() == ("loss", "reconstruction", "regularizer")
    model = kvae.samplers.GaussianMixture(2).fit(vae, digits).model
    z = vae.encode(digits)["z_mean"].numpy()
    np.testing.assert_allclose(model.prior.mean(), z.mean(axis=0), rtol=1e-2, atol=1e-3)
    assert model.sample(3, seed=0).shape == (3, 8, 8, 1)


def test_wrong_settings_and_models(make_vae):
    with pytest.raises(ValueError, match="Unknown regularizer 'l1'.*gradient_penalty"):
        kvae.objectives.RAE("l1")
    with pytest.raises(ValueError, match="`lambda_` is at least 0"):
        kvae.objectives.RAE(lambda_=-1.0)
    with pytest.raises(ValueError, match="Use posterior='delta'"):
        make_vae(objective="rae")
    with pytest.raises(ValueError, match="kvae.layers.spectrally_normalized"):
        make_vae(objective="rae:spectral_norm", **AUTOENCODER)
    model = types.SimpleNamespace(
        posterior=kvae.posteriors.Delta(2), likelihood=kvae.likelihoods.Autoregressive(3)
    )
    with pytest.raises(ValueError, match="which has no gradient with Autoregressive"):
        kvae.objectives.RAE("gradient_penalty").attach(model)
    with pytest.raises(ValueError, match="No layer of none has a kernel"):
        kvae.layers.spectrally_normalized(
            keras.Sequential([keras.Input((2,)), keras.layers.ReLU()], name="none")
        )
