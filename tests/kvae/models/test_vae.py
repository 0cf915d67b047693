"""kvae.VAE as a model: networks of any shape, encode, decode, reconstruct, sample."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import kvae
from kvae.models.inputs import rows_at_once

SHAPES = [(8, 8, 1), (27, 31, 3), (30, 2), (7,), (3, 4, 5, 1)]


def data(event, n=6, seed=0):
    return np.random.default_rng(seed).random((n, *event)).astype("float32")


@pytest.mark.default("bernoulli-(27, 31, 3)", "likelihood1-(7,)")
@pytest.mark.parametrize("event", SHAPES, ids=str)
@pytest.mark.parametrize("likelihood", ["bernoulli", kvae.likelihoods.Gaussian("per_pixel")])
def test_events_of_any_shape(make_vae, event, likelihood):
    likelihood = kvae.likelihoods.get(likelihood)
    vae = make_vae(event, likelihood=likelihood.from_config(likelihood.get_config()))
    x = data(event)
    assert vae.built and vae.event_shape == event
    assert {name: value.shape for name, value in vae.encode(x).items()} == {
        "z_mean": (6, 2),
        "z_log_var": (6, 2),
    }
    for images in (
        vae(x),
        vae.reconstruct(x),
        vae.reconstruct(x, seed=1),
        vae.decode(np.ones((6, 2))),
    ):
        assert images.shape == (6, *event) and images.dtype == tf.float32
    assert vae.sample(5, seed=1, output="sample").shape == (5, *event)
    vae.compile("adam", run_eagerly=True)
    before = [variable.numpy() for variable in vae.trainable_variables]
    loss = vae.train_on_batch(x)[0]
    assert np.isfinite(loss)
    changed = [
        not np.array_equal(a, b) for a, b in zip(before, vae.trainable_variables, strict=True)
    ]
    assert all(changed)


@pytest.mark.slow  # The shapes above are odd by default.
def test_convolutional_networks_of_odd_size():
    encoder = keras.Sequential(
        [keras.Input((27, 31, 1)), layers.Conv2D(4, 3, strides=2, activation="relu")]
    )
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(14 * 16 * 2, "relu"),
            layers.Reshape((14, 16, 2)),
            layers.UpSampling2D(2),
            layers.Conv2D(1, 3, padding="same"),
            layers.Cropping2D(((0, 1), (0, 1))),
        ]
    )
    vae = kvae.VAE(encoder, decoder, latent_dim=2)
    vae.compile("adam")
    history = vae.fit(data((27, 31, 1)), epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert vae.sample(2, seed=0).shape == (2, 27, 31, 1)


def test_an_encoder_may_return_features_a_dict_or_a_list(make_vae):
    x = keras.Input((7,))
    hidden = layers.Dense(5, "relu")(x)
    mean, log_var = layers.Dense(2)(hidden), layers.Dense(2)(hidden)
    as_dict = keras.Model(x, {"z_mean": mean, "z_log_var": log_var})
    as_list = keras.Model(x, [mean, log_var])
    inputs = data((7,))
    expected = as_list(inputs)
    for encoder in (as_dict, as_list):
        params = make_vae((7,), encoder=encoder).encode(inputs)
        np.testing.assert_array_equal(params["z_mean"], expected[0])
        np.testing.assert_array_equal(params["z_log_var"], expected[1])
    features = make_vae((7,), encoder=keras.Model(x, hidden))
    kernel, bias = features.posterior.heads["z_mean"].weights
    exact = keras.Model(x, hidden)(inputs).numpy() @ kernel.numpy() + bias.numpy()
    np.testing.assert_allclose(features.encode(inputs)["z_mean"], exact, rtol=1e-5, atol=1e-6)


def test_the_clipped_log_variance_is_the_model_s():
    x = keras.Input((7,))
    encoder = keras.Model(
        x,
        [layers.Dense(2)(x), layers.Dense(2, bias_initializer=keras.initializers.Constant(99))(x)],
    )
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(7)])
    vae = kvae.VAE(
        encoder, decoder, 2, posterior=kvae.posteriors.DiagonalGaussian(log_var_bound=3.0)
    )
    np.testing.assert_array_equal(vae.encode(data((7,)))["z_log_var"], np.full((6, 2), 3.0))


@pytest.mark.parametrize(
    "output_shape, latent_dim, message",
    [
        ((8, 7, 1), 2, r"returns shape \(None, 8, 7, 1\).*\(None, 8, 8, 1\)"),
        ((8, 8, 2), 2, r"returns shape \(None, 8, 8, 2\).*\(None, 8, 8, 1\)"),
        ((8, 8, 1), 3, r"takes inputs of shape \(None, 3\).*latent_dim=2.*\(None, 2\)"),
    ],
)
def test_refuses_a_decoder_that_does_not_fit(
    make_vae, make_decoder, output_shape, latent_dim, message
):
    with pytest.raises(ValueError, match=message):
        make_vae(decoder=make_decoder(output_shape, latent_dim))


def test_the_likelihood_decides_what_the_decoder_returns(make_vae, make_decoder):
    with pytest.raises(ValueError, match=r"Gaussian needs \(None, 8, 8, 2\)"):
        make_vae(decoder=make_decoder((8, 8, 1)), likelihood=kvae.likelihoods.Gaussian("per_pixel"))


def test_parts_must_agree(make_vae):
    with pytest.raises(ValueError, match="latent_dim=3, the model 2"):
        make_vae(posterior=kvae.posteriors.DiagonalGaussian(3))
    with pytest.raises(ValueError, match="needs a prior"):
        make_vae(prior=None)


@pytest.mark.parametrize("part", ["posterior", "prior", "likelihood", "objective"])
def test_unknown_parts_are_answered_with_the_nearest_name(make_vae, part):
    name = {
        "posterior": "diagonal_gaussian",
        "prior": "standard_normal",
        "likelihood": "bernoulli",
        "objective": "elbo",
    }[part]
    with pytest.raises(ValueError, match=f"Unknown {part} '{name}x'. Did you mean '{name}'"):
        make_vae(**{part: name + "x"})


# Encoding and decoding.


def test_the_call_is_the_mean_of_the_decoder_at_the_posterior_s_mean(make_vae, digits):
    vae = make_vae()
    z_mean = vae.encode(digits)["z_mean"]
    logits = vae.decoder(z_mean).numpy().astype(np.float64)
    exact = 1 / (1 + np.exp(-logits))
    images = [vae(digits), vae.predict(digits, verbose=0), vae.reconstruct(digits)]
    images += [vae.decode(z_mean), vae.predict(kvae.datasets.Dataset(digits), verbose=0)]
    for value in images:
        np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_array_equal(vae.decode_params(z_mean)["logits"], vae.decoder(z_mean))


def test_predict_of_arrays_is_keras_s(make_vae, digits):
    """It has no `tf.data` pipeline, but the batches, the callbacks and the stop of Keras's loop."""

    class Doubled(kvae.VAE):
        def predict_step(self, data):
            return {"image": 2 * super().predict_step(data)}

    vae = make_vae()
    vae = Doubled(vae.encoder, vae.decoder, latent_dim=2)
    vae.compile(steps_per_execution=2)
    seen = []

    class Hooks(keras.callbacks.Callback):
        last = 99

        def on_predict_begin(self, logs=None):
            seen.append(("begin", self.params["steps"]))

        def on_predict_batch_begin(self, batch, logs=None):
            seen.append(("batch", batch))

        def on_predict_batch_end(self, batch, logs):
            seen.append((batch, logs["image"].shape[0]))
            self.model.stop_predicting = batch >= self.last

        def on_predict_end(self, logs=None):
            seen.append("end")

    hooks, x = Hooks(), digits[:14]
    of_array = vae.predict(x, batch_size=4, verbose=0, callbacks=[hooks])["image"]
    told = seen.copy()
    assert told == [("begin", 4), ("batch", 0), (1, 8), ("batch", 2), (3, 6), "end"]
    seen.clear()
    stock = vae.predict(
        tf.data.Dataset.from_tensor_slices(x).batch(4), verbose=0, callbacks=[hooks]
    )["image"]
    assert seen == told and isinstance(of_array, np.ndarray)
    np.testing.assert_array_equal(of_array, stock)
    np.testing.assert_allclose(of_array, 2 * vae(x), rtol=1e-5)
    hooks.last = 1
    assert len(vae.predict(x, batch_size=4, verbose=0, callbacks=[hooks])["image"]) == 8


