"""Models whose modalities have latents of their own beside those that they share."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import kvae
from kvae import divergences, posteriors, priors

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 3, 6)
IMAGES = RNG.integers(0, 2, (6, 2, 2, 1)).astype("float32")
DATA = {"image": IMAGES, "digit": DIGITS}
SIZES = {"shared": 2, "image": 2, "digit": 1}
PLACES = {"shared": slice(0, 2), "image": slice(2, 4), "digit": slice(4, 5)}


def make(shared="product_of_experts", objective="elbo", absent="prior", seed=0, **settings):
    def body(shape):
        return keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
        )

    def head(latents, shape):
        units = int(np.prod(shape))
        wide = keras.layers.Dense(units, kernel_initializer=keras.initializers.RandomNormal(seed=2))
        return keras.Sequential([keras.Input((latents,)), wide, keras.layers.Reshape(shape)])

    with kvae.random.initial_weights(seed):
        # The order of the modalities is that of the encoders.
        posterior = posteriors.SharedAndPrivate({"digit": 1, "image": 2}, shared, absent)
        vae = kvae.VAE(
            encoders={"image": body((2, 2, 1)), "digit": body((3,))},
            decoders={"image": head(4, (2, 2, 1)), "digit": head(3, (3,))},
            latent_dim=5,
            posterior=posterior,
            likelihood={"image": "bernoulli", "digit": "categorical:3"},
            objective=objective,
            **settings,
        )
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return make()


def numbers(tensors):
    return {name: np.asarray(value, np.float64) for name, value in tensors.items()}


# The posterior.


def test_absent_modalities_have_the_latents_of_the_prior(vae):
    params = numbers(vae.encode({"image": IMAGES}))
    assert {k: v.shape[1:] for k, v in params.items() if "z_mean" in k} == {
        f"{name}_z_mean": (size,) for name, size in SIZES.items()
    }
    for name in ("digit_z_mean", "digit_z_log_var"):
        np.testing.assert_array_equal(params[name], 0)
    assert (params["image_z_mean"] != 0).all()
    whole = vae.encode(DATA)
    given = vae.posterior.given(whole, np.tile([1, 0], (6, 1)))
    for name in (name for name in given if "expert" not in name):  # Absent ones are told nothing.
        value = given[name]
        np.testing.assert_allclose(value, params[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name in ("image_z_mean", "image_z_log_var"):
        np.testing.assert_array_equal(whole[name], params[name])
    nothing = vae.posterior.given(whole, np.zeros((6, 2)))
    kl = divergences.closed_form_kl(vae.posterior, vae.prior)
    np.testing.assert_allclose(kl(nothing), 0, atol=1e-6)


def test_a_learned_gaussian_may_stand_for_absent_ones():
    vae = make(absent="learned")
    vae.posterior.absent_log_vars["digit"].assign([1.5])
    params = vae.encode({"image": IMAGES})
    np.testing.assert_allclose(params["digit_z_log_var"], 1.5)
    np.testing.assert_array_equal(params["digit_z_mean"], 0)
    # Of nothing at all q is the prior.
    record = np.full((2, 5), np.nan, "float32")
    np.testing.assert_array_equal(vae.encode(record)["digit_z_log_var"], 0)
    assert len([v for v in vae.trainable_variables if "absent" in v.path]) == 2


def test_each_decoder_sees_the_shared_latents_and_its_own(vae):
    z = np.random.default_rng(1).normal(size=(1, 5)).astype("float32")
    plain = numbers(vae.decode(z))
    seen = {
        part: {
            key
            for key, value in vae.decode(z + np.eye(5)[place].sum(0, keepdims=True)).items()
            if not np.allclose(value, plain[key])
        }
        for part, place in PLACES.items()
    }
    assert seen == {"shared": {"image", "digit"}, "image": {"image"}, "digit": {"digit"}}


def test_draws_and_densities_are_those_of_the_parts(vae):
    params = vae.encode(DATA)
    own = numbers(params)
    z = vae.posterior.sample(params, 3, seed=1)
    log_q = 0.0
    for name, place in PLACES.items():
        mean, deviation = own[f"{name}_z_mean"], np.exp(own[f"{name}_z_log_var"] / 2)
        log_q = log_q + scipy.stats.norm(mean, deviation).logpdf(z.numpy()[..., place]).sum(-1)
    np.testing.assert_allclose(vae.posterior.log_prob(params, z), log_q, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: posteriors.SharedAndPrivate({}), "`private` is a dict"),
        (lambda: posteriors.SharedAndPrivate({"shared": 1}), "none is called 'shared'"),
        (lambda: posteriors.SharedAndPrivate({"a": 1}, "iaf"), "combines experts"),
        (lambda: posteriors.SharedAndPrivate({"a": 1}, absent="zero"), "Unknown absent"),
        (lambda: posteriors.SharedAndPrivate({"a": 0}), r"private\['a'\]"),
        (lambda: make(prior=priors.GaussianMixture(3)), "use absent='learned'"),
        (lambda: make("mixture_of_experts", "dmvae"), "`shared` is a product"),
        (lambda: make("product_of_experts", "mmvae_plus"), "shared='mixture_of_experts'"),
        (lambda: make("mixture_of_products", "mmvae_plus"), "shared='mixture_of_experts'"),
        (lambda: make(objective=kvae.objectives.DMVAE({"sound": 1.0})), "modality 'sound'"),
    ],
)
def test_what_does_not_go_together_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_decoders_and_private_sizes_have_to_fit():
    with pytest.raises(ValueError, match="`private` has the modalities 'digit', 'image', and the"):
        kvae.VAE(
            encoders={"x": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])},
            decoders={"x": keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])},
            latent_dim=5,
            posterior=posteriors.SharedAndPrivate({"digit": 1, "image": 2}),
        )
    with pytest.raises(ValueError, match="and this posterior it is one of"):
        kvae.VAE(
            encoders={"x": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])},
            decoders={"x": keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])},
            latent_dim=5,
            posterior=posteriors.SharedAndPrivate({"x": 2}, latent_dim=5),
        )


# Objectives, against what NumPy and SciPy make of the same parameters.


class Sums:
    """What NumPy makes of a model's parameters for one complete example."""

    def __init__(self, vae, row=0, draws=3000):
        self.vae, self.draws = vae, draws
        self.data = {key: value[row : row + 1] for key, value in DATA.items()}
        self.params = {k: v[0] for k, v in numbers(vae.encode(self.data)).items()}
        self.rng = np.random.default_rng(3)

    def gaussian(self, name):
        return self.params[f"{name}_z_mean"], self.params[f"{name}_z_log_var"]

    def expert(self, m):
        return self.params["shared_expert_means"][m], self.params["shared_expert_log_vars"][m]

    def draw(self, mean, log_var):
        return mean + np.exp(log_var / 2) * self.rng.normal(size=(self.draws, len(mean)))

    def log_p(self, *parts):
        """Returns log p(x_m|z) of both modalities, `[draws]`, by the outputs of the decoders."""
        z = np.concatenate(parts, axis=-1).astype("float32")
        params = numbers(self.vae.decode_params(tf.constant(z)))
        logits, x = params["image/logits"], self.data["image"]
        image = -np.logaddexp(0, np.where(x == 1, -logits, logits)).sum(axis=(1, 2, 3))
        logits = params["digit/logits"][:, 0]
        digit = scipy.special.log_softmax(logits, axis=-1)[:, self.data["digit"][0]]
        return {"image": image, "digit": digit}


