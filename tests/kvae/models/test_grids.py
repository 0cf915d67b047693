"""A z on a grid, and images of other sizes than a model's."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers

import kvae
from kvae.utils import tiles


def _networks(channels=2, size=(None, None), grid=(None, None)):
    """Convolutions of stride 2, which see 4 pixels to each side."""
    same = {"padding": "same"}
    encoder = keras.Sequential(
        [
            keras.Input((*size, 1)),
            layers.Conv2D(3, 3, strides=2, activation="relu", **same),
            layers.Conv2D(4, 3, **same),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((*grid, channels)),
            layers.Conv2DTranspose(3, 4, strides=2, activation="relu", **same),
            layers.Conv2D(1, 3, **same),
        ]
    )
    return encoder, decoder


def _model(rows=8, columns=8, channels=2, **parts):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*_networks(channels), latent_shape=(rows, columns, channels), **parts)
    vae.build((None, 2 * rows, 2 * columns, 1))
    vae.compile("sgd", run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return _model()


@pytest.fixture(scope="module")
def x():
    return (np.random.default_rng(0).random((2, 16, 16, 1)) > 0.5).astype("float32")


@pytest.fixture(scope="module")
def large():
    return (np.random.default_rng(1).random((1, 32, 24, 1)) > 0.5).astype("float32")


def test_latent_dim_is_the_short_form_of_a_shape(make_encoder, make_decoder):
    encoder, decoder = make_encoder(), make_decoder()
    short = kvae.VAE(encoder, decoder, latent_dim=2, name="vae").get_config()
    long = kvae.VAE(encoder, decoder, latent_shape=(2,), name="vae").get_config()
    own = {"posterior", "prior", "likelihood", "objective"}  # Their names are numbered.
    assert "latent_shape" not in short
    assert {k: v for k, v in short.items() if k not in own} == {
        k: v for k, v in long.items() if k not in own
    }
    assert "latent_shape" not in short["posterior"]["config"]


def test_heads_see_one_place_of_the_grid(vae, x):
    features = vae.encoder(x)
    for name, head in vae.posterior.heads.items():
        expected = keras.ops.conv(features, head.kernel[None, None]) + head.bias
        np.testing.assert_allclose(vae.encode(x)[name], expected, atol=1e-6)


def test_the_parts_compute_with_the_numbers_of_the_grid(vae, x):
    params = {name: np.asarray(value) for name, value in vae.encode(x).items()}
    assert {value.shape for value in params.values()} == {(2, 8, 8, 2)}
    q = scipy.stats.norm(params["z_mean"], np.exp(params["z_log_var"] / 2))
    z = q.rvs(random_state=0).astype("float32")
    vectors = vae.as_vectors(params)
    np.testing.assert_allclose(
        vae.posterior.log_prob(vectors, vae.as_vectors(z)), q.logpdf(z).sum((1, 2, 3)), rtol=1e-4
    )
    variance = np.exp(params["z_log_var"])
    kl = (variance + params["z_mean"] ** 2 - 1 - params["z_log_var"]).sum((1, 2, 3)) / 2
    found = kvae.divergences.closed_form_kl(vae.posterior, vae.prior)
    np.testing.assert_allclose(found(vectors), kl, rtol=1e-4)
    np.testing.assert_array_equal(vae.on_grid(vectors)["z_mean"], params["z_mean"])


def test_z_is_decoded_as_it_is_encoded(vae, x):
    z = vae.encode(x)["z_mean"]
    expected = vae.reconstruct(x)
    np.testing.assert_allclose(vae.decode(z), expected, atol=1e-6)
    np.testing.assert_allclose(vae.decode(np.reshape(z, (2, -1))), expected, atol=1e-6)
    assert vae.sample(3, seed=0).shape == (3, 16, 16, 1)
    assert vae.encoder_model()(x)["z_mean"].shape == (2, 8, 8, 2)
    logits = vae.decoder_model()(z)["logits"]
    np.testing.assert_allclose(keras.ops.sigmoid(logits), expected, atol=1e-6)


def test_a_saved_model_keeps_its_grid(vae, x, tmp_path):
    vae.save(tmp_path / "grid.keras")
    loaded = keras.models.load_model(tmp_path / "grid.keras")
    assert loaded.latent_shape == (8, 8, 2)
    np.testing.assert_array_equal(loaded.encode(x)["z_mean"], vae.encode(x)["z_mean"])


def test_the_scale_factor_of_codes_is_kept_until_a_training(x, tmp_path):
    vae = _model()
    factor = vae.fit_scale_factor(x, seed=3)
    z = vae.posterior.sample(vae.as_vectors(vae.encode(x)), seed=kvae.random.as_seed(3))
    np.testing.assert_allclose(factor * np.std(z), 1.0, rtol=1e-5)
    assert type(vae).from_config(vae.get_config()).scale_factor == factor
    twin = vae.with_missing("zero")
    assert twin.scale_factor == factor
    twin.compile("adam")
    twin.train_on_batch(x)  # These are the networks of both.
    assert twin.scale_factor is None
    assert vae.scale_factor is None and "scale_factor" not in vae.get_config()


def test_encoders_may_return_the_parameters_on_the_grid(x):
    inputs = keras.Input((16, 16, 1))
    outputs = [layers.Conv2D(2, 2, strides=2)(inputs) for _ in range(2)]
    encoder = keras.Model(inputs, dict(zip(("z_mean", "z_log_var"), outputs, strict=True)))
    vae = kvae.VAE(encoder, _networks()[1], latent_shape=(8, 8, 2))
    np.testing.assert_allclose(vae.encode(x)["z_mean"], encoder(x)["z_mean"], atol=1e-6)


def test_a_resized_model_shares_its_weights_and_agrees_with_tiles(large):
    vae = _model()
    whole = vae.resized((32, 24))
    assert whole.latent_shape == (16, 12, 2) and whole.sample(1, seed=0).shape == (1, 32, 24, 1)
    params = whole.encode(large)
    # The networks see three places to each side, or fewer.
    tiled = vae.encode_tiles(large, overlap=6, margin=3)
    for name, value in params.items():
        np.testing.assert_allclose(tiled[name], value, atol=1e-6)
    assert np.abs(vae.encode_tiles(large)["z_mean"] - params["z_mean"]).max() > 1e-3
    expected = whole.decode(params["z_mean"])
    found = vae.decode_tiles(params["z_mean"], overlap=6, margin=3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    head = vae.posterior.heads["z_mean"].kernel
    before = np.array(head)
    whole.compile("sgd", run_eagerly=True)
    whole.train_on_batch(large)
    assert not np.array_equal(head, before)


def test_codes_of_a_grid_and_their_priors():
    codes = kvae.posteriors.VectorQuantized(num_embeddings=8, embedding_dim=4)
    vae = _model(4, 2, 4, posterior=codes, prior="uniform_codes")
    whole = vae.resized((12, 4))
    assert whole.encode(np.zeros((1, 12, 4, 1), "float32"))["codes"].shape == (1, 6 * 2)
    assert whole.posterior.counts is codes.counts
    fitted = vae.with_prior(kvae.priors.PixelCNN(filters=4, num_layers=1))
    assert fitted.prior.network.get_layer("grid").target_shape == (4, 2, 4)
    prior = fitted.resized((12, 4)).prior
    assert prior.network.get_layer("grid").target_shape == (6, 2, 4)
    # A code sees those before it alone, so that the first rows do not know how many there are.
    numbers = np.arange(12)[None] % 8
    first = fitted.prior.logits(numbers[:, :8])
    np.testing.assert_allclose(prior.logits(numbers)[:, :8], first, atol=1e-6)


def test_blended_tiles_are_what_they_are_cut_from():
    x = np.random.default_rng(0).random((2, 20, 14, 3), "float32")
    for overlap, margin in ((0, 0), (3, 0), (4, 1), (4, 2)):
        found = tiles.blended(lambda part: part, x, (8, 6), overlap, margin, [(1, 1)] * 2)
        np.testing.assert_allclose(found, x, atol=1e-6)
    # Of two tiles of 0 and 1 the seam rises evenly.
    calls = iter([0.0, 1.0])
    step = tiles.blended(
        lambda part: np.full(part.shape, next(calls)), x[:, :12, :1, :1], (8, 1), 4, 0, [(1, 1)] * 2
    )
    np.testing.assert_allclose(step[0, :, 0, 0], [0] * 4 + [1 / 8, 3 / 8, 5 / 8, 7 / 8] + [1] * 4)
    assert tiles.starts(20, 8, 2) == [0, 6, 12] and tiles.starts(8, 8, 2) == [0]


@pytest.mark.slow  # `test_stacked.py` has codes that are vectors.
def test_a_model_of_the_codes_is_stacked_on_the_grid(vae, x):
    codes = keras.Sequential([keras.Input((8, 8, 2)), layers.Flatten()])
    images = keras.Sequential([keras.Input((3,)), layers.Dense(128), layers.Reshape((8, 8, 2))])
    second = kvae.VAE(codes, images, latent_dim=3, likelihood="gaussian")
    both = kvae.stacked(vae, second)
    expected = second.reconstruct(vae.encode(x)["z_mean"])
    np.testing.assert_allclose(both.reconstruct(x), vae.decode(expected), atol=1e-5)


# What they all rest on is `test_the_parts_compute_with_the_numbers_of_the_grid`.
@pytest.mark.slow
def test_what_is_computed_with_codes_takes_a_grid(vae, x, tmp_path):
    events = (np.random.default_rng(2).random((20, 16, 16, 1)) > 0.5).astype("float32")
    sampler = kvae.samplers.GaussianMixture(num_components=2).fit(vae, events)
    assert sampler.sample(2, seed=0).shape == (2, 16, 16, 1)
    assert sampler.log_prob(vae.encode(x)["z_mean"]).shape == (2,)
    assert kvae.evaluation.latent_summary(vae, events).latent_dim == 128
    assert vae.posterior_distribution(x).event_shape == (128,)
    for index, draw in enumerate(
        [
            lambda path: kvae.plots.reconstructions(vae, x, path=path),
            lambda path: kvae.plots.interpolation(vae, x[:1], x[1:], path=path),
            lambda path: kvae.plots.manifold(vae, 3, x=x, path=path),
            lambda path: kvae.plots.latent_scatter(vae, events, path=path),
        ]
    ):
        draw(tmp_path / f"{index}.png")
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_signatures_have_z_on_the_grid(vae, x):
    from export.graphs import endpoints

    graphs = endpoints.endpoints(vae, signatures=["encode", "embed", "interpolate"])
    shapes = {spec.name: spec.shape.as_list() for spec in graphs["interpolate"].inputs}
    assert shapes["z_start"] == [None, 8, 8, 2]
    x = keras.ops.convert_to_tensor(x)
    z = graphs["embed"].function(x)["embedding"]
    np.testing.assert_allclose(z, vae.encode(x)["z_mean"], atol=1e-6)
    np.testing.assert_allclose(graphs["encode"].function(x)["z_mean"], z, atol=1e-6)
    image = graphs["serving_default"].function(z)["image"]
    np.testing.assert_allclose(image, vae.reconstruct(x), atol=1e-6)
    steps = keras.ops.convert_to_tensor([3, 3], "int64")
    way = graphs["interpolate"].function(z, z[::-1], steps)
    assert way["z"].shape == (2, 3, 8, 8, 2)
    np.testing.assert_allclose(way["z"][:, -1], z[::-1], atol=1e-6)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"latent_shape": (4, 4, 2)}, "The encoder returns features of shape"),
        ({"latent_shape": (8, 8, 3)}, "The decoder takes inputs of shape"),
        ({"latent_shape": (8, 8, 2), "latent_dim": 3}, "leave `latent_dim` out"),
        ({"latent_shape": ()}, "at least one size"),
    ],
)
def test_shapes_that_do_not_fit(settings, words):
    with pytest.raises(ValueError, match=words):
        kvae.VAE(*_networks(size=(16, 16)), **settings)


# Half as many numbers of an encoder as of z come from a head that sees the whole grid.
_TWO = "hierarchical_residual:num_embeddings=4,embedding_dim=1,num_levels=2"


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda vae: vae.decode(np.zeros((2, 4, 4, 2))), r"the model takes \(n, 8, 8, 2\)"),
        (lambda vae: vae.resized((32,)), "`size` has 2 numbers"),
        (lambda vae: vae.encode_tiles(np.zeros((1, 33, 32, 1))), "pad or crop it to 34 or 32"),
        (lambda vae: vae.encode_tiles(np.zeros((1, 8, 32, 1))), "smaller than a tile of 8"),
        (lambda vae: vae.decode_tiles(np.zeros((1, 9, 9, 2)), margin=4, overlap=7), "`margin`"),
        (lambda vae: vae.with_prior("vamp:2").resized((32, 32)), "in tiles, or take another one"),
        (lambda vae: _model(posterior="iaf").resized((32, 32)), r"none for \(16, 16, 2\): train"),
        (
            lambda vae: _model(posterior=_TWO, prior="uniform_codes").resized((32, 32)),
            "encoder in 1 ",
        ),
        (lambda vae: vae.with_missing("learned").resized((32, 32)), "vae.with_missing"),
    ],
)
def test_sizes_that_do_not_fit(vae, call, words):
    with pytest.raises(ValueError, match=words):
        call(vae)


def test_a_decoder_that_crops_has_no_tiles():
    encoder = keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(4, 1)])
    decoder = _networks()[1]
    decoder.add(layers.Cropping2D(2))
    vae = kvae.VAE(encoder, decoder, latent_shape=(4, 4, 2))
    vae.build((None, 4, 4, 1))
    with pytest.raises(ValueError, match="as one that crops does"):
        vae.decode_tiles(np.zeros((1, 8, 8, 2)))


def test_memory_is_bounded_for_large_images(vae):
    from kvae.models.inputs import rows_at_once

    whole = vae.resized((2048, 2048))
    assert rows_at_once(whole) == 16  # Four channels of 2048 × 2048 numbers are 2^24.
