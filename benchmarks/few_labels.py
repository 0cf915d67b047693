"""The test error on MNIST with 100 labels, beside what is published.

    python -m benchmarks.few_labels --models m1+m2 supervised_m1 --seeds 0 1 2 3 4 5 6 7 8 9
    python -m benchmarks.few_labels --models m2 supervised --seeds 0 1 2
    python -m benchmarks.few_labels --report

Ten labels of each class are known, drawn anew for each seed; the other training digits (55,000 with
them) have no label. `m2` is the architecture `m2_vae` on pixels that are binarized anew in each
epoch, `m1+m2` the same on draws of the codes of a trained M1, the zoo's `conv_vae.mnist`, which was
trained without any label and is the same for all seeds (`first` in `SETTINGS`). `supervised` and
`supervised_m1` are classifiers alone, trained on the 100 labelled digits.

Each training is one line of the file: what stands there is not run again, and a training that was
stopped goes on from its last checkpoint, beside the file. Settings were chosen by the error of seed
0 on the validation split (`--split validation`), whose 5,000 labels no training sees; a training
has a fixed number of epochs, and a learning rate that falls by a half cosine.

Reference: Kingma et al., Semi-supervised Learning with Deep Generative Models, table 1,
https://arxiv.org/abs/1406.5298; Pyro's tutorial, https://pyro.ai/examples/ss-vae.html.
"""

import argparse
import functools
import hashlib
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

PUBLISHED = {
    "m2": "M2 11.97 ± 1.71 (Kingma et al.), M2 6.8 (Pyro)",
    "m1+m2": "M1+M2 3.33 ± 0.14 (Kingma et al.)",
    "supervised": "neural network 25.81, CNN 22.98 (Kingma et al.)",
    "supervised_m1": "M1+TSVM 8.18 ± 0.25, with unlabelled codes (Kingma et al.)",
}
PER_CLASS = 10
SETTINGS = {
    "m1+m2": {
        "first": "conv_vae.mnist",
        "epochs": 10,
        "batch_size": 50,
        "learning_rate": 1e-3,
        "alpha": 55.0,
        "repeat": 20,
        "draws": 5,
        "parts": {"activation": "relu", "hidden": [256], "latent_dim": 20},
    },
    "m2": {
        "epochs": 60,
        "batch_size": 100,
        "learning_rate": 1e-3,
        "alpha": 55.0,
        "repeat": 20,
        "parts": {"activation": "relu"},
    },
    "supervised": {"epochs": 200, "batch_size": 50, "learning_rate": 1e-3},
    "supervised_m1": {
        "first": "conv_vae.mnist",
        "epochs": 200,
        "batch_size": 50,
        "learning_rate": 1e-3,
    },
}


@functools.cache
def codes(first: str, split: str):
    """Returns the labels of digits, and what M1 says of them, means and deviations `[n, 2, size]`.

    M1 has seen no label, so that this is the same for all seeds.
    """
    import kvae
    import zoo

    data = kvae.datasets.load("mnist", split)
    params = zoo.load(first).encode(data.examples)
    both = params["z_mean"], np.exp(0.5 * np.asarray(params["z_log_var"]))
    return kvae.datasets.Dataset(np.stack(both, axis=1), data.labels)


def data(seed: int, split: str, *, first=None, repeat: int = 1, draws: int = 0):
    """Returns what a model is trained on, and the examples and labels that it is tested on.

    With `first`, an M1, the examples are its codes; an epoch holds several draws of q(z|x) of each,
    or its mean if `draws` is 0.
    """
    import kvae

    if first is not None:
        train, test = codes(first, "train"), codes(first, split)
        x = test.examples[:, 0]
    else:
        train = kvae.datasets.load("mnist", "train", binarize="dynamic")
        test = kvae.datasets.load("mnist", split)
        x = test.examples
    few = kvae.datasets.few_labels(train, PER_CLASS, seed=seed, repeat=repeat)
    if first is not None:
        mean, spread = few.examples[:, 0], few.examples[:, 1]
        rng = np.random.default_rng(seed)
        found = [
            mean + spread * rng.standard_normal(mean.shape, np.float32) for _ in range(draws)
        ] or [mean]
        weights = None if few.weights is None else np.tile(few.weights, len(found))
        labels = np.tile(few.labels, len(found))
        few = kvae.datasets.Dataset(np.concatenate(found), labels, weights=weights)
    return few, x, test.labels


