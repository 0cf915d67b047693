"""Rows of tables beside those of CTGAN's TVAE, by the report of `kvae evaluate --table`.

    python -m benchmarks.tables --seeds 0 1 2 --peers PYTHON --json runs/tables.json

PYTHON is that of an environment with ctgan (`sh benchmarks/install.sh` makes one).

- `adult`: 6,000 rows to train on and 2,000 to test, of a seeded formula in the manner of the census
  table of UCI, with which TVAE was published: fourteen columns and the income. Ages, hours and
  weights of several modes, gains and losses that are mostly 0, occupations that depend on
  education, a country that is rarely another one. The formula is in `adult`.
- `breast_cancer`, `wine` and `diabetes`: scikit-learn's tables, with their targets; a quarter of
  the rows is the test.

Both models see the same training rows, and draw as many. TVAE has its defaults (300 epochs, batches
of 500, 128 latents, layers of 128). kvae has `tabular_vae` with the kinds of columns that
`kvae.tables.Table` finds, 150 epochs, and the sizes in `build`, which were chosen by the report on
another draw of `adult` (seed 100) and then kept for all tables. What is compared is the report of
each (`kvae.tables.report`): all of its figures, and their mean. A seed and task whose numbers stand
in the file already are not run again.
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

from benchmarks.files import write_json

TASKS = ("adult", "breast_cancer", "wine", "diabetes")
FIGURES = (
    *("mean", "columns", "pairs", "association_error", "detection_auc", "utility"),
    *("utility_of_real", "share_nearer_to_training", "copies"),
)
_PEER = """
import sys, json
import numpy as np, pandas as pd, torch
from ctgan import TVAE

