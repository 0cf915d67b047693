"""compile(reproducible=True): the same bits on every run, also of one that is killed and resumed.

TensorFlow's deterministic operations are for a whole process, so each training has its own: a
child of one driver, which imports TensorFlow once and never uses it itself.
"""

import json
import pathlib
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import kvae
import zoo
from kvae.models.fit import checks
from kvae.utils import keras_internals

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "SCALE.md").read_text("utf-8")

_DRIVER = """
import hashlib, json, os, pathlib, random, shutil, signal, sys, time
import keras, numpy as np, kvae
from keras import layers

SETTINGS = json.loads(sys.argv[2])
EPOCHS = SETTINGS["epochs"]

class Started(keras.callbacks.Callback):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder
    def on_epoch_begin(self, epoch, logs=None):
        (self.folder / "started").touch()

def train(folder):
    keras.utils.set_random_seed(1)
    digits = kvae.datasets.load("digits", "train", binarize="dynamic")
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(64, "relu"), layers.Dropout(0.1)]
    )
    decoder = keras.Sequential(
        [keras.Input((4,)), layers.Dense(64, "relu"), layers.Dense(64), layers.Reshape((8, 8, 1))]
    )
    steps = EPOCHS * digits[:640].steps(64)
    beta = kvae.schedules.Linear(0.0, 1.0, steps)
    vae = kvae.VAE(encoder, decoder, 4, objective=kvae.objectives.ELBO(beta=beta))
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    vae.compile(keras.optimizers.Adam(rate), reproducible=True)
    every = 0.0 if SETTINGS["kills"] else 1e9
    checkpoint = kvae.callbacks.Checkpoint(folder / "run", "test", every_seconds=every)
    first = checkpoint.restore(vae)
    if first < EPOCHS:
        vae.fit(
            digits[:640], validation_data=digits[640:704], batch_size=64, epochs=EPOCHS,
            initial_epoch=first, callbacks=[checkpoint, Started(folder)], verbose=0,
        )
    digest = hashlib.sha256()
    for value in (*vae.variables, *vae.optimizer.variables, *checkpoint._best_weights):
        digest.update(np.asarray(value).tobytes())
    digest.update(json.dumps([checkpoint.history, checkpoint.best]).encode())
    (folder / "bits").write_text(json.dumps(
        {"bits": digest.hexdigest(), "steps": int(vae.optimizer.iterations), "first": first}
    ))

def start(folder):
    (folder / "started").unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    try:
        train(folder)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(1)

def finish(folder):
    folder.mkdir(exist_ok=True)
    begin = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(start(folder), 0)[1]) == 0
    return json.loads((folder / "bits").read_text()), time.monotonic() - begin

def saved(folder):
    path = folder / "run" / "state.json"
    return json.loads(path.read_text())["epoch"] if path.exists() else 0

def kill(folder, while_writing, seconds):
    "Kills a training `seconds` after it began, or after it began to write some checkpoint."
    folder.mkdir(exist_ok=True)
    enough = saved(folder) + chance.randint(1, 2)
    def ready(folder):
        writes = any((folder / "run").glob(".*.tmp"))
        return not while_writing or (writes and saved(folder) >= enough)
    child = start(folder)
    deadline = time.monotonic() + 240
    while not (folder / "started").exists() or not ready(folder):
        if os.waitpid(child, os.WNOHANG)[0]:
            return False  # It was quicker.
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

root = pathlib.Path(sys.argv[1])
whole, seconds = finish(root / "whole")
again = [finish(root / f"again{i}")[0] for i in range(SETTINGS["runs"])]
chance = random.Random(SETTINGS["seed"])
killed, while_writing = 0, 0
for number in range(SETTINGS["kills"]):
    if number % 2:
        killed += kill(root / "killed", False, chance.uniform(0.0, 0.3 * seconds))
    else:
        struck = kill(root / "killed", True, chance.uniform(0.0, 0.005))
        killed, while_writing = killed + struck, while_writing + struck
resumed = finish(root / "killed")[0] if SETTINGS["kills"] else None
print(json.dumps({
    "whole": whole, "again": again, "resumed": resumed, "killed": killed,
    "while_writing": while_writing, "left": [p.name for p in (root / "killed").glob("run/.*")],
}))
"""


def drive(run_python, folder, **settings):
    settings = {"epochs": 4, "runs": 0, "kills": 0, "seed": 0, **settings}
    finished = run_python(_DRIVER, folder, json.dumps(settings))
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.slow  # Three trainings, each in a process of its own.
def test_killed_and_resumed_it_ends_with_the_same_bits(run_python, tmp_path):
    result = drive(run_python, tmp_path, epochs=8, kills=1)
    assert result["while_writing"] == 1
    assert result["resumed"]["first"] > 0 and result["left"] == []
    assert result["resumed"]["bits"] == result["whole"]["bits"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_many_times_it_ends_with_the_same_bits(run_python, tmp_path, seed):
    result = drive(run_python, tmp_path, epochs=40, kills=6, seed=seed)
    assert result["killed"] >= 3 and result["while_writing"] >= 2
    assert result["resumed"]["first"] > 0 and result["left"] == []
    assert result["resumed"]["bits"] == result["whole"]["bits"]


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [150, 210], ids=["one_by_one", "blocks_under_xla"])
def test_every_run_of_many_steps_gives_the_same_bits(run_python, tmp_path, epochs):
    result = drive(run_python, tmp_path, epochs=epochs, runs=2)
    # What drifts does so after some hundred steps; from 2,000 on `fit` runs blocks of them.
    assert result["whole"]["steps"] == 10 * epochs
    assert {run["bits"] for run in result["again"]} == {result["whole"]["bits"]}


