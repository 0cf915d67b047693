"""kvae.detection.Detector: scores, maps and a threshold, of a model and kept with it."""

import keras
import numpy as np
import pytest

import kvae
from kvae.detection import SCORES, Detector


@pytest.fixture(scope="module")
def known(linear_gaussian):
    """A model with known p(x), and 400 normal rows."""
    return linear_gaussian.vae(), linear_gaussian.draw(400, seed=1)


def test_the_score_is_the_known_density(known, linear_gaussian):
    vae, x = known
    truth = linear_gaussian.log_prob(x[:9])
    score = {name: Detector(vae, name, num_samples=20) for name in ("log_prob", "elbo")}
    for detector in score.values():  # With the exact posterior both of them are −log p(x).
        np.testing.assert_allclose(detector.score(x[:9]), -truth, atol=1.0)
    np.testing.assert_allclose(score["log_prob"].score(x[:9]), -truth, atol=1e-4)


def test_the_stated_share_of_normal_rows_is_flagged(known, linear_gaussian):
    vae, x = known
    for name in ("log_prob", "typicality"):
        detector = Detector(vae, name, num_samples=1, false_alarm_rate=0.2).fit(x)
        found = detector.detect(linear_gaussian.draw(1500, seed=2))
        deviation = np.sqrt(0.2 * 0.8 * (1 / 1500 + 1 / (len(x) // 2)))
        assert abs(found.is_anomaly.mean() - 0.2) < 4 * deviation
        assert abs(found.p_value.mean() - 0.5) < 4 * np.sqrt(1 / 12 * (1 / 1500 + 2 / len(x)))
    detector = Detector(vae, "log_prob", false_alarm_rate=0.05).fit(x)
    far = detector.detect(linear_gaussian.draw(50, seed=3) + 5.0)
    assert far.is_anomaly.all() and np.allclose(far.p_value, 1 / (len(x) + 1))
    assert "50 of 50 rows are flagged" in str(far) and "about 2.5 would be" in str(far)
    assert len(detector.detect(x, false_alarm_rate=0.5).score) == len(far.order) * 8


def test_too_probable_rows_are_not_typical(known, linear_gaussian, eagerly):
    vae, x = known
    likely = np.repeat(linear_gaussian.draw(20_000, seed=4).mean(axis=0, keepdims=True), 3, axis=0)
    assert not Detector(vae, "log_prob", num_samples=4).fit(x).detect(likely).is_anomaly.any()
    detector = Detector(vae, "typicality", num_samples=4, false_alarm_rate=0.3).fit(x)
    entropy = -linear_gaussian.log_prob(x[::2]).mean()
    np.testing.assert_allclose(
        detector.score(likely), entropy + linear_gaussian.log_prob(likely), rtol=1e-3
    )


def test_a_row_has_the_same_bits_wherever_it_is_scored(make_vae, digits, tmp_path):
    vae = make_vae()
    detector = Detector(vae, num_samples=20, seed=3, false_alarm_rate=0.2).fit(digits[:24])
    scores = detector.score(digits[:6])
    assert len(set(scores.tolist())) == 6
    for i in range(6):
        assert detector.score(digits[i : i + 1])[0] == scores[i]
    np.testing.assert_array_equal(detector.score(digits[5::-1])[::-1], scores)
    detector.save(tmp_path / "detector.keras")
    again = Detector(kvae.load_model(tmp_path / "detector.keras"))
    assert again.calibration.to_dict() == detector.calibration.to_dict()
    np.testing.assert_array_equal(again.score(digits[:6]), scores)
    assert again.calibration.false_alarm_rate == 0.2 and again.num_samples == 20
    assert Detector(vae, false_alarm_rate=0.5).calibration == detector.calibration.with_rate(0.5)
    other = Detector(vae, seed=4)
    assert other.calibration is None
    assert (other.score(digits[:6]) != scores).all()


@pytest.mark.slow  # That draws have the same bits there is in tests/kvae/test_random.py.
def test_a_row_has_the_same_bits_in_another_process(make_vae, digits, tmp_path, run_forked):
    detector = Detector(make_vae(), num_samples=20, seed=3, false_alarm_rate=0.2).fit(digits[:24])
    detector.save(tmp_path / "detector.keras")
    np.save(tmp_path / "rows.npy", digits[:6])
    run_forked(
        "import sys\nimport numpy as np\nimport kvae\n"
        "detector = kvae.detection.Detector(kvae.load_model(sys.argv[1]))\n"
        "np.save(sys.argv[3], detector.score(np.load(sys.argv[2])))",
        *(tmp_path / name for name in ("detector.keras", "rows.npy", "scores.npy")),
    )
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), detector.score(digits[:6]))


def test_a_model_that_changes_loses_its_threshold(make_vae, digits, eagerly):
    vae = make_vae(optimizer="sgd")
    Detector(vae, num_samples=1, false_alarm_rate=0.2).fit(digits[:8])
    assert vae.with_prior("gaussian_mixture").calibration is None and vae.calibration is not None
    vae.fit(digits[:8], epochs=1, verbose=0)
    assert vae.calibration is None
    Detector(vae, num_samples=1, false_alarm_rate=0.2).fit(digits[:8])
    vae.train_on_batch(digits[:8])
    assert vae.calibration is None and Detector(vae).calibration is None


def test_maps_are_the_parts_of_the_reconstruction(make_vae, digits, eagerly):
    detector = Detector(make_vae(), "reconstruction", num_samples=20)
    where = detector.map(digits[:5])
    np.testing.assert_allclose(where.sum(axis=(1, 2, 3)), detector.score(digits[:5]), rtol=1e-5)
    wrong = np.array(digits[:1])
    wrong[0, 3, 4] = 1 - np.round(wrong[0, 3, 4])
    # The encoder hardly sees one pixel: what it costs is at its place.
    change = detector.map(wrong) - detector.map(np.round(digits[:1]))
    assert np.unravel_index(np.abs(change[0, ..., 0]).argmax(), (8, 8)) == (3, 4)


def test_an_autoencoder_has_its_reconstruction(make_vae, digits, eagerly):
    vae = make_vae(posterior="delta", prior=None)
    detector = Detector(vae)
    expected = -vae.likelihood.log_prob(
        vae.decode_params(vae.posterior.mean(vae.encode(digits[:3]))), digits[:3]
    )
    np.testing.assert_allclose(detector.score(digits[:3]), expected, rtol=1e-5)
    np.testing.assert_allclose(detector.map(digits[:3]).sum(axis=(1, 2, 3)), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="defines no kl: give score='reconstruction'"):
        Detector(vae, "kl")


def test_labels_are_conditions(make_vae, digits, eagerly):
    vae = make_vae(num_classes=2, prior="class_conditional")
    keras.utils.set_random_seed(0)
    vae.prior.set_weights([np.random.normal(size=w.shape) for w in vae.prior.get_weights()])
    detector = Detector(vae, "kl", false_alarm_rate=0.3)
    labels = np.array([0, 1, 0, 1])
    scores = detector.fit(digits[:4], labels).score(digits[:4], labels)
    assert (scores != detector.score(digits[:4], 1 - labels)).all()
    np.testing.assert_array_equal(detector.calibration.sorted_scores, np.sort(scores))
    with pytest.raises(ValueError, match="needs labels"):
        detector.score(digits[:4])


def test_refusals(known, tmp_path):
    vae, x = known
    with pytest.raises(ValueError, match="Unknown score 'elbow'. Did you mean 'elbo'"):
        Detector(vae, "elbow")
    with pytest.raises(ValueError, match="`false_alarm_rate` is above 0 and below 1"):
        Detector(vae, "elbo", false_alarm_rate=2)
    detector = Detector(vae, "typicality", num_samples=1, false_alarm_rate=0.05)
    for ask in (detector.score, detector.detect, lambda x: detector.save(tmp_path / "a.keras")):
        with pytest.raises(ValueError, match="no threshold yet: call fit"):
            ask(x)
    with pytest.raises(ValueError, match="takes at least 19 normal rows .* there are 10"):
        detector.fit(x[:20])
    with pytest.raises(ValueError, match="NaN"):
        Detector(vae, "elbo").score(x * np.nan)
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        Detector(vae, "elbo", num_samples=1).fit(x).save(tmp_path / "model.h5")
    assert set(SCORES) == {"log_prob", "elbo", "reconstruction", "kl", "typicality"}
