"""Models with classes of the user's own, on the command line."""

import importlib
import pathlib
import sys

import keras
import pytest

import kvae
from kvae.cli import main
from kvae.utils import plugins


def told(capsys, *arguments):
    main(list(arguments))
    captured = capsys.readouterr()
    return captured.out or captured.err.splitlines()[-1]


PARTS = """
import keras
import kvae

class Twice(keras.layers.Layer):  # Registered nowhere.
    def call(self, x):
        return 2.0 * x

@kvae.priors.register("wide", package="mine")
class Wide(kvae.priors.StandardNormal):
    pass
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A file with a model, one with parts of it, and Keras as it was."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/my_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path / "parts"))
    names = ("mine>Wide", "Twice")
    objects, registered = keras.saving.get_custom_objects(), dict(kvae.priors.REGISTER._things)
    my_parts = importlib.import_module("my_parts")
    encoder = [keras.Input((8, 8, 1)), keras.layers.Flatten(), my_parts.Twice()]
    decoder = [keras.Input((2,)), keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1))]
    networks = keras.Sequential(encoder), keras.Sequential(decoder)
    kvae.VAE(*networks, latent_dim=2, prior="wide").save(tmp_path / "mine.keras")

    def forget():
        sys.modules.pop("my_parts", None)
        for name in names:
            objects.pop(name, None)
        kvae.priors.REGISTER._things = dict(registered)

    forget()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_announced", {})
    yield
    forget()


def test_a_model_with_parts_of_ones_own_takes_import(capsys, parts):
    text = told(capsys, "sample", "mine.keras", "-n", "2", "-o", "z.npy")
    assert "names 'Twice', 'Wide' of my_parts, not known here" in text
    assert "--import my_parts" in text and len(text) < 400
    command = ("sample", "mine.keras", "-n", "2", "-o", "z.npy", "--import")
    assert "wrote z.npy" in told(capsys, *command, "parts/my_parts.py")
    pathlib.Path("broken.py").write_text("1 / 0")
    assert "broken, named by --import, cannot be imported: division by zero" in told(
        capsys, *command, "broken"
    )


def test_a_training_takes_parts_of_ones_own(capsys, parts, eagerly):
    command = ["train", "dense_vae", "--hidden", "8", "--latent-dim", "2", "--epochs", "1"]
    command += ["--limit", "64", "--no-evaluation", "-o", "run", "--prior", "wide"]
    with pytest.raises(SystemExit):  # A name of nobody is refused before TensorFlow is loaded.
        main(command)
    assert "wide" in capsys.readouterr().err
    assert main([*command, "--import", "parts/my_parts.py"]) == 0
    from my_parts import Wide  # pyright: ignore[reportMissingImports]

    assert isinstance(kvae.load_model("run/model.keras").prior, Wide)