def build(event_shape, seed: int, alpha: float, **parts):
    """Returns the model, not compiled."""
    import kvae
    import zoo

    if len(event_shape) == 1:
        parts = {
            "event_shape": event_shape,
            "likelihood": kvae.likelihoods.Gaussian("per_pixel"),
            **parts,
        }
    return zoo.build("m2_vae", alpha=alpha, seed=seed, **parts)


def classifier(shape, seed: int):
    """Returns the network of the classifier of `m2_vae`, alone."""
    import keras

    import kvae

    with kvae.random.initial_weights(seed):
        return keras.Sequential(
            [
                keras.Input(shape),
                keras.layers.Flatten(),
                keras.layers.Dense(500, "softplus"),
                keras.layers.Dense(10),
            ]
        )


def measure(model: str, seed: int, split: str, settings: dict, folder: pathlib.Path) -> dict:
    """Trains a model on the labels of a seed; returns its error in percent, and facts."""
    import keras

    import kvae

    start = time.perf_counter()
    options = {name: settings[name] for name in ("first", "repeat", "draws") if name in settings}
    train, x, labels = data(seed, split, **options)
    rate = settings["learning_rate"]
    options = {"batch_size": settings["batch_size"], "epochs": settings["epochs"], "verbose": 0}
    if model.startswith("supervised"):
        known = train.labels >= 0
        network = classifier(train.event_shape, seed)
        network.compile(
            keras.optimizers.Adam(rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        network.fit(train.take(known).examples, train.labels[known], **options)
        found, elbo = np.argmax(network.predict(x, verbose=0), axis=1), None
    else:
        vae = build(train.event_shape, seed, settings["alpha"], **settings.get("parts", {}))
        steps = options["epochs"] * -(-len(train) // options["batch_size"])
        vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)))
        told = {"model": model, "seed": seed, "settings": settings}
        checkpoint = kvae.callbacks.Checkpoint(folder, told, monitor="loss")
        begin = checkpoint.restore(vae)
        vae.fit(train, **{**options, "verbose": 2}, initial_epoch=begin, callbacks=[checkpoint])
        found, elbo = vae.classify(x), checkpoint.history["elbo"][-1]
    return {
        "model": model,
        "seed": seed,
        "split": split,
        "settings": settings,
        "error": 100 * float(np.mean(found != labels)),
        "elbo": elbo,
        "seconds": time.perf_counter() - start,
    }


def report(rows: list[dict]) -> str:
    """Returns the results as Markdown."""
    lines = ["| model | test error, % | seeds | published |", "|---|---|---|---|"]
    for model, published in PUBLISHED.items():
        errors = [row["error"] for row in rows if row["model"] == model]
        if errors:
            spread = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
            lines.append(
                f"| `{model}` | {np.mean(errors):.2f}{spread} | {len(errors)} | {published} |"
            )
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_labels", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=tuple(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--set", default="{}", help="settings to change, as JSON")
    parser.add_argument("--report", action="store_true", help="print what there is")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/few_labels.jsonl"))
    given = parser.parse_args(arguments)
    lines = given.json.read_text().splitlines() if given.json.exists() else []
    rows = [json.loads(line) for line in lines]
    for model in [] if given.report else given.models:
        for seed in given.seeds:
            settings = {**SETTINGS[model], **json.loads(given.set)}
            key = model, seed, given.split, settings
            if key in [(r["model"], r["seed"], r["split"], r["settings"]) for r in rows]:
                continue
            text = json.dumps([model, seed, settings])
            name = f"{model}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            rows.append(measure(*key, given.json.with_suffix("") / name))
            print(rows[-1], flush=True)
            given.json.parent.mkdir(parents=True, exist_ok=True)
            with given.json.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    chosen = [r for r in rows if r["split"] == "test" and r["settings"] == SETTINGS[r["model"]]]
    print(report(chosen))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
