"""The signatures of tables: cells as texts, in the graph as in Python, and in the C++ runtime."""

import keras
import numpy as np
import pyarrow
import pytest
import tensorflow as tf

import export
import kvae
from export.files import meta_graph
from export.graphs import endpoints
from export.graphs.table_cells import TableCells
from export.runtimes import litert
from kvae.datasets import Column, Schema
from kvae.evaluation.rows import row_imputation

SCHEMA = Schema(
    "people",
    columns=(
        Column("height", "gaussian", low=150.0, high=199.5, dtype="Float64"),
        Column("born", "gaussian", low=0.0, high=40000.0, origin="1900-03-01", dtype="Date"),
        Column("seen", "gaussian", low=0.0, high=900.0, origin="2019-12-31T12:00:00"),
        Column("job", "categorical", ("baker", "Cook", "clerk")),
        Column("ok", "bernoulli", ("False", "True"), dtype="Boolean"),
        Column("visits", "gaussian", whole=True, low=0.0, high=99.0),
    ),
    constants=(Column("planet", "constant", ("Earth",), place=1),),
)
LIKELIHOOD = ["gaussian", "gaussian", "gaussian", ("categorical", 3), "bernoulli", "gaussian"]
CELLS = [
    ["171.25", "Earth", "1900-02-28", "2020-02-29 23:59:59", "Cook", "True", "12"],
    ["1.6e2", "Mars", "2000-02-29", "2021-01-01", "clerk", "false", "7"],
    ["", "", "1970-01-01", "2020-03-01T06:30", "COOK", "NA", "0"],
]


@pytest.fixture(scope="module")
def model():
    likelihood = kvae.likelihoods.MixedTabular(LIKELIHOOD)
    with kvae.random.initial_weights(1):
        vae = kvae.VAE(
            keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "tanh")]),
            keras.Sequential(
                [
                    keras.Input((2,)),
                    keras.layers.Dense(
                        *likelihood.output_shape((6,)),
                        bias_initializer=keras.initializers.RandomNormal(0, 30.0, seed=1),
                    ),
                ]
            ),
            latent_dim=2,
            likelihood=likelihood,
            missing="zero",
            seed=1,
        )
    vae.schema = SCHEMA
    return vae


def numbers(rows):
    """By `Column.code`, in Python."""
    return np.float32(
        [
            [
                np.nan if row[place] in ("", "NA") else column.code(row[place])
                for place, column in zip((0, 2, 3, 4, 5, 6), SCHEMA.columns, strict=True)
            ]
            for row in rows
        ]
    )


def test_cells_are_the_numbers_that_python_reads():
    x, valid = TableCells(SCHEMA).numbers(tf.constant(CELLS))
    np.testing.assert_allclose(x, numbers(CELLS), rtol=1e-6)
    assert np.asarray(valid).all()
    wrong = [["tall", "Earth", "2020-1-1", "noon", "pilot", "yes", "1e"]]
    assert not np.asarray(TableCells(SCHEMA).numbers(tf.constant(wrong))[1]).any()


def test_rows_of_a_schema_are_numbers_and_back():
    x = SCHEMA.numbers([[None if c == "" else c for c in row] for row in CELLS])
    np.testing.assert_array_equal(x, numbers(CELLS))
    written = SCHEMA.rows(x)
    assert SCHEMA.rows(SCHEMA.numbers(written)) == written
    assert written[0][3:] == CELLS[0][3:] and written[2][:2] == ["", "Earth"]
    assert written[0][2] == "1900-03-01"  # The first day of the table.
    with pytest.raises(ValueError, match="Row 1 has 2 cells; the table has 7 columns, height, pla"):
        SCHEMA.numbers([CELLS[0], ["1", "Earth"]])
    with pytest.raises(ValueError, match="Column 'job' takes one of baker, Cook, clerk, not 'pil"):
        SCHEMA.numbers([[*CELLS[0][:4], "pilot", "True", "1"]])