def kl(mean, log_var):
    return 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var)


def log_density(z, mean=0.0, log_var=0.0):
    return scipy.stats.norm(mean, np.exp(np.asarray(log_var) / 2)).logpdf(z).sum(axis=-1)


def terms(vae, data, seed=5):
    x = tf.constant(vae.likelihood.record(data))
    found = vae.objective.terms(vae, x, x, training=True, seed=kvae.random.as_seed(seed))
    return {name: float(value[0]) for name, value in found.items()}


def test_dmvae_is_the_sum_of_the_bounds_with_each_modalitys_shared_latents():
    objective = kvae.objectives.DMVAE({"digit": 3.0}, 2.0, {"image": 0.5}, num_samples=3000)
    vae = make(objective=objective)
    sums = Sums(vae)
    own = {key: sums.gaussian(key) for key in ("image", "digit")}
    bounds, first = [], None
    for shared in (sums.gaussian("shared"), sums.expert(0), sums.expert(1)):
        log_p = sums.log_p(sums.draw(*shared), *(sums.draw(*one) for one in own.values()))
        log_p = {key: value.mean() for key, value in log_p.items()}
        private = 0.5 * kl(*own["image"]) + kl(*own["digit"])
        bounds.append(log_p["image"] + 3 * log_p["digit"] - 2 * kl(*shared) - private)
        first = first or (sum(log_p.values()), kl(*shared) + sum(kl(*one) for one in own.values()))
    found = terms(vae, sums.data)
    np.testing.assert_allclose(found["loss"], -sum(bounds), atol=0.1)
    np.testing.assert_allclose(found["reconstruction"], -first[0], atol=0.05)
    np.testing.assert_allclose(found["kl"], first[1], rtol=1e-4)
    np.testing.assert_allclose(found["elbo"], first[0] - first[1], atol=0.05)
    # Of an example with one modality the bound counts twice: q(s|x) and q(s|x_m).
    alone = terms(vae, {"digit": sums.data["digit"]})
    shared = sums.expert(1)
    precision = 1 + np.exp(-shared[1])
    joint = shared[0] * np.exp(-shared[1]) / precision, -np.log(precision)
    nothing = np.zeros((sums.draws, 2))
    bounds = [
        3 * sums.log_p(sums.draw(*s), nothing, sums.draw(*own["digit"]))["digit"].mean()
        - (2 * kl(*s) + kl(*own["digit"]))
        for s in (joint, shared)
    ]
    np.testing.assert_allclose(alone["loss"], -sum(bounds), atol=0.1)


