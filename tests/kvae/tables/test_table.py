"""Frames as data sets: kinds, types, bounds and categories, and the way back."""

import dataclasses
import datetime

import numpy as np
import pytest
from sklearn.datasets import load_wine

import kvae
from kvae.datasets import Schema
from kvae.tables import Table, frame

pytest.importorskip("narwhals")


def people(n=60):
    rng = np.random.default_rng(0)
    return {
        "age": rng.normal(40, 10, n).tolist(),
        "visits": [int(i) for i in rng.negative_binomial(2, 0.2, n)],
        "job": [("clerk", "cook", "baker")[i % 3] for i in range(n)],
        "ok": [bool(i % 2) for i in range(n)],
        "born": [datetime.date(1980, 1, 1) + datetime.timedelta(days=37 * i) for i in range(n)],
        "seen": [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=i) for i in range(n)],
        "planet": ["Earth"] * n,
        "income": np.exp(rng.normal(8, 1, n)).tolist(),
        "phase": np.where(rng.random(n) < 0.5, -5, 5 + 0.1 * rng.normal(size=n)).tolist(),
        "gain": [0 if i % 3 else 500 + 37 * i for i in range(n)],
        "rooms": [int(i) for i in rng.normal(500, 100, n)],
        "nothing": [None] * n,
        "gap": [None if i % 7 == 0 else i**0.5 for i in range(n)],
    }


KINDS = {
    "age": "gaussian",
    "visits": "negative_binomial",
    "job": "categorical",
    "ok": "bernoulli",
    "born": "gaussian",
    "seen": "gaussian",
    "planet": "constant",
    "income": "log_normal",
    "phase": "gaussian_mixture",
    "gain": "rounded_mixture",
    "rooms": "gaussian",
    "nothing": "constant",
    "gap": "gaussian",
}


def of_pyarrow():
    import pyarrow as pa

    return pa.table(people())


def of_pandas():
    import pandas as pd

    found = pd.DataFrame(people())
    found["grade"] = pd.Categorical(["low", "high", "mid"] * 20, ["low", "mid", "high"], True)
    found["age"] = found["age"].astype("float32")
    found["code"] = pd.Categorical([i % 4 * 10 for i in range(60)])
    found["some"] = pd.array([None if i % 5 == 0 else i for i in range(60)], dtype="Int64")
    found["seen"] = found["seen"].dt.tz_localize("Europe/Berlin")
    found["born"] = pd.to_datetime(found["born"])
    return found


def of_polars():
    import polars as pl

    grade = pl.Series(["low", "high", "mid"] * 20, dtype=pl.Enum(["low", "mid", "high"]))
    found = pl.DataFrame(people()).with_columns(pl.col("job").cast(pl.Categorical), grade=grade)
    return found.with_columns(pl.col("rooms").cast(pl.Int16))


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars"])
def test_a_frame_goes_to_numbers_and_back(library):
    pytest.importorskip(library)
    import narwhals as nw

    given = {"pyarrow": of_pyarrow, "pandas": of_pandas, "polars": of_polars}[library]()
    table = Table.from_frame(given)
    found = {column.name: column for column in table.schema.all_columns}
    assert list(found) == nw.from_native(given).columns
    assert {name: found[name].kind for name in KINDS} == KINDS
    if library != "pyarrow":
        assert found["grade"].kind == "ordinal"
        assert found["grade"].categories == ("low", "mid", "high")
    assert found["job"].categories == ("baker", "clerk", "cook")
    assert found["gain"].atoms == (0.0,)
    assert table.event_shape == (len(found) - 2,) and table.has_missing
    assert Schema.from_dict(table.schema.to_dict()) == table.schema
    again = table.inverse(table.x)
    assert type(again) is type(given)
    if library == "pandas":
        from pandas.testing import assert_frame_equal

        order = [name for name in given if name != "nothing"]
        assert_frame_equal(again[order], given[order], rtol=1e-4, atol=1e-3)
        assert again["nothing"].isna().all()
        return
    assert again.schema == given.schema
    columns = (nw.from_native(frame).to_dict(as_series=False) for frame in (again, given))
    for one, other in zip(*(found.values() for found in columns), strict=True):
        if any(isinstance(value, float) for value in other):
            one, other = (np.array(values, float) for values in (one, other))
            np.testing.assert_allclose(one, other, rtol=1e-5)
        else:
            assert one == other


