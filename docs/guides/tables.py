# %% [markdown]
# # Tables
#
# A table has numbers with units, counts, categories, dates, gaps, and columns that mean nothing. This
# guide goes from a frame to a model of all its columns, and from the model to rows like the given ones,
# rows under conditions, filled gaps, and a report that says how good they are.

# %%
import keras
import numpy as np
import pyarrow
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes

import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 300  # quick: 1
samples = 10_000  # quick: 500
rows = 442  # quick: 120
bunch = load_diabetes(scaled=False)

# %% [markdown]
# ## From a frame to numbers
#
# Frames of pandas, polars and pyarrow are read alike (`pip install 'keras-kvae[tables]'`). Here it is a
# table of pyarrow: the 442 patients of scikit-learn's diabetes table, with the sex as a category, a
# column that is the same for all, and some measurements that are missing.

# %%
rng = np.random.default_rng(0)
columns = {name: bunch.data[:rows, place] for place, name in enumerate(bunch.feature_names)}
columns["sex"] = np.array(["a", "b"])[columns["sex"].astype(int) - 1]
columns["age"] = columns["age"].astype(int)
columns["bmi"] = pyarrow.array(columns["bmi"], mask=rng.random(rows) < 0.1)
columns["progression"] = bunch.target[:rows].astype(int)
columns["clinic"] = ["north"] * rows
frame = pyarrow.table(columns)

table = kvae.tables.Table.from_frame(frame)
for column in table.schema.all_columns:
    print(f"{column.name:12} {column.kind:18} {column.dtype}")

# %% [markdown]
# Each column got a likelihood that suits its values. `kinds={"s4": "gaussian"}` says otherwise where a
# guess is wrong, and `"ignore"` leaves a column out, such as names and numbers of patients. A column that
# holds one value is kept aside: nothing can be learned from it, but it comes back.
#
# `table.x` holds the numbers, and `table.inverse` makes a frame of them again, with the types and the
# bounds of the one that came in.

# %%
print(table.x.shape, f"{np.isnan(table.x).sum()} values are missing")
print(table.inverse(table.x[:3]).to_pylist()[0])

# %% [markdown]
# ## Train
#
# `table.likelihood()` is the product of the columns' likelihoods. A table is a `Dataset`, so it goes to
# `fit` as it is. The model keeps what the columns stand for (`vae.schema`), in its file and in its exports.

# %%
order = rng.permutation(rows)
train, test = table.take(order[rows // 5 :]), table.take(order[: rows // 5])
vae = zoo.build(
    "tabular_vae",
    event_shape=table.event_shape,
    latent_dim=8,
    likelihood=table.likelihood(),
    missing="mean:mask",
    seed=1,
)
vae.compile(keras.optimizers.Adam(1e-3))
vae.fit(train, epochs=epochs, batch_size=32, verbose=0)
print(f"log p(x) of the test rows: {vae.log_prob(test, 200).value.mean():.2f} nats")

# %% [markdown]
# ## Rows like the given ones
#
# Draw with `output="sample"`: the mean of a category is no category.

# %%
drawn = np.asarray(vae.sample(len(train), seed=1, output="sample"))
for row in table.inverse(drawn).slice(0, 3).to_pylist():
    print(row)

# %% [markdown]
# ## How good are they?
#
# The report compares drawn rows with rows that the model has not seen: columns one by one and in pairs, a
# classifier that tries to tell them apart, what can be learned from them, and whether they are copies.

# %%
report = kvae.tables.report(table.schema, train, drawn, test, target="progression")
print(report)

# %% [markdown]
# On the command line it is `kvae evaluate model.keras --data people.csv --table`.
#
# ## Rows under conditions
#
# A model of all columns answers for any of them: `given` draws rows in which some columns have the
# values that you name. It weighs draws of the prior by p(values | z), and says how many of them carry the
# weight. Where these are few, it warns.

# %%
thin, stout = (
    kvae.tables.given(vae, {"bmi": bmi, "sex": "a"}, n=400, num_samples=samples, seed=1)
    for bmi in (20.0, 35.0)
)
print(
    f"effective sample sizes: {thin.effective_sample_size:.0f}, {stout.effective_sample_size:.0f}"
)

# %% alt="Histograms of the progression of the disease in rows with a body mass index of 20 and of 35."
place = [column.name for column in table.schema.columns].index("progression")


def histograms():
    figure = Figure(figsize=(6, 2.5))
    axes = figure.subplots()
    for found, bmi in ((thin, 20), (stout, 35)):
        axes.hist(found.value[:, place], bins=20, range=(0, 350), alpha=0.6, label=f"bmi {bmi}")
    axes.set_xlabel("progression")
    axes.legend()
    return figure


histograms()

# %% [markdown]
# On the command line: `kvae sample model.keras --rows 400 --given bmi=35,sex=a --output stout.csv`.
#
# ## Gaps
#
# The model was made with `missing=`, so that it trained on what there was. `impute` fills the gaps of any
# rows, and leaves the observed values as they are.

# %%
bmi = [column.name for column in table.schema.columns].index("bmi")
gaps = test.x.copy()
hidden = ~np.isnan(gaps[:, bmi])
gaps[:, bmi] = np.nan
filled = vae.impute(gaps, num_samples=200, seed=1)
error = np.abs(filled.value[:, bmi] - test.x[:, bmi])[hidden].mean()
plain = np.abs(np.nanmean(train.x[:, bmi]) - test.x[:, bmi])[hidden].mean()
print(f"mean error of the body mass index: {error:.2f}; of the mean of all: {plain:.2f}")

# %% [markdown]
# ## What is refused
#
# A category that the training has not seen has no number, and the error names its row.

# %%
try:
    kvae.tables.Table.from_frame(
        frame.set_column(frame.column_names.index("sex"), "sex", [["c"] * rows]),
        schema=table.schema,
    )
except ValueError as error:
    print(error)

# %% [markdown]
# A served model takes and returns the cells of the table themselves: the signatures `encode_table` and
# `generate_table` of `export.saved_model`, described in [Export](../EXPORT.md).