def test_mmvae_plus_draws_the_shared_latents_from_one_modality_at_a_time():
    objective = kvae.objectives.MMVAEPlus({"digit": 3.0}, beta=0.5, num_samples=4000)
    vae = make("mixture_of_experts", objective, "learned")
    for variable, value in zip(vae.posterior.absent_log_vars.values(), (-0.5, 0.4), strict=True):
        variable.assign(np.full(variable.shape, value))
    sums = Sums(vae, draws=4000)
    absent = {"image": (np.zeros(2), np.full(2, -0.5)), "digit": (np.zeros(1), np.full(1, 0.4))}
    bounds, reconstructions, ratios = [], [], []
    for m, key in enumerate(absent):
        each = {name: absent[name] if name != key else sums.gaussian(name) for name in absent}
        s, w = sums.draw(*sums.expert(m)), {name: sums.draw(*one) for name, one in each.items()}
        log_q = scipy.special.logsumexp([log_density(s, *sums.expert(n)) for n in (0, 1)], axis=0)
        of_s = log_density(s) - log_q + np.log(2)
        of_w = {name: log_density(w[name]) - log_density(w[name], *each[name]) for name in w}
        log_p = sums.log_p(s, *w.values())
        log_w = log_p["image"] + 3 * log_p["digit"] + 0.5 * (of_s + of_w[key])
        bounds.append(scipy.special.logsumexp(log_w) - np.log(len(log_w)))
        reconstructions.append(-np.mean(log_p["image"] + log_p["digit"]))
        ratios.append(-np.mean(of_s + of_w["image"] + of_w["digit"]))
    found = terms(vae, sums.data)
    np.testing.assert_allclose(found["loss"], -np.mean(bounds), atol=0.15)
    np.testing.assert_allclose(found["reconstruction"], np.mean(reconstructions), atol=0.06)
    np.testing.assert_allclose(found["kl"], np.mean(ratios), atol=0.08)
    # An absent modality is neither reconstructed nor drawn from.
    alone = terms(vae, {"digit": sums.data["digit"]})
    s, w = sums.draw(*sums.expert(1)), sums.draw(*sums.gaussian("digit"))
    ratio = log_density(s) - log_density(s, *sums.expert(1))
    ratio = ratio + log_density(w) - log_density(w, *sums.gaussian("digit"))
    log_w = 3 * sums.log_p(s, np.zeros((4000, 2)), w)["digit"] + 0.5 * ratio
    np.testing.assert_allclose(
        alone["loss"], np.log(4000) - scipy.special.logsumexp(log_w), atol=0.15
    )


@pytest.mark.parametrize(
    ("shared", "objective", "absent"),
    [
        ("mixture_of_experts", "mmvae_plus", "learned"),
        pytest.param("product_of_experts", "dmvae", "prior", marks=pytest.mark.slow),
        pytest.param("product_of_experts", "subset_elbo", "prior", marks=pytest.mark.slow),
        pytest.param("mixture_of_products", "elbo", "learned", marks=pytest.mark.slow),
    ],
)
def test_they_train_save_and_translate(shared, objective, absent, tmp_path):
    vae = make(shared, objective, absent)
    before = [variable.numpy() for variable in vae.trainable_variables]
    history = vae.fit(DATA, epochs=1, batch_size=6, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    still = [
        variable.path
        for variable, old in zip(vae.trainable_variables, before, strict=True)
        if np.array_equal(variable, old)
    ]
    assert still == []
    vae.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    for seed in (None, 3):
        images = vae.translate(digit=[0, 2], to="image", seed=seed)
        np.testing.assert_array_equal(loaded.translate(digit=[0, 2], to="image", seed=seed), images)
