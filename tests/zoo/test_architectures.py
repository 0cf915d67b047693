"""What every architecture of the zoo keeps, whatever it is made of."""

import functools

import keras
import numpy as np
import pytest

import export
import kvae
import zoo
from export import signatures
from zoo.building import ARCHITECTURES

CONVOLUTIONAL = [
    name
    for name, found in ARCHITECTURES.items()
    if "filters" in found.defaults and len(found.small["event_shape"]) == 3
]


def build(name, **arguments):
    """A model of a few weights; arguments of parts that are replaced are left out."""
    found = ARCHITECTURES[name]
    replaced = {key for part in found.makers if part in arguments for key in found.makers[part]}
    small = {key: value for key, value in found.small.items() if key not in replaced}
    return zoo.build(name, **{**small, **arguments})


built = functools.cache(build)  # Not for tests that change a model.


def events(name, n=6):
    """Numbers in [0, 1] of the shape that `build(name)` takes; symbols are whole ones."""
    x = images(ARCHITECTURES[name].small["event_shape"], n)
    return np.round(x) if built(name).likelihood.whole_numbers else x


def images(shape, n=6, seed=0):
    return np.random.default_rng(seed).random((n, *shape), np.float32)


# One of each kind, which run by default.
SOME = ("conv_vae", "hvae", "lstm_autoencoder", "tabular_vae", "vqvae")


def only(*names):
    """All architectures, the others than these among the slow ones."""
    slow = pytest.mark.slow
    return [n if n in names else pytest.param(n, marks=slow) for n in ARCHITECTURES]


# Other tests export a model of each kind by default.
@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_signature_runs_outside_python(name, tmp_path):
    vae = built(name)
    path = export.saved_model(vae, tmp_path / name)
    report = export.verify(path, vae)
    assert report.ok, str(report)
    compared = {row.signature for row in report.rows if row.max_abs_error is not None}
    assert compared == set(signatures.SIGNATURES) - set(signatures.left_out(vae))
    # What only training needs stays at home.
    size = sum(file.stat().st_size for file in path.rglob("*.data*"))
    assert size < 5 * vae.count_params() + 8192


# By default those whose encoder is of its own kind.
@pytest.mark.parametrize("name", only("vqvae"))
def test_the_encoder_sees_the_mask(name):
    vae = build(name, missing="zero:mask")
    x = events(name)
    there = np.random.default_rng(1).random(x.shape) < 0.5
    label = (np.arange(len(x)) % 2,) if vae.conditional else ()
    params = vae.encode(np.where(there, x, np.float32("nan")), *label)
    # A zero that was observed is another thing than one that stands for nothing.
    zeros = vae.encode(np.where(there, x, np.float32(0)), *label)
    assert any(np.abs(params[key] - zeros[key]).max() > 1e-6 for key in params)
    vae.compile("sgd", run_eagerly=True)
    found = vae.evaluate((x, *label) if label else x, mask=there, verbose=0)
    assert np.isfinite(found).all()


@pytest.mark.slow  # Seeds are in tests/kvae/models/test_reproducible.py.
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_seed_decides_the_training(name):
    def train(seed):
        keras.utils.set_random_seed(seed)
        vae = build(name, seed=seed)
        vae.compile(keras.optimizers.SGD(0.01), run_eagerly=True)  # Nothing to compile.
        vae.fit(events(name, 4), batch_size=2, verbose=0)
        return np.concatenate([weight.ravel() for weight in vae.get_weights()])

    first = train(1)
    np.testing.assert_array_equal(first, train(1))
    assert not np.array_equal(first, train(2))


