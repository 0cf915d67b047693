"""The estimators of `kvae.sklearn` beside those of scikit-learn that answer the same question.

    python -m benchmarks.estimators --seeds 0 1 2

The tables are scikit-learn's. A seed chooses which quarter of the rows is held out, and which
labels and values are hidden; all is measured on the rows held out, but for the gaps, which are
filled in the rows that an estimator was fitted to.

- `codes`: the 64 pixels of `digits` become 8 numbers, and a logistic regression of these finds the
  digit (share that is right; more is better).
- `density`: the mean log p(x) of `breast_cancer`, standardized, in nats (more is better).
- `gaps`: 30 % of the values of `breast_cancer`, standardized, are hidden at random; the mean
  squared error of what is filled in (less is better).
- `outliers`: an estimator is fitted to benign rows of `breast_cancer`; the area under the ROC curve
  of malignant rows among those held out (more is better).
- `few labels`: 5 labels of each digit are known (share of digits that is right; more is better).

The estimators of `kvae` have their defaults but for the size of z and what `OURS` says. Those of
scikit-learn have theirs; what everyone searches for, the bandwidth and the number and kind of
components, is found by `GridSearchCV` among what stands in `theirs`. The file has one line of JSON
for each task, seed and estimator; those that stand there are not run again.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

TASKS = ("codes", "density", "gaps", "outliers", "few labels")
# The likelihood of each column's own deviation is that which `benchmarks.detection` found for this
# table, by log p(x) of rows that were held out of its training.
TABLE = {"latent_dim": 8, "likelihood": "gaussian:per_pixel"}
OURS = {
    "codes": ("VAETransformer", {"latent_dim": 8}),
    "density": ("VAEDensity", TABLE),
    "gaps": ("VAEImputer", {"latent_dim": 8}),
    "outliers": ("VAEOutlierDetector", TABLE),
    "few labels": ("VAEClassifier", {"latent_dim": 8}),
}


def theirs(task: str, seed: int) -> dict:
    """Returns the estimators of scikit-learn for a task by name."""
    from sklearn import decomposition, ensemble, impute, mixture, neighbors, semi_supervised, svm
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    logistic = LogisticRegression(max_iter=5000)
    bandwidths, kinds = np.geomspace(0.1, 3.0, 12), ["full", "tied", "diag"]
    mixtures = {"n_components": [1, 2, 3, 5, 8], "covariance_type": kinds}
    return {
        "codes": {
            "PCA": decomposition.PCA(8, random_state=seed),
            "KernelPCA (rbf)": decomposition.KernelPCA(8, kernel="rbf", random_state=seed),
            "FactorAnalysis": decomposition.FactorAnalysis(8, random_state=seed),
        },
        "density": {
            "GaussianMixture": GridSearchCV(mixture.GaussianMixture(random_state=seed), mixtures),
            "KernelDensity": GridSearchCV(neighbors.KernelDensity(), {"bandwidth": bandwidths}),
            "FactorAnalysis": decomposition.FactorAnalysis(8, random_state=seed),
        },
        "gaps": {
            "SimpleImputer": impute.SimpleImputer(),
            "KNNImputer": impute.KNNImputer(),
            "IterativeImputer": impute.IterativeImputer(random_state=seed),
        },
        "outliers": {
            "IsolationForest": ensemble.IsolationForest(random_state=seed),
            "LocalOutlierFactor": neighbors.LocalOutlierFactor(novelty=True),
            "OneClassSVM": svm.OneClassSVM(),
        },
        "few labels": {
            "LogisticRegression, labelled rows alone": logistic,
            "LabelSpreading (knn)": semi_supervised.LabelSpreading(kernel="knn"),
            "SelfTrainingClassifier": semi_supervised.SelfTrainingClassifier(logistic),
        },
    }[task]


def rows(task: str, seed: int):
    """Returns training rows, rows held out, and the classes of both."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = task in ("codes", "few labels")
    x, y = getattr(datasets, "load_digits" if digits else "load_breast_cancer")(return_X_y=True)
    train, test, known, classes = train_test_split(x, y, random_state=seed, stratify=y)
    if digits:
        return train / 16, test / 16, known, classes
    if task == "outliers":
        train, known = train[known == 1], known[known == 1]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / scale, (test - mean) / scale, known, classes


def measure(task: str, estimator, seed: int) -> float:
    """Returns the figure of an estimator, which it fits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline

    train, test, known, classes = rows(task, seed)
    rng = np.random.default_rng(seed)
    if task == "codes":
        chain = make_pipeline(estimator, LogisticRegression(max_iter=5000))
        return chain.fit(train, known).score(test, classes)
    if task == "density":
        return estimator.fit(train).score(test) / (len(test) if _sums(estimator) else 1)
    if task == "gaps":
        hidden = rng.random(train.shape) < 0.3
        filled = estimator.fit_transform(np.where(hidden, np.nan, train))
        return np.mean((filled - train)[hidden] ** 2)
    if task == "outliers":
        return roc_auc_score(classes == 0, -estimator.fit(train).score_samples(test))
    few = np.full(len(known), -1)
    for one in np.unique(known):
        chosen = rng.permutation(np.flatnonzero(known == one))[:5]
        few[chosen] = one
    if type(estimator) is LogisticRegression:
        return estimator.fit(train[few >= 0], few[few >= 0]).score(test, classes)
    return estimator.fit(train, few).score(test, classes)


def _sums(estimator) -> bool:
    """Checks whether `score` is the sum over the rows, as that of `KernelDensity` is."""
    from sklearn.neighbors import KernelDensity

    return isinstance(getattr(estimator, "estimator", estimator), KernelDensity)


def ours(task: str, seed: int):
    """Returns the estimator of `kvae.sklearn` for a task, with its name."""
    import kvae.sklearn

    name, parameters = OURS[task]
    return name, getattr(kvae.sklearn, name)(random_state=seed, **parameters)


def table(records: list[dict]) -> str:
    """Returns means and spreads over the seeds as Markdown."""
    lines = ["| task | estimator | figure | seeds |", "|---|---|---|---|"]
    for task, name in dict.fromkeys((one["task"], one["estimator"]) for one in records):
        own = [one["figure"] for one in records if (one["task"], one["estimator"]) == (task, name)]
        spread = f" ± {np.std(own, ddof=1):.3f}" if len(own) > 1 else ""
        lines.append(f"| {task} | {name} | {np.mean(own):.3f}{spread} | {len(own)} |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("runs/estimators.jsonl"))
    given = parser.parse_args(arguments)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    lines = given.json.read_text().splitlines() if given.json.exists() else []
    records = [json.loads(line) for line in lines]
    for task, seed in ((task, seed) for task in given.tasks for seed in given.seeds):
        for name, estimator in {**dict([ours(task, seed)]), **theirs(task, seed)}.items():
            key = {"task": task, "seed": seed, "estimator": name}
            if any(key == {part: record[part] for part in key} for record in records):
                continue
            start = time.perf_counter()
            figure = float(measure(task, estimator, seed))
            record = {**key, "figure": figure, "seconds": round(time.perf_counter() - start, 1)}
            records.append(record)
            with given.json.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)
    print(table([one for one in records if one["task"] in given.tasks]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
