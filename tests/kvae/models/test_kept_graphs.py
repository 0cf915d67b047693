"""Repeated computations with a model use one graph, stay right and leave nothing behind."""

import concurrent.futures
import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

import kvae
from kvae import evaluation, objectives, samplers
from kvae.distributions.straight_through import with_gradient_of
from kvae.evaluation.disentanglement.representation import Representation
from kvae.likelihoods.bernoulli import _log_prob
from kvae.models import compiled_functions
from kvae.priors.vamp import _within

AIS = {"num_chains": 2, "num_steps": 3, "num_leapfrog": 2}


@pytest.fixture(scope="module")
def x(digits):
    return (digits[:5] > 0.5).astype("float32")


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae()


CALLS = {
    "log_prob": lambda vae, x: vae.log_prob(x, num_samples=5, batch_size=2).value,
    "annealed_log_prob": lambda vae, x: evaluation.annealed_log_prob(vae, x[:2], **AIS).value,
    "evaluate": lambda vae, x: evaluation.evaluate(
        vae, kvae.datasets.Dataset(x), num_samples=2, batch_size=2
    )["elbo"],
    "rate_distortion": lambda vae, x: evaluation.rate_distortion(
        {"a": vae}, kvae.datasets.Dataset(x)
    )["a"]["rate"],
    "rate_distortion_curve": lambda vae, x: evaluation.rate_distortion_curve(
        vae, kvae.datasets.Dataset(x[:2]), **AIS
    ).curve["rate"],
    "latent_summary": lambda vae, x: evaluation.latent_summary(vae, x).rate,
    "representation": lambda vae, x: Representation(vae).encode(x),
    "sampler": lambda vae, x: (
        samplers.GaussianMixture(num_components=1).fit(vae, x).as_prior().log_prob(tf.zeros((1, 2)))
    ),
}


@pytest.mark.default("log_prob", "evaluate", "latent_summary", "representation")
@pytest.mark.parametrize("name", CALLS)
def test_only_the_first_call_makes_graphs(name, vae, x, monkeypatch):
    call = CALLS[name]
    first = call(vae, x)
    call(vae, x)
    registered, made = len(ops.gradient_registry._registry), []
    plain = tf.Graph.__init__
    monkeypatch.setattr(
        tf.Graph, "__init__", lambda self, *a, **k: made.append(self) or plain(self, *a, **k)
    )
    np.testing.assert_array_equal(call(vae, x), first)
    assert len(ops.gradient_registry._registry) == registered
    if name != "sampler":  # It builds a model with another prior.
        # What reads data for the objective's terms is tf.data's own.
        assert not [graph for graph in made if "Dataset" not in graph.name]


def test_other_numbers_of_rows_and_a_smaller_last_batch_have_the_same_graph(vae, x):
    vae.log_prob(x, num_samples=3, batch_size=2)
    made = len(vae._functions._made)
    one = vae.log_prob(x[:1], num_samples=3, batch_size=2)
    vae.log_prob(x, num_samples=3, batch_size=4)
    assert len(vae._functions._made) == made and one.value.shape == (1,)


def test_estimates_follow_weights_priors_and_labels(make_vae, x):
    vae, other = make_vae(), make_vae()
    before = vae.log_prob(x, num_samples=4).value
    vae.set_weights([weight + 0.1 for weight in vae.get_weights()])
    other.set_weights(vae.get_weights())
    after = vae.log_prob(x, num_samples=4).value
    assert (before != after).all()
    np.testing.assert_array_equal(after, other.log_prob(x, num_samples=4).value)
    # The same networks under another prior: p(z) of each z is lower by 3 nats.
    shifted = vae.with_prior(_Lower())
    np.testing.assert_allclose(shifted.log_prob(x, num_samples=4).value, after - 3.0, rtol=1e-5)
    np.testing.assert_array_equal(vae.log_prob(x, num_samples=4).value, after)
    vae.compile("sgd", run_eagerly=True)
    np.testing.assert_allclose(vae.log_prob(x, num_samples=4).value, after, rtol=1e-5)
    assert not vae._functions._made


@keras.saving.register_keras_serializable(package="tests")
class _Lower(kvae.priors.StandardNormal):
    def log_prob(self, z):
        return super().log_prob(z) - 3.0


@pytest.mark.slow  # `test_vamp.py` has the density.
def test_constants_of_a_prior_are_computed_once_and_follow_the_weights(make_vae, part, x):
    vae = make_vae(prior=part(kvae.priors, "vamp"))
    vae.log_prob(x, num_samples=4)
    vae.prior.raw_pseudo_inputs.assign(1.0 - vae.prior.raw_pseudo_inputs)
    z = vae.posterior.sample(vae.encode(x), 2, seed=1)
    constants = vae.prior.precompute()
    np.testing.assert_array_equal(
        vae.prior.precomputed(constants).log_prob(z), vae.prior.precomputed().log_prob(z)
    )
    again = make_vae(prior=part(kvae.priors, "vamp"))
    again.set_weights(vae.get_weights())
    np.testing.assert_array_equal(
        vae.log_prob(x, num_samples=4).value, again.log_prob(x, num_samples=4).value
    )


