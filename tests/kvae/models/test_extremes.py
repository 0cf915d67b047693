"""Inputs and parameters at the extremes, by Hypothesis: every loss and gradient stays finite.

`KVAE_FUZZ=100` tries a hundred examples of each; `make stress` does.
"""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers

import kvae
from kvae import likelihoods, posteriors, priors

fuzz = settings(
    max_examples=int(os.environ.get("KVAE_FUZZ", 2)),
    # The same examples on every run by default; others each time in a long one.
    derandomize="KVAE_FUZZ" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
BATCH = 24
# What decoders and encoders may come to: all rows of a batch at once, so that few batches do.
SOME = np.array([0.0, 1e-30, 1.0, -1.0, 30.0, -30.0, 100.0, -100.0, 1e3, -1e3, 1e4, -1e4], "f")
VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 100.0, -100.0, 1e3, -1e3])
LARGE = st.sampled_from([1e4, -1e4])
ANY = st.floats(-1e4, 1e4, width=32)


def numbers(shape):
    return arrays.arrays(np.float32, shape, elements=VALUES | LARGE | ANY, fill=VALUES | LARGE)


def finite(**values):
    for name, value in values.items():
        value = np.asarray(tf.convert_to_tensor(value))
        assert np.isfinite(value).all(), (name, value[~np.isfinite(value)][:3])


# Likelihoods.

LIKELIHOODS = {
    "bernoulli": kvae.likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
    "gaussian": lambda: kvae.likelihoods.Gaussian("per_pixel"),
    "gaussian_global": lambda: kvae.likelihoods.Gaussian("global"),
    "laplace": lambda: likelihoods.Laplace("per_pixel"),
    "log_cosh": lambda: likelihoods.HyperbolicSecant("per_pixel"),
    "student_t": lambda: likelihoods.StudentT("per_pixel", df=None),
    "categorical": lambda: likelihoods.Categorical(3),
    "discretized_logistic": likelihoods.DiscretizedLogistic,
    "discretized_logistic_mixture": lambda: likelihoods.DiscretizedLogisticMixture(2),
    "poisson": likelihoods.Poisson,
    "autoregressive": lambda: likelihoods.Autoregressive(3),
    "negative_binomial": likelihoods.NegativeBinomial,
    "log_normal": likelihoods.LogNormal,
    "ordinal": lambda: likelihoods.Ordinal(3),
    "gaussian_mixture": lambda: likelihoods.GaussianMixture(2),
    "rounded_mixture": lambda: likelihoods.RoundedMixture(2),
    "mixed_tabular": lambda: likelihoods.MixedTabular(
        [("gaussian",), ("bernoulli",), ("categorical", 3), ("poisson",)]
    ),
}
EVENTS = {"mixed_tabular": (4,), "autoregressive": (2, 1)}


def test_every_likelihood_is_here():
    assert set(LIKELIHOODS) - {"gaussian_global"} == set(likelihoods.REGISTER)


@pytest.mark.default(
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "laplace",
    "categorical",
    "discretized_logistic",
    "poisson",
    "mixed_tabular",
)
@pytest.mark.parametrize("name", LIKELIHOODS)
@fuzz
@given(data=st.data())
def test_losses_of_extreme_outputs_are_finite(name, data):
    likelihood = LIKELIHOODS[name]()
    pixels = data.draw(st.sampled_from([(1, 1, 1), (2, 2, 1)]))  # One pixel, and four.
    event = EVENTS.get(name, pixels)
    outputs = data.draw(numbers((BATCH, *likelihood.output_shape(event))))
    low, high, _ = likelihood.support()
    whole = likelihood.whole_numbers or name == "mixed_tabular"
    ends = [max(low, 0.0), min(high, 1.0)] + ([] if whole else [0.5, 1e-7])
    x = data.draw(arrays.arrays(np.float32, (BATCH, *event), elements=st.sampled_from(ends)))
    x[0] = 0.0  # A row of nothing.
    given = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(given)
        params = likelihood(given)
        loss = -likelihood.log_prob(params, x)
    gradients = tape.gradient(loss, [given, *(v.value for v in likelihood.trainable_variables)])
    mode = tf.function(likelihood.mode)(params)  # A loop over levels, for one of them.
    finite(loss=loss, mean=likelihood.mean(params), mode=mode)
    finite(**{f"gradient {i}": g for i, g in enumerate(gradients)})
    assert loss.shape == (BATCH,)


