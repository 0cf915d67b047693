# %% [markdown]
# # Missing values
#
# Sensors fail, people leave questions out, scans have holes. A model of p(x) knows what the rest of an
# example says about a gap, and how sure of it one may be. This guide trains on incomplete data, fills
# gaps, measures the answers, and shows what is refused.

# %%
import keras
import numpy as np
from matplotlib.figure import Figure

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 60  # quick: 1
samples = 500  # quick: 20
limit = None  # quick: 150
train = kvae.datasets.load("digits", "train", binarize="dynamic")[:limit]
test = kvae.datasets.load("digits", "test", binarize="static")[:100]

# %% [markdown]
# ## Say what was not observed
#
# A model takes missing values with `missing=`, which says what its encoder sees in the place of a gap:
# `"zero"`, the `"mean"` of the training data at that place, or a `"learned"` value. With `"zero:mask"`
# and the like the encoder also sees where the gaps are, as further channels.
#
# What was not observed is NaN in x, or False in a `mask` beside x (True stands for observed). `fit`,
# `evaluate`, `encode`, `reconstruct`, `log_prob` and `impute` take either, and so do batches
# `{"x": x, "mask": mask}` and `kvae.datasets.Dataset(x, mask=mask)`. Values under a False are never
# looked at.
#
# Here half of the pixels of every training image are hidden, at random.

# %%
rng = np.random.default_rng(0)
observed = rng.random(train.x.shape) < 0.5
incomplete = train.masked(observed)

vae = zoo.build(
    "dense_vae",
    event_shape=(8, 8, 1),
    latent_dim=8,
    hidden=(128,),
    objective="iwae:num_samples=5",
    missing="zero:mask",
    seed=1,
)
vae.compile(keras.optimizers.Adam(2e-3))
history = vae.fit(incomplete, epochs=epochs, verbose=0).history
print(f"bound on log p(x_obs): {history['iwae'][-1]:.2f} nats, from {history['iwae'][0]:.2f}")

# %% [markdown]
# The likelihood sums over the observed values alone, so all figures are of log p(x_obs). With
# `objective="iwae"` training maximizes the bound that Mattei and Frellsen call MIWAE. The assumption
# behind it is that values are missing *at random*: that a value is missing may depend on what was
# observed, and not on the value itself.
#
# ## Fill a gap
#
# `impute` draws codes from q(z|x_obs) and weighs them by p(x_obs|z) p(z) / q(z|x_obs). A single
# imputation is the weighted mean. Observed values come back bit for bit.

# %% alt="Test digits of which the right half is missing, the mean imputation, and two draws"
mask = np.ones(test.x.shape, bool)
mask[:, :, 4:] = False
x = test.examples
filled = vae.impute(x, mask, num_samples=samples)
draws = vae.impute(x, mask, num_samples=samples, num_imputations=2, seed=1)
assert (filled.value[mask] == x[mask]).all()


def picture(*rows):
    images = np.concatenate([row[:10] for row in rows])[..., 0]
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    axes.imshow(kvae.plots.tile(images, len(rows), 10, gap=2, fill=0), cmap="gray_r")
    axes.set_axis_off()
    return figure


picture(x, np.where(mask, x, 0.5), filled.value, *draws.value)

# %% [markdown]
# From the top: the images, what the model was shown, the single imputation, and two of the multiple
# imputations. The mean is grey where the model is in doubt. Multiple imputations are draws from
# p(x_mis|x_obs): each is an image that may have been, and their spread is the uncertainty. Whoever goes
# on to compute something of filled data computes it for each of several imputations.
#
# The *effective sample size* says how many of the samples carry the weight. Where it is near 1, give
# more `num_samples`.