@pytest.mark.default("latent_summary")
@pytest.mark.parametrize("name", ["log_prob", "annealed_log_prob", "evaluate", "latent_summary"])
def test_inside_of_a_graph_values_become_constants(name, vae, x):
    expected = CALLS[name](vae, x)
    inside = tf.function(lambda: tf.constant(CALLS[name](vae, x)))()
    np.testing.assert_array_equal(inside, np.asarray(expected, inside.dtype.as_numpy_dtype))


@pytest.mark.slow  # Graphs of eight threads.
def test_threads_make_the_graphs_of_one_model_together(make_vae, x):
    vae = make_vae()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(vae.log_prob, x, num_samples=3, seed=seed) for seed in range(8)]
        found = [job.result().value for job in jobs]
    for seed, value in enumerate(found):
        np.testing.assert_array_equal(value, vae.log_prob(x, num_samples=3, seed=seed).value)


def test_a_dropped_model_goes_with_its_graphs_and_keeps_no_data(make_vae, x):
    vae, data = make_vae(), x.copy()
    for name in ("log_prob", "representation"):
        CALLS[name](vae, data)
    gone = weakref.ref(vae), weakref.ref(data)
    del data
    gc.collect()
    assert gone[1]() is None
    del vae
    keras.backend.clear_session()
    gc.collect()
    assert gone[0]() is None


@pytest.mark.slow  # `test_compiled_functions.py` has the bound.
def test_the_number_of_graphs_is_bounded(vae, x, monkeypatch):
    monkeypatch.setattr(compiled_functions, "_MOST", 4)
    for num_samples in range(5, 9):
        vae.log_prob(x, num_samples=num_samples)
    assert len(vae._functions._made) <= 4
    made = set(vae._functions._made)
    vae.log_prob(x, num_samples=8)  # The last ones used are those that stay.
    assert set(vae._functions._made) == made


# Gradients of our own register nothing for each graph.

GRADIENTS = {
    "bernoulli": lambda v: _log_prob(v, 0.3 * tf.ones((4, 3))),
    "straight through": lambda v: with_gradient_of(tf.round(v), v),
    "within": lambda v: _within(v, -0.5, 0.5),
    "doubly reparameterized": lambda v: objectives.importance_weighted._with_scaled_gradient(v)[0],
}


@pytest.mark.default("straight through", "doubly reparameterized")
@pytest.mark.parametrize("name", GRADIENTS)
def test_no_graph_registers_a_gradient(name):
    function = GRADIENTS[name]

    def gradient(v):
        with tf.GradientTape() as tape:
            tape.watch(v)
            y = function(v)
        return y, tape.gradient(y, v)

    v = tf.random.stateless_normal((2, 4, 3), (1, 2))
    expected = gradient(v)
    assert expected[1].shape == v.shape
    registered = len(ops.gradient_registry._registry)
    for _ in range(2):
        for found in (tf.function(gradient)(v), tf.function(gradient, jit_compile=True)(v)):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert len(ops.gradient_registry._registry) <= registered


def test_the_gradient_of_the_bernoulli_and_its_derivative():
    logits = tf.constant(np.linspace(-3, 3, 24).reshape(2, 4, 3), tf.float32)
    x = tf.constant(np.linspace(0, 1, 12).reshape(4, 3), tf.float32)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([logits, x])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([logits, x])
            y = _log_prob(logits, x)
        of_logits, of_x = tape.gradient(y, logits), tape.gradient(y, x)
    sigmoid = 1 / (1 + np.exp(-logits.numpy()))
    np.testing.assert_allclose(of_logits, x - sigmoid, atol=1e-6)
    np.testing.assert_allclose(of_x, logits.numpy().sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(
        outer.gradient(of_logits, logits), -sigmoid * (1 - sigmoid), atol=1e-6
    )


def test_values_of_others_are_exact_and_the_gradient_is_scaled_by_weights():
    values, other = tf.constant([0.1, 1 / 3, -7.0]), tf.Variable([1e8, -0.7, 3.3])
    with tf.GradientTape() as tape:
        y = with_gradient_of(values, other)
    np.testing.assert_array_equal(y, values)
    np.testing.assert_array_equal(tape.gradient(y, other), np.ones(3))


@pytest.mark.default("alone")
@pytest.mark.parametrize("validated", [False, True], ids=["alone", "validated"])
def test_compiling_and_training_in_a_loop_leaves_nothing(make_vae, x, validated):
    vae, data = make_vae(), tf.data.Dataset.from_tensor_slices(x).batch(2)

    def left():
        vae.compile("sgd")
        vae.fit(data, epochs=1, verbose=0, validation_data=data if validated else None)
        gc.collect()
        graphs = sum(isinstance(found, tf.Graph) for found in gc.get_objects())
        return graphs, len(ops.gradient_registry._registry)

    left()  # What is made once.
    assert left() == left()