def test_dates_that_there_are_not_and_categories_that_differ_in_case():
    columns = Column("d", "gaussian", origin="2020-01-01"), Column("c", "categorical", ("é", "É"))
    right = [["2020-02-29", "É"], ["2000-02-29 23:59", "é"], ["2020-12-31", "É"]]
    wrong = [["2021-02-29", "e"], ["2020-13-01", "E"], ["2020-04-31", ""], ["2020-01-01 24:00", ""]]
    x, valid = TableCells(Schema("t", columns=columns)).numbers(tf.constant([*right, *wrong]))
    assert np.asarray(valid)[:, 0].tolist() == [True] * 3 + [False] * 4
    assert np.asarray(valid)[:, 1].tolist() == [True] * 3 + [False] * 2 + [True] * 2
    assert np.asarray(x)[:3].tolist() == [
        [np.float32(column.code(cell)) for column, cell in zip(columns, row, strict=True)]
        for row in right
    ]
    (one,) = (Column("c", "categorical", ("é", "a")),)
    x, valid = TableCells(Schema("t", columns=(one,))).numbers(tf.constant([["É"], ["A"]]))
    assert np.asarray(valid).all() and np.asarray(x)[:, 0].tolist() == [
        one.code("É"),
        one.code("A"),
    ]
    for column, row in ((columns[0], wrong[0]), (columns[0], wrong[2]), (columns[0], wrong[3])):
        with pytest.raises(ValueError, match="takes a date"):
            column.code(row[0])


def test_numbers_are_the_cells_that_python_writes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)) * [100, 30000, 700, 0, 0, 50] + [170, 20000, 400, 0, 0, 40]
    x[:, 3], x[:, 4] = rng.integers(0, 3, 200), rng.integers(0, 2, 200)
    x[0] = np.nan
    x = x.astype("float32")
    found = TableCells(SCHEMA).texts(tf.constant(x)).numpy().astype(str).tolist()
    assert found == SCHEMA.rows(x)
    again, valid = TableCells(SCHEMA).numbers(tf.constant(found))
    np.testing.assert_allclose(again, numbers(found), rtol=1e-6)
    assert np.asarray(valid).all()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    names = ["encode_table", "generate_table"]
    return export.saved_model(model, tmp_path_factory.mktemp("of") / "people", signatures=names)


@pytest.mark.slow  # The same graphs are run below, in the process.
def test_the_runtime_takes_and_returns_the_cells_of_a_table(model, tmp_path):
    names = ["encode_table", "generate_table", "impute_table"]
    path = export.saved_model(model, tmp_path / "people", signatures=names)
    report = export.verify(path, model, batch_sizes=(1, 3))
    assert report.ok, str(report)
    compared = {(row.signature, row.output) for row in report.rows if row.max_abs_error is not None}
    assert {
        ("generate_table", "cells"),
        ("generate_table", "z"),
        ("encode_table", "z_mean"),
        ("impute_table", "cells"),
        ("impute_table", "log_prob"),
    } <= compared


