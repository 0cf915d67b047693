# %% [markdown]
# # Your own data
#
# kvae models images, signals and tables of any size. This guide brings in data of each kind, chooses a
# likelihood for them, and then hands over data that are half broken, to show what the errors say.

# %%
import pathlib

import keras
import numpy as np
from PIL import Image

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 60  # quick: 1
draws = 2000  # quick: 20
files = 300  # quick: 60
rng = np.random.default_rng(1)

# %% [markdown]
# ## What can be given
#
# Wherever a model takes data (`fit`, `validation_data`, `evaluate`, `encode`, `log_prob`, …) they may be
# arrays and lists, pandas and polars frames, SciPy's sparse matrices, HDF5 data sets, tensors, `tf.data`,
# generators, and the dicts `{"image": …, "label": …}` of TensorFlow Datasets. Data that come in batches are
# read batch by batch.
#
# ## Images in a folder
#
# `from_folder` reads every PNG and JPEG file below a folder, turns it upright, scales it to one size and
# keeps it in memory. Subfolders can be classes. Here the folder holds digits, one file for each.

# %%
digits = kvae.datasets.load("digits", "train")[:files]
for number, (image, label) in enumerate(zip(digits.examples, digits.labels, strict=True)):
    path = pathlib.Path("photos", str(label), f"{number:04}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image[..., 0] * 255).astype("uint8")).resize((40, 48)).save(path)

photos = kvae.datasets.from_folder("photos", (12, 10, 1), labels="folders")
train, validation = kvae.datasets.train_validation_split(photos, 0.2)
print(len(photos), "images of shape", photos.event_shape, "and classes", np.unique(photos.labels))

# %% [markdown]
# Any size will do: `zoo.build` makes networks that fit it. Folders that do not fit into memory are read
# while the model trains, by `kvae.datasets.ImageFolder` ([training at scale](../SCALE.md)).

# %%
vae = zoo.build("conv_vae", event_shape=photos.event_shape, latent_dim=8, seed=1)
vae.compile(keras.optimizers.Adam(2e-3))
history = vae.fit(train, validation_data=validation, epochs=epochs, batch_size=32, verbose=0)
print({name: round(values[-1], 1) for name, values in history.history.items()})

# %% alt="Photographs of digits above their reconstructions"
kvae.plots.reconstructions(vae, validation, n=12)

# %% [markdown]
# ### Which likelihood for images?
#
# | pixels | likelihood | remark |
# |---|---|---|
# | 0 or 1 | `"bernoulli"` | exact |
# | in [0, 1], nearly black and white | `"bernoulli"` with `binarize="dynamic"` | each epoch draws new bits |
# | in [0, 1] | `"continuous_bernoulli"` | a density on the interval |
# | grey or colour, 256 levels | `"discretized_logistic"`, `"discretized_logistic_mixture"` | a probability for each level |
# | real numbers | `kvae.likelihoods.Gaussian("global")` | learns one σ; a fixed σ = 1 is plain squared error |
#
# The likelihood decides what the loss means. Nats of different likelihoods do not compare.
#
# ## Signals
#
# A signal has the shape `(steps, channels)`. These are noisy waves of different frequency and phase.

# %%
time = np.linspace(0, 1, 32)
frequency, phase = rng.uniform(1, 3, (400, 1)), rng.uniform(0, 2 * np.pi, (400, 1))
waves = np.sin(2 * np.pi * frequency * time + phase) + rng.normal(0, 0.1, (400, 32))
waves = waves[..., None].astype("float32")

signal_vae = zoo.build("timeseries_vae", event_shape=(32, 1), latent_dim=4, seed=1)
signal_vae.compile(keras.optimizers.Adam(3e-3))
history = signal_vae.fit(waves, validation_split=0.2, epochs=epochs, verbose=0)

# %% alt="Signals above their reconstructions"
kvae.plots.reconstructions(signal_vae, waves, n=6)

# %% [markdown]
# ## Tables
#
# The columns of a table have units, and some are no measurements at all. `MixedTabular` gives each
# column a likelihood of its own, and `standardize=True` takes the mean and the standard deviation of
# each column from the training data and keeps them in the model: reconstructions and samples stay in
# your units. A pandas or polars frame can be given in place of the array.

# %%
height = rng.normal(170, 10, 500)
table = np.stack(
    [
        height,  # centimetres
        0.9 * height - 85 + rng.normal(0, 8, 500),  # kilograms
        rng.integers(0, 2, 500),  # smokes or not
        rng.poisson(2, 500),  # visits in a year
    ],
    axis=1,
).astype("float32")

columns = [("gaussian",), ("gaussian",), ("bernoulli",), ("poisson",)]
table_vae = zoo.build(
    "tabular_vae", event_shape=(4,), latent_dim=2, columns=columns, standardize=True, seed=1
)
table_vae.compile(keras.optimizers.Adam(3e-3))
history = table_vae.fit(table, validation_split=0.2, epochs=epochs, verbose=0)
print("height, weight, smokes, visits")
print(np.round(np.asarray(table_vae.sample(5, seed=1, output="sample")), 1))

# %% [markdown]
# The model has learned that tall people are heavier:

# %%
drawn = np.asarray(table_vae.sample(draws, seed=2, output="sample"))
print("correlation in the data   ", round(float(np.corrcoef(table[:, 0], table[:, 1])[0, 1]), 2))
print("correlation in the samples", round(float(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]), 2))

