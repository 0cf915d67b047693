# %% [markdown]
# # Building autoencoders
#
# The Keras blog has a well-known post, [Building Autoencoders in Keras](
# https://blog.keras.io/building-autoencoders-in-keras.html). This guide builds all of its models in
# kvae: the simple autoencoder, the sparse, the deep, the convolutional, the denoising and the
# sequence-to-sequence one, and the variational autoencoder. The post trains on the 28 × 28 digits of
# MNIST. Here they are the 8 × 8 digits of scikit-learn, which need no download and train in seconds;
# the [gallery of models](../MODELS.md) has the same models trained on MNIST.
#
# In kvae an autoencoder is a `kvae.VAE` whose posterior is a single point. Everything that works for
# a VAE works for it as well: `fit`, saving, pictures, export.

# %%
import keras
import numpy as np

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 100  # quick: 1
limit = None  # quick: 150
train = kvae.datasets.load("digits", "train")[:limit]
test = kvae.datasets.load("digits", "test")
print(len(train), "images for training,", len(test), "for the test, of shape", train.event_shape)

# %% [markdown]
# ## The simplest autoencoder
#
# The encoder maps an image to a code, the decoder maps the code to an image. The networks are plain
# Keras models. Two things differ from the post:
#
# - The decoder returns **logits**. The likelihood applies the sigmoid itself, since a cross-entropy
#   of logits is stable where one of probabilities is not.
# - The loss is **summed** over the pixels, in nats, where the post averages it. Dividing by the number
#   of pixels gives the post's figure.

# %%
encoder = keras.Sequential(
    [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu")]
)
decoder = keras.Sequential(
    [keras.Input((16,)), keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1))]
)
simple = kvae.VAE(
    encoder,
    decoder,
    latent_dim=16,
    posterior=kvae.posteriors.Delta(activation="relu"),
    prior=None,
    likelihood="bernoulli",
)
simple.compile("adam")
history = simple.fit(train, validation_data=test, epochs=epochs, verbose=0)

# %% alt="Loss and reconstruction of the simple autoencoder, training and validation"
kvae.plots.loss_curves(history, metrics=["loss"])

# %% alt="Test digits above their reconstructions by the simple autoencoder"
kvae.plots.reconstructions(simple, test, n=12)

# %% [markdown]
# The posterior `kvae.posteriors.Delta` says that the code is a point, and `prior=None` that nothing
# is asked of where the points lie. Such a model reconstructs. It cannot generate, because it does not
# say where to take a new code from.
#
# ## A sparse code
#
# The post asks for a sparse code by an L1 penalty on it. `Delta` takes the weight of the penalty, in
# nats for each unit of the code. `zoo.build` makes the networks from here on.

# %%
sparse = zoo.build("dense_autoencoder", event_shape=(8, 8, 1), latent_dim=16, l1=0.3, seed=1)
sparse.compile("adam")
history = sparse.fit(train, epochs=epochs, verbose=0)


def share_of_zeros(model):
    return float(np.mean(model.encode(test)["z_mean"] == 0))


print(
    f"Share of zeros in the codes: simple {share_of_zeros(simple):.2f}, "
    f"sparse {share_of_zeros(sparse):.2f}"
)

# %% [markdown]
# ## A deep autoencoder
#
# More layers between image and code need no other model, only other networks.

# %%
deep = zoo.build("dense_autoencoder", event_shape=(8, 8, 1), latent_dim=16, hidden=(64, 32), seed=1)
deep.compile("adam")
deep.fit(train, epochs=epochs, verbose=0)
deep.encoder.summary()

# %% [markdown]
# ## A convolutional autoencoder
#
# Images are what convolutions are for. Strided convolutions take the place of the post's pooling and
# up-sampling.

# %%
convolutional = zoo.build("conv_autoencoder", event_shape=(8, 8, 1), latent_dim=16, seed=1)
convolutional.compile(keras.optimizers.Adam(3e-3))
history = convolutional.fit(train, epochs=epochs, verbose=0)

# %% [markdown]
# All models report the same quantities. `reconstruction` is −log p(x|z) in nats for an image; divided
# by the 64 pixels it is the post's binary cross-entropy.

