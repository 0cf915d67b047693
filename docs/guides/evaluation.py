# %% [markdown]
# # Reading an evaluation
#
# A reconstruction that looks sharp says little about a generative model. This guide measures a trained
# model with `kvae.evaluation` and reads the figures one by one: what each of them means, in which unit
# it is, how certain it is, and what it does not say.

# %%
import numpy as np

import kvae
import zoo

images = 200  # quick: 40
limit = None  # quick: 150
samples = 500  # quick: 20
vae = zoo.load("dense_vae.digits")
train = kvae.datasets.load("digits", "train", binarize="dynamic")[:limit]
test = kvae.datasets.load("digits", "test", binarize="dynamic")[:images]

# %% [markdown]
# ## One call
#
# `evaluate` returns a mapping that prints as tables. `result.write("folder")` writes it as JSON and
# Markdown with pictures, and `kvae evaluate dense_vae.digits --latents -o folder` does the same on the
# command line.

# %%
result = kvae.evaluation.evaluate(vae, test, num_samples=samples, latents=True)
print(result)

# %% [markdown]
# **Everything is in nats for an image.** Terms are summed over the pixels and the latents, and averaged
# over the images. Divide by the number of pixels and by log 2 for bits per dimension.
#
# - `reconstruction` is −E log p(x|z): how badly the decoder explains the image, given its code.
# - `kl` is the rate: how many nats the code takes, measured against the prior.
# - `elbo` is −(reconstruction + kl), a lower bound of log p(x).
# - `nll` is −log p(x) itself, by importance sampling. It is what papers compare.
#
# The bound is loose by KL(q(z|x) ‖ p(z|x)), the error of the posterior. The NLL is therefore below
# −ELBO, and the difference says what a better posterior could gain.

# %%
gap = -result["elbo"] - result["nll"]["nll"]
print(f"-ELBO {-result['elbo']:.2f}, NLL {result['nll']['nll']:.2f}: a gap of {gap:.2f} nats")

# %% [markdown]
# ## How certain is the NLL?
#
# Two errors are reported, and they answer different questions. The *standard error* over the images says
# how much the figure would change with another test set. The *Monte Carlo error* says how much it would
# change with another seed. The *effective sample size* counts the importance samples that carry the
# weight: few of them mean that the posterior misses much of p(z|x), and that the estimate is biased
# towards a worse model.

# %%
for name, value in result["nll"].items():
    print(f"{name:30} {value}")

# %% [markdown]
# The bias falls with the number of samples. The estimate of −log p(x) comes down from the ELBO's value
# and levels off. Where a few samples carry most of the weight, a warning says so:

# %%
for num_samples in (1, 10, samples):
    estimate = vae.log_prob(test, num_samples=num_samples, seed=1)
    print(f"{num_samples:5} samples: {estimate.summary()['nll']:.2f} nats")

# %% [markdown]
# `kvae.evaluation.annealed_log_prob` checks such figures by another method, annealed importance
# sampling, which does not rely on the encoder. A long estimate can be interrupted: with
# `log_prob(…, cache="folder")`, or `kvae evaluate --cache`, it goes on where it stopped. The samples are
# drawn in portions, so that the memory does not grow with their number.
#
# ## Compare like with like
#
# - Figures of binarized images and of grey levels are different quantities. A density can exceed 1, so
#   its NLL can be negative.
# - The digits here are binarized at random. Statically and dynamically binarized MNIST differ by
#   about two nats for the same model.
# - The ELBO of a flow and the ELBO of a Gaussian compare as bounds, while their NLLs compare as models.
# - `loss` is not the ELBO where β is not 1 or a schedule is at work. `elbo` always has β = 1.
#
# ## Which of two models is better?
#
# Two NLLs with their errors often do not tell models apart, since the errors come from images that are
# hard for both. `compare` takes the difference image by image, with the same noise, and gives the error
# of that. Where the interval holds 0 it says that the data cannot tell. Models whose log p(x) are of
# different kinds are refused. `kvae compare A B --data …` does the same on the command line.

