"""Processes and threads at the same time: trainings, readers, publishers, draws, forks.

`make stress` runs this file. The processes are children of one driver, which imports TensorFlow
once and never uses it itself, so that each child may.
"""

import json
import os
import subprocess
import sys

import pytest

_DRIVER = """
import hashlib, json, os, pathlib, random, signal, sys, time, traceback
import keras, numpy as np, kvae, export, zoo
from kvae.utils import io, locks
from kvae.callbacks import Checkpoint

root = pathlib.Path(sys.argv[1])

def start(act, *arguments):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = act(*arguments) or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)

def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def model(seed=1):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    vae = kvae.VAE(encoder, decoder, 2)
    vae.compile("adam")
    return vae

def data():
    return (np.random.default_rng(0).random((64, 4)) > 0.5).astype("float32")

def train(folder, epochs):
    vae, checkpoint = model(), Checkpoint(folder, "stress", every_seconds=0.0)
    try:
        vae.fit(data(), epochs=epochs, initial_epoch=checkpoint.restore(vae), verbose=0,
                callbacks=[checkpoint])
    except BlockingIOError as error:
        (root / f"refused-{os.getpid()}").write_text(str(error))
        return 3

def matches(folder):
    "Whether state.json names files that are there with its SHA-256; None: it was replaced since."
    path = folder / "state.json"
    text = path.read_text()
    for entry in seals.unsealed(text)["files"].values():
        try:
            whole = io.sha256_file(folder / entry["file"]) == entry["sha256"]
        except FileNotFoundError:
            whole = False
        if not whole:
            return None if path.read_text() != text else False
    return True
"""


def drive(run_python, folder, code, **facts):
    finished = run_python(_DRIVER + code, folder, json.dumps(facts), timeout=1800)
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_trainings_in_one_folder_and_readers_all_the_while(run_python, tmp_path):
    result = drive(
        run_python,
        tmp_path,
        """
folder = root / "run"
trainings = [start(train, folder, 400) for _ in range(2)]
looks = {"whole": 0, "replaced": 0, "wrong": 0}

def restore():
    "Reads as others would, again and again: every look is one checkpoint."
    vae, count = model(), 0
    while not (root / "done").exists():
        checkpoint = Checkpoint(folder, "stress")
        epoch = checkpoint.restore(vae)
        assert epoch == len(checkpoint.history.get("loss", [])), epoch
        count += 1
    (root / "restored").write_text(str(count))

reader, ended, killed = start(restore), {}, 0
while len(ended) < 2:
    if (folder / "state.json").exists():
        found = matches(folder)
        looks["whole" if found else "replaced" if found is None else "wrong"] += 1
    for child in trainings:
        if child not in ended and (over := os.waitpid(child, os.WNOHANG))[0]:
            ended[child] = os.waitstatus_to_exitcode(over[1])
(root / "done").touch()
assert status(reader) == 0
refused = [path.read_text() for path in root.glob("refused-*")]
final = seals.unsealed((folder / "state.json").read_text())["epoch"]
print(json.dumps({"ended": sorted(ended.values()), "looks": looks, "refused": refused,
    "final": final, "restored": int((root / "restored").read_text()),
    "left": [path.name for path in folder.iterdir() if path.name.startswith(".")]}))
""",
    )
    assert result["ended"] == [0, 3] and result["final"] == 400 and result["left"] == []
    assert "is in use by a training in process" in result["refused"][0]
    assert result["looks"]["wrong"] == 0 and result["looks"]["whole"] >= 100
    assert result["restored"] >= 20


@pytest.mark.slow
def test_a_killed_training_is_taken_over_at_once(run_python, tmp_path):
    result = drive(
        run_python,
        tmp_path,
        """
folder, chance, taken = root / "run", random.Random(0), 0
for _ in range(10):
    child = start(train, folder, 10**6)
    before = (folder / "state.json").read_text() if (folder / "state.json").exists() else ""
    while not (folder / "state.json").exists() or (folder / "state.json").read_text() == before:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    assert status(child) == -signal.SIGKILL
    assert matches(folder), "the last checkpoint is not whole"
    taken += 1
epoch = seals.unsealed((folder / "state.json").read_text())["epoch"]
assert status(start(train, folder, epoch + 1)) == 0
print(json.dumps({"taken": taken, "names": sorted(p.name for p in folder.iterdir())}))
""",
    )
    assert result["taken"] == 10
    assert len(result["names"]) == 3 and result["names"][-1] == "state.json"


