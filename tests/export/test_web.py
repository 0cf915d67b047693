"""The page for browsers: the files that are written, and what its JSON says."""

import hashlib
import http.server
import io
import json
import re
import tarfile
import threading

import numpy as np
import pytest

import export
import kvae
import zoo
from export.runtimes import litert
from export.writers.web import litert_js, page
from kvae.detection import Detector


def archive(files) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name in files:
            content = b'import "@litertjs/wasm-utils";\n//# sourceMappingURL=index.js.map'
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """Small archives in the place of LiteRT.js, and an empty cache."""
    contents, known = {}, {}
    for name, (_, files) in litert_js._PACKAGES.items():
        contents[name] = archive(files)
        known[name] = (hashlib.sha256(contents[name]).hexdigest(), files)
    monkeypatch.setattr(litert_js, "_PACKAGES", known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    return contents


@pytest.fixture
def cached(packages):
    litert_js.cache_folder().mkdir(parents=True)
    for name, content in packages.items():
        file = litert_js.cache_folder() / f"litertjs-{name}-{litert_js.VERSION}.tgz"
        file.write_bytes(content)


@pytest.fixture(scope="module")
def data(images):
    labels = np.arange(40) % 3
    return kvae.datasets.from_array(images, labels, name="noise", split="test")


def test_the_page_is_whole_and_names_no_other_host(cached, dense, data, tmp_path):
    index = export.web(dense, tmp_path / "page", data, title="A model")
    folder = index.parent
    assert index == tmp_path / "page" / "index.html"
    facts = json.loads((folder / "model.json").read_text())
    assert facts["title"] == "A model"
    assert facts["encoder"] is True
    for name in ("decoder", "encoder"):
        assert (folder / f"{name}.tflite").read_bytes()[4:8] == b"TFL3"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tflite"]
    texts = {path.name: path.read_text() for path in files}
    for name, text in texts.items():
        assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]", text), name
        for wanted in re.findall(r"(?:from|src=|href=) ?['\"]([^'\":]+)['\"]", text):
            base = folder / "litert" if name in ("litert.js", "wasm-utils.js") else folder
            assert (base / wanted).is_file(), f"{name} asks for {wanted}"
    assert '"./wasm-utils.js"' in texts["litert.js"]
    # What is missing and what is unusual is answered with the model's numbers.
    assert facts["impute"]["noise"] == {"noise": 2} and facts["impute"]["guess"]
    answers, x = litert.Model(folder / "answers.tflite"), data.examples[:3]
    whole = np.ones_like(x)
    found = answers.run("detect", {"image": x, "mask": whole})
    scores = Detector(dense).score(data)
    np.testing.assert_allclose(found["score"], scores[:3], rtol=1e-5)
    np.testing.assert_allclose(facts["meter"]["scores"][::200], np.sort(scores)[[0, -1]], rtol=1e-5)
    mask, noise = whole.copy(), np.random.default_rng(0).normal(size=(3, 64, 2))
    mask[:, 4:] = 0
    guess, given = np.full_like(x, 0.5), {"image": x, "noise": noise.astype("float32")}
    found = answers.run("impute", {**given, "mask": mask, "guess": guess})
    assert found["image"][mask > 0].tobytes() == x[mask > 0].tobytes()
    # The weights are right for any proposal: that of the guess is the encoder's.
    seen = dense.encode(np.where(mask > 0, x, guess))
    z = seen["z_mean"] + np.exp(0.5 * np.asarray(seen["z_log_var"])) * noise.swapaxes(0, 1)
    z = np.asarray(z, "float32")
    params = dense.decode_params(z)
    log_px = (mask * np.asarray(dense.likelihood.element_log_prob(params, x))).sum((2, 3, 4))
    log_weight = log_px + dense.prior.log_prob(z) - dense.posterior.log_prob(seen, z)
    weight = np.exp(log_weight - np.max(log_weight, axis=0))
    means = np.asarray(dense.likelihood.mean(params))
    wanted = np.einsum("nb,nbxyc->bxyc", weight / weight.sum(axis=0), means)
    gaps = mask == 0
    np.testing.assert_allclose(found["image"][gaps], wanted[gaps], atol=1e-5)
    assert not dense.likelihood.takes_missing and dense.missing is dense.calibration is None
    # Every element that the program looks for is on the page.
    wanted = set(re.findall(r"byId\('([a-z-]+)'\)", texts["main.js"]))
    assert len(wanted) > 20
    assert wanted <= set(re.findall(r'id="([a-z-]+)"', texts["index.html"]))


