"""Signatures of models of several modalities, of which any subset may be given."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
from export import example_inputs, modalities, signatures
from export.files import meta_graph
from export.graphs import endpoints
from export.serving import arrays
from export.signatures import INPUTS, SIGNATURES, TensorInfo
from export.verification import references
from kvae.models.modalities import EXPORTED

RNG = np.random.default_rng(0)
IMAGES, DIGITS = RNG.integers(0, 2, (4, 2, 2, 1)).astype("float32"), np.array([0, 2, 1, 2])
SUBSETS = ({"image": IMAGES}, {"digit": DIGITS}, {"image": IMAGES, "digit": DIGITS})


def make(seen=(2, 2), joint=False, parts=None, **shapes):
    """Makes a small model, whose decoders see as many latents as `seen` says."""
    shapes = shapes or {"image": (2, 2, 1), "digit": (3,)}

    def network(shape):
        body = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3, "tanh")]
        return keras.Sequential(body)

    def decoder(shape, size):
        units = int(np.prod(shape))
        body = [keras.Input((size,)), keras.layers.Dense(units), keras.layers.Reshape(shape)]
        return keras.Sequential(body)

    with kvae.random.initial_weights(1):
        encoders = {key: network(shape) for key, shape in shapes.items()}
        if joint:
            inputs = [keras.Input(shape) for shape in shapes.values()]
            flat = [keras.layers.Flatten()(x) for x in inputs]
            features = keras.layers.Dense(3, "tanh")(keras.layers.Concatenate()(flat))
            encoders[tuple(shapes)] = keras.Model(inputs, features)
        return kvae.VAE(
            encoders=encoders,
            decoders={
                key: decoder(shape, size)
                for (key, shape), size in zip(shapes.items(), seen, strict=True)
            },
            **(parts or {"latent_dim": 2}),
            likelihood={
                key: "categorical:3" if shape == (3,) else "bernoulli"
                for key, shape in shapes.items()
            },
        )


def private(shared, **prior):
    own = {"image": 2, "digit": 1}
    posterior = kvae.posteriors.SharedAndPrivate(own, shared, absent="learned")
    return {"seen": (4, 3), "parts": {"latent_dim": 5, "posterior": posterior, **prior}}


def clusters():
    each = {
        "shared": kvae.priors.GaussianMixture(3, 2, log_var_bound=0.0),
        "image": kvae.priors.StandardNormal(2),
        "digit": kvae.priors.StandardNormal(1),
    }
    return private("mixture_of_experts", prior=kvae.priors.Product(each))


def hierarchy():
    sizes = {"groups": (2, 3), "hidden": (4,)}
    posterior = kvae.posteriors.HierarchicalExperts(**sizes, features_dim=4)
    prior = kvae.priors.Hierarchical(**sizes)
    return {"seen": (3, 3), "parts": {"latent_dim": 5, "posterior": posterior, "prior": prior}}


def nexus():
    posterior = kvae.posteriors.Nexus({"image": 3, "digit": 2}, 3, hidden=(4,))
    prior = kvae.priors.Hierarchical(groups=(2, 3, 2), hidden=(4,), star=True)
    return {"seen": (3, 2), "parts": {"latent_dim": 7, "posterior": posterior, "prior": prior}}


POSTERIORS = {
    "mixture": lambda: {"parts": {"latent_dim": 2, "posterior": "mixture_of_experts"}},
    "products": lambda: {"parts": {"latent_dim": 2, "posterior": "mixture_of_products"}},
    "joint": lambda: {"joint": True, "parts": {"latent_dim": 2, "posterior": "joint_experts"}},
    "flow": lambda: {"joint": True, "parts": {"latent_dim": 2, "posterior": "flow_experts"}},
    "private_product": lambda: private("product_of_experts"),
    "private_mixture": lambda: private("mixture_of_experts"),
    "private_clusters": clusters,
    "hierarchy": hierarchy,
    "nexus": nexus,
}


@pytest.fixture(scope="module")
def vae():
    return make()


def run(endpoint, **given):
    """Runs a graph as a server does, with the defaults of what is left out."""
    inputs = []
    for spec in endpoint.inputs:
        value = given.pop(spec.name, None)
        value = [endpoint.defaults[spec.name]] if value is None else value
        inputs.append(tf.constant(value, spec.dtype))
    assert not given
    return {name: np.asarray(value) for name, value in endpoint.function(*inputs).items()}


def test_every_subset_has_the_answers_of_the_model(vae):
    made = endpoints.endpoints(vae, signatures=["encode", "translate", "embed"])
    for given in SUBSETS:
        found = run(made["encode"], **given)
        wanted = vae.encode(given)
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        found = run(made["translate"], **given)
        for name, value in vae.translate(given, to=["image", "digit"]).items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    # A class that is absent in some rows is a number that JSON has.
    mixed = {"image": IMAGES, "digit": np.where([1, 0, 1, 0], DIGITS, modalities.UNKNOWN)}
    nan = {"image": IMAGES, "digit": np.where([1, 0, 1, 0], DIGITS, np.nan)}
    z = vae.posterior.mean(vae.encode(nan))
    np.testing.assert_allclose(run(made["embed"], **mixed)["embedding"], z, rtol=1e-5, atol=1e-6)


def test_draws_are_of_all_modalities(vae):
    made = endpoints.endpoints(vae, signatures=["generate"])
    found = run(made["generate"], seed=[3, 4])
    z = np.concatenate([vae.prior.sample(1, kvae.random.split(s)[0]) for s in seeds_of(3, 4)])
    np.testing.assert_array_equal(found["z"], z)
    decoded = run(made["serving_default"], z=z)
    for key in ("image", "digit"):
        np.testing.assert_allclose(found[key], decoded[key], rtol=1e-5)
    np.testing.assert_array_equal(decoded["digit"], decoded["digit_logits"].argmax(-1)[:, 0])
    np.testing.assert_allclose(decoded["image"], vae.decode(z)["image"], rtol=1e-5)


def seeds_of(*numbers):
    return [kvae.random.as_seed(number) for number in numbers]


def test_wrong_modalities_are_refused_by_name(vae):
    made = endpoints.endpoints(vae, signatures=["encode"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`digit` has values from .* to 3"):
        run(made["encode"], digit=[0, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`image` has values from"):
        run(made["encode"], image=IMAGES + 7)
    with pytest.raises(tf.errors.InvalidArgumentError):  # Of another number of rows.
        run(made["encode"], image=IMAGES, digit=[0, 1, 2])


def test_names_that_exports_refuse_are_told_before_a_training(tmp_path):
    outputs = {name for each in SIGNATURES.values() for name in each.outputs}
    assert (outputs | set(INPUTS)) - {"image", "label"} == EXPORTED
    for key, write in (("z", export.saved_model), ("z_mean", export.onnx)):
        with pytest.warns(UserWarning, match=f"modality {key!r} cannot be exported"):
            model = make(**{key: (2, 2), "digit": (3,)})
        with pytest.raises(ValueError, match=f"modality {key!r} of"):
            write(model, tmp_path / "a")


def test_what_exports_cannot_say_is_refused_in_one_line(vae, tmp_path):
    for call, message in (
        (lambda: export.saved_model(vae, tmp_path, preprocessing="png"), "leave out preproc"),
        (lambda: export.saved_model(vae, tmp_path, signatures=["reconstruct"]), "`translate` rec"),
        (lambda: export.tflite(vae, tmp_path / "a", "int8", parts="encoder"), "in eight bits"),
        (lambda: export.tflite(vae, tmp_path / "a", parts="impute"), "export a SavedModel"),
        (lambda: export.onnx(vae, tmp_path / "a", "detect"), "export a SavedModel"),
        (lambda: export.profile(tmp_path / "a", vae), "several modalities: use export.verify"),
        (lambda: export.web(vae, tmp_path), "page shows one kind of image"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_what_clients_send_is_checked_by_modality():
    known = {
        "image": TensorInfo("float32", (None, 2, 2, 1)),
        "digit": TensorInfo("float32", (None,)),
    }
    sent = modalities.sent("image_start", {"digit": [1, np.nan]}, known)
    assert set(sent) == {"image_start", "digit_start"}
    np.testing.assert_array_equal(sent["digit_start"], np.float32([1, modalities.UNKNOWN]))
    assert sent["image_start"].shape == (2, 2, 2, 1) and (sent["image_start"] < -1e38).all()
    seeds = arrays.seeds_of(5, {"image": None, "digit": [1, 2]})
    np.testing.assert_array_equal(seeds, [5, 6])
    # A mask hides what stands there, of whole rows and of single values.
    values, one = IMAGES[:2] > 0.5, {"image": IMAGES[:2], "digit": np.array([1, 2])}
    masked = modalities.sent("image", one, known, {"digit": np.array([False, True])})
    np.testing.assert_array_equal(masked["digit"], np.float32([modalities.UNKNOWN, 2]))
    masked = modalities.sent("image", one, known, {"image": values})["image"]
    np.testing.assert_array_equal(masked, np.where(values, IMAGES[:2], modalities.UNKNOWN))
    for value, mask, message in (
        ([1, 2], None, "`image` is a dict of modalities, of which any may"),
        ({}, None, "`image` has an array with a row for each example"),
        ({"digit": None}, None, "`image` has an array with a row for each example"),
        ({"digit": 1}, None, "`image` has an array with a row for each example"),
        ({"sound": [1]}, None, "Unknown modality 'sound'"),
        (one, np.array([True, False]), "`mask` is a dict of modalities"),
        (one, {"sound": np.array([True])}, "Unknown modality 'sound'"),
        (one, {"digit": np.array([1, 0])}, r"`mask\['digit'\]` is int64"),
        (one, {"image": np.array([True])}, r"`mask\['image'\]` is bool of shape \(1,\)"),
    ):
        seeds = arrays.seeds_of(5, value)
        with pytest.raises(ValueError, match=message):
            modalities.sent("image", value, known, mask)


def test_examples_lack_each_modality_in_turn(vae):
    made = endpoints.endpoints(vae, signatures=["encode"])["encode"]
    inputs = example_inputs.for_graph(made.inputs, 6, vae)
    there = np.stack([inputs["image"][:, 0, 0, 0] > -1e38, inputs["digit"] > -1e38], axis=-1)
    assert there.tolist() == [[True, True], [False, True], [True, False]] * 2
    record = references.answers(vae, "encode", inputs)["present"]
    np.testing.assert_array_equal(record, there)


# Files, in the runtimes that execute them.


@pytest.fixture(scope="module")
def path(vae, tmp_path_factory):
    kvae.detection.Detector(vae, num_samples=4, false_alarm_rate=0.5).fit(
        {"image": IMAGES, "digit": DIGITS}
    )
    path = export.saved_model(vae, tmp_path_factory.mktemp("serving") / "pairs")
    vae.calibration = None
    return path


@pytest.mark.slow  # Written once; what is in it is tested above.
def test_saved_models_have_the_models_numbers(vae, path):
    report = export.verify(path, vae, batch_sizes=(1, 5))
    assert report.ok, str(report)
    found = meta_graph.read_signatures(path)
    assert set(signatures.SIGNATURES) - set(found) == {
        *("reconstruct", "classify", "encode_table", "generate_table", "impute_table")
    }
    assert set(found["interpolate_images"].inputs) == {
        *("image_start", "digit_start", "image_end", "digit_end", "steps")
    }
    for key in ("image", "digit"):
        assert found["score"].inputs[key].dtype == "float32" and key in found["score"].optional
    assert export.verify(path, batch_sizes=(2,)).ok  # Without the model.


@pytest.mark.slow  # As above.
def test_servers_answer_for_every_subset(vae, path):
    with export.DevelopmentServer({"pairs": path.parent}, port=0) as server:
        client = export.Client(server.url, "pairs", timeout=60)
        for given in SUBSETS:
            for key, value in vae.translate(given, to=["image", "digit"]).items():
                np.testing.assert_allclose(client.translate(given, to=key), value, atol=1e-5)
            wanted = vae.encode(given)["z_mean"]
            np.testing.assert_allclose(client.encode(given)["z_mean"], wanted, atol=1e-5)
        drawn = client.generate([1, 2])
        np.testing.assert_allclose(client.decode(drawn.z)["digit"], drawn.image["digit"])
        way = client.interpolate_images({"digit": [0]}, {"digit": [2]}, steps=3)
        assert way.image["image"].shape == (1, 3, 2, 2, 1) and way.image["digit"].shape == (1, 3)
        scores = client.score({"digit": DIGITS}, num_samples=20)
        made = endpoints.endpoints(vae, signatures=["score"])["score"]
        wanted = run(made, digit=DIGITS, seed=np.arange(4), num_samples=[20] * 4)
        np.testing.assert_allclose(scores.log_prob, wanted["log_prob"], atol=1e-4)
        filled = client.impute({"digit": DIGITS}).image
        np.testing.assert_array_equal(filled["digit"], DIGITS)
        there = {"digit": np.array([True, False, True, True])}
        hidden = client.impute({"image": IMAGES, "digit": DIGITS}, there)
        absent = {"image": IMAGES, "digit": np.where(there["digit"], DIGITS, np.nan)}
        np.testing.assert_array_equal(hidden.log_prob, client.impute(absent).log_prob)
        assert set(client.detect({"image": IMAGES}).map) == {"image", "digit"}
        with pytest.raises(ValueError, match="is a dict of modalities"):
            client.encode(IMAGES)


# The one operator of hierarchies that ONNX does not know; the slow test below converts all.
def test_graphs_of_hierarchies_have_no_operator_that_files_lack():
    made = endpoints.endpoints(make(**hierarchy()), signatures=["translate"])["translate"]
    graph = tf.function(made.function, made.inputs, autograph=False).get_concrete_function().graph
    assert "BroadcastArgs" not in {operation.type for operation in graph.get_operations()}


@pytest.mark.slow  # Conversions.
@pytest.mark.parametrize("kind", POSTERIORS)
def test_every_posterior_is_exported_in_every_format(kind, tmp_path):
    vae = make(**POSTERIORS[kind]())
    paths = [export.saved_model(vae, tmp_path / "model")]
    for part in ("decoder", "encoder", "translate"):
        paths.append(export.tflite(vae, tmp_path / f"{part}.tflite", parts=part))
        paths.append(export.onnx(vae, tmp_path / f"{part}.onnx", part=part))
    for path in paths:
        report = export.verify(path, vae, batch_sizes=(1, 5))
        assert report.ok, str(report)


@pytest.mark.slow  # Conversions.
@pytest.mark.parametrize("part", ["decoder", "encoder", "translate"])
def test_files_have_the_models_numbers(vae, part, tmp_path):
    for path in (
        export.tflite(vae, tmp_path / "a.tflite", parts=part),
        export.onnx(vae, tmp_path / "a.onnx", part=part),
    ):
        report = export.verify(path, vae, batch_sizes=(1, 5))
        assert report.ok, str(report)