def test_draws_are_within_the_bounds_and_whole_where_the_column_is():
    table = Table.from_frame(of_pyarrow())
    wild = np.full((2, 11), 1e9, "float32")
    wild[1] = -1e9
    places = {column.name: i for i, column in enumerate(table.schema.columns)}
    for name in ("job", "ok"):
        wild[:, places[name]] = 1.0
    high, low = table.inverse(wild).to_pylist()
    known = people()
    for name in ("age", "income", "rooms", "visits", "born", "phase"):
        for found, value in ((high, max(known[name])), (low, min(known[name]))):
            assert found[name] == (
                pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
            )
    assert high["planet"] == "Earth" and high["nothing"] is None and high["ok"] is True
    assert frame(table.schema, table.x, "pyarrow").num_rows == 60
    with pytest.raises(ValueError, match="Rows of 11 columns"):
        table.inverse(wild[:, :3])


def test_a_model_keeps_the_schema_of_the_table_it_trains_on(make_vae):
    pa = pytest.importorskip("pyarrow")
    given = pa.table({name: people()[name] for name in ("age", "job", "planet")})
    table = Table.from_frame(given, {"job": "categorical"})
    vae = make_vae(event=(2,), likelihood=table.likelihood(), optimizer="sgd", eager=True)
    vae.fit(table, epochs=1, verbose=0)
    assert vae.schema == table.schema and isinstance(table[:5], Table)
    drawn = table[:5].inverse(vae.sample(4, seed=1, output="sample"))
    assert drawn.column_names == ["age", "job", "planet"]
    assert set(drawn["job"].to_pylist()) <= {"clerk", "cook", "baker"}


def arrow(**columns):
    return pytest.importorskip("pyarrow").table(columns)


@pytest.mark.parametrize(
    ("columns", "kinds", "message"),
    [
        ({"a": [1.0]}, {}, "no column left to learn from, but a hold one value each"),
        ({"a": []}, {}, "The frame has no rows of data"),
        ({"a": [1.5, 2.5], "b": [[1], [2]]}, {}, "'b' holds List.*neither a number, a text nor"),
        ({"a": [f"n{i}" for i in range(50)]}, {}, r"50 different texts.*kinds=\{'a': 'ignore'\}"),
        ({"a": [1.5, 2.5]}, {"b": "label"}, "Unknown column of The frame 'b'"),
        ({"a": [1.5, 2.5]}, {"a": "poisson"}, "row 0, column 'a' holds '1.5'. A poisson column"),
        ({"a": [1.0, -2.5]}, {"a": "log_normal"}, "row 1, .* A log_normal column holds positive"),
        ({"a": [1.5, float("inf")]}, {}, "row 1, column 'a' holds 'inf'"),
    ],
)
def test_what_is_refused(columns, kinds, message):
    with pytest.raises(ValueError, match=message):
        Table.from_frame(arrow(**columns), kinds)


def test_categories_of_many_kinds_and_rare_ones():
    many = [f"c{i}" for i in range(1000)] * 2 + ["rare"]
    with pytest.raises(ValueError, match="1001 different texts"):
        Table.from_frame(arrow(a=many))
    few = [*many[:999], *many[:999], "c0", "c1", "rare"]
    table = Table.from_frame(arrow(a=few, b=[1.5, 2.5] * 1000 + [3.5]))
    assert table.columns[0] == ("categorical", 1000) and table.x[-1, 0] == 999
    with pytest.raises(ValueError, match="row 0, column 'a' holds 'new'. Its categories are"):
        Table.from_frame(arrow(a=["new"], b=[1.0]), schema=table.schema)
    gap = Table.from_frame(arrow(a=[None], b=[1.0]), schema=table.schema)  # One row will do here.
    assert np.isnan(gap.x[0, 0])


