"""Data at a path: every form of them, the same splits everywhere, and what is refused."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kvae.datasets import SPLITS, Dataset, Schema, from_path, readers, write_shards
from kvae.datasets.source import Source


def photo(path, seed, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path)


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for i in range(40):
        photo(root / ("cats", "dogs")[i % 2] / f"{i:03d}.png", i)
    return root


def rows(data):
    return {row.tobytes() for row in data[:].x}


def parts(path, **options):
    return [from_path(path, split, **options) for split in SPLITS]


def assert_a_division(found, total):
    assert [part.split for part in found] == list(SPLITS)
    assert all(len(part) for part in found) and sum(map(len, found)) == total
    assert len(set().union(*map(rows, found))) == total  # No example is in two of them.


def test_class_folders(photos, monkeypatch):
    train, validation, test = found = parts(photos)
    assert_a_division(found, 40)
    assert train.event_shape == (8, 8, 3) and train.name == "photos"
    assert train.schema == Schema("photos", class_names=("cats", "dogs"))
    for part in found:
        assert set(part.labels) <= {0, 1} and part[:1].schema == train.schema
    assert set(train[:6].labels) == {0, 1}  # Though one class comes after the other in the folder.
    # More files leave the others where they are.
    for i in range(40, 60):
        photo(photos / "cats" / f"{i:03d}.png", i)
    assert all(rows(a) <= rows(b) for a, b in zip(found, parts(photos), strict=True))
    # What is read while a model trains is the same.
    monkeypatch.setattr(readers, "MEMORY", 0)
    for stream, memory in zip(parts(photos), parts(photos), strict=True):
        assert not isinstance(stream, Dataset) and stream.schema == train.schema
        np.testing.assert_array_equal(stream[:].x, memory[:].x)
        np.testing.assert_array_equal(stream[:].labels, memory[:].labels)


def test_an_image_outside_of_the_classes(photos):
    schema = from_path(photos).schema
    photo(photos / "loose.png", 0)
    assert not from_path(photos).has_labels  # They may be no classes at all.
    with pytest.raises(ValueError, match="loose.png is in no subfolder"):
        from_path(photos, schema=schema)


def test_folders_of_splits(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "own" / "train")
    shutil.copytree(photos / "dogs", tmp_path / "own" / "test" / "dogs")
    train, validation, test = parts(tmp_path / "own")
    assert len(train) + len(validation) == 40 and len(validation)
    assert len(test) == 20 and set(test.labels) == {1}  # One class is missing, and no label moves.
    shutil.copytree(photos / "dogs", tmp_path / "own" / "test" / "frogs")
    with pytest.raises(ValueError, match="'frogs', which is none of the classes cats, dogs"):
        from_path(tmp_path / "own", "test")


def test_sizes_and_modes(tmp_path):
    for i, mode in enumerate(("L", "1", "LA", "L") * 3):
        photo(tmp_path / "grey" / f"{i}.png", i, (6, 4), mode)
    assert from_path(tmp_path / "grey").event_shape == (6, 4, 1)
    photo(tmp_path / "grey" / "p.png", 0, (6, 4), "P")
    assert from_path(tmp_path / "grey").event_shape == (6, 4, 3)
    photo(tmp_path / "grey" / "large.png", 0, (9, 7))
    with pytest.raises(ValueError, match="2 sizes, from 6 × 4 to 9 × 7: say .*--event-shape 64"):
        from_path(tmp_path / "grey")
    assert from_path(tmp_path / "grey", "train", (5, 5, 1)).event_shape == (5, 5, 1)
    (tmp_path / "grey" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for shape in (None, (5, 5, 1)):
        with pytest.raises(ValueError, match=r"broken.png cannot be read as a PNG or JPEG image"):
            parts(tmp_path / "grey", event_shape=shape)


def test_images_of_other_kinds_are_told(photos, tmp_path):
    photo(photos / "cats" / "new.webp", 0)
    with pytest.warns(UserWarning, match=r"has 1 image \(.webp\) of other kinds, which are left"):
        assert len(Source(photos).split("train")) < 40
    (tmp_path / "phone").mkdir()
    shutil.move(photos / "cats" / "new.webp", tmp_path / "phone" / "a.webp")
    with pytest.raises(ValueError, match=r"no image: .*1 image \(.webp\) of other kinds: save"):
        Source(tmp_path / "phone")


def test_arrays(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.save(tmp_path / "x.npy", x)
    found = parts(tmp_path / "x.npy")
    assert_a_division(found, 60)
    assert found[0].event_shape == (8, 8, 1) and found[0].x.dtype == np.uint8
    np.save(tmp_path / "x.npy", np.concatenate([x, x[::-1] ^ 1]))  # More rows move none.
    assert all(rows(a) <= rows(b) for a, b in zip(found, parts(tmp_path / "x.npy"), strict=True))
    waves = x.astype(np.float32)
    np.savez(tmp_path / "w.npz", x=waves, label=np.arange(60) % 3)
    train = from_path(tmp_path / "w.npz")
    assert train.event_shape == (8, 8) and train.schema.class_names == ("0", "1", "2")
    assert from_path(tmp_path / "w.npz", "train", (8, 8, 1)).event_shape == (8, 8, 1)
    np.savez(tmp_path / "own.npz", x_train=x[:40], y_train=x[:40, 0, 0] % 2, x_test=x[40:])
    train, validation, test = parts(tmp_path / "own.npz")
    assert len(train) + len(validation) == 40 and len(test) == 20 and train.has_labels
    np.save(tmp_path / "few.npy", x[:9])
    np.save(tmp_path / "nan.npy", np.where(x == x[7, 1, 2], np.nan, x))
    (tmp_path / "broken.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    for name, message in (
        ("few.npy", "9 examples; 10 are needed"),
        ("nan.npy", r"nan.npy: x\[.*\] = nan is not finite"),
        ("broken.npy", "cannot be read as a file of NumPy"),
        ("none.csv", "There is no .*none.csv"),
        (".", "x.npy.*: give the path of one file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            from_path(tmp_path / name)
    with pytest.raises(ValueError, match=r"shape \(8, 8\), and not \(4, 4, 1\)"):
        from_path(tmp_path / "x.npy", "train", (4, 4, 1))


def test_names_go_with_shards(photos, tmp_path):
    write_shards(from_path(photos), tmp_path / "shards", num_shards=3)
    assert from_path(tmp_path / "shards").schema.class_names == ("cats", "dogs")


LINES = ["height;colour;children;ill;when"] + [
    f"{150 + i / 7:.2f}".replace(".", ",") + f";{('red', 'blue')[i % 2]};{i % 4};{i % 5 // 4};{i}"
    for i in range(50)
]


def table(path, lines=LINES):
    path.write_text("\n".join(lines) + "\n", "utf-8-sig")
    return path


def test_a_table_of_mixed_columns(tmp_path):
    path = table(tmp_path / "people.csv")
    found = parts(path)
    assert_a_division(found, 50)
    columns = found[0].schema.columns
    assert [column.name for column in columns] == LINES[0].split(";")
    assert [column.description for column in columns] == [
        ("gaussian",),
        ("categorical", 2),
        ("categorical", 4),
        ("bernoulli",),
        ("gaussian",),
    ]
    assert columns[1].categories == ("blue", "red")
    schema = Schema.from_dict(found[0].schema.to_dict())
    assert schema == found[0].schema
    # A row to train on goes to numbers and back; others are cut to the bounds of these.
    for number, part in enumerate(found):
        for x, row in zip(part.x, schema.rows(part.x), strict=True):
            line = LINES[1 + int(x[-1])].split(";")
            assert row[1:4] == line[1:4] and (row[4] == line[4] or number > 0)
            wanted = np.clip(float(line[0].replace(",", ".")), columns[0].low, columns[0].high)
            assert float(row[0]) == pytest.approx(wanted, abs=0.01)
    # Other rows are read as those of the training were.
    other = table(tmp_path / "other.csv", [LINES[0], *LINES[12:32]])
    assert from_path(other, schema=schema).schema == schema
    labelled = Source(path, columns={"colour": "label", "when": "ignore", "children": "poisson"})
    assert labelled.event_shape == (3,) and labelled.schema.class_names == ("blue", "red")
    assert labelled.schema.columns[1].kind == "poisson"
    assert set(labelled.split("train").labels) == {0, 1}


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({3: ";red;1;0;2"}, {}, r"row 4, column 'height' is empty\. Repair the cell"),
        ({3: "1,5;;1;0;2"}, {}, r"row 4, column 'colour' is empty"),
        ({3: "tall;red;1;0;2"}, {}, r"row 4, column 'height' holds 'tall'"),
        ({3: "inf;red;1;0;2"}, {}, r"row 4, column 'height' holds 'inf'"),
        ({3: "1,5;red;1;0"}, {}, r"row 4 has 4 cells, and the table has 5 columns"),
        ({0: "a;a;b;c;d"}, {}, "two columns of the name 'a'"),
        ({}, {"size": "label"}, "Unknown column of t.csv 'size'"),
        ({}, {"height": "real"}, "Unknown kind of the column 'height' 'real'"),
        ({}, {"colour": "gaussian"}, "row 2, column 'colour' holds 'red'. A gaussian column takes"),
        ({}, {"children": "bernoulli"}, "row 4, column 'children' holds '2'. A bernoulli column"),
        ({}, {"height": "categorical"}, "holds 50 different texts in 50 rows"),
    ],
)
def test_broken_tables_are_refused_by_row_and_column(tmp_path, change, columns, message):
    lines = [change.get(i, line) for i, line in enumerate(LINES)]
    with pytest.raises(ValueError, match=message):
        from_path(table(tmp_path / "t.csv", lines), columns=columns)


def test_what_new_rows_have_to_hold(tmp_path):
    schema = from_path(table(tmp_path / "people.csv")).schema
    lines = [LINES[0].replace("ill", "sick"), *LINES[1:]]
    with pytest.raises(ValueError, match="has no column 'ill'. Its columns are height, colour"):
        from_path(table(tmp_path / "other.csv", lines), schema=schema)
    lines = [*LINES, "160,5;green;1;0;9"]
    with pytest.raises(ValueError, match="row 52, column 'colour' holds 'green'. Its categories"):
        from_path(table(tmp_path / "other.csv", lines), schema=schema)
    (tmp_path / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        from_path(tmp_path / "latin.csv")


def test_bounds_are_those_of_the_rows_to_train_on(tmp_path):
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(60, 2)), 3)
    held = int(np.argmin(np.random.Philox(key=0).random_raw(60)))
    x[held, 0] = 9.0
    days = [str(np.datetime64("2020-01-01") + i) for i in rng.permutation(60)]
    lines = ["a,b,day", *(f"{a},{b},{day}" for (a, b), day in zip(x, days, strict=True))]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    source = Source(tmp_path / "x.csv")
    for place, column in enumerate(source.schema.columns):
        parts = [source.split(one).x[:, place] for one in SPLITS]
        assert (column.low, column.high) == pytest.approx((parts[0].min(), parts[0].max()))
    assert source.split("test").x.max(axis=0)[0] == 9.0 > source.schema.columns[0].high
    (tmp_path / "own").mkdir()
    for name in ("train", "test", "validation"):  # All of such a file are to train on.
        (tmp_path / "own" / f"{name}.csv").write_text("\n".join(lines))
    column = Source(tmp_path / "own").schema.columns[0]
    assert (column.low, column.high) == (x[:, 0].min(), x[:, 0].max())


def test_parquet_is_read_as_csv_is(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    path = table(tmp_path / "people.csv", [line.replace(",", ".") for line in LINES])
    parquet.write_table(
        csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=";")),
        tmp_path / "people.parquet",
    )
    for one, other in zip(parts(path), parts(tmp_path / "people.parquet"), strict=True):
        assert one.schema.columns == other.schema.columns
        np.testing.assert_array_equal(one.x, other.x)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="cannot be read as a Parquet file"):
        from_path(tmp_path / "broken.parquet")


def test_columns_of_a_table_that_are_conditions(tmp_path):
    path = tmp_path / "people.csv"
    lines = [f"{i},{('red', 'blue')[i % 2]},{1.5 * i},{i % 3 == 0}" for i in range(30)]
    lines[4], lines[7] = "4,,6.0,False", "7,blue,NA,False"
    path.write_text("\n".join(["x,colour,age,old", *lines]), encoding="utf-8")
    columns = dict.fromkeys(("colour", "age", "old"), "condition")
    data = from_path(path, columns=columns)
    assert data.event_shape == (1,) and data.schema.told == {
        "colour": ["blue", "red"],
        "age": "real",
        "old": ["False", "True"],
    }
    # What is empty is unknown; the order is that of x.
    rows = data.x[:, 0].astype(int)
    colours = np.where(rows == 4, np.nan, (rows + 1) % 2)
    np.testing.assert_array_equal(data.labels["colour"], colours)
    np.testing.assert_array_equal(data.labels["age"], np.where(rows == 7, np.nan, 1.5 * rows))
    np.testing.assert_array_equal(data.labels["old"], rows % 3 == 0)
    assert Schema.from_dict(data.schema.to_dict()) == data.schema
    # A model of that schema reads other files, which may say less.
    other = tmp_path / "other.csv"
    other.write_text("x,colour\n1,red\n2,blue\n", encoding="utf-8")
    found = Source(other, schema=data.schema).everything().labels
    assert list(found) == ["colour"] and found["colour"].tolist() == [1, 0]
    other.write_text("x,colour\n1,green\n2,blue\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 2, column 'colour' holds 'green'. Its categories"):
        from_path(other, schema=data.schema)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"my size": "condition"}, "cannot be called 'my size'"),
        ({"day": "condition"}, "column 'day' holds dates, which make no condition. Leave it out"),
        ({"planet": "condition"}, "holds one value in all rows, which make no condition"),
        ({"kind": "label", "x": "condition"}, "Make both conditions: --columns kind=condition"),
    ],
)
def test_columns_that_make_no_conditions(tmp_path, columns, message):
    path = tmp_path / "people.csv"
    lines = [f"{i},{i}.5,2020-01-{i + 1:02},Earth,{'ab'[i % 2]}" for i in range(20)]
    path.write_text("\n".join(["x,my size,day,planet,kind", *lines]), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        from_path(path, columns=columns)


def test_arrays_beside_x_that_are_conditions(tmp_path):
    path, columns = tmp_path / "waves.npz", dict.fromkeys(("kind", "size", "tags"), "condition")
    x, size = np.arange(40.0, dtype="float32").reshape(20, 2), np.arange(20) / 2
    kind = np.where(np.arange(20) % 2, "saw", "sine")
    kind[3] = ""
    told = {"kind": kind, "size": size, "tags": np.eye(20, 3, dtype=int)}
    np.savez(path, x=x, **told)
    data = Source(path, columns=columns).everything()
    assert data.schema.told == {"kind": ["saw", "sine"], "size": "real", "tags": ("multi", 3)}
    expected = np.where(np.arange(20) % 2, 0, 1)
    expected[3] = -1
    np.testing.assert_array_equal(data.labels["kind"], expected)
    np.testing.assert_array_equal(data.labels["size"], size)
    # Each split may have arrays of its own; classes are then numbers of those to train on.
    parts = {f"{name}_train": value for name, value in told.items()}
    parts |= {f"{name}_test": value[4:] for name, value in told.items()}
    np.savez(path, x_train=x, x_test=x[4:], **parts)
    test = from_path(path, "test", columns=columns)
    np.testing.assert_array_equal(test.labels["kind"], expected[4:])
    assert len(from_path(path, "train", columns=columns).labels["size"]) == 16
    for wrong, message in (
        ({"kin": "condition"}, "Unknown array of waves.npz 'kin'"),
        ({"size": "label"}, "--columns size=condition, not size=label"),
    ):
        with pytest.raises(ValueError, match=message):
            from_path(path, columns=wrong)
