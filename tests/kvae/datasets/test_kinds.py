"""Data of every kind that users hand over, in every method that takes data."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import kvae
import zoo
from kvae.datasets import Dataset, kinds

CLASSES = 3


class ArrayLike:
    """Stands for what numpy converts: xarray, torch on the CPU, h5py."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


class TensorWithGradient:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Series:
    """A column of a frame, with the methods that pandas and polars share."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype = self.values.dtype

    def to_numpy(self):
        return self.values


class NAType:
    """pandas's missing value: it equals nothing, and has no truth."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


class Frame:
    """A frame without pandas and polars; columns of several types have `object` in common."""

    def __init__(self, columns):
        self.data = {name: np.asarray(values) for name, values in columns.items()}
        self.columns = list(self.data)

    def to_numpy(self):
        types = {values.dtype for values in self.data.values()}
        values = list(self.data.values())
        return np.stack(values if len(types) == 1 else [v.astype(object) for v in values], axis=1)

    def items(self):
        return ((name, Series(values)) for name, values in self.data.items())


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.given = batches

    def __len__(self):
        return len(self.given)

    def __getitem__(self, index):
        return self.given[index]


@pytest.fixture(scope="module")
def table():
    """64 rows of 16 zeros and ones, float32."""
    return np.random.default_rng(0).integers(0, 2, (64, 16)).astype("float32")


@pytest.fixture(scope="module")
def labels():
    return np.arange(64) % CLASSES


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae((16,), optimizer="adam")


@pytest.fixture(scope="module")
def conditional(make_conditional):
    return make_conditional("adam")


@pytest.fixture(scope="module")
def make_conditional():
    def make(optimizer):
        keras.utils.set_random_seed(3)
        vae = zoo.build(
            "dense_vae", event_shape=(16,), latent_dim=2, hidden=(8,), num_classes=CLASSES
        )
        vae.compile(optimizer, run_eagerly=optimizer == "sgd")
        return vae

    return make


def _h5py(table, folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "table.h5", "w") as file:
        file["x"] = table
    return h5py.File(folder / "table.h5")["x"]


def _pandas(table):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(table, index=range(100, 100 + 3 * len(table), 3))


def _polars(table):
    return pytest.importorskip("polars").DataFrame(table)


# What holds all its values.
IN_MEMORY = {
    "list": lambda x, _: x.tolist(),
    "list of rows": lambda x, _: list(x),
    "array-like": lambda x, _: ArrayLike(x),
    "frame": lambda x, _: Frame({f"c{i}": column for i, column in enumerate(x.T)}),
    "frame of several types": lambda x, _: Frame(
        {f"c{i}": c.astype((bool, int, float)[i % 3]) for i, c in enumerate(x.T)}
    ),
    "pandas": lambda x, _: _pandas(x),
    "polars": lambda x, _: _polars(x),
    "csr": lambda x, _: scipy.sparse.csr_matrix(x),
    "coo of bool": lambda x, _: scipy.sparse.coo_array(x.astype(bool)),
    "nothing masked": lambda x, _: np.ma.array(x, mask=np.zeros_like(x, bool)),
    "columns of objects": lambda x, _: Frame(
        {f"c{i}": column.astype(object) for i, column in enumerate(x.T)}
    ),
    "bfloat16": lambda x, _: tf.cast(x, tf.bfloat16),
    "tensor": lambda x, _: tf.constant(x),
    "variable": lambda x, _: tf.Variable(x),
    "sparse tensor": lambda x, _: tf.sparse.from_dense(x),
    "rows of one length": lambda x, _: tf.RaggedTensor.from_tensor(x),
    "h5py": _h5py,
    "dict": lambda x, _: {"image": x, "label": np.zeros(len(x), int)},
}
# What gives batches, of 24, 24 and 16.
STREAMS = {
    "tf.data": lambda x, _: tf.data.Dataset.from_tensor_slices(x).batch(24),
    "tf.data of dicts": lambda x, _: tf.data.Dataset.from_tensor_slices(
        {"image": x, "label": np.zeros(len(x), int), "id": np.arange(len(x))}
    ).batch(24),
    "tf.data of sparse": lambda x, _: tf.data.Dataset.from_tensor_slices(
        tf.sparse.from_dense(x)
    ).batch(24),
    "generator": lambda x, _: (x[i : i + 24] for i in range(0, len(x), 24)),
    "generator of lists": lambda x, _: (x[i : i + 24].tolist() for i in range(0, len(x), 24)),
    "PyDataset": lambda x, _: Batches([(x[i : i + 24],) for i in range(0, len(x), 24)]),
    "shards": lambda x, folder: kvae.datasets.Shards(
        kvae.datasets.write_shards(Dataset(x), folder / "shards", num_shards=2)
    ),
}