@pytest.mark.slow  # That steps follow the gradient is in tests/kvae/models/test_fit.py.
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_lowers_the_loss(name):
    """Of seeds 0, 1 and 2 and all architectures the worst comes to 0.68 of its loss (hvae)."""
    keras.utils.set_random_seed(0)
    # As wide as the architecture is by default, where that is not large.
    wide = {"filters", "hidden", "width"} - ({"hidden"} if name in ("hvae", "vamp_vae") else set())
    found = ARCHITECTURES[name]
    small = {key: value for key, value in found.small.items() if key not in wide}
    small = {k: v for k, v in small.items() if k not in found.makers.get("objective", {})}
    vae = zoo.build(name, **small, objective="elbo")  # A higher β may well empty z here.
    vae.compile(keras.optimizers.Adam(0.003))
    x = (events(name) > 0.5).astype(np.float32)
    before = vae.evaluate(x, verbose=0, return_dict=True)["loss"]
    vae.fit(np.concatenate([x] * 40), epochs=5, batch_size=6, verbose=0)
    assert vae.evaluate(x, verbose=0, return_dict=True)["loss"] < 0.9 * before


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", list(ARCHITECTURES))
class TestContract:
    # The others of `SOME` come back from their weights in `test_pretrained.py`.
    @pytest.mark.default("conv_vae", "tabular_vae", "vqvae")
    def test_encodes_decodes_saves_and_loads(self, name, tmp_path):
        vae, x = built(name), events(name)
        params = vae.encode(x)
        # Compiled, as in `reconstruct`: oneDNN rounds otherwise where it fuses operations.
        z = vae.run_compiled("mean of the posterior", vae.posterior.mean, (params,))
        assert z.shape == (6, vae.latent_dim)
        reconstructed = vae.reconstruct(x)
        assert reconstructed.shape == x.shape
        np.testing.assert_array_equal(reconstructed, vae.decode(z))
        vae.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_array_equal(vae(x), again(x))

    @pytest.mark.default(*SOME)
    def test_both_networks_of_a_conditional_model_see_the_label(self, name):
        if not ARCHITECTURES[name].conditional:
            with pytest.raises(ValueError, match="no conditional model"):
                build(name, num_classes=4)
            return
        # Of complete x: an encoder may take the mask beside it.
        vae, plain = build(name, num_classes=4, missing=None), build(name, missing=None)
        x, z = events(name, 4), np.zeros((4, 3), np.float32)
        assert [tuple(i.shape) for i in vae.encoder.inputs] == [(None, *x.shape[1:]), (None, 4)]
        assert vae.count_params() > plain.count_params()  # The label's weights, and no others new.
        features = vae.encoder([x[[0] * 4], np.eye(4, dtype=np.float32)])
        decoded = next(iter(vae.decode_params(z, np.arange(4)).values()))
        for values in (features, decoded):
            assert len(np.unique(np.reshape(values, (4, -1)), axis=0)) == 4

    @pytest.mark.default(*SOME)
    def test_other_likelihoods_and_channels(self, name):
        likelihood = kvae.likelihoods.Gaussian("per_pixel")
        # Odd sizes, and three channels where the event has any.
        event = {1: (7,), 2: (15, 3), 3: (12, 8, 3)}[len(ARCHITECTURES[name].small["event_shape"])]
        event = (15, 1) if name == "symbol_vae" else event  # A symbol is one number.
        vae = build(name, event_shape=event, likelihood=likelihood)
        params = vae.decode_params(np.zeros((2, vae.latent_dim), np.float32))
        assert params["mean"].shape == params["log_var"].shape == (2, *event)

    @pytest.mark.default(*SOME)
    def test_samples_only_with_a_prior(self, name):
        vae = built(name)
        assert (vae.prior is None) == ARCHITECTURES[name].autoencoder
        if vae.prior is None:
            with pytest.raises(ValueError, match="without a prior"):
                vae.sample(2, seed=0)
        else:
            assert vae.sample(2, seed=0).shape == (2, *vae.event_shape)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.default(cover=1)
@pytest.mark.parametrize("shape", [(27, 31, 1), (9, 8, 3), (64, 64, 1)])
def test_images_of_any_size(name, shape):
    vae = build(name, event_shape=shape)
    assert vae(images(shape, 1)).shape == (1, *shape)


# The accelerator has neither group normalization nor attention.
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONAL if name != "autoencoder_kl"])
def test_decoder_layers_are_those_of_the_gpu_accelerator(name):
    """A ReLU fused to a transposed convolution and normalisations are rejected there."""
    layers = built(name).decoder._flatten_layers(include_self=False)
    for layer in (layer for layer in layers if not isinstance(layer, keras.Model)):
        assert isinstance(
            layer,
            keras.layers.InputLayer
            | keras.layers.Activation
            | keras.layers.Add
            | keras.layers.Dense
            | keras.layers.Reshape
            | keras.layers.Conv2D
            | keras.layers.Conv2DTranspose
            | keras.layers.Cropping2D
            | keras.layers.Multiply
            | keras.layers.Add
            | keras.layers.Activation,
        )
        assert getattr(layer, "activation", None) is not keras.activations.relu


