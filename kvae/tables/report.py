"""How near drawn rows of a table are to real ones, how useful, and whether they are copies."""

import math
from typing import Any

import numpy as np

from kvae.datasets.schema import Column, Schema
from kvae.evaluation.result import Result
from kvae.utils.names import unknown_name

__all__ = ["report"]

_CLASSES = ("categorical", "ordinal", "bernoulli")
_BINS = 10  # Of numbers, by quantiles of the real rows, beside categories.
_FEWEST = 30  # Rows of each kind, below which no tree of the classifier finds enough to split.
_ROWS = 5000  # At most these many are compared by classifiers and by distances.


def report(
    schema: Schema,
    train: Any,
    synthetic: Any,
    test: Any,
    *,
    target: str | None = None,
    seed: int = 0,
) -> Result:
    """Compares drawn rows with real ones.

    - `columns` (best: 1): the mean over columns of 1 − the Kolmogorov–Smirnov statistic (numbers),
      or 1 − the total variation distance (classes), to the test rows.
    - `pairs` (1): the mean over pairs of columns of 1 − half the difference of the correlations
      (two columns of numbers), or 1 − the total variation distance of the tables of contingency
      (all others; numbers in ten bins).
    - `association_error` (0): the mean difference of Cramér's V over those tables.
    - `detection_auc` (0.5): the area under the ROC curve of gradient boosted trees that tell drawn
      rows from test rows, cross-validated; NaN of fewer than thirty rows of each.
    - `utility` (`utility_of_real`): how well trees that learned from drawn rows predict `target` in
      the test rows: the macro F1 of classes, R² of numbers; and the same of trees that learned from
      the training rows.
    - `share_nearer_to_training` (0.5): the share of drawn rows that are nearer to a training row
      than to any test row, of as many of each.
    - `copies` (`copies_of_test`): the share of drawn rows that equal a training row in all columns;
      and of test rows.

    Where training rows have gaps and drawn rows have none, as of a model of p(x), the latter get
    the gaps of training rows.

    `mean` is the average of columns, pairs, 2 (1 − detection_auc), utility / utility_of_real and
    2 (1 − share_nearer_to_training), each cut to [0, 1], without those that are NaN.

    Args:
        schema: `kvae.datasets.Schema` with columns.
        train: array `[n, columns]`, or a `kvae.tables.Table`. The rows that the model learned from.
        synthetic: array or `Table`. Rows that it has drawn, in an order of chance: where there are
            more of them than test rows, `detection_auc` looks at the first ones.
        test: array or `Table`. Real rows that it has not seen.
        target: str. The column that is predicted. Defaults to `None`: the last one of classes, or
            else the last one.
        seed: int. Of the classifiers and of the rows that are compared. Defaults to `0`.

    Returns:
        `kvae.evaluation.Result`; `result["by_column"]` has the fidelity of each column.

    Raises:
        ValueError: for other numbers of columns, an unknown target, and fewer than ten rows.

    Example:

    ```python
    train, test = (kvae.datasets.load("breast_cancer", part) for part in ("train", "test"))
    result = kvae.tables.report(train.schema, train.x[:200], train.x[200:], test.x)
    print(result["columns"] > 0.7, result["copies"])    # True 0.0
    ```

    References:
        - [Xu et al., Modeling Tabular Data using Conditional GAN, section 5](
          https://arxiv.org/abs/1907.00503)
        - [Platzer & Reutterer, Holdout-Based Fidelity and Privacy Assessment of Mixed-Type
          Synthetic Data](https://doi.org/10.3389/fdata.2021.679939)
    """
    columns = schema.columns
    parts = {"train": train, "synthetic": synthetic, "test": test}
    found = {name: _rounded(columns, name, part) for name, part in parts.items()}
    train, synthetic, test = found.values()
    if np.isnan(train).any() and not np.isnan(synthetic).any():
        gaps = np.isnan(train)[np.arange(len(synthetic)) % len(train)]
        synthetic = np.where(gaps, np.nan, synthetic)
    names = [column.name for column in columns]
    if target is None:
        classes = [column.name for column in columns if column.kind in _CLASSES]
        target = (classes or names)[-1]
    if target not in names:
        raise unknown_name("column", target, names)
    by_column = {
        column.name: _column_fidelity(column, test[:, i], synthetic[:, i])
        for i, column in enumerate(columns)
    }
    pairs, association = _pair_fidelity(columns, test, synthetic)
    rng = np.random.default_rng(seed)
    auc = _detection_auc(_some(test, rng), _some(synthetic, rng), columns, seed)
    place = names.index(target)
    utility, of_real = (
        _utility(columns, place, _some(rows, rng), test, seed) for rows in (synthetic, train)
    )
    nearer = _share_nearer(columns, train, test, synthetic, rng)
    values = {
        "columns": float(np.mean(list(by_column.values()))),
        "pairs": pairs,
        "association_error": association,
        "detection_auc": auc,
        "utility": utility,
        "utility_of_real": of_real,
        "share_nearer_to_training": nearer,
        "copies": _copies(train, synthetic),
        "copies_of_test": _copies(train, test),
    }
    shares = (
        values["columns"],
        pairs,
        2 * (1 - auc),
        0.0 if of_real <= 0 else utility / of_real,  # NaN where there is nothing to predict.
        2 * (1 - nearer),
    )
    known = [min(max(share, 0.0), 1.0) for share in shares if not math.isnan(share)]
    values = {"mean": float(np.mean(known)), **values}
    best = {
        **dict.fromkeys(("mean", "columns", "pairs"), 1),
        "association_error": 0,
        "detection_auc": 0.5,
        "utility": of_real,
        "share_nearer_to_training": 0.5,
        "copies": values["copies_of_test"],
    }
    worst = sorted(by_column, key=by_column.get)[:5]
    return Result(
        f"{len(synthetic):,} drawn rows beside {len(test):,} real ones",
        {**values, "target": target, "by_column": by_column},
        ("figure", "value", "best"),
        [(name, value, best.get(name, "")) for name, value in values.items()],
        f"Target: {target}. The columns that differ most: "
        + ", ".join(f"{name} ({by_column[name]:.3f})" for name in worst)
        + ".",
    )


