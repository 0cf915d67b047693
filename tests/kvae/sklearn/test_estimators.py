"""The estimators of scikit-learn: its own checks, and what each of them promises beside these."""

import collections
import functools
import io
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import kvae
import kvae.sklearn as ks
from kvae.detection import SCORES

SMALL = {"epochs": 1, "hidden": (4,), "random_state": 0}
MAKE = {
    "transformer": functools.partial(ks.VAETransformer, **SMALL),
    "density": functools.partial(ks.VAEDensity, **SMALL, device="cpu"),
    "outlier_detector": functools.partial(ks.VAEOutlierDetector, **SMALL, num_samples=8),
    "imputer": functools.partial(ks.VAEImputer, **SMALL, num_samples=32),
    "classifier": functools.partial(ks.VAEClassifier, **SMALL),
}
# What makes it learn enough for scikit-learn's checks.
LEARNS = {"classifier": {"epochs": 30, "batch_size": 1000, "learning_rate": 0.05}}
# Checks that an estimator cannot pass, and why.
FAILS = {
    "classifier": {
        "check_classifiers_classes": "it names a class -1, which stands for an unknown label here"
    }
}
# What scikit-learn's checks may skip: its array API takes an environment variable, and its check of
# frames takes pandas.
SKIPPED = {"check_array_api_input", "check_classifier_data_not_an_array"}
# Those of its checks that train nothing.
CHEAP = {
    "check_complex_data",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimator_tags_renamed",
    "check_estimators_empty_data_messages",
    "check_estimators_unfitted",
    "check_fit1d",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_outlier_contamination",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_transformers_unfitted",
    "check_valid_tag_types",
}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    return rng.normal(size=(40, 2)) @ rng.normal(size=(2, 5)) + 100.0


@pytest.fixture(scope="module")
def gaps(rows):
    x = rows.copy()
    x[::3, 1] = x[1, 3:] = np.nan
    return x


@pytest.fixture(scope="module")
def fitted(rows, gaps):
    """Each estimator, when it is asked for first; with `eagerly`, which makes a fit cheap."""

    @functools.cache
    def of(name):
        return MAKE[name]().fit(gaps if name == "imputer" else rows, np.arange(len(rows)) % 3)

    return of


def outputs(estimator, x):
    names = ("transform", "decision_function", "score_samples", "predict")
    return {name: getattr(estimator, name)(x) for name in names if hasattr(estimator, name)}


def unchanged(model):
    """Parameters with which a training leaves a given model as it was."""
    options = {"learning_rate": 0.0, "epochs": 1, "random_state": 0}
    return {"architecture": lambda **parts: model, **options}


@pytest.mark.parametrize("name", MAKE)
def test_scikit_learn_s_checks_that_train_nothing(name):
    ran = set()
    for estimator, check in estimator_checks_generator(MAKE[name]()):
        if (called := getattr(check, "func", check).__name__) in CHEAP:
            check(estimator)
            ran.add(called)
    assert len(ran) > 14


@pytest.mark.slow  # Hundreds of trainings; the checks that train none are default tests.
@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", MAKE)
def test_all_checks_of_scikit_learn(name, eager, request):
    if eager:
        request.getfixturevalue("eagerly")
        estimator = MAKE[name](**LEARNS.get(name, {}))
    else:
        estimator = MAKE[name](hidden=(64,), num_samples=64, **LEARNS.get(name, {}))
    expected = FAILS.get(name, {})
    options = {"expected_failed_checks": expected, "on_skip": None, "on_fail": None}
    found = check_estimator(estimator, **options)
    names = collections.defaultdict(set)
    for result in found:
        names[result["status"]].add(result["check_name"])
    assert names["failed"] == set() and names["xfail"] == set(expected)
    assert len(found) > 35 and names["skipped"] <= SKIPPED


def test_codes_are_the_posteriors_means_and_rows_come_back(eagerly, fitted, rows):
    codes = fitted("transformer")
    z = codes.transform(rows)
    np.testing.assert_array_equal(z, np.float64(codes.vae_.encode(np.float32(rows))["z_mean"]))
    back = codes.inverse_transform(z)
    np.testing.assert_allclose(back, codes.vae_.reconstruct(np.float32(rows)), rtol=1e-6)
    assert z.dtype == back.dtype == np.float64 and back.shape == rows.shape
    assert list(codes.get_feature_names_out()) == ["vaetransformer0", "vaetransformer1"]
    # The model standardizes: codes of rows far from 0 and 1 are moderate.
    assert np.abs(z).max() < 10 and np.abs(back.mean(axis=0) - rows.mean(axis=0)).max() < 2