# %%
models = {
    "simple": simple,
    "sparse": sparse,
    "deep": deep,
    "convolutional": convolutional,
}
for name, model in models.items():
    figures = model.evaluate(test, return_dict=True, verbose=0)
    print(f"{name:15} {figures['reconstruction'] / 64:.4f} nats for a pixel")

# %% [markdown]
# ## Denoising
#
# A denoising autoencoder sees noisy images and is trained to return the clean ones. The noise belongs
# to the data: a `kvae.datasets.Dataset` with `noise` gives new noise in each epoch, and keeps the
# clean image as the target.

# %%
noisy_train = kvae.datasets.Dataset(train.examples, noise=0.3, seed=1)
denoising = zoo.build("conv_autoencoder", event_shape=(8, 8, 1), latent_dim=32, seed=1)
denoising.compile(keras.optimizers.Adam(3e-3))
history = denoising.fit(noisy_train, epochs=epochs, verbose=0)

# %% alt="Noisy test digits above what the denoising autoencoder makes of them"
clean = test.examples[:12]
rng = np.random.default_rng(0)
noisy = np.clip(clean + rng.normal(0, 0.3, clean.shape), 0, 1).astype("float32")
kvae.plots.reconstructions(denoising, noisy, n=12, title="Noisy images and their reconstructions")

# %% [markdown]
# ## Sequence to sequence
#
# An LSTM reads an image row by row, as a sequence of eight vectors, and a second one writes the rows
# from the code. The architecture takes signals `(steps, channels)` as well.

# %%
sequences = zoo.build("lstm_autoencoder", event_shape=(8, 8, 1), latent_dim=16, width=32, seed=1)
sequences.compile(keras.optimizers.Adam(3e-3))
sequences.fit(train, epochs=epochs, verbose=0)
figures = sequences.evaluate(test, return_dict=True, verbose=0)
print(f"{figures['reconstruction'] / 64:.4f} nats for a pixel")

# %% [markdown]
# ## The variational autoencoder
#
# The encoder now returns two vectors for an image, the mean and the logarithm of the variance of a
# Gaussian q(z|x), and the code is drawn from it. The Kullback–Leibler divergence of q(z|x) from the
# prior N(0, I) joins the loss. `kvae.VAE` has these parts as its defaults, so a variational
# autoencoder takes fewer arguments than the plain one. With two latents, as in the post, the codes
# can be drawn.

# %%
vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, hidden=(64,), seed=1)
vae.compile(keras.optimizers.Adam(3e-3))
history = vae.fit(train, validation_data=test, epochs=epochs, verbose=0)

# %% alt="Loss, ELBO, reconstruction and KL of the variational autoencoder"
kvae.plots.loss_curves(history)

# %% [markdown]
# The loss is the sum of the reconstruction term and the KL, and it is minus the ELBO. Classes form
# clusters in the plane of the codes, although the model has never seen a label:

# %% alt="Codes of the test digits in the plane of the two latents, coloured by digit"
kvae.plots.latent_scatter(vae, test)

# %% [markdown]
# The prior says where new codes come from, so this model generates. Decoding a grid of points gives
# the post's last picture:

# %% alt="Images decoded from a grid of points of the latent plane"
kvae.plots.manifold(vae, n=12)

# %% [markdown]
# `vae.sample(16, seed=1)` draws codes from the prior and decodes them. An image, a code and a seed
# give the same numbers each time.
#
# ## Samples from a plain autoencoder
#
# An autoencoder has no prior, but one can be fitted to its codes afterwards. A sampler does that, and the
# result is a `kvae.VAE` like any other, which samples, saves and is exported.

# %% alt="Samples of the deep autoencoder with a mixture of Gaussians fitted to its codes"
sampler = kvae.samplers.GaussianMixture(num_components=20).fit(deep, train)
kvae.plots.samples(sampler.model, n=24, seed=1)

# %% [markdown]
# ## Saving
#
# A model is one file. It loads in a process that has imported kvae, without custom objects.

# %%
vae.save("vae.keras")
again = kvae.load_model("vae.keras")
print(np.array_equal(again.sample(4, seed=1), vae.sample(4, seed=1)))

# %% [markdown]
# ## Where to go on
#
# [Why sample, why two parameters](sampling.ipynb) asks what the noise and the KL are for.
# [Choosing and writing a part](parts.ipynb) replaces the Gaussian, the prior and the likelihood.
