"""Models on the Hugging Face Hub, which is a server on this machine here."""

import argparse
import copy
import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

import kvae
import zoo
from kvae.cli import common, main
from kvae.cli import data as own
from kvae.utils import io
from zoo import hub

VAE, AUTOENCODER = "dense_vae.digits", "dense_autoencoder.digits"


def _module(name):
    spec = importlib.util.spec_from_file_location(
        name, pathlib.Path(__file__).with_name(f"{name}.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hub_server = _module("hub_server")


@pytest.fixture(scope="module")
def library():
    """huggingface_hub, imported with the address of the stand-in, and the stand-in."""
    pytest.importorskip("huggingface_hub")
    server = hub_server.Hub()
    before = {name: module for name, module in sys.modules.items() if _is_library(name)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", server.address)
        patch.setenv("HF_HUB_DISABLE_XET", "1")
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        for name in before:  # It reads its environment when it is imported.
            del sys.modules[name]
        import huggingface_hub.constants

        yield huggingface_hub, server
        server.stop()
        for name in [name for name in sys.modules if _is_library(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_library(name):
    return name.partition(".")[0] == "huggingface_hub"


@pytest.fixture
def server(library, tmp_path, monkeypatch):
    """An empty Hub, an empty cache and a login."""
    _, server = library
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    server.reset()
    return server


@pytest.fixture(scope="module")
def stored(library):
    """What a push of the VAE to me/vae leaves on the server."""
    _, server = library
    server.reset()
    address = zoo.push_to_hub(VAE, "me/vae", token=hub_server.TOKEN)
    return address, server.repositories


@pytest.fixture
def pushed(server, stored):
    """A Hub with the VAE at me/vae."""
    server.repositories = copy.deepcopy(stored[1])
    return server


def assert_same(one, other, x):
    np.testing.assert_array_equal(one.reconstruct(x), other.reconstruct(x))
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def digits():
    return kvae.datasets.load("digits", "test").examples[:4]


class TestZooModel:
    def test_comes_back_as_it_went(self, pushed, stored, digits, eagerly):
        name, _, commit = stored[0].partition("@")
        assert name == "hf://me/vae" and commit == pushed.repositories["me/vae"].find("main")
        vae = zoo.load(stored[0])
        assert vae.compiled
        assert_same(vae, zoo.load(VAE), digits)
        assert pushed.repositories["me/vae"].messages[-1] == VAE

    def test_files(self, pushed):
        files = pushed.files("me/vae")
        assert sorted(files) == ["README.md", "config.json", "model.weights.h5", "samples.png"]
        assert files["model.weights.h5"] == zoo.weights.find(zoo.card(VAE)).read_bytes()
        config = json.loads(files["config.json"])
        assert config["model"] is None and config["card"]["architecture"] == "dense_vae"
        assert files["samples.png"][:4] == b"\x89PNG"

    def test_card_is_the_models_card(self, pushed):
        shipped, found = zoo.card(VAE).to_dict(), zoo.card("hf://me/vae").to_dict()
        weights = found.pop("weights")
        assert weights == {**shipped.pop("weights"), "file": "model.weights.h5"}
        assert found == shipped

    def test_readme_is_a_model_card_of_the_hub(self, pushed, library):
        text = pushed.files("me/vae")["README.md"].decode()
        card, data = zoo.card(VAE), library[0].ModelCard(text).data
        assert data.license == "apache-2.0" and data.library_name == "kvae"
        assert {"kvae", "keras"} <= set(data.tags)
        assert data.pipeline_tag == "unconditional-image-generation"
        figures = {result.metric_type: result for result in data.eval_results}
        assert set(figures) == {"elbo", "kl", "nll", "reconstruction"}
        assert figures["nll"].metric_value == card.metrics["nll"]["nll"]
        assert f"± {card.metrics['nll']['standard_error']:.2g}" in figures["nll"].metric_name
        assert figures["nll"].dataset_name == "digits"
        assert 'zoo.load("hf://me/vae")' in text and card.headline in text

    def test_an_autoencoder_has_no_samples(self, server, digits, eagerly):
        address = zoo.push_to_hub(AUTOENCODER, "me/autoencoder")
        assert "samples.png" not in server.files("me/autoencoder")
        assert "samples.png" not in server.files("me/autoencoder")["README.md"].decode()
        assert_same(zoo.load(address), zoo.load(AUTOENCODER), digits)

    @pytest.mark.slow  # `test_branches` pushes again, and finds both commits.
    def test_pushed_again_it_is_replaced_and_the_old_commit_stays(self, pushed, stored, digits):
        new = zoo.push_to_hub(AUTOENCODER, "me/vae", message="another")
        assert zoo.load("hf://me/vae").prior is None and zoo.load(new).prior is None
        assert_same(zoo.load(stored[0]), zoo.load(VAE), digits)
        assert pushed.repositories["me/vae"].messages[-1] == "another"

    def test_branches(self, pushed, eagerly):
        for _ in range(2):  # Made, then found.
            zoo.push_to_hub(AUTOENCODER, "me/vae", revision="small")
        assert zoo.load("hf://me/vae@small").prior is None
        assert zoo.load("hf://me/vae").prior is not None

    def test_private_with_a_token(self, server, monkeypatch, eagerly):
        monkeypatch.delenv("HF_TOKEN")
        zoo.push_to_hub(AUTOENCODER, "me/vae", private=True, token=hub_server.TOKEN)
        assert server.repositories["me/vae"].private
        with pytest.raises(FileNotFoundError, match="or it is private .*hf auth login"):
            zoo.load("hf://me/vae")
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        zoo.load("hf://me/vae")

    def test_commands_take_addresses(self, pushed, capsys):
        assert main(["info", "hf://me/vae", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["name"] == VAE
        model = common.load_model("hf://me/vae")
        given = argparse.Namespace(data=None, dataset=None, binarize=None)
        here, there = (own.load_data(model, name, given) for name in (VAE, "hf://me/vae"))
        assert (there.name, there.binarize, there.seed) == ("digits", "dynamic", 0)
        np.testing.assert_array_equal(here.examples, there.examples)


def test_a_card_shows_its_text_and_nothing_else(capsys):
    """Neither escapes nor the markup of rich, whoever wrote it."""
    facts = zoo.card(VAE).to_dict()
    facts["name"] = "[blink]x[/blink]\x1b]0;title\x07"
    facts["recipe"] = {"a\x1b[1A": ["\u202eb"], "command": "[link=http://x]c"}
    card = zoo.Card(**facts)
    assert card.name == r"[blink]x[/blink]\x1b]0;title\x07"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "card", lambda name: card)
        assert main(["info", "hf://me/vae"]) == 0
        shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown
    for text in (r"[blink]x[/blink]\x1b]0;title\x07", r"a\x1b[1A", r"\u202eb", "[link=http://x]c"):
        assert text in shown
    assert zoo.Card(**card.to_dict()) == card


class TestOwnModel:
    def build(self):
        encoder = keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu")]
        )
        decoder = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1))]
        )
        prior = kvae.priors.GaussianMixture(num_components=2)
        return kvae.VAE(encoder, decoder, 3, "full_covariance", prior, name="mine")

    def test_comes_back_as_it_went(self, server, digits, eagerly):
        vae = self.build()
        vae.compile("adam", run_eagerly=True)
        vae.fit(digits, epochs=1, verbose=0)
        metrics = {"elbo": -30.5, "nll": {"nll": 29.0, "standard_error": 0.5, "num_samples": 9}}
        address = zoo.push_to_hub(
            vae, "me/mine", metrics=metrics, dataset="mnist", license="Apache-2.0"
        )
        again = zoo.load(address)
        assert_same(vae, again, digits)
        np.testing.assert_array_equal(vae.sample(2, seed=1), again.sample(2, seed=1))
        card = zoo.card(address)
        assert card.metrics == metrics and card.dataset == {"name": "mnist"}
        assert card.cost["parameters"] == vae.count_params()

    def test_without_facts_nothing_is_said_of_them(self, server, library, eagerly):
        zoo.push_to_hub(self.build(), "me/mine")
        text = server.files("me/mine")["README.md"].decode()
        data = library[0].ModelCard(text).data
        assert data.license is None and data.eval_results is None and data.datasets is None
        assert "not measured" in text and "retrain" not in text

    def test_data_sets_go_by_their_names_on_the_hub(self, server, library, eagerly):
        zoo.push_to_hub(self.build(), "me/mine", dataset="mnist", metrics={"elbo": -100.5})
        data = library[0].ModelCard(server.files("me/mine")["README.md"].decode()).data
        assert data.datasets == ["ylecun/mnist"]
        (result,) = data.eval_results
        assert (result.dataset_type, result.metric_value) == ("ylecun/mnist", -100.5)

    def test_code_is_not_pushed(self, server):
        vae = self.build()
        code = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda z: z), vae.decoder])
        vae = kvae.VAE(vae.encoder, code, 3)
        with pytest.raises(ValueError, match="cannot be built again from its configuration"):
            zoo.push_to_hub(vae, "me/mine")
        assert server.repositories == {}