def test_a_saved_model_takes_and_returns_the_cells_of_a_table(model, path):
    loaded = tf.saved_model.load(str(path))
    written = meta_graph.read_signatures(path)
    assert written["encode_table"].inputs["cells"].shape == (None, 7)
    assert written["generate_table"].outputs["cells"].dtype == "string"
    cells = loaded.signatures["generate_table"](
        seed=tf.constant([3, 2**40], tf.int64), temperature=tf.ones(2)
    )["cells"]
    rows = np.concatenate([model.sample(1, seed=s, output="sample") for s in (3, 2**40)])
    assert cells.numpy().astype(str).tolist() == SCHEMA.rows(rows)
    ask = loaded.signatures["encode_table"]
    for wrong, message in (
        (CELLS[0][:4] + ["pilot", "True", "1"], "`cells`, row 1, column `job` holds `pilot`"),
        (["1e39", *CELLS[0][1:]], "`cells` holds NaN or infinite"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            ask(cells=tf.constant([CELLS[0], wrong]))


def test_empty_cells_are_filled_and_others_come_back_as_they_were(model):
    seeds, counts = tf.constant([5, 6, 7], tf.int64), tf.constant([3, 3, 3], tf.int64)
    endpoint = endpoints.endpoints(model, signatures=["impute_table"])["impute_table"]
    given = {"cells": tf.constant(CELLS), "seed": seeds, "num_samples": counts}
    impute = tf.function(endpoint.function, autograph=False)
    found = impute(*(given[spec.name] for spec in endpoint.inputs))
    x = tf.constant(numbers(CELLS))
    filled = tf.function(lambda: row_imputation(model, x, seeds, counts), autograph=False)()
    expected = [row.copy() for row in CELLS]
    by_python = SCHEMA.rows(filled["image"].numpy())
    for place in (0, 1, 5):  # Of the last row; a constant column holds its value everywhere.
        expected[2][place] = by_python[2][place]
    cells = found["cells"].numpy().astype(str).tolist()
    assert 150 <= float(cells[2][0]) <= 199.5 and cells[2][1] == "Earth"
    assert abs(float(cells[2].pop(0)) - float(expected[2].pop(0))) < 1e-3
    assert cells == expected
    np.testing.assert_allclose(found["log_prob"], filled["log_prob"], rtol=1e-5)


class _File:
    """An opened file in the place of LiteRT's: what it is asked, and an answer."""

    metadata = {"schema": SCHEMA.to_dict()}
    signatures = {
        "impute": {"inputs": {"image": {}, "mask": {"dtype": "float32"}, "noise": {}}},
        "encode": {"inputs": {"image": {}}},
    }

    def __init__(self, path):
        type(self).asked = {}

    def run(self, signature, inputs):
        self.asked[signature] = inputs
        return {"image": inputs["image"] + 1 - inputs["mask"], "log_prob": np.zeros(3)}


def test_a_file_of_numbers_takes_and_returns_cells(monkeypatch, tmp_path):
    monkeypatch.setattr(litert, "Model", _File)
    people = export.TableModel(tmp_path / "people.tflite")
    found = people.run("impute", CELLS, noise=np.zeros(3))
    expected = [row.copy() for row in CELLS]
    # A missing 0 is filled with 1: its height is cut to the bounds, as in `Schema.rows`.
    expected[2][0], expected[2][1], expected[2][5] = "150", "Earth", "True"
    assert found["cells"] == expected and found["log_prob"].shape == (3,)
    x, asked = numbers(CELLS), _File.asked["impute"]
    np.testing.assert_array_equal(asked["mask"], ~np.isnan(x))
    np.testing.assert_array_equal(asked["image"], np.nan_to_num(x))
    np.testing.assert_array_equal(people.inputs("encode", CELLS)["image"], x)
    # What was observed stays, out of the bounds as well; the constant column may be left out.
    frame = pyarrow.table({"id": [1, 2, 3], "height": [171.23, None, 250.5]})
    schema = Schema("t", columns=SCHEMA.columns[:1], constants=SCHEMA.constants)
    monkeypatch.setattr(_File, "metadata", {"schema": schema.to_dict()})
    again = export.TableModel(tmp_path / "people.tflite").run("impute", frame, noise=0)["cells"]
    assert again.to_pydict() == {"height": [171.23, 150.0, 250.5], "planet": ["Earth"] * 3}
    with pytest.raises(ValueError, match="no signature 'decode'. It has: impute, encode"):
        people.run("decode")
    monkeypatch.setattr(_File, "metadata", {})
    with pytest.raises(ValueError, match="knows no columns"):
        export.TableModel(tmp_path / "people.tflite")
    with pytest.raises(ValueError, match="no .tflite or .onnx file"):
        export.TableModel(tmp_path / "people.h5")


@pytest.mark.slow  # The conversion of cells is tested above, and that of the model elsewhere.
@pytest.mark.parametrize("name", ["people.tflite", "people.onnx"])
def test_files_of_numbers_answer_with_cells(model, name, tmp_path):
    if name.endswith(".onnx"):
        pytest.importorskip("tf2onnx")
        export.onnx(model, tmp_path / name, part="impute", num_samples=2)
    else:
        export.tflite(model, tmp_path / name, parts="impute", num_samples=2)
    people = export.TableModel(tmp_path / name)
    full = people.run("impute", CELLS, noise=np.zeros((3, 2, 2), "float32"))["cells"]
    assert full[:2] == CELLS[:2] and full[2][2:5] == CELLS[2][2:5]
    assert 150 <= float(full[2][0]) <= 199.5 and full[2][1] == "Earth"


@pytest.mark.slow  # The server reads and writes texts; the signature itself is tested above.
def test_a_server_takes_and_returns_the_cells(model, tmp_path):
    export.saved_model(model, tmp_path / "people")
    with export.DevelopmentServer({"people": tmp_path / "people"}, port=0) as server:
        client = export.Client(server.url, "people")
        rows = client.generate_table([1, 2])
        drawn = np.concatenate([model.sample(1, seed=s, output="sample") for s in (1, 2)])
        assert rows.cells == SCHEMA.rows(drawn) and rows.z.shape == (2, 2)
        full = client.impute_table(CELLS, seed=3, num_samples=2)
        assert full.cells[:2] == CELLS[:2] and full.log_prob.shape == (3,)
        found = client.encode_table([[None if c == "NA" else c for c in row] for row in CELLS])
        np.testing.assert_allclose(
            found["z_mean"], model.encode(numbers(CELLS))["z_mean"], rtol=1e-4
        )