def _rounded(columns: tuple[Column, ...], name: str, rows: Any) -> np.ndarray:
    """Returns rows as their table has them: whole numbers, within the bounds."""
    x = np.asarray(getattr(rows, "x", rows), np.float64)
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise ValueError(f"`{name}` has shape {x.shape}, and the table {len(columns)} columns.")
    if len(x) < 10:
        raise ValueError(f"`{name}` has {len(x)} rows; at least 10 are compared.")
    found = np.empty_like(x)
    for place, column in enumerate(columns):
        found[:, place] = [column.number(value) for value in x[:, place]]
    return found


def _some(x: np.ndarray, rng) -> np.ndarray:
    return x if len(x) <= _ROWS else x[rng.permutation(len(x))[:_ROWS]]


def _is_class(column: Column) -> bool:
    return column.kind in _CLASSES


def _column_fidelity(column: Column, real: np.ndarray, drawn: np.ndarray) -> float:
    """Returns 1 − the distance of two columns, of which something may be missing."""
    if _is_class(column):
        return 1.0 - _total_variation(real, drawn)
    gaps = abs(np.isnan(real).mean() - np.isnan(drawn).mean())
    real, drawn = real[~np.isnan(real)], drawn[~np.isnan(drawn)]
    if not len(real) or not len(drawn):
        return 1.0 - gaps
    from scipy.stats import ks_2samp

    return float((1.0 - ks_2samp(real, drawn).statistic) * (1.0 - gaps))


def _total_variation(real: np.ndarray, drawn: np.ndarray) -> float:
    """Returns the total variation distance of two columns of classes; NaN is one."""
    known = np.unique(np.concatenate([real, drawn]))  # NaNs are one value to it.
    shares = []
    for values in (real, drawn):
        counts = np.array([np.sum(values == one) for one in known[~np.isnan(known)]])
        shares.append(np.append(counts, np.isnan(values).sum()) / len(values))
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def _pair_fidelity(columns, real, drawn) -> tuple[float, float]:
    """Returns the mean fidelity of pairs, and the mean error of Cramér's V."""
    classes = [_is_class(column) for column in columns]
    edges = [
        None if one else np.unique(np.nanquantile(real[:, i], np.linspace(0, 1, _BINS + 1)[1:-1]))
        for i, one in enumerate(classes)
    ]

    def binned(x):
        return np.stack(
            [
                np.where(
                    np.isnan(x[:, i]), -1, x[:, i] if edge is None else edge.searchsorted(x[:, i])
                )
                for i, edge in enumerate(edges)
            ],
            axis=1,
        ).astype(int)

    real_bins, drawn_bins = binned(real), binned(drawn)
    found, errors = [], []
    for i in range(len(columns)):
        for j in range(i):
            if not (classes[i] or classes[j]):
                apart = abs(_correlation(real[:, [i, j]]) - _correlation(drawn[:, [i, j]]))
                found.append(1.0 - apart / 2)
                continue
            both = (real_bins, drawn_bins)
            tables = [_contingency(x[:, [i, j]], both, i, j) for x in both]
            found.append(1.0 - 0.5 * float(np.abs(tables[0] - tables[1]).sum()))
            errors.append(abs(_cramers_v(tables[0]) - _cramers_v(tables[1])))
    if not found:
        return math.nan, math.nan
    return float(np.mean(found)), float(np.mean(errors)) if errors else math.nan


