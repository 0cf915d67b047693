"""kvae.training.sweep: all points are found, once, and a sweep that is stopped goes on."""

import os
import threading

import numpy as np
import pytest

import kvae
from kvae.evaluation import rate_distortion
from kvae.evaluation.terms import mean_terms
from kvae.training import sweep

pytest.importorskip("keras_tuner")


@pytest.fixture
def setting(make_vae, digits):
    data = kvae.datasets.Dataset(digits, binarize="static")
    built = []

    def build(objective, latent_dim):
        if len(built) == 3 and "interrupted" not in built:
            built.append("interrupted")
            raise KeyboardInterrupt
        built.append((objective.beta, latent_dim))
        vae = make_vae(latent_dim=latent_dim, objective=objective)
        compile_ = vae.compile
        vae.compile = lambda optimizer: compile_(optimizer, run_eagerly=True)
        return vae

    return build, built, data


def test_a_sweep_that_is_stopped_goes_on(setting, tmp_path, capsys, eagerly):
    build, built, data = setting
    seen = []
    options = dict(epochs=1, folder=tmp_path, batch_size=32, progress=seen.append)
    with pytest.raises(KeyboardInterrupt):
        sweep(build, (1.0, 4.0), (2, 3), data, data, **options)
    result = sweep(build, (1.0, 4.0), (2, 3), data, data, **options)
    assert seen == [1, 2, 3, 4]  # What was found is not trained again.
    with pytest.raises(ValueError, match="another sweep, with epochs 1, not 2. Choose"):
        sweep(build, (1.0, 4.0), (2, 3), data, data, **{**options, "epochs": 2})
    built.remove("interrupted")
    assert sorted(built) == [(1.0, 2), (1.0, 3), (4.0, 2), (4.0, 3)]
    assert list(result) == ["β = 1, z 2", "β = 1, z 3", "β = 4, z 2", "β = 4, z 3"]
    # The figures of one of them, by hand.
    vae = build(kvae.objectives.ELBO(beta=4.0), 2)
    vae.compile("adam")
    vae.fit(data, epochs=1, batch_size=32, verbose=0)
    expected = rate_distortion({"x": mean_terms(vae, data, seed=0)})["x"]
    for name, value in result["β = 4, z 2"].items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    assert capsys.readouterr().out == ""  # Standard output is for results.
    names = {path.name for path in result.write(tmp_path)}
    assert names == {"result.json", "result.md", "rate_distortion.png"}


def test_a_second_sweep_in_the_folder_is_refused(setting, tmp_path, eagerly):
    _, _, data = setting
    refused = []

    def second():
        try:
            sweep(None, (1.0,), (2,), data, data, epochs=1, folder=tmp_path)
        except BlockingIOError as error:
            refused.append(str(error))

    def build(**_):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(60)
        raise ValueError("this was enough")

    with pytest.raises(ValueError, match="this was enough"):
        sweep(build, (1.0,), (2,), data, data, epochs=1, folder=tmp_path)
    assert f"{tmp_path} is in use by a sweep in process {os.getpid()}" in refused[0]
    assert not (tmp_path / ".lock").exists()


def test_what_is_refused(setting, tmp_path):
    build, _, data = setting
    with pytest.raises(ValueError, match="Unknown search 'gird'.*'grid'"):
        sweep(build, (1.0,), (2,), data, data, epochs=1, folder=tmp_path, search="gird")
    with pytest.raises(ValueError, match="one value each"):
        sweep(build, (), (2,), data, data, epochs=1, folder=tmp_path)


def test_a_model_that_cannot_be_is_said_in_one_line(setting, tmp_path, capsys):
    def build(objective, latent_dim):
        raise ValueError("this architecture takes no `latent_dim`")

    with pytest.raises(ValueError, match="^this architecture takes no `latent_dim`$"):
        sweep(build, (1.0,), (2,), setting[2], setting[2], epochs=1, folder=tmp_path)
    assert "Traceback" not in capsys.readouterr().err