def test_score_samples_is_the_density_in_nats(eagerly, linear_gaussian):
    x = linear_gaussian.draw(20, seed=1)
    density = ks.VAEDensity(**unchanged(linear_gaussian.vae()), num_samples=16).fit(x)
    exact = linear_gaussian.log_prob(x)
    np.testing.assert_allclose(density.score_samples(x), exact, rtol=1e-4)
    assert density.score(x) == pytest.approx(exact.mean(), rel=1e-4)
    new = density.sample(2000, random_state=1)
    np.testing.assert_allclose(new.mean(axis=0), linear_gaussian.b, atol=0.15)
    covariance = linear_gaussian.w @ linear_gaussian.w.T + linear_gaussian.s**2 * np.eye(6)
    np.testing.assert_allclose(np.cov(new.T), covariance, atol=0.25)
    assert np.array_equal(new, density.sample(2000, random_state=1))
    assert not np.array_equal(new, density.sample(2000, random_state=2))


def test_contamination_is_the_share_of_the_rows_that_is_flagged(eagerly, fitted, rows):
    detector = fitted("outlier_detector")
    assert (detector.predict(rows) == -1).sum() == 4  # A tenth of 40 rows.
    score = detector.detector_.score(np.float32(rows))
    np.testing.assert_array_equal(detector.score_samples(rows), -np.float64(score))
    far = rows.mean(axis=0) + 50.0 * rows.std(axis=0) * np.array([[1, -1, 1, -1, 1]])
    assert detector.predict(far) == -1 and detector.vae_.calibration is None


@pytest.mark.slow  # The rate itself is tested in tests/kvae/detection.
def test_a_rate_of_false_alarms_is_set_by_rows_that_were_held_out(eagerly, linear_gaussian):
    x, new = linear_gaussian.draw(100, seed=1), linear_gaussian.draw(400, seed=2)
    seen = []
    vae = linear_gaussian.vae()
    fit = vae.fit
    vae.fit = lambda x, **options: seen.append(x) or fit(x, **options)
    options = {"false_alarm_rate": 0.1, "num_samples": 2}
    detector = ks.VAEOutlierDetector(**unchanged(vae), **options).fit(x)
    held = sorted(set(map(tuple, x)) - set(map(tuple, seen[0])))
    assert len(held) == 20 and len(seen[0]) == 80
    exact = np.sort(-linear_gaussian.log_prob(np.array(held)))
    np.testing.assert_allclose(detector.vae_.calibration.sorted_scores, exact, rtol=1e-4)
    assert detector.offset_ == pytest.approx(-exact[18], rel=1e-4)  # p ≤ 2 / 21 is flagged.
    flagged = detector.predict(new) == -1
    assert np.array_equal(flagged, detector.detector_.detect(new).is_anomaly)
    assert 0.02 < flagged.mean() < 0.25


def test_gaps_are_filled_by_what_is_expected(eagerly, linear_gaussian):
    """Of a Gaussian the conditional mean is known; values that are there keep their bits."""
    x = np.float64(linear_gaussian.draw(8, seed=3)) + 1e-12
    x[:, 4:] = np.nan
    vae = linear_gaussian.vae(missing="zero")
    imputer = ks.VAEImputer(**unchanged(vae), num_samples=512, add_indicator=True)
    filled = imputer.fit_transform(x)
    assert filled[:, :4].tobytes() == x[:, :4].tobytes()
    covariance = linear_gaussian.w @ linear_gaussian.w.T + linear_gaussian.s**2 * np.eye(6)
    gain = covariance[4:, :4] @ np.linalg.inv(covariance[:4, :4])
    expected = linear_gaussian.b[4:] + (x[:, :4] - linear_gaussian.b[:4]) @ gain.T
    np.testing.assert_allclose(filled[:, 4:6], expected, atol=0.15)
    np.testing.assert_array_equal(filled[:, 6:], np.ones((8, 2)))
    names = [*(f"x{i}" for i in range(6)), "missingindicator_x4", "missingindicator_x5"]
    assert list(imputer.get_feature_names_out()) == names


