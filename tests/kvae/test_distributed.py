"""Several workers: who they are, what happens when one dies, and that they train like one."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import numpy as np
import pytest

from kvae import cli, distributed
from kvae.cli.launch import LOST_WORKER, launch, wait_for_first
from kvae.utils import locks

# Workers without TensorFlow: what they note, and how they end, is up to the test.
_WORKER = """
import json, os, pathlib, signal, sys, time
task = json.loads(os.environ["TF_CONFIG"])
folder, index = pathlib.Path(sys.argv[1]), task["task"]["index"]
with open(folder / f"notes-{index}", "a") as stream:
    stream.write(" ".join(task["cluster"]["worker"]) + "\\n")
def noted(index):
    path = folder / f"notes-{index}"
    return len(path.read_text().splitlines()) if path.exists() else 0
runs = noted(index)
while noted(0) < runs or noted(1) < runs: time.sleep(0.01)  # For the others.
"""


def workers(tmp_path, code, count=2, restarts=2):
    command = [sys.executable, "-S", "-c", _WORKER + code, str(tmp_path)]
    return launch(command, count, restarts=restarts, folder=tmp_path / "logs")


def runs(tmp_path, index):
    return (tmp_path / f"notes-{index}").read_text().splitlines()


def test_a_killed_worker_is_noticed_and_all_start_again(tmp_path, capfd):
    code = """
if runs == 1 and index == 1: os.kill(os.getpid(), signal.SIGKILL)
if runs == 1: time.sleep(60)
print("worker", index, "has done its work")
"""
    begin = time.monotonic()
    assert workers(tmp_path, code) == 0
    assert time.monotonic() - begin < 45  # The other one was not waited for.
    output = capfd.readouterr()
    assert "worker 1 died of signal 9; starting all again" in output.err
    assert output.out == "worker 0 has done its work\n"  # The first alone is shown.
    log = (tmp_path / "logs" / "worker-1.log").read_text()
    assert log == "worker 1 has done its work\n"
    both = [set(runs(tmp_path, index)) for index in (0, 1)]
    assert both[0] == both[1] and len(both[0].pop().split()) == 2  # All know of all.


def test_restarts_come_to_an_end(tmp_path, capfd):
    code = f"sys.exit({LOST_WORKER} if index == 0 else time.sleep(60))"
    assert workers(tmp_path, code, restarts=1) == LOST_WORKER
    assert "worker 0 ended with status 75; not again: see --restarts" in capfd.readouterr().err
    assert len(runs(tmp_path, 0)) == len(runs(tmp_path, 1)) == 2


def test_workers_end_after_the_first_which_holds_the_folder(tmp_path):
    lock = locks.Lock(tmp_path, "a training")
    with futures.ThreadPoolExecutor(1) as first, futures.ThreadPoolExecutor(1) as other:
        first.submit(lock.acquire).result()
        waiting = other.submit(wait_for_first, tmp_path)
        with pytest.raises(futures.TimeoutError):
            waiting.result(timeout=0.1)
        first.submit(lock.release).result()
        waiting.result()


def test_bad_input_is_not_tried_again(tmp_path):
    assert workers(tmp_path, "sys.exit(2 if index == 0 else time.sleep(60))") == 2
    assert len(runs(tmp_path, 0)) == 1


def test_a_second_launch_in_the_folder_starts_no_worker(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kvae.cli.launch.launch", lambda *_, **__: pytest.fail("started"))
    lock = locks.Lock(tmp_path, "a training")
    with futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lock.acquire).result()
        arguments = ["dense_vae", "--distributed", "2", "-o", str(tmp_path)]
        assert cli.main(["train", *arguments]) == 2
        pool.submit(lock.release).result()
    assert f"{tmp_path} is in use by a training in process" in capsys.readouterr().err


def test_sigterm_is_passed_on_and_waited_for(tmp_path):
    code = """
def end(*_):
    (folder / f"saved-{index}").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
(folder / f"ready-{index}").touch()
time.sleep(60)
"""

    def terminate():
        while not all((tmp_path / f"ready-{index}").exists() for index in (0, 1)):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=terminate)
    thread.start()
    assert workers(tmp_path, code) == 128 + signal.SIGTERM
    thread.join()
    assert (tmp_path / "saved-0").exists() and (tmp_path / "saved-1").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_task_of_slurm_knows_the_others(monkeypatch):
    for name, value in {
        "SLURM_PROCID": "2",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NODELIST": "node[07-08]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    }.items():
        monkeypatch.setenv(name, value)
    assert distributed.slurm_config() == {
        "cluster": {"worker": ["node07:29500", "node07:29501", "node08:29500", "node08:29501"]},
        "task": {"type": "worker", "index": 2},
    }
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    with pytest.raises(ValueError, match="no task of a Slurm job step .*srun"):
        distributed.slurm_config()


@pytest.mark.parametrize("config", [None, "{", "{}", '{"cluster": {"worker": []}}'])
def test_a_cluster_without_workers_is_refused(monkeypatch, config):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="TF_CONFIG names no workers"):
        distributed.make_strategy("cluster")
    with pytest.raises(ValueError, match="Unknown place 'clusters'.*'cluster'"):
        distributed.make_strategy("clusters")


# ---- The command, with TensorFlow ----

ROOT = pathlib.Path(__file__).resolve().parents[2]


DIGITS = ("--dataset", "digits", "--limit", "205")


def command(folder, *more, data=DIGITS):
    return [
        *(sys.executable, "-m", "kvae", "train", "dense_autoencoder", *data),
        # The last batch of an epoch has 13 examples, 8 of the first worker and 5 of the second.
        *("--batch-size", "16", "--epochs", "8", "--samples", "2", "--json"),
        *("--binarize", "none", "--checkpoint-seconds", "0", "-o", str(folder), *more),
    ]


def train(folder, *more, **options):
    finished = subprocess.run(
        command(folder, *more, **options), cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout[finished.stdout.index("{") :]), finished.stderr


def weights_of(folder):
    import kvae

    return kvae.load_model(folder / "model.keras").get_weights()


@pytest.mark.slow
def test_two_workers_train_like_one_and_one_is_killed(tmp_path):
    one, _ = train(tmp_path / "one")
    two, _ = train(tmp_path / "two", "--distributed", "2")
    for a, b in zip(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # The same with a worker that is killed in the middle, and started again.
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        command(folder, "--distributed", "2"), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    state = folder / "state.json"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    second = pathlib.Path(children).read_text().split()[1]
    os.kill(int(second), signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0 and "worker 1 died of signal 9; starting all again" in errors
    for a, b in zip(weights_of(folder), weights_of(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_workers_read_their_parts_of_a_folder(tmp_path):
    from PIL import Image

    import kvae

    digits = kvae.datasets.load("digits").x[:60]
    for index, x in enumerate(digits):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(x[..., 0]).save(tmp_path / "images" / f"{index:02d}.png")
    data = ("--data", str(tmp_path / "images"), "--event-shape", "8", "8", "1")
    train(tmp_path / "one", data=data)
    train(tmp_path / "two", "--distributed", "2", data=data)
    for a, b in zip(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # Of shards each worker has files of its own: other batches, and the same examples in all.
    kvae.datasets.write_shards(kvae.datasets.Dataset(digits), tmp_path / "shards", num_shards=6)
    found, _ = train(
        tmp_path / "three", "--distributed", "2", data=("--data", str(tmp_path / "shards"))
    )
    assert np.isfinite(found["reconstruction"])
