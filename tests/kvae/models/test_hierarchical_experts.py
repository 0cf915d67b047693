"""Hierarchies of latents in which each modality is an expert of every layer."""

import itertools
import types

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae import posteriors, priors

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 3, 6)
IMAGES = RNG.integers(0, 2, (6, 2, 2, 1)).astype("float32")
DATA = {"image": IMAGES, "digit": DIGITS}


def make(objective="elbo", groups=(2, 1, 3), prior=None, **settings):
    def body(shape):
        return keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
        )

    def head(shape):
        layers = [keras.layers.Dense(int(np.prod(shape))), keras.layers.Reshape(shape)]
        return keras.Sequential([keras.Input((3,)), *layers])

    options = {"features_dim": 4, "hidden": (5,), "activation": "tanh"}
    with kvae.random.initial_weights(0):
        vae = kvae.VAE(
            encoders={"image": body((2, 2, 1)), "digit": body((3,))},
            decoders={"image": head((2, 2, 1)), "digit": head((3,))},
            latent_dim=6,
            posterior=posteriors.HierarchicalExperts(groups=groups, **options),
            prior=prior or priors.Hierarchical(groups=groups, hidden=(5,)),
            likelihood={"image": "bernoulli", "digit": "categorical:3"},
            objective=objective,
            **settings,
        )
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return make(kvae.objectives.MHVAE({"digit": 3.0}, beta=2.0, num_samples=4))


def log_density(z, mean, log_var):
    return scipy.stats.norm(mean, np.exp(np.asarray(log_var) / 2)).logpdf(z).sum(axis=-1)


@pytest.mark.parametrize(
    "present",
    [(0, 1), *(pytest.param(each, marks=pytest.mark.slow) for each in [(0, 0), (1, 1)])],
)
def test_every_group_is_the_product_of_the_prior_and_the_experts(vae, present):
    params = vae.posterior.given(vae.encode(DATA), np.tile(present, (6, 1)))
    z = vae.posterior.sample(params, 4, seed=1)
    there = [index for index, one in enumerate(present) if one]

    def product(gaussians):
        precision = sum(np.exp(-log_var) for _, log_var in gaussians)
        mean = sum(mean * np.exp(-log_var) for mean, log_var in gaussians) / precision
        return mean, -np.log(precision)

    top = [vae.posterior.expert(params, m) for m in there]
    top = [(np.asarray(one["z_mean"]), np.asarray(one["z_log_var"])) for one in top]
    log_q = log_density(z[..., :2], *product([(np.zeros((6, 2)), np.zeros((6, 2))), *top]))
    done = 2
    for index, size in enumerate((1, 3)):
        each = [vae.prior.lower.after(index, z[..., :done])]
        each += [
            vae.posterior.chains[m].after(index, z[..., :done], params["features"][:, m])
            for m in there
        ]
        own = product([(mean.numpy(), log_var.numpy()) for mean, log_var in each])
        log_q = log_q + log_density(z[..., done : done + size], *own)
        done += size
    np.testing.assert_allclose(vae.posterior.log_prob(params, z), log_q, rtol=1e-4, atol=1e-4)
    if not there:
        np.testing.assert_allclose(vae.prior.log_prob(z), log_q, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_draws_have_the_density_that_is_told(vae):
    """The average weight of draws of one posterior, by another one's density, is 1."""
    params = vae.encode({key: value[:1] for key, value in DATA.items()})
    alone = vae.posterior.given(params, [[0, 1]])
    z = vae.posterior.sample(params, 20000, seed=2)
    weights = np.exp(vae.posterior.log_prob(alone, z) - vae.posterior.log_prob(params, z))
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(weights)) < 0.2


def test_decoders_see_the_last_group(vae):
    z = RNG.normal(size=(1, 6)).astype("float32")
    other = np.concatenate([z[:, :3] + 1, z[:, 3:]], axis=1)
    for key, value in vae.decode(other).items():
        np.testing.assert_array_equal(value, vae.decode(z)[key])


