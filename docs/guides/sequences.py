# %% [markdown]
# # Sequences
#
# Signals stop early, sensors drop out, sentences have as many words as they need. This guide trains on
# sequences of different lengths, fills gaps in them, forecasts, and writes sentences.

# %%
import tempfile

import keras
import numpy as np
from matplotlib.figure import Figure

import export
import kvae
import zoo
from kvae.datasets.catalog import grammar

keras.utils.set_random_seed(1)
epochs = 30  # quick: 1
samples = 100  # quick: 5
limit = 1500  # quick: 64
signals = kvae.datasets.load("signals", "train").x[:limit]
test = kvae.datasets.load("signals", "test").x[:100]

# %% [markdown]
# ## Sequences of different lengths
#
# A model has a longest length, its `event_shape`, and takes whatever is shorter. Here each signal is cut
# after 24 to 64 steps.

# %%
rng = np.random.default_rng(0)
sequences = [signal[: rng.integers(24, 65)] for signal in signals]
print([len(one) for one in sequences[:8]])

vae = zoo.build("timeseries_vae", event_shape=(64, 1), latent_dim=8, missing="zero:mask", seed=1)
vae.compile(keras.optimizers.Adam(2e-3))
history = vae.fit(sequences, epochs=epochs, batch_size=64, verbose=0).history
print(f"ELBO {history['elbo'][-1]:.1f} nats, from {history['elbo'][0]:.1f}")

# %% [markdown]
# Behind this stands one mechanism: the steps after the end of a sequence were *not observed*, as any other
# missing value. They are NaN in an array, and `missing` says what the encoder sees there
# ([Missing values](missing.ipynb)). log p(x) is that of the steps there are. All these say the same:
#
# | form | in `fit`, `encode`, `log_prob`, … |
# |---|---|
# | list of arrays `[steps, channels]` or `[steps]` | `sequences` |
# | ragged tensor | `tf.ragged.stack(sequences)` |
# | array with NaN after the end | `kvae.datasets.padded(sequences)` |
# | array with any padding, and a mask or lengths | `{"x": x, "mask": mask}`, `{"x": x, "lengths": lengths}` |
# | `tf.data` of padded or ragged batches, in buckets of any length | `dataset.padded_batch(64, padding_values=np.float32("nan"))` |

# %%
x = kvae.datasets.padded(sequences[:4])
lengths = np.array([len(one) for one in sequences[:4]])
one = vae.encode(sequences[:4])["z_mean"]
other = vae.encode({"x": np.nan_to_num(x, nan=99.0), "lengths": lengths})["z_mean"]
print("largest difference:", np.abs(one - other).max())

# %% [markdown]
# ## Gaps and forecasts
#
# `impute` fills in what was not observed. A gap lies within a signal; a forecast is an imputation of the
# steps to come. Multiple imputations are draws of what may have been.

# %% alt="Four test signals with a gap and an end; the signals, the single imputation and ten draws"
known = test.copy()
known[:, 14:24] = np.nan
known[:, 48:] = np.nan
filled = vae.impute(known, num_samples=samples)
draws = vae.impute(known, num_samples=samples, num_imputations=10, seed=1).value
hidden = np.isnan(known)
print(f"error of hidden steps {np.sqrt(np.mean((filled.value - test)[hidden] ** 2)):.3f}")
print(f"spread of the signals {test.std():.3f}")


def picture(rows=4):
    figure = Figure(figsize=(9, 4))
    for axes, row in zip(figure.subplots(2, 2, sharex=True).flat, range(rows), strict=True):
        axes.plot(draws[:, row, :, 0].T, color="tab:blue", alpha=0.15)
        axes.plot(filled.value[row], color="tab:blue", label="imputation")
        axes.plot(test[row], "k:", label="the signal")
        axes.plot(known[row], "k", label="observed")
    figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=3)
    return figure


picture()

# %% [markdown]
# The model has trained for a minute or two, on signals that end early and have no gaps. [Tasks](../TASKS.md#sequences)
# has the figures of a longer training on signals with gaps, beside Kalman smoothers.
#
# ## Recurrent networks of your own
#
# Where an encoder has layers that take Keras's mask, such as `LSTM`, `GRU` and `Bidirectional`, they get it:
# they do not read what comes after the end. Layers in between have to pass the mask on; Keras warns of those
# that do not, such as `Conv1D`. Gaps within a sequence are steps like others, and with `"zero:mask"` the
# encoder sees where they are, as a further channel. `zoo.build("sequence_vae")` makes such a model.

