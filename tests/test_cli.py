"""The command line as a user meets it: output, files, exit status, errors."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import export
import kvae
import zoo
from export.writers.register import FORMATS
from kvae import cli
from kvae.cli import main
from kvae.cli.commands import demo, train

VAE = "dense_vae.digits"
AUTOENCODER = "dense_autoencoder.digits"
FEW = ("evaluate", VAE, "--samples", "2", "--limit", "3")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def output(capsys, *arguments, status=0):
    assert main(list(arguments)) == status
    return capsys.readouterr().out


def error(capsys, *arguments):
    try:
        status = main(list(arguments))
    except SystemExit as stop:  # An argument that is wrong in itself.
        status = stop.code
    assert status == 2
    *_, text = capsys.readouterr().err.splitlines()  # What it was doing stands before.
    assert text.startswith("kvae: error: ")
    return text


@pytest.mark.slow
def test_module_and_quiet_start(folder):
    """`python -m kvae`: of TensorFlow's start-up, one line of ours is told."""
    run = subprocess.run(
        [sys.executable, "-m", "kvae", "evaluate", VAE, "--samples", "2", "--limit", "3", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout)["num_examples"] == 3
    assert run.stderr == f"Loading TensorFlow …\nevaluating {VAE}\n"


def test_list(capsys):
    text = output(capsys, "list")
    assert all(name in text for name in zoo.list_models())
    cards = json.loads(output(capsys, "list", "*.digits", "--json"))
    assert [card["name"] for card in cards] == zoo.list_models("*.digits")
    for how in ([], ["--json"], ["--markdown"]):
        assert "nothing*" in error(capsys, "list", "nothing*", *how)
    table = output(capsys, "list", "--markdown")
    start = zoo.card("iwae.mnist_k5").starts_from
    assert re.search(rf"`iwae.mnist_k5`.* min, from the weights of `{re.escape(start)}` \|", table)


def test_info(capsys):
    card = json.loads(output(capsys, "info", VAE, "--json"))
    assert card == json.loads(json.dumps(zoo.card(VAE).to_dict()))
    assert card["weights"]["sha256"] in output(capsys, "info", VAE)
    assert "'dense_vae.digits'" in error(capsys, "info", "dense_vae.digit")


def test_evaluate_measures_as_the_card_was_measured(capsys, monkeypatch):
    card, asked = zoo.card(VAE), {}

    def evaluate(model, data, **options):
        asked.update(options, data=data.examples)
        raise ValueError("asked")

    monkeypatch.setattr(kvae.evaluation, "evaluate", evaluate)
    assert "asked" in error(capsys, "evaluate", VAE)
    assert asked["num_samples"] == card.metrics["nll"]["num_samples"]
    assert asked["seed"] == card.recipe["seed"]
    test = kvae.datasets.load(
        "digits", "test", binarize=card.preprocessing["binarize"], seed=card.recipe["seed"]
    )
    np.testing.assert_array_equal(asked["data"], test.examples)


@pytest.mark.slow  # The figures themselves: tests/zoo/test_pretrained.py, and an autoencoder below.
def test_evaluate_reproduces_the_card(capsys):
    card = zoo.card(VAE)
    result = json.loads(output(capsys, "evaluate", VAE, "--json"))
    nll = card.metrics["nll"]
    assert result["nll"]["num_samples"] == nll["num_samples"]
    # The same seed, so the same noise: only the rounding of another machine is left.
    assert result["nll"]["nll"] == pytest.approx(nll["nll"], abs=0.01)
    assert result["elbo"] == pytest.approx(card.metrics["elbo"], abs=0.01)


def test_an_error_that_one_sample_does_not_have_is_null_and_the_cache_goes_on(
    capsys, folder, eagerly
):
    command = ("evaluate", VAE, "--samples", "1", "--limit", "3", "--json", "--cache", "nll")
    first = output(capsys, *command, "-o", "out")
    for text in (first, (folder / "out/result.json").read_text()):
        assert "NaN" not in text
        assert json.loads(text)["nll"]["monte_carlo_error"] is None
    assert (folder / "nll").stat().st_size > 0
    assert output(capsys, *command) == first
    (folder / "nll").write_bytes(b"")
    assert "Delete it" in error(capsys, *command)


def test_evaluate_prints_what_it_writes(capsys, folder, eagerly):
    command = ("evaluate", AUTOENCODER, "--limit", "40", "--sampler", "kmeans", "--latents")
    text = output(capsys, *command, "-o", "out")
    assert "dense_autoencoder.digits with kmeans on digits test" in text
    result = json.loads((folder / "out/result.json").read_text())
    assert f"{result['bce_per_pixel']:.5f}" in text and "active units" in text
    for name in ("samples", "aggregate_posterior"):
        Image.open(folder / f"out/{name}.png").verify()
        assert f"]({name}.png)" in (folder / "out/result.md").read_text()


def test_what_was_measured_is_printed_though_it_cannot_be_written(
    capsys, folder, monkeypatch, eagerly
):
    from kvae import evaluation

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluation.Result, "write", full)
    assert main([*FEW, "-o", "out"]) == 2
    captured = capsys.readouterr()
    assert "nll" in captured.out and "No space left" in captured.err
    # A path that cannot be a folder is refused before hours of work.
    (folder / "file").write_text("")
    assert "file is a file, not a folder" in error(capsys, *FEW, "-o", "file")


