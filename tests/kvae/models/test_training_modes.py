"""Training under XLA, with several steps per call, in half precision, on replicas, regularized."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import kvae

KEYS = ["loss", "elbo", "reconstruction", "kl"]
BATCH = 16


@pytest.fixture(scope="module")
def x(digits):
    return digits[: 3 * BATCH]


def weights(vae):
    return [variable.numpy() for variable in vae.trainable_variables]


@pytest.fixture(scope="module")
def one_by_one(make_vae, x):
    vae = make_vae(optimizer=keras.optimizers.SGD(1e-3), eager=True)
    return vae, vae.fit(x, batch_size=BATCH, epochs=2, verbose=0).history


@pytest.mark.slow  # `test_blocks.py` has several steps in each call and XLA by default.
@pytest.mark.parametrize("options", [{"steps_per_execution": 3}, {"jit_compile": True}], ids=str)
def test_faster_execution_trains_the_same(make_vae, x, one_by_one, options):
    vae = make_vae()
    vae.compile(keras.optimizers.SGD(1e-3), **options)
    history = vae.fit(x, batch_size=BATCH, epochs=2, verbose=0).history
    assert int(vae.optimizer.iterations) == 6
    for a, b in zip(weights(vae), weights(one_by_one[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    for key in KEYS:
        assert history[key] == pytest.approx(one_by_one[1][key], rel=1e-4)


@pytest.mark.default("mixed_float16")
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(make_vae, x, one_by_one, policy, name):
    policy(name)
    vae = make_vae(optimizer=keras.optimizers.SGD(1e-3), eager=True)
    assert vae.decoder.compute_dtype == name.removeprefix("mixed_")
    history = vae.fit(x, batch_size=BATCH, epochs=2, verbose=0).history
    # The same training, with 8 or 11 bits in the products; densities and weights stay float32.
    for key in KEYS:
        assert history[key] == pytest.approx(one_by_one[1][key], rel=0.05)
    assert history["loss"][1] < history["loss"][0]
    assert {variable.dtype for variable in vae.trainable_variables} == {"float32"}
    assert vae(x).dtype == tf.float32
    assert np.isfinite(vae.log_prob(x[:4], num_samples=5).value).all()


def of_parts(name):
    """Parts that compute more than densities: a metric, noisy codes, windows, features."""
    features = [keras.Input((8, 8, 1)), layers.Conv2D(3, 3, activation="relu", name="first")]
    codes = kvae.posteriors.HierarchicalResidual(None, 4, 2, 2, level_dropout=0.0)
    return {
        "riemannian_hamiltonian": lambda: {
            "objective": kvae.objectives.RiemannianHamiltonianELBO(2, num_centroids=32)
        },
        "hierarchical_residual": lambda: {
            "posterior": codes,
            "prior": "uniform_codes",
            "latent_dim": 4,
        },
        "ms_ssim": lambda: {"objective": kvae.objectives.MSSSIM(10.0, reconstruction_weight=0.1)},
        "perceptual": lambda: {
            "objective": kvae.objectives.Perceptual(keras.Sequential(features), ["first"])
        },
    }[name]()


@pytest.mark.default("ms_ssim")  # The other parts compute in float32 as well, and take longer.
@pytest.mark.parametrize(
    "name", ["riemannian_hamiltonian", "hierarchical_residual", "ms_ssim", "perceptual"]
)
def test_mixed_precision_of_parts_that_compute_more(make_vae, x, policy, name):
    """The losses of steps are those in float32, up to the networks' rounding."""
    losses = []
    for each in ("float32", "mixed_float16"):
        policy(each)
        keras.utils.set_random_seed(5)
        vae = make_vae(optimizer=keras.optimizers.SGD(1e-4), eager=True, **of_parts(name))
        assert vae.decoder.compute_dtype == each.removeprefix("mixed_")
        steps = [vae.train_on_batch(x[:BATCH], return_dict=True) for _ in range(3)]
        losses.append([float(step["loss"]) for step in steps])
        assert {variable.dtype for variable in vae.trainable_variables} == {"float32"}
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert np.isfinite(vae.log_prob(x[:4], num_samples=2).value).all()


