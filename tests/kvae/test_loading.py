"""A model file opens in a fresh process, whatever was imported first."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import keras, kvae; load = keras.saving.load_model",
        "import kvae; load = kvae.load_model",
    ],
)
def test_fresh_process(make_vae, tmp_path, code):
    path = tmp_path / "m.keras"
    make_vae().save(path)
    code += f"; print(type(load({str(path)!r})).__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "VAE", run.stderr
