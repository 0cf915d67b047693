# %% [markdown]
# # Why sample, why two parameters, what the KL compares
#
# Three questions come up whenever somebody meets a variational autoencoder for the first time:
#
# 1. The encoder returns a mean. Why does training draw a random code around it, instead of decoding
#    the mean?
# 2. Why does the encoder return two numbers for each latent, a mean and a variance?
# 3. What does the Kullback–Leibler term compare: the mean with the variance, one posterior with
#    another, or something else?
#
# This guide answers them with small experiments on 8 × 8 digits. `kvae study` answers them at full
# length on MNIST; the reports stand under [Studies](../studies/README.md), and
# their pictures are shown here.

# %%
import keras
import numpy as np

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 150  # quick: 1
images = 200  # quick: 20
limit = None  # quick: 150
train = kvae.datasets.load("digits", "train", binarize="dynamic")[:limit]
test = kvae.datasets.load("digits", "test", binarize="dynamic")[:images]
vae = zoo.load("dense_vae.digits")

# %% [markdown]
# ## Why sample?
#
# Training maximizes the evidence lower bound, the ELBO:
#
# ```text
# log p(x)  ≥  E_q(z|x)[ log p(x|z) ] − KL( q(z|x) ‖ p(z) )
# ```
#
# The first term is an expectation over the posterior. It is not the value of log p(x|z) at the mean
# of the posterior, because log p(x|z) is a curved function of z: it falls off on all sides of the best
# code. The next cell measures both, in nats for an image.

# %%
x = test.examples
params = vae.encode(x)


def log_likelihood(z):
    return np.array(vae.likelihood.log_prob(vae.likelihood(vae.decoder(z)), x))


at_the_mean = log_likelihood(params["z_mean"])
draws = vae.posterior.sample(params, num_samples=50, seed=1)
at_draws = np.mean([log_likelihood(z) for z in draws], axis=0)
print(f"log p(x|z) at the mean of q(z|x):     {at_the_mean.mean():7.2f} nats")
print(f"the expectation of log p(x|z) over it: {at_draws.mean():6.2f} nats")
print(f"images for which the mean flatters:    {np.mean(at_the_mean > at_draws):6.1%}")

# %% [markdown]
# A model that is trained at the mean alone is never told what the decoder makes of the codes around
# it, and nothing stops the encoder from scattering its codes far apart. The report
# [Why sample z?](../studies/why-sample-mnist/README.md) measures the gap on MNIST image by image,
# shows that the variance of the posterior times the curvature of log p(x|z) explains it, and shows how
# the noise of the gradient falls with the number of draws. One draw for each image is enough, since the
# images of a batch average their noise.
#
# ![The gap between E f(z) and f(E z) for each image of MNIST, and the gradient's noise against the
# number of draws](../studies/why-sample-mnist/gap_and_noise.png)
#
# ## Why two parameters?
#
# The next cell trains the same networks three times. Only the posterior differs: a point (an
# autoencoder), a Gaussian of fixed variance, and the usual Gaussian with a mean and a variance of its
# own for each image.

# %%
models = {}
for name in ("delta", "unit_variance", "diagonal_gaussian"):
    models[name] = zoo.build(
        "dense_vae",
        event_shape=(8, 8, 1),
        latent_dim=2,
        hidden=(64,),
        posterior=name,
        prior=None if name == "delta" else "standard_normal",
        seed=1,
    )
    models[name].compile(keras.optimizers.Adam(3e-3))
    models[name].fit(train, epochs=epochs, verbose=0)

print("posterior           reconstruction    KL     ELBO")
for name, model in models.items():
    figures = model.evaluate(test, return_dict=True, verbose=0)
    bound = "".join(f"{figures[key]:9.2f}" for key in ("kl", "elbo") if key in figures)
    print(f"{name:20}{figures['reconstruction']:12.2f}{bound}")