def test_mixed_float16_scales_the_loss(make_vae, policy):
    policy("mixed_float16")
    vae = make_vae(optimizer="sgd")
    assert isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)


def test_layers_alone_in_half_precision_scale_the_loss(make_vae, make_encoder, x, tmp_path):
    half = layers.Dense(16, dtype="mixed_float16")
    vae = make_vae(encoder=make_encoder(extra=[half]), optimizer="sgd", eager=True)
    assert isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
    vae.fit(x, batch_size=BATCH, verbose=0)
    vae.save(tmp_path / "m.keras")
    optimizer = kvae.load_model(tmp_path / "m.keras").optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert int(optimizer.iterations) == int(vae.optimizer.iterations) > 0
    vae.compile("sgd", auto_scale_loss=False)
    assert isinstance(vae.optimizer, keras.optimizers.SGD)


def test_weights_in_float16_are_not_trained(make_vae, policy, x):
    policy("float16")
    vae = make_vae()
    with pytest.raises(ValueError, match="float16.*end in NaN.*'mixed_float16'"):
        vae.compile("adam")
    assert vae.reconstruct(x).shape == x.shape  # They may be used.
    vae.freeze("encoder", "decoder")
    vae.compile("adam")


@pytest.mark.default("mixed_float16")
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_densities_of_parts_with_a_policy_of_their_own_stay_float32(make_vae, x, name):
    parts = {
        "posterior": kvae.posteriors.DiagonalGaussian,
        "prior": lambda **policy: kvae.priors.GaussianMixture(3, **policy),
        "likelihood": lambda **policy: kvae.likelihoods.DiscretizedLogisticMixture(
            2, levels=17, **policy
        ),
        "objective": kvae.objectives.ELBO,
    }
    found = []
    for own in ({}, {"dtype": name}, {"dtype": keras.DTypePolicy(name)}):
        vae = make_vae(**{part: make(**own) for part, make in parts.items()})
        x = np.round(x * 16) / 16
        terms = vae.objective.terms(vae, x, x, training=False, seed=kvae.random.as_seed(1))
        assert {value.dtype for value in terms.values()} == {tf.float32}
        assert {weight.dtype for weight in vae.weights if "float" in weight.dtype} == {"float32"}
        found.append({name: value.numpy() for name, value in terms.items()})
    for other in found[1:]:
        for term, value in found[0].items():
            np.testing.assert_array_equal(other[term], value)


def test_regularizers_are_part_of_the_loss_and_of_nothing_else(make_vae, x):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(
                16, kernel_regularizer=keras.regularizers.L2(0.1), activity_regularizer="l1"
            ),
        ]
    )
    vae = make_vae(encoder=encoder, optimizer=keras.optimizers.SGD(0.0), eager=True)
    features = encoder(x).numpy()
    kernel = encoder.layers[-1].kernel.numpy()
    # Keras's own definitions: the activity's penalty is divided by the size of the batch.
    penalty = 0.1 * np.sum(kernel**2) + 0.01 * np.abs(features).sum() / len(x)
    assert penalty > 1
    result = vae.evaluate(x, return_dict=True, verbose=0)
    assert result["loss"] == pytest.approx(-result["elbo"] + penalty, rel=1e-5)
    assert result["elbo"] == pytest.approx(-result["reconstruction"] - result["kl"], rel=1e-6)
    history = vae.fit(x, verbose=0).history
    assert history["loss"][0] == pytest.approx(-history["elbo"][0] + penalty, rel=1e-5)


@pytest.mark.slow  # `test_objectives.py` has the penalty of a point mass.
def test_the_l1_penalty_of_a_sparse_autoencoder(make_vae, x):
    vae = make_vae(
        posterior=kvae.posteriors.Delta(l1=0.5),
        prior=None,
        optimizer=keras.optimizers.SGD(0.0),
        eager=True,
    )
    penalty = 0.5 * np.abs(vae.encode(x)["z_mean"]).sum() / len(x)
    history = vae.fit(x, validation_data=x, verbose=0).history
    for prefix in ("", "val_"):
        reconstruction = history[prefix + "reconstruction"][0]
        assert history[prefix + "loss"][0] == pytest.approx(reconstruction + penalty, rel=1e-5)
        assert not {prefix + "elbo", prefix + "kl"} & set(history)