def test_a_plane_of_two_dimensions_is_z_itself(dense, data):
    facts = page.describe(dense, data, points=30)
    assert facts["event_shape"] == [8, 8, 1] and facts["latent_dim"] == 2
    assert facts["num_classes"] is None and facts["space"] == "real"
    assert facts["plane"]["centre"] == [0.0, 0.0]
    assert facts["plane"]["axes"] == [[1.0, 0.0], [0.0, 1.0]]
    assert facts["plane"]["explained"] == 1.0
    z = np.asarray(dense.encode(data.examples[:30])["z_mean"])
    np.testing.assert_array_equal(np.float32(facts["points"]["z"]), z)
    assert facts["points"]["labels"] == data.labels[:30].tolist()
    assert facts["points"]["name"] == "noise test"
    np.testing.assert_allclose(facts["spread"], z.std(axis=0), rtol=1e-5)
    assert (np.abs(z) <= facts["plane"]["extent"]).mean() > 0.99


def test_codes_of_many_numbers_are_fewer(dense, data, monkeypatch):
    monkeypatch.setattr(page, "_NUMBERS", 60)
    facts = page.describe(dense, data, points=40)
    z = np.asarray(dense.encode(data.examples[:30])["z_mean"])
    np.testing.assert_array_equal(np.float32(facts["points"]["z"]), z)
    assert facts["points"]["labels"] == data.labels[:30].tolist() and len(facts["seeds"]) == 30