def test_evaluate_an_autoencoder(capsys):
    result = json.loads(output(capsys, "evaluate", AUTOENCODER, "--json"))
    assert not {"nll", "elbo", "kl"} & set(result)
    expected = zoo.card(AUTOENCODER).metrics["bce_per_pixel"]
    assert result["bce_per_pixel"] == pytest.approx(expected, rel=1e-4)
    expected = zoo.card(AUTOENCODER).metrics["bce_standard_error"]
    assert result["bce_standard_error"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_evaluate_disentanglement(capsys, folder):
    zoo.build("dense_vae", event_shape=(64, 64, 1), latent_dim=2, hidden=(4,)).save("vae.keras")
    command = ("evaluate", "vae.keras", "--disentanglement", "--limit", "40")
    result = json.loads(output(capsys, *command, "--json"))
    assert result["num_train"] == 40 and result["num_groups"] == 40
    text = output(capsys, *command)
    assert re.search(rf"MIG +{result['mig']:.4g}\n", text)
    assert "models of sprites" in error(capsys, "evaluate", VAE, "--disentanglement")


def test_sample(capsys, folder, eagerly):
    output(capsys, "sample", VAE, "-n", "4", "--seed", "3", "-o", "out/z.npy")
    first = np.load(folder / "out/z.npy")
    np.testing.assert_array_equal(first, zoo.load(VAE).sample(4, seed=3))
    output(capsys, "sample", VAE, "-n", "4", "-o", "z.png")
    assert Image.open(folder / "z.png").size[0] > 100
    assert "without a prior" in error(capsys, "sample", AUTOENCODER)
    assert ".png, .npy or .csv" in error(capsys, "sample", VAE, "-o", "z.jpg")


def test_sample_of_an_autoencoder(capsys, folder):
    arguments = ("sample", AUTOENCODER, "--sampler", "gmm", "-n", "4", "-o", "z.npy")
    assert "wrote ae.keras" in output(capsys, *arguments, "--save", "ae.keras")
    first = np.load("z.npy")
    assert first.std() > 0.1
    # The file samples without the data.
    output(capsys, "sample", "ae.keras", "-n", "4", "-o", "again.npy")
    np.testing.assert_array_equal(np.load("again.npy"), first)
    assert "gmm" in error(capsys, "sample", AUTOENCODER, "--sampler", "gnn")
    assert "ends in .keras" in error(capsys, *arguments, "--save", "ae.h5")


@pytest.fixture
def conditional(folder):
    """An untrained model of the digits given their class, and its file."""
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, hidden=(8,), num_classes=10)
    vae.save("model.keras")
    return vae


