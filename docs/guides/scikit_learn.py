# %% [markdown]
# # In scikit-learn
#
# `kvae.sklearn` has five estimators for tables. They take arrays and frames of rows, and are used like
# any other estimator: in pipelines, searches and column transformers. This guide asks one table five
# questions.

# %%
import pickle

import numpy as np
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

import kvae.sklearn

epochs = 300  # quick: 2
samples = 64  # quick: 4
x, y = load_wine(return_X_y=True)
train, test, train_y, test_y = train_test_split(x, y, random_state=0, stratify=y)
print(train.shape, test.shape, "from", x.min().round(2), "to", x.max())

# %% [markdown]
# The columns have very different scales. The likelihood that is the default, `"gaussian:learned"`,
# standardizes them inside the model, so that no scaler is needed, and rows come back in their own units.
#
# ## Codes
#
# `VAETransformer` reduces the 13 columns to a few. `transform` returns the means of the posterior.

# %%
codes = kvae.sklearn.VAETransformer(latent_dim=3, epochs=epochs, random_state=0)
chain = make_pipeline(codes, LogisticRegression(max_iter=1000))
chain.fit(train, train_y)
print(f"accuracy on three codes: {chain.score(test, test_y):.3f}")
print(codes.get_feature_names_out())
print(codes.inverse_transform(codes.transform(test[:1])).round(1)[0])

# %% [markdown]
# ## Density
#
# `VAEDensity` estimates log p(x) in nats, by importance sampling, and draws new rows. `score` is the mean
# of log p(x), so that a search finds the number of latents without any labels.

# %%
search = GridSearchCV(
    kvae.sklearn.VAEDensity(epochs=epochs, num_samples=samples, random_state=0),
    {"latent_dim": [1, 3]},
    cv=2,
)
search.fit(train)
print(search.best_params_, f"{search.best_score_:.2f} nats")
print(search.best_estimator_.sample(2, random_state=1).round(1))

# %% [markdown]
# ## Outliers
#
# `VAEOutlierDetector` has two ways to say where the threshold lies. With `contamination`, a share of the
# training rows are outliers. With `false_alarm_rate`, all training rows are normal: a part of them is held
# out from the training, and sets the threshold so that at most this share of new normal rows is flagged.
# Below, the first two cultivars are normal.

# %%
normal = train[train_y != 2]
detector = kvae.sklearn.VAEOutlierDetector(
    epochs=epochs,
    num_samples=samples,
    false_alarm_rate=0.1,
    calibration_fraction=0.3,
    random_state=0,
).fit(normal)
flagged = detector.predict(test) == -1
print(
    f"third cultivar flagged: {flagged[test_y == 2].mean():.0%}, "
    f"others: {flagged[test_y != 2].mean():.0%}"
)

# %% [markdown]
# `detector_` is the `kvae.detection.Detector` behind it, which gives p-values and says which columns of a
# row are unusual, in nats.

# %%
unusual = test[test_y == 2][:1].astype("float32")
print("p-value:", detector.detector_.detect(unusual).p_value)
where = detector.detector_.map(unusual)[0]
print("most unusual column:", load_wine().feature_names[where.argmax()])

# %% [markdown]
# ## Missing values
#
# `VAEImputer` trains on incomplete rows and fills their gaps with the expected values.

# %%
rng = np.random.default_rng(0)
gaps = np.where(rng.random(train.shape) < 0.3, np.nan, train)
imputer = kvae.sklearn.VAEImputer(epochs=epochs, num_samples=samples, random_state=0)
filled = imputer.fit_transform(gaps)
deviation = (filled - train) / train.std(axis=0)
mean = (np.nanmean(gaps, axis=0) - train) / train.std(axis=0)
missing = np.isnan(gaps)
print(
    f"squared error {np.mean(deviation[missing] ** 2):.2f}, "
    f"of the mean {np.mean(mean[missing] ** 2):.2f}"
)

# %% [markdown]
# ## Few labels
#
# `VAEClassifier` learns classes from few labels. Those that are not known are -1, as for
# `sklearn.semi_supervised`; their rows still teach the model what rows look like.

# %%
few = np.full(len(train_y), -1)
for number in range(3):
    few[np.flatnonzero(train_y == number)[:3]] = number
classifier = kvae.sklearn.VAEClassifier(epochs=epochs, random_state=0).fit(train, few)
print(f"accuracy with {np.sum(few >= 0)} labels: {classifier.score(test, test_y):.3f}")

# %% [markdown]
# ## Keeping one
#
# Estimators pickle, and joblib takes them as well; the model travels as the bytes of a `.keras` file. The
# model itself is `vae_`, a `kvae.VAE` like any other: it saves, samples, is measured and is exported.

# %%
again = pickle.loads(pickle.dumps(classifier))
print((again.predict(test) == classifier.predict(test)).all())
vae = classifier.vae_
print(vae.sample(2, label=1, seed=0).numpy().round(1))