# Python seeds each of the two forked children anew, as it does two processes.
_TWICE = """
import hashlib, os, pathlib, sys
import keras, numpy as np, kvae, zoo

def run(folder):
    folder.mkdir()
    os.chdir(folder)
    digits = kvae.datasets.load("digits", "train")[:200]
    kvae.datasets.write_shards(digits, "shards/train", num_shards=2)
    names = {"kvae": kvae, "zoo": zoo}
    exec(compile(sys.argv[2], "SCALE.md", "exec"), names)
    digest = hashlib.sha256()
    for value in (*names["vae"].variables, *names["vae"].optimizer.variables):
        digest.update(np.asarray(value).tobytes())
    (folder / "bits").write_text(digest.hexdigest())

for name in ("one", "two"):
    folder = pathlib.Path(sys.argv[1]) / name
    child = os.fork()
    if not child:
        run(folder)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_the_lines_of_the_documentation_give_the_same_bits_in_every_process(run_forked, tmp_path):
    _, section = PAGE.split("## A training that can be stopped")
    block = re.search(r"```python\n(.*?)```", section, flags=re.DOTALL)[1]
    assert "reproducible=True" in block and "seed" not in block and "epochs=20," in block
    block = block.replace("epochs=20,", "epochs=3,")
    run_forked(_TWICE, tmp_path, block)
    one, two = ((tmp_path / name / "bits").read_text() for name in ("one", "two"))
    assert len(one) == 64 and one == two


@pytest.fixture
def unseeded(monkeypatch):
    """A program that has not called `keras.utils.set_random_seed`."""
    monkeypatch.setattr(keras_internals, "global_seed", lambda: None)


def weights(**arguments):
    vae = zoo.build("dense_vae", event_shape=(4,), latent_dim=2, hidden=(3,), **arguments)
    return np.concatenate([weight.ravel() for weight in vae.get_weights()])


def test_initial_weights_of_the_zoo_are_those_of_the_seed(unseeded):
    np.testing.assert_array_equal(weights(), weights())
    np.testing.assert_array_equal(weights(), weights(seed=0))
    assert not np.array_equal(weights(), weights(seed=3))
    with kvae.random.initial_weights(5):  # What the program says goes before the default,
        inside, explicit = weights(), weights(seed=3)
    assert not np.array_equal(inside, weights())
    np.testing.assert_array_equal(explicit, weights(seed=3))  # and a `seed` before both.


def test_keras_seed_goes_before_the_default_of_the_zoo():
    found = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        found.append(weights())
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.fixture
def own():
    """A model of networks of one's own, whose weights nobody has seeded."""

    def make(initializer="glorot_uniform"):
        dense = {"kernel_initializer": initializer}
        vae = kvae.VAE(
            keras.Sequential([keras.Input((3,)), layers.Dense(2, **dense)]),
            keras.Sequential([keras.Input((1,)), layers.Dense(3, **dense)]),
            latent_dim=1,
        )
        vae.compile("sgd", reproducible=True, run_eagerly=True)
        return vae

    return make


def warned(vae) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checks.warn_of_unseeded_weights(vae)
    return any("drawn without a seed" in str(warning.message) for warning in caught)


def test_unseeded_weights_are_warned_of(unseeded, own, tmp_path, monkeypatch):
    vae = own()
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: None)
    with pytest.warns(UserWarning, match="drawn without a seed"):
        vae.fit(np.zeros((2, 3)), verbose=0)
    assert not warned(vae)  # It has been trained.
    assert warned(own())
    with kvae.random.initial_weights(1):
        assert not warned(own())
    vae.save(tmp_path / "m.keras")
    assert not warned(kvae.load_model(tmp_path / "m.keras"))
    other = own()
    other.load_weights(tmp_path / "m.keras")
    assert not warned(other)
    with kvae.random.initial_weights(1):
        vae = zoo.build("dense_vae", event_shape=(3,), latent_dim=1)
    vae.compile("sgd", reproducible=True)
    assert not warned(vae) and not warned(vae.with_prior("gaussian_mixture"))


def test_the_mode_is_part_of_the_configuration(make_vae, tmp_path):
    vae = make_vae(optimizer="adam")
    assert vae.reproducible is False and "reproducible" not in vae.get_compile_config()
    vae.compile("adam", reproducible=True)
    vae.save(tmp_path / "model.keras")
    assert kvae.load_model(tmp_path / "model.keras").reproducible is True


def test_several_steps_in_each_call_need_xla(make_vae):
    with pytest.raises(ValueError, match="drift from run to run without XLA"):
        make_vae().compile("adam", reproducible=True, steps_per_execution=4)
    vae = make_vae()
    vae.compile("adam", reproducible=True, steps_per_execution=4, jit_compile=True)
    assert vae.reproducible
