# %% [markdown]
# # Choosing and writing a part
#
# A `kvae.VAE` is made of two networks and four parts, which say what the networks' outputs mean:
#
# | part | question | argument |
# |---|---|---|
# | posterior q(z\|x) | What do the encoder's outputs mean? | `posterior=` |
# | prior p(z) | Where do codes lie? | `prior=` |
# | likelihood p(x\|z) | What do the decoder's outputs mean? | `likelihood=` |
# | objective | What is minimized? | `objective=` |
#
# The first half of this guide replaces parts, the second half writes one of each kind.

# %%
import keras
import numpy as np
from keras import ops

import kvae
import kvae.testing
import zoo
from kvae.distributions.base_noise import Noise

keras.utils.set_random_seed(1)
epochs = 100  # quick: 1
samples = 200  # quick: 5
limit = None  # quick: 150
train = kvae.datasets.load("digits", "train", binarize="dynamic")[:limit]
test = kvae.datasets.load("digits", "test", binarize="dynamic")[:limit]
for kind in (kvae.posteriors, kvae.priors, kvae.likelihoods, kvae.objectives):
    print(f"{kind.__name__}: {', '.join(kind.names())}\n")

# %% [markdown]
# ## Choosing
#
# A name stands for a part with its default arguments, and an object for a part with yours.
#
# - **Posterior.** Start with `"diagonal_gaussian"`. When the gap between −ELBO and the NLL is large
#   ([reading an evaluation](evaluation.ipynb)), try `"full_covariance"`, `"iaf"` or another flow.
#   `"von_mises_fisher"` and `"power_spherical"` are for codes of which only the direction matters,
#   `"vector_quantized"` and `"gumbel_softmax"` for discrete ones.
# - **Prior.** Start with `"standard_normal"`. When the aggregate posterior does not fit it, `"vamp"`,
#   `"flow"` and `"gaussian_mixture"` learn a prior. For a model that is trained already, `kvae.samplers`
#   fits a prior to its codes.
# - **Likelihood.** It follows from the data: see the table in [your own data](own_data.ipynb).
# - **Objective.** Start with `"elbo"`. `"iwae"` and its relatives give a tighter bound, `"beta_tcvae"`,
#   `"factor_vae"` and `"dip_vae"` look for factors of variation, `"info_vae"` and `"wae"` compare the
#   aggregate posterior with the prior.
#
# Here the same networks are trained with two priors. The VampPrior of Tomczak and Welling is a mixture of
# the posteriors of learned pseudo-inputs.


# %%
def trained(**parts):
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=8, hidden=(64,), seed=1, **parts)
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(train, epochs=epochs, verbose=0)
    return vae


def nll(vae):
    return vae.log_prob(test, num_samples=samples, seed=1).summary()["nll"]


vamp = kvae.priors.Vamp(num_components=30, initial=train)
for prior in ("standard_normal", vamp):
    model = trained(prior=prior)
    print(f"{type(model.prior).__name__:15} NLL {nll(model):.2f} nats")

# %% [markdown]
# On these few small images both priors do equally well. On MNIST a learned prior pays:
# [the gallery](../MODELS.md) has `vamp_vae.mnist` beside `gated_vae.mnist`, whose networks are the same.
#
# Not all parts go together: a posterior on a sphere needs a prior on the sphere. Such a pair is refused
# when the model is made.

# %%
try:
    trained(posterior="von_mises_fisher", prior="standard_normal")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Writing a prior
#
# A prior gives `transform`, from base noise to draws, and `log_prob`. Draws for `vae.sample`, for exports
# and for phones all start from the base noise, by default a standard Gaussian called `"noise"`. This
# prior is a Gaussian whose standard deviations are learned.
#
# The decorator `register` does two things. It gives the class a name that works wherever parts have
# names, and it tells Keras how saved models refer to the class.


# %%
@kvae.priors.register("learned_scale", package="guide")
class LearnedScale(kvae.priors.Prior):
    """`p(z)` = N(0, diag(s²)), with learned s."""

    factorized = True  # p(z) is a product over the dimensions.

    def build(self, input_shape=None):
        if self.built:  # Keras has built a reloaded one before its model does.
            return
        self.log_scale = self.add_weight(
            name="log_scale", shape=(self.latent_dim,), initializer="zeros"
        )
        self.built = True

    def transform(self, noise, temperature=1.0):
        return temperature * ops.exp(self.log_scale) * noise["noise"]

    def log_prob(self, z):
        t = z * ops.exp(-self.log_scale)
        return ops.sum(-0.5 * t**2 - self.log_scale - 0.5 * np.log(2 * np.pi), axis=-1)


