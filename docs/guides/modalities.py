# %% [markdown]
# # Several modalities
#
# An example may be several things at once: a picture and its caption, a recording and its text, a form and a
# photo. A model of several modalities learns what they have to do with one another. It translates any of
# them into any other, scores how well they fit together, and learns from examples that lack some. This guide
# trains one on digits that are cut into two halves and labelled, and another one whose modalities keep what
# is theirs alone.

# %%
import keras
import numpy as np
from matplotlib.figure import Figure

import kvae

keras.utils.set_random_seed(1)
epochs = 80  # quick: 1
limit = None  # quick: 100
train = kvae.datasets.load("digits", "train")[:limit]
test = kvae.datasets.load("digits", "test")

# %% [markdown]
# ## Data are dicts
#
# Each modality is an array with a row for each example. What an example lacks is NaN, or told by
# `mask={name: bool array}`; a modality that nobody has may be left out. Here half of the training digits have
# no label.


# %%
def halves(data):
    x = data.examples
    return {"top": x[:, :4], "bottom": x[:, 4:], "label": data.labels.astype("float32")}


x_train, x_test = halves(train), halves(test)
x_train["label"][::2] = np.nan
print({name: values.shape for name, values in x_train.items()})

# %% [markdown]
# ## One encoder, one decoder and one likelihood for each
#
# The networks are yours. An encoder with the input `(10,)` of a modality that is `"categorical:10"` sees class
# numbers as one-hot vectors. q(z|x) combines what the encoders of those modalities say that are there, here by
# a product of Gaussians, and `"subset_elbo"` trains it for all modalities, for each alone, and for a pair that
# is drawn. A label is one number beside 64 pixels, so it gets a weight.


# %%
def encoder(shape):
    layers = [keras.layers.Flatten(), keras.layers.Dense(128, "relu")]
    return keras.Sequential([keras.Input(shape), *layers])


def decoder(latents, shape):
    layers = [keras.layers.Dense(128, "relu"), keras.layers.Dense(int(np.prod(shape)))]
    return keras.Sequential([keras.Input((latents,)), *layers, keras.layers.Reshape(shape)])


shapes = {"top": (4, 8, 1), "bottom": (4, 8, 1), "label": (10,)}
vae = kvae.VAE(
    encoders={name: encoder(shape) for name, shape in shapes.items()},
    decoders={name: decoder(16, shape) for name, shape in shapes.items()},
    likelihood={"top": "bernoulli", "bottom": "bernoulli", "label": "categorical:10"},
    latent_dim=16,
    posterior="product_of_experts",
    objective=kvae.objectives.SubsetELBO(weights={"label": 50.0}, num_subsets=1),
)
vae.compile(keras.optimizers.Adam(2e-3))
history = vae.fit(x_train, epochs=epochs, batch_size=64, verbose=0).history
print({name: round(float(values[-1]), 2) for name, values in history.items()})

# %% [markdown]
# ## Translate
#
# `translate` takes any modalities and returns others. Numbers are returned as their mean, classes as the most
# probable one, and with a `seed` z is drawn. Below are test digits whose upper half is given: the digit, and
# four draws of its lower half.

# %% alt="Test digits in the first column, and beside each four lower halves that were drawn for its upper half"
shown = {"top": x_test["top"][:6]}
draws = [vae.translate(shown, to="bottom", seed=seed) for seed in range(4)]
columns = [test.examples[:6], *(np.concatenate([shown["top"], d], axis=1) for d in draws)]


def picture(columns, width):
    rows = np.stack(columns, axis=1).reshape(-1, 8, 8)
    figure = Figure(figsize=(width, 3.6))
    axes = figure.subplots()
    tiles = kvae.plots.tile(rows, len(columns[0]), len(columns), gap=2, fill=0)
    axes.imshow(tiles, cmap="gray_r")
    axes.set_axis_off()
    return figure


picture(columns, 4)

# %% [markdown]
# The label can be asked of any part of the picture, and a picture of the label.

# %%
for given in (["top"], ["bottom"], ["top", "bottom"]):
    label = np.asarray(vae.translate({name: x_test[name] for name in given}, to="label"))
    print(f"label of {' and '.join(given)}: {np.mean(label == test.labels):.3f}")

# %% alt="Digits that were drawn for the labels 0 to 9, one row for each of two draws"
drawn = [vae.translate(label=np.arange(10), to=["top", "bottom"], seed=seed) for seed in (1, 2)]
images = [np.concatenate([one["top"], one["bottom"]], axis=1) for one in drawn]
picture(list(np.stack(images, axis=1)), 6)

# %% [markdown]
# These are a short training of small networks and half of the labels: they show how to ask, not what such
# models reach.
#
# ## Scores
#
# `log_prob` is log p of the modalities that are given, in nats, and `conditional_log_prob` that of some given
# others: log p(label|top) says how sure the model is of the right label. `coherence` counts how often a
# translation is of the right class, and with a classifier for each modality also how often draws from the
# prior agree. It draws z, so that its shares are below those of the mean above. The warnings are to be taken
# at their word: where the weights have a heavy tail, log p is too low.