# %% [markdown]
# - The autoencoder (`delta`) has the lowest reconstruction error. It has no KL and no ELBO, since a
#   point has no density. It does not say which codes are likely.
# - With a fixed variance (`unit_variance`) the posterior cannot say how exactly an image determines its
#   code. Distances in the latent space have to grow until a noise of 1 no longer mixes up the images,
#   and every nat of that is paid in the KL.
# - The second parameter lets each image choose its own precision. It buys a better bound.
#
# The zoo's `blog_vae.mnist` has two latents as well, and the pictures of the Keras blog post:
# [the codes by digit](../images/blog_vae_latent.png) and
# [the decoded plane](../images/blog_vae_manifold.png).
#
# The picture draws each test digit's posterior as an ellipse, to scale, beside the images that the
# decoder makes of the same plane.

# %% alt="The posterior of each test digit as an ellipse, beside the decoded plane"
kvae.plots.posterior_map(models["diagonal_gaussian"], test)

# %% [markdown]
# On MNIST the report [Why both μ and σ?](../studies/why-two-parameters-mnist/README.md) goes further up
# the ladder, to full covariances and to flows, and draws samples of each:
#
# ![Samples from the prior of six models of MNIST that differ in their posterior
# alone](../studies/why-two-parameters-mnist/samples.png)
#
# ## What does the KL compare?
#
# KL(q(z|x) ‖ p(z)) compares the posterior of **one image** with the **prior**. For a diagonal Gaussian
# and N(0, I) it has a closed form, in which the mean and the variance appear together:

# %%
z_mean, z_log_var = params["z_mean"], params["z_log_var"]
by_hand = 0.5 * np.sum(np.exp(z_log_var) + z_mean**2 - 1 - z_log_var, axis=-1)
by_kvae = np.array(kvae.divergences.closed_form_kl(vae.posterior, vae.prior)(params))
print("largest difference:", float(np.abs(by_hand - by_kvae).max()))
print(f"mean KL: {by_hand.mean():.2f} nats")

# %% [markdown]
# A good model has a KL far from zero: its posteriors are *meant* to differ from the prior, because they
# say which image it was. Averaged over the images, the KL (the *rate*) is the sum of two parts:
#
# ```text
# mean KL( q(z|x) ‖ p(z) )  =  I(x; z)  +  KL( q(z) ‖ p(z) )
# ```
#
# The first part is the mutual information, the nats that a code tells about its image. The second
# compares the **aggregate posterior** q(z), the mixture of the posteriors of all images, with the prior.
# Only this second part is a mismatch that spoils samples.

# %%
summary = kvae.evaluation.latent_summary(vae, test)
print(f"rate                {summary.rate:6.2f} nats")
print(f"mutual information  {summary.mutual_information:6.2f} nats")
print(f"aggregate mismatch  {summary.aggregate_kl:6.2f} nats")
print(f"active units        {summary.active_units} of {summary.latent_dim}")

# %% [markdown]
# The mutual information of n images cannot exceed log n, so for a few hundred images it is to be read as
# "at least". In the plane of the two-dimensional model the aggregate can be seen: the codes of all
# images together cover about what the prior covers, while every single posterior is small.

# %% alt="Codes of the training digits over draws from the prior"
kvae.plots.aggregate_posterior(models["diagonal_gaussian"], train, n=1000)

# %% [markdown]
# The report [What does the KL term compare?](../studies/what-the-kl-compares-mnist/README.md) measures
# both parts on MNIST for weights β of the KL from 0 to 10, and two common mistakes: averaging over
# pixels and latents instead of summing, and a wrong formula for σ.
#
# ![Single posteriors of MNIST digits, and their aggregate, over the
# prior](../studies/what-the-kl-compares-mnist/posteriors_and_prior.png)
#
# ## Ask the questions again
#
# The studies are commands. They train the models, write a report with tables and pictures, and compute
# the verdict of each claim from the tables:
#
# ```sh
# kvae study why-two-parameters --quick
# kvae study all --dataset mnist
# ```