def test_training_statistics_move_in_training_only(make_vae, make_encoder, x):
    encoder = make_encoder(extra=[layers.BatchNormalization(momentum=0.5)])
    vae = make_vae(encoder=encoder, optimizer=keras.optimizers.SGD(0.0), eager=True)
    normalization = encoder.layers[-1]
    hidden = encoder.layers[-2]
    vae.evaluate(x, verbose=0)
    np.testing.assert_array_equal(normalization.moving_mean, np.zeros(16))
    vae.train_on_batch(x)
    mean = hidden(encoder.layers[0](x)).numpy().mean(axis=0)
    np.testing.assert_allclose(normalization.moving_mean, 0.5 * mean, rtol=1e-4, atol=1e-5)


# What may go wrong before or in the first step.


@pytest.mark.parametrize("name", ["loss", "metrics", "weighted_metrics", "loss_weights"])
def test_compile_refuses_what_the_objective_defines(make_vae, name):
    with pytest.raises(ValueError, match=f"compile.. takes no `{name}`"):
        make_vae().compile("adam", **{name: "mse"})


def test_fit_needs_compile_and_no_classes(make_vae, x):
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match="compile"):
            getattr(make_vae(), method)(x)
    with pytest.raises(ValueError, match="no classes"):
        make_vae(optimizer="sgd").fit(x, class_weight={0: 1.0})


def as_array(x):
    return x


def as_tf_data(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(BATCH)


def as_generator(x):
    return ((x[i : i + BATCH],) for i in range(0, len(x), BATCH))


@pytest.mark.default("as_generator")
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("form", [as_array, kvae.datasets.Dataset, as_tf_data, as_generator])
def test_an_encoder_without_input_is_built_by_the_first_fit(
    make_vae, make_encoder, make_decoder, x, form
):
    parts = {"encoder": make_encoder(declared=False), "decoder": make_decoder(declared=False)}
    # The generator's batches are first seen inside the traced step.
    vae = make_vae(optimizer="sgd", eager=form is not as_generator, **parts)
    vae.fit(form(x), epochs=1, verbose=0)
    assert vae.built and vae.event_shape == (8, 8, 1)
    assert len(vae.trainable_variables) == 2 * (1 + 2 + 2)
    assert vae.sample(2, seed=0).shape == (2, 8, 8, 1)


@pytest.mark.parametrize("form", [as_array, as_tf_data])
def test_a_wrong_decoder_is_found_by_the_first_fit(make_vae, make_encoder, make_decoder, x, form):
    parts = {"encoder": make_encoder(declared=False), "decoder": make_decoder((8, 7, 1))}
    vae = make_vae(optimizer="sgd", **parts)
    with pytest.raises(ValueError, match=r"\(None, 8, 7, 1\).*\(None, 8, 8, 1\)"):
        vae.fit(form(x), verbose=0)


def test_a_fit_that_fails_does_not_spoil_the_next(make_vae, x):
    vae = make_vae(optimizer="adam", eager=True)
    labelled = tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)))).batch(BATCH)
    with pytest.raises(ValueError, match="Labels are not a target"):
        vae.fit(labelled, verbose=0)
    vae.fit(labelled.map(lambda x, label: x), verbose=0)
    assert int(vae.optimizer.iterations) == 3


# Replicas.

_STRATEGY = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import kvae
from kvae.objectives.factor_vae import permute_dims

def make(objective="elbo"):
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([keras.Input((7,)), keras.layers.Dense(5, "relu")])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(7)])
    return kvae.VAE(encoder, decoder, 2, objective=objective)

x = np.random.default_rng(0).random((8, 7)).astype("float32")
# One for all: the collectives of two in one process can be taken for each other.
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
seed = kvae.random.as_seed(keras.random.SeedGenerator(0))
"""

_NOISE = """
with strategy.scope():
    vae = make()
    vae.compile(keras.optimizers.SGD(0.1))
