"""kvae.Sampling: z = z_mean + exp(0.5 z_log_var) ε, and nothing else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae


def parameters(n=4, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype("float32"), rng.normal(size=(n, d)).astype("float32")


@pytest.mark.parametrize("num_samples", [None, 1, 5])
def test_is_the_formula(num_samples):
    z_mean, z_log_var = parameters()
    z = kvae.Sampling(num_samples)([z_mean, z_log_var], seed=8)
    shape = (4, 3) if num_samples is None else (num_samples, 4, 3)
    epsilon = kvae.random.normal(shape, seed=8).numpy().astype(np.float64)
    assert z.shape == shape
    exact = z_mean + np.exp(0.5 * z_log_var.astype(np.float64)) * epsilon
    np.testing.assert_allclose(z, exact, rtol=1e-6, atol=1e-6)
    by_tensorflow = z_mean + tf.exp(0.5 * z_log_var) * tf.cast(epsilon, tf.float32)
    np.testing.assert_array_equal(z, by_tensorflow)


def test_moments():
    n, sigma = 40_000, np.exp(0.5 * np.array([-3.0, 0.0, 2.0]))
    z_mean, z_log_var = np.array([[1.0, -2.0, 30.0]]), np.array([[-3.0, 0.0, 2.0]])
    z = kvae.Sampling(num_samples=n, seed=1)([z_mean, z_log_var]).numpy()[:, 0]
    # Standard errors of a Gaussian's mean and variance: σ/√n and σ²√(2/n).
    assert (np.abs(z.mean(axis=0) - z_mean[0]) < 5 * sigma / np.sqrt(n)).all()
    assert (np.abs(z.var(axis=0) - sigma**2) < 5 * sigma**2 * np.sqrt(2 / n)).all()
    off_diagonal = np.corrcoef(z.T)[np.triu_indices(3, 1)]
    assert (np.abs(off_diagonal) < 5 / np.sqrt(n)).all()


def test_own_generator_advances_and_repeats_from_its_seed():
    inputs = parameters()
    layer, again, other = kvae.Sampling(seed=2), kvae.Sampling(seed=2), kvae.Sampling(seed=3)
    first, second = layer(inputs), layer(inputs)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(again(inputs), first)
    np.testing.assert_array_equal(again(inputs), second)
    assert not np.array_equal(other(inputs), first)


def test_an_explicit_seed_leaves_the_generator_alone():
    inputs = parameters()
    layer, again = kvae.Sampling(seed=2), kvae.Sampling(seed=2)
    layer(inputs, seed=5)
    np.testing.assert_array_equal(layer(inputs), again(inputs))


def test_same_numbers_under_xla():
    z_mean, z_log_var = parameters()
    layer = kvae.Sampling(num_samples=6)
    compiled = tf.function(lambda m, v, seed: layer([m, v], seed=seed), jit_compile=True)
    seed = kvae.random.as_seed(1)
    z = compiled(z_mean, z_log_var, seed)
    np.testing.assert_array_equal(compiled(z_mean, z_log_var, seed), z)
    np.testing.assert_allclose(z, layer([z_mean, z_log_var], seed=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_computes_in_float32(dtype):
    # In half precision 1.0001 is 1 and exp(12) is infinite; in float32 both are what they are.
    z_mean = np.full((256, 2), 1.0001, "float32")
    z_log_var = np.tile(np.array([-40.0, 24.0], "float32"), (256, 1))
    half = kvae.Sampling(dtype=dtype)([z_mean, z_log_var], seed=1)
    full = kvae.Sampling()([z_mean, z_log_var], seed=1).numpy()
    half_type = {"mixed_float16": tf.float16, "mixed_bfloat16": tf.bfloat16}[dtype]
    assert half.dtype == half_type
    np.testing.assert_array_equal(half, tf.cast(full, half_type))
    representable = np.abs(full) < half_type.max
    finite = np.isfinite(tf.cast(half, tf.float32).numpy())
    np.testing.assert_array_equal(finite, representable)
    assert representable[:, 1].sum() > 50


def test_mixed_precision_gradients_do_not_overflow():
    z_mean, z_log_var = tf.zeros((8, 2)), tf.fill((8, 2), 16.0)
    with tf.GradientTape() as tape:
        tape.watch(z_log_var)
        z = kvae.Sampling(dtype="mixed_float16")([z_mean, z_log_var], seed=1)
        total = tf.reduce_sum(tf.cast(z, tf.float32))
    epsilon = kvae.random.normal((8, 2), seed=1)
    gradient = tape.gradient(total, z_log_var)
    np.testing.assert_allclose(gradient, 0.5 * np.exp(8.0) * epsilon, rtol=2e-3)


@pytest.mark.parametrize("num_samples", [None, 3])
def test_gradients(num_samples):
    z_mean, z_log_var = (tf.constant(value) for value in parameters())
    layer = kvae.Sampling(num_samples)
    with tf.GradientTape() as tape:
        tape.watch([z_mean, z_log_var])
        z = layer([z_mean, z_log_var], seed=6)
    by_mean, by_log_var = tape.gradient(z, [z_mean, z_log_var])
    epsilon = kvae.random.normal(z.shape, seed=6).numpy().reshape(-1, 4, 3)
    np.testing.assert_allclose(by_mean, np.full((4, 3), len(epsilon)))
    exact = (0.5 * np.exp(0.5 * z_log_var.numpy()) * epsilon).sum(axis=0)
    np.testing.assert_allclose(by_log_var, exact, rtol=1e-5, atol=1e-6)


def functional(**options):
    z_mean, z_log_var = keras.Input((3,)), keras.Input((3,))
    return keras.Model([z_mean, z_log_var], kvae.Sampling(**options)([z_mean, z_log_var]))


def test_round_trip_continues_the_stream(tmp_path):
    model = functional(num_samples=2, seed=4)
    inputs = list(parameters())
    first = model(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    following = model(inputs)
    np.testing.assert_array_equal(loaded(inputs), following)
    assert not np.array_equal(first, following)
    layer = loaded.layers[-1]
    assert (layer.num_samples, layer.seed) == (2, 4)


@pytest.mark.parametrize("num_samples, shape", [(None, (None, 3)), (4, (4, None, 3))])
def test_symbolic_shape_is_the_real_one(num_samples, shape):
    model = functional(num_samples=num_samples)
    assert tuple(model.output.shape) == shape
    real = model(list(parameters(n=7))).shape
    assert tuple(real) == tuple(7 if size is None else size for size in shape)


def test_refuses_bad_arguments():
    z_mean, z_log_var = parameters()
    with pytest.raises(ValueError, match="num_samples.*0"):
        kvae.Sampling(num_samples=0)
    with pytest.raises(ValueError, match="pair"):
        kvae.Sampling()(z_mean)
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        kvae.Sampling()([z_mean, z_log_var[:, :2]])