# Each kind becomes the same array in one place: `test_the_values_are_those_of_the_array` tests it
# for all of them, and by default the methods of a model meet a few.


def _same(found, wanted):
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)


@pytest.mark.parametrize("name", IN_MEMORY)
def test_the_values_are_those_of_the_array(name, table, tmp_path):
    found = np.asarray(
        kinds.recognize(IN_MEMORY[name](table, tmp_path))
        if name != "dict"
        else kinds.entries(IN_MEMORY[name](table, tmp_path))[0]
    )
    assert found.dtype.kind in "buif" or found.dtype.name == "bfloat16"
    np.testing.assert_array_equal(found.astype("float64"), table)


@pytest.fixture(scope="module")
def used(vae, table):
    """Returns the results of a model's methods for the array."""
    return vae.encode(table), vae.reconstruct(table), vae.predict(table, verbose=0)


@pytest.mark.default(
    *("frame of several types", "csr", "sparse tensor", "h5py", "dict"),
    *("tf.data of dicts", "generator of lists", "PyDataset"),
)
@pytest.mark.parametrize("name", {**IN_MEMORY, **STREAMS})
def test_using_a_model(name, vae, table, used, tmp_path):
    make = {**IN_MEMORY, **STREAMS}[name]
    params, *wanted = used
    _same(vae.encode(make(table, tmp_path)), params)
    for number, method in enumerate((vae.reconstruct, lambda x: vae.predict(x, verbose=0))):
        (tmp_path / str(number)).mkdir()
        np.testing.assert_allclose(
            method(make(table, tmp_path / str(number))), wanted[number], atol=1e-6
        )


@pytest.fixture(scope="module")
def fitted(make_vae):
    """The history of one epoch on `x`, step by step."""

    def history(x, **options):
        vae = make_vae((16,), optimizer="sgd", eager=True)
        return vae.fit(x, batch_size=48, verbose=0, **options).history

    return history


@pytest.fixture(scope="module")
def evaluated(vae, table):
    return (
        vae.evaluate(table, verbose=0, return_dict=True),
        vae.test_on_batch(table, return_dict=True),
        vae.predict_on_batch(table),
    )


@pytest.fixture(scope="module")
def split_history(fitted, table):
    return fitted(table, validation_split=0.25)


@pytest.mark.default("csr")
@pytest.mark.parametrize("name", ["list", "frame of several types", "pandas", "polars", "csr"])
def test_validation_split_takes_the_last_rows(name, fitted, split_history, table, tmp_path):
    _same(fitted(IN_MEMORY[name](table, tmp_path), validation_split=0.25), split_history)


@pytest.mark.default("generator")
@pytest.mark.parametrize(
    "name", ["list", "array-like", "sparse tensor", "h5py", "dict", "bfloat16", "generator"]
)
def test_validation_data(name, fitted, split_history, table, tmp_path):
    if name == "generator":
        given = (table[i : i + 16] for i in (48,))
    else:
        given = IN_MEMORY[name](table[48:], tmp_path)
    _same(fitted(table[:48], validation_data=given), split_history)


@pytest.mark.default("frame")
@pytest.mark.parametrize(
    "name", ["list", "frame", "pandas", "sparse tensor", "coo of bool", "bfloat16", "dict"]
)
def test_evaluating_and_single_batches(name, vae, table, evaluated, tmp_path):
    x = IN_MEMORY[name](table, tmp_path)
    figures, of_a_batch, predicted = evaluated
    _same(vae.evaluate(x, verbose=0, return_dict=True), figures)
    _same(vae.test_on_batch(x, return_dict=True), of_a_batch)
    np.testing.assert_allclose(vae.predict_on_batch(x), predicted, atol=1e-6)


def test_missing_values_of_nullable_columns_are_nan():
    frame = Frame(
        {
            "a": np.array([1, NAType(), 3], object),
            "b": np.array([True, None, False], object),
            "c": np.array([0.5, 1.5, np.nan]),
        }
    )
    found = kinds.as_array(frame)
    np.testing.assert_array_equal(found, [[1, 1, 0.5], [np.nan, np.nan, 1.5], [3, 0, np.nan]])


