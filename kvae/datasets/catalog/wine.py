"""The table of Italian wines that comes with scikit-learn, in its own units."""

import pathlib

import numpy as np

from kvae.datasets.columns import COMPONENTS
from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.schema import Column
from kvae.datasets.splits import PERMUTED, Splits, split_by_permutation


def _column(name: str, low: float, high: float, kind: str = "gaussian", atoms=()) -> Column:
    components = COMPONENTS if kind.endswith("_mixture") else 0
    whole = kind == "rounded_mixture"
    return Column(name, kind, (), whole, components, atoms, low, high, dtype="Float64")


_CULTIVARS = ("class_0", "class_1", "class_2")
# As `kvae.tables.Table.from_frame` finds them in scikit-learn's frame, with the bounds that they
# have in the rows to train on.
_COLUMNS = (
    _column("alcohol", 11.41, 14.83),
    _column("malic_acid", 0.74, 5.65, "gaussian_mixture"),
    _column("ash", 1.7, 3.23),
    _column("alcalinity_of_ash", 11.2, 30.0),
    _column("magnesium", 78.0, 151.0, "rounded_mixture", (88.0,)),
    _column("total_phenols", 0.98, 3.85),
    _column("flavanoids", 0.34, 5.08, "gaussian_mixture"),
    _column("nonflavanoid_phenols", 0.14, 0.63),
    _column("proanthocyanins", 0.42, 3.58),
    _column("color_intensity", 1.95, 11.75, "gaussian_mixture"),
    _column("hue", 0.48, 1.38),
    _column("od280/od315_of_diluted_wines", 1.29, 4.0, "gaussian_mixture"),
    _column("proline", 278.0, 1515.0, "rounded_mixture"),
    Column("cultivar", "categorical", _CULTIVARS, dtype="String"),
)


@register(
    "wine",
    title="a table of 13 measurements of wines, in their units, and the cultivar",
    event_shape=(14,),
    train=118,
    validation=20,
    test=40,
    classes=3,
    split_rule=PERMUTED,
    license="CC BY 4.0",
    source="https://archive.ics.uci.edu/dataset/109",
    reference="S. Aeberhard, M. Forina, Wine, UCI machine learning repository, 1991",
    class_names=_CULTIVARS,
    columns=_COLUMNS,
    dtype="float32",
)
def read_wine(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads scikit-learn's table: 13 columns in their units, and the number of the cultivar."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    table = np.concatenate([bunch.data, bunch.target[:, None]], axis=1).astype(np.float32)
    return split_by_permutation(info, table, bunch.target)