def _correlation(pair: np.ndarray) -> float:
    pair = pair[~np.isnan(pair).any(axis=1)]
    if len(pair) < 2 or (pair.std(axis=0) == 0).any():
        return 0.0
    return float(np.corrcoef(pair.T)[0, 1])


def _contingency(pair, both, i: int, j: int) -> np.ndarray:
    """Returns the shares of all combinations of two columns."""
    sizes = [int(max(x[:, k].max() for x in both)) + 2 for k in (i, j)]
    table = np.zeros(sizes)
    np.add.at(table, (pair[:, 0] + 1, pair[:, 1] + 1), 1.0)
    return table / len(pair)


def _cramers_v(table: np.ndarray) -> float:
    """Returns the association of two columns, from 0 to 1, of the shares of their combinations."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0))
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / (min(table.shape) - 1)))


def _trees(columns, places, regression: bool, seed: int):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    # More categories than it takes are numbers to it.
    classes = [
        columns[place].kind == "categorical" and len(columns[place].categories) <= 255
        for place in places
    ]
    return kind(categorical_features=classes, max_iter=100, random_state=seed)


def _one_thread():
    """Trees of a few thousand rows are made faster by one thread than by several."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _detection_auc(real, drawn, columns, seed: int) -> float:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    number = min(len(real), len(drawn))
    if number < _FEWEST:
        return math.nan
    if number < len(real):  # Which may be sorted.
        real = real[np.random.default_rng(seed).permutation(len(real))[:number]]
    x = np.concatenate([real, drawn[:number]])
    y = np.repeat([0, 1], number)
    trees = _trees(columns, range(len(columns)), False, seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    with _one_thread():
        scores = cross_val_predict(trees, x, y, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(y, scores))


def _utility(columns, target: int, rows, test, seed: int) -> float:
    from sklearn.metrics import f1_score, r2_score

    places = [place for place in range(len(columns)) if place != target]
    regression = not _is_class(columns[target])
    rows, test = (x[~np.isnan(x[:, target])] for x in (rows, test))
    y, known = rows[:, target], test[:, target]
    if not places or not len(rows) or not len(test):
        return math.nan
    if not regression and len(np.unique(y)) == 1:
        predicted = np.full(len(test), y[0])
    else:
        with _one_thread():
            trees = _trees(columns, places, regression, seed).fit(rows[:, places], y)
            predicted = trees.predict(test[:, places])
    if regression:
        return float(r2_score(known, predicted))
    return float(f1_score(known, predicted, average="macro"))


def _share_nearer(columns, train, test, drawn, rng) -> float:
    """Returns the share of drawn rows that are nearer to training rows than to test rows.

    Distances are Euclidean, of numbers in standard deviations of the training rows and of classes
    as one-hot vectors. Ties count half.
    """
    from sklearn.neighbors import NearestNeighbors

    number = min(len(train), len(test), _ROWS)
    sides = [x[rng.permutation(len(x))[:number]] for x in (train, test)]
    drawn = _some(drawn, rng)
    blocks: list[list[np.ndarray]] = [[], [], []]
    for place, column in enumerate(columns):
        known = train[:, place][~np.isnan(train[:, place])]
        mean, scale = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
        for own, x in zip(blocks, (*sides, drawn), strict=True):
            values = x[:, place]
            if _is_class(column):
                size = max(len(column.categories), 2)
                own.append((values[:, None] == np.arange(size)) * math.sqrt(0.5))
            else:
                own.append(np.nan_to_num((values - mean) / scale)[:, None])
    near, far, points = (np.concatenate(one, axis=1) for one in blocks)
    to_train, to_test = (
        NearestNeighbors(n_neighbors=1).fit(x).kneighbors(points)[0][:, 0] for x in (near, far)
    )
    return float((to_train < to_test).mean() + 0.5 * (to_train == to_test).mean())


def _copies(train: np.ndarray, rows: np.ndarray) -> float:
    """Returns the share of rows that equal a training row, as numbers of float32."""
    known = {row.tobytes() for row in np.float32(train) + 0.0}  # −0 is 0.
    return float(np.mean([row.tobytes() in known for row in np.float32(rows) + 0.0]))