kvae.testing.check_prior(LearnedScale(), xla=False)
model = trained(prior="learned_scale")
print(f"NLL {nll(model):.2f} nats")

# %% [markdown]
# `kvae.testing.check_prior` asks the new prior for everything that a model may ask: shapes, a normalized
# density that belongs to the draws, seeds, gradients, a configuration that a saved model can restore. It
# raises an `AssertionError` that says which promise is broken. It cannot know your formula, so write a
# test against a closed form as well.
#
# ### A closed form for the KL
#
# Without more, the KL of a Gaussian from this prior is estimated from the samples. Its closed form can be
# registered for the pair of classes:


# %%
@kvae.divergences.register_kl(kvae.posteriors.DiagonalGaussian, LearnedScale, per_dimension=True)
def _(posterior, params, prior):
    log_ratio = params["z_log_var"] - 2 * prior.log_scale
    squared = ops.square(params["z_mean"]) * ops.exp(-2 * prior.log_scale)
    return 0.5 * (ops.exp(log_ratio) + squared - 1 - log_ratio)


params = model.encode(test.examples[:50])
closed_form = kvae.divergences.closed_form_kl(model.posterior, model.prior)(params)
z, log_q = model.posterior.sample_and_log_prob(params, 2000, seed=1)
estimate = ops.mean(log_q - model.prior.log_prob(z), axis=0)
print(
    f"closed form {float(ops.mean(closed_form)):.3f}, estimate {float(ops.mean(estimate)):.3f} nats"
)

# %% [markdown]
# ## Distributions of TensorFlow Probability
#
# Who thinks in distributions of TFP need not write a class. A prior may be such a distribution. Its
# `tf.Variable`s become weights of the model: they train with it, and are saved and loaded with it.

# %%
import tensorflow as tf
import tensorflow_probability as tfp

tfd, tfb = tfp.distributions, tfp.bijectors
scale = tfp.util.TransformedVariable(tf.ones(8), tfb.Softplus())
model = trained(prior=tfd.MultivariateNormalDiag(tf.Variable(tf.zeros(8)), scale))
print(f"NLL {nll(model):.2f} nats; learned standard deviations:")
print(model.prior.distribution().stddev().numpy().round(2))

# %% [markdown]
# A posterior depends on x, and a likelihood on z. They are functions from parameters to a distribution. Each
# argument is a parameter that the network returns: by default one number for each latent, or for each value of x.
# Parameters are any real numbers, so the function brings them into their range. The decorator lets saved models
# find the function again, in safe mode too.


# %%
@kvae.posteriors.register("laplace_of_tfp", package="guide")
def laplace(loc, log_scale):
    return tfd.Laplace(loc, ops.exp(ops.clip(log_scale, -10.0, 10.0)))


@kvae.likelihoods.register("counted_ink", package="guide", parameters={"logits": 4})
def counted_ink(logits):  # Four classes for each pixel.
    return tfd.Categorical(logits=logits)


kvae.testing.check_posterior(kvae.posteriors.Distribution(laplace), xla=False)
model = trained(posterior="laplace_of_tfp", prior=tfd.Sample(tfd.Laplace(0.0, 1.0), 8))
model.save("laplace.keras")
print(f"NLL {nll(kvae.load_model('laplace.keras')):.2f} nats")

ink = np.round(kvae.datasets.load("digits", "train").examples[:limit] * 3)
counted = zoo.build(
    "dense_vae", event_shape=(8, 8, 1), latent_dim=8, hidden=(64,), likelihood=counted_ink
)
counted.compile(keras.optimizers.Adam(2e-3))
counted.fit(ink, epochs=epochs, verbose=0)
print("levels of a sample:", np.unique(counted.sample(1, seed=1, output="sample")))

