# %% [markdown]
# # Anomalies
#
# A model that has seen normal examples knows how probable a new one is. This guide turns that into a
# verdict: which examples are unusual, how many false alarms there will be, and where in an example the
# trouble is.

# %%
import tempfile

import keras
import numpy as np
from matplotlib.figure import Figure

import export
import kvae
import zoo

keras.utils.set_random_seed(1)
epochs = 80  # quick: 1
samples = 64  # quick: 4
train, held_out, test = (
    kvae.datasets.load("digits", split, binarize="static")
    for split in ("train", "validation", "test")
)

# %% [markdown]
# The normal examples are the digits from 0 to 8. Nines are the anomalies, and the model never sees one.


# %%
def without_nines(data):
    return np.asarray(data.examples)[np.asarray(data.labels) != 9]


vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=8, hidden=(128,), seed=1)
vae.compile(keras.optimizers.Adam(1e-3))
history = vae.fit(without_nines(train), epochs=epochs, verbose=0).history
print(f"ELBO {history['elbo'][-1]:.2f} nats, from {history['elbo'][0]:.2f}")

# %% [markdown]
# ## Score, threshold, verdict
#
# A `Detector` scores each example in nats: the higher, the more unusual. By default the score is
# −log p(x), estimated by importance sampling. `fit` takes normal examples **that the model was not
# trained on** and sets the threshold by them. A model knows its training examples better than others,
# so that a threshold set by those would raise more false alarms than promised.
#
# The p-value of an example is the share of normal ones that are at least as unusual. An example is
# flagged where it is at most the `false_alarm_rate`. If new normal examples are like those of `fit`,
# the promise holds whatever the model is worth, in the mean over many calibrations; a poor model finds
# fewer anomalies, but it does not raise more alarms.

# %%
detector = kvae.detection.Detector(vae, num_samples=samples, false_alarm_rate=0.1)
detector.fit(without_nines(held_out))

x, is_nine = np.asarray(test.examples), np.asarray(test.labels) == 9
found = detector.detect(x)
print(found)
print(f"normal digits flagged: {found.is_anomaly[~is_nine].mean():.0%}")
print(f"nines flagged: {found.is_anomaly[is_nine].mean():.0%}")

# %% [markdown]
# The noise of the scores depends on the detector's `seed` alone. The same example has the same score to
# the bit, alone or among others, before and after saving, and in another process.
#
# ## Which score
#
# The area under the ROC curve is the probability that a nine has a higher score than another digit.


# %%
def area(score):
    nines, others = score[is_nine], score[~is_nine]
    return (nines[:, None] > others).mean() + 0.5 * (nines[:, None] == others).mean()


for name, meaning in kvae.detection.SCORES.items():
    other = kvae.detection.Detector(vae, name, num_samples=samples, false_alarm_rate=0.1)
    other.fit(without_nines(held_out))
    print(f"{name:15}{area(other.score(x)):.3f}   {meaning}")

# %% [markdown]
# - `log_prob` weighs all there is, and is the one to start with.
# - `elbo` needs fewer samples, and is near it where the posterior fits.
# - `reconstruction` asks only whether the code can rebuild the example. A powerful decoder rebuilds
#   anomalies, too. It is the only score of an autoencoder.
# - `kl` asks only whether the code lies where codes are expected.
# - `typicality` flags what is too probable as well. An empty image can be more probable than any digit,
#   and is not a digit. Deep models give some foreign data a higher density than their own
#   ([Nalisnick et al.](https://arxiv.org/abs/1810.09136)).
#
# The last detector that was fitted is the one that the model keeps, so the first one is fitted again.

# %%
detector.fit(without_nines(held_out))
blank = np.zeros((1, 8, 8, 1), "float32")
print("p-value of an empty image:", detector.detect(blank).p_value[0])

# %% [markdown]
# ## Where
#
# `map` says what each pixel costs, in nats. Its sum is the reconstruction term. Below, one pixel at the
# left or right border of each digit was turned on, where digits hardly ever have ink. (A wrong pixel in
# the middle, where there may be ink or not, costs no more than the uncertain edges of a digit do.)

# %% alt="Digits with one wrong pixel at the border each, and the map of the nats of each pixel"
rng = np.random.default_rng(0)
broken = x[~is_nine][:10].copy()
rows, columns = rng.integers(0, 8, 10), rng.choice([0, 7], 10)
broken[np.arange(10), rows, columns] = 1.0
where = detector.map(broken)[..., 0]

dearest = where.reshape(10, -1).argmax(axis=1)
print(f"the dearest pixel is the wrong one in {(dearest == 8 * rows + columns).sum()} of 10 digits")


def picture():
    figure = Figure(figsize=(8, 2))
    upper, lower = figure.subplots(2, 1)
    upper.imshow(kvae.plots.tile(broken[..., 0], 1, 10, gap=2, fill=0), cmap="gray_r")
    lower.imshow(kvae.plots.tile(where, 1, 10, gap=2, fill=0), cmap="magma")
    for axes in (upper, lower):
        axes.set_axis_off()
    return figure


picture()

# %% [markdown]
# ## Into use
#
# The model keeps the threshold. `detector.save` writes one `.keras` file, `Detector(load_model(path))`
# goes on with it, and exports have the signature `detect`: score, p-value, verdict and map, with the
# bits of the detector.

# %%
with tempfile.TemporaryDirectory() as folder:
    detector.save(f"{folder}/detector.keras")
    again = kvae.detection.Detector(kvae.load_model(f"{folder}/detector.keras"))
    assert (again.score(x[:5]) == detector.score(x[:5])).all()
    export.saved_model(vae, f"{folder}/served", signatures=["detect"])
    with export.DevelopmentServer({"digits": f"{folder}/served"}, port=0) as server:
        answer = export.Client(server.url, "digits").detect(x[is_nine][:3])
print("p-values of three nines, from a server:", answer.p_value)

# %% [markdown]
# The command line does the same with files:
#
# ```
# kvae detect runs/parts/model.keras --data new --normal good --save detector.keras
# kvae detect detector.keras --data new -o verdicts.csv --map where.npy
# kvae export detector.keras -f repository models
# ```
#
# `python -m benchmarks.detection` compares detectors of MNIST digits and of two tables with those of
# pyod and scikit-learn.