@pytest.mark.parametrize("output", ["mean", "mode", "sample"])
def test_samples_in_one_call_are_those_in_several(make_vae, output):
    vae = make_vae()
    whole = vae.sample(5, seed=3, output=output, temperature=0.5)
    if output != "sample":  # Batches of draws from p(x|z) are drawn as a whole as well.
        z = vae.prior.sample(5, kvae.random.split(kvae.random.as_seed(3))[0], 0.5)
        np.testing.assert_array_equal(whole, vae.decoded_to(output, z, None))
    parts = vae.sample(5, seed=3, output=output, temperature=0.5, batch_size=2)
    np.testing.assert_allclose(whole, parts, rtol=1e-5)


def test_reconstruct_with_a_seed_decodes_a_draw(make_vae, digits):
    vae = make_vae()
    z = vae.posterior.sample(vae.encode(digits), seed=6)
    np.testing.assert_array_equal(vae.reconstruct(digits, seed=6), vae.decode(z))
    assert not np.array_equal(vae.reconstruct(digits, seed=7), vae.reconstruct(digits, seed=6))


def test_encoding_is_deterministic_with_dropout(make_vae, make_encoder, digits):
    vae = make_vae(encoder=make_encoder(extra=[layers.Dropout(0.5, seed=1)]))
    first, again = vae.encode(digits), vae.encode(digits)
    np.testing.assert_array_equal(first["z_mean"], again["z_mean"])
    training = [vae.encode_params(digits, training=True)["z_mean"] for _ in range(2)]
    assert not np.array_equal(*training)