def test_sample_of_a_conditional_model(conditional, capsys, folder, eagerly):
    output(capsys, "sample", "model.keras", "-n", "3", "--label", "7", "-o", "z.npy")
    np.testing.assert_array_equal(np.load("z.npy"), conditional.sample(3, label=7, seed=0))
    output(capsys, "plot", "model.keras", "reconstructions", "-n", "2", "-o", "r.png")
    Image.open(folder / "r.png").verify()
    text = error(capsys, "plot", "model.keras", "manifold", "-n", "3", "-o", "n.png")
    assert "give --label, from 0 to 9" in text and not (folder / "n.png").exists()
    assert "give --label, from 0 to 9" in error(capsys, "sample", "model.keras", "-o", "z.npy")
    assert "class '12': it is 0 to 9" in error(capsys, "sample", "model.keras", "--label", "12")
    assert "takes no labels" in error(capsys, "sample", VAE, "--label", "1")


@pytest.mark.slow  # The test above draws one picture.
def test_pictures_of_a_conditional_model(conditional, capsys, folder):
    output(capsys, "sample", "model.keras", "-n", "20", "-o", "z.png")
    output(capsys, "plot", "model.keras", "manifold", "-n", "3", "--label", "4", "-o", "m.png")
    output(capsys, "plot", "model.keras", "interpolation", "-n", "2", "-o", "i.png")
    for name in ("z.png", "m.png", "i.png"):
        Image.open(folder / name).verify()


@pytest.mark.parametrize(
    "kind", ["reconstructions", "samples", "latent", "manifold", "interpolation"]
)
@pytest.mark.default("latent")  # A test above draws reconstructions.
def test_plot(capsys, folder, kind):
    output(capsys, "plot", VAE, kind)
    Image.open(folder / f"{kind}.png").verify()


@pytest.mark.slow
def test_train_then_use_the_file(capsys, folder):
    arguments = ["train", "dense_vae", "--epochs", "1", "--latent-dim", "3", "--limit", "128"]
    arguments += ["--posterior", "full_covariance", "--prior", "gaussian_mixture"]
    result = json.loads(output(capsys, *arguments, "--samples", "4", "-o", "run", "--json"))
    assert np.isfinite(result["nll"]["nll"])
    again = json.loads(
        output(
            capsys,
            "evaluate",
            "run/model.keras",
            "--binarize",
            "dynamic",
            "--samples",
            "4",
            "--json",
        )
    )
    assert again["nll"]["nll"] == pytest.approx(result["nll"]["nll"], abs=1e-3)


def test_the_objective_and_its_weight_are_the_ones_that_are_named():
    words = ["train", "dense_vae", "--objective", "beta_tcvae", "--beta"]
    one, other, same = (
        train._recipe(cli._parser("train").parse_args([*words, beta])) for beta in ("3", "4", "3")
    )
    objective = zoo.build(one.architecture, **one.arguments).objective
    assert isinstance(objective, kvae.objectives.BetaTCVAE)
    assert objective.get_config()["beta"] == 3.0
    assert one == same != other


@pytest.mark.slow
def test_train_with_an_objective(capsys, folder):
    arguments = ["train", "dense_vae", "--epochs", "1", "--limit", "128", "--samples", "2"]
    arguments += ["--objective", "beta_tcvae", "-o", "run", "--json", "--beta"]
    output(capsys, *arguments, "3")
    objective = kvae.load_model("run/model.keras").objective
    assert (
        isinstance(objective, kvae.objectives.BetaTCVAE) and objective.get_config()["beta"] == 3.0
    )
    output(capsys, *arguments, "3")  # Known again, and done …
    assert "another training" in error(capsys, *arguments, "4")  # … but not with another β.


@pytest.mark.parametrize(
    "dataset, binarize", [("digits", "dynamic"), ("breast_cancer", None), ("signals", None)]
)
def test_only_intensities_are_binarized(dataset, binarize):
    arguments = cli._parser("train").parse_args(["train", "dense_vae", "--dataset", dataset])
    assert train._recipe(arguments).binarize == binarize