# %%
encoder = keras.Sequential([keras.Input((64, 2)), keras.layers.LSTM(16)])
decoder = keras.Sequential(
    [
        keras.Input((4,)),
        keras.layers.RepeatVector(64),
        keras.layers.GRU(16, return_sequences=True),
        keras.layers.Dense(1),
    ]
)
mine = kvae.VAE(encoder, decoder, 4, likelihood="gaussian:learned", missing="zero:mask")
short = sequences[0][None]
longer = kvae.datasets.padded(short, steps=64)
print(np.abs(mine.encode(short)["z_mean"] - mine.encode(longer)["z_mean"]).max())

# %% [markdown]
# ## Symbols
#
# Words, events and codes are whole numbers. The likelihood `Autoregressive` writes them one after the other:
# a recurrent network reads the symbol before each step beside what the decoder says of z. In training and in
# evaluation it reads the symbols of x; in `sample` those that it has drawn.
#
# The data are sentences of a small grammar, of which every probability is known. A sentence keeps to a topic
# and a tense, which is what z can tell.

# %%
sentences = kvae.datasets.load("grammar", "train")[: 2 * limit]
held_out = kvae.datasets.load("grammar", "validation")
print(*grammar.as_text(sentences.x[:4]), sep="\n")

text = zoo.build(
    "symbol_vae",
    event_shape=(32, 1),
    num_symbols=len(grammar.WORDS),
    end=grammar.END,
    latent_dim=4,
    width=48,
    word_dropout=0.2,
    free_bits=2.0,
    seed=1,
)
text.compile(keras.optimizers.Adam(5e-3))
text.fit(sentences, epochs=max(1, epochs // 5), batch_size=64, verbose=0)
terms = text.evaluate(held_out, return_dict=True, verbose=0)
count = sum(len(one) for one in kvae.datasets.unpadded(held_out.x))
own = [grammar.log_prob(one[:, 0].astype(int)) for one in kvae.datasets.unpadded(held_out.x)]
print(f"nats per symbol, by the ELBO: {-terms['elbo'] * len(held_out) / count:.3f}")
print(f"the grammar's own:            {-np.sum(own) / count:.3f}")
print(f"KL: {terms['kl']:.2f} nats; topic and tense are {np.log(6):.2f}")

# %% [markdown]
# A decoder that knows the words before can do without z, and then the KL is 0: the posterior has collapsed.
# Against this stand word dropout (the network has to do without some of the words before), free bits (that
# much of the KL costs nothing), and, for other data, a warm-up of β (`kvae.schedules.Linear`).

# %%
print(*grammar.as_text(text.sample(4, seed=1, output="sample")), sep="\n")
start, end = (text.encode(sentences.x[i : i + 1])["z_mean"] for i in (0, 3))
print("\nfrom one sentence to another, the greedy choice at each step:")
for share in (0.0, 0.5, 1.0):
    print(*grammar.as_text(text.decode((1 - share) * start + share * end)), sep="\n")

# %% [markdown]
# Here a word is missing, and there the rest of a sentence. Imputations of a gap are weighed by the words that
# follow it, not only by those before.

# %%
gap = sentences.x[:1].copy()
gap[0, 1] = np.nan
begun = np.where(np.arange(32)[:, None] < 3, sentences.x[1:2], np.nan)
for x in (gap, begun):
    print(*grammar.as_text(x))
    found = text.impute(x, num_samples=samples, num_imputations=3, seed=1)
    print(*("    " + one for one in grammar.as_text(found.value[:, 0])), sep="\n")

# %% [markdown]
# ## Export
#
# An exported model has a fixed maximum length. Shorter sequences are sent padded, with NaN after their end,
# or to `impute` with a mask. Recurrent layers are unrolled up to 64 steps, so that TFLite's own operators
# suffice.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = export.saved_model(text, f"{folder}/sentences", signatures=["encode", "generate"])
    print(export.verify(path, text))

# %% [markdown]
# ## What is refused

# %%
for call in (
    lambda: vae.encode([np.ones((3, 1)), np.ones((65, 1))]),
    lambda: vae.encode([np.ones((3, 1)), np.ones((0, 1))]),
    lambda: vae.encode([np.ones((3, 1)), np.ones((5, 2))]),
    lambda: vae.encode({"x": test[:2], "lengths": [10, 0]}),
    lambda: vae.encode({"x": test[:2], "mask": np.ones((2, 10), bool)}),
    lambda: text.log_prob([[1, 2, 99]]),
):
    try:
        call()
    except ValueError as error:
        print(error, end="\n\n")