def test_pandas_nullable_boolean_and_duplicate_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "a": pandas.array([1, None], dtype="Int64"),
            "b": pandas.array([True, False], dtype="boolean"),
            "c": [0.5, 1.5],
        },
        index=["first", "second"],
    )
    np.testing.assert_array_equal(kinds.as_array(frame), [[1, 1, 0.5], [np.nan, 0, 1.5]])
    twice = pandas.concat([frame, frame], axis=1)
    assert kinds.as_array(twice).shape == (2, 6)
    assert kinds.as_array(frame["b"]).dtype == bool


def test_images_of_bytes_stay_bytes():
    frame = Frame({f"c{i}": np.arange(3, dtype=np.uint8) for i in range(4)})
    assert kinds.as_array(frame).dtype == np.uint8
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    assert Dataset(ArrayLike(images)).x.dtype == np.uint8
    series = np.empty(2, object)
    series[:] = list(images)  # A column of images.
    np.testing.assert_array_equal(kinds.as_array(Series(series)), images)


def test_dataset_takes_every_kind(table, labels):
    for make in (IN_MEMORY["csr"], IN_MEMORY["frame of several types"], IN_MEMORY["array-like"]):
        data = Dataset(make(table, None), labels=Series(labels), target=make(table, None))
        np.testing.assert_array_equal(data.x, table)
        np.testing.assert_array_equal(data.labels, labels)
        np.testing.assert_array_equal(data.target, table)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: np.ma.array(x, mask=x > 0), r"`x` is a masked array, and \d+ of its 1024"),
        (lambda x: [np.ma.array(row, mask=row > 0) for row in x], "masked.*Fill them"),
        (lambda x: {"image": np.ma.array(x, mask=x > 0)}, "masked.*Fill them"),
        (
            lambda x: Frame({"city": np.array(["a", "b"], object), "size": [1.0, 2.0]}),
            r"`x` has columns that hold no numbers: 'city' \(.*\).*drop\(columns=\['city'\]\)",
        ),
        (lambda x: tf.ragged.constant([[1.0], [1.0, 0.0]]), "RaggedTensor.*Pad or cut"),
        (lambda x: [[1.0], [1.0, 0.0]], "equally shaped examples.*Pad or cut"),
        (lambda x: TensorWithGradient(), r"requires grad.*x.detach\(\).cpu\(\).numpy\(\)"),
        (lambda x: {"a": x, "b": x}, r"entries 'a', 'b': say which .*data\['a'\]"),
        (lambda x: {"image": x, "mask": x}, "entries 'image', 'mask': 'mask' is none of label"),
        (lambda x: {"x": x, "y": x[:, 0]}, r"'y' is none of .* leave it out: data\['x'\]"),
        (lambda x: {}, "entries"),
        (lambda x: "mnist", "a str; give the data themselves.*kvae.datasets.load"),
        (lambda x: np.array([["a"]]), "not numbers"),
        (lambda x: x.astype(object), "not numbers"),
        (lambda x: x * 1j, "not numbers"),
        (lambda x: x.astype("datetime64[s]"), "not numbers"),
        (lambda x: {1.0, 2.0}, "a set; give an array"),
        (lambda x: object(), "an? object; give an array"),
        (lambda x: (x, x, x), "pair"),
    ],
)
def test_what_is_no_data_is_refused_in_one_line(make, message, vae, table):
    ways = [
        vae.encode,
        vae.reconstruct,
        vae.log_prob,
        lambda x: vae.predict(x, verbose=0),
        vae.predict_on_batch,
        vae.train_on_batch,
        vae.test_on_batch,
        lambda x: vae.fit(x, verbose=0),
        lambda x: vae.fit(table, validation_data=(x, None, None), verbose=0),
        lambda x: vae.fit(x, validation_split=0.5, verbose=0),
        lambda x: vae.evaluate(x, verbose=0),
    ]
    for number, way in enumerate(ways):
        with pytest.raises(ValueError, match=message) as error:
            way(make(table))
        assert "\n" not in str(error.value), number


def test_targets_and_latents_of_every_kind(vae, table):
    masked = np.ma.array(table, mask=table > 0)
    options = {"verbose": 0, "return_dict": True}
    _same(
        vae.evaluate(table, scipy.sparse.csr_matrix(table), **options),
        vae.evaluate(table, table, **options),
    )
    for way in (lambda: vae.fit(table, masked, verbose=0), lambda: Dataset(table, target=masked)):
        with pytest.raises(ValueError, match="masked"):
            way()
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    wanted = vae.decode(z)
    for make in (IN_MEMORY["frame"], IN_MEMORY["array-like"], IN_MEMORY["csr"]):
        np.testing.assert_array_equal(vae.decode(make(z, None)), wanted)
    with pytest.raises(ValueError, match="`z` is a masked array"):
        vae.decode(np.ma.array(z, mask=z > 0))


