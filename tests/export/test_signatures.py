"""The signatures beyond encoding and decoding, against closed forms and the public methods."""

import json

import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
import zoo
from export import example_inputs
from export.files import meta_graph, warmup
from export.graphs import endpoints, preprocessing
from export.runtimes import child
from export.signatures import Call
from kvae.utils import interpolation

RUNTIME = "export.runtimes.c_api"


def run(path, *calls):
    answer = child.request(RUNTIME, path, [Call(*call) for call in calls], timeout=120)
    assert not answer.failure and not answer.load_error
    assert not any(result.error for result in answer.results), answer.results
    return [result.outputs for result in answer.results]


def test_the_score_is_the_known_likelihood(linear_gaussian, tmp_path):
    """With the exact posterior every weight is p(x); else the ELBO is lower by a known KL."""
    x = linear_gaussian.draw(5, seed=0)
    truth, seed = linear_gaussian.log_prob(x), np.arange(5)
    path = export.saved_model(linear_gaussian.vae(), tmp_path / "exact", signatures=["score"])
    (exact,) = run(path, ("score", {"image": x, "seed": seed, "num_samples": np.full(5, 33)}))
    np.testing.assert_allclose(exact["log_prob"], truth, atol=1e-4)
    np.testing.assert_allclose(exact["effective_sample_size"], 33, rtol=1e-4)

    widen = 0.7
    wide = endpoints.endpoints(linear_gaussian.vae(widen=widen), signatures=["score"])["score"]
    score = tf.function(wide.function, autograph=False, input_signature=wide.inputs)
    few, many = (
        {name: array.numpy() for name, array in score(x, seed, np.asarray(count)).items()}
        for count in ([1, 2, 16, 17, 40], [1000] * 5)
    )
    gap = 2 * 0.5 * (np.exp(widen) - 1 - widen)  # KL(q ‖ p(z|x)) of two latents.
    # The ELBO of 1000 samples; one sample's log p(x|z) has a deviation of about 1.
    np.testing.assert_allclose(many["elbo"], truth - gap, atol=0.3)
    np.testing.assert_allclose(many["log_prob"], truth, atol=0.1)
    assert np.all(many["log_prob"] > truth - gap + 0.1)
    assert few["effective_sample_size"][0] == 1
    assert np.all(few["effective_sample_size"] <= [1.001, 2.001, 16.01, 17.01, 40.01])


def test_the_scores_noise_is_a_rows_own_and_goes_on(dense):
    """Two chunks are the two halves of one stream: a mean over samples tells their number."""
    endpoint = endpoints.endpoints(dense, signatures=["score"])["score"]
    score = tf.function(endpoint.function, autograph=False)
    x = np.random.default_rng(1).random((3, 8, 8, 1), np.float32)
    seed = np.array([4, 4, 5])
    same = np.stack([x[0], x[0], x[0]])
    some = score(tf.constant(same), tf.constant(seed), tf.constant([20, 20, 20], tf.int64))
    assert some["log_prob"][0] == some["log_prob"][1] != some["log_prob"][2]
    # By hand: the same draws, 16 and 4 of 16.
    params = dense.encode_params(x[:1])
    halves = [
        dense.posterior.sample(params, 16, seed=kvae.random.fold_in(4, done))[:, 0]
        for done in (0, 16)
    ]
    z = tf.concat([halves[0], halves[1][:4]], axis=0)
    log_px = dense.likelihood.log_prob(dense.decode_params(z), np.repeat(x[:1], 20, axis=0))
    kl = kvae.divergences.closed_form_kl(dense.posterior, dense.prior)(params)[0]
    np.testing.assert_allclose(some["elbo"][0], np.mean(log_px) - kl, rtol=1e-5)


def test_interpolation_takes_the_way_that_the_space_has():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 4, 3))
    points = np.asarray(interpolation.linear(start, end, [0.0, 0.25, 1.0]))
    np.testing.assert_allclose(points[:, 1], 0.75 * start + 0.25 * end)
    np.testing.assert_allclose(points[:, [0, 2]], np.stack([start, end], axis=1))
    # On the sphere: equal angles, and lengths of one; opposite points have no arc between them.
    start, end = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (start, end))
    points = np.asarray(interpolation.slerp(start, end, np.linspace(0, 1, 5)))
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1.0)
    cosines = np.sum(points[:, 1:] * points[:, :-1], axis=-1)
    np.testing.assert_allclose(cosines, cosines[:, :1] + np.zeros((1, 4)), atol=1e-9)
    assert np.isfinite(interpolation.slerp(start, -start, [0.5])).all()
    assert np.isfinite(interpolation.slerp(0 * start, end, [0.5])).all()


