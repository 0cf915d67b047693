"""Posteriors with other settings than `test_combinations`'s, and all of them when compiled."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import posteriors
from kvae.posteriors import (
    Delta,
    GaussianMixture,
    GumbelSoftmax,
    LowRank,
    StudentT,
    VectorQuantized,
)

VARIANTS = {
    "autoencoder": {"posterior": "delta", "prior": None},
    "gumbel_softmax_of_2": {
        "posterior": lambda: GumbelSoftmax(num_categories=2),
        "prior": lambda: kvae.priors.UniformCategorical(2),
    },
    "vector_quantized_of_1": {
        "posterior": lambda: VectorQuantized(num_embeddings=5, embedding_dim=1),
        "prior": "uniform_codes",
    },
    "low_rank_2": {"posterior": lambda: LowRank(rank=2)},
    "student_t_learned": {"posterior": lambda: StudentT(df=None)},
    "mixture_of_2": {"posterior": lambda: GaussianMixture(num_components=2)},
    "prior_noise_of_a_mixture": {
        "posterior": "prior_noise",
        "prior": lambda: kvae.priors.GaussianMixture(num_components=4),
    },
    "prior_noise_on_the_sphere": {"posterior": "prior_noise", "prior": "uniform_sphere"},
}


@pytest.fixture(params=VARIANTS)
def vae(request, make_vae):
    case = VARIANTS[request.param]
    case = {name: part() if callable(part) else part for name, part in case.items()}
    return make_vae(optimizer="adam", eager=True, **case)


@pytest.mark.slow  # tests/kvae/models trains pairs, and saves models of each kind.
def test_trains_samples_and_comes_back(vae, digits, tmp_path, eagerly):
    history = vae.fit(digits[:48], batch_size=16, epochs=1, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    has_density = vae.posterior.has_density
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.posterior) is type(vae.posterior) and len(loaded.weights) == len(vae.weights)

    def read(model):
        """Everything that a user may ask for."""
        params = model.encode(digits[:5])
        assert {len(value) for value in params.values()} == {5}
        yield from params.values()
        yield model.reconstruct(digits[:5])
        yield model.reconstruct(digits[:5], seed=1)
        if model.prior is not None:
            yield model.sample(4, seed=1)
        if has_density:
            estimate = model.log_prob(digits[:5], num_samples=10)
            assert (estimate.value < 0).all()
            yield estimate.value
        yield np.array(list(model.evaluate(digits[:20], verbose=0, return_dict=True).values()))

    for here, there in zip(read(vae), read(loaded), strict=True):
        assert np.isfinite(here).all()
        np.testing.assert_array_equal(here, there)


@pytest.mark.default("prior_noise_of_a_mixture-auto")
@pytest.mark.parametrize("kl", ["auto", "monte_carlo"])
def test_every_variable_that_the_loss_uses_has_a_finite_gradient(vae, digits, kl):
    if kl == "monte_carlo" and isinstance(vae.posterior, Delta):
        pytest.skip("A point mass has no density to estimate a KL from.")
    objective = kvae.objectives.ELBO(kl=kl, num_samples=3)
    variables = {variable.path: variable.value for variable in vae.trainable_variables}

    @tf.function(autograph=False)  # As `fit` does it.
    def step(x):
        with tf.GradientTape() as tape:
            loss = objective.terms(vae, x, x, training=True, seed=0)["loss"]
            mean = tf.reduce_mean(loss)
        return loss, tape.gradient(mean, variables)

    loss, gradients = step(digits[:8])
    # The mixture's weights choose components, which has no gradient, and PriorNoise pays no KL.
    noise_of_mixture = isinstance(vae.posterior, posteriors.PriorNoise) and kl == "auto"
    missing = {path for path, gradient in gradients.items() if gradient is None}
    assert not missing or (noise_of_mixture and {p.split("/")[-1] for p in missing} == {"logits"})
    assert all(np.isfinite(g).all() for g in gradients.values() if g is not None)
    assert loss.shape == (8,) and np.isfinite(loss).all()


def test_prior_noise_teaches_the_encoder_nothing(make_vae, digits):
    vae = make_vae(optimizer="adam", eager=True, posterior="prior_noise")
    before = [w.numpy() for w in vae.encoder.weights], [w.numpy() for w in vae.decoder.weights]
    with warnings.catch_warnings():  # Of no missing gradients either: they are zeros.
        warnings.simplefilter("error", UserWarning)
        history = vae.fit(digits, batch_size=16, epochs=1, verbose=0).history
    assert history["kl"] == [0.0]
    for old, new in zip(before[0], vae.encoder.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert any(
        not np.array_equal(old, new)
        for old, new in zip(before[1], vae.decoder.weights, strict=True)
    )


def test_pairs_on_different_spaces_do_not_train(make_vae, digits):
    # At the latest by the objective; `kvae.VAE` may refuse them at once.
    with pytest.raises(ValueError, match="PowerSpherical puts z on the unit sphere.*infinite"):
        vae = make_vae(posterior="power_spherical", optimizer="adam", eager=True)
        vae.fit(digits, verbose=0)
