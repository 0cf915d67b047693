"""The Riemannian Hamiltonian bound: its metric, unbiased weights, and the centroids it keeps."""

import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.distributions.gaussian import standard_log_density
from kvae.distributions.metric import Metric
from kvae.objectives import HamiltonianELBO, RiemannianHamiltonianELBO
from kvae.testing.models import examples, tiny_vae

SMALL = {"metric_width": 4, "num_centroids": 6}


@pytest.fixture(scope="module")
def metric():
    rng = np.random.default_rng(0)
    factors = np.tril(rng.normal(size=(5, 3, 3))).astype("float32")
    centroids = rng.normal(size=(5, 3)).astype("float32")
    return Metric(tf.constant(centroids), tf.constant(factors @ factors.mT), 1.3, 0.2)


def test_the_metric_and_its_gradient(metric):
    z, momentum = np.random.default_rng(1).normal(size=(2, 2, 4, 3)).astype("float32")
    expected = np.zeros((2, 4, 3, 3))
    for centroid, matrix in zip(metric.centroids.numpy(), metric.matrices.numpy(), strict=True):
        share = np.exp(-np.sum((z - centroid) ** 2, axis=-1) / 1.3**2)
        expected += share[..., None, None] * matrix
    np.testing.assert_allclose(metric.inverse(z), expected + 0.2 * np.eye(3), rtol=1e-5)
    volume = metric.log_volume(metric.factor(z))
    np.testing.assert_allclose(
        volume, 0.5 * np.linalg.slogdet(expected + 0.2 * np.eye(3))[1], rtol=1e-4, atol=1e-5
    )
    at = tf.constant(z)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(at)
        inverse = metric.inverse(at)
        kinetic = 0.5 * tf.einsum("...a,...ab,...b->...", momentum, inverse, momentum)
        determinant = 0.5 * tf.linalg.logdet(inverse)
        total = kinetic - determinant
    exact = tape.gradient(total, at)
    np.testing.assert_allclose(metric.gradient(at, momentum), exact, rtol=1e-3, atol=1e-4)
    exact = -tape.gradient(determinant, at)
    np.testing.assert_allclose(metric.gradient(at), exact, rtol=1e-3, atol=1e-4)


def terms(objective, rows=1, matrices=None, training=False):
    """The terms of the first example, in so many rows with noise of their own."""
    vae = tiny_vae(2, objective=objective)
    vae.build((None, *vae.event_shape))
    # q(z|x) is N(0, I), and the decoder depends on z, so that the steps have somewhere to go.
    vae.posterior.set_weights([np.zeros_like(w) for w in vae.posterior.get_weights()])
    vae.decoder.set_weights([0.5 * np.sign(w) + w for w in vae.decoder.get_weights()])
    if matrices is not None:
        objective.matrices.assign(matrices)
        objective.centroids.assign(np.random.default_rng(2).normal(size=(6, 2)))
    x = tf.repeat(examples(vae)[:1], rows, axis=0)
    return vae, x, objective.terms(vae, x, x, training=training, seed=0)


def test_weights_average_to_p_of_x():
    """E[exp(log w)] = p(x) holds only if momenta, volumes and both densities of G are right."""
    factors = np.tril(np.random.default_rng(1).normal(size=(6, 2, 2))) + np.eye(2)
    objective = RiemannianHamiltonianELBO(
        num_steps=2, step_size=0.1, tempering=0.4, num_iterations=6, regularization=0.3, **SMALL
    )
    vae, x, found = terms(objective, 3000, 0.3 * factors @ factors.mT)
    line = np.linspace(-6, 6, 121, dtype="float32")
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    log_px = vae.likelihood.log_prob(vae.decode_params(grid), tf.repeat(x[:1], len(grid), axis=0))
    log_joint = np.float64(log_px) + np.sum(standard_log_density(grid), axis=-1)
    exact = np.log(np.sum(np.exp(log_joint)) * 0.01)
    weights = np.exp(np.float64(found["hamiltonian"]) - exact)
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.02 and abs(weights.mean() - 1.0) < 5 * error
    bound, elbo = (np.mean(found[name]) for name in ("hamiltonian", "elbo"))
    assert max(bound, elbo) < exact and bound != elbo


