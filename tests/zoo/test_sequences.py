"""The architectures of sequences, and the grammar."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
import zoo
from kvae import datasets
from kvae.datasets.catalog import grammar
from zoo.building import ARCHITECTURES

STEPS, K = 7, 5
SENTENCES = [[1, 2, 3, 0], [4, 0], [2, 2, 1, 3, 4, 0], [3, 1, 2]]  # The last one is a beginning.


def build(**settings):
    shape = {"event_shape": (STEPS, 1), "num_symbols": K, "end": 0, "latent_dim": 2, "width": 4}
    vae = zoo.build("symbol_vae", **{**shape, "embedding_dim": 3, **settings})
    generator = np.random.default_rng(0)  # Symbols that depend on z and on each other.
    vae.set_weights(
        [2 * generator.normal(size=w.shape) if w.ndim > 1 else w for w in vae.get_weights()]
    )
    vae.compile("sgd", run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return build()


def test_symbols_with_any_padding_are_the_same(vae, eagerly):
    wanted = vae.encode(SENTENCES)["z_mean"]
    assert len(np.unique(np.round(wanted, 6), axis=0)) == len(SENTENCES)
    log_p = vae.log_prob(SENTENCES, num_samples=9).value
    ended = datasets.padded([[*one, *[0] * (STEPS - len(one))] for one in SENTENCES[:3]])
    longer = datasets.padded(SENTENCES, STEPS)
    tall = build(event_shape=(STEPS + 2, 1))
    tall.set_weights(vae.get_weights())
    for model, x in ((vae, ended), (vae, longer), (tall, SENTENCES)):
        np.testing.assert_allclose(model.encode(x)["z_mean"], wanted[: len(x)], atol=1e-5)
    found = tall.log_prob(SENTENCES, num_samples=9).value
    np.testing.assert_allclose(found, log_p, atol=1e-4)
    np.testing.assert_allclose(  # Their noise depends on the shape of a batch.
        vae.log_prob(np.concatenate([ended, longer[3:]]), num_samples=9).value, log_p, atol=1e-4
    )


def test_gaps_and_forecasts_are_sentences(vae, eagerly):
    x = datasets.padded(SENTENCES, STEPS)
    x[2, 1] = np.nan
    observed = ~np.isnan(x)
    for found in (
        vae.impute(x, num_samples=20).value[None],
        vae.impute(x, num_samples=20, num_imputations=3).value,
    ):
        assert vae.likelihood.in_support(found.reshape(-1, STEPS, 1)).numpy().all()
        for one in found:
            np.testing.assert_array_equal(one[observed], x[observed])
            assert (one[0, 4:] == 0).all() and (one[1, 2:] == 0).all()  # After the end.


# The likelihood's own weighted draws are a default test, in test_autoregressive.py.
@pytest.mark.slow
def test_multiple_imputations_are_of_the_model(vae):
    """A gap before the last symbol: draws against p(x_mis|x_obs), by all of its values."""
    x = np.float32([2, 2, np.nan, 3, 4, 0, 0])[None, :, None]
    every = np.repeat(x, K - 1, axis=0)
    every[:, 2, 0] = np.arange(1, K)
    log_p = vae.log_prob(every, num_samples=300).value
    wanted = np.exp(log_p - log_p.max())
    wanted /= wanted.sum()
    many = np.repeat(x, 60, axis=0)
    draws = vae.impute(many, num_samples=60, num_imputations=5, seed=1).value[:, :, 2, 0]
    found = np.bincount(draws.astype(int).ravel(), minlength=K)[1:] / draws.size
    np.testing.assert_allclose(found, wanted, atol=0.1)
    assert vae.impute(x, num_samples=200).value[0, 2, 0] == 1 + wanted.argmax()


def test_word_dropout_acts_in_training_alone(eagerly):
    vae = build(word_dropout=0.5, free_bits=0.0, width=3)
    x = tf.constant(datasets.padded(SENTENCES, STEPS))

    def loss(training):
        terms = vae.objective.terms(vae, x, x, training=training, seed=1)
        return terms["reconstruction"].numpy()

    assert np.array_equal(loss(False), loss(False)) and not np.array_equal(loss(True), loss(True))
    vae.fit(SENTENCES, batch_size=4, verbose=0)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[1, 2], [9]], r"values from 0 to 9, outside the support \[0, 4\]"),
        ([[1, 2], [0.5]], "has the value 0.5; Autoregressive takes whole numbers"),
    ],
)
def test_symbols_out_of_range(vae, x, words):
    with pytest.raises(ValueError, match=words):
        vae.log_prob(x)


def test_shapes_that_are_no_sequences():
    with pytest.raises(ValueError, match=r"sequence of symbols has the shape \(steps, 1\)"):
        zoo.build("symbol_vae", event_shape=(8, 2))
    with pytest.raises(ValueError, match=r"signal has the shape \(steps, channels\)"):
        zoo.build("sequence_vae", event_shape=(8,))
    with pytest.raises(ValueError, match="cell"):
        zoo.build("sequence_vae", cell="elman")


def test_the_zoo_s_signals_may_end_anywhere(eagerly):
    vae = zoo.build("sequence_vae", event_shape=(8, 1), latent_dim=2, width=3)
    vae.compile("sgd", run_eagerly=True)
    x = [np.ones((3, 1)), np.ones((8, 1))]
    assert vae.impute(x, num_samples=5).value.shape == (2, 8, 1)
    complete = zoo.build("sequence_vae", event_shape=(8, 1), width=3, missing=None)
    with pytest.raises(ValueError, match="missing"):
        complete.encode(datasets.padded(x))


def test_probabilities_of_the_grammar_are_those_of_its_choices():
    rng, log_p = np.random.default_rng(0), 0.0

    def choose(probabilities):
        nonlocal log_p
        number = rng.choice(len(probabilities), p=probabilities)
        log_p += math.log(probabilities[number])
        return number

    for _ in range(200):
        log_p = 0.0
        symbols, _topic = grammar.sentence(choose)
        assert grammar.log_prob(symbols) == pytest.approx(log_p)
        assert grammar.log_prob(symbols[::-1]) == grammar.log_prob([*symbols, 0]) == -math.inf
    data = kvae.datasets.load("grammar", "test")
    assert np.isfinite(
        [grammar.log_prob(one[:, 0].astype(int)) for one in datasets.unpadded(data.x)]
    ).all()
    text = grammar.as_text(data.x[:50])
    assert all(one.endswith(".") and " ed" not in one for one in text)


def test_cut_signals_are_signals_with_a_gap_and_an_end():
    whole, cut = (kvae.datasets.load(name, "test") for name in ("signals", "cut_signals"))
    there = ~np.isnan(cut.x[..., 0])
    np.testing.assert_array_equal(cut.x[there], whole.x[there])
    np.testing.assert_array_equal(cut.labels, whole.labels)
    length = [len(one) for one in datasets.unpadded(cut.x)]
    assert (min(length), max(length)) == (24, 64)
    gap = length - there.sum(axis=1)
    assert (gap.min(), gap.max()) == (4, 12)
    # In one piece, with four steps before it and three after.
    turns = np.abs(np.diff(there.astype(int), axis=1)).sum(axis=1)
    assert (turns == np.where(np.array(length) < 64, 3, 2)).all()
    assert there[:, :4].all()


# Each compiles networks that are unrolled.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["symbol_vae", "sequence_vae"])
def test_xla_and_half_precision(name):
    settings = {"event_shape": (STEPS, 1), "latent_dim": 2, "width": 4}
    if name == "symbol_vae":
        settings |= {"num_symbols": K, "end": 0}
    found = []
    for jit in (False, True):
        vae = zoo.build(name, **settings)
        vae.compile("sgd", jit_compile=jit)
        found.append(vae.evaluate(SENTENCES, verbose=0))
        vae.fit(SENTENCES, batch_size=4, verbose=0)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = zoo.build(name, **settings)
    finally:
        keras.config.set_dtype_policy(policy)
    short, full = half.encode(SENTENCES), half.encode(datasets.padded(SENTENCES, STEPS))
    np.testing.assert_array_equal(short["z_mean"], full["z_mean"])
    bare = half.encode(SENTENCES[1:2])["z_mean"]
    np.testing.assert_allclose(bare, short["z_mean"][1:2], atol=1e-2)


@pytest.mark.slow  # Of the signatures of SavedModels tests/zoo/test_architectures.py has all.
@pytest.mark.parametrize("write", ["tflite", "onnx"])
@pytest.mark.parametrize("name", ["symbol_vae", "sequence_vae"])
def test_exports_of_a_fixed_length(name, write, tmp_path):
    vae = zoo.build(name, **ARCHITECTURES[name].small)
    path = getattr(export, write)(vae, tmp_path / f"model.{write}")
    report = export.verify(path, vae)
    assert report.ok, str(report)