@pytest.mark.parametrize(
    "likelihood, binarize",
    [("bernoulli", "dynamic"), ("gaussian", None), ("categorical", None), ("laplace", None)],
)
def test_only_a_bernoulli_gets_zeros_and_ones(likelihood, binarize):
    parse = cli._parser("train").parse_args
    arguments = ["train", "dense_vae", "--likelihood", likelihood]
    assert train._recipe(parse(arguments)).binarize == binarize
    assert train._recipe(parse([*arguments, "--binarize", "static"])).binarize == "static"


@pytest.mark.slow  # As tests/zoo/test_untrained.py does of another one.
def test_train_a_recipe_makes_a_card(capsys, folder):
    arguments = ["train", "--recipe", AUTOENCODER, "--epochs", "1", "-o", "run"]
    output(capsys, *arguments)
    card = zoo.Card.read(folder / f"run/cards/{AUTOENCODER}.json")
    assert card.recipe["epochs"] == 1
    assert "another training" in error(capsys, *arguments, "--seed", "4")


@pytest.mark.slow
def test_export_is_verified(capsys):
    result = json.loads(output(capsys, "export", VAE, "-o", "serving/x", "--json"))
    assert result["path"].endswith("serving/x/1") and result["verification"]["ok"]


def test_export_and_verify(capsys, folder, remembered_runtimes, calibration_in_this_process):
    output(capsys, "export", VAE, "-f", "tflite", "-o", "x.tflite", "--no-verify")
    assert "x.tflite" in output(capsys, "verify", "x.tflite", "--model", VAE)
    # Another model's numbers are not this model's.
    command = ("verify", "x.tflite", "--model", "conv_vae.digits", "--json")
    assert not json.loads(output(capsys, *command, status=1))["ok"]


@pytest.mark.slow
def test_export_as_int8_and_verify_a_saved_model(capsys):
    text = output(capsys, "export", VAE, "-f", "tflite", "-o", "x.tflite", "--precision", "int8")
    assert "good enough" in text and "nats" in text and "SavedModel" in text
    output(capsys, "export", VAE, "-o", "serving/x", "--no-verify")
    assert json.loads(output(capsys, "verify", "serving/x/1", "--model", VAE, "--json"))["ok"]


def test_what_is_said_of_a_repository_reaches_its_writer(capsys, monkeypatch):
    known = FORMATS["repository"]
    assert known.write is export.publish
    given = {}

    def write(model, path, **options):
        given.update(options, path=path, parameters=model.count_params())
        return export.Publication(pathlib.Path(path, "models", VAE, "3"), 3, (1,), None)

    monkeypatch.setitem(FORMATS._things, "repository", dataclasses.replace(known, write=write))
    arguments = ["--format", "repository", "site", "--keep", "2", "--preprocessing", "png"]
    text = output(capsys, "export", VAE, *arguments, "--no-verify")
    assert f"published site/models/{VAE}/3\nremoved version 1\nsite/README.md says" in text
    options = {"name": VAE, "keep": 2, "preprocessing": "png", "fit": "stretch", "verify": False}
    cost = zoo.card(VAE).cost["parameters"]
    assert given == {**options, "path": "site", "parameters": cost}