# %%
size = filled.effective_sample_size
median, least = np.median(size), size.min()
print(f"effective sample size: {median:.0f} of {samples} at the median, {least:.0f} least")
error = np.mean((filled.value - x)[~mask] ** 2)
mean = np.nanmean(incomplete.examples, axis=0)
of_mean = np.mean((mean - x)[~mask] ** 2)
print(f"squared error of hidden pixels {error:.4f}, of the mean image {of_mean:.4f}")

# %% [markdown]
# Squared errors judge means only. How probable the model finds what was hidden is
# log p(x_mis|x_obs) = log p(x) − log p(x_obs).

# %%
whole = vae.log_prob(x, num_samples=samples).value
part = vae.log_prob(x, mask=mask, num_samples=samples).value
print(f"NLL of the hidden half: {np.mean(part - whole):.2f} nats")

# %% [markdown]
# ## A model that was trained on complete data
#
# It knows p(x), and so p(x_mis|x_obs); what it lacks is a posterior for incomplete x. `with_missing`
# gives it a fill. Importance sampling corrects the encoder's guess as far as its samples reach, and a
# short training of the encoder alone makes the guess a good one.

# %%
known = zoo.load("dense_vae.digits").with_missing("zero")
before = known.impute(x, mask, num_samples=samples)
known.freeze("decoder")
known.compile(keras.optimizers.Adam(1e-3))
known.fit(incomplete, epochs=epochs, verbose=0)
after = known.impute(x, mask, num_samples=samples)
for name, one in (("before", before), ("after", after)):
    error = np.mean((one.value - x)[~mask] ** 2)
    print(
        f"{name:6}: squared error {error:.4f}, median effective sample size "
        f"{np.median(one.effective_sample_size):.0f}"
    )

# %% [markdown]
# ## Tables
#
# In a CSV or Parquet file empty cells, and NA, NaN, null, None and ?, stand for what was not observed:
#
# ```sh
# kvae train tabular_vae --data people.csv --missing mean:mask -o runs/people
# kvae impute runs/people/model.keras --data people.csv -o filled.csv
# kvae impute runs/people/model.keras --data people.csv --imputations 5 -o draws.csv
# ```
#
# `kvae impute` writes the same table with the gaps filled. A class is filled with the most probable one,
# a count with the whole number nearest to its mean.

# %%
x = rng.normal(size=(400, 1)) @ [[1.0, -1.0, 0.5]] + 0.1 * rng.normal(size=(400, 3))
table = np.column_stack([x, x[:, 0] > 0]).astype("float32")
gaps = rng.random(table.shape) < 0.2
rows = np.where(gaps, np.nan, table)
people = zoo.build(
    "tabular_vae",
    event_shape=(4,),
    latent_dim=2,
    columns=[("gaussian",)] * 3 + [("bernoulli",)],
    standardize=True,
    missing="mean:mask",
)
people.compile(keras.optimizers.Adam(2e-3))
people.fit(rows, epochs=2 * epochs, batch_size=32, verbose=0)
found = np.asarray(people.impute(rows, num_samples=samples))
for column in range(4):
    own = gaps[:, column]
    error, spread = np.std((found - table)[own, column]), np.std(table[:, column])
    print(f"column {column}: error {error:.2f}, standard deviation {spread:.2f}")

# %% [markdown]
# ## What is refused
#
# NaN by accident does not train: a model without `missing` refuses it, with the option in the message.
# Infinite values are no gaps. A row of which nothing was observed is one that says nothing:
# log p = 0, and its best guess is the prior.

# %%
plain = zoo.build("tabular_vae", event_shape=(4,), latent_dim=2)
plain.compile("adam")
for call in (
    lambda: plain.fit(rows),
    lambda: people.impute(np.where(gaps, np.inf, table)),
    lambda: people.impute(table, mask=gaps[:, :2]),
):
    try:
        call()
    except ValueError as error:
        print(error, end="\n\n")
nothing = np.full((1, 4), np.nan)
print("log p of nothing:", people.log_prob(nothing, num_samples=10).value, people.encode(nothing))