# Labels.

LABELLED = {
    "(x, label)": lambda x, y: (x, y),
    "dict": lambda x, y: {"image": x, "label": y},
    "frame and series": lambda x, y: (IN_MEMORY["frame"](x, None), Series(y)),
    "Dataset": Dataset,
    "tf.data of dicts": lambda x, y: tf.data.Dataset.from_tensor_slices(
        {"image": x, "label": y}
    ).batch(24),
    "tf.data as_supervised": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(24),
    "tf.data of pairs": lambda x, y: tf.data.Dataset.from_tensor_slices(((x, y),)).batch(24),
    "PyDataset": lambda x, y: Batches([(x[i : i + 24], y[i : i + 24]) for i in (0, 24, 48)]),
    "generator": lambda x, y: ((x[i : i + 24], y[i : i + 24]) for i in (0, 24, 48)),
}


@pytest.fixture(scope="module")
def with_labels(conditional, table, labels):
    """Returns the results of a conditional model's methods for the arrays."""
    pair = table, labels
    return (
        conditional.encode(*pair),
        conditional.predict(pair, verbose=0),
        conditional.evaluate(pair, batch_size=24, verbose=0, return_dict=True),
    )


@pytest.mark.default("(x, label)", "tf.data of dicts")
@pytest.mark.parametrize("name", LABELLED)
def test_labels_of_every_kind(name, conditional, table, labels, with_labels):
    make = LABELLED[name]
    params, predicted, figures = with_labels
    _same(conditional.encode(make(table, labels)), params)
    np.testing.assert_allclose(
        conditional.predict(make(table, labels), verbose=0), predicted, atol=1e-6
    )
    if name != "generator":
        own_batches = "tf" in name or name == "PyDataset"
        options = {} if own_batches else {"batch_size": 24}
        found = conditional.evaluate(make(table, labels), verbose=0, return_dict=True, **options)
        _same(found, figures)


def test_labels_in_the_place_of_the_target(conditional, make_conditional, table, labels):
    options = {"verbose": 0, "return_dict": True}
    wanted = conditional.evaluate((table, labels), **options)
    _same(conditional.evaluate(table, labels, **options), wanted)
    _same(
        conditional.test_on_batch(table, labels, return_dict=True),
        conditional.test_on_batch((table, labels), return_dict=True),
    )
    # Other labels make another figure: they are not ignored.
    other = conditional.evaluate(table, (labels + 1) % CLASSES, **options)
    assert abs(other["loss"] - wanted["loss"]) > 1e-4

    def history(*data, **more):
        return make_conditional("sgd").fit(*data, batch_size=64, verbose=0, **more).history

    _same(
        history(table, labels, validation_split=0.25),
        history((table, labels), validation_split=0.25),
    )
    _same(
        history(table, labels, validation_data=(table, labels)),
        history((table, labels), validation_data=((table, labels),)),
    )


def test_an_unconditional_model_never_takes_labels_for_a_target(vae, table, labels):
    batches = tf.data.Dataset.from_tensor_slices((table, labels)).batch(24)
    for way in (
        lambda: vae.fit(table, labels, verbose=0),
        lambda: vae.fit(batches, verbose=0),
        lambda: vae.evaluate(batches, verbose=0),
        lambda: vae.train_on_batch(table, labels),
    ):
        with pytest.raises(ValueError, match="Labels are not a target: leave them out"):
            way()
    # What is named a label is none, and is left out.
    options = {"verbose": 0, "return_dict": True}
    _same(
        vae.evaluate({"image": table, "label": labels}, **options), vae.evaluate(table, **options)
    )


def test_calling_a_model(vae, conditional, table, labels):
    wanted = np.asarray(vae(table))
    for name in ("list", "frame of several types", "csr", "dict"):
        np.testing.assert_allclose(vae(IN_MEMORY[name](table, None)), wanted, atol=1e-6)
    wanted = np.asarray(conditional((table, labels)))
    np.testing.assert_allclose(conditional({"x": table, "label": Series(labels)}), wanted)
    with pytest.raises(ValueError, match="masked"):
        vae(np.ma.array(table, mask=table > 0))
    with pytest.raises(ValueError, match="^zoo|^dense_vae is conditional and needs labels"):
        conditional.predict(tf.data.Dataset.from_tensors(table), verbose=0)