def test_dense_models_take_any_event(eagerly):
    for shape in ((5,), (7, 2), (4, 4, 3)):
        vae = zoo.build("dense_vae", event_shape=shape, latent_dim=2, likelihood="gaussian")
        assert vae.sample(3, seed=0).shape == (3, *shape)


def test_the_default_dense_vae_is_burdas():
    """Weights: 784·200 + 200·200 (+ biases), two heads of 50, and the mirror image."""
    encoder = 784 * 200 + 200 + 200 * 200 + 200 + 2 * (200 * 50 + 50)
    decoder = 50 * 200 + 200 + 200 * 200 + 200 + 200 * 784 + 784
    assert zoo.build("dense_vae").count_params() == encoder + decoder


def test_the_network_of_disentanglement_is_locatellos():
    """Kernels of 4 × 4 with 1-32-32-64-64 channels, dense layers of 256, and back."""
    vae = zoo.build("beta_vae", beta=3.0)
    convolutions = sum(16 * a * b for a, b in ((1, 32), (32, 32), (32, 64), (64, 64)))
    encoder = convolutions + 32 + 32 + 64 + 64 + 1024 * 256 + 256 + 2 * (256 * 10 + 10)
    decoder = convolutions + 64 + 32 + 32 + 1 + 10 * 256 + 256 + 256 * 1024 + 1024
    assert vae.count_params() == encoder + decoder
    assert vae.objective.get_config()["beta"] == 3.0
    other = zoo.build("beta_tcvae", beta=5.0)
    assert isinstance(other.objective, kvae.objectives.BetaTCVAE)
    assert other.objective.get_config()["beta"] == 5.0 and other.count_params() == encoder + decoder
    assert zoo.build("factor_vae", gamma=20.0).objective.get_config()["gamma"] == 20.0


def test_sparse_penalty_is_in_the_loss_alone(eagerly):
    vae = build("dense_autoencoder", l1=2.0)
    vae.compile()
    x = images((8, 8, 1))
    result = vae.evaluate(x, verbose=0, return_dict=True)
    penalty = 2.0 * np.abs(vae.encode(x)["z_mean"]).sum(axis=1).mean()
    assert penalty > 0
    assert result["loss"] == pytest.approx(result["reconstruction"] + penalty, rel=1e-5)
    assert set(result) == {"loss", "reconstruction"}  # Without a prior there is no ELBO.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zoo.build("dense_vea"), "'dense_vae'"),
        (lambda: zoo.build("dense_vae", latent_dims=3), "'latent_dim'"),
        (lambda: zoo.build("conv_vae", event_shape=(28, 28)), "height, width, channels"),
        (lambda: zoo.build("conv_vae", event_shape=(3, 3, 1)), "at least 4 pixels"),
        (lambda: zoo.build("conv_vae", filters=()), "at least one"),
        (lambda: zoo.build("timeseries_vae", event_shape=(3, 1)), "at least 4 steps"),
        (lambda: zoo.build("vqvae", num_classes=3), "no conditional model"),
        (lambda: zoo.build("autoencoder_kl", latent_shape=(4, 4, 2)), "is \\(16, 16, channels\\)"),
        (lambda: zoo.build("lstm_autoencoder", event_shape=(5,)), "steps, channels"),
        (lambda: zoo.build("dense_vae", posterior="gausian"), "'diagonal_gaussian'"),
    ],
)
def test_bad_arguments_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_vqvae_takes_other_quantizers(eagerly):
    """FSQ has channels of its own, and of residual codes the decoder sees the sums."""
    small = {"event_shape": (8, 8, 1), "filters": (4, 8)}
    vae = zoo.build("vqvae", **small, posterior="finite_scalar:levels=[4,3]", prior="uniform_codes")
    assert vae.latent_dim == 4 * 2 and vae.encode(images((8, 8, 1)))["codes"].shape == (6, 4)
    residual = kvae.posteriors.VectorQuantized(num_embeddings=4, embedding_dim=3, residual=1)
    vae = zoo.build("vqvae", **small, posterior=residual, prior="uniform_codes")
    z = np.random.default_rng(0).normal(size=(5, 4, 2, 3)).astype("float32")
    swapped = z[:, :, ::-1]
    np.testing.assert_allclose(
        vae.decode(z.reshape(5, -1)), vae.decode(swapped.reshape(5, -1)), rtol=1e-5
    )
