"""Saving and loading: a reloaded model is the same model, down to its next training step."""

import keras
import numpy as np
import pytest
from keras import layers

import kvae

OTHER = {
    "posterior": lambda: kvae.posteriors.Delta(activation="relu", l1=0.125),
    "prior": lambda: None,
    "likelihood": lambda: kvae.likelihoods.Gaussian("global", scale=0.5),
    "objective": lambda: kvae.objectives.ELBO(beta=2.0, num_samples=3),
}


@pytest.fixture(scope="module")
def x(digits):
    return digits[:32]


def save_and_load(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)


def state(vae):
    """Everything that the next training step depends on."""
    arrays = [variable.numpy() for variable in vae.variables]
    if vae.optimizer is not None:
        arrays += [np.asarray(variable) for variable in vae.optimizer.variables]
    return arrays


def assert_same_state(vae, other):
    ours, theirs = state(vae), state(other)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def make(make_vae, make_encoder):
    """A model with all kinds of state: dropout, moving averages, a variable in the likelihood."""

    def make(**parts):
        extra = [layers.Dropout(0.3), layers.BatchNormalization()]
        parts = {"likelihood": kvae.likelihoods.Gaussian("global"), **parts}
        return make_vae(encoder=make_encoder(extra=extra), optimizer="adam", eager=True, **parts)

    return make


@pytest.mark.filterwarnings("error::UserWarning")
def test_an_untrained_model(make, x, tmp_path):
    vae = make()
    loaded = save_and_load(vae, tmp_path)
    assert_same_state(vae, loaded)
    np.testing.assert_array_equal(loaded(x), vae(x))
    np.testing.assert_array_equal(loaded.sample(3, seed=1), vae.sample(3, seed=1))
    np.testing.assert_array_equal(loaded.sample(3), vae.sample(3))


@pytest.mark.default("float32")
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_trained_model_and_its_next_step(make, x, tmp_path, policy, dtype):
    policy(dtype)
    vae = make()
    # With half precision the first steps only find the scale of the loss.
    vae.fit(x, batch_size=8, epochs=1 if dtype == "float32" else 3, verbose=0)
    loaded = save_and_load(vae, tmp_path)
    assert_same_state(vae, loaded)
    assert int(loaded.optimizer.iterations) == int(vae.optimizer.iterations) > 0
    assert float(loaded.likelihood.log_var) != 0.0  # It starts at 0 and has been trained.
    for model in (vae, loaded):
        model.train_on_batch(x)
    assert_same_state(vae, loaded)
    # A fresh stream of noise would have led elsewhere.
    repeated = keras.saving.load_model(tmp_path / "model.keras")
    repeated.seed_generator.state.assign(make().seed_generator.state)
    repeated.train_on_batch(x)
    assert not np.array_equal(repeated.get_weights()[0], vae.get_weights()[0])


def test_dropout_continues_its_stream(make, x, tmp_path):
    vae = make(posterior="delta")  # No noise but that of the dropout.
    vae.train_on_batch(x)
    loaded = save_and_load(vae, tmp_path)
    for model in (vae, loaded):
        model.train_on_batch(x)
    assert_same_state(vae, loaded)


def test_the_parts_keep_their_settings(make, x, tmp_path):
    vae = make(**{name: part() for name, part in OTHER.items()}, seed=7, name="sparse")
    loaded = save_and_load(vae, tmp_path)
    assert loaded.prior is None and loaded.seed == 7 and loaded.name == "sparse"
    assert loaded.latent_dim == 2 and loaded.event_shape == (8, 8, 1)
    for name in ("posterior", "likelihood", "objective"):
        ours, theirs = getattr(vae, name), getattr(loaded, name)
        assert type(ours) is type(theirs)
        assert ours.get_config() == theirs.get_config()
    np.testing.assert_array_equal(loaded(x), vae(x))


def test_weights_alone(make, x, tmp_path):
    vae = make()
    vae.train_on_batch(x)
    vae.save_weights(tmp_path / "vae.weights.h5")
    keras.utils.set_random_seed(99)
    other = make()
    other.train_on_batch(x[::-1])
    assert not np.array_equal(other(x), vae(x))
    other.load_weights(tmp_path / "vae.weights.h5")
    assert_same_state(other, vae)
    np.testing.assert_array_equal(other(x), vae(x))


def test_weights_of_another_architecture_are_refused(make_vae, make_encoder, make, x, tmp_path):
    make().save_weights(tmp_path / "vae.weights.h5")
    wider = make_vae(encoder=make_encoder(width=17))
    with pytest.raises(ValueError, match="shape|expected|layer"):
        wider.load_weights(tmp_path / "vae.weights.h5")


def test_from_config_makes_the_same_model_with_new_weights(make, x):
    vae = make()
    copy = kvae.VAE.from_config(vae.get_config())
    assert copy.built and copy.get_config().keys() == vae.get_config().keys()
    copy.set_weights(vae.get_weights())
    np.testing.assert_array_equal(copy(x), vae(x))


def test_a_model_built_by_its_first_data(make_vae, make_encoder, make_decoder, x, tmp_path):
    parts = {"encoder": make_encoder(declared=False), "decoder": make_decoder(declared=False)}
    vae = make_vae(optimizer="adam", eager=True, **parts)
    vae.train_on_batch(x)
    loaded = save_and_load(vae, tmp_path)
    assert loaded.built and loaded.event_shape == (8, 8, 1)
    assert_same_state(vae, loaded)


# One half alone.


def test_the_encoder_alone(make, x, tmp_path):
    vae = make()
    vae.train_on_batch(x)
    params = vae.encode(x)
    loaded = save_and_load(vae.encoder_model(), tmp_path)(x)
    assert set(loaded) == set(params)
    for name in params:
        np.testing.assert_array_equal(loaded[name], params[name])
    features = save_and_load(vae.encoder, tmp_path)(x)
    np.testing.assert_array_equal(features, vae.encoder(x))


def test_the_decoder_alone(make, x, tmp_path):
    vae = make()
    vae.train_on_batch(x)
    z = vae.prior.sample(5, seed=1)
    loaded = save_and_load(vae.decoder_model(), tmp_path)(z)
    for name, value in vae.decode_params(z).items():
        np.testing.assert_array_equal(loaded[name], value)
    np.testing.assert_array_equal(save_and_load(vae.decoder, tmp_path)(z), vae.decoder(z))


def test_the_halves_share_their_weights_with_the_model(make, x):
    vae = make()
    encoder, decoder = vae.encoder_model(), vae.decoder_model()
    vae.train_on_batch(x)
    np.testing.assert_array_equal(encoder(x)["z_mean"], vae.encode(x)["z_mean"])
    z = vae.prior.sample(5, seed=1)
    np.testing.assert_array_equal(decoder(z)["mean"], vae.decode_params(z)["mean"])
