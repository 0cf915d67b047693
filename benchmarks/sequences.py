"""Sequences of different lengths: gaps and forecasts of signals, and a text of symbols.

    python -m benchmarks.sequences --seeds 0 1 2 --json runs/sequences.json

- `peers`, `convolutions` and `recurrent`: the data set `signals`, cut at random lengths, with a gap
  in each. The models train on such signals alone. The hidden values of 500 test signals are
  compared, by the root mean square of the errors, with linear interpolation, the last value and
  three Kalman smoothers, which have the parameters under which each signal is most probable
  (`benchmarks/kalman.py`).
- `grammar`, `symbols`, `lstm` and `lstm of all`: the data set `grammar`. Nats per symbol of
  `symbol_vae` on the test sentences, −log p(x) by importance sampling over their number of symbols,
  beside LSTM language models that train on the same sentences in the same run, and beside the
  grammar's own probabilities.

Each training ends when the figure of the validation data has not improved for some epochs, and goes
back to the best weights. A seed and task whose numbers stand in the file already are not run again.
"""

import argparse
import functools
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import kvae
import zoo
from benchmarks import kalman
from benchmarks.files import write_json
from kvae.datasets.catalog import grammar

STEPS, AHEAD, TEST = 64, 8, 7  # The last one seeds what is hidden of the test signals.


# Signals.