@pytest.mark.slow  # Scikit-learn's check of subsets is below `test_all_checks_of_scikit_learn`.
def test_a_row_is_filled_alike_alone_and_among_others(eagerly, fitted, gaps):
    imputer = fitted("imputer")
    filled = imputer.transform(gaps)
    assert np.isfinite(filled).all() and np.array_equal(filled[2], gaps[2])
    np.testing.assert_array_equal(imputer.transform(gaps[:1])[0], filled[0])
    assert abs(filled[0, 1] - np.nanmean(gaps[:, 1])) < 3 * np.nanstd(gaps[:, 1])


@pytest.mark.default("transformer")  # A detector with its threshold is kept in `test_detector.py`.
@pytest.mark.parametrize("name", MAKE)
def test_pickle_and_joblib_keep_every_bit(eagerly, fitted, rows, gaps, name):
    estimator = fitted(name)
    file = io.BytesIO()
    joblib.dump(estimator, file)
    x = gaps[:3] if name == "imputer" else rows[:3]
    for loaded in (pickle.loads(pickle.dumps(estimator)), joblib.load(file)):
        assert loaded.vae_ is not estimator.vae_
        for method, expected in outputs(estimator, x).items():
            assert getattr(loaded, method)(x).tobytes() == expected.tobytes()
    copy = clone(estimator)
    assert not hasattr(copy, "vae_") and copy.get_params() == estimator.get_params()


@pytest.mark.slow  # The objective is tested in tests/kvae/objectives.
def test_classes_are_learned_from_few_labels(eagerly):
    """Classes far apart, one label of each: -1 says that the others are not known."""
    rng = np.random.default_rng(0)
    number = np.arange(60) % 3
    x = 5.0 * np.eye(3)[number] + rng.normal(size=(60, 3)) / 4
    words = np.array(["oak", "ash", "elm"], object)[number]
    few = np.where(np.arange(60) < 3, words, -1)
    options = {**SMALL, "learning_rate": 0.1, "epochs": 12}
    classifier = ks.VAEClassifier(**options).fit(x, few)
    assert list(classifier.classes_) == ["ash", "elm", "oak"] and classifier.alpha_ == 20.0
    assert classifier.score(x, words) == 1.0
    found = classifier.predict_proba(x)
    np.testing.assert_array_equal(classifier.vae_.classify(np.float32(x)), found.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="all of its labels are -1"):
        classifier.fit(x, np.full(60, -1))


@pytest.mark.slow  # Two trainings, for those who give objects in the place of names.
def test_a_part_that_is_given_as_an_object_is_made_anew_for_each_training(eagerly, rows):
    part = kvae.likelihoods.Gaussian("global", standardize=True)
    codes = MAKE["transformer"](likelihood=part, epochs=1)
    for x in (rows, rows * 7.0):
        location = codes.fit(x).vae_.likelihood.data_location
        np.testing.assert_allclose(location, x.mean(axis=0), rtol=1e-5)
    assert not part.built


