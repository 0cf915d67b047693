"""kvae.testing finds broken promises: each part here is wrong in one way."""

import keras
import pytest
import tensorflow as tf
from keras import ops

import kvae.testing
from kvae import flows, likelihoods, objectives, posteriors, priors


def wrong(cls):
    return keras.saving.register_keras_serializable(package="wrong_parts")(cls)


# Posteriors.


@wrong
class Doubled(posteriors.UnitVariance):
    """Its density integrates to 2."""

    def log_prob(self, params, z):
        return super().log_prob(params, z) + ops.log(2.0)


@wrong
class TooWide(posteriors.DiagonalGaussian):
    """Its draws are wider than its density."""

    def transform(self, params, noise):
        return super().transform(params, {"noise": 1.3 * noise["noise"]})


@wrong
class Halted(posteriors.DiagonalGaussian):
    """No gradient reaches the mean through its draws."""

    def transform(self, params, noise):
        return super().transform({**params, "z_mean": tf.stop_gradient(params["z_mean"])}, noise)


@wrong
class Unbounded(posteriors.DiagonalGaussian):
    """Its variance overflows."""

    def constrain(self, params):
        return params


@wrong
class Forgetful(posteriors.UnitVariance):
    """Its configuration lacks an argument."""

    def __init__(self, latent_dim=None, shift=0.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.shift = shift


class Unregistered(posteriors.UnitVariance):
    pass


@wrong
class Stuck(posteriors.UnitVariance):
    """Its draws have no randomness, although it does not say so."""

    def transform(self, params, noise):
        return params["z_mean"] + 0.0 * noise["noise"]


# Priors.


@wrong
class Misnamed(priors.StandardNormal):
    """Uniform noise without the name that exports know it by."""

    def base_noise(self):
        return {"noise": kvae.distributions.base_noise.Noise(self.latent_dim, "uniform")}


@wrong
class Shifted(priors.StandardNormal):
    """Its draws are elsewhere than its density."""

    def transform(self, noise, temperature=1.0):
        return 0.2 + super().transform(noise, temperature)


@wrong
class Flat(priors.StandardNormal):
    """Its density has no gradient."""

    def log_prob(self, z):
        return tf.stop_gradient(super().log_prob(z))


@wrong
class Cold(priors.StandardNormal):
    """Its usual draws are cold ones."""

    def transform(self, noise, temperature=0.5):
        return super().transform(noise, temperature)


# Likelihoods.


@wrong
class Mean(likelihoods.Gaussian):
    """Its mean is not that of its draws."""

    def mean(self, params):
        return 1.1 * super().mean(params) + 0.1


@wrong
class Unnormalized(likelihoods.Bernoulli):
    """Its probabilities do not add up to 1."""

    def element_log_prob(self, params, x):
        return super().element_log_prob(params, x) - 0.1


@wrong
class Overflowing(likelihoods.Bernoulli):
    """0 times the logarithm of 0, where outputs are extreme."""

    def element_log_prob(self, params, x):
        p = ops.sigmoid(params["logits"])
        return x * ops.log(p) + (1.0 - x) * ops.log(1.0 - p)


@wrong
class OneWay(likelihoods.Gaussian):
    """A likelihood that does not turn back what the encoder sees."""

    def encoder_input(self, x):
        return 2.0 * x


# Flows.


@wrong
class Silent(flows.Planar):
    """It says that it changes no volume."""

    def forward(self, params, z):
        moved, log_det = super().forward(params, z)
        return moved, 0.0 * log_det


@wrong
class Astray(flows.RealNVP):
    """Its inverse is another map."""

    def inverse(self, params, z):
        z, log_det = super().inverse(params, z)
        return z + 0.1, log_det


# Objectives.


@wrong
class Unreported(objectives.ELBO):
    """The parts of its ELBO do not add up."""

    def terms(self, vae, x, target, **options):
        terms = super().terms(vae, x, target, **options)
        return {**terms, "kl": 2.0 * terms["kl"]}


@wrong
class Averaged(objectives.ELBO):
    """It averages over the batch, which is the model's task."""

    def terms(self, vae, x, target, **options):
        terms = super().terms(vae, x, target, **options)
        return {key: ops.mean(value) for key, value in terms.items()}


CASES = {
    "posterior": (
        (Doubled(), "does not integrate to 1"),
        (TooWide(), "is not that of the draws"),
        (Halted(), "gradient of draws in 'z_mean' is off"),
        (Unbounded(), "not finite"),
        (Forgetful(shift=1.0), "lacks its argument `shift`"),
        (Unregistered(), "not registered with Keras"),
        (Stuck(), "do not depend on the seed"),
    ),
    "prior": (
        (Misnamed(), "ends in 'uniform'"),
        (Shifted(), "does not integrate to 1 or is not that of the draws"),
        (Flat(), "by finite differences"),
        (Cold(), "`sample` and `transform`"),
    ),
    "likelihood": (
        (Mean(), "and `mean` says"),
        (Unnormalized(), "add up to|was drawn"),
        (Overflowing(), "not finite"),
        (OneWay(), "from_encoder_input"),
    ),
    "flow": ((Silent(), "log-determinant"), (Astray(), "inverse after forward")),
    "objective": ((Unreported(), "the parts of the ELBO"), (Averaged(), "has shape \\(\\)")),
}


@pytest.mark.parametrize(
    "kind, part, message",
    [
        pytest.param(kind, *case, id=type(case[0]).__name__)
        for kind, cases in CASES.items()
        for case in cases
    ],
)
def test_is_found(kind, part, message):
    check = getattr(kvae.testing, f"check_{kind}")
    options = {} if kind == "objective" else {"xla": False}
    with pytest.raises(AssertionError, match=message):
        check(part, **options)