def test_the_axes_are_the_principal_ones(conv, data):
    facts = page.describe(conv, data)
    z = np.asarray(conv.encode(data.examples)["z_mean"], np.float64)
    values, vectors = np.linalg.eigh(np.cov(z.T))
    axes = np.array(facts["plane"]["axes"])
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(np.abs(axes @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-3)
    np.testing.assert_allclose(facts["plane"]["centre"], z.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        facts["plane"]["explained"], values[::-1][:2].sum() / values.sum(), rtol=1e-2
    )


def test_the_page_says_what_the_model_is_and_names_its_classes(dense, data, monkeypatch):
    facts = page.describe(dense, data)
    assert "variational autoencoder" in facts["summary"]
    assert "2 numbers, z, into a grey image of 8 × 8 pixels" in facts["summary"]
    assert facts["class_names"] is None
    names = ("cats", "dogs", "mice")
    monkeypatch.setattr(data, "schema", kvae.datasets.Schema("pets", class_names=names))
    assert page.describe(dense, data)["class_names"] == list(names)


def test_seeds_are_those_of_the_serving_signature(dense, data):
    facts = page.describe(dense, data)
    for seed in (0, 7, 499):
        z = np.asarray(dense.prior.sample(1, kvae.random.split(kvae.random.as_seed(seed))[0]))
        np.testing.assert_array_equal(np.float32(facts["seeds"][seed]), z[0])


def test_without_data_the_plane_is_the_priors(conv, autoencoder):
    facts = page.describe(conv)
    assert facts["points"] is None and len(facts["seeds"]) == 500
    np.testing.assert_allclose(facts["plane"]["centre"], np.mean(facts["seeds"], 0), atol=1e-6)
    with pytest.raises(ValueError, match="no prior to draw from: give `data`"):
        page.describe(autoencoder)


@pytest.fixture(scope="module")
def told(data):
    """A model that is told three things, and data in which some of them are unknown."""
    conditions = kvae.conditions.Conditions(
        {
            "kind": ["cat", "dog", "mouse"],
            "size": kvae.conditions.Real(2.0, 0.5),
            "hour": "periodic:24",
        }
    )
    arguments = {"event_shape": (8, 8, 1), "latent_dim": 2, "hidden": (4,), "seed": 0}
    model = zoo.build("dense_vae", conditions=conditions, **arguments)
    values = {"kind": data.labels, "size": np.linspace(1.0, 2.5, 40), "hour": np.full(40, np.nan)}
    return model, kvae.datasets.from_array(data.examples, values)


def test_the_page_is_told_of_conditions(told):
    model, known = told
    facts = page.describe(model, known, points=30)
    found = facts["conditions"]
    assert list(found) == ["kind", "size", "hour"] and facts["num_classes"] is None
    assert found["kind"]["classes"] == ["cat", "dog", "mouse"] == facts["class_names"]
    assert [found[name]["start"] for name in found] == [0, 1.0, None]
    assert [found["size"][end] for end in ("least", "most")] == [1.0, 2.5]
    assert [found["hour"][end] for end in ("least", "most")] == [0.0, 24.0]
    label = {name: value[:30] for name, value in known.labels.items()}
    z = np.asarray(model.encode(known.examples[:30], label)["z_mean"])
    np.testing.assert_array_equal(np.float32(facts["points"]["z"]), z)
    assert facts["points"]["labels"] == known.labels["kind"][:30].tolist()
    assert np.shape(facts["seeds"]) == (500, 2)  # z does not depend on the conditions.
    assert "z, and what it is told (kind, size, hour) into" in facts["summary"]


def test_without_data_nothing_is_known_of_conditions(told):
    model, known = told
    found = page.describe(model)["conditions"]
    assert [found[name]["start"] for name in found] == [None, None, None]
    assert [found["size"][end] for end in ("least", "most")] == [0.5, 3.5]
    with pytest.raises(ValueError, match="has conditions, and the data have none"):
        page.describe(model, kvae.datasets.from_array(known.examples))


def test_fill_is_the_typical_extent():
    images = np.zeros((3, 28, 28, 1), np.float32)
    images[:, 4:24, 10:16] = 1.0
    images[1, 0, 0] = 0.05
    assert page._fill(images) == pytest.approx(20 / 28, abs=1e-4)


def test_wrong_arguments_are_named(dense, autoencoder, tmp_path):
    with pytest.raises(ValueError, match=r"images of shape .*have shape \(12,\)"):
        export.web(autoencoder, tmp_path / "page")
    with pytest.raises(ValueError, match="'float32' or 'float16', not 'int8'"):
        export.web(dense, tmp_path / "page", precision="int8")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Cannot write the page"):
        export.web(dense, tmp_path / "file")
    assert not (tmp_path / "page").exists()


def test_without_a_network_the_error_says_what_to_do(packages, tmp_path):
    with pytest.raises(ConnectionError, match=r"npm pack @litertjs/core@[\d.]+ .*that folder"):
        litert_js.copy(tmp_path)


def test_runtime_is_downloaded_once_and_checked(packages, monkeypatch, tmp_path):
    asked = []

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(packages[self.path.split("/")[2]])

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
        files = litert_js.copy(tmp_path)
        assert litert_js.copy(tmp_path) == files and len(files) == 4
        assert asked == [
            f"/@litertjs/{name}/-/{name}-{litert_js.VERSION}.tgz" for name in ("core", "wasm-utils")
        ]
        cache = litert_js.cache_folder() / f"litertjs-core-{litert_js.VERSION}.tgz"
        cache.write_bytes(b"something else")
        with pytest.raises(ValueError, match="SHA-256 differs. Delete it"):
            litert_js.copy(tmp_path)
        cache.unlink()
        packages["core"] = b"something else"
        with pytest.raises(ValueError, match="SHA-256 differs. Nothing was kept"):
            litert_js.copy(tmp_path)
        assert not cache.exists()
        server.shutdown()