history = vae.fit(x, batch_size=8, shuffle=False, verbose=0).history

# By hand: half of the batch and a noise of its own for each replica, one step on the mean of all.
one = make()
with tf.GradientTape() as tape:
    halves = [
        one.objective.terms(one, x[rows], x[rows], training=True, seed=kvae.random.fold_in(seed, i))
        for i, rows in enumerate((slice(0, 4), slice(4, 8)))
    ]
    loss = tf.reduce_mean([half["loss"] for half in halves])
variables = one.trainable_variables
for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
    variable.assign_sub(0.1 * gradient)
for a, b in zip(vae.get_weights(), one.get_weights(), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
for name in ("loss", "elbo", "reconstruction", "kl"):
    mean = np.mean([half[name] for half in halves])
    np.testing.assert_allclose(history[name], [mean], rtol=1e-5)
"""

_DISCRIMINATOR = """
# The optimizer of a discriminator sums over replicas as well, and both copies stay the same.
with strategy.scope():
    vae = make(kvae.objectives.FactorVAE(discriminator_width=8, discriminator_depth=1))
    vae.compile(keras.optimizers.SGD(0.1))
    vae.objective.discriminator_optimizer = keras.optimizers.SGD(0.5)
    vae.objective.discriminator_optimizer.build(vae.objective.discriminator.variables)
vae.fit(x, batch_size=8, shuffle=False, verbose=0)
one = make(kvae.objectives.FactorVAE(discriminator_width=8, discriminator_depth=1))
parts = []
for i, rows in enumerate((slice(0, 4), slice(4, 8))):
    at = kvae.random.fold_in(seed, i)
    z = one.objective.terms(one, x[rows], x[rows], training=True, seed=at)["z"][0]
    parts.append((z, permute_dims(z, kvae.random.fold_in(at, 2))))
critic = one.objective.discriminator
values = [variable.value for variable in critic.variables]
with tf.GradientTape() as tape:
    tape.watch(values)
    losses = [tf.nn.softplus(-critic(z)) + tf.nn.softplus(critic(other)) for z, other in parts]
    loss = 0.5 * tf.reduce_mean(losses)
expected = [v - 0.5 * g for v, g in zip(values, tape.gradient(loss, values))]
for variable, wanted in zip(vae.objective.discriminator.variables, expected):
    for copy in variable.value.values:
        np.testing.assert_allclose(copy, wanted, rtol=1e-5, atol=1e-6)
"""

_UNEVEN = """
# Without noise: all of a training, also where a batch leaves fewer examples than replicas take.
def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(2)
        encoder = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
        decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(7)])
        vae = kvae.VAE(encoder, decoder, 2, posterior="delta", prior=None)
        vae.compile(keras.optimizers.Adam(0.01))
    history = vae.fit(data, validation_data=data[:13], batch_size=8, epochs=2, verbose=0).history
    return vae, history

data = kvae.datasets.Dataset(np.random.default_rng(1).random((21, 7)))  # 8, 8 and 5: 4 + 1.
(one, expected), (two, history) = train(tf.distribute.get_strategy()), train(strategy)
for a, b in zip(two.get_weights(), one.get_weights(), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
assert set(history) == set(expected)
for name in history:
    np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)
"""


def test_two_replicas_train_like_one_device_with_noise_of_their_own(run_forked):
    run = run_forked(_STRATEGY + _NOISE + "print('replicas agree')")
    assert "replicas agree" in run.stdout


@pytest.mark.slow  # Another process.
def test_two_replicas_train_like_one_device_where_a_batch_is_uneven(run_forked):
    run = run_forked(_STRATEGY + _UNEVEN + "print('replicas agree')")
    assert "replicas agree" in run.stdout


@pytest.mark.slow  # Another process.
def test_two_replicas_train_one_discriminator(run_forked):
    run = run_forked(_STRATEGY + _DISCRIMINATOR + "print('replicas agree')")
    assert "replicas agree" in run.stdout