def test_what_is_no_frame_and_a_file(tmp_path):
    with pytest.raises(
        ValueError, match="A frame of pandas, polars or pyarrow is read, not a list"
    ):
        Table.from_frame([[1.0]])
    path = tmp_path / "people.csv"
    rows = [f"{i / 7},{('yes', 'no')[i % 2]},{('TRUE', 'false')[i % 2]},2020-01-{i % 28 + 1:02d}"
            for i in range(40)]  # fmt: skip
    path.write_text("\n".join(["a,b,c,d,e", *(f"{row},one" for row in rows)]) + "\n")
    table = Table.from_file(path)
    assert [column.kind for column in table.schema.all_columns] == [
        *("gaussian", "categorical", "bernoulli", "gaussian", "constant")
    ]
    cells = table.schema.rows(table.x)
    assert cells[5][1:] == ["no", "false", "2020-01-06", "one"]
    with pytest.raises(ValueError, match="is no table: give a"):
        Table.from_file(tmp_path)


def test_categories_and_constants_come_back_in_their_types(tmp_path):
    days = [datetime.date(2020, 1, 1 + i % 3) for i in range(20)]
    given = arrow(day=days, ok=[i % 2 == 0 for i in range(20)], id=[2**53 + 1] * 20)
    table = Table.from_frame(given, {"day": "categorical", "ok": "categorical"})
    assert table.inverse(table.x).to_pydict() == given.to_pydict()
    path = tmp_path / "decimal.csv"
    rows = [f"1,5;{('1', '1.0')[i % 2]};{i},5" for i in range(20)]
    path.write_text("\n".join(["a;b;c", "1,5;NA;20,5", *rows]))
    again = frame(Table.from_file(path).schema, [[3.5]], "pyarrow").to_pylist()
    assert again == [{"a": 1.5, "b": 1.0, "c": 3.5}]


def test_whole_numbers_that_are_large():
    large = arrow(a=[0, 30_000_000, 7, 20_000_001, 5, 6, 4])
    table = Table.from_frame(large, {"a": "gaussian"})
    assert table.inverse([[20.6], [1e9]]).to_pydict() == {"a": [21, 30_000_000]}
    with pytest.warns(UserWarning, match="'a': its numbers, from 1600000000 to 1600000039, are ne"):
        Table.from_frame(arrow(a=[1_600_000_000 + i for i in range(40)]))


def test_values_by_name():
    rooms = kvae.datasets.Column("rooms", "categorical", ("1", "2", "2.5"), dtype="Float64")
    assert [rooms.code(one) for one in (1.0, "2", "02", 2.5)] == [0, 1, 1, 2]
    column = kvae.datasets.Column("d", "gaussian", origin="2020-01-01", dtype="Date")
    assert column.code(datetime.date(2020, 2, 1)) == 31 == column.code("2020-02-01")
    job = kvae.datasets.Column("job", "categorical", ("cook", "Clerk"))
    assert job.code("clerk") == 1
    with pytest.raises(ValueError, match="'job' takes one of cook, Clerk, not 'baker'"):
        job.code("baker")
    with pytest.raises(ValueError, match="'d' takes a date, not 'soon'"):
        column.code("soon")


def test_wine_is_the_table_that_a_frame_of_it_makes():
    pyarrow = pytest.importorskip("pyarrow")
    bunch = load_wine()
    columns = dict(zip(bunch.feature_names, bunch.data.T.tolist(), strict=True))
    columns["cultivar"] = [str(bunch.target_names[label]) for label in bunch.target]
    table = Table.from_frame(pyarrow.table(columns))
    columns = kvae.datasets.info("wine").columns
    train = kvae.datasets.load("wine", "train").x
    for found, column, values in zip(table.schema.columns, columns, train.T, strict=True):
        assert dataclasses.replace(found, low=column.low, high=column.high) == column
        if not column.categories:  # The bounds are those of the rows to train on.
            assert (column.low, column.high) == pytest.approx((values.min(), values.max()))
    parts = [kvae.datasets.load("wine", split) for split in kvae.datasets.SPLITS]
    found = np.concatenate([part.x for part in parts])
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(table.x, axis=0))
    np.testing.assert_array_equal(parts[0].labels, parts[0].x[:, -1])
