# %% [markdown]
# # Few labels
#
# Examples are cheap and labels are dear: photos without captions, records that nobody has coded. A
# semi-supervised model learns the classes from a handful of labels, and from all other examples what the
# data look like. This guide trains one on digits of which 30 have a label, asks it for classes, and takes it
# apart.

# %%
import keras
import numpy as np
from matplotlib.figure import Figure

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 150  # quick: 1
limit = None  # quick: 150
train = kvae.datasets.load("digits", "train", binarize="dynamic")[:limit]
test = kvae.datasets.load("digits", "test")

# %% [markdown]
# ## Say which labels are not known
#
# A label of -1 is not known. `few_labels` hides all labels but for some of each class, for experiments; your
# own data have -1 where there is none. With `repeat` the labelled rows stand in the data several times,
# each with a part of the weight, so that most batches hold some.

# %%
few = kvae.datasets.few_labels(train, 3, seed=0, repeat=5)
known = np.unique(few.x[few.labels >= 0], axis=0)
print(f"{len(train)} digits, of which {len(known)} have a label")

# %% [markdown]
# ## Train
#
# `m2_vae` is the model M2 of Kingma et al.: a conditional VAE, whose encoder and decoder see the class, with
# the objective `"semi_supervised"`. A classifier q(y|x) guesses the label. Rows with a label train the bound
# of log p(x, y) and the classifier, whose cross-entropy has the weight α. Rows without one train the bound
# of log p(x), which is an exact sum over the labels that it may have.
#
# The paper's α is 0.1·N/n for N rows with n labels, here 5; this guide takes 20. Any posterior and prior do,
# and any encoder and decoder of two inputs: `kvae.VAE(..., num_classes=10,
# objective=kvae.objectives.SemiSupervised(classifier))` takes your own classifier, a Keras model from x to
# logits.

# %%
vae = zoo.build(
    "m2_vae",
    event_shape=(8, 8, 1),
    latent_dim=10,
    hidden=(128,),
    activation="relu",
    alpha=20.0,
    seed=1,
)
steps = epochs * -(-len(few) // 64)
vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
history = vae.fit(few, epochs=epochs, batch_size=64, verbose=0).history
print({name: round(float(values[-1]), 3) for name, values in history.items()})

# %% [markdown]
# `accuracy` is that of the rows with a label. The test digits say what it is worth, beside a classifier of
# the same layers that has seen the labelled digits alone.

# %%
layers = [keras.layers.Flatten(), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)]
alone = keras.Sequential([keras.Input((8, 8, 1)), *layers])
alone.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(True))
rows = few.labels >= 0
alone.fit(few.examples[rows], few.labels[rows], epochs=2 * epochs, verbose=0)
guess = np.argmax(alone.predict(test.examples, verbose=0), axis=1)
print(f"with the other digits: {np.mean(vae.classify(test.examples) == test.labels):.3f}")
print(f"without them: {np.mean(guess == test.labels):.3f}")

# %% [markdown]
# The figures of one seed say little, and three labels of each class are few; those of MNIST are on the page
# [Tasks](../TASKS.md#few-labels).
#
# ## Ask for classes
#
# `predict_proba` returns q(y|x), and `classify` the most probable class. On the command line it is
# `kvae classify model.keras --data new.csv -o classes.csv`, and in exported files the signature `classify`.

# %%
probabilities = np.asarray(vae.predict_proba(test.examples))
sure = probabilities.max(axis=1)
right = probabilities.argmax(axis=1) == test.labels
order = np.argsort(sure)
half = len(order) // 2
print(f"accuracy of the half that it is sure of: {right[order[half:]].mean():.3f}")
print(f"accuracy of the other half: {right[order[:half]].mean():.3f}")

# %% [markdown]
# ## Without a label
#
# The other methods need no label either. `encode`, `reconstruct`, `impute` and `predict` take the most
# probable class, `sample` draws one, and `log_prob` is log p(x) = log Σ_y p(y) p(x|y). With labels they are
# those of a conditional model.

# %%
ten = test.examples[:10]
static = (ten > 0.5).astype("float32")
print("log p(x):", vae.log_prob(static, num_samples=50).value.round(1))
print("log p(x|y):", vae.log_prob(static, num_samples=50, label=test.labels[:10]).value.round(1))

# %% [markdown]
# ## What z is left with
#
# The class is told by y, so z holds the rest: slant, thickness, style. Each row below has the z of one
# test digit, and all ten classes.

# %% alt="Test digits in the first column, and beside each the ten classes with its z"
shown = test.examples[:6]
z = np.asarray(vae.encode(shown)["z_mean"])
every = np.tile(np.arange(10), len(shown))
images = np.asarray(vae.decode(np.repeat(z, 10, axis=0), every)).reshape(len(shown), 10, 8, 8, 1)
images = np.concatenate([shown[:, None], images], axis=1).reshape(-1, 8, 8, 1)


def picture(images, rows, columns):
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.imshow(kvae.plots.tile(images[..., 0], rows, columns, gap=2, fill=0), cmap="gray_r")
    axes.set_axis_off()
    return figure


picture(images, len(shown), 11)

# %% [markdown]
# ## A model of codes
#
# Kingma et al. reach the best figures with two models: an M1, a VAE that has seen no label, and an M2 of
# its codes. The second one is small and trains fast. `kvae.stacked` makes one model of both, which
# predicts, samples, saves and is exported like any other.

# %%
first = zoo.load("dense_vae.digits")
codes = first.encode(few.examples)["z_mean"]
second = zoo.build(
    "m2_vae",
    event_shape=(16,),
    latent_dim=8,
    hidden=(64,),
    alpha=20.0,
    likelihood=kvae.likelihoods.Gaussian("per_pixel"),
    seed=1,
)
second.compile(keras.optimizers.Adam(1e-3))
second.fit((codes, few.labels), sample_weight=few.weights, epochs=epochs, verbose=0)
both = kvae.stacked(first, second)
print(f"M1+M2: {np.mean(both.classify(test.examples) == test.labels):.3f}")
print("a drawn seven has the shape", both.sample(1, label=7, seed=1).shape)

# %% [markdown]
# These few codes, and their means alone, are no good ground for it: the first figure is far better. On MNIST,
# with draws of the codes and many more steps, the error of M1+M2 is 4.2 % with 100 labels.
#
# ## Your own files
#
# In a table an empty cell of the label column is a label that is not known; in a folder, so is an image
# in no subfolder, or in one that is called `unlabelled`.
#
# ```sh
# kvae train m2_vae --data people.csv --columns species=label -o runs/people
# kvae classify runs/people/model.keras --data new.csv -o classes.csv
# ```
#
# ## What is refused
#
# A model with another objective takes no -1, and one without classes has nothing to guess.

# %%
plain = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, num_classes=10)
plain.compile("adam")
for call in (
    lambda: plain.fit((ten, np.full(10, -1))),
    lambda: plain.predict_proba(ten),
    lambda: zoo.build("dense_vae", event_shape=(8, 8, 1), objective="semi_supervised"),
    lambda: vae.decode(np.zeros((1, 10), "float32")),
):
    try:
        call()
    except ValueError as error:
        print(error, end="\n\n")