@pytest.mark.slow
def test_publishers_at_once_some_of_them_killed(run_python, tmp_path):
    result = drive(
        run_python,
        tmp_path,
        """
repository = root / "repository"

def publish(name, count):
    vae = model()
    for _ in range(count):
        export.publish(vae, repository, name, verify=False, signatures=[])

workers = [start(publish, name, 4) for name in ("a", "b", "b")]
victims = 0
while victims < 3:
    victim = start(publish, "c", 10**6)
    while not list((repository / "models").glob(".publish.*")):
        time.sleep(0.001)
    time.sleep(0.5 + 0.3 * victims)
    os.kill(victim, signal.SIGKILL)
    status(victim)
    victims += 1
assert [status(worker) for worker in workers] == [0, 0, 0]
assert status(start(publish, "d", 1)) == 0
from export.serving import repository as repositories
from export.files import versions
found = repositories.models(repository)
for name, folder in found.items():
    for version in versions.versions(folder):
        versions.check(folder / str(version))
text = (repository / "models.config").read_text()
print(json.dumps({
    "versions": {name: versions.versions(found[name]) for name in "abd"},
    "listed": {name: f'"/repository/models/{name}"' in text for name in found},
    "left": [p.name for p in repository.rglob(".*") if p.name.endswith((".tmp", ".lock"))],
}))
""",
    )
    assert result["versions"] == {"a": [1, 2, 3, 4], "b": list(range(1, 9)), "d": [1]}
    assert all(result["listed"].values()) and result["left"] == []


@pytest.mark.slow
def test_threads_of_one_model(run_python, tmp_path):
    result = drive(
        run_python,
        tmp_path,
        """
from concurrent import futures
vae, x = model(), data()
alone = [vae.encode(x)["z_mean"].numpy(), vae.log_prob(x, num_samples=3).value]
sys.setswitchinterval(1e-5)
def draw(_):
    return [vae.sample(1).numpy().tobytes() for _ in range(50)]
def use(_):
    return all(
        np.array_equal(vae.encode(x)["z_mean"], alone[0])
        and np.array_equal(vae.log_prob(x, num_samples=3).value, alone[1])
        for _ in range(10)
    )
with futures.ThreadPoolExecutor(8) as pool:
    using = pool.map(use, range(4))
    draws = [image for part in pool.map(draw, range(4)) for image in part]
    right = all(using)
one = model()
expected = {one.sample(1).numpy().tobytes() for _ in range(200)}
print(json.dumps({"draws": len(draws), "distinct": len(set(draws)), "right": right,
    "as_alone": set(draws) == expected}))
""",
    )
    assert result == {"draws": 200, "distinct": 200, "right": True, "as_alone": True}


@pytest.mark.slow
def test_a_forked_child_is_told_and_a_spawned_one_works(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing, os, sys
import numpy as np

def work(path, sender):
    import kvae
    try:
        sender.send(kvae.load_model(path).sample(2, seed=1).numpy())
    except RuntimeError as error:
        sender.send(str(error))

if __name__ == "__main__":
    import keras, kvae
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    vae = kvae.VAE(encoder, decoder, 2)
    vae.save(sys.argv[1])
    expected = vae.sample(2, seed=1).numpy()
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        receiver, sender = context.Pipe(False)
        process = context.Process(target=work, args=(sys.argv[1], sender))
        process.start()
        assert receiver.poll(240), f"{method} hangs"
        answer = receiver.recv()
        process.join(60)
        print(answer if isinstance(answer, str) else np.array_equal(answer, expected))
"""
    )
    finished = subprocess.run(
        [sys.executable, script, tmp_path / "model.keras"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=900,
        check=True,
    )
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("This process was forked after") and lines[1:] == ["True", "True"]