# %%
few = {name: values[:50] for name, values in x_test.items()}
for given in (["label"], ["top", "bottom"], ["top", "bottom", "label"]):
    found = vae.log_prob({name: few[name] for name in given}, num_samples=1000)
    print(f"log p({', '.join(given)}) = {found.value.mean():.2f}")
known = {name: few[name] for name in ("top", "label")}
print(kvae.evaluation.conditional_log_prob(vae, known, given="top", num_samples=1000))
print(kvae.evaluation.coherence(vae, few, few["label"], {"label": lambda label: label}))

# %% [markdown]
# `impute` fills in all that is missing by importance sampling, `kvae.detection.Detector` finds examples whose
# modalities do not fit, and both take the same dicts.
#
# ## What each modality knows alone
#
# Pairs of pictures may share their subject and nothing else. Here are pairs of digits of one class in two
# hands: what they share is the class, and each hand is its own. `SharedAndPrivate` gives z three parts, one
# that both share and one for each. A decoder sees the shared part and that of its own modality.
#
# `"mmvae_plus"` draws the shared part from one picture at a time, and lets the other picture be made of it
# without its own latents. So the class has to be in the shared part, and the hand cannot be.


# %%
def pairs(data, partners):
    """Returns each digit as a left one, with so many others of its class as right ones."""
    rng, left = np.random.default_rng(0), np.repeat(np.arange(len(data)), partners)
    of_class = {label: np.flatnonzero(data.labels == label) for label in range(10)}
    right = [rng.choice(of_class[label]) for label in data.labels[left]]
    return {"left": data.examples[left], "right": data.examples[right]}


posterior = kvae.posteriors.SharedAndPrivate(
    {"left": 4, "right": 4}, shared="mixture_of_experts", absent="learned"
)
two = kvae.VAE(
    encoders={name: encoder((8, 8, 1)) for name in ("left", "right")},
    decoders={name: decoder(10, (8, 8, 1)) for name in ("left", "right")},
    latent_dim=14,  # 6 that are shared, and 4 for each.
    posterior=posterior,
    objective="mmvae_plus",
)
two.compile(keras.optimizers.Adam(1e-3))
history = two.fit(pairs(train, 8), epochs=-(-epochs // 4), batch_size=64, verbose=0).history
print({name: round(float(values[-1]), 2) for name, values in history.items()})

# %% [markdown]
# Below, the digits of the first column are given as the left one of a pair. The other columns are right ones
# that were drawn for them.

# %% alt="Test digits in the first column, and beside each five drawn partners"
left = test.examples[:6]
partners = [np.asarray(two.translate(left=left, to="right", seed=seed)) for seed in range(5)]
picture([left, *partners], 4.5)

# %% [markdown]
# Most are of the same class by another hand; some, as those of the last row, are not. How much of the class
# is in which part of a left picture is seen by a linear classifier of the part's mean.

# %%
codes, of_test = (two.encode({"left": data.examples}) for data in (train, test))
for part, name in (("shared", "shared_expert_means"), ("private", "left_z_mean")):
    fit, ask = (np.asarray(one[name]) for one in (codes, of_test))
    if part == "shared":
        fit, ask = fit[:, 0], ask[:, 0]  # That of the first encoder.
    linear = keras.Sequential([keras.Input(fit.shape[1:]), keras.layers.Dense(10)])
    linear.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    linear.fit(fit, train.labels, epochs=epochs, batch_size=256, verbose=0)
    guess = linear.predict(ask, verbose=0).argmax(axis=1)
    print(f"class by the {part} part: {np.mean(guess == test.labels):.3f}")

# %% [markdown]
# `objective="dmvae"` with a product of experts is another way to the same end: it reconstructs every picture
# from the shared latents of each, with its own private ones. [Methods](../METHODS.md) has all objectives for
# several modalities.
#
# ## Export
#
# A SavedModel has one input for each modality, all of which may be left out, so that every subset is answered
# by the same signatures. Files for LiteRT and ONNX Runtime hold the part `translate`.
#
# ```python
# path = export.saved_model(vae, "serving/digits")
# client = export.Client("http://localhost:8501", "digits")          # kvae serve serving/digits
# client.translate({"top": x_test["top"]}, to=["bottom", "label"])
# client.score({"label": [3, 7]}).log_prob
# export.onnx(vae, "translate.onnx", part="translate")
# ```
#
# ## What is refused

# %%
for call in (
    lambda: vae.translate(picture=x_test["top"], to="label"),
    lambda: vae.encode(test.examples),
    lambda: vae.encode({"top": test.examples}),
    lambda: kvae.posteriors.SharedAndPrivate({"left": 4}, shared="iaf"),
):
    try:
        call()
    except ValueError as error:
        print(error, end="\n\n")
