# %% [markdown]
# # Conditions
#
# A model of digits that is told which digit to draw is conditional: `num_classes=10`. Often more is
# known of an example, of other kinds, and not of every example. This guide tells a model two things,
# a class and a number, hides some of them, draws what it asks for, and measures whether it got it.

# %%
import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 80  # quick: 1
count = 50  # quick: 2
train = kvae.datasets.load("digits", "train")
test = kvae.datasets.load("digits", "test")

# %% [markdown]
# ## Say what is known
#
# `conditions` is a dict from names to kinds: a number of classes or a list of their names, `"real"`,
# `"periodic:24"` for an hour of the day, `("multi", 5)` for labels of which any number may hold. The
# values go where labels go, as a dict from the names to arrays: `fit((x, values))`,
# `kvae.datasets.Dataset(x, values)`, batches `((x, values),)`, and the argument `label` of `encode`,
# `sample`, `log_prob` and the others.
#
# Here the second condition is the ink of a digit: the mean of its pixels. A third of the digits are
# not known: −1 stands for that, NaN for a number that is unknown, and a name that is left out is
# unknown for all rows.


# %%
def ink(images):
    return np.asarray(images).mean(axis=(1, 2, 3))


rng = np.random.default_rng(0)
digit = np.where(rng.random(len(train)) < 1 / 3, -1, train.labels)
told = {"digit": digit, "ink": ink(train.examples)}

# %% [markdown]
# What is unknown has a learned value in its place, in both networks. `unknown_rate` hides a further
# share of the values in training, each for itself, so that the model also learns what to do without
# them. Numbers are standardized by the data of the first training; the model keeps both statistics.

# %%
conditions = kvae.conditions.Conditions({"digit": 10, "ink": "real"}, unknown_rate=0.1)
vae = zoo.build(
    "dense_vae",
    event_shape=(8, 8, 1),
    latent_dim=8,
    hidden=(128,),
    conditions=conditions,
    seed=1,
)
vae.compile(keras.optimizers.Adam(2e-3))
history = vae.fit((train.examples, told), epochs=epochs, batch_size=32, verbose=0).history
mean, scale = map(float, vae.conditions.kinds["ink"].statistics)
print(f"ELBO {history['elbo'][-1]:.2f} nats; ink {mean:.3f} ± {scale:.3f}")

# %% [markdown]
# ## Ask for both
#
# A single value holds for all samples. Each row of the picture is a digit, each column an amount of
# ink, and all have the same noise.

# %% alt="Samples of each digit with little, medium and much ink"
amounts = np.linspace(mean - 2 * scale, mean + 2 * scale, 9)
asked = {"digit": np.repeat(np.arange(10), 9), "ink": np.tile(amounts, 10)}
z = np.tile(vae.prior.sample(1, seed=3), (90, 1))
images = np.asarray(vae.decode(z, asked)).reshape(10, 9, 8, 8)


def show(rows, size):
    """Draws images [rows, columns, 8, 8], with gaps between them."""
    rows = np.pad(rows, ((0, 0), (0, 0), (1, 1), (1, 1)))
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.imshow(np.concatenate(np.concatenate(rows, axis=1), axis=1), cmap="gray_r")
    axes.axis("off")
    return figure


show(images, (5, 5.5))

# %% [markdown]
# Did the samples get what was asked for? A classifier that has seen real images alone finds the
# digit, and the ink can be computed.

# %%
classifier = LogisticRegression(max_iter=2000).fit(train.examples.reshape(-1, 64), train.labels)
asked = {
    "digit": rng.integers(10, size=10 * count),
    "ink": rng.normal(mean, scale, size=10 * count),
}
drawn = np.asarray(vae.sample(10 * count, seed=4, label=asked))
found = classifier.predict(drawn.reshape(-1, 64))
real = classifier.score(test.examples.reshape(-1, 64), test.labels)
print(f"digits: {np.mean(found == asked['digit']):.1%} as asked; on real images {real:.1%}")
print(f"ink: off by {np.abs(ink(drawn) - asked['ink']).mean() / scale:.2f} standard deviations")

# %% [markdown]
# ## Ask for one of them
#
# What is left out is unknown: the digit then comes from the code, and the ink is still as asked.

# %%
drawn = np.asarray(vae.sample(10 * count, seed=5, label={"ink": asked["ink"]}))
off = np.abs(ink(drawn) - asked["ink"]).mean() / scale
kinds = len(np.unique(classifier.predict(drawn.reshape(-1, 64))))
print(f"ink: off by {off:.2f} standard deviations; {kinds} different digits")

# %% [markdown]
# ## What if
#
# A counterfactual image answers what an example would look like, had one thing been different: encode
# it with what is known of it, change one condition, and decode the same code. The code holds the rest,
# the style of the hand.

# %% alt="Test digits, and the same digits with other amounts of ink"
x, label = test.examples[:8], {"digit": test.labels[:8], "ink": ink(test.examples[:8])}
code = vae.posterior.mean(vae.encode(x, label))
rows = [x, *(vae.decode(code, {**label, "ink": amount}) for amount in amounts[::2])]
show(np.stack(rows)[..., 0], (5, 4))

# %% [markdown]
# ## What is refused
#
# Values that a condition does not have are refused in one line, on every way in.

# %%
for wrong in ({"digit": 10}, {"ink": np.inf}, {"inc": 0.3}, {"digit": [1, 2]}):
    try:
        vae.sample(4, label=wrong)
    except ValueError as error:
        print(error)

# %% [markdown]
# ## Elsewhere
#
# - `kvae sample MODEL --label digit=7,ink=0.4` draws on the command line.
# - A SavedModel and an ONNX file have an input for each condition, by its name. In a request to a
#   server one may be left out, and then it is unknown; `export.Client` takes the same dict as the
#   model.
# - A TFLite file takes them as networks see them, `vae.conditions.encode(vae.conditions.record(…))`;
#   the file's metadata say how to make that.
# - `python -m benchmarks.conditions` sets all five factors of the model `conditional_vae.sprites`
#   independently, and measures what came of it.