# %% [markdown]
# Of a class such as `posterior=tfd.MultivariateNormalTriL` the parameters, their shapes and their ranges are found in
# TFP itself. Draws are made of normal or uniform noise, as everywhere in kvae, so that the same seed gives the same
# numbers, and exported models draw as the model does. A distribution of which this is not known, such as
# `tfd.Dirichlet`, is refused with a line that says so. The KL is that of `tfd.kl_divergence` where TFP knows one for
# the pair, as for two Laplace distributions here, and is estimated from the samples otherwise.
#
# ### Parts as distributions
#
# The way back is open, too: models give their distributions to all that TFP does with them. Here `tfp.stats` looks at
# what a trained model knows, and Hamiltonian Monte Carlo draws from p(z|x), which q(z|x) approximates.

# %%
model = trained()
x = test.examples[:1]
q, p = model.posterior_distribution(test.examples[:200]), model.prior_distribution()
print("mean KL", np.mean(tfd.kl_divergence(q, p)).round(2), "nats")
print("correlations of codes, at most", end=" ")
correlations = tfp.stats.correlation(q.mean())
print(np.abs(correlations - np.eye(8)).max().round(2))


@tf.function
def chain(start):
    def log_joint(z):
        return model.likelihood_distribution(z).log_prob(x) + p.log_prob(z)

    kernel = tfp.mcmc.HamiltonianMonteCarlo(log_joint, step_size=0.2, num_leapfrog_steps=5)
    return tfp.mcmc.sample_chain(
        2 * samples, start, kernel=kernel, num_burnin_steps=samples, trace_fn=None, seed=(0, 1)
    )


start = model.posterior_distribution(x).mean()
draws = chain(start)[:, 0]
print("standard deviations of p(z|x)", np.std(draws, axis=0).round(2))
print("and those of q(z|x)          ", q.stddev()[0].numpy().round(2))

# %% [markdown]
# ## Writing a likelihood
#
# A likelihood turns the decoder's outputs into parameters (`call`), and gives the log-probability of each
# value, the mean, the mode, draws, and the support, by which data are checked. This one is for waiting
# times and other positive numbers.


# %%
@kvae.likelihoods.register("waiting_time", package="guide")
class WaitingTime(kvae.likelihoods.Likelihood):
    """`p(x|z)` = Π r_i exp(−r_i x_i) for x_i ≥ 0, with r = exp(log_rate)."""

    decoder_outputs = "log-rates"  # Any numbers: no activation belongs at the decoder's end.

    def call(self, outputs):
        return {"log_rate": ops.clip(outputs, -15.0, 15.0)}

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
        return 0.0, float("inf"), "Times are not negative."


kvae.testing.check_likelihood(WaitingTime(), xla=False)

times = np.random.default_rng(1).exponential(2.0, (300, 5)).astype("float32")
model = zoo.build(
    "dense_vae", event_shape=(5,), latent_dim=2, hidden=(16,), likelihood="waiting_time"
)
model.compile(keras.optimizers.Adam(1e-2))
model.fit(times, epochs=epochs, verbose=0)
print("mean of the data", times.mean().round(2), "and of samples", end=" ")
print(np.mean(model.sample(2000, seed=1)).round(2))

# %% [markdown]
# Since the class states its support, a model with it refuses negative times, in `fit` as well as in an
# exported graph:

# %%
try:
    model.fit(-times)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Writing a posterior
#
# A posterior names its parameters and their shapes, turns base noise into z by `transform` (the
# reparameterization), and gives the mean and the density. Base noise is what every platform can draw:
# standard normal numbers, or uniform ones under a name that ends in `uniform`. `constrain` brings the outputs of the encoder
# into their range. This one is a Gumbel distribution, which leans to one side.


# %%
@kvae.posteriors.register("gumbel", package="guide")
class Gumbel(kvae.posteriors.Posterior):
    """`q(z|x)` = Π Gumbel(z_i; z_loc_i, exp(z_log_scale_i))."""

    def parameter_shapes(self):
        return {"z_loc": (self.latent_dim,), "z_log_scale": (self.latent_dim,)}

    def constrain(self, params):
        return {**params, "z_log_scale": ops.clip(params["z_log_scale"], -10.0, 10.0)}

    def base_noise(self):
        return {"uniform": Noise(self.latent_dim, "uniform")}

    def transform(self, params, noise):
        gumbel = kvae.random.to_gumbel(noise["uniform"])
        return params["z_loc"] + ops.exp(params["z_log_scale"]) * gumbel

    def mean(self, params):
        return params["z_loc"] + np.euler_gamma * ops.exp(params["z_log_scale"])

    def log_prob(self, params, z):
        t = (z - params["z_loc"]) * ops.exp(-params["z_log_scale"])
        return ops.sum(-t - ops.exp(-t) - params["z_log_scale"], axis=-1)