@pytest.mark.slow  # Keras tests the callback; that the validation data are taken is all there is.
def test_early_stopping_ends_a_training_that_gets_nowhere(eagerly, linear_gaussian):
    x = linear_gaussian.draw(40, seed=1)
    options = {**unchanged(linear_gaussian.vae()), "epochs": 9}
    codes = ks.VAETransformer(**options, early_stopping=True, n_iter_no_change=1).fit(x)
    assert codes.n_iter_ == 2 and len(codes.history_["val_elbo"]) == 2


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ks.VAETransformer(event_shape=(2, 2)), "has 4 values, and a row of X has 5"),
        (lambda: ks.VAETransformer(architecture="dense_vea"), "dense_vae"),
        (lambda: ks.VAETransformer(epochs=0), "`epochs` is a whole number of at least 1"),
        (
            lambda: ks.VAEDensity(early_stopping=True, validation_fraction=0.99),
            "`validation_fraction`=0.99 of n_samples=40 leaves no row to train on",
        ),
        (lambda: ks.VAEOutlierDetector(contamination=0.0), "give `false_alarm_rate`"),
        (lambda: ks.VAEOutlierDetector(contamination=0.7), "at most 0.5"),
        (lambda: ks.VAEOutlierDetector(anomaly_score="typicality"), "give `false_alarm_rate`"),
        (lambda: ks.VAEOutlierDetector(anomaly_score="elob", false_alarm_rate=0.2), "elbo"),
        (lambda: ks.VAEOutlierDetector(false_alarm_rate=0.05), "at least 19 normal rows .* 8:"),
        (lambda: ks.VAEImputer(missing=None), "`missing` says what the encoder sees"),
    ],
)
def test_bad_parameters_are_refused_before_a_training(rows, make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make().fit(rows)
    assert "\n" not in str(caught.value)


def test_bad_rows_are_refused(rows, gaps):
    with pytest.raises(ValueError, match="NaN"):
        ks.VAETransformer().fit(gaps)
    with pytest.raises(ValueError, match="too large for float32"):
        ks.VAETransformer().fit(rows * 1e300)
    codes = ks.VAETransformer(event_shape=(2, 2))
    with pytest.raises(ValueError, match="has 4 values"):
        codes.fit(rows)
    with pytest.raises(NotFittedError):
        codes.transform(rows)
    with pytest.raises(TypeError, match="latent_dims"):
        ks.VAEOutlierDetector(latent_dims=3)


@pytest.mark.slow  # Trains; what the estimators do one by one is tested above.
def test_pipelines_searches_and_column_transformers(rows, gaps):
    y = (rows[:, 0] > np.median(rows[:, 0])).astype(int)
    columns = ColumnTransformer(
        [("codes", MAKE["transformer"](epochs=20), [0, 1, 2]), ("rest", StandardScaler(), [3, 4])]
    )
    chain = make_pipeline(MAKE["imputer"](epochs=20), columns, LogisticRegression())
    assert chain.fit(gaps, y).score(gaps, y) > 0.7
    search = GridSearchCV(
        MAKE["density"](epochs=30, learning_rate=1e-2), {"latent_dim": [1, 2]}, cv=3
    )
    search.fit(rows)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    for score in SCORES:
        detector = MAKE["outlier_detector"](anomaly_score=score, false_alarm_rate=0.4)
        detector = detector.set_params(calibration_fraction=0.3).fit(rows)
        assert set(detector.predict(rows)) <= {-1, 1}
    images = np.random.default_rng(0).random((20, 64))
    codes = ks.VAETransformer(
        architecture="conv_vae", hidden=None, event_shape=(8, 8, 1), epochs=1, random_state=0
    )
    assert codes.inverse_transform(codes.fit_transform(images)).shape == (20, 64)


@pytest.mark.slow  # As above.
def test_frames_keep_their_index_and_get_names(rows, gaps):
    pandas = pytest.importorskip("pandas")
    names, index = list("abcde"), [f"row {i}" for i in range(len(rows))]
    frame = pandas.DataFrame(rows, columns=names, index=index)
    codes = MAKE["transformer"]().set_output(transform="pandas").fit_transform(frame)
    assert list(codes.columns) == ["vaetransformer0", "vaetransformer1"]
    assert list(codes.index) == index
    incomplete = pandas.DataFrame(gaps, columns=names, index=index)
    imputer = MAKE["imputer"](add_indicator=True).set_output(transform="pandas")
    filled = imputer.fit_transform(incomplete)
    indicators = [f"missingindicator_{name}" for name in "bde"]
    assert list(filled.columns) == [*names, *indicators] and list(filled.index) == index
    detector = MAKE["outlier_detector"]().fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[names[::-1]])


@pytest.mark.slow  # A model that is trained until it fits; the density is tested above.
def test_a_trained_density_is_close_to_the_truth():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(2, 6))
    train, test = (rng.normal(size=(n, 2)) @ w + 0.3 * rng.normal(size=(n, 6)) for n in (4000, 500))
    density = ks.VAEDensity(epochs=60, learning_rate=3e-3, random_state=0, num_samples=256)
    found = density.fit(train).score(test)
    # The model is probabilistic PCA of standardized columns, of which all have the same noise.
    mean, scale = train.mean(axis=0), train.std(axis=0)
    pca = PCA(2).fit((train - mean) / scale)
    truth = pca.score((test - mean) / scale) - np.log(scale).sum()
    assert truth - 0.05 < found < truth + 0.02
