"""One small part of each kind, written as users write theirs: they know public names only."""

import math

import tensorflow as tf
from keras import ops

import kvae
from kvae.distributions.base_noise import Noise


@kvae.posteriors.register("triangular", package="parts_of_mine")
class Triangular(kvae.posteriors.Posterior):
    """Independent dimensions, each of a triangular density of width 1 around `z_mean`."""

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,)}

    def base_noise(self):
        return {
            "a_uniform": Noise(self.latent_dim, "uniform"),
            "b_uniform": Noise(self.latent_dim, "uniform"),
        }

    def transform(self, params, noise):
        return params["z_mean"] + noise["a_uniform"] - noise["b_uniform"]

    def mean(self, params):
        return params["z_mean"]

    def log_prob(self, params, z):
        height = 1.0 - ops.abs(z - params["z_mean"])
        return ops.sum(ops.log(ops.maximum(height, 1e-30)), axis=-1)


@kvae.priors.register("learned_normal", package="parts_of_mine")
class LearnedNormal(kvae.priors.Prior):
    """`N(0, diag(scale²))` with a scale that is trained."""

    def build(self, input_shape=None):
        if not self.built:
            self.log_scale = self.add_weight(
                shape=(self.latent_dim,), initializer="zeros", name="log_scale"
            )
        self.built = True

    def transform(self, noise, temperature=1.0):
        return temperature * ops.exp(self.log_scale) * noise["noise"]

    def log_prob(self, z):
        squared = ops.square(z * ops.exp(-self.log_scale))
        return -0.5 * ops.sum(squared + 2 * self.log_scale + math.log(2 * math.pi), axis=-1)


@kvae.likelihoods.register("exponential", package="parts_of_mine")
class Exponential(kvae.likelihoods.Likelihood):
    """`p(x|z) = rate exp(-rate x)` for x of at least 0, with rate = exp(`log_rate`)."""

    decoder_outputs = "log-rates"

    def call(self, outputs):
        return {"log_rate": ops.clip(outputs, -10.0, 10.0)}

    def element_log_prob(self, params, x):
        return params["log_rate"] - ops.exp(params["log_rate"]) * x

    def mean(self, params):
        return ops.exp(-params["log_rate"])

    def mode(self, params):
        return ops.zeros_like(params["log_rate"])

    def sample(self, params, seed):
        noise = kvae.random.open_uniform(ops.shape(params["log_rate"]), seed)
        return -ops.log(noise) * self.mean(params)

    def support(self):
        return 0.0, math.inf, "Give values of at least 0."


@kvae.objectives.register("halved", package="parts_of_mine", variants={"quartered": {"beta": 0.25}})
class Halved(kvae.objectives.Bound):
    """The ELBO with a KL that counts `beta` times."""

    def __init__(self, beta: float = 0.5, **settings):
        super().__init__(**settings)
        self.beta = beta

    def cost(self, vae, params, z, kl, *, seed):
        return self.beta * kl, {}

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


@kvae.flows.register("shear", package="parts_of_mine")
class Shear(kvae.flows.Flow):
    """Adds to the last coordinate the first one, times a number that the encoder gives."""

    invertible = True

    def parameter_shapes(self):
        return {"slope": (1,)}

    def forward(self, params, z):
        return self._move(z, params["slope"]), ops.zeros_like(z[..., 0])

    def inverse(self, params, z):
        return self._move(z, -params["slope"]), ops.zeros_like(z[..., 0])

    def _move(self, z, slope):
        return tf.concat([z[..., :-1], z[..., -1:] + slope * z[..., :1]], axis=-1)


@kvae.divergences.register_kl(kvae.posteriors.DiagonalGaussian, LearnedNormal, per_dimension=True)
def _(posterior, params, prior):
    log_ratio = params["z_log_var"] - 2 * prior.log_scale
    squared = ops.square(params["z_mean"]) * ops.exp(-2 * prior.log_scale)
    return 0.5 * (ops.exp(log_ratio) + squared - 1.0 - log_ratio)


@kvae.samplers.register("standardized")
class Standardized(kvae.samplers.Sampler):
    """A Gaussian of the codes' means and variances."""

    def prior_of(self, codes, seed):
        prior = kvae.priors.Rescaled("standard_normal", latent_dim=codes.shape[1])
        prior.standardize(codes)
        return prior
