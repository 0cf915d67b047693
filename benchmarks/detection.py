"""Anomaly detection beside pyod and scikit-learn, by the area under the ROC curve.

    python -m benchmarks.detection --seeds 0 1 2 --json runs/detection.json
    python -m benchmarks.detection --peers /path/to/an/environment/with/pyod/bin/python

- `digit`: ten detectors of MNIST. Each is trained on the training images of one digit, and tells
  the test images of that digit from all others.
- `breast_cancer` and `wine`: scikit-learn's tables, standardized. The normal class (benign; the
  first cultivar) is trained on, half of it and the other classes are the test.

The model is a dense VAE with its defaults, the detector `kvae.detection.Detector` with its own. The
peers are pyod's VAE, AutoEncoder, IForest and ECOD with their defaults, in an environment of their
own, and scikit-learn's OneClassSVM. All of them get the same rows. A seed and task whose numbers
stand in the file already are not run again.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

TASKS = (*(f"digit {i}" for i in range(10)), "breast_cancer", "wine")
SCORES = ("log_prob", "elbo", "reconstruction")
_PEERS = """
import sys, time
import numpy as np
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.vae import VAE

data, path, seed = np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])
# It leaves out a batch that is not full, and has an error where there is no other one.
options = {"random_state": seed, "verbose": 0, "batch_size": min(32, len(data["train"]))}
made = {
    "pyod VAE": lambda: VAE(**options),
    "pyod AutoEncoder": lambda: AutoEncoder(**options),
    "pyod IForest": lambda: IForest(random_state=seed),
    "pyod ECOD": lambda: ECOD(),
}
found = {}
for name, make in made.items():
    start = time.perf_counter()
    found[name] = make().fit(data["train"]).decision_function(data["test"])
    print(name, round(time.perf_counter() - start, 1), file=sys.stderr, flush=True)
np.savez(path, **found)
"""


def rows(task: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns training rows `[n, columns]`, test rows, and which of the latter are unusual."""
    if task.startswith("digit "):
        import kvae

        digit = int(task.removeprefix("digit "))
        train, test = (kvae.datasets.load("mnist", split) for split in ("train", "test"))
        x = np.asarray(train.examples)[np.asarray(train.labels) == digit]
        return (
            x.reshape(len(x), -1).astype("float32"),
            np.asarray(test.examples).reshape(len(test), -1).astype("float32"),
            np.asarray(test.labels) != digit,
        )
    from sklearn import datasets

    found = getattr(datasets, f"load_{task}")()
    normal = found.target == (1 if task == "breast_cancer" else 0)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
    first, rest = order[: len(order) // 2], order[len(order) // 2 :]
    test = np.concatenate([rest, np.flatnonzero(~normal)])
    mean, scale = found.data[first].mean(axis=0), found.data[first].std(axis=0)
    x = ((found.data - mean) / scale).astype("float32")
    return x[first], x[test], ~normal[test]


def ours(task: str, train, test, seed: int, epochs: int) -> dict[str, np.ndarray]:
    """Returns each score of the test rows under a dense VAE of the training rows."""
    import keras

    import kvae
    import zoo

    images = task.startswith("digit ")
    settings = (
        {"latent_dim": 20, "hidden": (400,)} if images else {"latent_dim": 8, "hidden": (64,)}
    )
    if not images:
        settings |= {"likelihood": "gaussian:learned"}
    vae = zoo.build("dense_vae", event_shape=train.shape[1:], seed=seed, **settings)
    vae.compile(keras.optimizers.Adam(1e-3))
    batch = 128 if images else 16
    vae.fit(train, epochs=epochs if images else 5 * epochs, batch_size=batch, verbose=0)
    found = {}
    for score in SCORES:
        detector = kvae.detection.Detector(vae, score)
        found[f"kvae {score}"] = detector.score(test)
    return found


def theirs(python: str | None, train, test, seed: int) -> dict[str, np.ndarray]:
    """Returns the scores of the peers that there are."""
    from sklearn.svm import OneClassSVM

    svm = OneClassSVM(gamma="scale").fit(train)
    found = {"scikit-learn OneClassSVM": -svm.decision_function(test)}
    if python is None:
        return found
    with tempfile.TemporaryDirectory() as folder:
        data, scores = f"{folder}/data.npz", f"{folder}/scores.npz"
        np.savez(data, train=train, test=test)
        subprocess.run([python, "-c", _PEERS, data, scores, str(seed)], check=True)
        with np.load(scores) as loaded:
            return {**found, **loaded}


def measure(task: str, seed: int, epochs: int, python: str | None) -> dict[str, float]:
    """Returns the area under the ROC curve of each method."""
    from sklearn.metrics import roc_auc_score

    train, test, unusual = rows(task, seed)
    start = time.perf_counter()
    scores = ours(task, train, test, seed, epochs)
    seconds = time.perf_counter() - start
    scores |= theirs(python, train, test, seed)
    return {
        **{name: float(roc_auc_score(unusual, value)) for name, value in scores.items()},
        "seconds of kvae": seconds,
    }


def table(known: dict[str, dict]) -> str:
    """Returns the means over the seeds as Markdown, those of the ten digits as one row."""
    methods = [name for name in next(iter(known.values())) if not name.startswith("seconds")]
    lines = ["| | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for task in ("digit", "breast_cancer", "wine"):
        own = [row for name, row in known.items() if name.startswith(task)]
        if own:
            cells = (f"{np.mean([row[name] for row in own]):.4f}" for name in methods)
            lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--peers", metavar="PYTHON", help="a Python with pyod (none)")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/detection.json"))
    given = parser.parse_args(arguments)
    known = json.loads(given.json.read_text()) if given.json.exists() else {}
    for seed in given.seeds:
        for task in given.tasks:
            key = f"{task}, seed {seed}"
            if key not in known:
                known[key] = measure(task, seed, given.epochs, given.peers)
                given.json.parent.mkdir(parents=True, exist_ok=True)
                given.json.write_text(json.dumps(known, indent=1))
            print(key, known[key], flush=True)
    print(table(known))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