def test_each_row_of_an_interpolation_has_its_own_steps(dense, dense_path):
    z = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    x = np.random.default_rng(1).random((2, 3, 8, 8, 1), np.float32)
    steps = np.array([1, 2, 5, 1])
    ends = {"z_start": z[0], "z_end": z[1]}
    own, by_default, most, images = run(
        dense_path,
        ("interpolate", {**ends, "steps": steps}),
        ("interpolate", ends),
        ("interpolate", {**ends, "steps": np.full(4, 64)}),
        ("interpolate_images", {"image_start": x[0], "image_end": x[1], "steps": np.full(3, 3)}),
    )
    assert own["z"].shape == (4, 5, 2) and own["image"].shape == (4, 5, 8, 8, 1)
    for row in (0, 3):  # At least one step: the start, where it stays for a moment.
        np.testing.assert_allclose(own["z"][row, 0], z[0, row])
    np.testing.assert_allclose(own["z"][1], np.stack([z[0, 1], *[z[1, 1]] * 4]), atol=1e-6)
    way = np.linspace(0, 1, 5)[:, None]
    np.testing.assert_allclose(own["z"][2], (1 - way) * z[0, 2] + way * z[1, 2], atol=1e-6)
    np.testing.assert_allclose(own["image"][2], dense.decode(own["z"][2]), atol=1e-6)
    assert by_default["z"].shape[1] == 8 and most["z"].shape[1] == 64
    np.testing.assert_allclose(images["image"][:, 0], dense.reconstruct(x[0]), atol=1e-6)
    np.testing.assert_allclose(images["z"][:, 2], dense.encode(x[1])["z_mean"], atol=1e-6)


def test_temperature_is_a_rows_own(dense, dense_path):
    seed = np.array([7, 7, 7, 8])
    warm, plain = run(
        dense_path,
        ("generate", {"seed": seed, "temperature": np.array([1, 0.5, 0, 0.5], np.float32)}),
        ("generate", {"seed": seed}),
    )
    np.testing.assert_array_equal(warm["z"][0], plain["z"][0])
    np.testing.assert_array_equal(warm["z"][1], 0.5 * plain["z"][1])
    np.testing.assert_array_equal(warm["z"][2], 0 * plain["z"][2])
    image = dense.sample(1, seed=8, temperature=0.5)[0]
    np.testing.assert_allclose(warm["image"][3], image, atol=1e-6)


@pytest.mark.parametrize("prior", ["vamp", "pixel_cnn"])
@pytest.mark.default("vamp")
def test_a_temperature_that_is_a_tensor(prior):
    """Priors that do not scale noise: the same numbers as with a float, and 0 is no error."""
    model = vq_vae() if prior == "pixel_cnn" else small("vamp", num_components=3)
    draw = tf.function(lambda t: model.prior.sample(4, 1, t), autograph=False)
    for value in (1.0, 0.5, 0.0):
        drawn = draw(tf.constant(value))
        np.testing.assert_allclose(drawn, model.prior.sample(4, 1, value), atol=1e-6)
        assert np.isfinite(drawn).all()
    if prior == "vamp":
        # Both in a graph, where oneDNN fuses operations and rounds otherwise than one by one.
        plain = tf.function(lambda: model.prior.sample(4, 1), autograph=False)
        np.testing.assert_array_equal(draw(tf.constant(1.0)), plain())


def small(prior, **settings):
    parts = {"prior": getattr(kvae.priors, {"vamp": "Vamp"}[prior])(**settings)}
    return zoo.build("dense_vae", event_shape=(4, 4, 1), latent_dim=2, hidden=(8,), **parts)


def vq_vae():
    return zoo.build(
        "dense_vae",
        event_shape=(4, 4, 1),
        latent_dim=8,
        hidden=(8,),
        posterior=kvae.posteriors.VectorQuantized(num_embeddings=4, embedding_dim=2),
        prior=kvae.priors.PixelCNN(filters=4, num_layers=1),
    )


# Preprocessing.


def test_pixels_become_what_the_model_takes(dense):
    x = np.random.default_rng(0).integers(256, size=(3, 8, 8, 1), dtype=np.uint8)
    plain = preprocessing.images(dense, "uint8")
    np.testing.assert_allclose(plain.decode(tf.constant(x)), x / 255.0, rtol=1e-6)
    files = preprocessing.images(dense, "png")
    assert files.input("image_start", None).name == "image_start_bytes"
    encoded = [example_inputs.png(image) for image in x]
    np.testing.assert_allclose(files.decode(tf.constant(encoded)), x / 255.0, rtol=1e-6)
    # Another size and other channels: a picture of one grey stays what it is.
    grey = np.full((20, 13, 3), 51, np.uint8)
    np.testing.assert_allclose(
        files.decode(tf.constant([example_inputs.png(grey)])), np.full((1, 8, 8, 1), 0.2), rtol=1e-6
    )
    for kind in (None, "float32"):
        values = tf.constant(x / 255.0, tf.float32)
        assert preprocessing.images(dense, kind).decode(values) is values