# %% [markdown]
# ## Networks of your own
#
# The zoo's networks are a start. The encoder can be any Keras model that returns features, the decoder
# any that returns what the likelihood takes, here one mean for each value.

# %%
encoder = keras.Sequential(
    [
        keras.Input((32, 1)),
        keras.layers.Conv1D(8, 5, strides=2, activation="silu"),
        keras.layers.Flatten(),
        keras.layers.Dense(32, "silu"),
    ]
)
decoder = keras.Sequential(
    [
        keras.Input((4,)),
        keras.layers.Dense(64, "silu"),
        keras.layers.Dense(32),
        keras.layers.Reshape((32, 1)),
    ]
)
likelihood = kvae.likelihoods.Gaussian("global", scale=0.2)
own = kvae.VAE(encoder, decoder, latent_dim=4, likelihood=likelihood)
own.compile(keras.optimizers.Adam(3e-3))
history = own.fit(waves, epochs=epochs, verbose=0)

# %% [markdown]
# ## Labels
#
# With `num_classes` the model is conditional: it learns p(x|z, y), and a class can be asked for.

# %%
conditional = zoo.build(
    "dense_vae", event_shape=photos.event_shape, latent_dim=4, num_classes=10, seed=1
)
conditional.compile(keras.optimizers.Adam(2e-3))
history = conditional.fit(photos, epochs=epochs, batch_size=32, verbose=0)

# %% alt="Samples of the conditional model, a row for each digit"
kvae.plots.samples(conditional, n=80, seed=1)

# %% [markdown]
# ## Data that are half broken
#
# Real data have gaps, wrong scales and wrong shapes. kvae refuses them in one line that says where the
# fault is and what to do, rather than train on them. The helper below prints that line.


# %%
def refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except (TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}\n")
    else:
        raise AssertionError("This was to be refused.")


broken = waves.copy()
broken[17, 3] = np.nan
refused(signal_vae.fit, broken)

grey_levels = photos.examples * 255  # of 0 to 255, where intensities are meant
refused(vae.fit, grey_levels)

turned = np.swapaxes(photos.examples, 1, 2)  # width before height
refused(vae.fit, turned)

masked = np.ma.masked_greater(table, 190)
refused(table_vae.fit, masked)

refused(vae.fit, photos.examples, photos.labels)  # labels where a target would stand
refused(kvae.datasets.from_array, [[1.0, 2.0], [3.0]])  # rows of unequal length

# %% [markdown]
# Mistakes in the networks are found when the model is made. The next decoder ends in a sigmoid, as those
# of many examples do, although the likelihood takes logits; after it comes one that returns too few
# numbers.

# %%
small = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(8)])
probabilities = keras.Sequential(
    [keras.Input((2,)), keras.layers.Dense(64, "sigmoid"), keras.layers.Reshape((8, 8, 1))]
)
refused(kvae.VAE, small, probabilities, latent_dim=2)

too_few = keras.Sequential(
    [keras.Input((2,)), keras.layers.Dense(49), keras.layers.Reshape((7, 7, 1))]
)
refused(kvae.VAE, small, too_few, latent_dim=2)

# %% [markdown]
# Some data are not wrong and yet unlikely to be meant. `fit` warns of them and goes on, for example
# where columns lie far from unit scale and the likelihood was not told to standardize:

# %%
plain = zoo.build("tabular_vae", event_shape=(2,), latent_dim=2, standardize=False, seed=1)
plain.compile("adam")
history = plain.fit(table[:, :2], epochs=1, verbose=0)

# %% [markdown]
# ## Missing values
#
# There is no hidden treatment of gaps. Fill them, and let a column that says which values were missing
# take part in the model:

# %%
gaps = np.where(rng.random(table.shape) < 0.1, np.nan, table)[:, :2]
missing = np.isnan(gaps)
filled = np.where(missing, np.nanmean(gaps, axis=0), gaps)
with_flags = np.concatenate([filled, missing], axis=1).astype("float32")
columns = [("gaussian",), ("gaussian",), ("bernoulli",), ("bernoulli",)]
flagged = zoo.build(
    "tabular_vae", event_shape=(4,), latent_dim=2, columns=columns, standardize=True, seed=1
)
flagged.compile(keras.optimizers.Adam(3e-3))
history = flagged.fit(with_flags, epochs=epochs, verbose=0)
print("share of missing heights in the data", round(float(missing[:, 0].mean()), 2))
drawn = np.asarray(flagged.sample(draws, seed=1, output="sample"))
print("share of missing heights in samples ", round(float(drawn[:, 2].mean()), 2))

# %% [markdown]
# ## A name for your data
#
# `kvae.datasets.register` makes a function that reads your data a named dataset, which `load`, recipes
# and `kvae train --dataset NAME` then know.