def test_with_a_flat_metric_it_is_the_hamiltonian_bound():
    settings = {"num_steps": 3, "step_size": 0.2}
    curved = RiemannianHamiltonianELBO(regularization=1.0, **settings, **SMALL)
    _, _, found = terms(curved, 5)
    _, _, expected = terms(HamiltonianELBO(**settings), 5)
    np.testing.assert_allclose(found["hamiltonian"], expected["hamiltonian"], rtol=1e-4)


def test_training_learns_the_metric_and_keeps_the_last_centroids(tmp_path):
    objective = RiemannianHamiltonianELBO(num_steps=1, **SMALL)
    vae, x, _ = terms(objective)
    before = objective.metric_network.get_weights()
    vae.compile("sgd", run_eagerly=True)
    batches = [examples(vae, 8)[start : start + 4] for start in (0, 4)]
    means, matrices = [], []
    for batch in batches:
        means.append(vae.encode_params(batch)["z_mean"].numpy())
        matrices.append(objective.matrices_of(vae, batch).numpy())
        vae.train_on_batch(batch)
    for new, old in zip(objective.metric_network.get_weights(), before, strict=True):
        assert np.any(new != old)
    # Of eight rows in six places the first two are gone, and the last two stand there.
    order = [4, 5, 0, 1, 2, 3]
    kept = np.concatenate(means)[2:]
    np.testing.assert_allclose(objective.centroids.numpy(), kept[order], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        objective.matrices.numpy(), np.concatenate(matrices)[2:][order], rtol=1e-3, atol=1e-6
    )
    vae.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    z = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(again.objective.inverse_metric(z), objective.inverse_metric(z))
    sampler = kvae.samplers.Manifold(num_steps=2, num_leaps=2).fit(again, batches[0])
    assert sampler.error < 0.05 and sampler.sample(3, seed=0).shape == (3, 6)
    assert sampler.as_prior().num_centroids == 6


@pytest.mark.slow  # `test_manifold.py` has the prior, the test above the sampler.
def test_a_model_that_samples_is_saved(tmp_path):
    vae, x, _ = terms(RiemannianHamiltonianELBO(**SMALL), 4, np.stack([np.eye(2)] * 6))
    model = kvae.samplers.Manifold(num_steps=2, num_leaps=2).fit(vae, x).model
    model.save(tmp_path / "sampling.keras")
    loaded = kvae.load_model(tmp_path / "sampling.keras")
    np.testing.assert_allclose(loaded.sample(3, seed=0), model.sample(3, seed=0), rtol=1e-5)
    np.testing.assert_allclose(loaded.log_prob(x).value, model.log_prob(x).value, rtol=1e-5)


def test_any_number_of_centroids_is_kept():
    objective = RiemannianHamiltonianELBO(num_centroids=4096, metric_width=4)
    tiny_vae(2, objective=objective).build((None, 6))
    for value in (1.0, 2.0):
        rows = tf.fill((3000, 2), value)
        kept = {"centroids": rows, "matrices": tf.linalg.diag(rows)}
        objective.update(None, None, None, kept, None)
    expected = np.repeat([2.0, 1.0, 2.0], [1904, 1096, 1096])
    np.testing.assert_array_equal(objective.centroids[:, 0], expected)


def test_refusals():
    with pytest.raises(ValueError, match="RiemannianHamiltonianELBO moves z along a gradient"):
        tiny_vae(2, objective="riemannian_hamiltonian", posterior="delta")
    with pytest.raises(ValueError, match="one of whole examples.*takes missing values"):
        tiny_vae(2, objective="riemannian_hamiltonian", missing="zero")
    with pytest.raises(ValueError, match="`temperature` is more than 0"):
        RiemannianHamiltonianELBO(temperature=0.0)
    with pytest.raises(TypeError, match="`metric_network` is a keras.Model"):
        RiemannianHamiltonianELBO(metric_network=3)
    vae = tiny_vae(2)
    vae.build((None, 6))
    network = vae.decoder
    with pytest.raises(ValueError, match=r"takes \(None, 3\)"):
        other = tiny_vae(
            2, objective=RiemannianHamiltonianELBO(metric_network=network), event_shape=(2,)
        )
        other.build((None, 2))
    with pytest.raises(ValueError, match="has ELBO. Choose another sampler"):
        kvae.samplers.Manifold().fit(vae, examples(vae))
    untrained = tiny_vae(2, objective=RiemannianHamiltonianELBO(**SMALL))
    untrained.build((None, 6))
    with pytest.raises(ValueError, match="has no centroids yet"):
        kvae.samplers.Manifold().fit(untrained, examples(untrained))