def test_whole_numbers_are_not_divided():
    model = zoo.build("dense_vae", event_shape=(4, 4, 1), likelihood="poisson")
    x = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(preprocessing.images(model, "uint8").decode(tf.constant(x)), x)
    file = tf.constant([example_inputs.png(x[0])])
    np.testing.assert_array_equal(preprocessing.images(model, "png").decode(file), x)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("uint8", ["encode", "interpolate_images"]),
        ("png", ["encode"]),
        ("png", ["encode", "interpolate_images", "score"]),
    ],
)
@pytest.mark.slow  # tests/export/test_image_files.py exports with "png".
def test_images_as_clients_have_them(dense, tmp_path, kind, wanted):
    path = export.saved_model(dense, tmp_path / "m", preprocessing=kind, signatures=wanted)
    report = export.verify(path, dense, batch_sizes=(3,))
    assert report.ok, str(report)
    assert {row.signature for row in report.rows if row.max_abs_error is not None} == {
        "serving_default",
        *wanted,
    }
    content = json.loads((path / "assets.extra" / "kvae.json").read_text())
    assert content["preprocessing"] == kind
    name, dtype = ("image_bytes", "string") if kind == "png" else ("image", "uint8")
    assert meta_graph.read_signatures(path)["encode"].inputs[name].dtype == dtype
    x = np.random.default_rng(0).integers(256, size=(2, 8, 8, 1), dtype=np.uint8)
    value = np.array([example_inputs.png(image) for image in x]) if kind == "png" else x
    calls = [Call("encode", {name: value})]
    if kind == "png":
        calls.append(Call("encode", {name: np.array([b"not a picture"])}))
    answer = child.request(RUNTIME, path, calls, timeout=120)
    own = dense.encode(x.astype("float32") / 255)
    np.testing.assert_allclose(answer.results[0].outputs["z_mean"], own["z_mean"], atol=1e-6)
    if kind == "png":
        assert answer.results[1].error.startswith("INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preprocessing": "pgn"}, "Unknown preprocessing 'pgn'. Did you mean 'png'"),
        ({"signatures": ["encode", "interpolat"]}, "Unknown signature 'interpolat'. Did you mean"),
    ],
)
def test_wrong_names_are_named_before_any_work(dense, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export.saved_model(dense, tmp_path / "m", **arguments)
    assert not (tmp_path / "m").exists()


def test_what_a_model_cannot_have_is_said(autoencoder, tmp_path):
    with pytest.raises(ValueError, match="no signature 'score': the model is an autoencoder"):
        export.saved_model(autoencoder, tmp_path / "m", signatures=["score"])
    with pytest.raises(ValueError, match="no signature 'generate': .* without a prior"):
        export.saved_model(autoencoder, tmp_path / "m", signatures=["generate"])
    with pytest.raises(ValueError, match=r"'png' makes events \[height, width, channels\]"):
        export.saved_model(autoencoder, tmp_path / "m", preprocessing="png")
    assert not (tmp_path / "m").exists()


# Warm-up requests.


def test_warmup_requests_are_what_tensorflow_serving_reads(dense, tmp_path):
    calls = [
        Call("encode", {"image": np.random.default_rng(0).random((2, 8, 8, 1), np.float32)}),
        Call("other", {"image_bytes": np.array([b"a", b"bcd"]), "seed": np.arange(2)}),
    ]
    path = warmup.write(tmp_path, "dense", calls)
    assert path == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    # TensorFlow's reader checks the checksums.
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    assert len(records) == 2
    for have, want in zip(warmup.read(tmp_path), calls, strict=True):
        assert have.signature == want.signature and set(have.inputs) == set(want.inputs)
        for name, array in want.inputs.items():
            np.testing.assert_array_equal(have.inputs[name], array)
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    for record, want in zip(records, calls, strict=True):
        request = logs.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "dense"
        assert request.model_spec.signature_name == want.signature
        for name, array in want.inputs.items():
            own = tf.make_ndarray(request.inputs[name])
            assert own.tolist() == array.tolist()


def test_damaged_warmup_requests_are_named(tmp_path):
    assert warmup.read(tmp_path) == []
    path = warmup.write(tmp_path, "m", [Call("a", {"z": np.zeros((1, 2), np.float32)})])
    data = path.read_bytes()
    for wrong in (data[:-3], data[:5], data[:30] + b"x" + data[31:]):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="is damaged or was cut off"):
            warmup.read(tmp_path)
    with pytest.raises(ValueError, match="1001 warm-up requests are more than 1000"):
        warmup.write(tmp_path, "m", [Call("a", {})] * 1001)


def test_a_warmup_request_that_fails_is_a_failed_row(dense, tmp_path):
    path = export.saved_model(dense, tmp_path, signatures=["encode"])
    warmup.write(path, "m", [Call("encode", {"image": np.zeros((1, 2), np.float32)})])
    report = export.verify(path, batch_sizes=(1,))
    failed = [row for row in report.rows if not row.ok]
    assert [(row.signature, row.output) for row in failed] == [("encode", "(warm-up)")]