# %%
other = zoo.load("conv_vae.digits")
print(kvae.evaluation.compare(vae, other, test, num_samples=samples, names=("dense", "conv")))

# %% [markdown]
# ## What is wrong with the model?
#
# `diagnose`, or `kvae doctor MODEL --data …`, looks for the usual faults: data in another range than the
# training had, drift, a collapsed posterior, a prior that does not fit the codes, a σ that is too small
# or too large, over-regularisation and over-fitting. Each fault comes with figures, their errors and a
# suggestion. With `try_suggestions=True` (`--try`) a changed copy of the model is trained for some epochs
# beside an unchanged one, and both are compared as above. This model is healthy, and a training with a
# large β is not:

# %%
print(kvae.diagnosis.diagnose(vae, test, train))

# %%
pressed = zoo.build(
    "dense_vae",
    event_shape=(8, 8, 1),
    latent_dim=8,
    objective=kvae.objectives.ELBO(beta=8.0),
    seed=1,
)
pressed.compile("adam")
pressed.fit(train, epochs=5, verbose=0)
print(kvae.diagnosis.diagnose(pressed, test, train))

# %% [markdown]
# ## What do the latents do?
#
# A latent that the decoder ignores costs nothing and says nothing: its posterior is the prior. The
# *active units* are the dimensions whose mean varies over the images. When none is left, the posterior
# has *collapsed*.

# %%
summary = result.latents
print("state:", summary.state(), "-", summary.active_units, "of", summary.latent_dim, "active")
print("KL of each latent:", np.round(np.sort(summary.kl_per_dimension)[::-1], 2))

# %% alt="The mean KL of each latent, the largest first"
kvae.plots.kl_per_dimension(summary)

# %% [markdown]
# During training `kvae.callbacks.LatentMonitor` watches the same figures and warns of a collapse.
#
# ## Are the samples any good?
#
# `sample_quality` compares samples with test images in the features of a small classifier that the zoo
# ships. The Fréchet distance depends on these features and is no FID; compare it with its value for
# training images, which the table gives. Precision and density ask whether samples look like data,
# recall and coverage whether all of the data are reached.

# %%
quality = kvae.evaluation.sample_quality(vae, test, train=train)
print(quality)

# %% [markdown]
# A model that stores its training images would score well. The nearest training images show whether it
# does:

# %% alt="Samples of the model, each beside its nearest training images"
kvae.plots.training_neighbors(quality.generated, train, quality.neighbors, n=8)

# %% [markdown]
# ## What the code knows of the class
#
# Labels played no part in the training. A *probe* is a small classifier on the codes; its accuracy says
# how much of the class can be read from them.

# %%
train_labelled = kvae.datasets.load("digits", "train")
test_labelled = kvae.datasets.load("digits", "test")
codes = [vae.encode(data)["z_mean"] for data in (train_labelled, test_labelled)]
accuracy = kvae.evaluation.linear_probe(
    codes[0], train_labelled.labels, codes[1], test_labelled.labels
)
print(f"accuracy of a linear probe: {accuracy:.3f}")

# %% [markdown]
# On data whose factors of variation are known, such as the 737,280 sprites of
# `kvae.datasets.load("sprites", "test")`, `kvae evaluate MODEL --disentanglement` gives the scores of the
# disentanglement literature: the β-VAE and FactorVAE scores, MIG, SAP, DCI, modularity and IRS.
#
# ## Rate and distortion
#
# One model is one point: so many nats of rate, so many of distortion. With
# `kvae.training.train_over_beta` one trains models at several weights β and sees the whole trade-off;
# `kvae.evaluation.rate_distortion_curve` measures the curve of one decoder.
#
# ## Before you report a figure
#
# 1. Choose the model by the validation split, and measure it once on the test split.
# 2. Say what was binarized or dequantized, and how.
# 3. Give the NLL with the number of importance samples, its error and the effective sample size.
# 4. Give the command. The cards of the zoo do (`kvae info NAME`).
