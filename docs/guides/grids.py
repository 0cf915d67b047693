# %% [markdown]
# # Codes on a grid, and images of any size
#
# A code that is a vector describes an image as a whole. The autoencoders of latent diffusion have
# codes on a grid instead: each place holds a few numbers about one patch of the image. Such codes
# keep detail, another model can learn to draw them, and since the networks are convolutions, a model
# that was trained on small images encodes large ones.

# %%
import keras
import numpy as np
from matplotlib.figure import Figure

import kvae
import zoo

epochs = 30  # quick: 1
images = 1000  # quick: 64

# %% [markdown]
# ## Some images
#
# Discs of random colours on a ground that gets lighter from left to right, with edges that are a
# pixel wide. The model trains on images of 32 × 32, and meets some of 64 × 96 later.


# %%
def discs(n, rows, columns, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns].astype("float32")
    made = np.empty((n, rows, columns, 3), "float32")
    for image in made:
        image[:] = rng.random(3) * (0.3 + 0.4 * x / columns)[..., None]
        for _ in range(rows * columns // 256):
            centre, radius = rng.uniform(0, (rows, columns)), rng.uniform(2, 8)
            outside = np.hypot(y - centre[0], x - centre[1]) - radius
            share = np.clip(0.5 - outside, 0, 1)[..., None]
            image[:] = (1 - share) * image + share * rng.random(3)
    return made


train, large = discs(images, 32, 32, seed=1), discs(4, 64, 96, seed=2)

# %% [markdown]
# ## The shape of z
#
# `latent_shape` is the shape of z, and `latent_dim=8` is short for `latent_shape=(8,)`. The networks
# are yours as ever: here an encoder that ends in features on a grid of 8 × 8, and a decoder that
# takes z as it is. Both begin with `keras.Input((None, None, …))`, since convolutions do not care how
# large an image is. The posterior's heads then see one place of the grid each, so that they do not
# care either.

# %%
keras.utils.set_random_seed(0)
same = {"padding": "same"}
encoder = keras.Sequential(
    [
        keras.Input((None, None, 3)),
        keras.layers.Conv2D(16, 4, strides=2, activation="silu", **same),
        keras.layers.Conv2D(32, 4, strides=2, activation="silu", **same),
        keras.layers.Conv2D(32, 3, activation="silu", **same),
    ]
)
decoder = keras.Sequential(
    [
        keras.Input((None, None, 4)),
        keras.layers.Conv2D(32, 3, activation="silu", **same),
        keras.layers.Conv2DTranspose(32, 4, strides=2, activation="silu", **same),
        keras.layers.Conv2DTranspose(16, 4, strides=2, activation="silu", **same),
        keras.layers.Conv2D(3, 3, **same),
    ]
)
vae = kvae.VAE(
    encoder,
    decoder,
    latent_shape=(8, 8, 4),
    likelihood="gaussian:scale=0.1",
    objective=kvae.objectives.ELBO(beta=0.01),
)
vae.compile(keras.optimizers.Adam(2e-3))
vae.fit(train, batch_size=50, epochs=epochs, verbose=0)
codes = vae.encode(train)
print({name: tuple(value.shape) for name, value in codes.items()})
print("one image:", vae.decode(codes["z_mean"][:1]).shape)

# %% [markdown]
# All posteriors, priors and objectives go with a grid: they compute with the same 256 numbers as a
# vector. `vae.as_vectors` turns what `encode` returns into what the parts take.

# %%
vectors = vae.as_vectors(vae.encode(train[:5]))
z = vae.posterior.sample(vectors, seed=1)
print("log q(z|x), nats:", np.round(vae.posterior.log_prob(vectors, z), 1))

# %% [markdown]
# ## Larger images
#
# `resized` returns the same model for images of another size. It shares the networks and the parts,
# and is a model like any other: it encodes, decodes, samples, saves and exports, and it may be
# trained.

# %%
whole = vae.resized((64, 96))
print("z of a large image:", whole.latent_shape)
at_once = whole.reconstruct(large)


def error(made):
    return float(np.sqrt(np.mean(np.square(np.asarray(made) - large))))


print(f"root of the mean squared error: {error(at_once):.4f}")

# %% [markdown]
# ## Tiles
#
# An image that does not fit into memory is encoded and decoded in tiles, each of the size that the
# model was trained on. Tiles side by side show seams, because networks pad their inputs at edges.
# Neighbouring tiles therefore overlap, by a quarter unless you say otherwise, and are blended into
# each other. With a `margin` as large as the reach of the network, in places of the grid, the outermost
# places are left out, and the tiles give what the whole image gives.


# %%
def in_tiles(**settings):
    z = vae.encode_tiles(large, **settings)["z_mean"]
    return vae.decode_tiles(z, **settings)


for name, made in {
    "side by side": in_tiles(overlap=0),
    "blended": in_tiles(),
    "with a margin of 3": in_tiles(margin=3),
}.items():
    away = float(np.abs(made - at_once).max())
    print(f"{name:20} error {error(made):.4f}, at most {away:.1e} from the whole image")


# %% alt="Discs of many colours, and their reconstructions at once, in tiles and in blended tiles"
def picture(rows):
    figure = Figure(figsize=(8, 5.4))
    axes = figure.subplots()
    images = np.concatenate(list(rows.values()))
    axes.imshow(np.clip(kvae.plots.tile(images, len(rows), len(large), gap=3), 0, 1))
    axes.set_yticks(67 * np.arange(len(rows)) + 32, list(rows))
    axes.set_xticks([])
    return figure


picture(
    {
        "original": large,
        "at once": at_once,
        "side by side": in_tiles(overlap=0),
        "blended": in_tiles(),
    }
)

# %% [markdown]
# ## A model of the codes
#
# Codes that were learned with a small weight of the KL are not distributed as the prior, so that
# samples are poor. A second model learns how codes are distributed: latent diffusion has a diffusion
# there, here it is another VAE. It expects numbers of unit scale: `fit_scale_factor` measures by
# which factor the codes have it, and the model keeps it. `kvae.stacked` makes one model of the two,
# for codes as they are.

# %%
scaled = vae.fit_scale_factor(train) * codes["z_mean"]
print(f"scale factor {vae.scale_factor:.3f}: standard deviation {np.std(scaled):.2f}")
second = zoo.build(
    "conv_vae",
    event_shape=(8, 8, 4),
    latent_dim=16,
    filters=(32, 32),
    likelihood="gaussian:learned",
)
second.compile(keras.optimizers.Adam(2e-3))
second.fit(codes["z_mean"], batch_size=50, epochs=epochs, verbose=0)
both = kvae.stacked(vae, second)
print("samples:", both.sample(4, seed=1).shape)

# %% [markdown]
# ## From the zoo
#
# `zoo.build("autoencoder_kl")` has what this guide's networks lack: residual blocks with group
# normalization, and attention between all places of the grid. These look at whole images, so that its
# tiles are close to the whole image and not equal to it. On the command line the shape is
# `kvae train autoencoder_kl --data photos --latent-shape 16 16 4`.

# %%
large_one = zoo.build("autoencoder_kl", event_shape=(32, 32, 3), filters=(8, 16, 16))
print(large_one.latent_shape, f"{large_one.count_params():,} parameters")
print(large_one.resized((64, 64)).sample(1, seed=0).shape)