def test_batches_do_not_change_the_results(make_vae, digits):
    vae = make_vae()
    whole, parts = vae.encode(digits), vae.encode(digits, batch_size=10)
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        vae.decode(whole["z_mean"], batch_size=10), vae.decode(whole["z_mean"]), rtol=1e-5
    )
    for output in ("mean", "mode"):
        np.testing.assert_allclose(
            vae.sample(25, seed=1, output=output, batch_size=10),
            vae.sample(25, seed=1, output=output),
            rtol=1e-5,
        )


def test_rows_at_once_are_bounded_by_the_largest_output(make_vae, make_encoder):
    wide = make_encoder(extra=[layers.Dense(4096), layers.Dense(8)])
    assert rows_at_once(make_vae(encoder=wide)) == 2**23 // 4096
    assert rows_at_once(make_vae(encoder=make_encoder(extra=[layers.Dense(2**14)]))) == 1024

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.features = layers.Dense(3)

        def call(self, x):
            return self.features(layers.Flatten()(x))

    own = make_vae(encoder=Own())
    own.build((None, 8, 8, 1))
    assert rows_at_once(own) >= 1024
    assert own.encode(np.zeros((2000, 8, 8, 1)))["z_mean"].shape == (2000, 2)


def test_works_inside_a_graph(make_vae, digits):
    vae = make_vae()
    z = vae.prior.sample(4, 1)
    encode, decode, params = (
        tf.function(method, autograph=False)
        for method in (vae.encode, vae.decode, vae.decode_params)
    )
    np.testing.assert_allclose(
        encode(tf.constant(digits))["z_mean"], vae.encode(digits)["z_mean"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(decode(z), vae.decode(z), rtol=1e-5)
    np.testing.assert_allclose(
        params(z)["logits"], vae.decode_params(z)["logits"], rtol=1e-5, atol=1e-6
    )


def test_decode_params_keeps_the_leading_axes(make_vae):
    vae = make_vae(likelihood=kvae.likelihoods.Gaussian("per_pixel"))
    z = tf.reshape(vae.prior.sample(12, 1), (3, 4, 2))
    params = vae.decode_params(z)
    for name in ("mean", "log_var"):
        assert params[name].shape == (3, 4, 8, 8, 1)
        for i in range(3):
            np.testing.assert_allclose(
                params[name][i], vae.decode_params(z[i])[name], rtol=1e-5, atol=1e-6
            )


# Sampling.


def test_samples_decode_draws_from_the_prior(make_vae):
    vae = make_vae()
    z_seed, x_seed = kvae.random.split(4)
    z = vae.prior.sample(6, z_seed)
    params = vae.decode_params(z)
    np.testing.assert_array_equal(vae.sample(6, seed=4), vae.decode(z))
    np.testing.assert_array_equal(vae.sample(6, seed=4, output="mode"), params["logits"] > 0)
    np.testing.assert_array_equal(
        vae.sample(6, seed=4, output="sample"), vae.likelihood.sample(params, x_seed)
    )
    np.testing.assert_array_equal(
        vae.sample(6, seed=4, temperature=0.5), vae.decode(0.5 * vae.prior.sample(6, z_seed))
    )
    np.testing.assert_allclose(
        vae.sample(6, seed=4, temperature=0.0), vae.decode(np.zeros((6, 2))), rtol=1e-6
    )


def test_draws_from_the_likelihood_average_to_the_mean(make_vae):
    vae, n = make_vae(), 4000
    # At temperature 0 every z is 0, so that all draws come from one p(x|z).
    draws = vae.sample(n, seed=2, output="sample", temperature=0.0).numpy()
    p = vae.decode(np.zeros((1, 2))).numpy()[0]
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert (np.abs(draws.mean(axis=0) - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


def test_a_seed_repeats_and_no_seed_advances(make_vae, eagerly):
    vae = make_vae()
    np.testing.assert_array_equal(vae.sample(3, seed=1), vae.sample(3, seed=1))
    np.testing.assert_array_equal(vae.sample(3, seed=1), vae.sample(3, seed=kvae.random.as_seed(1)))
    assert not np.array_equal(vae.sample(3, seed=1), vae.sample(3, seed=2))
    first, second = vae.sample(3), vae.sample(3)
    assert not np.array_equal(first, second)
    fresh = make_vae()
    np.testing.assert_array_equal(fresh.sample(3), first)
    assert not np.array_equal(make_vae(seed=1).sample(3), first)


def test_an_autoencoder_reconstructs_but_does_not_sample(make_vae, digits):
    vae = make_vae(posterior=kvae.posteriors.Delta(activation="relu"), prior=None)
    assert set(vae.encode(digits)) == {"z_mean"}
    assert (vae.encode(digits)["z_mean"].numpy() >= 0).all()
    np.testing.assert_array_equal(vae.reconstruct(digits, seed=3), vae.reconstruct(digits))
    with pytest.raises(ValueError, match="without a prior"):
        vae.sample(3, seed=1)


@pytest.mark.parametrize("n", [0, -1, 2.5, "3"])
def test_refuses_impossible_counts(make_vae, n):
    with pytest.raises(ValueError, match="`n` is a whole number of at least 1"):
        make_vae().sample(n, seed=1)


def test_refuses_unknown_outputs(make_vae):
    with pytest.raises(ValueError, match="Unknown output 'means'. Did you mean 'mean'"):
        make_vae().sample(1, seed=1, output="means")


# Encoders without an Input.


def test_an_undeclared_model_says_so_until_it_is_built(make_vae, make_encoder, digits):
    vae = make_vae(encoder=make_encoder(declared=False))
    assert not vae.built
    for use in (
        lambda: vae.encode(digits),
        lambda: vae.decode(np.zeros((1, 2))),
        lambda: vae.sample(1, seed=0),
        lambda: vae.log_prob(digits),
    ):
        with pytest.raises(ValueError, match="not built yet"):
            use()
    vae(digits)
    assert vae.built and vae.event_shape == (8, 8, 1)
    assert vae.encode(digits)["z_mean"].shape == (64, 2)


def test_images_of_any_size_go_through_an_encoder_that_pools(make_vae):
    encoder = keras.Sequential(
        [keras.Input((None, None, 1)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()]
    )
    vae = make_vae(encoder=encoder)
    assert not vae.built
    vae(data((8, 8, 1)))
    assert vae.event_shape == (8, 8, 1)
    with pytest.raises(ValueError, match="each size of the event known"):
        make_vae(encoder=encoder).build((None, None, None, 1))


def eager(vae, method, *arguments, **options):
    """What a method returns without compiled functions."""
    kept, vae._functions = (
        vae._functions,
        lambda name, function, rows, *others: function(*rows, *others),
    )
    try:
        return getattr(vae, method)(*arguments, **options)
    finally:
        vae._functions = kept


def of_kind(kind, make_vae, make_encoder):
    if kind == "conditional":
        inputs = keras.Input((2,)), keras.Input((3,))
        z = layers.Dense(64)(layers.Concatenate()(inputs))
        decoder = keras.Model(inputs, layers.Reshape((8, 8, 1))(z))
        return make_vae(decoder=decoder, num_classes=3)
    if kind != "convolutions":
        return make_vae()
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, 2, "same", activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(64, "relu"),
            layers.BatchNormalization(),
            layers.Reshape((4, 4, 4)),
            layers.Conv2DTranspose(1, 3, 2, "same"),
        ]
    )
    return make_vae(encoder=encoder, decoder=decoder)


@pytest.mark.default("conditional")
@pytest.mark.parametrize("kind", ["dense", "convolutions", "conditional", "mixed precision"])
def test_compiled_or_not_the_bits_are_the_same(kind, make_vae, make_encoder, digits, policy):
    if kind == "mixed precision":
        policy("mixed_bfloat16")
    vae = of_kind(kind, make_vae, make_encoder)
    x, options = digits[:11], {}
    if vae.conditional:
        options = {"label": np.arange(11) % 3}
    calls = [
        ("encode", (x,), {"batch_size": 4}),
        ("decode", (np.linspace(-2, 2, 22, dtype="float32").reshape(11, 2),), {"batch_size": 4}),
        ("reconstruct", (x,), {}),
        ("reconstruct", (x,), {"seed": 3}),
        ("sample", (11,), {"seed": 1, "batch_size": 4}),
        ("sample", (11,), {"seed": 1, "output": "mode", "temperature": 0.5}),
        ("sample", (11,), {"seed": 1, "output": "sample", "batch_size": 4}),
    ]
    for method, arguments, settings in calls:
        found = getattr(vae, method)(*arguments, **settings, **options)
        expected = eager(vae, method, *arguments, **settings, **options)
        for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            np.testing.assert_array_equal(a, b)


def test_functions_are_compiled_once(make_vae, digits, tmp_path):
    vae = make_vae()
    for rows in (9, 4, 1, 17):
        vae.reconstruct(digits[:rows], seed=rows, batch_size=4)
        vae.sample(rows, seed=rows, temperature=1 / rows, batch_size=4)
    made = vae._functions._made
    # Encoding, drawing a code, drawing from the prior, decoding, and samples in one call.
    assert len(made) == 5
    # They read the weights at every call.
    before = vae.decode(np.zeros((1, 2)))
    vae.set_weights([weight + 0.1 for weight in vae.get_weights()])
    assert np.any(before != vae.decode(np.zeros((1, 2))))
    np.testing.assert_array_equal(
        vae.decode(np.zeros((1, 2))), eager(vae, "decode", np.zeros((1, 2)))
    )
    vae.compile("sgd")
    assert not vae._functions._made
    vae.compile("sgd", run_eagerly=True)
    vae.encode(digits[:2])
    assert not vae._functions._made
    with pytest.raises(ValueError, match="`batch_size` is a whole number of at least 1"):
        vae.encode(digits, batch_size=0)


@pytest.mark.parametrize("method, name", [("save", "a.keras"), ("save_weights", "a.weights.h5")])
def test_a_full_disk_leaves_the_saved_model(make_vae, tmp_path, method, name):
    resource = pytest.importorskip("resource")
    vae, path = make_vae(), tmp_path / name
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(OSError, match="is full .*File too large.* was not written"):
            getattr(vae, method)(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, b"old")]
    getattr(vae, method)(path)
    other = make_vae()
    other.set_weights([weight + 1.0 for weight in vae.get_weights()])
    other.load_weights(path)
    for a, b in zip(other.get_weights(), vae.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saving_asks_before_it_overwrites_where_it_is_told_to(make_vae, tmp_path, monkeypatch):
    path = tmp_path / "a.keras"
    path.write_bytes(b"old")
    asked = []
    monkeypatch.setattr("builtins.input", lambda *_: asked.append(1) or "n")
    make_vae().save(path, overwrite=False)
    assert asked and path.read_bytes() == b"old"