kvae.testing.check_posterior(Gumbel(), xla=False)
model = trained(posterior="gumbel")
print(f"NLL {nll(model):.2f} nats")

# %% [markdown]
# ## Writing an objective
#
# An objective that reconstructs and charges for the codes derives from `kvae.objectives.Bound` and gives
# `cost`. The ELBO and the KL are then reported as ever, so that models of different objectives compare.
# This one adds a price for a decoder that reacts strongly to small changes of the code.


# %%
@kvae.objectives.register("smooth_decoder", package="guide")
class SmoothDecoder(kvae.objectives.Bound):
    """The negative ELBO plus `weight` times the mean squared change of the decoder's outputs."""

    def __init__(self, weight=1.0, spread=0.1, **settings):
        super().__init__(**settings)
        self.weight, self.spread = weight, spread

    def cost(self, vae, params, z, kl, *, seed):
        noise = kvae.random.normal(ops.shape(z), kvae.random.fold_in(seed, 1))
        before = vae.decoder(ops.reshape(z, (-1, vae.latent_dim)))
        after = vae.decoder(ops.reshape(z + self.spread * noise, (-1, vae.latent_dim)))
        change = ops.mean(ops.square(after - before))
        return kl + self.weight * change, {}

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "spread": self.spread}


kvae.testing.check_objective(SmoothDecoder())
model = trained(objective=SmoothDecoder(weight=5.0))
print(f"NLL {nll(model):.2f} nats")

# %% [markdown]
# ## A loss of your own, without a part
#
# A `kvae.VAE` is a Keras model, and Keras's hooks work in a subclass of it. `compute_loss` is the one for
# another loss: it gets the batch, the target and the mean reconstruction, and returns one number in nats.
# `super().compute_loss(…)` is the objective's. The value is minimized and reported as `loss`, in validation
# too; `elbo`, `reconstruction` and `kl` are reported as ever, and so is a metric that the class makes.


# %%
@keras.saving.register_keras_serializable(package="guide")
class CentredVAE(kvae.VAE):
    """Pays for reconstructions that are brighter or darker than the images."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.brightness = keras.metrics.Mean(name="brightness")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        difference = ops.mean(y_pred, axis=(1, 2, 3)) - ops.mean(y, axis=(1, 2, 3))
        price = 1000 * ops.mean(ops.square(difference))
        self.brightness.update_state(price)
        return loss + price


plain = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=8, hidden=(64,), seed=1)
centred = CentredVAE.from_config(plain.get_config())
centred.compile(keras.optimizers.Adam(2e-3))
history = centred.fit(train, epochs=epochs, verbose=0).history
print({name: round(values[-1], 2) for name, values in history.items()})

# %% [markdown]
# | hook | what for |
# |---|---|
# | `compute_loss` | another loss, or a price beside the objective's |
# | `add_loss` in a layer of a network, or in the model's `call` | a price on what a layer computes |
# | `compute_metrics` | further figures of a batch |
# | `train_step` | something before or after the step, `super().train_step(data)` |
# | `train_step` with a tape of your own | `loss = self.compute_loss(x)`, and at the end `return self.get_metrics_result()` |
#
# Where a method of the model is overridden, `fit` runs one step in each call, as Keras does: blocks of steps
# are one graph under XLA, which code of yours need not bear. With `verbose=1` it says so. `compile` takes no
# `loss` and no `metrics`.

# %% [markdown]
# ## What comes with it
#
# A part is a Keras layer. Models with parts of yours save, load, sample, are measured and are exported
# like all others. A process that loads such a file has to import the module that defines the class.

# %%
model.save("model.keras")
again = kvae.load_model("model.keras")
print(type(again.objective).__name__, again.objective.weight)

# %% [markdown]
# `vae.freeze("encoder")` keeps q(z|x) as it is during training, the network and the posterior's heads alike;
# `"decoder"` and `"prior"` do the same for theirs, and `unfreeze` lets them train again. A compiled model
# follows at once.
#
# To contribute a part to kvae, put the class into a file of its own in the package of its kind, with a
# docstring (equation, shapes, source) and a test against a closed form.
# [CONTRIBUTING.md](../../CONTRIBUTING.md) has the list for each kind of thing. A package of your own can
# announce its parts to kvae as plugins, so that their names work on the command line without an import.