data, path, discrete, n, seed = sys.argv[1:]
frame, seed = pd.read_csv(data), int(seed)
np.random.seed(seed)
torch.manual_seed(seed)
model = TVAE(enable_gpu=False)
model.fit(frame, json.loads(discrete))
model.set_random_state(seed)
model.sample(int(n)).to_csv(path, index=False)
"""


def adult(seed: int, n: int) -> dict[str, list]:
    """Returns the columns of a table of people by a formula."""
    rng = np.random.default_rng(seed)

    def chosen(names, weights):
        """Draws names by weights `[names]` or `[n, names]`."""
        weights = np.broadcast_to(np.asarray(weights, float), (n, len(names)))
        ends = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        return np.array(names)[(rng.random((n, 1)) > ends).sum(axis=1)]

    age = np.clip(
        np.where(rng.random(n) < 0.3, rng.normal(24, 4, n), rng.normal(44, 12, n)), 17, 90
    )
    years = np.clip(np.round(rng.normal(10, 2.5, n) - (age < 22) * 1.5), 1, 16)
    steps = ("primary", "secondary", "some-college", "bachelors", "masters", "doctorate")
    education = np.array(steps)[np.searchsorted([8, 10, 13, 14, 16], years, side="right")]
    men = rng.random(n) < 0.66
    married = rng.random(n) < 1 / (1 + np.exp(-(age - 32) / 6))
    marital = np.where(
        married,
        np.where(rng.random(n) < 0.75, "married", "divorced"),
        np.where(rng.random(n) < 0.93, "never-married", "widowed"),
    )
    relationship = np.where(
        marital == "married", np.where(men, "husband", "wife"),
        np.where(age < 25, "own-child", chosen(("not-in-family", "unmarried"), (3, 1))),
    )  # fmt: skip
    jobs = ("craft", "clerical", "executive", "professional", "sales", "service", "transport")
    skill = (years - 10)[:, None] * np.array([-0.3, 0.0, 0.4, 0.7, 0.1, -0.3, -0.4])
    taste = np.where(
        men[:, None], [0.9, -0.6, 0.2, 0, 0, -0.3, 0.8], [-1.5, 0.9, 0, 0.2, 0, 0.6, -1]
    )
    occupation = chosen(jobs, np.exp(skill + taste))
    workclass = chosen(("private", "self-employed", "state", "local"), (75, 11, 5, 9))
    race = chosen(("white", "black", "asian", "other"), (85, 10, 3, 2))
    countries = ("united-states", *(f"country-{i}" for i in range(1, 30)))
    country = chosen(countries, (90, *(8 * 0.8 ** np.arange(29))))
    usual = rng.random(n) < 0.47
    hours = np.where(usual, 40, np.clip(np.round(rng.normal(41, 13, n)), 1, 99))
    hours = np.where(age < 20, np.minimum(hours, np.round(rng.normal(22, 6, n)).clip(1)), hours)
    weight = np.round(np.exp(rng.normal(12.0, 0.5, n)))
    score = (
        -6.2 + 0.33 * (years - 6) + 0.035 * np.minimum(age, 55) + 1.9 * (marital == "married")
        + 0.03 * (hours - 40) + 0.8 * np.isin(occupation, ("executive", "professional"))
    )  # fmt: skip
    rich = rng.random(n) < 1 / (1 + np.exp(-score))
    gains = rng.random(n) < np.where(rich, 0.2, 0.04)
    gain = np.where(gains, np.round(np.exp(rng.normal(np.where(rich, 9.0, 8.0), 0.5))), 0)
    loss = np.where(~gains & (rng.random(n) < 0.05), np.round(rng.normal(1870, 300, n)), 0)
    return {
        "age": np.floor(age).astype(int).tolist(),
        "workclass": workclass.tolist(),
        "weight": weight.astype(int).tolist(),
        "education": education.tolist(),
        "years": years.astype(int).tolist(),
        "marital": marital.tolist(),
        "occupation": occupation.tolist(),
        "relationship": relationship.tolist(),
        "race": race.tolist(),
        "sex": np.where(men, "male", "female").tolist(),
        "gain": gain.astype(int).tolist(),
        "loss": loss.clip(0).astype(int).tolist(),
        "hours": hours.astype(int).tolist(),
        "country": country.tolist(),
        "income": np.where(rich, ">50K", "<=50K").tolist(),
    }


def columns(task: str, seed: int) -> tuple[dict[str, list], dict[str, list]]:
    """Returns the columns of the training rows and of the test rows."""
    if task == "adult":
        found, test = adult(seed, 8000), 2000
    else:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{task}")(**{"scaled": False} if task == "diabetes" else {})
        found = {
            str(name): values.tolist()
            for name, values in zip(bunch.feature_names, bunch.data.T, strict=True)
        }
        if task == "diabetes":
            found["sex"] = [("a", "b")[int(one) - 1] for one in found["sex"]]
            found["target"] = bunch.target.tolist()
        else:
            found["target"] = [str(bunch.target_names[one]) for one in bunch.target]
        test = len(bunch.target) // 4
    rows = len(found["age" if "age" in found else "target"])
    order = np.random.default_rng(seed).permutation(rows)
    train, test = order[test:], order[:test]
    for values in found.values():
        if isinstance(values[0], str):  # A name that no model has seen is a matter of its own.
            known = {values[i] for i in train}
            test = [i for i in test if values[i] in known]
    return tuple({k: [v[i] for i in part] for k, v in found.items()} for part in (train, test))


def build(table, seed: int, epochs: int):
    """Returns a model that is trained on a table."""
    import keras

    import kvae
    import zoo

    batch = min(128, 2 ** int(np.log2(len(table) / 8)))
    steps = epochs * -(-len(table) // batch)
    with kvae.random.initial_weights(seed):
        vae = zoo.build(
            "tabular_vae",
            event_shape=table.event_shape,
            latent_dim=16,
            hidden=(256, 256),
            likelihood=table.likelihood(),
            seed=seed,
        )
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps, alpha=0.02)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(table, epochs=epochs, batch_size=batch, verbose=0)
    return vae


def measure(task: str, seed: int, epochs: int, peers: str | None) -> dict:
    """Returns the figures of a task by the model."""
    import pyarrow
    import pyarrow.csv

    from kvae.tables import Table, report

    train, test = columns(task, seed)
    frame = pyarrow.table(train)
    table = Table.from_frame(frame)
    other = Table.from_frame(pyarrow.table(test), schema=table.schema)
    target = "income" if task == "adult" else "target"

    def judged(x) -> dict:
        result = report(table.schema, table, x, other, target=target, seed=seed)
        return {**{name: result[name] for name in FIGURES}, "by_column": result["by_column"]}

    start = time.perf_counter()
    vae = build(table, seed, epochs)
    drawn = np.asarray(vae.sample(len(table), seed=seed, output="sample"))
    found = {"kvae": {**judged(drawn), "seconds": time.perf_counter() - start}}
    if peers is not None:
        discrete = [one.name for one in table.schema.columns if one.categories]
        with tempfile.TemporaryDirectory() as folder:
            data, drawn = pathlib.Path(folder, "data.csv"), pathlib.Path(folder, "drawn.csv")
            pyarrow.csv.write_csv(frame, data)
            start = time.perf_counter()
            words = [
                peers,
                "-c",
                _PEER,
                data,
                drawn,
                json.dumps(discrete),
                str(len(table)),
                str(seed),
            ]
            # Its own packages alone; more threads wait for each other in such small models.
            settings = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
            subprocess.run(words, check=True, env=settings)
            seconds = time.perf_counter() - start
            rows = Table.from_file(drawn, schema=table.schema)
        found["TVAE"] = {**judged(rows), "seconds": seconds}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--peers", metavar="PYTHON", help="a Python with ctgan (none)")
    parser.add_argument("--json", type=pathlib.Path, help="keep the figures in this file")
    given = parser.parse_args()
    known: dict = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    for seed in given.seeds:
        for task in given.tasks:
            key = f"{task} {seed}"
            if key not in known:
                known[key] = measure(task, seed, given.epochs, given.peers)
                if given.json:
                    write_json(given.json, known)
            for model, figures in known[key].items():
                shown = "  ".join(f"{name} {figures[name]:.3f}" for name in FIGURES)
                print(f"{key:18}{model:6}{shown}  {figures['seconds']:.0f} s", flush=True)
    for task in given.tasks:
        rows = [known[f"{task} {seed}"] for seed in given.seeds]
        for model in rows[0]:
            means = [np.mean([row[model][name] for row in rows]) for name in FIGURES]
            print(f"| {task}, {model} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