class TestErrors:
    def test_no_such_repository(self, server):
        with pytest.raises(FileNotFoundError, match="There is no hf://me/nothing on http"):
            zoo.load("hf://me/nothing")

    def test_no_such_revision(self, pushed):
        with pytest.raises(FileNotFoundError, match="no such branch, tag or commit"):
            zoo.load("hf://me/vae@nothing")

    def test_gated(self, pushed):
        pushed.gated.add("me/vae")
        with pytest.raises(PermissionError, match="accept its terms"):
            zoo.load("hf://me/vae")

    @pytest.mark.parametrize("call", [zoo.card, zoo.load])
    def test_not_a_model_of_kvae(self, pushed, call):
        pushed.alter("me/vae", config__json=None)
        with pytest.raises(FileNotFoundError, match="has no config.json: it is no model that kvae"):
            call("hf://me/vae")

    def test_missing_weights(self, pushed):
        pushed.alter("me/vae", model__weights__h5=None)
        with pytest.raises(FileNotFoundError, match="has no model.weights.h5"):
            zoo.load("hf://me/vae")

    @pytest.mark.parametrize("position", [100, -1])
    def test_tampered_weights(self, pushed, position):
        content = bytearray(pushed.files("me/vae")["model.weights.h5"])
        content[position] ^= 1
        pushed.alter("me/vae", model__weights__h5=bytes(content))
        with pytest.raises(ValueError, match="truncated or altered"):
            zoo.load("hf://me/vae")

    def test_altered_on_this_machine_then_deleted_as_the_error_says(self, pushed, tmp_path):
        zoo.load("hf://me/vae")
        (link,) = (tmp_path / "cache").rglob("snapshots/*/model.weights.h5")
        link.resolve().write_bytes(b"cut")
        with pytest.raises(ValueError, match="truncated or altered") as error:
            zoo.load("hf://me/vae")
        path = pathlib.Path(str(error.value).partition(" is not ")[0])
        path.unlink()
        zoo.load("hf://me/vae")

    @pytest.mark.parametrize(
        "change, message",
        [
            ("[]", "not one that kvae has pushed"),
            ("{", "not one that kvae has pushed"),
            ('{"kvae_format": 1, "card": {"name": "x"}, "model": null}', "not one that kvae"),
            ('{"kvae_format": 2, "card": %s, "model": null}', "pushed by a newer kvae"),
            ('{"kvae_format": 1, "card": %s, "model": {"class_name": "Dense"}}', "cannot be built"),
            (
                '{"kvae_format": 1, "card": %s, "model": {"module": "keras.layers",'
                ' "class_name": "Dense", "config": {"units": 1}, "registered_name": null}}',
                "a Dense, not a kvae.VAE",
            ),
        ],
    )
    def test_other_configurations(self, pushed, change, message):
        card = json.loads(pushed.files("me/vae")["config.json"])["card"]
        change = change.replace("%s", json.dumps(card))
        pushed.alter("me/vae", config__json=change.encode())
        with pytest.raises(ValueError, match=message):
            zoo.load("hf://me/vae")

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda c: c.update(model=json.loads("[" * 500 + "]" * 500)), "nested too deeply"),
            (lambda c: c["card"]["arguments"].update(hidden=[60_000, 60_000]), "take more than"),
            (lambda c: c["card"]["arguments"].update(latent_dim=10**9), "take more than"),
            (lambda c: c["card"]["arguments"].update(latent_dim="20"), "cannot be built"),
            (lambda c: c["card"]["arguments"].update(hidden={"a": []}), "cannot be built"),
            (lambda c: c["card"].update(architecture="iaf_vae\x1b[2J"), "control characters"),
            (lambda c: c["card"].update(metrics="nll"), "its metrics is a str"),
            (
                lambda c: c["card"].update(metrics={"nll": {"nll": "x"}}),
                "nll of its metrics is no number",
            ),
            (
                lambda c: c["card"].update(metrics={"elbo": []}),
                "the elbo of its metrics is no number",
            ),
            (lambda c: c["card"].update(weights=[]), "its weights is a list"),
            (lambda c: c["card"].update(weights={}), "names no weights"),
            (lambda c: c["card"].update(weights={"sha256": 3}), "the sha256 of its weights"),
            (lambda c: c["card"].update(cost={"parameters": "x"}), "the parameters of its cost"),
            (lambda c: c["card"].update(name=3), "its name is a int"),
            (lambda c: c["card"].update(dataset=None), "its dataset is a NoneType"),
            (lambda c: c.update(card=[]), "not one that kvae has pushed"),
            (lambda c: c.update(card={"x\x1b[2J": 1}), "control characters"),
            (lambda c: c.update(kvae_format="9" * 9999), "pushed by a newer kvae"),
            (lambda c: c.update(kvae_format=["\u202e"]), "control characters"),
            (lambda c: c.pop("model"), "cannot be built"),
            (lambda c: c.update(model=3), "cannot be built"),
        ],
    )
    def test_crafted_configurations(self, pushed, change, message, capsys):
        config = json.loads(pushed.files("me/vae")["config.json"])
        change(config)
        pushed.alter("me/vae", config__json=json.dumps(config).encode())
        with pytest.raises(ValueError, match=message) as failure:
            zoo.load("hf://me/vae")
        text = str(failure.value)
        assert len(text) < 1000 and "\n" not in text and text.isprintable()
        assert main(["sample", "hf://me/vae"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "\x1b" not in error

    @pytest.mark.parametrize("text", ["[" * 200_000, "{" * 200_000, " " * 5_000_000 + "{}", "\xff"])
    def test_crafted_json(self, pushed, text):
        pushed.alter("me/vae", config__json=text.encode("latin-1"))
        for call in zoo.load, zoo.card:
            with pytest.raises(ValueError, match="not one that kvae has pushed"):
                call("hf://me/vae")

    def test_weights_that_declare_more_than_they_store(self, pushed, tmp_path):
        import h5py

        path = tmp_path / "model.weights.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("x", (10**9,), "f4", chunks=(1000,), compression="gzip")
        config = json.loads(pushed.files("me/vae")["config.json"])
        config["card"]["weights"]["sha256"] = io.sha256_file(path)
        content = {"model__weights__h5": path.read_bytes()}
        pushed.alter("me/vae", config__json=json.dumps(config).encode(), **content)
        with pytest.raises(ValueError, match="declares more than is stored"):
            zoo.load("hf://me/vae")

    @pytest.mark.filterwarnings("ignore:Skipping nested container")
    def test_weights_of_another_model(self, pushed):
        other = zoo.weights.find(zoo.card(AUTOENCODER)).read_bytes()
        config = json.loads(pushed.files("me/vae")["config.json"])
        config["card"]["weights"]["sha256"] = io.sha256_file(
            zoo.weights.find(zoo.card(AUTOENCODER))
        )
        pushed.alter("me/vae", model__weights__h5=other, config__json=json.dumps(config).encode())
        with pytest.raises(ValueError, match="cannot be built from its config.json"):
            zoo.load("hf://me/vae")

    def test_without_network_the_cache_serves(self, pushed, digits):
        first = zoo.load("hf://me/vae")
        with pushed.down():
            assert_same(first, zoo.load("hf://me/vae"), digits)
            with pytest.raises(ConnectionError, match="Cannot reach http.*not in the cache"):
                zoo.load("hf://me/other")
            with pytest.raises(ConnectionError, match="Cannot reach http"):
                zoo.push_to_hub(AUTOENCODER, "me/vae")

    def test_a_failing_hub(self, server):
        server.failing = True
        with pytest.raises(OSError, match="500"):
            zoo.load("hf://me/vae")

    def test_pushing_without_a_token(self, server, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(PermissionError, match="a token with the right to .*hf auth login"):
            zoo.push_to_hub(AUTOENCODER, "me/vae")
        assert server.repositories == {}

    def test_the_command_line_says_so_in_one_line(self, server, capsys):
        assert main(["sample", "hf://me/nothing"]) == 2
        error = capsys.readouterr().err
        assert (
            error.startswith("kvae: error: There is no hf://me/nothing") and error.count("\n") == 1
        )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: zoo.load("hf://me"), "hf://user/repo@revision, not 'hf://me'"),
        (lambda: zoo.card("hf://me/a/b"), "hf://user/repo"),
        (lambda: zoo.load("hf://me/vae@"), "hf://user/repo"),
        (lambda: zoo.push_to_hub(VAE, "vae"), "'user/repo', not 'vae'"),
    ],
)
def test_addresses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: zoo.push_to_hub("dense_vae.digit", "me/vae"), "Did you mean 'dense_vae.digits'"),
        (lambda: zoo.push_to_hub(VAE, "me/vae", license="mit"), "are those of its card"),
        (lambda: zoo.push_to_hub(keras.Sequential(), "me/vae"), "not a Sequential"),
    ],
)
def test_models_that_cannot_be_pushed(call, message, monkeypatch):
    monkeypatch.setattr(hub, "library", lambda: None)  # Refused before it is asked for anything.
    with pytest.raises(ValueError, match=message):
        call()


def test_without_the_library(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["sample", "hf://me/vae"]) == 2
    assert "pip install 'keras-kvae[hub]'" in capsys.readouterr().err
