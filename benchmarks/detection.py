"""Anomaly detection beside pyod and scikit-learn, by the area under the ROC curve.

    python -m benchmarks.detection --seeds 0 1 2 --peers /path/to/pyod/bin/python
    python -m benchmarks.detection --tasks digits --seeds 0
    python -m benchmarks.detection --tasks others --seeds 0
    python -m benchmarks.detection --tasks digits --seeds 0 --train 2000 --test 3000

- `digit`: ten detectors of MNIST. Each is trained on the training images of one digit, and tells
  the test images of that digit from all others.
- `all but`: ten others. Each is trained on the images of nine digits, with 2 latents, and tells the
  test images of these from those of the tenth. Without `--train` the peers are left out: the
  one-class SVM takes time that is quadratic in the rows.
- `breast_cancer` and `wine`: scikit-learn's tables, standardized. The normal class (benign; the
  first cultivar) is trained on, half of it and the other classes are the test.

The model is a dense VAE, see `SETTINGS`; what these are for the tables was chosen by log p(x) of
normal rows that were held out of the training half, for other seeds than the reported ones. With it
comes the detector `kvae.detection.Detector` with its defaults.
The peers are pyod's VAE, AutoEncoder, IForest and ECOD with their defaults, in an environment of
their own, and scikit-learn's OneClassSVM. All of them get the same rows, which `--train` and
`--test` make fewer, chosen by the seed. The file has one line of JSON for each task, seed and side
(kvae, peers); those that stand there are not run again.
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

DIGITS = tuple(f"digit {i}" for i in range(10))
OTHERS = tuple(f"all but {i}" for i in range(10))
TABLES = ("breast_cancer", "wine")
# By the first word of a task.
SETTINGS = {
    "digit": {"latent_dim": 20, "hidden": (400,), "epochs": 60, "batch_size": 128},
    "all": {"latent_dim": 2, "hidden": (400,), "epochs": 30, "batch_size": 128},
    "breast_cancer": {"latent_dim": 8, "hidden": (64,), "epochs": 150, "batch_size": 16},
    "wine": {"latent_dim": 8, "hidden": (64,), "epochs": 150, "batch_size": 16},
}
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
    if task not in TABLES:
        import kvae

        train, test = (kvae.datasets.load("mnist", split) for split in ("train", "test"))
        digit = int(task[-1])

        def of(data):
            x = np.asarray(data.examples).reshape(len(data), -1).astype("float32")
            same = np.asarray(data.labels) == digit
            return x, same if task in DIGITS else ~same

        (x, normal), (new, usual) = of(train), of(test)
        return x[normal], new, ~usual
    from sklearn import datasets

    found = getattr(datasets, f"load_{task}")()
    normal = found.target == (1 if task == "breast_cancer" else 0)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
    first, rest = order[: len(order) // 2], order[len(order) // 2 :]
    test = np.concatenate([rest, np.flatnonzero(~normal)])
    mean, scale = found.data[first].mean(axis=0), found.data[first].std(axis=0)
    x = ((found.data - mean) / scale).astype("float32")
    return x[first], x[test], ~normal[test]


def ours(task: str, train, test, seed: int) -> dict[str, np.ndarray]:
    """Returns each score of the test rows under a dense VAE of the training rows."""
    import keras

    import kvae
    import zoo

    settings = dict(SETTINGS[task.split(maxsplit=1)[0]])
    fit = {name: settings.pop(name) for name in ("epochs", "batch_size")}
    if task in TABLES:
        settings["likelihood"] = "gaussian:per_pixel"
    vae = zoo.build("dense_vae", event_shape=train.shape[1:], seed=seed, **settings)
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(train, verbose=0, **fit)
    return {f"kvae {score}": kvae.detection.Detector(vae, score).score(test) for score in SCORES}


def theirs(python: str, train, test, seed: int) -> dict[str, np.ndarray]:
    """Returns the scores of the peers."""
    from sklearn.svm import OneClassSVM

    svm = OneClassSVM(gamma="scale").fit(train)
    found = {"scikit-learn OneClassSVM": -svm.decision_function(test)}
    with tempfile.TemporaryDirectory() as folder:
        data, scores = f"{folder}/data.npz", f"{folder}/scores.npz"
        np.savez(data, train=train, test=test)
        subprocess.run([python, "-c", _PEERS, data, scores, str(seed)], check=True)
        with np.load(scores) as loaded:
            return {**found, **loaded}


def fewer(rows, train: int | None, test: int | None, seed: int):
    """Returns as many training rows, and test rows with what they are, chosen at random."""
    x, new, unusual = rows
    rng = np.random.default_rng(seed)
    first, second = rng.permutation(len(x))[:train], rng.permutation(len(new))[:test]
    return x[np.sort(first)], new[np.sort(second)], unusual[np.sort(second)]


def table(records: list[dict]) -> str:
    """Returns the means over the seeds as Markdown, those of ten digits as one row."""
    methods = list(dict.fromkeys(name for record in records for name in record["auroc"]))
    lines = ["| | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for name, tasks in {"digit": DIGITS, "all but": OTHERS, **{t: (t,) for t in TABLES}}.items():
        own = [record["auroc"] for record in records if record["task"] in tasks]
        if own:
            values = [[row[method] for row in own if method in row] for method in methods]
            cells = (f"{np.mean(found):.4f}" if found else "" for found in values)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    groups = {"digits": DIGITS, "others": OTHERS, "tables": TABLES}
    parser.add_argument("--tasks", nargs="+", default=["digits", "tables"], metavar="TASK")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers", metavar="PYTHON", help="a Python with pyod (none)")
    parser.add_argument("--only-peers", action="store_true", help="kvae has been run, or will be")
    parser.add_argument("--train", type=int, help="so many training rows at most (all)")
    parser.add_argument("--test", type=int, help="so many test rows at most (all)")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/detection.jsonl"))
    given = parser.parse_args(arguments)
    tasks = [task for name in given.tasks for task in groups.get(name, (name,))]
    if unknown := set(tasks) - {*DIGITS, *OTHERS, *TABLES}:
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}")
    from sklearn.metrics import roc_auc_score

    given.json.parent.mkdir(parents=True, exist_ok=True)
    lines = given.json.read_text().splitlines() if given.json.exists() else []
    records = [json.loads(line) for line in lines]
    for seed, task in ((seed, task) for seed in given.seeds for task in tasks):
        sides = [] if given.only_peers else ["kvae"]
        sides += ["peers"] if given.peers and (given.train or task not in OTHERS) else []
        for side in sides:
            key = {"task": task, "seed": seed, "side": side}
            key |= {"train": given.train, "test": given.test}
            if any(key == {name: record.get(name) for name in key} for record in records):
                continue
            train, test, unusual = fewer(rows(task, seed), given.train, given.test, seed)
            start = time.perf_counter()
            if side == "kvae":
                scores = ours(task, train, test, seed)
            else:
                scores = theirs(given.peers, train, test, seed)
            found = {name: float(roc_auc_score(unusual, value)) for name, value in scores.items()}
            record = {**key, "auroc": found, "seconds": round(time.perf_counter() - start, 1)}
            records.append(record)
            with given.json.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)
    same = [record for record in records if record.get("train") == given.train]
    print(table([record for record in same if record.get("test") == given.test]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