@pytest.mark.slow
def test_export_a_repository(capsys, folder):
    arguments = ["--format", "repository", "site", "--keep", "2", "--preprocessing", "png"]
    published = json.loads(output(capsys, "export", VAE, *arguments, "--no-verify", "--json"))
    assert published["verification"] is None
    assert published["path"].endswith(f"site/models/{VAE}/1")
    assert (folder / "site/docker-compose.yml").is_file()
    described = json.loads((folder / published["path"] / "assets.extra/kvae.json").read_text())
    assert described["signatures"]["embed"]["inputs"]["image_bytes"]["dtype"] == "string"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nope.keras"], "no model file nope.keras"),
        (["evaluate", VAE, "--dataset", "mnits"], "'mnist'"),
        (["evaluate", VAE, "--dataset", "frey_faces"], "frey_faces"),
        (["train", "dense_vea"], "'dense_vae'"),
        (["sweep", "dense_vea"], "'dense_vae'"),
        (["sweep", "vqvae", "--limit", "8", "-o", "out"], "latent_dim"),
        (["train", "dense_vae", "--distributed", "cluster"], "TF_CONFIG names no workers"),
        (["train", "dense_vae", "--distributed", "2"], "Workers share a folder"),
        (["train", "dense_vae", "--data", "nowhere"], "nowhere: give --data a folder of images"),
        (["train", "dense_vae", "--data", "."], "holds no image"),
        (["train", "dense_vae", "--data", "file"], "is no file that can be read"),
        (
            ["train", "dense_vae", "--data", ".", "--event-shape", "8", "8", "1"],
            "holds no image",
        ),
        (["train", "dense_vae", "--event-shape", "8", "8", "1"], "give that, too"),
        (["train", "dense_vae", "--posterior", "iaff"], "Unknown posterior 'iaff'"),
        (["train", "dense_vae", "--objective", "elbow"], "Unknown objective 'elbow'"),
        (
            ["train", "dense_vae", "--objective", "wae", "--beta", "2"],
            "WAE has no `beta`: leave out",
        ),
        (
            ["train", "--recipe", VAE, "--objective", "wae"],
            "--objective belongs to an architecture",
        ),
        (["train", "--recipe", VAE, "--prior", "vamp"], "--prior belongs to an architecture"),
        (["train", "--recipe", "x.y"], "Unknown recipe"),
        (["train", "--recipe", VAE, "--beta", "2"], "--beta belongs to an architecture"),
        (["verify", "nowhere"], "nowhere"),
        (["export", VAE, "-o", "file/below"], "file"),
        (["export", VAE, "there", "-o", "here"], "Give the path once"),
        (["export", VAE, "--keep", "2"], "--keep is for --format repository"),
        (
            ["export", VAE, "-f", "tflite", "--preprocessing", "png"],
            "for --format repository or saved_",
        ),
        (["export", VAE, "-f", "repository", "--name", "a/b"], "no name that can be served"),
        (["train", "dense_vae", "-o", "file/below"], "file is a file, not a folder"),
        (["demo", "-o", "file/below"], "file is a file, not a folder"),
        (["study", "why-sampl"], "Unknown study 'why-sampl'. Did you mean 'why-sample'"),
        (["study", "why-sample", "--dataset", "x"], "Unknown dataset 'x'. Known: "),
        (["study", "why-sample", "-o", "file/below"], "file is a file, not a folder"),
        (["study", "why-sample", "--cache", "file"], "file is a file, not a folder"),
        (["plot", VAE, "posteriors"], "takes two latent dimensions"),
        (["plot", AUTOENCODER, "samples"], "without a prior"),
        (
            ["plot", VAE, "latent", "--label", "1"],
            "is for samples, interpolation, manifold and posteriors",
        ),
        (["plot", VAE, "manifold", "--label", "1"], "takes no labels"),
        (["sample", VAE, "--label", "99"], "takes no labels"),
        (["sample", VAE, "--output", "rows.csv"], "examples of shape (8, 8, 1): give --output a"),
        (["plot", VAE, "latent", "--data", "nowhere"], "nowhere: give --data a folder of images"),
        (["train", "dense_vae", "--fit", "crop"], "--fit says how --data is read: give that, too"),
        (["train", "dense_vae", "--dataset", "frey_faces", "--conditional"], "has no labels for"),
        (["study", "disentanglement", "--data", "file"], "is no file that can be read"),
        (["verify", "file", "--data", "file"], "give --model, too"),
        ([*FEW, "--cache", "file/below"], "file is a file, not a folder"),
        ([*FEW, "--cache", "."], "is a folder: give a file"),
    ],
)
def test_bad_input_is_one_clear_line(capsys, folder, arguments, message):
    (folder / "file").write_text("")
    assert message in error(capsys, *arguments)