def test_a_batch_of_no_rows():
    for name, make in LIKELIHOODS.items():
        likelihood = make()
        event = EVENTS.get(name, (2, 2, 1))
        outputs = tf.zeros((0, *likelihood.output_shape(event)))
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = -likelihood.log_prob(likelihood(outputs), np.zeros((0, *event), "float32"))
        assert loss.shape == (0,) and tape.gradient(loss, outputs).shape == outputs.shape


# Posteriors and priors.

USUAL_PRIOR = {
    "sphere": "uniform_sphere",
    "ball": "wrapped_normal",
    "categorical": "uniform_categorical",
    "codes": "uniform_codes",
}
USUAL_POSTERIOR = {
    "sphere": "power_spherical",
    "ball": "wrapped_normal",
    "categorical": "gumbel_softmax",
    "codes": "vector_quantized",
}
PAIRS = [
    (name, USUAL_PRIOR.get(getattr(kind, "space", "real"), "standard_normal"))
    for name, kind in posteriors.REGISTER.items()
] + [
    (USUAL_POSTERIOR.get(getattr(kind, "space", "real"), "diagonal_gaussian"), name)
    for name, kind in priors.REGISTER.items()
]
PAIRS = list(dict.fromkeys(PAIRS))
# By default one of each kind of operation, of those that do not take the longest.
FIRST = [
    "diagonal_gaussian-class_conditional",
    "diagonal_gaussian-flow",
    "full_covariance-standard_normal",
    "gaussian_mixture-standard_normal",
    "gumbel_softmax-uniform_categorical",
    "student_t-standard_normal",
    "vector_quantized-uniform_codes",
    "von_mises_fisher-uniform_sphere",
]


@pytest.fixture(scope="module")
def extreme(part):
    """Models whose encoder passes on what it is given, so that features are what is drawn."""
    made = {}

    def make(posterior, prior):
        if (posterior, prior) not in made:
            keras.utils.set_random_seed(0)
            encoder = keras.Sequential([keras.Input((6,)), layers.Flatten()])
            decoder = keras.Sequential([keras.Input((4,)), layers.Dense(6)])
            vae = kvae.VAE(
                encoder,
                decoder,
                latent_dim=4,
                posterior=part(posteriors, posterior),
                prior=part(priors, prior),
                num_classes=2 if prior == "class_conditional" else None,
            )
            made[posterior, prior] = vae, vae.get_weights()
        vae, weights = made[posterior, prior]
        vae.set_weights(weights)
        return vae

    return make


@pytest.mark.default(*FIRST)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@fuzz
@given(data=st.data())
def test_losses_of_extreme_codes_are_finite(pair, extreme, data):
    vae = extreme(*pair)
    if data.draw(st.booleans()):  # The weights of the parts, too.
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        for part in (vae.posterior, vae.prior):
            for variable in part.trainable_variables:
                # Of networks less: several layers of 10⁴ are beyond float32's squares.
                values = SOME[:6] if "kernel" in variable.path else SOME
                variable.assign(rng.choice(values, size=variable.shape))
    x = tf.constant(data.draw(numbers((BATCH, 6))))
    target = np.zeros((BATCH, 6), "float32")
    target[: BATCH // 2] = 1.0
    label = np.arange(BATCH) % 2 if vae.conditional else None
    kinds = ["auto"] if pair[0] == "delta" else ["auto", "monte_carlo"]
    for kl in kinds:
        objective = kvae.objectives.ELBO(kl=kl)
        objective.attach(vae)
        with tf.GradientTape() as tape:
            tape.watch(x)
            model = vae if label is None else vae.conditioned_on(label)
            terms = objective.terms(model, x, target, training=True, seed=1)
        wanted = {"features": x, **{v.path: v.value for v in vae.trainable_variables}}
        gradients = tape.gradient(terms["loss"], wanted)
        finite(**terms)
        finite(**{name: g for name, g in gradients.items() if g is not None})
        assert terms["loss"].shape == (BATCH,)
