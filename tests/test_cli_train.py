"""`kvae train` as a run in a folder: it extends, stops, goes on, and loses nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

import kvae
from kvae import cli
from kvae.cli import main
from kvae.cli.commands import train
from zoo.defaults import LEARNED

RUN = ("train", "dense_vae", "--limit", "64", "--hidden", "8", "--latent-dim", "2", "-o", "run")


def recipe(*words):
    return train._recipe(cli._parser("train").parse_args(["train", *words]))


@pytest.fixture
def stopping(monkeypatch):
    """`stopping[text] = number` sends that signal at the first progress of what begins so."""
    asked = {}

    @contextlib.contextmanager
    def progress(text, total, unit=""):
        def update(done, figures=None):
            for start in [start for start in asked if text.startswith(start)]:
                os.kill(os.getpid(), asked.pop(start))

        yield update

    monkeypatch.setattr("kvae.cli.progress.progress", progress)
    return asked


def test_a_run_is_stopped_goes_on_and_is_extended(
    tmp_path, monkeypatch, capfd, stopping, eagerly, heeded
):
    monkeypatch.chdir(tmp_path)
    arguments = [*RUN, "--epochs", "3"]
    stopping["training"] = signal.SIGTERM
    assert main(arguments) == 128 + signal.SIGTERM
    text = capfd.readouterr().err
    assert "parameters: " in text and " kB as model.keras" in text  # Said before the training.
    assert "kvae: stopped, with 2 of 3 epochs saved. To go on:\n" in text
    assert f"\n  kvae {' '.join(arguments)}\n" in text
    assert kvae.load_model("run/model.keras").latent_dim == 2
    # The model is there before the evaluation, in which nothing is lost.
    (tmp_path / "run/model.keras").unlink()
    stopping["evaluating"] = signal.SIGINT
    assert main(arguments) == 130
    text = capfd.readouterr().err
    assert "1,000 importance samples each, in about" in text and "--no-evaluation" in text
    assert "kvae evaluate run/model.keras\n" in text
    assert kvae.load_model("run/model.keras").latent_dim == 2
    assert main([*RUN, "--epochs", "4", "--no-evaluation", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["output"] == "run"
    state = json.loads((tmp_path / "run/state.json").read_text())
    assert state["epoch"] == 4 and len(state["history"]["loss"]) == 4
    assert main([*RUN, "--epochs", "4", "--prior", "vamp:3", "--seed", "3"]) == 2
    text = capfd.readouterr().err
    assert "run holds another training, with prior unset, not vamp:3; seed 0, not 3. Choose" in text


def test_sizes_follow_the_architecture():
    assert recipe("conv_vae", "--filters", "4", "8", "--hidden", "0").arguments["filters"] == [4, 8]
    assert recipe("dense_vae", "--hidden", "9", "8").arguments["hidden"] == [9, 8]
    found = recipe("autoencoder_kl", "--latent-shape", "4", "4", "2", "--filters", "4", "4")
    assert found.arguments["latent_shape"] == [4, 4, 2]
    found = recipe("dense_vae", "--likelihood", "gaussian:learned", "--prior", "vamp:5").arguments
    assert (found["likelihood"], found["prior"]) == (LEARNED, "vamp:5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dense_vae --filters 8", "--filters does not apply to dense_vae.*--latent-dim, --hidden"),
        ("vqvae --latent-dim 8", "--latent-dim does not apply to vqvae.*--filters"),
        (
            "conv_vae --latent-shape 4 4 2",
            "--latent-shape does not apply to conv_vae.*--latent-dim",
        ),
        ("conv_vae --hidden 8 8", "the width of one layer, not of 2"),
        ("conv_vae --filters 8 8 8 8", "need images of at least 16 pixels"),
        ("conv_vae --likelihood gaussian:wide", "Unknown argument of the likelihood gaussian"),
        ("--recipe dense_vae.digits --filters 8", "--filters belongs to an architecture"),
        ("--recipe dense_vae.digits --no-evaluation", "the card of a recipe states figures"),
    ],
)
def test_what_does_not_apply_says_so(words, message):
    with pytest.raises(ValueError, match=message):
        found = recipe(*words.split())
        from zoo import build

        build(found.architecture, **found.arguments)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_signal_leaves_a_model_and_the_command_that_goes_on(tmp_path, number, heeded):
    command = [sys.executable, "-m", "kvae", *RUN]
    with subprocess.Popen(
        [*command, "--epochs", "100000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert any(line.startswith("epoch 1/") for line in process.stderr)
        process.send_signal(number)
        text = process.stderr.read()
        assert process.wait() == 128 + number
    assert "Stopping at the end of this epoch" in text and "To go on:\n  kvae train" in text
    state = json.loads((tmp_path / "run/state.json").read_text())
    assert kvae.load_model(tmp_path / "run/model.keras").latent_dim == 2
    more = [*command, "--epochs", str(state["epoch"] + 1), "--no-evaluation"]
    subprocess.run(more, cwd=tmp_path, check=True)
    again = json.loads((tmp_path / "run/state.json").read_text())
    assert again["epoch"] == state["epoch"] + 1