@pytest.mark.slow
def test_what_does_not_go_together_is_refused():
    for call, message in (
        (lambda: make(prior=priors.Hierarchical(groups=(3, 3))), r"groups=\[2, 1, 3\]"),
        (lambda: make(prior=priors.StandardNormal()), "priors.Hierarchical"),
        (
            lambda: make(prior=priors.Hierarchical(groups=(2, 1, 3), top="gaussian_mixture:3")),
            "whose top is",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.slow
def test_the_kl_of_a_group_is_that_of_its_gaussians(vae):
    """The mean of log q − log p over draws of one group, at the same z above it."""
    params = vae.encode({key: value[:1] for key, value in DATA.items()})
    above = np.tile(np.asarray(vae.posterior.sample(params, 1, seed=5)), (20000, 1, 1))
    kl = np.asarray(vae.posterior.kl_of_groups(params, above[:1]))
    noise = RNG.normal(size=above.shape).astype("float32")
    q, p = vae.posterior, vae.prior.lower
    own = q._group(params, 1, above[..., :3])[0]
    z = own[0] + np.exp(own[1] / 2) * noise[..., 3:]
    ratio = log_density(z, *own) - log_density(z, *p.after(1, above[..., :3]))
    assert kl.shape == (1, 1, 3)
    assert abs(kl[0, 0, 2] - ratio.mean()) < 4 * ratio.std() / np.sqrt(20000) < 0.1


@pytest.mark.slow
def test_mhvae_is_the_mean_of_the_bounds_of_all_subsets(vae):
    """With the objective's own draws; the second half of the rows has no image."""
    whole, lone = (vae.likelihood.record(each) for each in (DATA, {"digit": DIGITS}))
    record = tf.constant(np.concatenate([whole[:3], lone[3:]]))
    params, seed = vae.encode_params(record), kvae.random.as_seed(7)
    found = vae.objective.terms(vae, record, record, training=True, seed=seed)
    bounds = []
    for number, subset in enumerate([(1, 1), (1, 0), (0, 1)]):
        present = np.repeat([subset, (0, subset[1])], 3, axis=0)
        own = vae.posterior.given(params, present)
        z = vae.posterior.sample(own, 4, seed=kvae.random.fold_in(seed, number))
        kl = vae.posterior.kl_of_groups(own, z).numpy().sum(axis=-1)
        log_p = vae.likelihood.log_prob_by_modality(vae.decode_params(z), record)
        bounds.append(np.mean(2 * kl - log_p.numpy() @ [1, 3], axis=0))
    wanted = np.concatenate([np.mean(bounds, axis=0)[:3], bounds[2][3:]])
    np.testing.assert_allclose(found["loss"], wanted, rtol=1e-4)


def test_the_subsets_of_what_is_there_count_once_each():
    objective = kvae.objectives.MHVAE()
    subsets = [one.numpy() for one in objective.subsets(tf.constant([[1.0, 1, 1], [0, 1, 1]]), 0)]
    assert {tuple(one[0]) for one in subsets} == {
        each for each in itertools.product([0, 1], repeat=3) if any(each)
    }
    log_p = RNG.normal(size=(7, 2, 3)).astype("float32")
    kl = RNG.normal(size=(7, 2)).astype("float32")
    seen = [
        types.SimpleNamespace(there=there, params={}, log_p=own, kl=rate, z=None)
        for there, own, rate in zip(subsets, log_p, kl, strict=True)
    ]
    weights = np.float32([1, 2, 3])
    model = types.SimpleNamespace(modalities=("a", "b", "c"))
    bounds = kl - log_p @ weights
    lone = kl - log_p[..., 1:] @ weights[1:]
    own = [subset in ((0, 1, 1), (0, 1, 0), (0, 0, 1)) for subset in (tuple(s[0]) for s in subsets)]
    wanted = [bounds[:, 0].mean(), lone[own, 1].mean()]
    np.testing.assert_allclose(objective.total(model, weights, seen), wanted, rtol=1e-4)


@pytest.mark.slow
def test_free_bits_are_those_of_each_group():
    vae = make(kvae.objectives.MHVAE(free_bits=1.0))
    x = tf.constant(vae.likelihood.record(DATA))
    params, seed = vae.encode_params(x), kvae.random.as_seed(7)
    vae.objective.prepare(vae)
    found = vae.objective.terms(vae, x, x, training=True, seed=seed)
    wanted = 0.0
    for number, subset in enumerate([(1, 1), (1, 0), (0, 1)]):
        own = vae.posterior.given(params, np.tile(np.float32(subset), (6, 1)))
        z = vae.posterior.sample(own, 1, seed=kvae.random.fold_in(seed, number))
        kl = vae.posterior.kl_of_groups(own, z).numpy()[0]
        log_p = vae.likelihood.log_prob_by_modality(vae.decode_params(z), x).numpy()[0]
        wanted = wanted + np.maximum(kl.mean(axis=0), 1.0).sum() - log_p.sum(axis=-1).mean()
    np.testing.assert_allclose(np.mean(found["loss"]), wanted / 3, rtol=1e-4)


@pytest.mark.slow
def test_another_prior_is_refused(vae):
    with pytest.raises(ValueError, match="relative to the prior that it was trained with"):
        vae.with_prior(priors.Hierarchical(groups=(2, 1, 3), hidden=(5,)))
    assert vae.with_prior(vae.prior).posterior is vae.posterior


@pytest.mark.slow
def test_they_train_save_and_translate(tmp_path):
    vae = make("mhvae")
    before = [variable.numpy() for variable in vae.trainable_variables]
    vae.fit(DATA, epochs=1, batch_size=6, verbose=0)
    pairs = zip(vae.trainable_variables, before, strict=True)
    assert [variable.path for variable, old in pairs if np.array_equal(variable, old)] == []
    vae.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    images = vae.translate(digit=[0, 2], to="image", seed=3)
    np.testing.assert_array_equal(loaded.translate(digit=[0, 2], to="image", seed=3), images)