def incomplete(split: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns signals `[n, steps]`, what is known of them, and which values are gaps and forecasts.

    A signal ends after 24 to 64 steps, and 4 to 12 steps are missing within it.
    """
    x = kvae.datasets.load("signals", split).x[..., 0]
    rng = np.random.default_rng(seed)
    length, gap = rng.integers(24, STEPS + 1, len(x)), rng.integers(4, 13, len(x))
    start = 4 + np.floor(rng.random(len(x)) * (length - gap - 7)).astype(int)
    steps = np.arange(STEPS)
    within = steps < length[:, None]
    gaps = (steps >= start[:, None]) & (steps < (start + gap)[:, None])
    ahead = (steps >= length[:, None]) & (steps < length[:, None] + AHEAD)
    return x, np.where(within & ~gaps, x, np.float32(np.nan)), gaps, ahead


def interpolated(y: np.ndarray) -> np.ndarray:
    """Returns signals with straight lines in gaps, and the last value after the end."""
    steps = np.arange(y.shape[1])
    there = ~np.isnan(y)
    return np.stack(
        [np.interp(steps, steps[own], row[own]) for row, own in zip(y, there, strict=True)]
    )


def _stopping(monitor: str, mode: str, patience: int) -> list:
    return [
        keras.callbacks.EarlyStopping(
            monitor=monitor, mode=mode, patience=patience, restore_best_weights=True
        )
    ]


def peers(seed: int, epochs: int, samples: int) -> dict:
    """Returns the errors of the peers, which have nothing to draw and nothing to train."""
    x, known, gaps, ahead = incomplete("test", TEST)
    filled = {"line, last value": interpolated(known)}
    filled |= {f"Kalman, {name}": kalman.best(known, all_) for name, all_ in kalman.MODELS.items()}
    found = {}
    for name, values in filled.items():
        found |= errors(name, values, x, gaps, ahead)
    return found


def errors(name: str, values, x, gaps, ahead) -> dict:
    """Returns the root mean squared errors of hidden values within signals and after their end."""
    return {
        f"{name}: {where}": float(np.sqrt(np.mean((values - x)[hidden] ** 2)))
        for where, hidden in (("gap", gaps), ("forecast", ahead))
    }


def signals(name: str, seed: int, epochs: int, samples: int) -> dict:
    """Returns the errors of an architecture of the zoo, trained on incomplete signals alone."""
    train, validation = (
        incomplete(split, 1000 * (seed + 1) + number)[1][..., None]
        for number, split in enumerate(("train", "validation"))
    )
    x, known, gaps, ahead = incomplete("test", TEST)
    start = time.perf_counter()
    vae = zoo.build(name, event_shape=(STEPS, 1), latent_dim=8, missing="zero:mask", seed=seed)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(train) // 64, alpha=0.02)
    vae.compile(keras.optimizers.Adam(rate))
    history = vae.fit(
        train,
        validation_data=validation,
        batch_size=64,
        epochs=epochs,
        callbacks=_stopping("val_elbo", "max", 15),
        verbose=2,
    ).history
    imputed = vae.impute(known[..., None], num_samples=samples)
    return {
        **errors(name, imputed.value[..., 0], x, gaps, ahead),
        "training": {
            "epochs": len(history["elbo"]),
            "seconds": time.perf_counter() - start,
            "parameters": vae.count_params(),
            "KL": float(history["val_kl"][int(np.argmax(history["val_elbo"]))]),
            "median effective sample size": float(np.median(imputed.effective_sample_size)),
        },
    }


# Text.


def sentences() -> tuple[dict, int]:
    """Returns the splits of the grammar, and the number of symbols of the test sentences."""
    splits = {name: kvae.datasets.load("grammar", name) for name in ("train", "validation", "test")}
    return splits, int((~np.isnan(splits["test"].x)).sum())


def own(seed: int, epochs: int, samples: int) -> dict:
    """Returns the nats per symbol of the grammar itself."""
    splits, symbols = sentences()
    rows = kvae.datasets.unpadded(splits["test"].x)
    log_p = [grammar.log_prob([int(one) for one in row[:, 0]]) for row in rows]
    return {"the grammar itself": float(-np.sum(log_p) / symbols)}


def symbols(seed: int, epochs: int, samples: int) -> dict:
    """Returns the nats per symbol of the VAE, by importance sampling."""
    splits, count = sentences()
    start = time.perf_counter()
    vae = symbol_vae(seed)
    vae.compile(keras.optimizers.Adam(RATE))
    history = vae.fit(
        splits["train"],
        validation_data=splits["validation"],
        batch_size=128,
        epochs=epochs,
        callbacks=_stopping("val_elbo", "max", PATIENCE),
        verbose=2,
    ).history
    seconds = time.perf_counter() - start
    log_p = vae.log_prob(splits["test"], num_samples=samples)
    terms = vae.evaluate(splits["test"], return_dict=True, verbose=0)
    return {
        "symbol_vae": float(-np.sum(log_p.value) / count),
        "symbol_vae, by the ELBO": float(-terms["elbo"] * len(splits["test"]) / count),
        "symbol_vae, KL of a sentence": float(terms["kl"]),
        "training": {
            "epochs": len(history["elbo"]),
            "seconds": seconds,
            "parameters": vae.count_params(),
            "median effective sample size": float(np.median(log_p.effective_sample_size)),
        },
    }


def symbol_vae(seed: int) -> kvae.VAE:
    own = {"num_symbols": len(grammar.WORDS), "end": grammar.END, "seed": seed}
    shape = kvae.datasets.info("grammar").event_shape
    return zoo.build("symbol_vae", event_shape=shape, **own, **MODEL)


def language_model(width: int, seed: int) -> keras.Model:
    """An LSTM that reads the symbols before each step, and returns logits of the next one."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(len(grammar.WORDS) + 1, 32)(inputs)
    x = keras.layers.LSTM(width, return_sequences=True)(x)
    return keras.Model(inputs, keras.layers.Dense(len(grammar.WORDS))(x))


def lstm(of_all: bool, seed: int, epochs: int, samples: int) -> dict:
    """Returns the nats per symbol of a language model of the decoder's width, or of all's size."""
    splits, count = sentences()
    width, name = MODEL["width"], "LSTM of the decoder's width"
    if of_all:
        size, name = symbol_vae(0).count_params(), "LSTM of as many parameters as the VAE"
        width = next(w for w in range(8, 1024, 8) if language_model(w, 0).count_params() >= size)
    start = time.perf_counter()
    model = language_model(width, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss)
    before, targets, weights = _shifted(splits["train"].x[..., 0])
    history = model.fit(
        before,
        targets,
        sample_weight=weights,
        validation_data=_shifted(splits["validation"].x[..., 0]),
        batch_size=128,
        epochs=epochs,
        callbacks=_stopping("val_loss", "min", PATIENCE),
        verbose=2,
    ).history
    before, targets, weights = _shifted(splits["test"].x[..., 0])
    log_p = np.asarray(keras.ops.log_softmax(model.predict(before, verbose=0)))
    chosen = np.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
    return {
        name: float(-np.sum(chosen * weights) / count),
        "training": {
            "epochs": len(history["loss"]),
            "seconds": time.perf_counter() - start,
            "parameters": model.count_params(),
            "width": width,
        },
    }


def _shifted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the symbols before each step, those of the step, and 1 where there are some."""
    weights = (~np.isnan(x)).astype("float32")
    targets = np.nan_to_num(x).astype("int32")
    before = np.full_like(targets, len(grammar.WORDS))
    before[:, 1:] = targets[:, :-1]
    return before, targets, weights


MODEL = {"width": 64, "latent_dim": 8, "word_dropout": 0.2, "free_bits": 2.0}
RATE, PATIENCE = 4e-3, 3
# Each with the most epochs, and the number of importance samples.
TASKS = {
    "peers": (peers, 0, 0),
    "convolutions": (functools.partial(signals, "timeseries_vae"), 40, 200),
    "recurrent": (functools.partial(signals, "sequence_vae"), 30, 200),
    "grammar": (own, 0, 0),
    "symbols": (symbols, 10, 50),
    "lstm": (functools.partial(lstm, False), 20, 0),
    "lstm of all": (functools.partial(lstm, True), 20, 0),
}


def table(rows: dict[str, dict]) -> str:
    """Returns the results of one task as Markdown."""
    names = [name for name, value in next(iter(rows.values())).items() if isinstance(value, float)]
    lines = ["| | mean ± spread |", "|---|---|"]
    for name in names:
        values = [row[name] for row in rows.values()]
        lines.append(f"| {name} | {np.mean(values):.4f} ± {np.std(values):.4f} |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequences", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="the most epochs (10 to 40)")
    parser.add_argument("--samples", type=int, help="importance samples (200; of symbols 50)")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/sequences.json"))
    given = parser.parse_args(arguments)
    known = json.loads(given.json.read_text()) if given.json.exists() else {}
    for task in given.tasks:
        function, epochs, samples = TASKS[task]
        rows = known.setdefault(task, {})
        for seed in given.seeds:
            if str(seed) not in rows:
                rows[str(seed)] = function(seed, given.epochs or epochs, given.samples or samples)
                write_json(given.json, known)
            print(task, seed, json.dumps(rows[str(seed)], indent=1), flush=True)
        print(table({str(seed): rows[str(seed)] for seed in given.seeds}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