def test_no_model_in_the_file(capsys, folder):
    (folder / "broken.keras").write_bytes(b"PK nonsense")
    assert "no model file that Keras can load" in error(capsys, "evaluate", "broken.keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["list", "--nosuch"], "unrecognized arguments: --nosuch"),
        (["info"], "NAME"),
        (["evaluate", VAE, "--samples", "0"], "--samples: invalid positive integer value: '0'"),
        (["plot", VAE, "nothing"], "invalid choice: 'nothing'"),
        (["train"], "--recipe"),
        (["train", "dense_vae", "--epochs", "0"], "--epochs: invalid positive integer value: '0'"),
        (["train", "dense_vae", "--epochs", "-1"], "--epochs: invalid positive integer"),
        (["train", "dense_vae", "--distributed", "0"], "--distributed: invalid number of workers"),
        (["train", "dense_vae", "--restarts", "-1"], "--restarts: invalid integer from 0 on"),
        (["sweep", "dense_vae", "--beta"], "--beta: expected at least one argument"),
        (
            ["sweep", "dense_vae", "--betta", "1"],
            "--betta 1. Did you mean --beta? (see `kvae sweep",
        ),
        (["train", "dense_vae", "--epoch", "1"], "Did you mean --epochs?"),
        (["export", VAE, "x", "--formt", "web"], "--formt web. Did you mean --format?"),
        (["sweep", "dense_vae", "--latent-dim", "0"], "--latent-dim: invalid positive integer"),
        (["train", "dense_vae", "--seed", "-1"], "--seed: invalid integer from 0 on value: '-1'"),
        (["evaluate", VAE, "--seed", "-1"], "--seed: invalid integer from 0 on value: '-1'"),
        (["sample", VAE, "-n", "0"], "-n/--rows: invalid positive integer value: '0'"),
        (["train", "dense_vae", "--learning-rate", "0"], "invalid positive number value: '0'"),
        (["train", "dense_vae", "--learning-rate", "nan"], "invalid positive number value: 'nan'"),
        (["train", "dense_vae", "--beta", "-1"], "invalid number from 0 on value: '-1'"),
        (["sample", VAE, "--temperature", "inf"], "invalid number from 0 on value: 'inf'"),
        (["sample", VAE, "--kin", "mean"], "unrecognized arguments: --kin mean"),
        (["plot", VAE, "latent", "--dat", "digits"], "unrecognized arguments: --dat digits"),
        (["train", "dense_vae", "--columns", "a"], "--columns: invalid NAME=KIND value: 'a'"),
    ],
)
def test_wrong_arguments_are_one_clear_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("kvae: error: ") and text.count("\n") == 1
    assert message in text and " --help`" in text


@pytest.mark.parametrize("name", [VAE, pytest.param(demo.PRETRAINED, marks=pytest.mark.slow)])
def test_demo_makes_a_page_with_all_its_pictures(name, capsys, folder, monkeypatch, request):
    monkeypatch.setattr(demo, "PRETRAINED", name)
    if name == VAE:  # The tests of `export` write and verify such files.
        request.getfixturevalue("eagerly")

        def _exports(arguments, folder, report):
            """Exports nothing."""
            return True

        monkeypatch.setattr(demo, "_exports", _exports)
        load = kvae.datasets.load
        monkeypatch.setattr(kvae.datasets, "load", lambda *words, **how: load(*words, **how)[:20])
    text = output(capsys, "demo", "--epochs", "2", "-o", "out")
    page = (folder / "out/index.html").read_text()
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert len(pictures) >= 7
    for picture in pictures:
        Image.open(folder / "out" / picture).verify()
    assert "NLL" in page and "wrote out/index.html" in text
    if name == VAE:
        return
    # The exports are there, and running it again replaces them.
    assert (folder / f"out/serving/{name}/1/saved_model.pb").is_file()
    assert (folder / f"out/{name}.tflite").is_file()
